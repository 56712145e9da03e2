"""Tiles: an image cut into overlapping windows that together see exactly what the network sees of the whole.

Every position of every feature map is owned by one tile. A tile's window is what it owns and a margin around
it, as wide as the network looks (at the image's own border there is none), so the maps that are owned come out
of the window as they would come out of the whole image. Windows begin at multiples of 16, so that four poolings
meet the same pixels in both.
"""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Callable, Iterator

from gluon_nst.vgg_layers import block, convolutions_up_to

__all__ = [
    "CELL",
    "Box",
    "Tile",
    "Tiling",
    "choose_tiling",
    "margin",
    "shift_of_step",
    "smallest_window",
    "stride",
]

CELL = 16
"""Side in pixels of what is never cut: a position of the fifth block, behind four poolings."""


@dataclasses.dataclass(frozen=True)
class Box:
    """A part of an image or of a feature map: rows from `top` to below `bottom`, columns from `left` on likewise."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left

    def at(self, stride: int) -> Box:
        """Return the same part of a map with one position for so many pixels a side, rounded as pooling rounds."""
        return Box(self.top // stride, self.bottom // stride, self.left // stride, self.right // stride)

    def within(self, other: Box) -> Box:
        """Return this part as counted from the corner of another one."""
        return Box(
            self.top - other.top, self.bottom - other.top, self.left - other.left, self.right - other.left
        )


@dataclasses.dataclass(frozen=True)
class Tile:
    """What goes through the network, and the part of it whose features count."""

    window: Box
    owned: Box


@dataclasses.dataclass(frozen=True)
class Tiling:
    """A way to cut images of one shape.

    Attributes
    ----------
    height, width
        Of the image, in pixels.
    tile_height, tile_width
        Of a window, in pixels: a multiple of `CELL` each, or the image's own side where that is not cut. The
        last window takes the rest of a side that is no multiple of `CELL` besides.
    margin
        Pixels between the border of what a tile owns and that of its window, a multiple of `CELL`.
    """

    height: int
    width: int
    tile_height: int
    tile_width: int
    margin: int

    @property
    def rows(self) -> int:
        """Tiles one above the other."""
        return _count(self.height, self.tile_height, self.margin)

    @property
    def columns(self) -> int:
        """Tiles side by side."""
        return _count(self.width, self.tile_width, self.margin)

    @property
    def largest(self) -> tuple[int, int]:
        """Height and width of the largest window."""
        spans = [(self.height, self.tile_height), (self.width, self.tile_width)]
        height, width = (side if tile >= side else tile + side % CELL for side, tile in spans)
        return height, width

    @property
    def work(self) -> int:
        """Pixels of all windows together."""
        return sum(height * width for height, width in (tile.window.shape for tile in self.tiles()))

    def tiles(self, shift: tuple[float, float] = (0.0, 0.0)) -> Iterator[Tile]:
        """Yield the tiles, those of one shape after the other: a new shape costs the network a new plan.

        Parameters
        ----------
        shift
            Where the borders between tiles lie, down and across: parts, from 0 to below 1, of the way that
            they can be moved.
        """
        down = _spans(self.height, self.tile_height, self.margin, shift[0])
        across = _spans(self.width, self.tile_width, self.margin, shift[1])
        tiles = [
            Tile(Box(*window_rows, *window_columns), Box(*owned_rows, *owned_columns))
            for window_rows, owned_rows in down
            for window_columns, owned_columns in across
        ]
        yield from sorted(tiles, key=lambda tile: tile.window.shape)


def stride(layer: str) -> int:
    """Return the pixels a side for one position of a layer: 1, 2, 4, 8, 16 in blocks 1 to 5."""
    return 1 << (block(layer) - 1)


def margin(network: str, layers: tuple[str, ...]) -> int:
    """Return how many pixels beyond its own a position of the deepest of `layers` can see, rounded up to `CELL`.

    A 3x3 convolution looks one position of its map to each side; pooling looks no farther than its own pixels.
    """
    radius = sum(stride(conv) for conv in convolutions_up_to(network, layers))
    return -(-radius // CELL) * CELL


def shift_of_step(seed: int, step: int) -> tuple[float, float]:
    """Return where the borders between tiles lie in a step, the same one every time; see `Tiling.tiles`."""
    generator = random.Random(f"{seed}/{step}")
    return generator.random(), generator.random()


def smallest_window(height: int, width: int, border: int) -> tuple[int, int]:
    """Return height and width of the smallest window that an image can be cut into."""
    least = 2 * border + CELL
    return min(height, least + height % CELL), min(width, least + width % CELL)


def choose_tiling(height: int, width: int, border: int, fits: Callable[[int, int], bool]) -> Tiling | None:
    """Return the tiling that takes the least work of those whose windows fit; None if none does.

    Parameters
    ----------
    height, width
        Of the image, in pixels.
    border
        The `margin`.
    fits
        Tells whether there is room for a window of this height and width; where there is, there must be for a
        smaller one.
    """
    found: list[Tiling] = []
    for tile_height in _lengths(height, border):
        ways = (Tiling(height, width, tile_height, each, border) for each in _lengths(width, border))
        found += [way for way in [next((way for way in ways if fits(*way.largest)), None)] if way]
    return min(found, key=lambda tiling: (tiling.work, tiling.rows * tiling.columns), default=None)


def _lengths(side: int, border: int) -> Iterator[int]:
    """Yield the shortest windows that cut a side into 1, 2, 3, ... tiles."""
    yield side
    span, last = side // CELL * CELL + CELL - 2 * border, side
    for count in range(2, max(2, span // CELL) + 1):
        length = -(-span // (count * CELL)) * CELL + 2 * border
        if 2 * border < length < min(last, side // CELL * CELL):
            yield length
            last = length


def _count(side: int, tile: int, border: int) -> int:
    if tile >= side:
        return 1
    # The first and the last tile need one margin each, those between them two; one cell is for moving.
    return 1 + -(-(side // CELL * CELL - tile + CELL) // (tile - 2 * border))


def _spans(side: int, tile: int, border: int, shift: float) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return begin and end of the window and of the owned part of each tile along one side."""
    count = _count(side, tile, border)
    if count == 1:
        return [((0, side), (0, side))]
    whole, pace = side // CELL * CELL, tile - 2 * border
    slack = count * pace + 2 * border - whole
    moved = int(shift * (slack // CELL + 1)) * CELL
    begins = [min(max(0, k * pace - moved), whole - tile) for k in range(count)]
    bounds = [0, *(k * pace + border - moved for k in range(1, count)), side]
    ends = [*(begin + tile for begin in begins[:-1]), side]
    return list(zip(zip(begins, ends, strict=True), itertools.pairwise(bounds), strict=True))
