"""What waits to be sent: new tasks in their order, those to be tried again, suspects, and those that must wait."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator

from gluon_nst.batch.standing import Entry, Task

__all__ = ["Backlog"]


class Backlog:
    """The queues of the dispatcher. New tasks are drawn one by one, so a million of them take no memory.

    Parameters
    ----------
    tasks
        What is to be done, in the order wanted.
    total
        How many there are, if that is known.
    """

    def __init__(self, tasks: Iterator[Task], total: int | None) -> None:
        self.remaining = total
        self._tasks = tasks
        self._ready: deque[Entry] = deque()
        self._suspects: deque[Entry] = deque()
        self._later: list[tuple[float, int, Entry]] = []
        self._number = 0

    def suspects(self) -> Iterator[Entry]:
        """Return the suspects that wait, in their order."""
        return iter(self._suspects)

    def waiting(self) -> bool:
        """Return whether anything is left to be sent, now or later."""
        if self._ready or self._suspects or self._later:
            return True
        entry = self._draw()
        if entry is not None:
            self._ready.append(entry)
        return entry is not None

    def put_first(self, entry: Entry) -> None:
        """Let an entry be the next to go."""
        self._queue(entry).appendleft(entry)

    def put_last(self, entry: Entry) -> None:
        """Let an entry go after those that wait, but before new tasks."""
        self._queue(entry).append(entry)

    def put_later(self, entry: Entry, when: float) -> None:
        """Keep an entry until a time."""
        self._number += 1
        heapq.heappush(self._later, (when, self._number, entry))

    def put_suspect(self, entry: Entry) -> None:
        """Keep an entry for a worker of its own, now and whenever it comes back."""
        entry.suspect = True
        self.put_last(entry)

    def wake(self, now: float) -> None:
        """Let those go whose time has come."""
        while self._later and self._later[0][0] <= now:
            self.put_first(heapq.heappop(self._later)[2])

    def take_suspect(self, entry: Entry) -> None:
        """Take out one of the suspects."""
        self._suspects.remove(entry)

    def next(self, fits: Callable[[Entry], bool]) -> Entry | None:
        """Take the first entry that fits; new tasks always do."""
        for index, entry in enumerate(self._ready):
            if fits(entry):
                del self._ready[index]
                return entry
        return self._draw()

    def next_of_group(self, group: str, fits: Callable[[Entry], bool]) -> Entry | None:
        """Take the entry that would come next, if it is of a group and fits."""
        entry = self._ready.popleft() if self._ready else self._draw()
        if entry is None or (entry.task.group == group and fits(entry)):
            return entry
        self._ready.appendleft(entry)
        return None

    def _queue(self, entry: Entry) -> deque[Entry]:
        return self._suspects if entry.suspect else self._ready

    def _draw(self) -> Entry | None:
        task = next(self._tasks, None)
        if task is None:
            return None
        if self.remaining is not None:
            self.remaining = max(0, self.remaining - 1)
        return Entry(task)
