"""The objective of large images, with the first block of the network run in stripes of rows.

The maps of the first block take as much memory as all others together, and they see two pixels far. So the first
block goes stripe by stripe, once forward and once, anew, for the gradient; the other blocks run on the
whole image between the two. Nothing is approximated.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from gluon_nst.backend import as_float32, autograd, cast_like, nd
from gluon_nst.features import VGGFeatures
from gluon_nst.generated_image import GeneratedImage
from gluon_nst.gram import gram_matrix, gram_product
from gluon_nst.losses import normalized_gram
from gluon_nst.objective import StyleTransferObjective, add_to, divided_grams
from gluon_nst.optimize import Evaluation
from gluon_nst.recipe import Recipe
from gluon_nst.segment import Segment
from gluon_nst.tiles import CELL, Tile, Tiling

__all__ = [
    "StripedNetwork",
    "StripedObjective",
    "striped_content_targets",
    "striped_style_targets",
    "stripes_pay",
]

# Rows of a stripe that it owns. At 1024x768 pixels 128 make six stripes, whose share of the memory is then small.
_ROWS = 128

# Pixels of a chunk from which memory is worth the time of a second forward pass through the first block, a
# tenth of all that is computed forward.
_LARGE = 1 << 19


def stripes_pay(network: VGGFeatures, shape: tuple[int, ...]) -> bool:
    """Return whether images (N, 3, H, W) should go through the first block in stripes."""
    count, _, height, width = shape
    return network.rear is not None and count * height * width >= _LARGE


class StripedNetwork:
    """A network whose first block sees images in stripes.

    Parameters
    ----------
    network
        The network, with more than one block.
    """

    def __init__(self, network: VGGFeatures) -> None:
        self.front: Segment = network.front
        self.rear: Any = network.rear
        self.taps = tuple(network.front.names[:-1])

    def stripes(self, image: Any) -> Iterator[tuple[Tile, Any]]:
        """Yield the stripes of images (N, 3, H, W), and what each sees of them."""
        height, width = image.shape[2:]
        for stripe in Tiling(height, width, min(_ROWS + 2 * CELL, height), width, CELL).tiles():
            yield stripe, _rows(image, stripe.window.top, stripe.window.bottom)

    def walk(self, image: Any, names: Collection[str]) -> Iterator[tuple[Tile, dict[str, Any]]]:
        """Yield the stripes, and what each owns of the maps of these names: `taps` and "pool1"."""
        for stripe, seen in self.stripes(image):
            # Recorded as in the gradient's pass: without, MXNet plans and keeps the memory of a second graph.
            with autograd.record():
                maps = self.front(seen)
            found = {
                name: _owned(each, name, stripe)
                for name, each in zip(self.front.names, maps, strict=True)
                if name in names
            }
            # Else the next stripe finds this graph's memory in use, and takes its own.
            del maps
            yield stripe, found

    def look(self, image: Any, layers: Collection[str]) -> tuple[dict[str, Any], Any]:
        """Return raw Gram matrices of the taps in `layers`, and what the other blocks start from."""
        grams: dict[str, Any] = {}
        pooled = []
        for _, found in self.walk(image, {*layers, "pool1"}):
            pooled.append(found.pop("pool1"))
            for layer, owned in found.items():
                add_to(grams, layer, gram_matrix(owned))
        return grams, nd.concat(*pooled, dim=2)

    def behind(self, pooled: Any) -> dict[str, Any]:
        """Return the maps of the other blocks by layer name, recorded."""
        with autograd.record():
            return dict(zip(self.rear.names, self.rear(pooled), strict=True))


def striped_content_targets(network: VGGFeatures, recipe: Recipe, contents: Any) -> dict[str, Any]:
    """Return what `gluon_nst.objective.content_targets` does, the first block in stripes."""
    striped, wanted = StripedNetwork(network), {layer for layer, weight in recipe.content_layers if weight}
    parts = [found for _, found in striped.walk(contents, {*wanted, "pool1"})]
    maps = {name: nd.concat(*[part[name] for part in parts], dim=2) for name in parts[0]}
    behind = striped.behind(maps.pop("pool1"))
    maps |= {layer: found for layer, found in behind.items() if layer in wanted}
    return {layer: as_float32(found.detach()).copy() for layer, found in maps.items()}


def striped_style_targets(network: VGGFeatures, recipe: Recipe, style: Any) -> dict[str, Any]:
    """Return what `gluon_nst.objective.style_targets` does, the first block in stripes."""
    striped, wanted = StripedNetwork(network), {layer for layer, weight in recipe.style_layers if weight}
    grams, pooled = striped.look(style, wanted)
    return divided_grams(recipe, grams, *style.shape[2:]) | {
        layer: normalized_gram(maps.detach(), recipe.gram)
        for layer, maps in striped.behind(pooled).items()
        if layer in wanted
    }


class StripedObjective(StyleTransferObjective):
    """Losses and gradient of images under a recipe, the first block in stripes.

    Parameters
    ----------
    network, recipe, contents, styles
        As `StyleTransferObjective` takes them; the network has more than one block.
    """

    def __init__(
        self, network: VGGFeatures, recipe: Recipe, contents: Mapping[str, Any], styles: Mapping[str, Any]
    ) -> None:
        super().__init__(network, recipe, contents, styles)
        self._striped = StripedNetwork(network)

    def __call__(self, generated: GeneratedImage) -> Evaluation:
        """Return the weighted terms, (N,) each, and the gradient of their sum, (N, 3, H, W)."""
        image = generated.image.data()
        grams, pooled = self._striped.look(image, dict(self._styles))
        losses = self._behind(pooled, image)
        style, matrices = self._match(grams, image)
        losses["style"] = losses["style"] + style
        gradient = nd.zeros_like(image)
        for stripe, seen in self._striped.stripes(image):
            part = self._stripe_gradient(stripe, seen, matrices, pooled.grad, losses)
            top, bottom = stripe.window.top, stripe.window.bottom
            gradient[:, :, top:bottom] = _rows(gradient, top, bottom) + part
        losses["tv"], gradient = self._variation(image, gradient)
        losses["total"] = losses["content"] + losses["style"] + losses["tv"]
        return Evaluation(losses, gradient)

    def _behind(self, pooled: Any, image: Any) -> dict[str, Any]:
        """Return the losses of the other blocks; leave their gradient at `pooled`."""
        pooled.attach_grad()
        features = self._striped.behind(pooled)
        heads: dict[str, Any] = {}
        losses = {
            "content": self._content(features, heads, image, self._contents),
            "style": self._style(features, heads, image),
        }
        autograd.backward([features[layer] for layer in heads], head_grads=list(heads.values()))
        return losses

    def _stripe_gradient(
        self, stripe: Tile, seen: Any, matrices: Mapping[str, Any], behind: Any, losses: dict[str, Any]
    ) -> Any:
        """Return the gradient to what a stripe sees, of all that it owns; add its content losses."""
        seen.attach_grad()
        with autograd.record():
            maps = dict(zip(self._striped.front.names, self._striped.front(seen), strict=True))
        box = stripe.owned.at(2)
        heads = {"pool1": _rows(behind, box.top, box.bottom)}
        owned = {layer: _owned(maps[layer], layer, stripe) for layer in self._striped.taps}
        targets = {
            layer: _rows(target, stripe.owned.top, stripe.owned.bottom)
            for layer, target in self._contents.items()
            if layer in owned
        }
        heads |= {layer: gram_product(matrix, owned[layer]) for layer, matrix in matrices.items()}
        losses["content"] = losses["content"] + self._content(owned, heads, seen, targets)
        spread = [_spread(head, maps[layer], layer, stripe) for layer, head in heads.items()]
        autograd.backward([maps[layer] for layer in heads], head_grads=spread)
        return seen.grad


def _rows(array: Any, top: int, bottom: int) -> Any:
    """Return a copy of some rows of images or maps (N, C, h, w)."""
    return nd.slice_axis(array, axis=2, begin=top, end=bottom)


def _place(name: str, stripe: Tile) -> tuple[int, int]:
    """Return from which to which row a stripe owns the map that it sees."""
    box = stripe.owned.within(stripe.window).at(2 if name == "pool1" else 1)
    return box.top, box.bottom


def _owned(array: Any, name: str, stripe: Tile) -> Any:
    return _rows(array.detach(), *_place(name, stripe))


def _spread(part: Any, whole: Any, name: str, stripe: Tile) -> Any:
    """Return what is given for the owned rows of a map, with zeros above and below."""
    top, bottom = _place(name, stripe)
    count, channels, height, width = whole.shape

    def zeros(rows: int) -> list[Any]:
        shape = (count, channels, rows, width)
        return [cast_like(nd.zeros(shape, ctx=whole.context), whole)] if rows else []

    return nd.concat(*zeros(top), part, *zeros(height - bottom), dim=2)
