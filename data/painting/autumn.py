"""A wet avenue of birches in autumn, laid on with a palette knife: reds, golds and slate blue."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .brush import Brush, Canvas
from .fields import Array, Size, grid, lay, noise, ramp, smoothstep

HORIZON = 0.40
VANISHING = (0.54, HORIZON)
# u, foot, width: the trunks, far to near; the crown grows with the width
TRUNKS = [
    (0.475, 0.425, 0.006), (0.600, 0.428, 0.006), (0.440, 0.445, 0.010), (0.648, 0.450, 0.011),
    (0.380, 0.480, 0.016), (0.725, 0.490, 0.018), (0.275, 0.545, 0.026), (0.850, 0.560, 0.030),
    (0.095, 0.655, 0.046),
]  # fmt: skip
CROWN = [
    (0.0, "#ffe36b"), (0.16, "#ffc21f"), (0.27, "#f58a12"),
    (0.38, "#d8400f"), (0.5, "#9c1420"), (0.66, "#3d0f2c"),
]  # fmt: skip
BARK = [(-0.9, "#1d1830"), (-0.2, "#5d5a78"), (0.3, "#d8d3c8"), (0.9, "#fff3d6")]
FALLEN = [(-2, "#4a1424"), (-0.7, "#a8281a"), (0.2, "#e5761a"), (1.0, "#ffc531"), (2, "#ffe98a")]


def paint(size: Size, rng: np.random.Generator) -> Image.Image:
    """Paint the picture at ``size`` (height, width)."""
    u, v = grid(size)
    scene = _trunks(_foliage(_light(u, v), u, v, rng), u, v, rng)
    composition = _walker(_road(scene, u, v, rng), u, v)
    canvas = Canvas(composition, _angle(u, v, rng), rng)
    knife = {"flat": 1.0, "wander": 0.35, "hue_jitter": 0.035}
    canvas.paint(Brush(0.052, 0.075, light_jitter=0.05, **knife))
    canvas.paint(Brush(0.030, 0.048, threshold=0.10, light_jitter=0.07, **knife))
    canvas.paint(Brush(0.017, 0.030, threshold=0.14, tolerance=0.22, light_jitter=0.08, **knife))
    canvas.paint(Brush(0.009, 0.022, threshold=0.22, tolerance=0.16, light_jitter=0.06, **knife))
    return canvas.finish(relief=0.6)


def _light(u: Array, v: Array) -> Array:
    """Light at the end of the avenue, cold sky above the crowns."""
    d = np.hypot((u - VANISHING[0]), (v - VANISHING[1] + 0.03) * 1.15)
    return ramp(d, [(0, "#fffbe0"), (0.07, "#ffe9a0"), (0.16, "#f7c35a"), (0.3, "#9fb7c4"), (0.5, "#4d7397")])


def _foliage(base: Array, u: Array, v: Array, rng: np.random.Generator) -> Array:
    """Crowns from both sides, meeting overhead, lighter and yellower towards the light."""
    size = u.shape
    clumps, leaves = noise(rng, size, (7, 9), 4), noise(rng, size, (22, 30), 3)
    away = np.hypot(u - VANISHING[0], (v - VANISHING[1]) * 0.9)
    cover = smoothstep(-0.25, 0.45, clumps * 0.4 + 9 * (away - 0.17) + 0.35 * leaves + 2 * (away > 0.26))
    tone = away + 0.07 * leaves + 0.05 * clumps
    crown = ramp(tone, CROWN)
    sunlit = smoothstep(0.7, 1.7, clumps + 0.4 * leaves) * smoothstep(0.65, 0.3, away)
    crown = lay(crown, "#ffb52e", 0.6 * sunlit)
    crown = lay(crown, "#ffd94a", 0.75 * smoothstep(1.0, 1.9, leaves))
    crown = lay(crown, "#2a4a3c", 0.65 * smoothstep(-1.0, -1.9, leaves))
    crown = lay(crown, "#4a1030", 0.7 * smoothstep(-0.9, -1.9, clumps))
    return lay(base, crown, cover * smoothstep(HORIZON + 0.1, HORIZON, v - 0.25 * np.abs(u - 0.54)))


def _trunk(x: float, width: float, v: Array) -> Array:
    """``u`` of the middle of the trunk that stands at ``x``, at every height ``v``."""
    return x + width * 0.5 * np.sin(v * 9 + 40 * x)


def _trunks(base: Array, u: Array, v: Array, rng: np.random.Generator) -> Array:
    bark = noise(rng, u.shape, (60, 14), 3)
    for x, foot, width in TRUNKS:
        across = (u - _trunk(x, width, v)) / (width * (0.42 + 0.25 * v / foot))
        tree = ramp(across * np.sign(VANISHING[0] - x) + 0.12 * bark, BARK)
        tree = lay(tree, "#1a1420", smoothstep(1.1, 1.5, bark))
        base = lay(base, tree, smoothstep(1.08, 0.92, np.abs(across)) * (v < foot))
    return base


def _road(scene: Array, u: Array, v: Array, rng: np.random.Generator) -> Array:
    """Lay the wet road and its verges below the horizon, but not over the feet of the trunks."""
    depth = np.clip(v - HORIZON, 0, 1)
    ripple = noise(rng, u.shape, (36, 6), 3)
    leaves = noise(rng, u.shape, (40, 30), 3)
    edge = np.abs(u - VANISHING[0] + 0.05 * depth) / (0.05 + 1.02 * depth)
    verge = ramp(leaves, FALLEN)
    verge = lay(verge, "#2b1a3a", 0.55 * smoothstep(0.10, 0.42, depth) * smoothstep(0.8, 2.2, edge))
    ground = lay(verge, _wet(scene, u, depth, ripple), smoothstep(1.06, 0.94, edge + 0.05 * leaves))
    ground = lay(ground, "#f2a82a", smoothstep(1.9, 2.3, leaves + 0.25 * ripple) * 0.9)
    feet = np.zeros(u.shape, np.float32)
    for x, foot, width in TRUNKS:
        feet = np.maximum(feet, (np.abs(u - _trunk(x, width, v)) < width * 0.66) & (v < foot))
    return lay(scene, ground, smoothstep(HORIZON - 0.001, HORIZON + 0.004, v) * (1 - feet))


def _wet(scene: Array, u: Array, depth: Array, ripple: Array) -> Array:
    """Mirror the scene in the road, broken by ripples, with a path of light down its middle."""
    height, width = u.shape
    rows, columns = np.arange(height)[:, None], np.arange(width)[None]
    mirrored = np.clip(2 * int(HORIZON * width) - rows, 0, height - 1)
    shifted = np.clip(columns + ripple * 0.012 * width * (0.3 + 3 * depth), 0, width - 1).astype(int)
    wet = lay(scene[mirrored, shifted] * 0.9, "#24489a", 0.12 + 0.60 * smoothstep(0.05, 0.35, depth))
    off = np.abs(u - VANISHING[0] - 0.02 * ripple) / (0.35 + 2 * depth)
    wet = lay(wet, "#ffe9a8", 0.9 * smoothstep(0.10, 0.0, off))
    wet = lay(wet, "#8fc4ec", 0.8 * smoothstep(0.6, 1.5, ripple) * smoothstep(0.02, 0.2, depth))
    return lay(wet, "#ff9a2a", 0.7 * smoothstep(-0.9, -1.7, ripple) * smoothstep(0.02, 0.15, depth))


def _walker(base: Array, u: Array, v: Array) -> Array:
    """Someone with a red umbrella, and their reflection."""
    x, y = (u - 0.555) / 0.05, (v - 0.475) / 0.05
    for mirrored in (False, True):
        t = 2.0 - y if mirrored else y
        body = (np.abs(x) < 0.20 + 0.10 * np.clip(t + 0.5, 0, 1)) & (t > -0.65) & (t < 1.0)
        dome = (x**2 + ((t + 0.55) / 0.85) ** 2 < 0.75) & (t < -0.55 + 0.10 * np.cos(x * 9))
        strength = 0.6 if mirrored else 1.0
        base = lay(base, "#141428", body * strength)
        base = lay(base, ramp(x, [(-0.8, "#7a0a14"), (0.2, "#e0202a"), (0.7, "#ff7a5a")]), dome * strength)
    return base


def _angle(u: Array, v: Array, rng: np.random.Generator) -> Array:
    """Slabs fall outwards from the light in the crowns, stand on the trunks, lie on the road."""
    wobble = noise(rng, u.shape, (9, 12), 2)
    away = np.arctan2(v - VANISHING[1], u - VANISHING[0]) + np.pi / 2 + 0.7 * wobble
    level = 0.12 * wobble + 0.5 * (u - VANISHING[0]) * smoothstep(0.25, 0.6, np.abs(u - VANISHING[0]))
    angle = np.where(v > HORIZON, level, away)
    for x, foot, width in TRUNKS:
        on = (np.abs(u - _trunk(x, width, v)) < width * 0.9) & (v < foot)
        angle = np.where(on, np.pi / 2 + 0.15 * wobble, angle)
    return angle
