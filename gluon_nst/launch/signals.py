"""The signals that ask processes to stop: kept off those that are not ready for them, taken by one that decides."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker

__all__ = ["STOPPING", "hear_signals", "signals_kept_off"]

# SIGUSR2 is what Slurm is mostly asked to send before a time limit.
STOPPING = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGUSR2})


@contextlib.contextmanager
def signals_kept_off() -> Iterator[None]:
    """Block the signals that stop a batch in all threads and processes that are started meanwhile, for good.

    A terminal sends Ctrl-C to every process, Slurm its SIGTERM, and a worker that is still loading would die of it
    with a trace. Signals to this process come through at the end; `attend` lets those of a worker through.
    """
    resource_tracker.ensure_running()  # to start it later would lift the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def hear_signals(told: Callable[[signal.Signals], None]) -> None:
    """Call `told` with each signal that comes, in a thread of its own, for good; they must be kept off."""

    def hear() -> None:
        while True:
            told(signal.Signals(signal.sigwait(STOPPING)))

    threading.Thread(target=hear, name="gluon-nst-signals", daemon=True).start()
