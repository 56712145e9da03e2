"""The objective of images too large for the memory, evaluated tile by tile.

Nothing is approximated. A first pass, forward only, adds up the Gram matrices of what the tiles own; their sum
is that of the whole image, and compared with the target once. A second pass sends each tile's part of the
gradient back to the pixels of its window, where the parts add up to the gradient of the whole image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gluon_nst.backend import as_float32, autograd, cast_like, nd, release_memory, to_ndarray
from gluon_nst.descent import Objective
from gluon_nst.features import VGGFeatures
from gluon_nst.generated_image import GeneratedImage
from gluon_nst.gram import gram_matrix, gram_product
from gluon_nst.objective import StyleTransferObjective, add_to, content_targets, divided_grams
from gluon_nst.optimize import Evaluation
from gluon_nst.recipe import Recipe
from gluon_nst.striped_network import stripes_pay
from gluon_nst.striped_objective import StripedObjective, striped_content_targets
from gluon_nst.tiles import Box, Tile, Tiling, shift_of_step, stride
from gluon_nst.turns_objective import TurnsObjective

__all__ = ["TiledObjective", "make_objective", "tiled_content_targets", "tiled_style_targets"]


def make_objective(
    network: VGGFeatures,
    recipe: Recipe,
    contents: Any,
    styles: Mapping[str, Any],
    tiling: Tiling | None,
    done: int = 0,
) -> Objective:
    """Return the objective for content images (N, 3, H, W): tile by tile, unless `tiling` is None.

    Then large ones go through the network's front in stripes. On a CPU several take turns.

    The other parameters are those of `TiledObjective`.
    """
    if len(contents) > 1 and contents.context.device_type == "cpu":
        alone = nd.split(contents, num_outputs=len(contents), axis=0)
        return TurnsObjective([make_objective(network, recipe, one, styles, tiling, done) for one in alone])
    if tiling is None and stripes_pay(network, contents.shape):
        targets = striped_content_targets(network, recipe, contents)
        return StripedObjective(network, recipe, targets, styles)
    if tiling is None:
        return StyleTransferObjective(network, recipe, content_targets(network, recipe, contents), styles)
    targets = tiled_content_targets(network, recipe, contents, tiling)
    return TiledObjective(network, recipe, targets, styles, tiling, done)


def tiled_content_targets(
    network: VGGFeatures, recipe: Recipe, contents: Any, tiling: Tiling
) -> dict[str, Any]:
    """Return what `gluon_nst.objective.content_targets` does, computed tile by tile."""
    wanted = [layer for layer, weight in recipe.content_layers if weight]
    targets: dict[str, Any] = {}
    for tile in tiling.tiles() if wanted else ():
        features = network.extract(_cut(contents, tile.window))
        for layer in wanted:
            found = as_float32(features[layer])
            if layer not in targets:
                height, width = (side // stride(layer) for side in (tiling.height, tiling.width))
                targets[layer] = nd.zeros((*found.shape[:2], height, width), ctx=found.context)
            place = tile.owned.within(tile.window).at(stride(layer))
            _put(targets[layer], tile.owned.at(stride(layer)), _cut(found, place))
        nd.waitall()
    return targets


def tiled_style_targets(network: VGGFeatures, recipe: Recipe, style: Any, tiling: Tiling) -> dict[str, Any]:
    """Return what `gluon_nst.objective.style_targets` does, computed tile by tile."""
    grams = _grams(network, recipe, style, tiling.tiles())
    return divided_grams(recipe, grams, tiling.height, tiling.width)


class TiledObjective(StyleTransferObjective):
    """Losses and gradient of images under a recipe, a tile at a time.

    The borders between tiles move from step to step, by steps that hang on the recipe's seed alone, so that
    not even rounding happens in the same place.

    Parameters
    ----------
    network, recipe, contents, styles
        As `StyleTransferObjective` takes them.
    tiling
        How to cut the images.
    done
        Steps that were done before: where the borders between tiles go on moving.
    """

    def __init__(
        self,
        network: VGGFeatures,
        recipe: Recipe,
        contents: Mapping[str, Any],
        styles: Mapping[str, Any],
        tiling: Tiling,
        done: int = 0,
    ) -> None:
        super().__init__(network, recipe, contents, styles)
        self._tiling, self._done = tiling, done

    def __call__(self, generated: GeneratedImage) -> Evaluation:
        """Return the weighted terms, (N,) each, and the gradient of their sum, (N, 3, H, W)."""
        image = generated.image.data()
        tiles = list(self._tiling.tiles(shift_of_step(self._recipe.seed, self._done)))
        self._done += 1
        losses = {"content": nd.zeros(image.shape[0], ctx=image.context)}
        # The two passes lay out the memory in different ways.
        release_memory(image.context)
        losses["style"], matrices = self._match(_grams(self._network, self._recipe, image, tiles), image)
        release_memory(image.context)
        gradient = nd.zeros_like(image)
        for tile in tiles if matrices or self._contents else ():
            part = self._tile_gradient(_cut(image, tile.window), tile, matrices, losses)
            _put(gradient, tile.window, _cut(gradient, tile.window) + part)
            nd.waitall()  # else several tiles would be under way at once, each with memory of its own
        losses["tv"], gradient = self._variation(image, gradient)
        losses["total"] = losses["content"] + losses["style"] + losses["tv"]
        return Evaluation(losses, gradient)

    def _tile_gradient(
        self, window: Any, tile: Tile, matrices: Mapping[str, Any], losses: dict[str, Any]
    ) -> Any:
        """Return the gradient to the pixels of a window of all that its tile owns; add its content loss."""
        window.attach_grad()
        features = dict(zip(self._network.names, self._network.record(window), strict=True))
        owned = {layer: _owned(found, layer, tile) for layer, found in features.items()}
        targets = {
            layer: _owned(_cut(target, tile.window.at(stride(layer))), layer, tile)
            for layer, target in self._contents.items()
        }
        heads = {layer: gram_product(matrix, owned[layer]) for layer, matrix in matrices.items()}
        losses["content"] = losses["content"] + self._content(owned, heads, window, targets)
        autograd.backward([features[layer] for layer in heads], head_grads=list(heads.values()))
        return window.grad


def _grams(
    network: VGGFeatures, recipe: Recipe, image: Any, tiles: Sequence[Tile] | Iterator[Tile]
) -> dict[str, Any]:
    """Return layer -> raw Gram matrices (N, C, C) of whole images."""
    wanted = [layer for layer, weight in recipe.style_layers if weight]
    grams: dict[str, Any] = {}
    for tile in tiles if wanted else ():
        features = network.extract(_cut(image, tile.window))
        for layer in wanted:
            gram = gram_matrix(_owned(features[layer], layer, tile))
            add_to(grams, layer, gram)
        nd.waitall()
    return grams


def _owned(features: Any, layer: str, tile: Tile) -> Any:
    """Return a window's feature map with zeros wherever its tile does not own it.

    Zeros add nothing to a Gram matrix and pass no gradient on. Cut out instead, the map would have another shape
    in every step, and MXNet keeps memory for each shape that it has met.
    """
    if tile.owned == tile.window:
        return features.detach()
    mask = np.zeros((1, 1, *features.shape[2:]), np.float32)
    box = tile.owned.within(tile.window).at(stride(layer))
    mask[:, :, box.top : box.bottom, box.left : box.right] = 1
    return nd.broadcast_mul(features.detach(), cast_like(to_ndarray(mask, ctx=features.context), features))


def _cut(array: Any, box: Box) -> Any:
    """Return a copy of a part of images or maps (N, C, h, w)."""
    begin, end = (None, None, box.top, box.left), (None, None, box.bottom, box.right)
    return nd.slice(array, begin=begin, end=end)


def _put(array: Any, box: Box, part: Any) -> None:
    array[:, :, box.top : box.bottom, box.left : box.right] = part
