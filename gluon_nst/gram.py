"""Gram matrices of feature maps and their gradient, written so that no slow layout change is needed.

oneDNN keeps feature maps in a blocked layout; a matrix product forces them back into NCHW. A 1x1 convolution does
not: its weight gradient under the head gradient F, for input F, is the Gram matrix, and a 1x1 convolution of F with
the weights D is D F. But MXNet runs its forward pass as well, for nothing. In float32 the plain product is faster for
the Gram matrix of the deeper, smaller maps (measured for 64, 128, 256 and 512 channels: 27.8 against 65.7 ms,
16.7 / 40, 13.7 / 7.7, 11.4 / 5.7). In bfloat16, rounded once either way, a step in which it is taken from 128 channels
on lasts 0.98 times as long at 256x192 (Zen 5, medians of a run in turns), 0.97 at 512x384 and 1.00 at 768x512; from 64
on, 0.99, 0.97 and 1.01. With AMX, for which the convolution was chosen, it was not tried.

Two faults of oneDNN 2.4.4 are stepped around: a 1x1 convolution in inference mode divides by zero at some
sizes (so every one here runs in train mode), and one over very small maps writes beyond its memory under
bfloat16 (so small maps always take the product, in float32).
"""

from __future__ import annotations

import functools
from typing import Any

from gluon_nst.backend import as_float32, autograd, cast_like, is_float32, nd
from gluon_nst.bfloat16 import bfloat16_kernels

__all__ = ["gram_matrix", "gram_product"]

# Channels from which the matrix product is the faster one, see above.
_PRODUCT_FROM, _PRODUCT_FROM_BFLOAT16 = 256, 128
_SMALLEST_MAP = 256  # positions below which a 1x1 convolution is not safe


def gram_matrix(features: Any) -> Any:
    """Return the raw Gram matrices ``F F^T``, F being a feature map flattened to (C, h*w).

    Gatys, Ecker and Bethge 2016, equation 3, before any normalisation.

    Parameters
    ----------
    features : NDArray
        (N, C, h, w), float32 or bfloat16.

    Returns
    -------
    NDArray
        (N, C, C) float32.
    """
    return _per_image(_gram_of_one, features)


def gram_product(matrices: Any, features: Any) -> Any:
    """Return ``D F`` for one symmetric matrix per image: half the gradient of ``sum(D * F F^T)`` to F.

    Parameters
    ----------
    matrices : NDArray
        D, (N, C, C) float32.
    features : NDArray
        F, (N, C, h, w), float32 or bfloat16.

    Returns
    -------
    NDArray
        (N, C, h, w), of the type of the features.
    """
    return _per_image(_product_of_one, features, matrices)


def _per_image(function: Any, features: Any, *others: Any) -> Any:
    """Call `function` image by image: each has its own matrix."""
    if features.shape[0] == 1:
        return function(features, *others)
    parts = [function(*(array[n : n + 1] for array in (features, *others))) for n in range(features.shape[0])]
    return nd.concat(*parts, dim=0)


def _gram_of_one(features: Any) -> Any:
    _, channels, height, width = features.shape
    small = height * width < _SMALLEST_MAP
    if small or _product_is_faster(features):
        flat = (as_float32(features) if small else features).reshape((channels, -1))
        product = nd.FullyConnected(flat, flat, no_bias=True, num_hidden=channels, flatten=False)
        return as_float32(product).expand_dims(0)
    # The bias input is kept although it is zero: without one MXNet 1.9.1 reads past its list of requests.
    weight, bias = (
        cast_like(nd.zeros(shape, ctx=features.context), features)
        for shape in ((channels, channels, 1, 1), channels)
    )
    weight.attach_grad()
    with autograd.record():
        output = nd.Convolution(features, weight, bias, kernel=(1, 1), num_filter=channels)
    output.backward(features)
    return as_float32(weight.grad).reshape((1, channels, channels))


def _product_is_faster(features: Any) -> bool:
    if is_float32(features):
        return bool(features.shape[1] >= _PRODUCT_FROM)
    return bool(features.shape[1] >= _PRODUCT_FROM_BFLOAT16) and not _has_amx()


@functools.cache
def _has_amx() -> bool:
    return bfloat16_kernels() == "amx"


def _product_of_one(features: Any, matrix: Any) -> Any:
    _, channels, height, width = features.shape
    if height * width < _SMALLEST_MAP:
        product = nd.dot(matrix[0], as_float32(features).reshape((channels, -1)))
        return cast_like(product.reshape(features.shape), features)
    weight, bias = matrix.reshape((channels, channels, 1, 1)), nd.zeros(channels, ctx=features.context)
    with autograd.train_mode():
        return nd.Convolution(
            features, cast_like(weight, features), cast_like(bias, features),
            kernel=(1, 1), num_filter=channels,
        )  # fmt: skip
