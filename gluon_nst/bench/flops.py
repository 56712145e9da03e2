"""How much arithmetic one step of a recipe is, and how much its whole schedule; counted, nothing is run."""

from __future__ import annotations

from gluon_nst.pyramid import Scale
from gluon_nst.recipe import Recipe, used_layers
from gluon_nst.vgg_layers import block, channels, convolutions_up_to, positions

__all__ = [
    "ROOFLINE_CHANNELS",
    "ROOFLINE_DEPTH",
    "ROOFLINE_FLOPS",
    "ROOFLINE_SIDE",
    "convolution_macs",
    "gram_macs",
    "schedule_steps",
    "step_flops",
]

# Two operations to a multiply-add; each one runs forward and once more backward, to the input. The weights are
# frozen, so their gradient, as much again, is none of the work.
_FLOPS_PER_MAC = 4

# The roofline is measured on what is the third block of VGG for a 256 px picture. So many layers of it that bringing
# the first input into the library's own layout, and the last one back, weighs little.
ROOFLINE_CHANNELS, ROOFLINE_SIDE, ROOFLINE_DEPTH = 256, 64, 4

ROOFLINE_FLOPS = ROOFLINE_DEPTH * _FLOPS_PER_MAC * 9 * ROOFLINE_CHANNELS**2 * ROOFLINE_SIDE**2
"""Operations of one run of the roofline's convolutions, forward and backward."""


def step_flops(recipe: Recipe, height: int, width: int) -> int:
    """Return the floating-point operations of one step for one picture: convolutions and Gram matrices.

    All else (activations, pooling, losses, the optimizer) is left out: under one percent together.
    """
    run = convolutions_up_to(recipe.network, used_layers(recipe))
    macs = sum(convolution_macs(conv, height, width) for conv in run)
    macs += sum(gram_macs(layer, height, width) for layer, weight in recipe.style_layers if weight)
    return _FLOPS_PER_MAC * macs


def convolution_macs(conv: str, height: int, width: int) -> int:
    """Return the multiply-adds of one 3x3 convolution, forward, in a picture of this shape in pixels."""
    number, index = block(conv), int(conv[6])
    inputs = channels(conv) if index > 1 else channels(f"conv{number - 1}_1") if number > 1 else 3
    return 9 * inputs * channels(conv) * positions(conv, height, width)


def gram_macs(layer: str, height: int, width: int) -> int:
    """Return the multiply-adds of one layer's Gram matrix ``F F^T``; the gradient ``D F`` has as many."""
    return channels(layer) ** 2 * positions(layer, height, width)


def schedule_steps(scales: tuple[Scale, ...]) -> float:
    """Return how many steps at the last scale the whole pyramid is worth, a step counting by its pixels."""
    last = scales[-1].height * scales[-1].width
    return sum(scale.steps * scale.height * scale.width for scale in scales) / last
