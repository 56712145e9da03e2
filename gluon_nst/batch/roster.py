"""The workers that came to a batch, for a person to read."""

from __future__ import annotations

import dataclasses

from gluon_nst.batch.tally import WorkerLine

__all__ = ["Roster"]

# A night on a preemptible cluster sees thousands of workers: those that left in order are forgotten.
_KEPT_GONE = 50


class Roster:
    """Keeps a line for each worker."""

    def __init__(self) -> None:
        self._lines: dict[str, WorkerLine] = {}

    def come(self, worker: str, device: str) -> None:
        """Take in a worker that is ready."""
        self._lines[worker] = WorkerLine(worker, device)

    def leave(self, worker: str) -> None:
        """Mark a worker as gone."""
        self.state(worker, "gone")
        gone = [name for name, line in self._lines.items() if line.state == "gone"]
        for name in gone[:-_KEPT_GONE]:
            del self._lines[name]

    def state(self, worker: str, state: str, why: str = "") -> None:
        """Set a worker's state; one that was retired stays so."""
        line = self._lines.get(worker, WorkerLine(worker))
        if line.state != "retired":
            self._lines[worker] = dataclasses.replace(line, state=state, why=why or line.why)

    def count(self, worker: str, *, well: bool) -> None:
        """Count a job for a worker."""
        line = self._lines.get(worker)
        if line is not None:
            self._lines[worker] = dataclasses.replace(
                line, done=line.done + well, failed=line.failed + (not well)
            )

    def lines(self) -> tuple[WorkerLine, ...]:
        """Return all lines, in order of coming."""
        return tuple(self._lines.values())

    def reasons(self) -> str:
        """Return why workers get no work, a sentence each, the same only once."""
        reasons = dict.fromkeys(line.why for line in self._lines.values() if line.why)
        none = "All that came are gone." if self._lines else "None came."
        return " ".join(f"{why.rstrip('.')}." for why in list(reasons)[:5]) or none
