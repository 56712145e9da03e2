"""How a run goes, as its status.json tells: read for show, so that whatever is in it does no harm."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from gluon_nst.batch.last_records import read_mapping

__all__ = ["RunState", "WorkerState", "read_state"]


@dataclasses.dataclass(frozen=True)
class WorkerState:
    """One worker of a run: what it does, how many jobs ended well and badly on it, and why it gets none, if so."""

    name: str
    state: str
    device: str
    why: str
    done: int
    failed: int


@dataclasses.dataclass(frozen=True)
class RunState:
    """How a run goes.

    Attributes
    ----------
    state
        "running", "draining", "finished", "stopped", or "" if nobody says.
    total, in_flight, retried
        Number of jobs in the run, of those that workers have, and of second attempts.
    started_at, updated_at
        Seconds since 1970; None if not known.
    images_per_hour, eta_seconds
        Speed and time left; None if not known.
    message
        What else the run has to say.
    workers
        One each.
    """

    state: str
    total: int
    in_flight: int
    retried: int
    started_at: float | None
    updated_at: float | None
    images_per_hour: float | None
    eta_seconds: float | None
    message: str
    workers: tuple[WorkerState, ...]

    @property
    def over(self) -> bool:
        """Whether the run has ended."""
        return self.state in ("finished", "stopped")


def read_state(run: Path) -> RunState:
    """Return how the run in a run directory goes; what is missing or makes no sense is left at nothing."""
    found = read_mapping(run / "status.json")
    workers = found.get("workers")
    return RunState(
        state=_text(found.get("state")),
        total=_count(found.get("total")),
        in_flight=_count(found.get("in_flight")),
        retried=_count(found.get("retried")),
        started_at=_number(found.get("started_at")),
        updated_at=_number(found.get("updated_at")),
        images_per_hour=_number(found.get("images_per_hour")),
        eta_seconds=_number(found.get("eta_seconds")),
        message=_text(found.get("message")),
        workers=tuple(map(_worker, workers)) if isinstance(workers, list) else (),
    )


def _worker(found: Any) -> WorkerState:
    given = found if isinstance(found, dict) else {}
    name, state, device, why = (_text(given.get(key)) for key in ("name", "state", "device", "why"))
    return WorkerState(name, state, device, why, _count(given.get("done")), _count(given.get("failed")))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _count(value: object) -> int:
    return int(_number(value) or 0)
