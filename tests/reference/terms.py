"""The terms of the losses: each returns its value and its gradient with respect to what it reads."""

from __future__ import annotations

import numpy as np

from tests.reference.vgg import FloatArray

Term = tuple[float, FloatArray]


def squared_error(features: FloatArray, target: FloatArray, factor: float) -> Term:
    """Return ``factor * sum((features - target)^2)`` and its gradient with respect to `features`."""
    difference = features - target
    return factor * float((difference**2).sum()), 2 * factor * difference


def gram(features: FloatArray, divisor: float) -> FloatArray:
    """Return ``F F^T / divisor`` (c, c) of `features` (c, h, w)."""
    flat = features.reshape(features.shape[0], -1)
    return np.asarray(flat @ flat.T / divisor, dtype=np.float64)


def gram_error(features: FloatArray, target: FloatArray, divisor: float, factor: float) -> Term:
    """Return ``factor * sum((gram(features, divisor) - target)^2)`` and its gradient.

    The derivative D of the value with respect to G is symmetric, hence that with respect to F is
    ``D F + D^T F = 2 D F``.
    """
    flat = features.reshape(features.shape[0], -1)
    value, by_gram = squared_error(gram(features, divisor), target, factor)
    return value, (2 / divisor * (by_gram @ flat)).reshape(features.shape)


def tv_absolute(x: FloatArray, factor: float) -> Term:
    """Return ``factor * 0.5 * (mean |row differences| + mean |column differences|)`` of (c, H, W)."""
    rows, columns = np.diff(x, axis=1), np.diff(x, axis=2)
    value = 0.5 * factor * float(np.abs(rows).mean() + np.abs(columns).mean())
    by_rows = 0.5 * factor * np.sign(rows) / rows.size
    by_columns = 0.5 * factor * np.sign(columns) / columns.size
    return value, _undo_differences(x, by_rows, by_columns)


def tv_squared(x: FloatArray, factor: float) -> Term:
    """Return ``factor * (mean of squared row differences + mean of squared column differences)``."""
    rows, columns = np.diff(x, axis=1), np.diff(x, axis=2)
    value = factor * float((rows**2).mean() + (columns**2).mean())
    return value, _undo_differences(x, 2 * factor * rows / rows.size, 2 * factor * columns / columns.size)


def tv_power(x: FloatArray, factor: float) -> Term:
    """Return ``factor * sum((dx^2 + dy^2)^1.25)`` over the top-left (H - 1) x (W - 1) block, per channel."""
    rows, columns = np.diff(x, axis=1)[:, :, :-1], np.diff(x, axis=2)[:, :-1, :]
    squares = rows**2 + columns**2
    slope = 2.5 * factor * squares**0.25
    by_rows = np.pad(slope * rows, ((0, 0), (0, 0), (0, 1)))
    by_columns = np.pad(slope * columns, ((0, 0), (0, 1), (0, 0)))
    return factor * float((squares**1.25).sum()), _undo_differences(x, by_rows, by_columns)


def no_tv(x: FloatArray, factor: float) -> Term:
    """Return nothing, whatever the factor."""
    return 0.0, np.zeros_like(x)


def _undo_differences(x: FloatArray, by_rows: FloatArray, by_columns: FloatArray) -> FloatArray:
    """Return the gradient with respect to `x`, given those with respect to its two sets of differences."""
    gradient = np.zeros_like(x)
    gradient[:, 1:] += by_rows
    gradient[:, :-1] -= by_rows
    gradient[:, :, 1:] += by_columns
    gradient[:, :, :-1] -= by_columns
    return gradient
