"""An oil painter: curved strokes of many bristles, laid from broad to fine, then lit from the upper left.

The order of work, broad brushes first and finer ones only where the picture still differs from the
composition, is Hertzmann's (Painterly rendering with curved brush strokes of multiple sizes, SIGGRAPH 1998).
Each stroke here is drawn as a bundle of bristle lines; their paint height travels in the alpha channel and
becomes the relief that catches the light.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from .fields import Array, blur

SUPERSAMPLE = 2  # strokes are drawn at twice the size: Pillow's lines have hard edges


@dataclass(frozen=True)
class Brush:
    """One size of brush and the way it is used; lengths are in widths of the canvas."""

    width: float
    length: float
    threshold: float = 0.0  # paint only where the canvas is further than this from the composition
    tolerance: float = 0.25  # a stroke ends where the composition leaves its first color by this much
    hue_jitter: float = 0.03
    light_jitter: float = 0.05
    wander: float = 0.12  # radians by which a stroke's direction differs from the field
    spacing: float = 0.75  # distance between strokes, in brush widths
    flat: float = 0.0  # 0: bristles end raggedly, the stroke tapers; 1: the square end of a knife


def _primed(composition: Array) -> Image.Image:
    """Prepare a dark, blurred underpainting in RGBA, alpha the paint height."""
    under = blur(composition, composition.shape[1] / 90) * 0.85
    layer = np.concatenate([under, np.full_like(under[..., :1], 0.35)], -1)
    picture = Image.fromarray((np.clip(layer, 0, 1) * 255).round().astype(np.uint8))
    return picture.resize(
        (picture.width * SUPERSAMPLE, picture.height * SUPERSAMPLE), Image.Resampling.NEAREST
    )


@dataclass
class _Strokes:
    points: Array  # (strokes, steps, 2), x and y in composition pixels
    steps: Array  # (strokes,), how many of the points are used
    colors: Array  # (strokes, 3)
    seconds: Array  # (strokes, 3): what else the brush picked up


class Canvas:
    """A supersampled canvas to which layers of strokes are added.

    Parameters
    ----------
    composition : array (height, width, 3)
        The picture to paint, 0 to 1.
    angle : array (height, width)
        Direction of the strokes, radians, 0 to the right and positive downwards.
    rng : numpy Generator
        Source of every jitter.
    """

    def __init__(self, composition: Array, angle: Array, rng: np.random.Generator) -> None:
        self.composition = composition
        self.angle = angle
        self.rng = rng
        self._picture = _primed(composition)
        self._draw = ImageDraw.Draw(self._picture)

    def paint(self, brush: Brush, where: Array | None = None) -> None:
        """Lay one layer of strokes; ``where`` (0 to 1) is the chance that a stroke is laid at a place."""
        strokes = self._plan(brush, self._starts(brush, where))
        for k in self.rng.permutation(len(strokes.steps)):
            used = strokes.points[k, : max(3, strokes.steps[k])]  # fewer points make no stroke
            self._stroke(used, strokes.colors[k], strokes.seconds[k], brush)

    def dab(self, x: float, y: float, radius: float, tint: Array) -> None:
        """Set one round dab of thick paint at ``x, y`` (composition pixels); ``tint`` is RGB in 0 to 1."""
        rgb = tuple((np.clip(tint, 0, 1) * 255).round().astype(int).tolist())
        for part, height in ((1.0, 120), (0.72, 150), (0.42, 165)):
            r = radius * part * SUPERSAMPLE
            box = (x * SUPERSAMPLE - r, y * SUPERSAMPLE - r, x * SUPERSAMPLE + r, y * SUPERSAMPLE + r)
            self._draw.ellipse(box, fill=(*rgb, height))

    def finish(self, relief: float = 0.5, gloss: float = 0.25) -> Image.Image:
        """Light the relief from the upper left and bring the picture to its final size."""
        data = np.asarray(self._picture).astype(np.float32) / 255
        height = blur(data[..., 3], 1.0)
        down, right = np.gradient(height)
        slope = (down + right) * -6
        lit = data[..., :3] * (1 + relief * np.clip(slope, -0.9, 0.9))[..., None]
        lit += gloss * (np.clip(slope - 0.25, 0, 1) ** 1.5)[..., None]
        picture = Image.fromarray((np.clip(lit, 0, 1) * 255).round().astype(np.uint8))
        return picture.resize(self.angle.shape[::-1], Image.Resampling.LANCZOS)

    def _starts(self, brush: Brush, where: Array | None) -> Array:
        height, width = self.angle.shape
        step = max(1.5, brush.width * width * brush.spacing)
        y, x = np.mgrid[step / 2 : height : step, step / 2 : width : step]
        starts = np.stack([x.ravel(), y.ravel()], -1)
        starts += self.rng.uniform(-step / 2, step / 2, starts.shape)
        rows, columns = self._cells(starts)
        keep = np.ones(len(starts), bool)
        if brush.threshold > 0:
            keep &= self._difference(brush.width * width)[rows, columns] > brush.threshold
        if where is not None:
            keep &= self.rng.uniform(size=len(starts)) < where[rows, columns]
        return starts[keep]

    def _difference(self, radius: float) -> Array:
        small = self._picture.convert("RGB").resize(self.angle.shape[::-1], Image.Resampling.BOX)
        error = np.abs(np.asarray(small, np.float32) / 255 - self.composition).sum(-1)
        return blur(error, radius / 2)

    def _cells(self, points: Array) -> tuple[Array, Array]:
        height, width = self.angle.shape
        columns = np.clip(points[..., 0], 0, width - 1).astype(int)
        return np.clip(points[..., 1], 0, height - 1).astype(int), columns

    def _plan(self, brush: Brush, starts: Array) -> _Strokes:
        rng, width = self.rng, self.angle.shape[1]
        count = len(starts)
        steps = 9
        first = self.composition[self._cells(starts)]
        nearby = starts + rng.normal(0, brush.width * width, starts.shape)
        seconds = self.composition[self._cells(nearby)]
        points, used = self._trace(brush, starts, first, steps)
        light = rng.normal(0, brush.light_jitter, (count, 1))
        hue = rng.normal(0, brush.hue_jitter, (count, 3))
        return _Strokes(points, used, first + light + hue, seconds + light + hue)

    def _trace(self, brush: Brush, starts: Array, first: Array, steps: int) -> tuple[Array, Array]:
        rng, width = self.rng, self.angle.shape[1]
        stride = brush.length * width / (steps - 1) * rng.uniform(0.6, 1.3, len(starts))
        turn = rng.normal(0, brush.wander, len(starts))
        flip = np.where(rng.uniform(size=len(starts)) < 0.5, np.pi, 0)
        points, used = [starts], np.ones(len(starts), int)
        alive = np.ones(len(starts), bool)
        last = self.angle[self._cells(starts)] + turn + flip
        for _ in range(steps - 1):
            wanted = self.angle[self._cells(points[-1])] + turn
            last = wanted + np.pi * np.round((last - wanted) / np.pi)  # never back the way it came
            points.append(points[-1] + stride[:, None] * np.stack([np.cos(last), np.sin(last)], -1))
            error = np.abs(self.composition[self._cells(points[-1])] - first).sum(-1)
            alive &= error < brush.tolerance * 3
            used += alive
        return np.stack(points, 1), used

    def _stroke(self, points: Array, first: Array, second: Array, brush: Brush) -> None:
        rng = self.rng
        size = brush.width * self.angle.shape[1] * SUPERSAMPLE
        count = max(2, round(size / 2.4))
        tangent = np.gradient(points, axis=0)
        normal = np.stack([-tangent[:, 1], tangent[:, 0]], -1)
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-6
        across = np.linspace(-0.5, 0.5, count)
        along = np.linspace(-1, 1, len(points))
        taper = 1 - (1 - brush.flat) * 0.75 * along**4
        lines = (points * SUPERSAMPLE)[None] + (across[:, None, None] * size) * (taper[:, None] * normal)[
            None
        ]
        colors = self._bristle_colors(first, second, across, brush)
        ragged = (1 - brush.flat) * len(points) * 0.22
        cut = rng.uniform(0, ragged + 0.01, (count, 2)).round().astype(int)
        thick = 3 if size > 5 else 2
        for line, fill, (head, tail) in zip(lines, colors, cut, strict=True):
            part = line[head : len(line) - tail]
            if len(part) > 1:
                self._draw.line(part.ravel().tolist(), fill=fill, width=thick)

    def _bristle_colors(
        self, first: Array, second: Array, across: Array, brush: Brush
    ) -> list[tuple[int, int, int, int]]:
        rng = self.rng
        share = np.clip(across * rng.normal(0, 1.6) + rng.normal(0.2, 0.3), 0, 1)[:, None]
        streak = rng.normal(0, brush.light_jitter * 0.7, (len(across), 1))
        rgb = np.clip(first + (second - first) * share + streak, 0, 1) * 255
        edge = 40 * np.abs(across) ** 3 * 8
        height = rng.uniform(90, 150) + edge * 0.8 + rng.normal(0, 22, len(across))
        table = np.concatenate([rgb, np.clip(height, 0, 255)[:, None]], 1).round().astype(int)
        return [tuple(row) for row in table.tolist()]
