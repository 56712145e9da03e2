"""Style targets, kept while they are likely to be asked for again."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gluon_nst.errors import ImageSizeError
from gluon_nst.features import VGGFeatures
from gluon_nst.images.geometry import fit_longer_side, resize
from gluon_nst.objective import style_targets
from gluon_nst.preprocessing import PIXEL_UNITS, preprocess
from gluon_nst.pyramid import Scale
from gluon_nst.recipe import Recipe
from gluon_nst.striped_network import stripes_pay
from gluon_nst.striped_objective import striped_style_targets
from gluon_nst.tiled_objective import tiled_style_targets
from gluon_nst.tiles import Tiling
from gluon_nst.vgg_layers import MIN_SIDE

__all__ = ["StyleTargets"]

_KEPT = 16  # sets of targets; the five layers of VGG19 take 2.4 MB a set


class StyleTargets:
    """Gram targets of style pictures at the scales of a recipe.

    A folder of photographs shares its style pictures, and mostly its scales: then the network sees each style
    once per scale and not once per photograph.

    Parameters
    ----------
    network, recipe, context
        What sees them, under which recipe, and where.
    tiling
        How to cut a style picture of some height and width; None where it fits whole.
    """

    def __init__(
        self,
        network: VGGFeatures,
        recipe: Recipe,
        context: Any,
        tiling: Callable[[int, int], Tiling | None] = lambda height, width: None,
    ) -> None:
        self._network, self._recipe, self._context, self._tiling = network, recipe, context, tiling
        self._kept: OrderedDict[tuple[object, ...], dict[str, Any]] = OrderedDict()

    def blended(
        self, styles: Sequence[NDArray[np.uint8]], blend: Sequence[float], scale: Scale
    ) -> dict[str, Any]:
        """Return layer -> Gram matrix (1, C, C): the mean of the styles', weighted by `blend` (of sum 1).

        For squared differences that is the same, up to a constant, as a weighted sum of one loss per style.
        """
        targets: dict[str, Any] = {}
        for style, weight in zip(styles, blend, strict=True):
            for layer, gram in self._of_one(style, scale).items():
                targets[layer] = targets[layer] + weight * gram if layer in targets else weight * gram
        return targets

    def _of_one(self, style: NDArray[np.uint8], scale: Scale) -> dict[str, Any]:
        shape = self._shape(style, scale)
        key = (hashlib.sha256(style.tobytes()).digest(), style.shape, shape)
        if key not in self._kept:
            image = preprocess([resize(style, *shape)], PIXEL_UNITS[self._recipe.pixel_units], self._context)
            self._kept[key] = self._compute(image)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    def _compute(self, image: Any) -> dict[str, Any]:
        tiling = self._tiling(*image.shape[2:])
        if tiling is None:
            striped = stripes_pay(self._network, image.shape)
            return (striped_style_targets if striped else style_targets)(self._network, self._recipe, image)
        return tiled_style_targets(self._network, self._recipe, image, tiling)

    def _shape(self, style: NDArray[np.uint8], scale: Scale) -> tuple[int, int]:
        if self._recipe.style_fit == "stretch":
            return scale.height, scale.width
        longer = max(1, round(scale.longer_side * self._recipe.style_scale))
        height, width = fit_longer_side(style.shape[0], style.shape[1], longer)
        if min(height, width) < MIN_SIDE:
            raise ImageSizeError(
                f"a style image becomes {width}x{height} pixels beside a content of {scale.width}x{scale.height}; "
                f"no side may be below {MIN_SIDE}. Use a larger style_scale or size."
            )
        return height, width
