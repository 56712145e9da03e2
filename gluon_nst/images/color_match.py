"""The distribution of a picture's colors, brought to that of others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["match_colors"]

Pixels = npt.NDArray[np.uint8]
Colors = npt.NDArray[np.float64]

# Measured on two stylized pictures: sliced Wasserstein distances of patches of color (6.8 and 10.6 before) and noise.
_SAMPLES = 65536  # colors that a distribution is taken from
_QUANTILES = 12  # few, for a smooth map: 4.2 and 6.4; 8 leave 4.3 and 6.4, 64 leave 4.1 and 6.4
_ROTATIONS = 3  # one leaves 5.0 and 7.6; ten 4.1 and 6.2, but they broke the colors of plain areas apart
_GRAIN = 8.0  # grey levels: it bounds how far plain areas are spread, and costs 0.05 in distance
_BLOCK = 1 << 18  # pixels moved at a time, for little memory
_SEED = 0


def match_colors(picture: Pixels, styles: Sequence[Pixels], blend: Sequence[float]) -> Pixels:
    """Return a picture whose colors are distributed nearly as the styles' are.

    Iterative distribution transfer (Pitie, Kokaram and Dahyot 2007, "Automated colour grading using colour
    distribution transfer", section 3), cut short: along each axis of a few rotations of the color space, quantiles
    go to quantiles. Where `gluon_nst.images.palette` takes an ellipsoid to another, this takes a shape to another.

    Parameters
    ----------
    picture, styles
        (H, W, 3) uint8 each, of any shapes.
    blend
        Weight of each style, of sum 1.

    Returns
    -------
    numpy.ndarray
        (H, W, 3) uint8, the same for the same arguments.
    """
    random = np.random.default_rng(_SEED)
    moves = _moves(_sample([picture], [1.0], random), _sample(styles, blend, random), random)
    given = picture.reshape(-1, 3)
    matched = np.empty_like(given)
    for start in range(0, len(given), _BLOCK):
        colors = given[start : start + _BLOCK].astype(np.float64)
        for move in moves:
            colors = _moved(colors, *move)
        matched[start : start + _BLOCK] = np.clip(np.rint(colors), 0, 255)
    return matched.reshape(picture.shape)


def _moves(made: Colors, wanted: Colors, random: np.random.Generator) -> list[tuple[Colors, Colors, Colors]]:
    """Return what `_moved` takes, one after the other, to bring the colors of one sample to another's."""
    moves = []
    for _ in range(_ROTATIONS):
        axes = np.linalg.qr(random.standard_normal((3, 3)))[0]
        knots, targets = _quantiles(made @ axes), _quantiles(wanted @ axes)
        moves.append((axes, knots, targets - knots))
        made = _moved(made, *moves[-1])
    return moves


def _sample(pictures: Sequence[Pixels], weights: Sequence[float], random: np.random.Generator) -> Colors:
    """Draw colors (N, 3) from pictures, from each as many as its weight says, with some grain."""
    drawn = []
    for picture, weight in zip(pictures, weights, strict=True):
        colors = picture.reshape(-1, 3)
        drawn.append(colors[random.integers(len(colors), size=round(weight * _SAMPLES))])
    sample: Colors = np.concatenate(drawn).astype(np.float64)
    sample += random.normal(0, _GRAIN, sample.shape)
    return sample


def _quantiles(values: Colors) -> Colors:
    """Return quantiles (Q, 3) of each column, those in the middle of equal shares."""
    return np.asarray(np.quantile(values, (np.arange(_QUANTILES) + 0.5) / _QUANTILES, axis=0))


def _moved(colors: Colors, axes: Colors, knots: Colors, shifts: Colors) -> Colors:
    """Return colors (N, 3) moved along each of three axes by what lies between the nearest two shifts."""
    along = colors @ axes
    for axis in range(3):
        along[:, axis] += np.interp(along[:, axis], knots[:, axis], shifts[:, axis])
    return along @ axes.T
