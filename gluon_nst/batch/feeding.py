"""Who gets how much: the shares that workers are given of what waits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from gluon_nst.batch.backlog import Backlog
from gluon_nst.batch.limits import Limits
from gluon_nst.batch.standing import Entry, Standing, State

__all__ = ["Feeder", "Portion"]


class Portion(NamedTuple):
    """What one worker is to be sent; `sole` if nothing else may be there beside it."""

    worker: Standing
    entries: list[Entry]
    sole: bool


class Feeder:
    """Deals out a backlog to workers.

    Attributes
    ----------
    expecting
        Whether workers are on their way.
    """

    def __init__(self, backlog: Backlog, limits: Limits, workers: Mapping[str, Standing]) -> None:
        self.expecting = False
        self._backlog, self._limits, self._workers = backlog, limits, workers

    def pace(self, worker: Standing) -> float | None:
        """Return a worker's seconds per unit of cost, else those of the slowest of the others."""
        if worker.pace is not None:
            return worker.pace
        return max((each.pace for each in self._workers.values() if each.pace is not None), default=None)

    def portions(self) -> Iterator[Portion]:
        """Yield what is to be sent now; each must be sent before the next is asked for.

        The idle come first, so that nobody waits while another has two.
        """
        usable = sum(each.usable for each in self._workers.values())
        able = [each for each in self._workers.values() if each.state is State.WORKING and not each.closed]
        able.sort(key=lambda each: len(each.chunks))
        reserved = self._reserve(able)
        for worker, suspect in reserved.items():
            if worker.idle:
                self._backlog.take_suspect(suspect)
                yield Portion(worker, [suspect], sole=True)
        for depth in range(self._limits.in_flight):
            for worker in able:
                if (
                    worker not in reserved
                    and len(worker.chunks) == depth
                    and (entries := self._share(worker, usable))
                ):
                    yield Portion(worker, entries, sole=False)

    def _reserve(self, able: list[Standing]) -> dict[Standing, Entry]:
        """Return a worker for each suspect, as far as they go; it gets nothing else until it is idle."""
        reserved: dict[Standing, Entry] = {}
        for entry in self._backlog.suspects():
            if len(reserved) == len(able):
                break
            free = (each for each in able if each not in reserved and self._may_have(each, entry))
            if (worker := next(free, None)) is not None:
                reserved[worker] = entry
        return reserved

    def _may_have(self, worker: Standing, entry: Entry) -> bool:
        """Return whether a worker may try a job: not one that it failed, if another worker can or will have that."""
        if worker.name not in entry.doubts:
            return True
        return not self.expecting and not any(
            each.usable for each in self._workers.values() if each is not worker
        )

    def _share(self, worker: Standing, usable: int) -> list[Entry]:
        first = self._backlog.next(lambda entry: self._may_have(worker, entry))
        if first is None:
            return []
        pace = self.pace(worker)
        seconds = None if pace is None else pace * first.task.cost
        if not worker.idle and seconds is not None and seconds > self._limits.prefetch_seconds:
            self._backlog.put_first(first)
            return []
        return [first, *self._companions(worker, first, self._chunk_size(worker, seconds, usable) - 1)]

    def _companions(self, worker: Standing, first: Entry, count: int) -> Iterator[Entry]:
        for _ in range(count):
            entry = self._backlog.next_of_group(first.task.group, lambda entry: self._may_have(worker, entry))
            if entry is None:
                return
            yield entry

    def _chunk_size(self, worker: Standing, seconds: float | None, usable: int) -> int:
        """Return how many jobs of so many seconds each the worker, one of so many usable ones, should get at once."""
        if not seconds:
            return 1
        limits = self._limits
        wanted = int(min(limits.chunk_seconds / seconds, 2 * worker.largest, limits.chunk_jobs))
        if self._backlog.remaining is not None:
            # Towards the end chunks become small, so that all workers end together.
            wanted = min(wanted, -(-self._backlog.remaining // (2 * usable)))
        return max(1, wanted)
