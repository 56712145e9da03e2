"""A woodblock print: indigo waves with claws of foam, plovers and a red sun."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .fields import Array, Size
from .press import Press, curve

FOAM = "#f6eed6"
# the color of each band of water and the share of the wave's breadth it takes
BANDS = [
    ("#1d3f78", 3.0), ("#f1e7cb", 0.7), ("#2f5f98", 2.2), ("#8fb3bd", 1.0), ("#182f60", 2.6),
    ("#f1e7cb", 0.6), ("#4a82ab", 2.0), ("#1d3f78", 2.4), ("#a9c4c4", 0.9), ("#274f8a", 2.4),
    ("#f1e7cb", 0.5), ("#14274f", 2.6),
]  # fmt: skip
# the back of a breaking wave and its hollow face, both from the foot to the lip
BACK = [
    (-0.10, 0.70), (-0.02, 0.46), (0.06, 0.27), (0.17, 0.12), (0.31, 0.065), (0.44, 0.105),
    (0.535, 0.20), (0.562, 0.285),
]  # fmt: skip
FACE = [
    (0.70, 0.70), (0.52, 0.655), (0.39, 0.57), (0.325, 0.455), (0.335, 0.35), (0.395, 0.275),
    (0.455, 0.262), (0.500, 0.300),
]  # fmt: skip
# the same for the low waves: dark bands are broad, pale ones narrow
STRIPES = [
    ("#24508c", 0.64), ("#8db2bd", 0.22), ("#1b3a72", 0.64), ("#f1e7cb", 0.22),
    ("#2f649c", 0.64), ("#16305f", 0.64), ("#a9c4c4", 0.22), ("#1b3a72", 0.64),
]  # fmt: skip


def paint(size: Size, rng: np.random.Generator) -> Image.Image:
    """Paint the picture at ``size`` (height, width)."""
    press = Press(size)
    press.disc(0.735, 0.205, 0.098, "#cc3a22")
    _plovers(press, rng)
    _swell(press, rng, 0.440, 0.020, 0.9, 5)
    _breaker(press, rng, np.array([0.575, 0.245]), 0.46)
    _swell(press, rng, 0.535, 0.028, 2.6, 6)
    _breaker(press, rng, np.array([0.0, 0.0]), 1.0)
    _swell(press, rng, 0.600, 0.034, 4.6, 7)
    _swell(press, rng, 0.670, 0.030, 1.2, 7)
    _seal(press)
    return press.pull(rng)


def _breaker(press: Press, rng: np.random.Generator, at: Array, scale: float) -> None:
    """One breaking wave; ``at`` moves it, ``scale`` shrinks it."""
    back, face = curve(BACK) * scale + at, curve(FACE) * scale + at
    press.fill(np.concatenate([back, face[::-1]]), BANDS[0][0])
    _bands(press, back, face, scale)
    press.line(back[: int(0.55 * len(back))], 0.006 * scale)
    press.line(face, 0.006 * scale)
    _foam(press, rng, back, face, scale)


def _bands(press: Press, back: Array, face: Array, scale: float) -> None:
    shares = np.cumsum([0.0, *(share for _, share in BANDS)])
    shares /= shares[-1]
    for (tint, _), low, high in zip(BANDS, shares[:-1], shares[1:], strict=True):
        edges = [back + (face - back) * s for s in (low, high)]
        press.fill(np.concatenate([edges[0], edges[1][::-1]]), tint)
    for s in shares[1:-1]:
        press.line(back + (face - back) * s, 0.0034 * scale**0.7)
    for s in np.linspace(0.02, 0.98, 40):
        path = back + (face - back) * s
        press.line(path[14:96], 0.0014 * scale**0.5)


def _foam(press: Press, rng: np.random.Generator, back: Array, face: Array, scale: float) -> None:
    """Print the cap along the crest, claws along its inner edge and at the lip, spray before it."""
    t = np.linspace(0, 1, len(back))
    reach = np.clip((t - 0.38) / 0.62, 0, 1) ** 0.8 * (0.60 + 0.05 * np.sin(t * 60))
    inner = back + (face - back) * reach[:, None]
    cap = np.concatenate([back[44:], inner[44:][::-1]])
    paths: list[Array] = []
    widths: list[Array] = []
    for k in range(50, len(back) - 1, 4):
        forward = inner[k] - inner[k - 3]
        heading = np.arctan2(forward[1], forward[0]) + rng.normal(0.75, 0.22)
        size = scale * (0.040 + 0.045 * t[k]) * rng.uniform(0.75, 1.25)
        _claw(rng, inner[k], heading, size, rng.uniform(0.5, 1.5), 2, paths, widths)
    for s in np.linspace(0.0, 1.0, 8):
        root = back[-1] + (face[-1] - back[-1]) * s
        heading = 0.55 + 1.25 * s + rng.normal(0, 0.12)
        _claw(rng, root, heading, scale * rng.uniform(0.055, 0.085), rng.uniform(0.6, 1.4), 2, paths, widths)
    for k in range(46, len(back) - 2, 5):
        outward = back[k] - back[k - 3]
        heading = np.arctan2(outward[1], outward[0]) + rng.normal(-0.35, 0.25)
        size = scale * rng.uniform(0.022, 0.040)
        _claw(rng, back[k], heading, size, rng.uniform(0.2, 1.4), 1, paths, widths)
    press.outlined(paths, widths, FOAM, 0.0028 * scale**0.6)
    press.fill(cap, FOAM)
    _veins(press, rng, back, inner, scale)
    _spray(press, rng, back[-1], scale)


def _veins(press: Press, rng: np.random.Generator, back: Array, inner: Array, scale: float) -> None:
    """Short lines and a blue shadow inside the foam, along the stream."""
    for s in (0.30, 0.52, 0.72, 0.9):
        path = back + (inner - back) * s
        for start in range(56, len(path) - 14, 13):
            head = start + int(rng.integers(0, 6))
            part = path[head : head + int(rng.integers(7, 13))]
            if rng.uniform() < 0.45:
                swell = 0.010 * scale * np.sin(np.linspace(0.1, 3.0, len(part)))
                press.outlined([part], [swell], "#9fbcc4", 0.0)
            press.line(part, 0.0022 * scale**0.6)


def _claw(
    rng: np.random.Generator,
    root: Array,
    heading: float,
    length: float,
    bend: float,
    depth: int,
    paths: list[Array],
    widths: list[Array],
) -> None:
    """Grow a hooked finger of foam and, ``depth`` levels down, the smaller ones that branch from it."""
    t = np.linspace(0, 1, 14)
    angle = heading + bend * t**1.5 * 1.4
    step = np.stack([np.cos(angle), np.sin(angle)], -1) * length / len(t)
    path = root + np.cumsum(step, 0) - step[0] * 2
    paths.append(path)
    widths.append(length * 0.34 * (1 - 0.85 * t**1.3))
    if depth == 0:
        return
    for place, side in ((5, 1), (8, -1), (11, 1)):
        turn = angle[place] + side * rng.uniform(0.5, 0.95)
        _claw(rng, path[place], turn, length * rng.uniform(0.36, 0.52), bend * 0.9, depth - 1, paths, widths)


def _spray(press: Press, rng: np.random.Generator, lip: Array, scale: float) -> None:
    for _ in range(46):
        x, y = lip + scale * np.array([rng.uniform(-0.16, 0.13), 0.02 + rng.gamma(2.0, 0.045)])
        if y < lip[1] + 0.27 * scale:
            press.disc(x, y, scale * rng.uniform(0.0016, 0.0060), FOAM, 0.0016 * scale**0.6)


def _swell(press: Press, rng: np.random.Generator, top: float, rise: float, phase: float, lines: int) -> None:
    """Print a low wave across the whole sheet, striped, with a fringe of foam along its crest."""
    x = np.linspace(-0.02, 1.02, 260)
    sway = np.sin(7.5 * x + phase) + 0.35 * np.sin(17 * x + 2.1 * phase)
    crest = np.stack([x, top - rise * sway], -1)
    depth = 0.0
    for k in range(lines + 1):
        tint, breadth = STRIPES[k % len(STRIPES)]
        level = crest + np.stack([0 * x, depth * (1 - 0.35 * sway)], -1)
        press.fill(np.concatenate([level, [[1.02, 0.80], [-0.02, 0.80]]]), tint)
        for part in np.array_split(level, 3):
            press.line(part, 0.0036)
        for part in np.array_split(level + np.array([0, 0.006]), 11)[k % 2 :: 2]:
            press.line(part, 0.0016)
        depth += 0.006 + rise * breadth
    _fringe(press, rng, crest, sway, rise)


def _fringe(press: Press, rng: np.random.Generator, crest: Array, sway: Array, rise: float) -> None:
    """Foam where a low wave stands highest."""
    paths: list[Array] = []
    widths: list[Array] = []
    for k in range(4, len(crest) - 4, 5):
        if sway[k] > -0.15 + rng.normal(0, 0.2):
            size = rise * rng.uniform(0.7, 1.2) * (0.6 + 0.6 * max(sway[k], 0))
            heading, bend = rng.normal(-0.6, 0.3), rng.uniform(0.8, 1.8)
            _claw(rng, crest[k] + np.array([0, 0.003]), heading, size, bend, 1, paths, widths)
    press.outlined(paths, widths, FOAM, 0.0018)


def _plovers(press: Press, rng: np.random.Generator) -> None:
    """Print a small flock crossing the sun."""
    for k in range(6):
        x = 0.64 + 0.050 * k + rng.normal(0, 0.008)
        y = 0.135 - 0.012 * k + 0.03 * (k % 2) + rng.normal(0, 0.006)
        span = rng.uniform(0.016, 0.023)
        for side in (-1, 1):
            wing = curve(
                [(x, y), (x + side * 0.45 * span, y - 0.45 * span), (x + side * span, y - 0.05 * span)], 12
            )
            press.line(wing, 0.0062)
        press.line(np.array([(x - 0.3 * span, y + 0.2 * span), (x, y), (x + 0.3 * span, y - 0.02)]), 0.005)


def _seal(press: Press) -> None:
    """Print a red seal: a wave in a square."""
    x, y, half = 0.945, 0.075, 0.021
    corners = np.array([(-1, -1.3), (1, -1.3), (1, 1.3), (-1, 1.3)]) * half + (x, y)
    press.fill(corners, "#b8281c")
    for k in (-0.75, 0.0, 0.75):
        t = np.linspace(-0.7, 0.7, 12)
        path = np.stack([x + t * half, y + half * (k + 0.22 * np.sin(t * 4.5))], -1)
        press.outlined([path], [np.full(12, 0.0042)], FOAM, 0.0)
