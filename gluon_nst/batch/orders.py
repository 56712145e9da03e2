"""What the dispatcher asks for, and what it has decided: plain records."""

from __future__ import annotations

import dataclasses

from gluon_nst.batch.outcomes import Outcome
from gluon_nst.batch.standing import Task

__all__ = ["Action", "Check", "Kill", "Retire", "Send", "Verdict"]


@dataclasses.dataclass(frozen=True)
class Send:
    """Send a chunk."""

    worker: str
    number: int
    tasks: tuple[Task, ...]


@dataclasses.dataclass(frozen=True)
class Check:
    """Let a worker prove itself again."""

    worker: str


@dataclasses.dataclass(frozen=True)
class Kill:
    """End a worker that hangs; another may come in its place."""

    worker: str
    why: str


@dataclasses.dataclass(frozen=True)
class Retire:
    """Give a worker nothing more, ever."""

    worker: str
    why: str


Action = Send | Check | Kill | Retire


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The last word on a job.

    Attributes
    ----------
    task
        Which.
    status
        "done" (its outcome says how), "failed", "poison" or "timeout".
    outcome
        What the worker told; None where none lived to tell.
    attempts
        How often it was begun.
    worker
        Who had it last.
    """

    task: Task
    status: str
    outcome: Outcome | None
    attempts: int
    worker: str
