"""Pixels to the numbers that are optimised, and those to what the network expects; and back.

The networks here all expect the Gluon model zoo's input: RGB / 255, less the ImageNet mean, over the
ImageNet deviation. A recipe may optimise other numbers ("pixel units"); each is an affine map per channel of
the pixels, so each is one of the other too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gluon_nst.backend import to_ndarray

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "PIXEL_UNITS", "PixelUnits", "deprocess", "preprocess"]

# Mean and deviation of the ImageNet training set's RGB in 0..1: the Gluon model zoo's preprocessing.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Mean color of ILSVRC-2014 in 0..255 (R, G, B): Simonyan and Zisserman's own preprocessing, kept by Keras.
CAFFE_MEAN = (123.68, 116.779, 103.939)

Channels = tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class PixelUnits:
    """The numbers that stand for a pixel: ``(pixel / 255 - mean) / deviation`` per channel, R, G, B.

    Attributes
    ----------
    mean, deviation
        In units of a pixel's full range.
    """

    mean: Channels
    deviation: Channels

    def bounds(self) -> tuple[Any, Any]:
        """Return what black and white are in these units, as two NDArrays of shape (1, 3, 1, 1)."""
        mean, deviation = _channels(self.mean), _channels(self.deviation)
        return to_ndarray(-mean / deviation), to_ndarray((1 - mean) / deviation)

    def to_network(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return `scale` and `shift`, (1, 3, 1, 1), so that ``scale * x + shift`` is the network's input."""
        scale = _channels(self.deviation) / _channels(IMAGENET_STD)
        shift = (_channels(self.mean) - _channels(IMAGENET_MEAN)) / _channels(IMAGENET_STD)
        return scale.astype(np.float32), shift.astype(np.float32)


PIXEL_UNITS = {
    "imagenet": PixelUnits(IMAGENET_MEAN, IMAGENET_STD),
    "unit": PixelUnits((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "caffe": PixelUnits(
        (CAFFE_MEAN[0] / 255, CAFFE_MEAN[1] / 255, CAFFE_MEAN[2] / 255), (1 / 255, 1 / 255, 1 / 255)
    ),
}


def preprocess(pictures: Sequence[NDArray[np.uint8]], units: PixelUnits, context: Any) -> Any:
    """Return pictures of one shape as an NDArray (N, 3, H, W) float32 in `units`, on `context`.

    Parameters
    ----------
    pictures
        N arrays (H, W, 3) uint8, RGB.
    """
    pixels = np.stack([picture.transpose(2, 0, 1) for picture in pictures]).astype(np.float64) / 255
    numbers = (pixels - _channels(units.mean)) / _channels(units.deviation)
    return to_ndarray(numbers.astype(np.float32), ctx=context)


def deprocess(images: NDArray[np.float32], units: PixelUnits) -> list[NDArray[np.uint8]]:
    """Return numbers (N, 3, H, W) in `units` as N pictures (H, W, 3) uint8: the inverse of `preprocess`.

    What is outside the range of a pixel is clipped to it.
    """
    pixels = images.astype(np.float64) * _channels(units.deviation) + _channels(units.mean)
    rounded = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    return list(np.ascontiguousarray(rounded.transpose(0, 2, 3, 1)))


def _channels(values: Channels) -> NDArray[np.float64]:
    return np.array(values, np.float64).reshape(1, 3, 1, 1)
