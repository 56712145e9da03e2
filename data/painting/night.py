"""Paper lanterns rising from a lake between dark mountains, under a moon: oil, night blues and golds."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .brush import Brush, Canvas
from .fields import Array, Size, angle_along, blur, grid, lay, noise, ramp, smoothstep

SHORE = 0.515
# u, v, radius: the lanterns drift up along an arc from the lake towards the moon
LANTERNS = [
    (0.125, 0.400, 0.032), (0.245, 0.285, 0.027), (0.085, 0.205, 0.021), (0.385, 0.330, 0.022),
    (0.335, 0.135, 0.020), (0.500, 0.215, 0.017), (0.205, 0.085, 0.014), (0.585, 0.365, 0.016),
    (0.930, 0.330, 0.020), (0.475, 0.065, 0.012), (0.900, 0.075, 0.012),
]  # fmt: skip
MOON = (0.715, 0.175, 0.066)


def paint(size: Size, rng: np.random.Generator) -> Image.Image:
    """Paint the picture at ``size`` (height, width)."""
    u, v = grid(size)
    stream = _stream(u, v, noise(rng, size, (3, 4), 3))
    ridge = _ridges(rng, size, u)
    composition = _mountains(_sky(u, v, stream), v, ridge)
    for lantern in LANTERNS:
        composition = _glow(composition, u, v, lantern, ["#fff0b0", "#ffb53a", "#e2701f", "#6a4a7a"])
    composition = _boat(_water(composition, u, v, rng), u, v)
    canvas = Canvas(composition, _angle(u, v, stream, ridge, rng), rng)
    canvas.paint(Brush(0.045, 0.16, light_jitter=0.03))
    canvas.paint(Brush(0.022, 0.10, threshold=0.10, light_jitter=0.05))
    canvas.paint(Brush(0.012, 0.065, threshold=0.13, tolerance=0.2, light_jitter=0.06))
    canvas.paint(Brush(0.006, 0.035, threshold=0.20, tolerance=0.14, light_jitter=0.05))
    return canvas.finish()


def _stream(u: Array, v: Array, wobble: Array) -> Array:
    """Stream function of the wind: a wavy drift with a vortex about every light and two free ones."""
    psi = 1.5 * v + 0.10 * np.sin(5.2 * u + 6 * v) + 0.025 * wobble
    eddies = [(*MOON[:2], 0.17, 0.34), (0.43, 0.175, 0.11, -0.22), (0.16, 0.28, 0.10, 0.17)]
    eddies += [(x, y, 2.6 * r, 2.4 * r) for x, y, r in LANTERNS]
    for x, y, reach, strength in eddies:
        psi = psi + strength * np.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * (reach / 1.7) ** 2))
    return psi


def _sky(u: Array, v: Array, stream: Array) -> Array:
    height = v / SHORE
    base = ramp(
        height, [(0, "#0d1a4a"), (0.4, "#1c3f8f"), (0.6, "#2f74b5"), (0.78, "#8fbfae"), (0.86, "#f0d488")]
    )
    bands = 0.5 + 0.5 * np.sin(stream * 62)
    base = lay(base, ramp(height, [(0, "#3c63bd"), (0.6, "#7fb9dc"), (1, "#e8e2ae")]), 0.62 * bands**3)
    base = lay(base, "#081033", 0.5 * (1 - bands) ** 4 * (1 - 0.5 * height))
    return _glow(base, u, v, MOON, ["#fff6cf", "#f7dd7b", "#c9c47e", "#5f97b5"])


def _glow(base: Array, u: Array, v: Array, disc: tuple[float, float, float], colors: list[str]) -> Array:
    """Add a disc with rings of halo around it."""
    x, y, radius = disc
    d = np.hypot(u - x, (v - y)) / radius
    rings = 0.5 + 0.5 * np.cos(d * 7.5)
    base = lay(base, colors[3], 0.75 * smoothstep(3.6, 1.6, d) * (0.55 + 0.45 * rings))
    base = lay(base, colors[2], smoothstep(2.4, 1.1, d) * (0.45 + 0.55 * rings))
    base = lay(base, colors[1], smoothstep(1.35, 0.85, d))
    return lay(base, colors[0], smoothstep(0.85, 0.35, d))


def _ridges(rng: np.random.Generator, size: Size, u: Array) -> list[Array]:
    """Heights ``v`` of three mountain lines, far to near, each ``(1, width)``."""
    line = u[:1]
    rough = [noise(rng, size, (2, n), 5)[:1] for n in (6, 5, 4)]
    far = 0.415 - 0.05 * np.sin(6.0 * line + 0.6) + 0.012 * rough[0]
    middle = 0.455 - 0.06 * np.sin(4.4 * line + 3.6) + 0.010 * rough[1]
    near = (
        0.545 - 0.23 * np.exp(-(((line - 1.04) / 0.20) ** 2)) - 0.11 * np.exp(-(((line + 0.03) / 0.15) ** 2))
    )
    return [far, middle, near + 0.008 * rough[2]]


def _mountains(base: Array, v: Array, ridges: list[Array]) -> Array:
    tones = [("#35599c", "#7d94c0"), ("#1a3272", "#4a5f9c"), ("#080e28", "#26305c")]
    for ridge, (dark, light) in zip(ridges, tones, strict=True):
        depth = v - ridge
        body = ramp(depth, [(0, light), (0.05, dark), (0.2, dark)])
        base = lay(base, body, smoothstep(-0.002, 0.002, depth))
        base = lay(base, "#a9c6c4", 0.5 * smoothstep(0.008, 0.0, np.abs(depth - 0.003)))
    return base


def _water(base: Array, u: Array, v: Array, rng: np.random.Generator) -> Array:
    size = u.shape
    depth = np.clip((v - SHORE) / (0.75 - SHORE), 0, 1)
    ripple = noise(rng, size, (26, 4), 3)
    water = ramp(depth, [(0, "#6ea6b4"), (0.18, "#2b5f9f"), (0.6, "#173a80"), (1, "#0a1748")])
    water = lay(water, "#7fb6d6", 0.55 * smoothstep(0.6, 1.6, ripple))
    water = lay(water, "#060d2c", 0.6 * smoothstep(-0.6, -1.7, ripple))
    for x, _, radius in [MOON, *LANTERNS[:5], LANTERNS[7], LANTERNS[8]]:
        spread = radius * (0.55 + 0.9 * depth)
        off = np.abs(u - x - 0.012 * ripple * (0.4 + depth)) / spread
        broken = smoothstep(-0.5, 0.4, np.sin(depth**0.7 * 62 + 3 * ripple + 40 * x))
        column = smoothstep(1.2, 0.1, off) * broken * (1 - 0.55 * depth)
        water = lay(water, "#f0c860" if radius > 0.05 else "#f08a2c", column)
        water = lay(water, "#fff3c0", column * smoothstep(0.5, 0.0, off) * 0.8)
    base = lay(base, water, smoothstep(SHORE - 0.002, SHORE + 0.002, v))
    return lay(base, "#0a1230", smoothstep(0.008, 0.002, np.abs(v - SHORE - 0.002)) * 0.8)


def _boat(base: Array, u: Array, v: Array) -> Array:
    """Add a small boat with one lamp, left of the middle."""
    x, y = (u - 0.46) / 0.075, (v - 0.625) / 0.075
    hull = (y > 0.16 * x**2 - 0.06) & (y < 0.17 - 0.10 * x**2) & (np.abs(x) < 1.0)
    figure = (((x - 0.25) / 0.11) ** 2 + ((y + 0.12) / 0.22) ** 2 < 1) | (
        (x - 0.25) ** 2 + (y + 0.40) ** 2 < 0.010
    )
    base = lay(base, "#050a1e", (hull | figure).astype(np.float32))
    return _glow(base, u, v, (0.418, 0.606, 0.0105), ["#fff6cf", "#ffc44a", "#f08a2c", "#7a4a5a"])


def _angle(u: Array, v: Array, stream: Array, ridges: list[Array], rng: np.random.Generator) -> Array:
    """Strokes follow the wind in the sky, the slopes on the mountains and the level on the water."""
    angle = angle_along(stream)
    for ridge in ridges:
        slope = np.arctan(np.gradient(blur(ridge, u.shape[1] / 60)[0]) * u.shape[1])[None]
        lean = slope + 0.55 * np.sign(slope) * smoothstep(0.0, 0.06, v - ridge)
        angle = np.where(v > ridge, lean, angle)
    level = 0.10 * noise(rng, u.shape, (8, 5), 2)
    angle = np.where(v > SHORE, level, angle)
    for x, y, radius in [MOON, *LANTERNS]:
        d = np.hypot(u - x, v - y) / radius
        turning = np.arctan2(v - y, u - x) + np.pi / 2
        angle = np.where(d < 2.6, np.where(d < 0.5, 0.6, turning), angle)  # no eye in the middle of the disc
    return angle
