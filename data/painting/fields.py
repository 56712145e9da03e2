"""Smooth scalar and color fields from which the compositions are built.

A canvas is measured in its own width: ``u`` runs from 0 to 1 rightwards, ``v`` from 0 at the top to
``height / width`` at the bottom. Colors are float arrays ``(height, width, 3)`` in 0 to 1, RGB.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

Array = NDArray[Any]
Size = tuple[int, ...]  # (height, width), as an array's shape


def grid(size: Size) -> tuple[Array, Array]:
    """Coordinates ``u, v``, each ``(height, width)`` float32, of a canvas of ``size`` (height, width)."""
    height, width = size
    v, u = np.mgrid[0:height, 0:width].astype(np.float32)
    return (u + 0.5) / width, (v + 0.5) / width


def color(text: str) -> Array:
    """RGB in 0 to 1, shape (3,), of a color such as ``"#1b2a5a"``."""
    return np.array(ImageColor.getrgb(text)[:3], np.float32) / 255


def smoothstep(low: float, high: float, x: Array) -> Array:
    """0 below ``low``, 1 above ``high``, the cubic in between; ``low > high`` turns it round."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def ramp(x: Array, stops: list[tuple[float, str]]) -> Array:
    """Color gradient: the value ``x`` looked up among ``(position, color)`` stops, linear in between."""
    positions = [position for position, _ in stops]
    table = np.stack([color(text) for _, text in stops])
    return np.stack([np.interp(x, positions, table[:, c]) for c in range(3)], -1).astype(np.float32)


def lay(base: Array, paint: Array | str, mask: Array) -> Array:
    """Lay ``paint`` (a color or a color field) over ``base`` where ``mask`` (0 to 1) says so."""
    over = color(paint) if isinstance(paint, str) else paint
    return base + (over - base) * mask[..., None]


def resize(field: Array, size: Size) -> Array:
    """Bicubic resize of a 2-d float field to ``size`` (height, width)."""
    picture = Image.fromarray(np.ascontiguousarray(field, np.float32))
    return np.asarray(picture.resize(size[::-1], Image.Resampling.BICUBIC))


def noise(rng: np.random.Generator, size: Size, across: tuple[float, float], octaves: int = 4) -> Array:
    """Fractal value noise, mean about 0, standard deviation 1.

    ``across`` is the number of cells (down, across) of the coarsest octave; each next octave doubles it
    and halves the amplitude.
    """
    total = np.zeros(size, np.float32)
    for octave in range(octaves):
        cells = tuple(min(max(2, round(n * 2**octave)), m) for n, m in zip(across, size, strict=True))
        total += resize(rng.standard_normal(cells), size) / 2**octave
    return (total - total.mean()) / (total.std() + 1e-6)


def blur(field: Array, radius: float) -> Array:
    """Gaussian-like blur (standard deviation ``radius`` pixels) of a 2-d or 3-d field: three box passes."""
    width = max(1, round(radius * 0.98)) * 2 + 1
    for axis in (0, 1):
        for _ in range(3):
            field = _box(field, width, axis)
    return field


def _box(field: Array, width: int, axis: int) -> Array:
    pad = [(0, 0)] * field.ndim
    pad[axis] = (width // 2 + 1, width // 2)
    sums = np.cumsum(np.pad(field.astype(np.float64), pad, mode="edge"), axis)
    length = field.shape[axis]
    upper = sums.take(range(width, width + length), axis)
    return ((upper - sums.take(range(length), axis)) / width).astype(np.float32)


def angle_along(field: Array) -> Array:
    """Angle (radians) of the level lines of ``field``: the direction in which it does not change."""
    down, right = np.gradient(field)
    return np.arctan2(right, -down)
