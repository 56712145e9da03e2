"""Feature maps at the scale of the original Caffe networks.

Recipes written for Keras or Caffe carry loss weights that were tuned on the original networks, whose feature
maps reach into the hundreds. Parameters may compute the same function at other scales: a ReLU network stays
the same when a filter is multiplied by s and the next layer's weights for it are divided by s.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from gluon_nst.parameters import Parameters

__all__ = ["CAFFE_SCALE", "rescale", "rescaled_arrays"]

Arrays = Mapping[str, NDArray[np.float32]]

# Factors from the scale of bundled parameters to the original's, by layer. Chosen by us: the size of the original
# VGG-19's maps as the TensorFlow style-transfer tutorial reports it for a photograph (in rough figures, which
# were not checked against the original itself: channel means of 16, 95, 88, 370 and 39 for reluX_1, 14 for
# relu5_2), over what the sample photographs give under the bundled numbers. No such figures are at hand for
# VGG-16; its layers take those of VGG-19 at like depth. One factor serves all filters of a layer, so the
# original is met in size, not filter by filter. To be exact, import its own file (`gluon-nst weights import`),
# which needs no factors.
_UNIT_MEAN = {
    "conv1_1": 13.0,
    "conv2_1": 85.0,
    "conv3_1": 78.0,
    "conv4_1": 350.0,
    "conv5_1": 36.0,
    "conv5_2": 12.0,
}
_TORCHVISION = {"conv1_2": 125.0, "conv2_2": 105.0, "conv3_3": 240.0, "conv4_3": 245.0, "conv5_3": 25.0}

CAFFE_SCALE: dict[str, Mapping[str, float]] = {"unit-mean": _UNIT_MEAN, "torchvision": _TORCHVISION}
"""Scale of the parameters -> factors of the layers that are known; between two, the scale of the first holds on."""


def rescaled_arrays(parameters: Parameters, activations: str) -> Arrays:
    """Return the arrays of `parameters` as a recipe wants its feature maps.

    Parameters
    ----------
    parameters
        The pretrained numbers; their `activations` says whose scale they have.
    activations
        "as-is", or "caffe": multiplied up to the original network's scale where the parameters have another
        one that is known. Parameters that are the original's, or of unknown scale, stay as they are.
    """
    scale = CAFFE_SCALE.get(parameters.activations, {}) if activations == "caffe" else {}
    return rescale(parameters.arrays, scale) if scale else parameters.arrays


def rescale(arrays: Arrays, scale: Mapping[str, float]) -> Arrays:
    """Return arrays whose layer `convB_I` gives `scale[convB_I]` times the feature maps, for every layer named.

    A layer that is not named takes the factor of the one before it (1 at the start).
    """
    rescaled: dict[str, NDArray[np.float32]] = {}
    before = 1.0
    for name in arrays:
        conv, _, part = name.partition(".")
        if part == "weight":
            factor = scale.get(conv, before)
            rescaled[name] = (arrays[name] * (factor / before)).astype(np.float32)
            rescaled[f"{conv}.bias"] = (arrays[f"{conv}.bias"] * factor).astype(np.float32)
            before = factor
    return rescaled
