"""How much work a job is, in steps times pixels: what it takes on any device is in proportion."""

from __future__ import annotations

from gluon_nst.errors import ImageSizeError
from gluon_nst.pyramid import pyramid, working_shape
from gluon_nst.recipe import Recipe

__all__ = ["cost_of"]


def cost_of(recipe: Recipe, shape: tuple[int, int] | None) -> float:
    """Return the work of a job: over all scales, steps times pixels.

    Parameters
    ----------
    recipe
        What to do.
    shape
        (height, width) of the content. What cannot be read or is too small fails at once: it counts 1.
    """
    if shape is None:
        return 1.0
    try:
        scales = pyramid(recipe, *working_shape(recipe, *shape))
    except ImageSizeError:
        return 1.0
    return float(sum(scale.steps * scale.height * scale.width for scale in scales))
