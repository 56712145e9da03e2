"""Where an optimisation starts, and how it is carried from one scale to the next."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gluon_nst.backend import nd, to_ndarray
from gluon_nst.chunk import Chunk, Pixels
from gluon_nst.images.color_match import match_colors
from gluon_nst.images.geometry import resize
from gluon_nst.optimize import AdamState
from gluon_nst.pyramid import Scale
from gluon_nst.recipe import Recipe

__all__ = ["enlarge", "noise", "revise"]


def noise(recipe: Recipe, content: NDArray[np.uint8], scale: Scale) -> NDArray[np.float32]:
    """Return a noise image (3, H, W) in pixel units, as the recipe's `init` and `init_range` say.

    It is seeded from the recipe's seed and the content picture alone: neither the place in a chunk nor the
    worker nor the clock changes it.
    """
    digest = hashlib.sha256(content.tobytes()).digest()
    generator = np.random.default_rng([recipe.seed, int.from_bytes(digest[:8], "little")])
    first, second = recipe.init_range
    draw = generator.uniform if recipe.init == "uniform" else generator.normal
    return draw(first, second, (3, scale.height, scale.width)).astype(np.float32)


def enlarge(
    image: Any, state: AdamState | None, bounds: tuple[Any, Any], scale: Scale
) -> tuple[Any, AdamState | None]:
    """Return images, clipped to real pixels, and Adam's moments at the shape of the next scale.

    The image goes up by bicubic, the moments by bilinear interpolation: the second one must stay positive. They are
    those of gradients, which shrink as the number of pixels grows where the loss does not depend on it; unchanged,
    they held the first steps of a scale four times too short when it had twice the sides.
    """
    low, high = bounds
    clipped = nd.broadcast_minimum(nd.broadcast_maximum(image, low), high)
    larger = _resized(clipped, scale, Image.Resampling.BICUBIC)
    if state is None:
        return larger, None
    mean, variance = (
        _resized(each, scale, Image.Resampling.BILINEAR) for each in (state.mean, state.variance)
    )
    share = image.shape[2] * image.shape[3] / (scale.height * scale.width)
    return larger, AdamState(state.step, mean * share, variance * share**2)


def revise(recipe: Recipe, pictures: Sequence[Pixels], chunk: Chunk, index: int) -> list[Pixels]:
    """Return the pictures that a scale starts from, once they have been enlarged to it.

    Under `restore_detail` each has the detail of its content back that the scale before had no pixels for; under
    `match_colors` the colors of the styles, then.

    Parameters
    ----------
    recipe
        Says which.
    pictures
        One (H, W, 3) for each content of the chunk, in the shape of the scale.
    chunk, index
        The chunk, and the index of the scale, above 0.
    """
    revised = list(pictures)
    if recipe.restore_detail:
        scale, smaller = chunk.scales[index], chunk.scales[index - 1]
        revised = [
            _detailed(picture, resize(content, scale.height, scale.width), smaller)
            for picture, content in zip(revised, chunk.contents, strict=True)
        ]
    if recipe.match_colors:
        revised = [match_colors(picture, chunk.palettes, chunk.blend) for picture in revised]
    return revised


def _detailed(picture: Pixels, content: Pixels, smaller: Scale) -> Pixels:
    """Add to a picture the difference between its content and what is left of that at a smaller scale."""
    coarse = resize(resize(content, smaller.height, smaller.width), *content.shape[:2])
    detail = content.astype(np.int16) - coarse
    return np.clip(picture + detail, 0, 255).astype(np.uint8)


def _resized(array: Any, scale: Scale, filter: Image.Resampling) -> Any:
    """Resize an NDArray (N, 3, h, w) to the scale's shape, channel by channel."""
    shape = (*array.shape[:2], scale.height, scale.width)
    planes = array.asnumpy().reshape(-1, *array.shape[2:])
    resized = [
        np.asarray(Image.fromarray(plane).resize((scale.width, scale.height), filter)) for plane in planes
    ]
    return to_ndarray(np.stack(resized).reshape(shape), ctx=array.context)
