"""What the device's convolutions can do: a stack of plain ones, through the same library as all the rest."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from gluon_nst.backend import autograd, mx, nd, to_ndarray

__all__ = ["FLOPS", "Roofline"]

# The third block of VGG at a 256 px picture: 256 channels of 64x64.
_CHANNELS, _SIDE = 256, 64
_DEPTH = (
    4  # so that bringing the first input into the library's own layout, and the last one back, weighs little
)

FLOPS = _DEPTH * 4 * 9 * _CHANNELS**2 * _SIDE**2
"""Operations of one run: forward and backward to the input, two for each multiply-add."""


class Roofline:
    """A stack of 3x3 convolutions of 256 channels, forward and backward to its input.

    Parameters
    ----------
    precision
        "float32" or "bfloat16".
    context
        MXNet context to run on.
    """

    def __init__(self, precision: str, context: Any) -> None:
        generator = np.random.default_rng(0)
        # Scaled to keep the numbers at about 1 from layer to layer (He et al. 2015).
        kernel = generator.normal(0, (9 * _CHANNELS) ** -0.5, (_CHANNELS, _CHANNELS, 3, 3))
        image = generator.normal(0, 1, (1, _CHANNELS, _SIDE, _SIDE))
        self._kernel, self._image = (
            _cast(to_ndarray(array.astype(np.float32), ctx=context), precision) for array in (kernel, image)
        )
        self._bias = _cast(nd.zeros(_CHANNELS, ctx=context), precision)
        self._image.attach_grad()

    def measure(self) -> float:
        """Run it once and return the operations per second."""
        nd.waitall()
        began = time.perf_counter()
        self._run()
        nd.waitall()
        return FLOPS / (time.perf_counter() - began)

    def _run(self) -> None:
        with autograd.record():
            maps = self._image
            for _ in range(_DEPTH):
                maps = nd.Convolution(
                    maps, self._kernel, self._bias, kernel=(3, 3), pad=(1, 1), num_filter=_CHANNELS
                )
        maps.backward(maps)


def _cast(array: Any, precision: str) -> Any:
    # The words of `nd` know no "bfloat16"; this type of MXNet's own they take.
    return nd.amp_cast(array, dtype=mx.contrib.amp.amp.bfloat16) if precision == "bfloat16" else array
