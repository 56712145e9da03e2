"""Feature maps of a frozen, truncated VGG, by layer name.

Only calls that stay clear of MXNet 1.9.1's faults are made: the forward pass always runs in train mode (in
inference mode max pooling leaves no workspace, and its gradient is silently wrong, apache/mxnet #13445).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gluon_nst.backend import autograd, gluon
from gluon_nst.bfloat16 import bfloat16_kernels, widest_image
from gluon_nst.errors import ImageSizeError, ParametersError
from gluon_nst.preprocessing import PixelUnits
from gluon_nst.segment import Segment
from gluon_nst.vgg_layers import MIN_SIDE, block, check_layer, convolutions_up_to, front_blocks

__all__ = ["VGGFeatures"]


class VGGFeatures(gluon.Block):  # type: ignore[misc]
    """A VGG without its classifier, cut behind the deepest layer wanted, whose parameters never change.

    It is made of two graphs: `front`, the first blocks, two at most, and `rear`, the others (None if there are none).
    The maps of the front take twice the memory of all others, so that it is worth to run it apart
    (`gluon_nst.striped_network`).

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
        _check_arrays(arrays, self.convolutions, network)
        self.widest = widest_image(bfloat16_kernels()) if precision == "bfloat16" else None
        first = front_blocks(self.convolutions)
        rear = [conv for conv in self.convolutions if first and block(conv) > first]
        front = self.convolutions[: len(self.convolutions) - len(rear)]

        def segment(convolutions: Sequence[str], names: Sequence[str]) -> Segment:
            return Segment(
                arrays, convolutions, names, pooling=pooling, padding=padding, units=units, context=context,
                precision=precision,
            )  # fmt: skip

        taps = [name for name in self.names if not rear or block(name) <= first]
        self.front = segment(front, [*taps, f"pool{first}"] if rear else taps)
        self.rear = segment(rear, self.names[len(taps) :]) if rear else None

    def forward(self, image: Any) -> list[Any]:
        """Return the feature maps of `names`."""
        if self.rear is None:
            return list(self.front(image))
        *features, pooled = self.front(image)
        return [*features, *self.rear(pooled)]

    def record(self, image: Any) -> list[Any]:
        """Return the feature maps, recorded, so that ``autograd.backward`` can go from them to the image.

        Raises
        ------
        ImageSizeError
            If a side of the image is below 16 pixels.
        """
        _check_size(image.shape, self.widest)
        with autograd.record():
            return list(self(image))

    def extract(self, image: Any) -> dict[str, Any]:
        """Return the feature maps by layer name, to look at or to compare with; nothing is recorded."""
        _check_size(image.shape, self.widest)
        with autograd.train_mode():
            return dict(zip(self.names, self(image), strict=True))


def _array(
    arrays: Mapping[str, NDArray[np.float32]], conv: str, part: str, network: str
) -> NDArray[np.float32]:
    name = f"{conv}.{part}"
    if name not in arrays:
        raise ParametersError(
            f"the parameters hold no {name}, which {network} needs; they are of another network."
        )
    return arrays[name]


def _check_arrays(
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


def _check_size(shape: tuple[int, ...], widest: int | None) -> None:
    if min(shape[2:]) < MIN_SIDE:
        raise ImageSizeError(f"the image is {shape[3]}x{shape[2]} pixels; no side may be below {MIN_SIDE}.")
    if widest is not None and shape[3] > widest:
        raise ImageSizeError(
            f"the image is {shape[3]} pixels wide; with AMX no more than {widest} go through the network at once. "
            "Cut it into tiles, or use --precision float32."
        )
