"""A bay at sunset in dots of divided color: pine, sails, hills and a meadow in flower."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .brush import Canvas
from .fields import Array, Size, color, grid, lay, noise, ramp, smoothstep

HORIZON = 0.36
SUN = (0.635, 0.285, 0.040)
# the pure colors of the palette; every dot leans towards one of them
PALETTE = [
    "#f7d31e", "#f28a1a", "#e2432a", "#d62a72", "#7a35b0",
    "#2b45c0", "#1f8fd6", "#16a59a", "#3aa63a", "#fff3cf",
]  # fmt: skip
SKY = [
    (0, "#2a4fb8"), (0.3, "#5f8fd8"), (0.55, "#a8b8e0"),
    (0.75, "#f0c4b8"), (0.9, "#f8b070"), (1, "#f58a4a"),
]  # fmt: skip
GRASS = [(0, "#d8d048"), (0.04, "#8abf38"), (0.12, "#2f8a3c"), (0.22, "#145a50")]
NEEDLES = [(-1.0, "#1a1f68"), (-0.4, "#0f4a5a"), (0.2, "#1f8a4a"), (0.8, "#8ac23a"), (1.5, "#f8d84a")]
# u, foot, height, sail
BOATS = [(0.47, 0.435, 0.125, "#fff0d0"), (0.815, 0.415, 0.075, "#f6d8c8"), (0.365, 0.385, 0.042, "#f0c8c0")]
# u, v, half axes: the cushions of the pine
CROWNS = [
    (0.095, 0.175, 0.105, 0.045), (0.290, 0.165, 0.115, 0.045),
    (0.195, 0.105, 0.150, 0.058), (0.185, 0.200, 0.050, 0.030),
]  # fmt: skip


def paint(size: Size, rng: np.random.Generator) -> Image.Image:
    """Paint the picture at ``size`` (height, width)."""
    u, v = grid(size)
    composition = _sea(_hills(_sky(u, v, rng), u, v, rng), u, v, rng)
    composition = _pine(_meadow(_sails(composition, u, v), u, v, rng), u, v, rng)
    canvas = Canvas(composition, np.zeros(size, np.float32), rng)
    unit = size[1] / 768
    for radius, spacing, division in ((5.2, 6.6, 0.10), (3.5, 4.9, 0.20), (2.4, 4.3, 0.27)):
        _dots(canvas, radius * unit, spacing * unit, division, rng)
    return canvas.finish(relief=0.45, gloss=0.12)


def _dots(canvas: Canvas, radius: float, spacing: float, division: float, rng: np.random.Generator) -> None:
    """One layer of dots; ``division`` is how far their colors part from the color they build."""
    height, width = canvas.angle.shape
    y, x = np.mgrid[0 : height + spacing : spacing * 0.87, 0 : width + spacing : spacing]
    x[1::2] += spacing / 2
    places = np.stack([x.ravel(), y.ravel()], -1)
    places += rng.normal(0, spacing * 0.22, places.shape)
    places = places[rng.permutation(len(places))]
    rows = np.clip(places[:, 1], 0, height - 1).astype(int)
    columns = np.clip(places[:, 0], 0, width - 1).astype(int)
    tints = _divided(canvas.composition[rows, columns], division, rng)
    for (px, py), tint, r in zip(places, tints, radius * rng.uniform(0.75, 1.15, len(places)), strict=True):
        canvas.dab(px, py, r, tint)


def _divided(tones: Array, division: float, rng: np.random.Generator) -> Array:
    """Part each color into purer ones: most dots lean to a near palette color, some to an opposite one."""
    palette = np.stack([color(c) for c in PALETTE])
    distance = np.linalg.norm(tones[:, None] - palette[None], axis=-1)
    chance = np.exp(-distance / 0.16) + 0.004
    chosen = (rng.gumbel(size=chance.shape) + np.log(chance)).argmax(1)
    pull = rng.uniform(0.3, 1.0, (len(tones), 1)) * min(1.0, division * 2.6)
    mixed = tones + (palette[chosen] - tones) * pull
    accent = rng.uniform(size=(len(tones), 1)) < division * 0.2
    opposite = np.clip(2 * tones.mean(1, keepdims=True) - tones, 0, 1)
    mixed = np.where(accent, tones + (opposite - tones) * 0.6, mixed)
    light = rng.normal(0, division * 0.25, (len(tones), 1))
    grey = mixed.mean(1, keepdims=True)
    return np.clip(grey + (mixed - grey) * 1.15 + light, 0, 1)


def _sky(u: Array, v: Array, rng: np.random.Generator) -> Array:
    x, y, radius = SUN
    d = np.hypot(u - x, (v - y) * 1.25)
    high = np.clip(v / HORIZON, 0, 1)
    sky = ramp(high, SKY)
    sky = lay(sky, "#ffd060", 0.9 * smoothstep(0.42, 0.03, d))
    bars = noise(rng, u.shape, (12, 3), 4)
    sky = lay(sky, "#e0607a", 0.75 * smoothstep(0.35, 1.2, bars) * smoothstep(0.1, 0.5, high))
    sky = lay(sky, "#fff0b8", 0.8 * smoothstep(0.3, 0.0, np.abs(bars - 0.35)) * smoothstep(0.5, 0.1, d))
    sky = lay(sky, "#5a48a8", 0.5 * smoothstep(-0.7, -1.6, bars) * (1 - 0.6 * high))
    return lay(sky, "#fffbe0", smoothstep(radius * 1.05, radius * 0.9, np.hypot(u - x, v - y)))


def _peak(u: Array, middle: float, height: float, spread: float) -> Array:
    return height * np.exp(-(((u[:1] - middle) / spread) ** 2))


def _hills(base: Array, u: Array, v: Array, rng: np.random.Generator) -> Array:
    rough = noise(rng, u.shape, (2, 8), 5)[:1]
    far = 0.335 - _peak(u, 0.30, 0.055, 0.16) - _peak(u, 0.95, 0.04, 0.12) + 0.005 * rough
    near = 0.372 - _peak(u, 1.02, 0.125, 0.13) - _peak(u, 0.04, 0.075, 0.16) + 0.008 * rough
    for line, dark, light in ((far, "#6a62b8", "#b98ac0"), (near, "#2a3a88", "#7a4a98")):
        body = ramp(v - line, [(0.0, light), (0.05, dark)])
        base = lay(base, body, (v > line).astype(np.float32))
    return base


def _sea(base: Array, u: Array, v: Array, rng: np.random.Generator) -> Array:
    depth = np.clip((v - HORIZON) / 0.25, 0, 1)
    ripple = noise(rng, u.shape, (44, 6), 3)
    sea = ramp(depth, [(0, "#f0a878"), (0.15, "#b890c0"), (0.4, "#4f7fc8"), (1, "#164a98")])
    sea = lay(sea, "#0f9aa8", 0.7 * smoothstep(0.5, 1.4, ripple) * (0.3 + 0.7 * depth))
    sea = lay(sea, "#1a2f80", 0.7 * smoothstep(-0.5, -1.5, ripple) * (0.3 + 0.7 * depth))
    off = np.abs(u - SUN[0] - 0.006 * ripple) / (0.035 + 0.07 * depth)
    path = smoothstep(1.3, 0.2, off) * smoothstep(-0.6 - 0.4 * (1 - depth), 0.5, ripple)
    sea = lay(lay(sea, "#ff9a30", path), "#fff2a8", path * smoothstep(0.8, 0.0, off))
    return lay(base, sea, (v > HORIZON).astype(np.float32))


def _sails(base: Array, u: Array, v: Array) -> Array:
    """Three boats with their reflections."""
    for x, foot, tall, tint in BOATS:
        t = (foot - v) / tall
        main = (t > 0.06) & (t < 1) & (u > x) & (u < x + 0.46 * tall * np.clip(1 - t, 0, 1) ** 0.8)
        jib = (t > 0.08) & (t < 0.82) & (u < x - 0.03 * tall) & (u > x - 0.34 * tall * (0.82 - t))
        hull = (t < 0.04) & (t > -0.09) & (np.abs(u - x - 0.06 * tall) < tall * (0.40 + 0.9 * t))
        sway = u - x - 0.10 * tall + 0.02 * np.sin(v * 400) * tall
        glass = (t < -0.09) & (t > -0.8) & (np.abs(sway) < 0.22 * tall * (1 + t))
        base = lay(base, tint, 0.65 * glass)
        base = lay(lay(base, tint, main), "#e8583a", jib)
        base = lay(base, "#4a1a48", hull)
    return base


def _meadow(base: Array, u: Array, v: Array, rng: np.random.Generator) -> Array:
    edge = 0.635 - 0.13 * smoothstep(0.55, 0.0, u) - 0.035 * smoothstep(0.7, 1.0, u)
    edge = edge + 0.006 * noise(rng, u.shape, (4, 14), 3)
    depth = v - edge
    clumps, flowers = noise(rng, u.shape, (16, 18), 3), noise(rng, u.shape, (60, 76), 2)
    field = ramp(depth + 0.02 * clumps, GRASS)
    field = lay(field, "#f6e86a", 0.7 * smoothstep(0.7, 1.7, clumps))
    field = lay(field, "#1c3c70", 0.7 * smoothstep(-0.6, -1.5, clumps))
    for low, tint in ((1.35, "#e8303a"), (1.9, "#ffd23a")):
        field = lay(field, tint, smoothstep(low, low + 0.3, flowers) * smoothstep(0.0, 0.02, depth))
    field = lay(field, "#e05aa0", smoothstep(-1.5, -1.8, flowers) * smoothstep(0.0, 0.02, depth))
    return lay(base, field, smoothstep(-0.002, 0.003, depth))


def _pine(base: Array, u: Array, v: Array, rng: np.random.Generator) -> Array:
    """Add an umbrella pine on the left, its lit side towards the sun."""
    ragged = noise(rng, u.shape, (20, 26), 3)
    x = 0.150 + 0.035 * np.sin((0.56 - v) * 6.5)
    trunk = (np.abs(u - x) < 0.012 + 0.012 * smoothstep(0.45, 0.56, v)) & (v > 0.15) & (v < 0.56)
    base = lay(base, ramp((u - x) / 0.02, [(-0.6, "#3a1a4a"), (0.1, "#8a3a2a"), (0.6, "#f09a4a")]), trunk)
    for branch in (-1, 1):
        line = x + branch * (0.30 - v) * 0.85
        base = lay(base, "#5a2440", (np.abs(u - line) < 0.007) & (v > 0.16) & (v < 0.29))
    for x, y, a, b in CROWNS:
        px, py = (u - x) / a, (v - y) / b
        inside = px**2 + py**2 + 0.16 * ragged
        tone = 0.55 * px - 0.75 * py + 0.35 * ragged
        leaf = ramp(tone, NEEDLES)
        base = lay(base, leaf, smoothstep(1.04, 0.94, inside))
    return base
