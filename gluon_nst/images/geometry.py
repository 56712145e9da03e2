"""Sizes and resizing. (height, width) always; Pillow's (width, height) is swapped at its call only."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from gluon_nst.errors import UsageError

__all__ = ["fit_longer_side", "resize"]


def fit_longer_side(height: int, width: int, size: int) -> tuple[int, int]:
    """Return the size whose longer side is `size`, with the same aspect.

    Parameters
    ----------
    height, width : int
        The size now, in pixels.
    size : int
        The longer side wanted, in pixels; may be larger than now.

    Returns
    -------
    tuple of int
        (height, width); the shorter side rounded to the nearest pixel, halves up, and at least 1.

    Raises
    ------
    UsageError
        If any of the three is below 1.
    """
    if min(height, width, size) < 1:
        raise UsageError(
            f"cannot fit {height}x{width} pixels to a longer side of {size}; all must be 1 or more"
        )
    longer = max(height, width)
    return _scaled(height, size, longer), _scaled(width, size, longer)


def _scaled(side: int, size: int, longer: int) -> int:
    # Integers throughout: the same pixel count on every machine.
    return max(1, (2 * side * size + longer) // (2 * longer))


def resize(pixels: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Resample a picture with Pillow's Lanczos filter (a=3, widened when shrinking, so antialiased).

    Parameters
    ----------
    pixels : numpy.ndarray
        (H, W, 3) or (H, W), uint8.
    height, width : int
        The new size in pixels.

    Returns
    -------
    numpy.ndarray
        (height, width, 3) or (height, width), uint8; `pixels` itself when it has this size already.

    Raises
    ------
    UsageError
        If a side is below 1, or `pixels` has another shape or type.
    """
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        raise UsageError(f"resize takes uint8 (H, W, 3) or (H, W), not {pixels.dtype} {pixels.shape}")
    if min(height, width) < 1:
        raise UsageError(f"cannot resize to {height}x{width} pixels; both sides must be 1 or more")
    if pixels.shape[:2] == (height, width):
        return pixels
    image = Image.fromarray(pixels)
    return np.array(image.resize((width, height), Image.Resampling.LANCZOS))
