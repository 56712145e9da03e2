"""What a batch puts on every Dask worker: a worker that is told to leave finishes what it runs, and then closes.

Dask itself closes at once on SIGTERM, and runs the task in hand a second time elsewhere.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from typing import Any

import gluon_nst.worker.departure as departure

__all__ = ["Attendant"]

_CLOSING = 10.0  # seconds for the last results to be fetched


class Attendant:
    """A Dask worker plugin that drains its worker on SIGTERM and SIGUSR2.

    Parameters
    ----------
    grace
        Seconds after which a job that still runs keeps a checkpoint and is broken off.
    """

    name = "gluon-nst"
    idempotent = True

    def __init__(self, grace: float) -> None:
        self._grace = grace

    def setup(self, worker: Any) -> None:
        """Take the signals of a worker process over; workers in threads of another program are left alone."""
        if threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()
        told = [signal.SIGTERM, signal.SIGUSR2]
        if worker.nanny is None:
            told.append(signal.SIGINT)
        else:
            # Ctrl-C in a terminal reaches every process; the batch decides what to do about it.
            loop.add_signal_handler(signal.SIGINT, lambda: None)
        for each in told:
            loop.add_signal_handler(each, self._leave, worker)

    def teardown(self, worker: Any) -> None:
        """Do nothing: signals stay as they are while a worker closes."""

    def _leave(self, worker: Any) -> None:
        if not departure.leaving():
            departure.leave(self._grace)
            self._closing = asyncio.ensure_future(self._close(worker))

    async def _close(self, worker: Any) -> None:
        """Close once all tasks have ended, which hand back what they had not begun, and are fetched."""
        while worker.state.executing or worker.state.ready or worker.state.long_running:
            await asyncio.sleep(0.05)
        deadline = time.monotonic() + _CLOSING
        while worker.data and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        await worker.close(reason="gluon-nst: told to leave")
