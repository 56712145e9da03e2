"""How chunks reach workers, and how the runner in this process does it: the reference for all others."""

from __future__ import annotations

import dataclasses
import queue
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

import gluon_nst.worker.departure as departure
from gluon_nst.batch.outcomes import ChunkReport
from gluon_nst.batch.settings import WorkSettings
from gluon_nst.jobs import Job
from gluon_nst.worker import run_chunk
from gluon_nst.worker.readiness import Readiness, prove_ready

__all__ = [
    "Broken",
    "Checked",
    "Event",
    "Gone",
    "Lost",
    "Ready",
    "Reported",
    "Runner",
    "SerialRunner",
    "Unready",
]

Item = TypeVar("Item")


@dataclasses.dataclass(frozen=True)
class Ready:
    """A worker has come and proved ready."""

    worker: str
    readiness: Readiness


@dataclasses.dataclass(frozen=True)
class Unready:
    """A worker has come that cannot work."""

    worker: str
    why: str


@dataclasses.dataclass(frozen=True)
class Gone:
    """A worker is gone; `expected` if it closed in order."""

    worker: str
    expected: bool


@dataclasses.dataclass(frozen=True)
class Reported:
    """A chunk came back."""

    worker: str
    number: int
    report: ChunkReport


@dataclasses.dataclass(frozen=True)
class Broken:
    """A chunk ended with an error outside of any job: the worker could not even take it in."""

    worker: str
    number: int
    why: str


@dataclasses.dataclass(frozen=True)
class Checked:
    """A worker was made to prove itself again."""

    worker: str
    sound: bool
    why: str


@dataclasses.dataclass(frozen=True)
class Lost:
    """The scheduler, or what takes its place, is lost, and with it all that was in flight."""

    why: str


Event = Ready | Unready | Gone | Reported | Broken | Checked | Lost


class Runner(Protocol):
    """Carries chunks to workers and tells what happens to them. It decides nothing."""

    def start(self, job: Job, settings: WorkSettings) -> None:
        """Let workers prove ready for jobs like this one, those that come later too."""
        ...

    def send(self, worker: str, number: int, jobs: Sequence[Job]) -> None:
        """Give a worker a chunk; a `Reported` or a `Gone` will follow."""
        ...

    def check(self, worker: str) -> None:
        """Let a worker prove itself again; a `Checked` or a `Gone` will follow."""
        ...

    def kill(self, worker: str) -> None:
        """End a worker that hangs; a `Gone` will follow."""
        ...

    def recall(self, grace: float) -> None:
        """Let the workers begin nothing more, and break off after `grace` seconds what then still runs."""
        ...

    def expecting(self) -> bool:
        """Return whether a worker is known that has yet to prove ready."""
        ...

    def wait(self, seconds: float) -> list[Event]:
        """Return what has happened; wait so long for it at most."""
        ...

    def close(self) -> None:
        """Let go of the workers."""
        ...


class SerialRunner:
    """Runs chunks in this process, one computation at a time. A job that kills or hangs ends the batch."""

    NAME = "this process"

    def __init__(self) -> None:
        # One computes, the other reads or writes.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="gluon-nst-chunk")
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._settings = WorkSettings()
        self._job: Job | None = None
        self._proving = False

    def start(self, job: Job, settings: WorkSettings) -> None:
        """Prove ready."""
        self._job, self._settings, self._proving = job, settings, True
        self._threads.submit(self._come)

    def send(self, worker: str, number: int, jobs: Sequence[Job]) -> None:
        """Run a chunk in a thread."""
        self._threads.submit(self._run, number, jobs)

    def check(self, worker: str) -> None:
        """Prove ready again."""
        self._threads.submit(self._check)

    def kill(self, worker: str) -> None:
        """Give up: a process cannot end its own computation and live."""
        self._events.put(
            Lost(
                "a job hangs in this process, which cannot end it; --workers 1 runs jobs in one that can "
                "be ended"
            )
        )

    def recall(self, grace: float) -> None:
        """Begin nothing more."""
        departure.recall(self._settings.run, grace)

    def expecting(self) -> bool:
        """Return whether this process has yet to prove ready."""
        return self._proving

    def wait(self, seconds: float) -> list[Event]:
        """Return what has happened."""
        return take_events(self._events, seconds)

    def close(self) -> None:
        """Let the threads end; what they run is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _come(self) -> None:
        why, readiness = self._prove()
        self._events.put(Unready(self.NAME, why) if readiness is None else Ready(self.NAME, readiness))
        self._proving = False

    def _check(self) -> None:
        why, readiness = self._prove()
        self._events.put(Checked(self.NAME, readiness is not None, why))

    def _prove(self) -> tuple[str, Readiness | None]:
        if self._job is None:
            return "it was not started", None
        try:
            return "", prove_ready(self._job)
        except Exception as error:
            return f"{type(error).__name__}: {error}", None

    def _run(self, number: int, jobs: Sequence[Job]) -> None:
        self._events.put(Reported(self.NAME, number, run_chunk(jobs, self._settings)))


def take_events(events: queue.SimpleQueue[Item], seconds: float) -> list[Item]:
    """Return all that is in a queue; if that is nothing, wait so long for something."""
    taken: list[Item] = []
    try:
        taken.append(events.get(timeout=max(0.0, seconds)))
        while True:
            taken.append(events.get_nowait())
    except queue.Empty:
        return taken
