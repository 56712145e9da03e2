"""What a batch puts on every Dask worker: a worker that is told to leave finishes what it runs, and then closes.

Dask itself closes at once on SIGTERM, and runs the task in hand a second time elsewhere.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from typing import Any

import gluon_nst.worker.departure as departure
from gluon_nst.launch.endings import LEFT

__all__ = ["attend"]

_CLOSING = 10.0  # seconds for the last results to be fetched


def attend(grace: float, dask_worker: Any) -> None:
    """Let a Dask worker drain on SIGTERM and SIGUSR2; to be called in its process, as `Client.run` does.

    No plugin: the scheduler would keep that for all workers to come, after the batch too, and one that cannot
    load it, because gluon_nst is not installed there, would not start.

    Parameters
    ----------
    grace
        Seconds after which a job that still runs keeps a checkpoint and is broken off.
    dask_worker
        The worker. In threads of another program it is left alone, and so is one that was started with a grace.
    """
    if threading.current_thread() is not threading.main_thread() or hasattr(
        dask_worker, "gluon_nst_attended"
    ):
        return
    loop = asyncio.get_running_loop()
    told = [signal.SIGTERM, signal.SIGUSR2]
    if dask_worker.nanny is None:
        told.append(signal.SIGINT)
    else:
        # Ctrl-C in a terminal reaches every process; the batch decides what to do about it.
        loop.add_signal_handler(signal.SIGINT, lambda: None)
    for each in told:
        loop.add_signal_handler(each, _leave, dask_worker, grace)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, told)  # those of a local cluster begin with them blocked


def _leave(worker: Any, grace: float) -> None:
    if not departure.leaving():
        departure.leave(grace)
        worker.gluon_nst_closing = asyncio.ensure_future(_close(worker))  # kept, or it may be collected


async def _close(worker: Any) -> None:
    """Close once all tasks have ended, which hand back what they had not begun, and are fetched."""
    if worker.status.name == "init":
        os._exit(LEFT)  # it has not joined yet, so there is nothing to finish
    while worker.state.executing or worker.state.ready or worker.state.long_running:
        await asyncio.sleep(0.05)
    deadline = time.monotonic() + _CLOSING
    while worker.data and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    await worker.close(reason="gluon-nst: told to leave")
