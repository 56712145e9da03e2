"""What the network sees: the first feature maps of every layer, for one picture or several side by side.

Colors show where a map is strong, from its own least value to its own greatest; maps cannot be compared with
each other by color.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gluon_nst.backend import context, translate_errors
from gluon_nst.errors import ImageSizeError, UsageError
from gluon_nst.feature_sheet import Column, draw_sheet
from gluon_nst.features import VGGFeatures
from gluon_nst.images.geometry import fit_longer_side, resize
from gluon_nst.parameters import Parameters
from gluon_nst.preprocessing import PIXEL_UNITS, preprocess
from gluon_nst.vgg_layers import CONVOLUTIONS, MIN_SIDE, block, channels

__all__ = ["feature_grid"]

Picture = NDArray[np.uint8]
Features = dict[str, NDArray[np.float32]]

# The network looks at pictures of this longer side: large enough for its deepest layer to show where things
# are, small enough for a few seconds on one core.
_LONGER_SIDE = 256
# Layers whose maps are narrower than this show next to nothing.
_SMALLEST_MAP = 4


def feature_grid(
    pictures: Sequence[Picture],
    labels: Sequence[str],
    parameters: Parameters,
    *,
    layers: Sequence[str] | None = None,
    maps: int = 8,
    cell: int = 96,
) -> Picture:
    """Draw the feature maps that a network makes of pictures.

    Parameters
    ----------
    pictures
        One or more pictures (H, W, 3) uint8 RGB of any shapes; the network sees them shrunk to a longer side
        of 256 pixels.
    labels
        What to call each.
    parameters
        The pretrained numbers; they say which network it is.
    layers
        Names of layers, `convB_I` or `reluB_I`; None draws every `reluB_I` that the parameters reach and
        whose maps are at least 4 pixels wide and high. Drawn in the network's order.
    maps
        How many maps of each layer, from the first; 1 to 64.
    cell
        Longer side of a map as drawn, in pixels; 32 to 512.

    Returns
    -------
    ndarray
        (h, w, 3) uint8 RGB: a row per layer, below a header with the pictures. A map that is the same
        everywhere is gray.

    Raises
    ------
    UsageError
        If a number is out of its range, there is no picture, or not a label for each.
    ImageSizeError
        If a side of a picture is below 16 pixels.
    RecipeError, ParametersError
        If a layer is unknown, or beyond what the parameters hold.
    """
    _check(pictures, labels, maps, cell)
    seen = [_shrink(picture) for picture in pictures]
    names = _drawable_layers(seen, parameters) if layers is None else tuple(layers)
    if not names:
        raise UsageError("there are no layers to draw; give some, such as relu1_1.")
    features = _extract(seen, names, parameters, maps)
    columns = [_column(*each) for each in zip(labels, pictures, seen, features, strict=True)]
    count = f"first {maps} maps" if maps > 1 else "first map"
    return draw_sheet(columns, parameters.network, [f"{count} of each layer"], cell)


def _check(pictures: Sequence[Picture], labels: Sequence[str], maps: int, cell: int) -> None:
    if not pictures or len(labels) != len(pictures):
        given = f"{len(pictures)} pictures came with {len(labels)} labels"
        raise UsageError(f"{given}; give one picture or more, and a label for each.")
    if not 1 <= maps <= channels("relu1_1"):
        raise UsageError(
            f"maps is {maps}; give 1 to {channels('relu1_1')}, as many as the first layers have."
        )
    if not 32 <= cell <= 512:
        raise UsageError(f"cell is {cell} pixels; give 32 to 512.")
    for picture in pictures:
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise UsageError(f"a picture is {picture.dtype} {picture.shape}; give uint8 (H, W, 3), RGB.")
        if min(picture.shape[:2]) < MIN_SIDE:
            height, width = picture.shape[:2]
            raise ImageSizeError(f"a picture is {width}x{height} pixels; no side may be below {MIN_SIDE}.")


def _shrink(picture: Picture) -> Picture:
    """Bring the longer side down to what the network is shown, but keep the shorter one above its minimum."""
    height, width = picture.shape[:2]
    shorter, longer = sorted((height, width))
    least = -(-MIN_SIDE * longer // shorter)
    return resize(picture, *fit_longer_side(height, width, min(longer, max(_LONGER_SIDE, least))))


def _drawable_layers(seen: Sequence[Picture], parameters: Parameters) -> tuple[str, ...]:
    """Return every activation that the parameters reach and that has maps large enough to look at."""
    shortest = min(min(picture.shape[:2]) for picture in seen)
    return tuple(
        conv.replace("conv", "relu")
        for conv in CONVOLUTIONS[parameters.network]
        if f"{conv}.weight" in parameters.arrays
        and shortest >> (block(conv) - 1) >= _SMALLEST_MAP  # each block but the first halves the sides
    )


def _extract(
    seen: Sequence[Picture], layers: Sequence[str], parameters: Parameters, maps: int
) -> list[Features]:
    """Return for each picture the first maps of each layer, (maps, h, w), in the network's order."""
    units, cpu = PIXEL_UNITS["imagenet"], context("cpu")
    with translate_errors():
        network = VGGFeatures(
            parameters.arrays, layers,
            network=parameters.network, pooling="max", padding="zero", units=units, context=cpu,
        )  # fmt: skip
        # Copied at once: the next picture may be computed into the same memory.
        extracted = (network.extract(preprocess([picture], units, cpu)) for picture in seen)
        return [{layer: each[0, :maps].asnumpy() for layer, each in maps_of.items()} for maps_of in extracted]


def _column(label: str, picture: Picture, seen: Picture, features: Features) -> Column:
    (height, width), (seen_height, seen_width) = picture.shape[:2], seen.shape[:2]
    notes = [f"{width}x{height} pixels", f"seen at {seen_width}x{seen_height}"]
    return Column(label, notes, picture, features)
