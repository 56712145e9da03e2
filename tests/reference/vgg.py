"""VGG16 and VGG19 in float64 NumPy: every feature map by name, and the gradient back to the input.

Architecture: Simonyan and Zisserman 2014, table 1, columns D and E, without the classifier. The widths are
those of the arrays given, so that a narrow network with the same wiring can be checked in no time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

FloatArray = npt.NDArray[np.float64]
Arrays = Mapping[str, npt.NDArray[Any]]

CONVOLUTIONS_PER_BLOCK = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}


def convolution_names(network: str) -> list[str]:
    """Return conv1_1, conv1_2, conv2_1, ... of `network`."""
    counts = CONVOLUTIONS_PER_BLOCK[network]
    return [f"conv{block}_{i + 1}" for block, count in enumerate(counts, 1) for i in range(count)]


def convolve(x: FloatArray, weight: FloatArray) -> FloatArray:
    """Cross-correlate `x` (in, H, W) with `weight` (out, in, 3, 3), zero padding 1: (out, H, W)."""
    windows = sliding_window_view(np.pad(x, ((0, 0), (1, 1), (1, 1))), (3, 3), axis=(1, 2))
    return np.asarray(np.tensordot(weight, windows, axes=([1, 2, 3], [0, 3, 4])), dtype=np.float64)


def convolve_backward(gradient: FloatArray, weight: FloatArray) -> FloatArray:
    """Return the gradient with respect to the input of `convolve`, given that of its output.

    Output (y, x) saw input (y + i - 1, x + j - 1) through weight (i, j); seen from the input this is a
    correlation with the kernel turned by 180 degrees and the roles of the channels exchanged.
    """
    return convolve(gradient, weight.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1])


def _windows_of_four(x: FloatArray) -> FloatArray:
    """Return (c, H // 2, W // 2, 4): each 2x2 window in row-major order, odd last row and column dropped."""
    c, h, w = x.shape[0], x.shape[1] // 2, x.shape[2] // 2
    return x[:, : 2 * h, : 2 * w].reshape(c, h, 2, w, 2).transpose(0, 1, 3, 2, 4).reshape(c, h, w, 4)


def max_pool(x: FloatArray) -> FloatArray:
    """Return the maxima of the 2x2 windows of `x` (c, H, W), stride 2, sizes rounded down."""
    return np.asarray(_windows_of_four(x).max(axis=3), dtype=np.float64)


def max_pool_backward(gradient: FloatArray, x: FloatArray) -> FloatArray:
    """Send each gradient (c, H // 2, W // 2) to the first maximum (row-major) of its window of `x`."""
    c, h, w = gradient.shape
    routed = np.zeros((c, h, w, 4))
    first = _windows_of_four(x).argmax(axis=3)[..., np.newaxis]
    np.put_along_axis(routed, first, gradient[..., np.newaxis], axis=3)
    result = np.zeros_like(x)
    result[:, : 2 * h, : 2 * w] = (
        routed.reshape(c, h, w, 2, 2).transpose(0, 1, 3, 2, 4).reshape(c, 2 * h, 2 * w)
    )
    return result


def _depth(names: list[str], layers: list[str]) -> int:
    """Return how many convolutions must run for all of `layers`."""
    return 1 + max(names.index(layer.replace("relu", "conv")) for layer in layers)


def _weight(arrays: Arrays, name: str) -> FloatArray:
    return arrays[f"{name}.weight"].astype(np.float64)


def forward(network: str, arrays: Arrays, x: FloatArray, layers: list[str]) -> dict[str, FloatArray]:
    """Return every conv and ReLU output up to the deepest of `layers`, by name.

    Parameters
    ----------
    network
        "vgg16" or "vgg19".
    arrays
        "convB_I.weight" (out, in, 3, 3) and "convB_I.bias" (out,), any float type.
    x
        (3, H, W), in the units that the arrays expect.
    layers
        Names that must be there.
    """
    maps: dict[str, FloatArray] = {}
    names = convolution_names(network)
    for name in names[: _depth(names, layers)]:
        if name.endswith("_1") and name != "conv1_1":
            x = max_pool(x)
        bias = arrays[f"{name}.bias"].astype(np.float64)
        maps[name] = convolve(x, _weight(arrays, name)) + bias[:, np.newaxis, np.newaxis]
        x = maps[name.replace("conv", "relu")] = np.maximum(maps[name], 0.0)
    return maps


def backward(
    network: str, arrays: Arrays, maps: Mapping[str, FloatArray], gradients: Mapping[str, FloatArray]
) -> FloatArray:
    """Return the gradient (3, H, W) of a scalar with respect to the input of `forward`.

    Parameters
    ----------
    maps
        What `forward` returned.
    gradients
        The scalar's own gradient with respect to each feature map that it reads, by name; at least one.
    """
    names = convolution_names(network)
    used = names[: _depth(names, list(gradients))]
    carried: FloatArray | None = None
    for name in reversed(used):
        carried = _through_activation(name, maps, gradients, carried)
        carried = convolve_backward(carried, _weight(arrays, name))
        if name.endswith("_1") and name != "conv1_1":
            before = names[names.index(name) - 1].replace("conv", "relu")
            carried = max_pool_backward(carried, maps[before])
    if carried is None:
        raise ValueError("no gradient was given: name at least one feature map")
    return carried


def _through_activation(
    name: str,
    maps: Mapping[str, FloatArray],
    gradients: Mapping[str, FloatArray],
    carried: FloatArray | None,
) -> FloatArray:
    """Return the whole gradient at the conv output `name`, from above, from its ReLU output and its own."""
    relu = name.replace("conv", "relu")
    above = np.zeros_like(maps[relu]) if carried is None else carried
    above = above + gradients.get(relu, 0.0)
    return np.asarray(above * (maps[name] > 0) + gradients.get(name, 0.0), dtype=np.float64)
