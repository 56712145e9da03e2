"""The five reference systems as data: layers, weights, pixel units, and where their images start.

An image is (3, H, W), RGB, in the system's own pixel units; a picture is (H, W, 3), RGB, 0..255.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tests.reference.terms import Term, no_tv, tv_absolute, tv_power, tv_squared
from tests.reference.vgg import FloatArray

ZOO_MEAN: FloatArray = np.array([0.485, 0.456, 0.406]).reshape(3, 1, 1)
ZOO_STD: FloatArray = np.array([0.229, 0.224, 0.225]).reshape(3, 1, 1)
CAFFE_MEAN: FloatArray = np.array([123.68, 116.779, 103.939]).reshape(3, 1, 1)
"""Mean of R, G, B that the systems made with Keras subtract."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class System:
    """One reference system as data.

    Attributes
    ----------
    pixel_scale, pixel_offset
        ``pixels in 0..255 = pixel_scale * image + pixel_offset``.
    content_factor
        What multiplies the sum of squared differences, given the shape (c, h, w) of the feature map.
    gram_divisor
        What divides ``F F^T``, given the shape of the feature map.
    style_factor
        What multiplies the sum of squared Gram differences, given the index of the layer in
        `style_layers`, the shape of its feature map, and the number of pixels of the image.
    tv, tv_factor
        The term and its whole weight.
    same_shape
        Whether the system stretches the style picture to the shape of the content picture.
    image_pixels
        The number of pixels written into the style weight; None: that of the image at hand.
    """

    network: str
    content_layer: str
    style_layers: tuple[str, ...]
    pixel_scale: FloatArray
    pixel_offset: FloatArray
    content_factor: Callable[[Shape], float]
    gram_divisor: Callable[[Shape], float]
    style_factor: Callable[[int, Shape, int], float]
    tv: Callable[[FloatArray, float], Term]
    tv_factor: float
    same_shape: bool = False
    image_pixels: int | None = None


def _size(shape: Shape) -> float:
    return float(np.prod(shape))


def _raw(shape: Shape) -> float:
    return 1.0


_ONE: FloatArray = np.ones((3, 1, 1))
_RELU_FIRSTS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")

SYSTEMS: dict[str, System] = {
    "d2l": System(
        network="vgg19",
        content_layer="conv4_4",
        style_layers=("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"),
        pixel_scale=255 * ZOO_STD,
        pixel_offset=255 * ZOO_MEAN,
        content_factor=lambda shape: 1 / _size(shape),
        gram_divisor=_size,
        style_factor=lambda k, shape, pixels: 1e3 / shape[0] ** 2,
        tv=tv_absolute,
        tv_factor=10.0,
        same_shape=True,
    ),
    "keras-lbfgs-vgg16": System(
        network="vgg16",
        content_layer="relu2_2",
        style_layers=("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3"),
        pixel_scale=_ONE,
        pixel_offset=CAFFE_MEAN,
        content_factor=lambda shape: 0.02,
        gram_divisor=_raw,
        style_factor=lambda k, shape, pixels: 4.5 / 5 / (4 * 3**2 * pixels**2),
        tv=tv_power,
        tv_factor=0.995,
        same_shape=True,
        image_pixels=260 * 260,
    ),
    "keras-lbfgs-vgg19": System(
        network="vgg19",
        content_layer="relu5_2",
        style_layers=_RELU_FIRSTS,
        pixel_scale=_ONE,
        pixel_offset=CAFFE_MEAN,
        content_factor=lambda shape: 1e2,
        gram_divisor=_raw,
        style_factor=lambda k, shape, pixels: 1 / (4 * _size(shape) ** 2),
        tv=tv_power,
        tv_factor=1.0,
    ),
    "tf2-adam": System(
        network="vgg19",
        content_layer="relu5_2",
        style_layers=_RELU_FIRSTS,
        pixel_scale=np.full((3, 1, 1), 255.0),
        pixel_offset=np.zeros((3, 1, 1)),
        content_factor=lambda shape: 1e4 / _size(shape),
        gram_divisor=lambda shape: float(shape[1] * shape[2]),
        style_factor=lambda k, shape, pixels: 1e-2 / 5 / shape[0] ** 2,
        tv=tv_squared,
        tv_factor=1e8,
    ),
    "keras-normalised-gd": System(
        network="vgg19",
        content_layer="relu1_1",
        style_layers=("relu5_1", "relu4_1", "relu3_1", "relu2_1"),
        pixel_scale=_ONE,
        pixel_offset=CAFFE_MEAN,
        content_factor=lambda shape: 0.5,
        gram_divisor=_raw,
        style_factor=lambda k, shape, pixels: 1e2 / (k + 2) * 0.25 / (3 * pixels) ** 2,
        tv=no_tv,
        tv_factor=0.0,
    ),
}

START_IMAGES: dict[str, tuple[str, dict[str, float]]] = {
    "d2l": ("content", {}),
    "keras-lbfgs-vgg16": ("uniform", {"low": -128.0, "high": 127.0}),
    "keras-lbfgs-vgg19": ("uniform", {"low": -128.0, "high": 127.0}),
    "tf2-adam": ("normal", {"mean": 0.0, "std": 1.0}),
    "keras-normalised-gd": ("uniform", {"low": 0.0, "high": 1.0}),
}
"""Where the image starts, in the system's own pixel units: a kind and its parameters, high excluded."""


def image_from_pixels(name: str, pixels: FloatArray) -> FloatArray:
    """Return the picture `pixels` (H, W, 3), 0..255, as an image (3, H, W) in the units of system `name`."""
    system = SYSTEMS[name]
    return np.asarray((pixels.transpose(2, 0, 1) - system.pixel_offset) / system.pixel_scale)


def pixels_from_image(name: str, image: FloatArray) -> FloatArray:
    """Undo `image_from_pixels`; nothing is clipped."""
    system = SYSTEMS[name]
    return np.asarray(system.pixel_scale * image + system.pixel_offset).transpose(1, 2, 0)
