"""How far a worker is to be trusted: what it holds, and what it lately failed at."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

__all__ = ["Chunk", "Entry", "Standing", "State", "Task"]


@dataclasses.dataclass(frozen=True)
class Task:
    """A job as dispatching sees it.

    Attributes
    ----------
    key
        The job's id.
    group
        Jobs of one group may go together in a chunk.
    cost
        Work, in any unit that is proportional to time: steps times pixels.
    job
        What travels; the dispatcher does not look inside.
    """

    key: str
    group: str
    cost: float
    job: Any


@dataclasses.dataclass(eq=False)
class Entry:
    """A task on its way, with what has happened to it."""

    task: Task
    attempts: int = 0
    kills: int = 0
    overruns: int = 0
    passes: int = 0
    suspect: bool = False
    """It was at a worker that died: from then on it goes alone."""
    doubts: set[str] = dataclasses.field(default_factory=set)
    """Workers that failed at it in doubt."""


@dataclasses.dataclass(eq=False)
class Chunk:
    """Tasks sent to a worker together.

    Attributes
    ----------
    sole
        Nothing else may be sent to the worker beside it.
    shared
        Another chunk was at the worker at the same time.
    """

    number: int
    entries: list[Entry]
    sole: bool = False
    shared: bool = False

    @property
    def cost(self) -> float:
        """Work in it."""
        return sum(entry.task.cost for entry in self.entries)

    @property
    def alone(self) -> bool:
        """Whether a death or an overrun can only be the doing of the one task in it."""
        return len(self.entries) == 1 and not self.shared


class State(enum.Enum):
    """What a worker may be given."""

    WORKING = "working"
    CHECKING = "checking"  # it has to prove itself again before it gets more
    LEAVING = "leaving"
    KILLED = "killed"  # by us, for an overrun
    RETIRED = "retired"


@dataclasses.dataclass(eq=False)
class Standing:
    """One worker.

    Attributes
    ----------
    chunks
        What it holds, in order of sending.
    since
        When it was last heard of: given work while idle, or a chunk came back.
    pace
        Seconds that a unit of cost takes it, averaged; None before the first chunk came back.
    largest
        Most jobs that it was ever given at once: a chunk at most doubles from one time to the next.
    strikes
        Different jobs in a row that it failed at in doubt.
    struck_in, struck_at
        Number of the chunk of the last of them, and of the last chunk that anybody had been sent when it was told.
    strikes_allowed
        How many bring a check; doubled by each check that it passes, so that a run of bad jobs costs few.
    refuted
        Jobs that it failed at and that another worker then did, less one for each that it did itself.
    """

    name: str
    strikes_allowed: int
    state: State = State.WORKING
    chunks: dict[int, Chunk] = dataclasses.field(default_factory=dict)
    since: float = 0.0
    pace: float | None = None
    largest: int = 1
    strikes: set[str] = dataclasses.field(default_factory=set)
    struck_in: int = 0
    struck_at: int = 0
    refuted: int = 0
    why: str = ""

    @property
    def idle(self) -> bool:
        """Whether it holds nothing."""
        return not self.chunks

    @property
    def cost(self) -> float:
        """Work that it holds."""
        return sum(chunk.cost for chunk in self.chunks.values())

    @property
    def jobs(self) -> int:
        """Jobs that it holds."""
        return sum(len(chunk.entries) for chunk in self.chunks.values())

    @property
    def closed(self) -> bool:
        """Whether what it holds must be there alone."""
        return any(chunk.sole for chunk in self.chunks.values())

    @property
    def usable(self) -> bool:
        """Whether it can be given work, now or after a check."""
        return self.state in (State.WORKING, State.CHECKING)

    def struck_before(self, number: int) -> bool:
        """Return whether a job of a chunk was surely run after the last strike, so that it says something of that.

        Of two chunks at a worker, one may be told after the other though it was computed before.
        """
        return number > self.struck_at or number == self.struck_in

    def take(self, chunk: Chunk, now: float) -> None:
        """Take note of a chunk sent to it."""
        if self.idle:
            self.since = now
        self.chunks[chunk.number] = chunk
        if len(self.chunks) > 1:
            for each in self.chunks.values():
                each.shared = True
        self.largest = max(self.largest, len(chunk.entries))

    def give_back(self, number: int, now: float, done: set[str]) -> Chunk:
        """Take note of a chunk that came back with these tasks computed to the end.

        Where that was at least half of the chunk, its time tells the worker's pace: jobs that fail or that
        were done before take next to none.
        """
        chunk = self.chunks.pop(number)
        cost = sum(entry.task.cost for entry in chunk.entries if entry.task.key in done)
        if cost and cost >= chunk.cost / 2:
            latest = (now - self.since) / cost
            # Half the news, half the old: follows a change within a few chunks.
            self.pace = latest if self.pace is None else (self.pace + latest) / 2
        self.since = now
        return chunk
