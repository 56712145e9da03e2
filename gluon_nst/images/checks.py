"""Whether a finished picture may be called good: signs that it is none, however the work ended.

Every threshold leaves room beside what the recipes of the package make of the sample photographs at 64 pixels,
with 1 to 60 steps, huge weights, and dark, flat and blank pictures: a warning that is often wrong is not read.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gluon_nst.images.geometry import resize
from gluon_nst.progress import LossPoint

__all__ = ["find_fault"]

Pixels = NDArray[np.uint8]

# Pixels looked at, at most: they settle a mean and a deviation to a few thousandths of themselves.
_SAMPLE = 250_000

# Black: a mean below 2 levels from a photograph of 10 or more. The darkest picture seen of such a photograph, ten
# steps under a black style, has a mean of 5.3; photographs below 10 are night, and may become black.
_BLACK, _NIGHT = 2.0, 10.0

# Flat: a deviation below 0.1 level in every channel, which is less than one pixel in a hundred off by one level.
# The flattest picture seen is one of keras-normalised-gd after few steps, noise of two neighbouring levels: 0.5.
# A photograph whose own deviation is below 1 has nothing to show.
_FLAT, _BLANK = 0.1, 1.0

# Equal: nearer to the photograph than half a level in the mean, while the loss fell by a fifth or more. Starts from
# the content with little weight, rate or steps stay that near too, but their loss fell by 13 % at most there
# (L-BFGS, five evaluations); where it fell by 17 %, the picture was 1.2 levels away.
_EQUAL, _FELL = 0.5, 0.8

# Scales of fewer steps are not judged: at its start Adam moves every pixel by the whole rate, whatever the slope,
# so from a good start the loss rises before it falls, up to 150 times within ten steps.
_JUDGED_STEPS = 20

# Risen: total and style both twice what the scale began with (a huge content weight lets the total rise for long,
# the style by a fifth at most), and either not coming down from the peak or far beyond any start.
_RISEN, _AT_PEAK, _FAR = 2.0, 0.95, 100.0

# Standing still: ten times the rounding of a float32. The slowest descent seen, keras-normalised-gd, moves by
# several 1e-4 in ten steps.
_STILL = 1e-6


def find_fault(pixels: Pixels, photograph: Pixels, losses: Sequence[LossPoint]) -> str | None:
    """Look for a reason not to call a result good.

    Parameters
    ----------
    pixels
        The result, (H, W, 3) uint8 RGB.
    photograph
        The content picture, (h, w, 3) uint8 RGB, as it was given; of any size.
    losses
        What was read on the way, scale after scale.

    Returns
    -------
    str or None
        The reason; None if there is none.
    """
    fault = _loss_fault(losses)
    if fault is not None:
        return fault
    original = _sample(resize(photograph, *pixels.shape[:2]))
    return _picture_fault(_sample(pixels), original, _fell(losses))


def _picture_fault(picture: NDArray[np.int16], photograph: NDArray[np.int16], fell: bool) -> str | None:
    """Judge the picture; `fell` says whether the loss went down enough to be seen in it."""
    mean, wanted = float(picture.mean()), float(photograph.mean())
    if mean < _BLACK and wanted >= _NIGHT:
        return f"the picture is black: its mean level is {mean:.1f} of 255, the photograph's is {wanted:.1f}"
    if _deviation(photograph) < _BLANK:
        return None
    if _deviation(picture) < _FLAT:
        return f"the picture is flat: all of it is of one color, about {_color(picture)}"
    away = float(np.abs(picture - photograph).mean())
    if away < _EQUAL and fell:
        return f"the picture is equal to the photograph: {away:.2f} levels away in the mean, though the loss fell"
    return None


def _sample(pixels: Pixels) -> NDArray[np.int16]:
    """Return at most about `_SAMPLE` pixels, evenly spread, (h, w, 3)."""
    stride = math.ceil(math.sqrt(pixels.shape[0] * pixels.shape[1] / _SAMPLE))
    return pixels[::stride, ::stride].astype(np.int16)


def _deviation(picture: NDArray[np.int16]) -> float:
    """Return the standard deviation over the picture, of the channel in which it is largest."""
    return float(picture.std(axis=(0, 1)).max())


def _color(picture: NDArray[np.int16]) -> str:
    return "rgb({}, {}, {})".format(*picture.mean(axis=(0, 1)).round().astype(int))


def _loss_fault(losses: Sequence[LossPoint]) -> str | None:
    if not all(math.isfinite(value) for point in losses for value in dataclasses.astuple(point)):
        return "the loss is no number"
    judged = [points for points in _by_scale(losses) if points[-1].step >= _JUDGED_STEPS]
    if not judged:
        return None
    if _stood_still(judged[0]):
        return (
            f"the loss did not go down: it stayed at {judged[0][0].total:.4g} for {judged[0][-1].step} steps"
        )
    first, last = judged[-1][0], judged[-1][-1]
    if _rose(judged[-1]):
        return (
            f"the loss did not go down: at scale {last.scale} it went from {first.total:.4g} at step "
            f"{first.step} to {last.total:.4g} at step {last.step}"
        )
    return None


def _by_scale(losses: Sequence[LossPoint]) -> list[list[LossPoint]]:
    """Return the points of each scale: only within one can losses be compared."""
    scales = sorted({point.scale for point in losses})
    return [[point for point in losses if point.scale == scale] for scale in scales]


def _stood_still(points: Sequence[LossPoint]) -> bool:
    totals = [point.total for point in points]
    return max(totals) > 0 and max(totals) - min(totals) <= _STILL * max(totals)


def _rose(points: Sequence[LossPoint]) -> bool:
    first, last = points[0], points[-1]
    if last.total < _RISEN * first.total or last.style < _RISEN * first.style:
        return False
    peak = max(point.total for point in points)
    return last.total > 0 and (last.total >= _AT_PEAK * peak or last.total >= _FAR * first.total)


def _fell(losses: Sequence[LossPoint]) -> bool:
    """Return whether the loss of the first scale, which begins at the start image, fell by a fifth or more."""
    points = _by_scale(losses)
    return bool(points) and points[0][-1].total < _FELL * points[0][0].total
