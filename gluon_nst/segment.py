"""Consecutive blocks of a frozen VGG as one graph.

Only calls that stay clear of MXNet 1.9.1's faults are made: the convolutions keep their bias input (without one,
oneDNN computes weight gradients nobody asked for), and in bfloat16 the image has 16 channels (with three, the first
convolution has no kernel in oneDNN's blocked layout, and each consumer of its output converts that anew).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gluon_nst.backend import FLOAT_TYPES, gluon, nd, to_ndarray
from gluon_nst.preprocessing import PixelUnits

__all__ = ["Segment"]

_CHANNELS = 16  # of the image in bfloat16


class Segment(gluon.HybridBlock):  # type: ignore[misc]
    """Some blocks of a VGG, one after the other, whose parameters never change.

    Parameters
    ----------
    arrays
        "convB_I.weight" and "convB_I.bias" of the convolutions, checked.
    convolutions
        Names, in order. If the first is conv1_1, the input is an image, else what the pooling before it gives.
    names
        Wanted feature maps, in order; "poolB" as the last one is the output of the pooling behind block B.
    pooling, padding, units, context, precision
        As `gluon_nst.features.VGGFeatures` takes them.

    Inputs:
        - **image**: (N, 3, H, W) float32 in `units`; or a feature map.

    Outputs:
        - **features**: list of feature maps (N, C, h, w), in the order of `names`.
    """

    def __init__(
        self,
        arrays: Mapping[str, NDArray[np.float32]],
        convolutions: Sequence[str],
        names: Sequence[str],
        *,
        pooling: str,
        padding: str,
        units: PixelUnits,
        context: Any,
        precision: str,
    ) -> None:
        super().__init__()
        self.names = tuple(names)
        self._convolutions, self._precision = tuple(convolutions), precision
        self._pooling, self._padding = pooling, padding
        for conv in convolutions:
            weight = arrays[f"{conv}.weight"]
            if precision != "float32" and conv == "conv1_1":
                weight = np.pad(weight, ((0, 0), (0, _CHANNELS - weight.shape[1]), (0, 0), (0, 0)))
            self._freeze(f"{conv}_weight", weight, context, precision)
            self._freeze(f"{conv}_bias", arrays[f"{conv}.bias"], context, precision)
        if self._sees_image:
            scale, shift = units.to_network()
            self._freeze("input_scale", scale, context, "float32")
            self._freeze("input_shift", shift, context, "float32")
        # Static, a graph keeps the memory of one shape until the next one comes. On a CPU that was no faster (0.97 to
        # 1.03), and took 80 to 330 MB more at 1024x768, where front and rear (`gluon_nst.features`) are not at work
        # at once.
        static = context.device_type == "gpu"
        self.hybridize(static_alloc=static, static_shape=static)

    @property
    def _sees_image(self) -> bool:
        return self._convolutions[0] == "conv1_1"

    def _freeze(self, name: str, array: NDArray[np.float32], context: Any, precision: str) -> None:
        """Register an array as a parameter that gets no gradient."""
        kind = FLOAT_TYPES[precision]
        parameter = self.params.get(name, shape=array.shape, dtype=kind, grad_req="null", init="zeros")
        parameter.initialize(ctx=context)
        parameter.set_data(nd.amp_cast(to_ndarray(array, ctx=context), dtype=kind))
        setattr(self, name, parameter)

    def hybrid_forward(self, F: Any, image: Any, **parameters: Any) -> list[Any]:
        """Return the feature maps of `names`."""
        x = self._enter(F, image, parameters) if self._sees_image else image
        features = {}
        for conv in self._convolutions:
            relu = conv.replace("conv", "relu")
            if conv.endswith("_1") and conv != self._convolutions[0]:
                x = self._pool(F, x)
            features[conv] = self._convolve(F, x, conv, parameters)
            x = features[relu] = F.Activation(features[conv], act_type="relu")
        if self.names[-1].startswith("pool"):
            features[self.names[-1]] = self._pool(F, x)
        return [features[name] for name in self.names]

    def _enter(self, F: Any, image: Any, parameters: Mapping[str, Any]) -> Any:
        """Return the image as the first convolution takes it."""
        x = F.broadcast_add(F.broadcast_mul(image, parameters["input_scale"]), parameters["input_shift"])
        if self._padding == "replicate":
            x = F.pad(x, mode="edge", pad_width=(0, 0, 0, 0, 1, 1, 1, 1))
        if self._precision != "float32":
            x = F.amp_cast(_widened(F, x), dtype=FLOAT_TYPES[self._precision])
        return x

    def _pool(self, F: Any, x: Any) -> Any:
        kind = "avg" if self._pooling == "average" else "max"
        return F.Pooling(x, kernel=(2, 2), stride=(2, 2), pool_type=kind)

    def _convolve(self, F: Any, x: Any, conv: str, parameters: Mapping[str, Any]) -> Any:
        padded = self._padding == "replicate" and conv == "conv1_1"
        return F.Convolution(
            x,
            parameters[f"{conv}_weight"],
            parameters[f"{conv}_bias"],
            kernel=(3, 3),
            pad=(0, 0) if padded else (1, 1),
            num_filter=getattr(self, f"{conv}_bias").shape[0],
        )


def _widened(F: Any, image: Any) -> Any:
    """Return an image (N, 3, H, W) with channels of zeros after its own, 16 in all."""
    zeros = F.zeros_like(image)
    whole, rest = divmod(_CHANNELS - 3, 3)
    return F.concat(image, *[zeros] * whole, F.slice_axis(zeros, axis=1, begin=0, end=rest), dim=1)
