"""The seam between a list of jobs and what runs them; the serial runner is the reference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from gluon_nst.jobs import Job, JobResult
from gluon_nst.worker import run_chunk

__all__ = ["Runner", "SerialRunner"]


class Runner(Protocol):
    """Runs jobs."""

    def run(self, jobs: Iterable[Job]) -> Iterator[JobResult]:
        """Yield one result for every job, in order of completion."""
        ...


class SerialRunner:
    """Runs jobs in this process, one after the other."""

    def run(self, jobs: Iterable[Job]) -> Iterator[JobResult]:
        """Yield one result for every job, in order."""
        for job in jobs:
            yield from run_chunk([job])
