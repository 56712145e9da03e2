"""A small network in bfloat16 against the same in float32, on this machine; importing this module loads MXNet.

Meant to be called through `gluon_nst.probe`: kernels that do not fit the machine may kill their process, or never
come back.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gluon_nst.backend import as_float32, autograd, context, to_ndarray
from gluon_nst.features import VGGFeatures
from gluon_nst.gram import gram_matrix, gram_product
from gluon_nst.preprocessing import PIXEL_UNITS

__all__ = ["bfloat16_errors"]

_LAYERS = ("relu1_1", "relu2_1", "relu3_1")

# Ordinary, odd, small enough for a map of few pixels, and as wide as `gluon_nst.features` allows with AMX.
_SHAPES = ((48, 64), (37, 53), (16, 24), (18, 736))


def bfloat16_errors() -> dict[str, float]:
    """Return the largest relative differences, over some shapes, between bfloat16 and float32.

    Returns
    -------
    dict
        "features", "gram" and "gradient": norm of the difference over the norm of the float32 values. bfloat16 keeps
        8 bits, so 0.002 to 0.01 is what sound kernels come to.
    """
    networks = {precision: _network(precision) for precision in ("float32", "bfloat16")}
    errors = [_compare(networks, shape) for shape in _SHAPES]
    return {name: max(error[name] for error in errors) for name in errors[0]}


def _network(precision: str) -> VGGFeatures:
    """Return the first five convolutions of VGG19's shape, with random weights that keep the scale.

    Average pooling: which of four near-equal pixels is the largest, rounding decides.
    """
    generator, before = np.random.default_rng(0), 3
    arrays: dict[str, NDArray[np.float32]] = {}
    for conv, width in (("1_1", 64), ("1_2", 64), ("2_1", 128), ("2_2", 128), ("3_1", 256)):
        weight = generator.normal(0, (2 / (9 * before)) ** 0.5, (width, before, 3, 3))
        arrays |= {f"conv{conv}.weight": weight.astype(np.float32)}
        arrays |= {f"conv{conv}.bias": generator.normal(0, 0.1, width).astype(np.float32)}
        before = width
    return VGGFeatures(
        arrays, _LAYERS, network="vgg19", pooling="average", padding="replicate", units=PIXEL_UNITS["unit"],
        context=context("cpu"), precision=precision,
    )  # fmt: skip


def _compare(networks: dict[str, VGGFeatures], shape: tuple[int, int]) -> dict[str, float]:
    pixels = np.random.default_rng(1).uniform(0, 1, (1, 3, *shape)).astype(np.float32)
    right, other = (_evaluate(networks[precision], pixels) for precision in ("float32", "bfloat16"))
    return {
        name: max(_difference(*pair) for pair in zip(other[name], right[name], strict=True)) for name in right
    }


def _evaluate(network: VGGFeatures, pixels: NDArray[np.float32]) -> dict[str, list[NDArray[np.float32]]]:
    """Return feature maps, Gram matrices, and the gradient of the Gram matrices' squares to the image."""
    image = to_ndarray(pixels)
    image.attach_grad()
    maps = network.record(image)
    kept = [each.detach() for each in maps]
    grams = [gram_matrix(each) for each in kept]
    heads = [gram_product(gram / gram.norm(), each) for gram, each in zip(grams, kept, strict=True)]
    autograd.backward(maps, head_grads=heads)
    found = {"features": [as_float32(each) for each in kept], "gram": grams, "gradient": [image.grad]}
    return {name: [array.asnumpy() for array in arrays] for name, arrays in found.items()}


def _difference(values: Any, right: Any) -> float:
    return float(np.linalg.norm(values - right) / np.linalg.norm(right))
