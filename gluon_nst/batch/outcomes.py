"""What a worker tells of the jobs of a chunk: plain records."""

from __future__ import annotations

import dataclasses
import enum

from gluon_nst.jobs import JobResult

__all__ = ["ChunkReport", "Kind", "Outcome"]


class Kind(enum.Enum):
    """How a job's run ended, as far as the next step depends on it."""

    DONE = "done"
    FAULT = "fault"  # the job's own: trying again cannot help
    DOUBT = "doubt"  # the job's or the worker's: another worker will tell
    PASSING = "passing"  # storage: later it may work
    UNSTARTED = "unstarted"  # handed back: nobody's fault
    HALT = "halt"  # nothing that follows can end better: the disk is full


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one job on one worker.

    Attributes
    ----------
    key
        The job's id.
    kind
        What it means for the job.
    result
        What will be recorded if this is the last word; None for a job that was not run.
    """

    key: str
    kind: Kind
    result: JobResult | None = None


@dataclasses.dataclass(frozen=True)
class ChunkReport:
    """What a worker sends back for a chunk: an outcome for each job, and whether it is about to leave."""

    outcomes: tuple[Outcome, ...]
    leaving: bool = False
