"""The layers of VGG16 and VGG19 by name.

Layers go by the names of the literature everywhere: ``convB_I`` is the output of the I-th convolution of
block B, ``reluB_I`` the same after its activation (Simonyan and Zisserman 2014, table 1, columns D and E).
"""

from __future__ import annotations

from gluon_nst.errors import RecipeError, did_you_mean

__all__ = [
    "CONVOLUTIONS",
    "MIN_SIDE",
    "NETWORKS",
    "block",
    "channels",
    "check_layer",
    "convolutions_up_to",
    "front_blocks",
    "layer_names",
]

# Convolutions per block; every block but the last in use is followed by a 2x2 pooling.
_BLOCKS: dict[str, tuple[int, ...]] = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
_BLOCK_CHANNELS = (64, 128, 256, 512, 512)

NETWORKS = tuple(_BLOCKS)

CONVOLUTIONS: dict[str, tuple[str, ...]] = {
    network: tuple(f"conv{block}_{i}" for block, count in enumerate(blocks, 1) for i in range(1, count + 1))
    for network, blocks in _BLOCKS.items()
}
"""Names of the convolutions of each network, in order."""

MIN_SIDE = 16
"""No side of an image may be shorter: four poolings leave one pixel of it."""


def layer_names(network: str) -> tuple[str, ...]:
    """Return every layer name of a network, in forward order: conv1_1, relu1_1, conv1_2, ..."""
    return tuple(name for conv in CONVOLUTIONS[network] for name in (conv, conv.replace("conv", "relu")))


def check_layer(network: str, layer: str) -> str:
    """Return `layer` if `network` has it.

    Raises
    ------
    RecipeError
        If it has not; the message suggests the nearest name.
    """
    allowed = layer_names(network)
    if layer not in allowed:
        raise RecipeError(
            f"{network} has no layer {layer!r}.{did_you_mean(layer, allowed)} "
            f"Layers are named convB_I and reluB_I, from {allowed[0]} to {allowed[-1]}."
        )
    return layer


def block(layer: str) -> int:
    """Return the block that a layer is in, from 1."""
    return int(layer[4])


def channels(layer: str) -> int:
    """Return the number of feature maps of a layer: 64, 128, 256, 512, 512 in blocks 1 to 5."""
    return _BLOCK_CHANNELS[block(layer) - 1]


def positions(layer: str, height: int, width: int) -> int:
    """Return h*w of a layer, of an image's: every block before its own has halved both sides, rounding down."""
    halvings = block(layer) - 1
    return (height >> halvings) * (width >> halvings)


def convolutions_up_to(network: str, layers: tuple[str, ...]) -> tuple[str, ...]:
    """Return the convolutions that must run so that every one of `layers` is computed."""
    names = CONVOLUTIONS[network]
    deepest = max(names.index(layer.replace("relu", "conv")) for layer in layers)
    return names[: deepest + 1]


def front_blocks(convolutions: tuple[str, ...]) -> int:
    """Return how many blocks make the front of a network that ends with these convolutions.

    Two at most, whose maps are much larger than all others and see few pixels far; none without others behind.
    """
    return min(2, block(convolutions[-1]) - 1)
