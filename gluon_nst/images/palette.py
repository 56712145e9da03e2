"""The palette of a picture, brought to that of others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["match_palette"]

Pixels = npt.NDArray[np.uint8]
Matrix = npt.NDArray[np.float64]

# Variance that grain and JPEG blocks have anyway, (4 grey levels)^2: a nearly plain picture is not blown up.
_GRAIN = 16.0


def match_palette(content: Pixels, styles: Sequence[Pixels], blend: Sequence[float]) -> Pixels:
    """Return a picture whose colors have the mean and covariance of the styles'.

    The linear Monge-Kantorovich map of Pitie and Kokaram (2007), "The linear Monge-Kantorovitch linear colour
    mapping for example-based colour transfer": of all linear maps that take one covariance to the other, the
    one that moves colors least. What leaves the gamut is clipped.

    Parameters
    ----------
    content, styles
        (H, W, 3) uint8 each, of any shapes.
    blend
        Weight of each style, of sum 1.

    Returns
    -------
    numpy.ndarray
        (H, W, 3) uint8.
    """
    mean, covariance = _moments([content], [1.0])
    wanted_mean, wanted_covariance = _moments(styles, blend)
    root = _power(covariance + _GRAIN * np.eye(3), 0.5)
    inverse = np.linalg.inv(root)
    transport = inverse @ _power(root @ wanted_covariance @ root, 0.5) @ inverse
    colors = (content.astype(np.float64) - mean) @ transport + wanted_mean
    matched: Pixels = np.clip(np.rint(colors), 0, 255).astype(np.uint8)
    return matched


def _moments(pictures: Sequence[Pixels], weights: Sequence[float]) -> tuple[npt.NDArray[np.float64], Matrix]:
    """Mean color (3,) and covariance (3, 3) of the pixels of pictures, each counting by its weight."""
    colors = [picture.reshape(-1, 3).astype(np.float64) for picture in pictures]
    pairs = list(zip(colors, weights, strict=True))
    mean = np.sum([weight * each.mean(axis=0) for each, weight in pairs], axis=0)
    covariance = np.sum(
        [weight * (each - mean).T @ (each - mean) / len(each) for each, weight in pairs], axis=0
    )
    return mean, covariance


def _power(matrix: Matrix, exponent: float) -> Matrix:
    """Power of a symmetric matrix without negative eigenvalues."""
    values, vectors = np.linalg.eigh(matrix)
    powered: Matrix = (vectors * np.maximum(values, 0) ** exponent) @ vectors.T
    return powered
