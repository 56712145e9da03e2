"""The objective: content, style and total-variation terms of one chunk of images at one scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gluon_nst.backend import as_float32, autograd, cast_like, nd
from gluon_nst.features import VGGFeatures
from gluon_nst.generated_image import GeneratedImage
from gluon_nst.losses import (
    content_divisor,
    content_loss,
    gram_divisor,
    match_gram,
    normalized_gram,
    style_loss,
    total_variation,
)
from gluon_nst.optimize import Evaluation
from gluon_nst.recipe import Recipe
from gluon_nst.vgg_layers import positions

__all__ = ["StyleTransferObjective", "add_to", "content_targets", "divided_grams", "style_targets"]


def content_targets(network: VGGFeatures, recipe: Recipe, contents: Any) -> dict[str, Any]:
    """Return layer -> feature maps of the content images, (N, C, h, w) float32."""
    features = network.extract(contents)
    # Copied: the network writes its next output over this one.
    return {layer: as_float32(features[layer]).copy() for layer, weight in recipe.content_layers if weight}


def style_targets(network: VGGFeatures, recipe: Recipe, style: Any) -> dict[str, Any]:
    """Return layer -> Gram matrix (1, C, C) of one style image."""
    features = network.extract(style)
    return {
        layer: normalized_gram(features[layer], recipe.gram)
        for layer, weight in recipe.style_layers
        if weight
    }


def divided_grams(recipe: Recipe, grams: Mapping[str, Any], height: int, width: int) -> dict[str, Any]:
    """Return raw Gram matrices of whole images of this shape, divided as the recipe says."""
    return {
        layer: gram / gram_divisor(recipe.gram, gram.shape[1], positions(layer, height, width))
        for layer, gram in grams.items()
    }


class StyleTransferObjective:
    """Losses and gradient of images under a recipe.

    Parameters
    ----------
    network
        Frozen feature extractor that gives every layer of the recipe.
    recipe
        Weights and forms of the losses.
    contents
        `content_targets` of the N content images.
    styles
        `style_targets`, one Gram matrix per layer for all images.
    """

    def __init__(
        self, network: VGGFeatures, recipe: Recipe, contents: Mapping[str, Any], styles: Mapping[str, Any]
    ) -> None:
        self._network, self._recipe = network, recipe
        self._contents, self._styles = contents, styles
        self._divisors = {
            layer: content_divisor(target, recipe.content_loss) for layer, target in contents.items()
        }

    def __call__(self, generated: GeneratedImage) -> Evaluation:
        """Return the weighted terms, (N,) each, and the gradient of their sum, (N, 3, H, W)."""
        image = generated.image.data()
        features = dict(zip(self._network.names, self._network.record(generated()), strict=True))
        heads: dict[str, Any] = {}
        losses = {
            "content": self._content(features, heads, image, self._contents),
            "style": self._style(features, heads, image),
        }
        if heads:
            autograd.backward([features[layer] for layer in heads], head_grads=list(heads.values()))
        losses["tv"], gradient = self._variation(image, generated.gradient)
        losses["total"] = losses["content"] + losses["style"] + losses["tv"]
        return Evaluation(losses, gradient)

    def _content(
        self, features: Mapping[str, Any], heads: dict[str, Any], image: Any, targets: Mapping[str, Any]
    ) -> Any:
        """Return the content loss of the layers given, (N,), whose targets may be parts; add to their heads."""
        total = _zeros(image)
        for layer, layer_weight in self._recipe.content_layers:
            weight = self._recipe.content_weight * layer_weight
            if weight and layer in features:
                found, divisor = features[layer].detach(), self._divisors[layer]
                value, gradient = content_loss(found, targets[layer], divisor, weight)
                total = total + value
                add_to(heads, layer, cast_like(gradient, found))
        return total

    def _style(self, features: Mapping[str, Any], heads: dict[str, Any], image: Any) -> Any:
        recipe, total, pixels = self._recipe, _zeros(image), image.shape[2] * image.shape[3]
        for layer, layer_weight in recipe.style_layers:
            weight = recipe.style_weight * layer_weight
            if weight and layer in features:
                found, target = features[layer].detach(), self._styles[layer]
                value, gradient = style_loss(found, target, recipe.style_loss, recipe.gram, pixels, weight)
                total = total + value
                add_to(heads, layer, gradient)
        return total

    def _match(self, grams: Mapping[str, Any], image: Any) -> tuple[Any, dict[str, Any]]:
        """Return the style loss of raw Gram matrices of whole images, (N,), and layer -> D of `match_gram`."""
        recipe, total, matrices = self._recipe, _zeros(image), {}
        height, width = image.shape[2:]
        divided = divided_grams(recipe, grams, height, width)
        for layer, layer_weight in recipe.style_layers:
            if layer in divided:
                count = positions(layer, height, width)
                divisor = gram_divisor(recipe.gram, divided[layer].shape[1], count)
                value, matrices[layer] = match_gram(
                    divided[layer], self._styles[layer], recipe.style_loss, divisor, count, height * width,
                    recipe.style_weight * layer_weight,
                )  # fmt: skip
                total = total + value
        return total, matrices

    def _variation(self, image: Any, gradient: Any) -> tuple[Any, Any]:
        weight = self._recipe.tv_weight
        if not weight:
            return _zeros(image), gradient
        value, slope = total_variation(image, self._recipe.tv_loss)
        return weight * value, gradient + weight * slope


def _zeros(array: Any) -> Any:
    return nd.zeros(array.shape[0], ctx=array.context)


def add_to(sums: dict[str, Any], layer: str, value: Any) -> None:
    """Add a layer's value to the sum of those before; the first one begins it."""
    sums[layer] = sums[layer] + value if layer in sums else value
