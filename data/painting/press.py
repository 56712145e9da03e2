"""A woodblock press: flat color blocks and a key block of lines, printed on fibrous paper."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from .fields import Array, Size, color, lay, noise, ramp, smoothstep

SUPERSAMPLE = 3
KEY = "#14223f"  # the ink of the lines


class Press:
    """Two carved blocks, one of colors and one of lines; points are in canvas widths, shape (n, 2)."""

    def __init__(self, size: Size) -> None:
        self.size = size
        self._scale = size[1] * SUPERSAMPLE
        large = (self._scale, size[0] * SUPERSAMPLE)
        self._colors = Image.new("RGBA", large, (0, 0, 0, 0))
        self._lines = Image.new("L", large, 0)
        self._block, self._key = ImageDraw.Draw(self._colors), ImageDraw.Draw(self._lines)

    def fill(self, points: Array, tint: str) -> None:
        """Fill a polygon with a color; it hides the lines below it."""
        corners = (points * self._scale).ravel().tolist()
        rgb = tuple((color(tint) * 255).round().astype(int).tolist())
        self._block.polygon(corners, fill=(*rgb, 255))
        self._key.polygon(corners, fill=0)

    def line(self, points: Array, width: float) -> None:
        """Carve a line ``width`` wide that swells in its middle and thins out towards both ends."""
        swell = np.sin(np.linspace(0.12, np.pi - 0.12, len(points)))
        self._key.polygon((ribbon(points, width * swell) * self._scale).ravel().tolist(), fill=255)

    def outlined(self, shapes: list[Array], widths: list[Array], tint: str, rim: float) -> None:
        """Fill many tapering strokes with one color and carve a single line around their union."""
        for path, width in zip(shapes, widths, strict=True):
            self._key.polygon((ribbon(path, width + 2 * rim) * self._scale).ravel().tolist(), fill=255)
        for path, width in zip(shapes, widths, strict=True):
            self.fill(ribbon(path, width), tint)

    def disc(self, x: float, y: float, radius: float, tint: str, rim: float = 0.0) -> None:
        """Fill a disc, with a carved rim if one is asked for."""
        turn = np.linspace(0, 2 * np.pi, 60, endpoint=False)
        circle = np.stack([np.cos(turn), np.sin(turn)], -1)
        if rim > 0:
            self._key.polygon(((circle * (radius + rim) + (x, y)) * self._scale).ravel().tolist(), fill=255)
        self.fill(circle * radius + (x, y), tint)

    def pull(self, rng: np.random.Generator) -> Image.Image:
        """Print both blocks on paper, the lines a little out of register."""
        inked = np.asarray(self._shrunk(self._colors), np.float32) / 255
        lines = np.asarray(self._shrunk(self._lines), np.float32) / 255
        lines = np.pad(lines, 1, mode="edge")[:-2, 2:]  # a pixel down and to the left
        size = self.size
        grain = 1.3 * noise(rng, size, (90, 3), 3) + 0.6 * noise(rng, size, (110, 160), 2)
        cover = inked[..., 3] * np.clip(0.93 + 0.05 * grain, 0, 1)
        tone = inked[..., :3] / np.maximum(inked[..., 3:], 1e-3) * (1 + 0.045 * grain)[..., None]
        sheet = lay(_paper(size, rng), tone, cover)
        worn = np.clip(1.05 - 0.35 * smoothstep(0.8, 2.2, noise(rng, size, (90, 120), 2)), 0, 1)
        sheet = lay(sheet, KEY, lines * worn)
        sheet *= (1 + 0.018 * noise(rng, size, (200, 260), 1))[..., None]
        return Image.fromarray((np.clip(sheet, 0, 1) * 255).round().astype(np.uint8))

    def _shrunk(self, block: Image.Image) -> Image.Image:
        return block.resize(self.size[::-1], Image.Resampling.BOX)


def _paper(size: Size, rng: np.random.Generator) -> Array:
    """Warm paper; the sky is wiped on it by hand, dark above and rosy at the horizon."""
    height = np.linspace(0, 1, size[0])[:, None] + 0.010 * noise(rng, size, (3, 5), 3)
    stops = [(0.0, "#3a5478"), (0.10, "#7f97a4"), (0.22, "#d6cfb6"), (0.42, "#f1e4c2"), (0.62, "#f2c795")]
    sheet = ramp(height, [*stops, (0.72, "#e9a77c")])
    wiped = noise(rng, size, (120, 4), 3)
    sheet = sheet * (1 + 0.030 * wiped)[..., None]
    fibers = smoothstep(0.06, 0.0, np.abs(noise(rng, size, (14, 18), 3))) * smoothstep(
        0.3, 1.2, noise(rng, size, (30, 40), 1)
    )
    return lay(sheet, "#fffaf0", 0.30 * fibers)


def ribbon(path: Array, width: Array) -> Array:
    """Outline ``(2 n, 2)`` of a stroke along ``path`` (n, 2), ``width`` (n,) wide."""
    tangent = np.gradient(path, axis=0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-9
    side = normal * (width / 2)[:, None]
    return np.concatenate([path + side, (path - side)[::-1]])


def curve(points: list[tuple[float, float]], count: int = 120) -> Array:
    """Smooth curve (Catmull-Rom) through ``points``, sampled at ``count`` places."""
    p = np.array([points[0], *points, points[-1]], float)
    place = np.linspace(0, len(points) - 1 - 1e-9, count)
    k, t = place.astype(int), (place % 1)[:, None]
    a, b, c, d = (p[k + n] for n in range(4))
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
