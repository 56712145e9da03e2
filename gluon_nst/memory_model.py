"""How much memory images take, counted from the layers, and checked against measurement.

Every term is what it says: so many copies of all feature maps, of the maps behind the losses, of the images. The
numbers of copies are fitted to peaks that `benchmarks.memory_model` measures, and lists beside the model's.
"""

from __future__ import annotations

from gluon_nst.recipe import Recipe
from gluon_nst.vgg_layers import channels, convolutions_up_to

__all__ = ["image_bytes", "predicted_bytes", "used_layers", "window_bytes"]

# Python, MXNet, the parameters and the kernels that oneDNN makes: what is left at no pixels.
_BASE = 450 * 10**6

# Copies of the maps of all convolutions and poolings: themselves, their gradients, and what is being made of one of
# them; in bfloat16 some of that is float32. Measured at 256, 512 and 1024 px: see the table.
_COPIES = {"float32": 2.44, "bfloat16": 3.04}

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
    seen = (height, width) if window is None else window
    pixels = count * height * width
    return int(
        _BASE
        + pixels * image_bytes(recipe)
        + count * seen[0] * seen[1] * window_bytes(recipe, precision, several=count > 1)
    )


def image_bytes(recipe: Recipe) -> float:
    """Return the bytes a pixel that stay whole: the images in all their copies, and the content targets."""
    targets = sum(_maps(layer) for layer, weight in recipe.content_layers if weight)
    return 4 * (3 * _IMAGE_COPIES + targets)


def window_bytes(recipe: Recipe, precision: str, *, several: bool = False) -> float:
    """Return the bytes a pixel of what goes through the network at once."""
    precision, word = ("bfloat16", 2) if precision == "bfloat16" else ("float32", 4)
    layers = used_layers(recipe)
    maps = sum(_maps(conv) + _pooled(conv) for conv in convolutions_up_to(recipe.network, layers))
    heads = sum(_maps(layer) for layer in layers)
    content = sum(_maps(layer) for layer, weight in recipe.content_layers if weight)
    apart = _APART_COPIES * heads * several
    return word * (_COPIES[precision] * (maps + heads) + apart) + 4 * (_CONTENT_COPIES - 1) * content


def _maps(layer: str) -> float:
    """Return the numbers that a layer has for one pixel of the image."""
    return float(channels(layer)) / (1 << 2 * (int(layer[4]) - 1))


def _pooled(conv: str) -> float:
    """Return the numbers of the pooling that comes before a convolution, for one pixel of the image."""
    block, first = int(conv[4]), conv.endswith("_1")
    return float(channels(f"conv{block - 1}_1")) / (1 << 2 * (block - 1)) if first and block > 1 else 0.0
