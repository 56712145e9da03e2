"""A network whose front, its first two blocks, sees large images in stripes of rows.

The maps of the front take twice the memory of all others, and see few pixels far. So the front goes stripe by
stripe, and the other blocks run on the whole image. Nothing is approximated.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from gluon_nst.backend import autograd, nd
from gluon_nst.features import VGGFeatures
from gluon_nst.gram import gram_matrix
from gluon_nst.objective import add_to
from gluon_nst.segment import Segment
from gluon_nst.tiles import CELL, Tile, Tiling, stride
from gluon_nst.vgg_layers import block

__all__ = ["StripedNetwork", "rows", "seen_rows", "stripes_pay"]

# Rows of a stripe that it owns. At 1024x768 pixels 128 make six stripes, whose share of the memory is then small; with
# 64 rows a step took 11 % longer, for 4 % of the memory.
_ROWS = 128

# Pixels of a chunk from which memory is worth the time of a second forward pass through the front: at 1024x768 a step
# takes 1.07 times as long (bfloat16, 1.1 in float32) as with the first block alone in stripes.
_LARGE = 1 << 19


def stripes_pay(network: VGGFeatures, shape: tuple[int, ...]) -> bool:
    """Return whether images (N, 3, H, W) should go through the front in stripes."""
    count, _, height, width = shape
    return network.rear is not None and count * height * width >= _LARGE


class StripedNetwork:
    """A network whose front sees images in stripes.

    Parameters
    ----------
    network
        The network, with more blocks than its front has.

    Attributes
    ----------
    end
        Name of what the other blocks start from, "poolB".
    """

    def __init__(self, network: VGGFeatures) -> None:
        self._front: Segment = network.front
        self._rear: Any = network.rear
        self.end = network.front.names[-1]

    def stripes(self, image: Any) -> Iterator[tuple[Tile, Any]]:
        """Yield the stripes of images (N, 3, H, W), and what each sees of them.

        A stripe sees a `CELL` of 16 pixels beyond what it owns. Its maps are those of the whole image from 6 pixels
        inside; so is the gradient to the pixels that it owns, which comes from maps up to 9 pixels away.
        """
        height, width = image.shape[2:]
        for stripe in Tiling(height, width, min(_ROWS + 2 * CELL, height), width, CELL).tiles():
            yield stripe, rows(image, stripe.window.top, stripe.window.bottom)

    def front(self, seen: Any) -> dict[str, Any]:
        """Return the maps of the front by name, `end` among them, recorded."""
        with autograd.record():
            return dict(zip(self._front.names, self._front(seen), strict=True))

    def rear(self, pooled: Any) -> dict[str, Any]:
        """Return the maps of the other blocks by layer name, recorded."""
        with autograd.record():
            return dict(zip(self._rear.names, self._rear(pooled), strict=True))

    def look(
        self, image: Any, maps: Collection[str], grams: Collection[str] = ()
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the front's maps of some names, of whole images, and its raw Gram matrices of others."""
        parts: dict[str, list[Any]] = {}
        matrices: dict[str, Any] = {}
        for stripe, seen in self.stripes(image):
            found, owned = self._look_at(stripe, seen, maps, grams)
            for name, part in found.items():
                parts.setdefault(name, []).append(part)
            for layer, matrix in owned.items():
                add_to(matrices, layer, matrix)
        return {name: nd.concat(*each, dim=2) for name, each in parts.items()}, matrices

    def _look_at(
        self, stripe: Tile, seen: Any, maps: Collection[str], grams: Collection[str]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what a stripe owns; its graph ends here, else the next one would find the memory in use."""
        # Recorded as in the gradient's pass: without, MXNet would plan a second graph.
        front = self.front(seen)
        return (
            {name: _owned(front[name], name, stripe) for name in front if name in maps},
            {name: gram_matrix(_owned(front[name], name, stripe)) for name in front if name in grams},
        )


def rows(array: Any, top: int, bottom: int) -> Any:
    """Return a copy of some rows of images or maps (N, C, h, w)."""
    # slice_axis() would first bring all of a map into another layout, slice() only what it returns.
    return nd.slice(array, begin=(None, None, top), end=(None, None, bottom))


def seen_rows(array: Any, name: str, stripe: Tile) -> Any:
    """Return what a stripe sees of a map of the whole image."""
    box = stripe.window.at(_pixels(name))
    return rows(array, box.top, box.bottom)


def _pixels(name: str) -> int:
    """Return the pixels a side for one position of a layer, or of "poolB"."""
    return 1 << block(name) if name.startswith("pool") else stride(name)


def _place(name: str, stripe: Tile) -> tuple[int, int]:
    """Return from which to which row a stripe owns the map that it sees."""
    box = stripe.owned.within(stripe.window).at(_pixels(name))
    return box.top, box.bottom


def _owned(array: Any, name: str, stripe: Tile) -> Any:
    return rows(array.detach(), *_place(name, stripe))
