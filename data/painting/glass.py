"""A stained-glass window: a swirling sun over terraced hills, a river, poplars and poppies."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .fields import Array, Size, blur, color, grid, lay, noise, ramp, smoothstep

SUPERSAMPLE = 2
SUN = (0.585, 0.265)
BORDER = 0.054
LEAD = 0.0026  # half the width of a lead line
RINGS = [0.062, 0.116, 0.168, 0.226, 0.290, 0.362, 0.445, 0.545]
SECTORS = [1, 16, 16, 32, 32, 32, 48, 48, 48]


class Window:
    """Panes cut so far: ``labels`` says which pane a pixel is of, ``tones`` what color that glass has."""

    def __init__(self, size: Size, rng: np.random.Generator) -> None:
        self.u, self.v = grid(size)
        self.rng = rng
        self.labels = np.zeros(size, np.int32)
        self.tones = np.zeros((*size, 3), np.float32)
        self._next = 1

    def cut(self, shape: Array, index: Array | int, glass: list[str] | Array) -> None:
        """Cut ``shape`` (bool) out of what is there and fill it with panes, one for each value of ``index``.

        ``glass`` is the colors to draw from at random, or a color field that the panes follow on average.
        """
        codes = np.broadcast_to(np.asarray(index), shape.shape)[shape]
        values, pane = np.unique(codes, return_inverse=True)
        self.labels[shape] = self._next + pane
        self._next += len(values)
        if isinstance(glass, list):
            table = np.stack([color(str(c)) for c in self.rng.choice(glass, len(values))])
        else:
            count = np.maximum(np.bincount(pane), 1)[:, None]
            table = np.stack([np.bincount(pane, glass[shape][:, c]) for c in range(3)], -1) / count
        shade = self.rng.normal(1, 0.10, (len(values), 1)) + self.rng.normal(0, 0.035, (len(values), 3))
        self.tones[shape] = (table * shade)[pane]


def paint(size: Size, rng: np.random.Generator) -> Image.Image:
    """Paint the picture at ``size`` (height, width)."""
    window = Window((size[0] * SUPERSAMPLE, size[1] * SUPERSAMPLE), rng)
    _sky(window)
    _clouds(window)
    _hills(window)
    _river(window)
    for x, foot, tall in [(0.125, 0.640, 0.42), (0.205, 0.650, 0.31), (0.900, 0.560, 0.25)]:
        _poplar(window, x, foot, tall)
    for x, y, radius in [(0.735, 0.590, 0.056), (0.850, 0.645, 0.046), (0.290, 0.640, 0.040)]:
        _poppy(window, x, y, radius)
    _frame(window)
    lit = _glass(window)
    picture = Image.fromarray((np.clip(_leaded(lit, window, rng), 0, 1) * 255).round().astype(np.uint8))
    return picture.resize(size[::-1], Image.Resampling.LANCZOS)


def _sky(w: Window) -> None:
    r = np.hypot(w.u - SUN[0], w.v - SUN[1])
    turn = (np.arctan2(w.v - SUN[1], w.u - SUN[0]) + 1.9 * r) / (2 * np.pi)
    scallop = r + 0.010 * np.cos(turn * 2 * np.pi * 16) * smoothstep(0.07, 0.12, r)
    ring = np.searchsorted(RINGS, scallop)
    count = np.array(SECTORS)[ring]
    sector = np.floor((turn % 1) * count + 0.5 * (ring % 2)) % count
    stops = [(0.0, "#fff3b0"), (0.06, "#fff0a0"), (0.075, "#ffc21a"), (0.13, "#ff9a10"), (0.19, "#ee5514")]
    stops += [(0.25, "#d8203a"), (0.32, "#b01a78"), (0.40, "#6a26b8"), (0.49, "#2a44d0"), (0.62, "#12308f")]
    ray = np.where((np.floor(turn * 16) % 2 == 0) & (ring > 1), -0.022, 0.022)
    w.cut(np.ones(r.shape, bool), ring * 100 + sector, ramp(r + ray * (ring > 0), stops))


def _clouds(w: Window) -> None:
    glass = ["#d8c8f0", "#b9b4ee", "#f0bcd4", "#a8c4f0"]
    for x, y, scale in [(0.275, 0.185, 0.050), (0.865, 0.150, 0.040)]:
        for k, (dx, dy, r) in enumerate(
            [(-1.5, 0.1, 0.85), (1.35, 0.15, 0.75), (-0.4, -0.35, 1.05), (0.65, -0.1, 0.9)]
        ):
            puff = np.hypot(w.u - x - dx * scale, w.v - y - dy * scale) < r * scale
            w.cut(puff & (w.v < y + 0.42 * scale), k, glass)


def _hills(w: Window) -> None:
    u, v = w.u, w.v
    lines = [
        0.415 + 0.028 * np.sin(8.0 * u + 0.2),
        0.480 + 0.045 * np.sin(5.5 * u + 2.5),
        0.575 + 0.040 * np.sin(5.0 * u + 5.4),
    ]
    glass = [
        ["#1d7f86", "#2f9a86", "#56b38a", "#2a6f9a"],
        ["#3f9a2a", "#86b820", "#1f7f3a", "#c8c022", "#2f8f5a"],
        ["#0f5a34", "#1d7a2c", "#0f4a44", "#5a8f18", "#c4761a"],
    ]
    for k, (line, colors) in enumerate(zip(lines, glass, strict=True)):
        depth = (v - line) / (0.034 + 0.012 * k)
        terrace = np.floor(np.clip(depth, 0, 9) ** 0.9)
        cuts = np.floor((u + (0.9 - 0.6 * k) * (v - line)) * (13 - k) + 0.37 * terrace)
        w.cut(v > line, terrace * 100 + cuts, colors)


def _river(w: Window) -> None:
    depth = np.clip(w.v - 0.445, 0, 1)
    off = (w.u - 0.485 - 0.105 * np.cos(depth * 19.0)) / (0.012 + 0.40 * depth)
    glass = ["#2f9fe0", "#5fc4ec", "#1670c8", "#9fe4f4", "#2f86d8", "#f4cf62"]
    wave = np.floor(11 * np.sqrt(depth * 3.2) + 0.16 * np.sin(off * 4))
    w.cut((np.abs(off) < 1) & (depth > 0), wave * 2 + (off > 0.25 * np.sin(wave * 2.4)), glass)


def _poplar(w: Window, x: float, foot: float, tall: float) -> None:
    t = np.clip((foot - w.v) / tall, 0, 1)
    off = (w.u - x - 0.006 * np.sin(t * 6)) / (
        0.165 * tall * np.clip(np.sin(np.pi * t**0.8), 0, 1) ** 0.75 + 1e-4
    )
    feather = np.floor(t * 7 - 0.45 * np.abs(off))
    crown = (np.abs(off) < 1) & (w.v < foot) & (w.v > foot - tall)
    w.cut((np.abs(w.u - x) < 0.007) & (w.v > foot - 0.02) & (w.v < foot + 0.035), 0, ["#5a2a18"])
    w.cut(crown, feather * 2 + (off > 0), ["#0b6a4a", "#128a62", "#0a5a6a", "#2f9a3c", "#4a8a1a"])


def _poppy(w: Window, x: float, y: float, radius: float) -> None:
    r = np.hypot(w.u - x, w.v - y) / radius
    turn = np.arctan2(w.v - y, w.u - x) / (2 * np.pi) + 0.11
    lobes = 0.86 + 0.14 * np.abs(np.sin(turn * np.pi * 6))
    stem = (np.abs(w.u - x - 0.25 * radius * np.sin((w.v - y) * 40)) < 0.004) & (w.v > y)
    w.cut(stem, 0, ["#1f7a2c"])
    for side in (-1, 1):
        along, across = (w.u - x - side * 0.75 * radius) / radius, (w.v - y - 1.25 * radius) / radius
        leaf = (along + side * across) ** 2 / 0.75 + (along - side * across) ** 2 * 6 < 1
        w.cut(leaf, (along - side * across > 0).astype(int), ["#2f9a3a", "#6ab82a", "#1a7a4a"])
    w.cut(r < lobes, np.floor(turn * 6) % 6, ["#e0181c", "#f23a1c", "#c80f3a", "#ff5a2a"])
    w.cut(r < 0.34, 0, ["#2a0f3a"])
    w.cut(r < 0.17, 0, ["#ffd23a"])


def _frame(w: Window) -> None:
    """Add a pearl line and a band of panes around the picture, a roundel in each corner."""
    height = w.u.shape[0] / w.u.shape[1]
    inset = np.minimum(np.minimum(w.u, 1 - w.u), np.minimum(w.v, height - w.v))
    level = (np.minimum(w.v, height - w.v) <= inset + 1e-6).astype(int)
    pane = np.where(level, np.floor(w.u * 15), 200 + np.floor(w.v * 15 / height * 0.73))
    side = np.where(level, w.v > height / 2, w.u > 0.5)
    w.cut(inset < BORDER, pane * 2 + side, ["#f2e2b8", "#ecd9a0", "#f6ebcf"])
    w.cut(
        inset < BORDER * 0.78,
        pane * 2 + side,
        ["#8a0f2e", "#a81634", "#4a136a", "#6a1a86", "#1a2f8a", "#b0151f"],
    )
    for x in (BORDER * 0.72, 1 - BORDER * 0.72):
        for y in (BORDER * 0.72, height - BORDER * 0.72):
            r = np.hypot(w.u - x, w.v - y) / BORDER
            quarter = np.floor(np.arctan2(w.v - y, w.u - x) / (np.pi / 2) + 0.5) % 4
            w.cut(np.maximum(np.abs(w.u - x), np.abs(w.v - y)) < BORDER * 0.72, 0, ["#123a2c"])
            w.cut(r < 0.68, quarter, ["#f0a814", "#ffc83a", "#e0820f"])
            w.cut(r < 0.30, 0, ["#c8142a"])


def _glass(w: Window) -> Array:
    """Let the sun through the glass: reams, drawn out in a direction of each pane's own, and seeds."""
    size, rng = w.labels.shape, w.rng
    reams = np.stack([noise(rng, size, cells, 4) for cells in ((2, 46), (34, 3), (5, 22))])
    turn = rng.integers(0, 3, w.labels.max() + 1)[w.labels]
    ream = np.take_along_axis(reams, turn[None], 0)[0]
    hammered = noise(rng, size, (70, 94), 2)
    down, right = np.gradient(hammered + 0.8 * ream)
    glint = np.clip(-(down + right) * size[1] / 150, -1.2, 1.2)
    sun = np.exp(-((w.u - SUN[0]) ** 2 + (w.v - SUN[1]) ** 2) / 0.14)
    light = 0.84 + 0.28 * sun + 0.12 * ream + 0.07 * glint
    lit = w.tones * np.clip(light, 0.25, 2)[..., None]
    lit = lay(lit, "#fffbe8", np.clip(0.05 + 0.07 * ream + 0.09 * glint, 0, 0.35))
    seeds = smoothstep(3.0, 3.5, noise(rng, size, (150, 200), 1))
    return lay(lit, "#ffffff", 0.6 * seeds)


