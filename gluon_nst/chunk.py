"""What is stylized together: checked, brought to a palette, laid out over the scales. Arrays, no MXNet."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gluon_nst.errors import ImageSizeError, UsageError
from gluon_nst.images.geometry import fit_longer_side, resize
from gluon_nst.images.palette import match_palette
from gluon_nst.pyramid import Scale, pyramid, working_shape
from gluon_nst.recipe import Recipe

__all__ = ["Chunk", "Pixels", "make_chunks"]

Pixels = NDArray[np.uint8]
"""A picture, (H, W, 3) RGB."""

# Longer side at which a style's palette is taken: 200,000 pixels settle a mean and a covariance.
_PALETTE_SIDE = 512


@dataclasses.dataclass(frozen=True, eq=False)
class Chunk:
    """Pictures of one shape on their way through the scales.

    Attributes
    ----------
    photographs, contents
        The content pictures as given, and as the content loss sees them: in the styles' palette if the recipe
        says so.
    styles, blend
        Style pictures, and their weights, of sum 1.
    palettes
        The style pictures, no larger than their colors need; none where the recipe asks for no colors of theirs.
    starts
        Pictures to start from, one for each photograph; or None.
    scales
        Shapes and steps, small to large.
    part, parts
        Which part of the whole work this is, counted from 0, and how many there are.
    """

    photographs: Sequence[Pixels]
    contents: Sequence[Pixels]
    styles: Sequence[Pixels]
    blend: Sequence[float]
    palettes: Sequence[Pixels]
    starts: Sequence[Pixels] | None
    scales: Sequence[Scale]
    part: int = 0
    parts: int = 1

    def fraction(self, index: int, step: int) -> float:
        """Return how much of the whole work is done after some steps of the scale of this index.

        A step counts as many times as the image has pixels.
        """
        work = [scale.steps * scale.height * scale.width for scale in self.scales]
        done = sum(work[:index]) + step * self.scales[index].height * self.scales[index].width
        return (self.part + done / sum(work)) / self.parts


def make_chunks(
    recipe: Recipe,
    contents: Sequence[Pixels],
    styles: Sequence[Pixels],
    blend: Sequence[float] | None,
    starts: Sequence[Pixels] | None,
) -> list[Chunk]:
    """Return the chunk of these pictures, or one for each picture where they cannot go together.

    Raises
    ------
    ImageSizeError
        If the contents' shapes differ, or a side is too short.
    UsageError
        If weights or start pictures do not fit in number, or what was given is no picture.
    """
    scales = pyramid(recipe, *working_shape(recipe, *_one_shape(contents)))
    weights = _normalized(blend, len(styles))
    _check_starts(recipe, starts, len(contents))
    palettes = _palettes(recipe, styles)
    recolored = _recolored(recipe, contents, palettes, weights, scales[-1])
    chunk = Chunk(contents, recolored, styles, weights, palettes, starts, scales)
    return _one_by_one(chunk) if _one_at_a_time(recipe) else [chunk]


def _one_at_a_time(recipe: Recipe) -> bool:
    """Tell whether each image must run alone, so that its company changes nothing of it.

    The line search of L-BFGS chooses one step length for all that it sees; an early stop comes when the slowest
    image has converged.
    """
    return recipe.optimizer == "lbfgs" or recipe.stop_below > 0


def _one_shape(contents: Sequence[Pixels]) -> tuple[int, int]:
    shapes = {content.shape for content in contents}
    if len(shapes) != 1:
        raise ImageSizeError(
            f"content pictures of one call must have one shape; these have {sorted(shapes)}."
        )
    shape = shapes.pop()
    if len(shape) != 3 or shape[2] != 3:
        raise UsageError(f"a picture of shape {shape} was given; pictures are (height, width, 3), RGB.")
    return shape[0], shape[1]


def _normalized(blend: Sequence[float] | None, count: int) -> list[float]:
    """Return the weights of the styles, divided by their sum."""
    weights = [1.0] * count if blend is None else list(blend)
    if not count or len(weights) != count or min(weights) < 0 or not 0 < sum(weights) < math.inf:
        raise UsageError(
            f"{count} style images came with the blend weights {weights}; give each one weight of 0 or more, "
            "not all 0, and at least one style image."
        )
    return [weight / sum(weights) for weight in weights]


def _check_starts(recipe: Recipe, starts: Sequence[Pixels] | None, count: int) -> None:
    if (recipe.init == "image") != (starts is not None):
        raise UsageError('a start image and init = "image" go together; give both or neither.')
    if starts is not None and len(starts) != count:
        raise UsageError(f"{count} contents came with {len(starts)} start images; give each one.")


def _palettes(recipe: Recipe, styles: Sequence[Pixels]) -> list[Pixels]:
    if recipe.content_colors == "own" and not recipe.match_colors:
        return []
    return [_at_most(style, _PALETTE_SIDE) for style in styles]


def _recolored(
    recipe: Recipe,
    contents: Sequence[Pixels],
    palettes: Sequence[Pixels],
    blend: Sequence[float],
    scale: Scale,
) -> Sequence[Pixels]:
    if recipe.content_colors == "own":
        return contents
    return [
        match_palette(resize(content, scale.height, scale.width), palettes, blend) for content in contents
    ]


def _at_most(picture: Pixels, longer_side: int) -> Pixels:
    """Return the picture, made smaller if its longer side is above a bound."""
    height, width = picture.shape[:2]
    return resize(picture, *fit_longer_side(height, width, min(longer_side, max(height, width))))


def _one_by_one(chunk: Chunk) -> list[Chunk]:
    count = len(chunk.photographs)
    return [
        dataclasses.replace(
            chunk,
            photographs=chunk.photographs[n : n + 1],
            contents=chunk.contents[n : n + 1],
            starts=None if chunk.starts is None else chunk.starts[n : n + 1],
            part=n,
            parts=count,
        )
        for n in range(count)
    ]
