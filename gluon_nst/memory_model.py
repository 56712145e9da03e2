"""How much memory images take, counted from the layers, and checked against measurement.

Every term is what it says: so many copies of all feature maps, of the maps behind the losses, of the images. The
numbers of copies are fitted to peaks that `benchmarks.memory_model` measures, and lists beside the model's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from gluon_nst.recipe import Recipe, used_layers
from gluon_nst.vgg_layers import block, channels, convolutions_up_to, front_blocks

__all__ = ["predicted_bytes", "workspace_bytes"]

# Python, MXNet and the kernels that oneDNN makes; and numbers of the parameters, in its layout and in ours. Together
# what is left at no pixels: 414 MB in float32, 383 MB in bfloat16.
_BASE = 352 * 10**6
_PARAMETERS = 15_500_000

# Copies of the maps of all convolutions and poolings and of those behind the losses: themselves, their gradients, and
# what is being made of one of them; in bfloat16 some of that is float32. Fitted to the slopes of the table, and a tenth
# more in float32: malloc's heap goes on growing for some tens of steps.
_COPIES = {"float32": 1.5, "bfloat16": 1.7}

# The same where a graph keeps the memory of all that it ever makes, as on a GPU; fitted on a CPU that did so too.
_STATIC_COPIES = {"float32": 2.65, "bfloat16": 3.03}

# Pixels of a chunk from which the front runs in stripes, and the rows of one: `gluon_nst.striped_network`.
_STRIPED_FROM, _STRIPE = 1 << 19, 160

# What each further image takes besides that is not in proportion to its pixels. Fitted.
_FURTHER = 20 * 10**6

# Copies of a layer that the content loss takes: difference, square, gradient, target. All of them float32.
_CONTENT_COPIES = 5

# Copies of the layers behind the losses that several images need besides: cut apart for their Gram matrices and put
# together again, in bfloat16 by way of other layouts.
_APART_COPIES = {"float32": 1.0, "bfloat16": 7.0}

# Copies of the layers behind the losses that a tile needs besides: what it owns of them, with zeros around it, and in
# bfloat16 what oneDNN sets aside for their products.
_OWNED_COPIES = {"float32": 2.5, "bfloat16": 8.0}

# Copies of the images themselves, 3 float32 a pixel: image, two gradients, Adam's moments, average, pictures, and up
# to seven at once in the total variation; of several that take turns, what is cut and joined.
_IMAGE_COPIES = 15


def predicted_bytes(
    recipe: Recipe,
    precision: str,
    height: int,
    width: int,
    count: int = 1,
    window: tuple[int, int] | None = None,
    at_once: int | None = None,
) -> int:
    """Return the bytes that a process will take at most while it stylizes.

    Parameters
    ----------
    recipe
        What is done.
    precision
        Of the feature maps: "bfloat16", or one whose numbers have four bytes.
    height, width, count
        Shape of the images in pixels, and how many go together.
    window
        Height and width of the largest tile; None where the images are not cut.
    at_once
        How many of the images go through the network at the same time, on a CPU; None: all, as on a GPU.
    """
    kind = "bfloat16" if precision == "bfloat16" else "float32"
    word, whole = _word(precision), count * height * width
    static, at_once = at_once is None, at_once or count
    layout = _layout(recipe, height, width, window, at_once)
    maps = _by_part({conv: _maps(conv) + _pooled(conv) for conv in layout.convolutions}, layout.first)
    heads = _by_part({layer: _maps(layer) for layer in used_layers(recipe)}, layout.first)
    copies = (_STATIC_COPIES if static else _COPIES)[kind]
    apart = _APART_COPIES[kind] * (at_once > 1) + _OWNED_COPIES[kind] * (window is not None)
    parts = [
        at_once * pixels * (copies * (all_maps + ends) + apart * ends)
        for pixels, all_maps, ends in zip((layout.front, layout.rear), maps, heads, strict=True)
    ]
    # In stripes, one is over before the other begins, unless its graph keeps what it had.
    numbers = max(parts) if layout.striped and not static else sum(parts)
    return int(
        _BASE
        + (count - 1) * _FURTHER
        + word * (_PARAMETERS + numbers)
        + whole * _image_bytes(recipe)
        + at_once * layout.rear * _content_bytes(recipe)
    )


def workspace_bytes(recipe: Recipe, precision: str, height: int, width: int) -> int:
    """Return the bytes of what MXNet's operators share on a CPU, as large as the largest that was asked of it.

    A copy of the largest map; measured, 38 MB in bfloat16 and 93 in float32 after images of 768x512 pixels. It stays
    when their scale is over.

    Parameters
    ----------
    recipe, precision, height, width
        As `predicted_bytes` takes them, of an image that is not cut.
    """
    layout = _layout(recipe, height, width)
    largest = (
        _maps(conv) * (layout.front if block(conv) <= layout.first else layout.rear)
        for conv in layout.convolutions
    )
    return int(_word(precision) * max(largest))


def _word(precision: str) -> int:
    return 2 if precision == "bfloat16" else 4


class _Layout(NamedTuple):
    """How the network goes over one image.

    Attributes
    ----------
    convolutions, first
        Those that run, and the last block of the front.
    striped
        Whether the front goes over it in stripes.
    front, rear
        Pixels of it that the front has at once, and the other blocks.
    """

    convolutions: tuple[str, ...]
    first: int
    striped: bool
    front: int
    rear: int


def _layout(
    recipe: Recipe, height: int, width: int, window: tuple[int, int] | None = None, at_once: int = 1
) -> _Layout:
    convolutions = convolutions_up_to(recipe.network, used_layers(recipe))
    first = front_blocks(convolutions)
    striped = window is None and at_once * height * width >= _STRIPED_FROM and first > 0
    rear = height * width if window is None else window[0] * window[1]
    front = min(_STRIPE, height) * width if striped else rear
    return _Layout(convolutions, first, striped, front, rear)


def _by_part(numbers: Mapping[str, float], first: int) -> tuple[float, float]:
    """Return the sum of what layers have in the front, and in the other blocks."""
    front = sum(each for layer, each in numbers.items() if block(layer) <= first)
    return front, sum(numbers.values()) - front


def _image_bytes(recipe: Recipe) -> float:
    """Return the bytes a pixel that stay whole: the images in all their copies, and the content targets."""
    return 4 * (3 * _IMAGE_COPIES + _content_numbers(recipe))


def _content_bytes(recipe: Recipe) -> float:
    """Return the bytes a pixel that the content loss takes besides."""
    return 4 * (_CONTENT_COPIES - 1) * _content_numbers(recipe)


def _content_numbers(recipe: Recipe) -> float:
    return sum(_maps(layer) for layer, weight in recipe.content_layers if weight)


def _maps(layer: str) -> float:
    """Return the numbers that a layer has for one pixel of the image."""
    return float(channels(layer)) / (1 << 2 * (block(layer) - 1))


def _pooled(conv: str) -> float:
    """Return the numbers of the pooling that comes before a convolution, for one pixel of the image."""
    number, first = block(conv), conv.endswith("_1")
    return float(channels(f"conv{number - 1}_1")) / (1 << 2 * (number - 1)) if first and number > 1 else 0.0