def _seams(w: Window) -> Array:
    """Distance to the nearest seam between panes, in canvas widths, right up to about two lead widths."""
    labels = w.labels
    seam = np.zeros(labels.shape, np.float32)
    seam[:, 1:] += labels[:, 1:] != labels[:, :-1]
    seam[1:] += labels[1:] != labels[:-1]
    reach = LEAD * labels.shape[1] * 0.9
    spread = blur(np.minimum(seam, 1), reach)
    straight = 1 / (reach * np.sqrt(2 * np.pi))  # the value on a long straight seam one pixel wide
    return reach * np.sqrt(-2 * np.log(np.clip(spread / straight, 1e-4, 1))) / labels.shape[1]


def _leaded(lit: Array, w: Window, rng: np.random.Generator) -> Array:
    """Round lead between the panes: dirt beside it, a highlight along its upper left side."""
    edge = _seams(w)
    half = LEAD * (1 + 0.10 * noise(rng, edge.shape, (30, 40), 2))
    lit = lit + 0.20 * blur(np.clip(lit, 0, 1), edge.shape[1] / 90)
    lit = lit * (1 - 0.50 * smoothstep(2.4, 0.9, edge / half))[..., None]
    profile = blur(np.sqrt(np.clip(1 - (edge / half) ** 2, 0, 1)), 1.5)
    down, right = np.gradient(profile)
    lead = 0.07 + 0.05 * profile + np.clip((down + right) * 0.7, -0.1, 0.35)
    lead += 0.015 * noise(rng, edge.shape, (150, 200), 2)
    metal = np.clip(lead, 0.01, 1)[..., None] * np.array([0.94, 0.97, 1.06], np.float32)
    return lay(lit, metal, smoothstep(1.10, 0.90, edge / half))
