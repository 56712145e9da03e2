"""Networks of a few channels and small smooth pictures: the wiring of the real ones at no cost."""

from __future__ import annotations

import numpy as np
from PIL import Image

from gluon_nst.backend import mx
from gluon_nst.features import VGGFeatures
from gluon_nst.parameters import Parameters
from gluon_nst.preprocessing import PIXEL_UNITS
from gluon_nst.vgg_layers import CONVOLUTIONS

WIDTHS = (4, 5, 6, 7, 8)
"""Channels by block."""


def narrow_arrays(network: str = "vgg19", seed: int = 0) -> dict[str, np.ndarray]:
    """Return random float32 arrays whose activations neither vanish nor explode (He et al. 2015)."""
    rng, arrays, before = np.random.default_rng(seed), {}, 3
    for conv in CONVOLUTIONS[network]:
        width = WIDTHS[int(conv[4]) - 1]
        weight = rng.normal(0, np.sqrt(2 / (9 * before)), (width, before, 3, 3))
        arrays[f"{conv}.weight"] = weight.astype(np.float32)
        arrays[f"{conv}.bias"] = rng.normal(0, 0.3, width).astype(np.float32)
        before = width
    return arrays


def narrow_parameters(network: str = "vgg19", seed: int = 0, activations: str = "unknown") -> Parameters:
    """Return the random arrays as a Stylizer takes them."""
    return Parameters(network, narrow_arrays(network, seed), "0" * 64, "file:narrow", activations)


def narrow_features(
    layers,
    network: str = "vgg19",
    *,
    arrays=None,
    pooling: str = "max",
    padding: str = "zero",
    units: str = "imagenet",
    kind: type[VGGFeatures] = VGGFeatures,
) -> VGGFeatures:
    """Return a feature extractor on the CPU, narrow and random unless arrays are given."""
    return kind(
        narrow_arrays(network) if arrays is None else arrays,
        layers,
        network=network,
        pooling=pooling,
        padding=padding,
        units=PIXEL_UNITS[units],
        context=mx.cpu(),
    )


def smooth_picture(height: int, width: int, seed: int) -> np.ndarray:
    """Return a picture (height, width, 3) uint8: patches of color with soft borders and a little grain."""
    rng = np.random.default_rng(seed)
    patches = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    soft = np.asarray(patches.resize((width, height), Image.Resampling.BICUBIC), dtype=float)
    return np.clip(soft + rng.normal(0, 8, soft.shape), 0, 255).astype(np.uint8)


def relative(found, expected) -> float:
    """Return the L2 norm of the error over that of what was expected."""
    expected = np.asarray(expected, dtype=float)
    return float(np.linalg.norm(np.asarray(found, dtype=float) - expected) / np.linalg.norm(expected))
