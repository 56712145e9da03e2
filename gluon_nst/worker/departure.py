"""Whether this process was told to leave, or a batch to stop: what a worker looks at between two steps.

A signal (SIGTERM, SIGUSR2) concerns the whole process, for good. A recall concerns one run: a worker that several
batches share goes on with the others.
"""

from __future__ import annotations

import threading
import time

__all__ = ["leave", "leaving", "must_stop", "recall", "starts_nothing"]

_lock = threading.Lock()
_deadline: float | None = None
_recalled: dict[str, float] = {}


def leave(grace: float) -> None:
    """Let this process start nothing more, and break off after `grace` seconds what then still runs."""
    global _deadline
    with _lock:
        deadline = time.monotonic() + grace
        _deadline = deadline if _deadline is None else min(_deadline, deadline)


def leaving() -> bool:
    """Return whether this process was told to leave."""
    return _deadline is not None


def recall(run: str, grace: float = 0.0) -> None:
    """Let this process start nothing more of a run, and break off after `grace` seconds what then still runs."""
    with _lock:
        deadline = time.monotonic() + grace
        _recalled[run] = min(deadline, _recalled.get(run, deadline))


def starts_nothing(run: str) -> bool:
    """Return whether no job of a run may begin here."""
    return _deadline is not None or run in _recalled


def must_stop(run: str) -> bool:
    """Return whether a running job of a run must be broken off now."""
    deadlines = (_deadline, _recalled.get(run))
    return any(deadline is not None and time.monotonic() >= deadline for deadline in deadlines)
