"""The pyramid: the sizes, small to large, at which one image is optimised in turn."""

from __future__ import annotations

import dataclasses

from gluon_nst.errors import ImageSizeError
from gluon_nst.recipe import Recipe
from gluon_nst.vgg_layers import MIN_SIDE

__all__ = ["Scale", "pyramid", "working_shape"]


@dataclasses.dataclass(frozen=True)
class Scale:
    """One level of the pyramid: an image shape in pixels and the work that is done at it."""

    height: int
    width: int
    steps: int
    decay_every: int

    @property
    def longer_side(self) -> int:
        """The longer side in pixels."""
        return max(self.height, self.width)


def working_shape(recipe: Recipe, height: int, width: int) -> tuple[int, int]:
    """Return the (height, width) at which a content image of this shape is finished.

    The recipe's fixed shape if it has one; else the longer side becomes `recipe.size` and the aspect is kept
    (`recipe.size` 0 keeps the content's own size).

    Raises
    ------
    ImageSizeError
        If a side would be shorter than the network can see.
    """
    if recipe.shape:
        return recipe.shape[0], recipe.shape[1]
    ratio = (recipe.size or max(height, width)) / max(height, width)
    shape = max(1, round(height * ratio)), max(1, round(width * ratio))
    if min(shape) < MIN_SIDE:
        raise ImageSizeError(
            f"the content image is {width}x{height} pixels, which becomes {shape[1]}x{shape[0]} at size "
            f"{max(shape)}; no side may be below {MIN_SIDE} pixels. Use a larger --size or crop the image."
        )
    return shape


def _longer_sides(recipe: Recipe, height: int, width: int) -> list[float]:
    """Longer sides of the scales, large to small."""
    longer, shorter = max(height, width), min(height, width)
    sides = [float(longer)]
    while recipe.scales == 0 or len(sides) < recipe.scales:
        side = sides[-1] / recipe.scale_factor
        if shorter * side / longer < MIN_SIDE or (recipe.scales == 0 and side < recipe.min_size):
            break
        sides.append(side)
    return sides


def pyramid(recipe: Recipe, height: int, width: int) -> tuple[Scale, ...]:
    """Return the scales for a working shape, small to large.

    Each scale is `recipe.scale_factor` times smaller than the next. There are `recipe.scales` of them, or,
    where that is 0, as many as keep the longer side at `recipe.min_size` or more. The last scale runs
    `recipe.steps` steps, the coarser ones `recipe.coarse_steps` each.
    """
    sides = _longer_sides(recipe, height, width)
    longer = max(height, width)
    shapes = [(round(height * side / longer), round(width * side / longer)) for side in reversed(sides)]
    coarse = [Scale(h, w, recipe.coarse_steps, recipe.coarse_decay_every) for h, w in shapes[:-1]]
    return (*coarse, Scale(*shapes[-1], recipe.steps, recipe.decay_every))
