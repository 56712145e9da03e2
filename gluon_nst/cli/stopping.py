"""How the command ends: Ctrl-C, once in order, twice at once; and no waiting for what hangs."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

__all__ = ["EXIT_NOW", "end_process", "stop_on_signals"]

EXIT_NOW = 130

_SHOW_CURSOR = b"\x1b[?25h"
_PATIENCE = 1.0  # seconds; a thread that has nothing left to do ends within milliseconds
_RUNNERS_THREADS = ("gluon-nst-chunk", "gluon-nst-fetch")

# SIGUSR2 is what Slurm is mostly asked to send before a time limit.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)


@contextlib.contextmanager
def stop_on_signals(say: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether a signal asked to stop; a Ctrl-C after that ends the process.

    Nothing is lost by that: what was told is on the disk, and workers end with the process that started them.
    The other signals come from supervisors, which may say the same twice (Slurm: a notice, then SIGTERM) and end
    with SIGKILL what takes too long.
    """
    asked: list[int] = []
    told: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if asked and number == signal.SIGINT:
            if sys.stderr.isatty():
                os.write(sys.stderr.fileno(), _SHOW_CURSOR)  # which the live display had hidden
            os._exit(EXIT_NOW)
        asked.append(number)

    def stop() -> bool:
        # Said here, not by the handler, which may have cut in while something else was being printed.
        if asked and not told:
            told.extend(asked)
            say(f"{signal.Signals(asked[0]).name}: stopping in order; Ctrl-C stops at once")
        return bool(asked)

    before = {each: signal.signal(each, handle) for each in _SIGNALS}
    try:
        yield stop
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def end_process(code: int) -> NoReturn:
    """End with an exit code, at once if a runner's thread still hangs: Python itself would wait for it.

    Nothing is lost by that: outputs are renamed into place when they are whole, the journal is on the disk.
    """
    until = time.monotonic() + _PATIENCE
    for thread in threading.enumerate():
        if thread.name.startswith(_RUNNERS_THREADS):
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
    sys.exit(code)
