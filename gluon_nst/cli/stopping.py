"""Ctrl-C: the first stops in order, the second at once."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType

__all__ = ["EXIT_NOW", "stop_on_signals"]

EXIT_NOW = 130

# SIGUSR2 is what Slurm is mostly asked to send before a time limit.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)


@contextlib.contextmanager
def stop_on_signals(say: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether a signal asked to stop; the second one ends the process.

    Nothing is lost by that: what was told is on the disk, and workers end with the process that started them.
    """
    asked = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            os._exit(EXIT_NOW)
        asked = True
        say(f"{signal.Signals(number).name}: stopping in order; once more stops at once")

    before = {each: signal.signal(each, handle) for each in _SIGNALS}
    try:
        yield lambda: asked
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
