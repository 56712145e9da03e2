"""The objective of large images, with the front of the network run in stripes of rows.

The front goes stripe by stripe, once forward and once, anew, for the gradient; the other blocks run on the whole
image between the two (`gluon_nst.striped_network`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gluon_nst.backend import as_float32, autograd, nd
from gluon_nst.features import VGGFeatures
from gluon_nst.generated_image import GeneratedImage
from gluon_nst.gram import gram_product
from gluon_nst.losses import normalized_gram
from gluon_nst.objective import StyleTransferObjective, divided_grams
from gluon_nst.optimize import Evaluation
from gluon_nst.recipe import Recipe
from gluon_nst.striped_network import StripedNetwork, rows, seen_rows
from gluon_nst.tiles import Tile

__all__ = ["StripedObjective", "striped_content_targets", "striped_style_targets"]


def striped_content_targets(network: VGGFeatures, recipe: Recipe, contents: Any) -> dict[str, Any]:
    """Return what `gluon_nst.objective.content_targets` does, the front in stripes."""
    striped, wanted = StripedNetwork(network), {layer for layer, weight in recipe.content_layers if weight}
    maps, _ = striped.look(contents, {*wanted, striped.end})
    rear = striped.rear(maps.pop(striped.end))
    maps |= {layer: found for layer, found in rear.items() if layer in wanted}
    return {layer: as_float32(found.detach()).copy() for layer, found in maps.items()}


def striped_style_targets(network: VGGFeatures, recipe: Recipe, style: Any) -> dict[str, Any]:
    """Return what `gluon_nst.objective.style_targets` does, the front in stripes."""
    striped, wanted = StripedNetwork(network), {layer for layer, weight in recipe.style_layers if weight}
    maps, grams = striped.look(style, {striped.end}, wanted)
    return divided_grams(recipe, grams, *style.shape[2:]) | {
        layer: normalized_gram(found.detach(), recipe.gram)
        for layer, found in striped.rear(maps[striped.end]).items()
        if layer in wanted
    }


class StripedObjective(StyleTransferObjective):
    """Losses and gradient of images under a recipe, the front in stripes.

    Parameters
    ----------
    network, recipe, contents, styles
        As `StyleTransferObjective` takes them; the network has more blocks than its front.
    """

    def __init__(
        self, network: VGGFeatures, recipe: Recipe, contents: Mapping[str, Any], styles: Mapping[str, Any]
    ) -> None:
        super().__init__(network, recipe, contents, styles)
        self._striped = StripedNetwork(network)

    def __call__(self, generated: GeneratedImage) -> Evaluation:
        """Return the weighted terms, (N,) each, and the gradient of their sum, (N, 3, H, W)."""
        image = generated.image.data()
        maps, grams = self._striped.look(image, {*self._contents, self._striped.end}, self._styles)
        pooled = maps.pop(self._striped.end)
        content = self._content(maps, {}, image, self._contents)
        style, matrices = self._match(grams, image)
        # Else a phase would take its memory while that of the one before is still in use: 80 MB at 1024x768.
        nd.waitall()
        losses = self._rear(pooled, image)
        nd.waitall()
        losses = {"content": losses["content"] + content, "style": losses["style"] + style}
        parts = [
            self._stripe_gradient(stripe, seen, matrices, pooled.grad)
            for stripe, seen in self._striped.stripes(image)
        ]
        losses["tv"], gradient = self._variation(image, nd.concat(*parts, dim=2))
        losses["total"] = losses["content"] + losses["style"] + losses["tv"]
        return Evaluation(losses, gradient)

    def _rear(self, pooled: Any, image: Any) -> dict[str, Any]:
        """Return the losses of the other blocks; leave their gradient at `pooled`."""
        pooled.attach_grad()
        features = self._striped.rear(pooled)
        heads: dict[str, Any] = {}
        losses = {
            "content": self._content(features, heads, image, self._contents),
            "style": self._style(features, heads, image),
        }
        autograd.backward([features[layer] for layer in heads], head_grads=list(heads.values()))
        return losses

    def _stripe_gradient(self, stripe: Tile, seen: Any, matrices: Mapping[str, Any], rear: Any) -> Any:
        """Return the gradient to the pixels that a stripe owns, given that of the other blocks."""
        seen.attach_grad()
        maps = self._striped.front(seen)
        # Of all that is seen: what is wrong near the border of the window does not come as far as what is owned.
        heads = {self._striped.end: seen_rows(rear, self._striped.end, stripe)}
        heads |= {layer: gram_product(matrix, maps[layer].detach()) for layer, matrix in matrices.items()}
        targets = {
            layer: seen_rows(target, layer, stripe)
            for layer, target in self._contents.items()
            if layer in maps
        }
        self._content({layer: maps[layer] for layer in targets}, heads, seen, targets)
        autograd.backward([maps[layer] for layer in heads], head_grads=list(heads.values()))
        box = stripe.owned.within(stripe.window)
        return rows(seen.grad, box.top, box.bottom)
