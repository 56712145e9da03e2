"""How far a batch is: counts, speed, what is left. What a person sees, as plain records."""

from __future__ import annotations

import dataclasses
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from gluon_nst.jobs import STATUSES, JobResult

__all__ = ["BatchProgress", "Tally", "WorkerLine"]

# Speed is that of the last so many jobs: enough to even out, few enough to follow workers that come and go.
_WINDOW = 200


@dataclasses.dataclass(frozen=True)
class WorkerLine:
    """One worker.

    Attributes
    ----------
    name, device
        Which, and what it computes on.
    state
        "working", "checking", "leaving", "killed", "retired", "gone" or "unready".
    done, failed
        Jobs that it ended well, and badly.
    why
        Why it gets no work; empty if it does.
    """

    name: str
    device: str = ""
    state: str = "working"
    done: int = 0
    failed: int = 0
    why: str = ""


@dataclasses.dataclass(frozen=True)
class BatchProgress:
    """Where a batch is.

    Attributes
    ----------
    state
        "running", "draining", "finished" or "stopped".
    total
        Jobs of the batch, those done before included.
    counts
        Status -> jobs that ended so, now or before.
    retried
        Times that a job was begun again.
    in_flight
        Jobs at workers.
    images_per_hour
        Pictures made, lately; 0 before the first.
    eta_seconds
        Time that is left; None before it can be told.
    started_at, updated_at
        Seconds since 1970.
    workers
        All that came.
    message
        What else is to be said.
    """

    state: str
    total: int
    counts: Mapping[str, int]
    retried: int
    in_flight: int
    images_per_hour: float
    eta_seconds: float | None
    started_at: float
    updated_at: float
    workers: tuple[WorkerLine, ...]
    message: str = ""

    @property
    def finished_jobs(self) -> int:
        """Jobs that ended, well or not."""
        return sum(self.counts.values())

    @property
    def failed_jobs(self) -> int:
        """Jobs that ended badly."""
        return self.finished_jobs - self.counts.get("succeeded", 0) - self.counts.get("skipped", 0)

    def as_mapping(self) -> dict[str, Any]:
        """Return plain JSON values: status.json."""
        return dataclasses.asdict(self)


class Tally:
    """Counts results as they come.

    Parameters
    ----------
    before
        Status -> jobs that had ended before this start.
    to_do, cost
        Jobs to do now, and their work together.
    now
        Any clock, in seconds.
    """

    def __init__(self, before: Mapping[str, int], to_do: int, cost: float, now: float) -> None:
        self.counts: Counter[str] = Counter({status: before.get(status, 0) for status in STATUSES})
        self.total = to_do + sum(self.counts.values())
        self.failures = 0
        self._cost_left, self._begun = cost, now
        # One more than is counted: it tells when the others began.
        self._lately: deque[tuple[float, float, bool]] = deque(maxlen=_WINDOW + 1)

    def add(self, result: JobResult, cost: float, now: float) -> None:
        """Count a result, and the work that it was."""
        self.counts[result.status] += 1
        self.failures += result.status not in ("succeeded", "skipped")
        self._cost_left -= cost
        self._lately.append((now, cost, result.status == "succeeded"))

    def images_per_hour(self, now: float) -> float:
        """Return the speed at which pictures were made lately."""
        made = sum(done for _, _, done in self._counted())
        return 3600 * made / self._span(now) if made else 0.0

    def eta(self, now: float) -> float | None:
        """Return the seconds until the end, if the rest goes as the last jobs did."""
        cost = sum(each for _, each, _ in self._counted())
        return max(0.0, self._cost_left) * self._span(now) / cost if cost else None

    @property
    def _full(self) -> bool:
        return len(self._lately) > _WINDOW

    def _counted(self) -> Iterator[tuple[float, float, bool]]:
        return islice(self._lately, int(self._full), None)

    def _span(self, now: float) -> float:
        """Return the time in which the last jobs were done."""
        return max(1e-3, now - (self._lately[0][0] if self._full else self._begun))
