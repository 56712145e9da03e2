"""What the device's convolutions can do: a stack of plain ones, through the same library as all the rest."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from gluon_nst.backend import FLOAT_TYPES, autograd, nd, to_ndarray
from gluon_nst.bench.flops import ROOFLINE_CHANNELS, ROOFLINE_DEPTH, ROOFLINE_FLOPS, ROOFLINE_SIDE

__all__ = ["Roofline"]


class Roofline:
    """A stack of 3x3 convolutions, forward and backward to its input; see `gluon_nst.bench.flops`.

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
        kernel = generator.normal(
            0, (9 * ROOFLINE_CHANNELS) ** -0.5, (ROOFLINE_CHANNELS, ROOFLINE_CHANNELS, 3, 3)
        )
        image = generator.normal(0, 1, (1, ROOFLINE_CHANNELS, ROOFLINE_SIDE, ROOFLINE_SIDE))
        self._kernel, self._image = (
            nd.amp_cast(to_ndarray(array.astype(np.float32), ctx=context), dtype=FLOAT_TYPES[precision])
            for array in (kernel, image)
        )
        self._bias = nd.amp_cast(nd.zeros(ROOFLINE_CHANNELS, ctx=context), dtype=FLOAT_TYPES[precision])
        self._image.attach_grad()

    def measure(self) -> float:
        """Run it once and return the operations per second."""
        nd.waitall()
        began = time.perf_counter()
        self._run()
        nd.waitall()
        return ROOFLINE_FLOPS / (time.perf_counter() - began)

    def _run(self) -> None:
        with autograd.record():
            maps = self._image
            for _ in range(ROOFLINE_DEPTH):
                maps = nd.Convolution(
                    maps, self._kernel, self._bias, kernel=(3, 3), pad=(1, 1), num_filter=ROOFLINE_CHANNELS
                )
        maps.backward(maps)
