"""How much memory images take, counted from the layers, and checked against measurement.

Every term is what it says: so many copies of all feature maps, of the maps behind the losses, of the images. The
numbers of copies are fitted to peaks that `benchmarks.memory_model` measures, and lists beside the model's.
"""

from __future__ import annotations

from gluon_nst.recipe import Recipe
from gluon_nst.vgg_layers import channels, convolutions_up_to

__all__ = ["predicted_bytes", "used_layers"]

# Python, MXNet and the kernels that oneDNN makes; and numbers of the parameters, in its layout and in ours. Together
# what is left at no pixels: 424 MB in float32, 381 MB in bfloat16.
_BASE = 340 * 10**6
_PARAMETERS = 21 * 10**6

# Copies of the maps of all convolutions and poolings and of those behind the losses: themselves, their gradients, and
# what is being made of one of them; in bfloat16 some of that is float32. Fitted to the slopes of the table.
_COPIES = {"float32": 2.8, "bfloat16": 3.03}

# Pixels of a chunk from which the first block runs in stripes, and the rows of one: `gluon_nst.striped_objective`.
_STRIPED_FROM, _STRIPE = 1 << 19, 160

# Copies of a layer that the content loss takes: difference, square, gradient, target. All of them float32.
_CONTENT_COPIES = 5

# Copies of the layers behind the style loss that several images need besides: each one's own, and all in one.
_APART_COPIES = 1.5

# Copies of the images themselves, 3 float32 a pixel: image, gradient, Adam's moments, average, and up to seven at
# once in the total variation.
_IMAGE_COPIES = 12


def used_layers(recipe: Recipe) -> tuple[str, ...]:
    """Return the layers behind a loss that counts."""
    return tuple(layer for layer, weight in (*recipe.content_layers, *recipe.style_layers) if weight)


def predicted_bytes(
    recipe: Recipe,
    precision: str,
    height: int,
    width: int,
    count: int = 1,
    window: tuple[int, int] | None = None,
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
    """
    word = _word(precision)
    whole = count * height * width
    network = count * _network_numbers(recipe, height, width, window, striped=whole >= _STRIPED_FROM)
    seen = whole if window is None else count * window[0] * window[1]
    return int(
        _BASE
        + word * _PARAMETERS
        + whole * _image_bytes(recipe)
        + word * _COPIES[_kind(precision)] * network
        + seen * _loss_bytes(recipe, word, several=count > 1)
    )


def _kind(precision: str) -> str:
    return "bfloat16" if precision == "bfloat16" else "float32"


def _word(precision: str) -> int:
    return 2 if precision == "bfloat16" else 4


def _network_numbers(
    recipe: Recipe, height: int, width: int, window: tuple[int, int] | None, *, striped: bool
) -> float:
    """Return the numbers of one copy of all maps that are there at once, for one image."""
    front, rear = _numbers(recipe, first=True), _numbers(recipe, first=False)
    if window is not None:
        return window[0] * window[1] * (front + rear)
    rows = min(_STRIPE, height) if striped and rear else height
    return height * width * rear + rows * width * front


def _numbers(recipe: Recipe, *, first: bool) -> float:
    """Return the numbers for one pixel of the maps of the first block, or of the others."""
    layers = used_layers(recipe)
    convolutions = convolutions_up_to(recipe.network, layers)
    maps = [(conv, _maps(conv) + _pooled(conv)) for conv in convolutions]
    maps += [(layer, _maps(layer)) for layer in layers]
    return sum(numbers for name, numbers in maps if (name[4] == "1") == first)


def _image_bytes(recipe: Recipe) -> float:
    """Return the bytes a pixel that stay whole: the images in all their copies, and the content targets."""
    return 4 * (3 * _IMAGE_COPIES + _content_numbers(recipe))


def _loss_bytes(recipe: Recipe, word: int, *, several: bool) -> float:
    """Return the bytes a pixel that the losses take besides."""
    apart = _APART_COPIES * several * sum(_maps(layer) for layer in used_layers(recipe))
    return word * apart + 4 * (_CONTENT_COPIES - 1) * _content_numbers(recipe)


def _content_numbers(recipe: Recipe) -> float:
    return sum(_maps(layer) for layer, weight in recipe.content_layers if weight)


def _maps(layer: str) -> float:
    """Return the numbers that a layer has for one pixel of the image."""
    return float(channels(layer)) / (1 << 2 * (int(layer[4]) - 1))


def _pooled(conv: str) -> float:
    """Return the numbers of the pooling that comes before a convolution, for one pixel of the image."""
    block, first = int(conv[4]), conv.endswith("_1")
    return float(channels(f"conv{block - 1}_1")) / (1 << 2 * (block - 1)) if first and block > 1 else 0.0
