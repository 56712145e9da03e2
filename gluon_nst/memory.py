"""Whether images fit into the memory, and into which tiles they are to be cut where they do not."""

from __future__ import annotations

import math

from gluon_nst import backend
from gluon_nst.errors import OutOfMemoryError
from gluon_nst.machine import available_memory, resident_memory
from gluon_nst.memory_limit import MemoryLimit
from gluon_nst.memory_model import predicted_bytes, workspace_bytes
from gluon_nst.pyramid import pyramid
from gluon_nst.recipe import Recipe, used_layers
from gluon_nst.tiles import Tiling, choose_tiling, margin, smallest_window

__all__ = ["Room", "device_room"]

# Part of a limit that the model is not trusted with: runs of 40 and 60 steps took up to 11 % more than it says, most of
# which malloc had given out before and not put together again (benchmarks/README.md).
_RESERVE = 0.1


def device_room(device: str) -> int | None:
    """Return the bytes that a device has for this process; None if unknown.

    On a CPU that includes what the process holds already, since the model counts all of it. Not measured on a GPU.
    """
    if device.startswith("gpu"):
        backend.release_memory(backend.context(device))
        return backend.free_gpu_memory(device)
    available = available_memory()
    return None if available is None else available + resident_memory()


class Room:
    """The memory that a recipe has on a device.

    Parameters
    ----------
    recipe, precision, device
        What is run, and where; as `gluon_nst.stylizer.Stylizer` uses them.
    limit
        How much may be taken.
    widest
        Pixels that an image, or a tile of it, may be wide; None if any number.
    """

    def __init__(
        self, recipe: Recipe, precision: str, device: str, limit: MemoryLimit, widest: int | None = None
    ) -> None:
        self._recipe, self._precision, self._device, self._limit = recipe, precision, device, limit
        self._widest = math.inf if widest is None else widest
        self._margin = margin(recipe.network, used_layers(recipe))

    def fits(self, height: int, width: int, count: int) -> bool:
        """Tell whether images fit whole, as far as is known."""
        return self._fits(height, width, count, self._bytes())

    def tiling(self, height: int, width: int, count: int = 1) -> Tiling | None:
        """Return how images are to be cut; None if they fit whole.

        Raises
        ------
        OutOfMemoryError
            If they would not fit in the smallest tiles either: on a CPU the kernel would end the process.
        """
        limit = self._bytes()
        if self._fits(height, width, count, limit):
            return None
        left = None if limit is None else limit - self._kept(height, width, count, limit)
        tiling = choose_tiling(
            height, width, self._margin, lambda *window: self._fits(height, width, count, left, window)
        )
        if tiling is None and left is not None:
            raise self._refusal(height, width, count, left)
        return tiling

    def _bytes(self) -> int | None:
        return self._limit.of(device_room(self._device))

    def _fits(
        self, height: int, width: int, count: int, limit: int | None, window: tuple[int, int] | None = None
    ) -> bool:
        if (width if window is None else window[1]) > self._widest:
            return False
        return limit is None or self._needed(height, width, count, window) <= (1 - _RESERVE) * limit

    def _kept(self, height: int, width: int, count: int, limit: int) -> int:
        """Return the bytes of workspace that remain of the coarser scales, which are worked on before."""
        if self._device != "cpu":
            return 0
        for scale in reversed(pyramid(self._recipe, height, width)[:-1]):
            if self._fits(scale.height, scale.width, count, limit):
                return workspace_bytes(self._recipe, self._precision, scale.height, scale.width)
        return 0

    def _needed(self, height: int, width: int, count: int, window: tuple[int, int] | None = None) -> int:
        at_once = 1 if self._device == "cpu" else None  # there they take turns
        return predicted_bytes(self._recipe, self._precision, height, width, count, window, at_once)

    def _refusal(self, height: int, width: int, count: int, limit: int) -> OutOfMemoryError:
        window = smallest_window(height, width, self._margin)
        needed = self._needed(height, width, count, window)
        return OutOfMemoryError(
            f"{count} image{'s' * (count > 1)} of {width}x{height} pixels would take about {needed / 1e9:.1f} GB, cut "
            f"into the smallest tiles, but {limit / 1e9:.1f} GB may be taken. Use a smaller --size, or a larger "
            "--max-memory if the device has more."
        )
