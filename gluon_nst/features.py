"""Feature maps of a frozen, truncated VGG, by layer name.

Only calls that stay clear of MXNet 1.9.1's faults are made: the forward pass always runs in train mode (in
inference mode max pooling leaves no workspace, and its gradient is silently wrong, apache/mxnet #13445), and
the convolutions keep their bias input (without one, oneDNN computes weight gradients nobody asked for).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gluon_nst.backend import FLOAT_TYPES, autograd, gluon, nd, to_ndarray
from gluon_nst.errors import ImageSizeError, ParametersError
from gluon_nst.preprocessing import PixelUnits
from gluon_nst.vgg_layers import MIN_SIDE, check_layer, convolutions_up_to

__all__ = ["VGGFeatures"]

# Input channels in bfloat16. With three, the first convolution has no kernel in oneDNN's blocked layout, and each
# consumer of its output converts that anew: 5 conversions of the largest feature map per step.
_CHANNELS = 16


class VGGFeatures(gluon.HybridBlock):  # type: ignore[misc]
    """A VGG without its classifier, cut behind the deepest layer wanted, whose parameters never change.

    Parameters
    ----------
    arrays
        "convB_I.weight" (out, in, 3, 3) and "convB_I.bias" (out,), for the zoo's preprocessing.
    layers
        Names of the feature maps wanted, `convB_I` or `reluB_I`.
    network
        "vgg19" or "vgg16".
    pooling
        "max" or "average" (Gatys, Ecker and Bethge 2016, section 2, found average pooling pleasing too).
    padding
        "zero" or "replicate": what the first convolution sees beyond the border.
    units
        Pixel units of the input.
    context
        MXNet context on which the network lives.
    precision
        "float32" or "bfloat16": of parameters and feature maps. The input is float32 always, and so is the
        gradient that arrives there.

    Inputs:
        - **image**: (N, 3, H, W) float32 in `units`, each side at least 16.

    Outputs:
        - **features**: list of feature maps (N, C, h, w), in the order of `names`.

    Raises
    ------
    RecipeError
        If a layer is unknown.
    ParametersError
        If the parameters lack a convolution, or one has another shape.
    """

    def __init__(
        self,
        arrays: Mapping[str, NDArray[np.float32]],
        layers: Sequence[str],
        *,
        network: str,
        pooling: str,
        padding: str,
        units: PixelUnits,
        context: Any,
        precision: str = "float32",
    ) -> None:
        super().__init__()
        wanted = tuple(dict.fromkeys(check_layer(network, layer) for layer in layers))
        self.convolutions = convolutions_up_to(network, wanted)
        self.names = tuple(
            name
            for conv in self.convolutions
            for name in (conv, conv.replace("conv", "relu"))
            if name in wanted
        )
        self._pooling, self._padding = pooling, padding
        _check_shapes(arrays, self.convolutions, network)
        for conv in self.convolutions:
            for part in ("weight", "bias"):
                array = _array(arrays, conv, part, network)
                if precision != "float32" and (conv, part) == ("conv1_1", "weight"):
                    array = np.pad(array, ((0, 0), (0, _CHANNELS - array.shape[1]), (0, 0), (0, 0)))
                self._freeze(f"{conv}_{part}", array, context, precision)
        self._precision = precision
        scale, shift = units.to_network()
        self._freeze("input_scale", scale, context)
        self._freeze("input_shift", shift, context)
        # A new graph is built for every shape, so static shapes cost no generality.
        self.hybridize(static_alloc=True, static_shape=True)

    def _freeze(
        self, name: str, array: NDArray[np.float32], context: Any, precision: str = "float32"
    ) -> None:
        """Register an array as a parameter that gets no gradient."""
        kind = FLOAT_TYPES[precision]
        parameter = self.params.get(name, shape=array.shape, dtype=kind, grad_req="null", init="zeros")
        parameter.initialize(ctx=context)
        parameter.set_data(nd.amp_cast(to_ndarray(array, ctx=context), dtype=kind))
        setattr(self, name, parameter)

    def hybrid_forward(self, F: Any, image: Any, **parameters: Any) -> list[Any]:
        """Return the feature maps of `names`."""
        x = F.broadcast_add(F.broadcast_mul(image, parameters["input_scale"]), parameters["input_shift"])
        if self._padding == "replicate":
            x = F.pad(x, mode="edge", pad_width=(0, 0, 0, 0, 1, 1, 1, 1))
        if self._precision != "float32":
            x = F.amp_cast(_widened(F, x), dtype=FLOAT_TYPES[self._precision])
        features = {}
        for conv in self.convolutions:
            relu = conv.replace("conv", "relu")
            if conv.endswith("_1") and conv != "conv1_1":
                kind = "avg" if self._pooling == "average" else "max"
                x = F.Pooling(x, kernel=(2, 2), stride=(2, 2), pool_type=kind)
            features[conv] = self._convolve(F, x, conv, parameters)
            x = features[relu] = F.Activation(features[conv], act_type="relu")
        return [features[name] for name in self.names]

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

    def record(self, image: Any) -> list[Any]:
        """Return the feature maps, recorded, so that ``autograd.backward`` can go from them to the image.

        Raises
        ------
        ImageSizeError
            If a side of the image is below 16 pixels.
        """
        _check_size(image.shape)
        with autograd.record():
            return list(self(image))

    def extract(self, image: Any) -> dict[str, Any]:
        """Return the feature maps by layer name, to look at or to compare with; nothing is recorded."""
        _check_size(image.shape)
        with autograd.train_mode():
            return dict(zip(self.names, self(image), strict=True))


def _widened(F: Any, image: Any) -> Any:
    """Return an image (N, 3, H, W) with channels of zeros after its own, 16 in all."""
    zeros = F.zeros_like(image)
    whole, rest = divmod(_CHANNELS - 3, 3)
    return F.concat(image, *[zeros] * whole, F.slice_axis(zeros, axis=1, begin=0, end=rest), dim=1)


def _array(
    arrays: Mapping[str, NDArray[np.float32]], conv: str, part: str, network: str
) -> NDArray[np.float32]:
    name = f"{conv}.{part}"
    if name not in arrays:
        raise ParametersError(
            f"the parameters hold no {name}, which {network} needs; they are of another network."
        )
    return arrays[name]


def _check_shapes(
    arrays: Mapping[str, NDArray[np.float32]], convolutions: Sequence[str], network: str
) -> None:
    """Raise ParametersError where a convolution does not fit the one before it."""
    before = 3
    for conv in convolutions:
        weight, bias = (_array(arrays, conv, part, network) for part in ("weight", "bias"))
        if bias.ndim != 1 or weight.shape != (len(bias), before, 3, 3):
            raise ParametersError(
                f"{conv}.weight is {weight.shape} and {conv}.bias {bias.shape}; {network} needs (out, {before}, 3, 3) "
                "and (out,). The parameters are damaged or of another network."
            )
        before = len(bias)


def _check_size(shape: tuple[int, ...]) -> None:
    if min(shape[2:]) < MIN_SIDE:
        raise ImageSizeError(f"the image is {shape[3]}x{shape[2]} pixels; no side may be below {MIN_SIDE}.")
