"""The early stop: a scale ends once its loss has all but stopped falling."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gluon_nst.backend import nd, to_ndarray

__all__ = ["Convergence"]


class Convergence:
    """Compares the losses of one window of steps with those of the window before.

    Sums over windows, since single losses of Adam jitter by more than they fall. The sums stay on the device, which
    is waited for once a window. They depend neither on how often losses are read nor on where the work was
    interrupted.

    Parameters
    ----------
    below
        The scale has converged when the sum over a window is less than this fraction under that of the window
        before, for every image. 0 never stops.
    window
        Steps in a window.
    context
        Where the losses lie.
    sums
        What `sums` returned before an interruption; None starts afresh.
    """

    def __init__(self, below: float, window: int, context: Any, sums: NDArray[np.float32] | None) -> None:
        self._below, self._window = below, window
        if sums is None:
            # Infinite, so that the first two windows end nothing.
            sums = np.array([[np.inf], [np.inf], [0]], np.float32)
        self._before: NDArray[np.float32] = sums[0]
        self._last: NDArray[np.float32] = sums[1]
        self._running = to_ndarray(sums[2], ctx=context)

    def take(self, step: int, total: Any) -> None:
        """Take note of the losses (N,) that step number `step` (from 1) began with."""
        if not self._below:
            return
        self._running = nd.broadcast_add(self._running, total)
        if step % self._window == 0:
            self._before, self._last = self._last, self._running.asnumpy()
            self._running = nd.zeros_like(self._running)

    def reached(self, step: int) -> bool:
        """Tell whether the scale may end after this step, whose losses were taken."""
        at_bound = bool(self._below) and step % self._window == 0
        return at_bound and bool((self._last > self._before * (1 - self._below)).all())

    def sums(self) -> NDArray[np.float32] | None:
        """Return the sums (3, N) over the last two whole windows and the steps since; None where nothing stops."""
        if not self._below:
            return None
        rows = np.broadcast_arrays(self._before, self._last, self._running.asnumpy())
        return np.array(rows, np.float32)
