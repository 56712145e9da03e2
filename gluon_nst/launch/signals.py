"""The signals that ask processes to stop: kept off those that are not ready for them, taken by one that decides."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Collection, Iterator
from multiprocessing import resource_tracker

from gluon_nst.launch.telling import say

__all__ = ["EXIT_NOW", "STOPPING", "StopAsked", "signals_kept_off"]

EXIT_NOW = 130

# SIGUSR2 is what Slurm is mostly asked to send before a time limit.
STOPPING = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGUSR2})


@contextlib.contextmanager
def signals_kept_off() -> Iterator[None]:
    """Block the signals that stop a batch in all threads and processes that are started meanwhile, for good.

    A terminal sends Ctrl-C to every process, Slurm its SIGTERM, and a worker that is still loading would die of it
    with a trace. Signals to this process come through at the end; `attend` lets those of a worker through.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    resource_tracker.ensure_running()  # to start it later would lift the block, as it does now
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class StopAsked:
    """Hears the signals that ask to stop, though they are kept off this thread and what it starts.

    A Ctrl-C after the first ends the process at once; the other signals come from supervisors, which may say the same
    twice. To be made in a running event loop of the main thread.

    Parameters
    ----------
    deaf_to
        Signals that mean nothing here.

    Attributes
    ----------
    asked
        Done once a signal came.
    """

    def __init__(self, deaf_to: Collection[signal.Signals] = ()) -> None:
        loop = asyncio.get_running_loop()
        self.asked: asyncio.Future[None] = loop.create_future()
        self._deaf_to = deaf_to
        for each in STOPPING:
            loop.add_signal_handler(each, self._hear, each)
        # One thread must let them through to the handlers.
        threading.Thread(target=_let_through, name="gluon-nst-signals", daemon=True).start()

    def _hear(self, number: signal.Signals) -> None:
        if number in self._deaf_to:
            return
        if not self.asked.done():
            say(f"{number.name}: stopping in order; Ctrl-C stops at once")
            self.asked.set_result(None)
        elif number == signal.SIGINT:
            os._exit(EXIT_NOW)


def _let_through() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    threading.Event().wait()
