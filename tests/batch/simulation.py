"""A world for the dispatcher: workers that live, fail and die by a simulated clock, and a driver's loop.

Nothing here looks at what the dispatcher thinks. A `Ledger` keeps its own account of what was sent, told and
lost, and holds every action against the rules.
"""

from __future__ import annotations

import dataclasses
import enum
import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence

from gluon_nst.batch.dispatch import Dispatcher
from gluon_nst.batch.limits import Limits
from gluon_nst.batch.orders import Check, Kill, Retire, Send
from gluon_nst.batch.outcomes import Kind, Outcome
from gluon_nst.batch.standing import Task
from gluon_nst.jobs import JobResult
from tests.batch.ledger import Ledger

__all__ = ["FakeJob", "Machine", "Nature", "Temper", "Trouble", "World", "task"]

TICK = 5.0  # seconds: the driver looks at its clock at least this often
NOTICE = 0.05  # seconds from a death to the driver's knowledge of it
GRACE = 15.0  # seconds a leaving worker has to end its job before it is killed
INSTANT = 0.01  # seconds: what takes next to no time


class Nature(enum.Enum):
    """What a job does to a sound worker."""

    GOOD = "good"
    FAULTY = "faulty"
    POISON = "poison"  # kills it whenever it is begun
    HANGING = "hanging"
    DOUBTFUL = "doubtful"  # fails everywhere, and might be the worker's fault


class Temper(enum.Enum):
    """How a machine's workers are."""

    SOUND = "sound"
    BROKEN = "broken"  # fails every job and its check
    SLY = "sly"  # fails every job, passes its check
    CUT_OFF = "cut off"  # its storage fails, though others' does not; fails its check
    MUTE = "mute"  # fails every job and never answers a check


@dataclasses.dataclass(frozen=True)
class FakeJob:
    """What there is to do; `passing` times storage fails before it works."""

    nature: Nature = Nature.GOOD
    seconds: float = 1.0
    passing: int = 0


@dataclasses.dataclass(frozen=True)
class Trouble:
    """What happens to a worker so many seconds after it joined.

    "die", "hang", "leave" in order, or "vanish": it is taken for dead but works on, and reports late.
    """

    kind: str
    after: float


@dataclasses.dataclass(frozen=True)
class Machine:
    """A place where workers run, one after the other, under a new name each; each meets the next trouble."""

    joins: float = 0.0
    slowness: float = 1.0
    temper: Temper = Temper.SOUND
    troubles: tuple[Trouble, ...] = ()
    restart: float | None = 2.0
    check_seconds: float = 0.5
    latency: float = INSTANT
    pace: float | None = None


@dataclasses.dataclass(eq=False)
class Worker:
    """One process: chunks run one after the other, their jobs too."""

    name: str
    machine: Machine
    alive: bool = True
    hung: bool = False
    draining: bool = False
    known: bool = True  # whether the driver believes that it lives
    chunks: deque[Send] = dataclasses.field(default_factory=deque)
    told: list[Outcome] = dataclasses.field(default_factory=list)
    unreached: list[Send] = dataclasses.field(default_factory=list)  # sent to it after its death


def task(number: int, job: FakeJob | None = None, *, group: str = "a") -> Task:
    """Return a task whose cost is its seconds on a worker of slowness 1."""
    job = job or FakeJob()
    return Task(f"job-{number}", group, job.seconds, job)


class World:
    """The machines, the clock and the driver's loop."""

    def __init__(
        self,
        tasks: Sequence[Task],
        machines: Sequence[Machine],
        limits: Limits,
        *,
        total: int | None = None,
        stop_at: float | None = None,
    ) -> None:
        self.now = 0.0
        self.workers: dict[str, Worker] = {}
        self.ledger = Ledger(tasks, limits)
        self.dispatcher = Dispatcher(self._drawn(tasks), limits, total=total)
        self.written: set[str] = set()
        self.computed: Counter[str] = Counter()
        self._tried: Counter[str] = Counter()
        self._born: Counter[int] = Counter()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        for place, machine in enumerate(machines):
            self._after(machine.joins, lambda place=place, machine=machine: self._join(place, machine))
        if stop_at is not None:
            self._after(stop_at, self._stop)

    def run(self, *, until: float) -> None:
        """Play until the dispatcher has finished; that it takes longer than a time is a breach."""
        self._drive()
        while not self.dispatcher.finished:
            assert self.now < until, f"not finished after {until} simulated seconds"
            self._advance()
            self._drive()
        self.ledger.take_verdicts(self.dispatcher.verdicts())

    # ---- the clock and the driver

    def _after(self, seconds: float, event: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (self.now + seconds, self._number, event))

    def _advance(self) -> None:
        if not self._events or self._events[0][0] > self.now + TICK:
            self.now += TICK
            return
        self.now, _, event = heapq.heappop(self._events)
        event()

    def _drawn(self, tasks: Sequence[Task]) -> Iterator[Task]:
        for each in tasks:
            self.ledger.drawn += 1
            yield each

    def _stop(self) -> None:
        self.dispatcher.stop()
        self.ledger.stopped = True

    def _drive(self) -> None:
        for action in self.dispatcher.actions(self.now):
            self.ledger.take_action(action)
            self._carry_out(action)
        self.ledger.take_verdicts(self.dispatcher.verdicts())
        held = {entry.task.key for entry in self.dispatcher._held}
        self.ledger.settle(held, self.now)

    def _carry_out(self, action: Send | Check | Kill | Retire) -> None:
        worker = self.workers[action.worker]
        if isinstance(action, Send):
            self._deliver(worker, action)
        elif isinstance(action, Check):
            self._after(worker.machine.check_seconds, lambda: self._answer_check(worker))
        elif isinstance(action, Kill):
            self._die(worker)

    # ---- a worker's life

    def _join(self, place: int, machine: Machine) -> None:
        born = self._born[place]
        self._born[place] += 1
        worker = Worker(f"{place}.{born}", machine)
        self.workers[worker.name] = worker
        self.ledger.join(worker.name)
        self.dispatcher.join(worker.name, self.now, machine.pace)
        if born < len(machine.troubles):
            trouble = machine.troubles[born]
            self._after(trouble.after, lambda: self._befall(worker, trouble.kind))

    def _befall(self, worker: Worker, kind: str) -> None:
        if not worker.alive or not worker.known:
            return
        if kind == "die":
            self._die(worker)
        elif kind == "hang":
            worker.hung = True
        elif kind == "vanish":
            self.ledger.died(worker.name)
            self._gone(worker)
        else:
            self._drain(worker)

    def _die(self, worker: Worker) -> None:
        if not worker.alive:
            return
        worker.alive = False
        if worker.known:
            self.ledger.died(worker.name)
            self._after(NOTICE, lambda: self._gone(worker))

    def _gone(self, worker: Worker, *, expected: bool = False) -> None:
        """Let the driver know that a worker is gone, and its machine start another."""
        if not worker.known:
            return
        self._release(worker)
        worker.known = False
        self.ledger.leave(worker.name, expected=expected)
        self.dispatcher.leave(worker.name, expected=expected)
        if worker.machine.restart is not None:
            place = int(worker.name.partition(".")[0])
            self._after(worker.machine.restart, lambda: self._join(place, worker.machine))

    def _drain(self, worker: Worker) -> None:
        worker.draining = True
        if worker.chunks:
            self._after(GRACE, lambda: self._die(worker))
        else:
            self._depart(worker)

    def _depart(self, worker: Worker) -> None:
        if worker.alive and worker.known:
            self.ledger.depart(worker.name)
            self.dispatcher.depart(worker.name)
            worker.alive = False
            self._gone(worker, expected=True)

    def _answer_check(self, worker: Worker) -> None:
        temper = worker.machine.temper
        if worker.alive and worker.known and not worker.hung and temper is not Temper.MUTE:
            sound = temper in (Temper.SOUND, Temper.SLY)
            self.ledger.checked(worker.name, sound=sound)
            self.dispatcher.checked(worker.name, self.now, sound=sound, why="black picture")

    # ---- a worker's work

    def _deliver(self, worker: Worker, chunk: Send) -> None:
        if not worker.alive:
            worker.unreached.append(chunk)
            self._after(INSTANT, lambda: self._release(worker))
            return
        worker.chunks.append(chunk)
        if len(worker.chunks) == 1:
            self._go_on(worker)

    def _release(self, worker: Worker) -> None:
        while worker.unreached:
            number = worker.unreached.pop().number
            self.ledger.release(worker.name, number)
            self.dispatcher.release(worker.name, number)

    def _go_on(self, worker: Worker) -> None:
        """Begin the next job of the first chunk, or report that chunk."""
        chunk = worker.chunks[0]
        if worker.draining or len(worker.told) == len(chunk.tasks):
            self._after(INSTANT, lambda: self._finish(worker))
            return
        begun = chunk.tasks[len(worker.told)]
        nature = begun.job.nature
        helpless = worker.machine.temper is not Temper.SOUND
        if begun.key in self.written or helpless:
            self._after(INSTANT, lambda: self._end(worker, begun))
        elif nature is Nature.POISON:
            self._after(INSTANT, lambda: self._die(worker))
        elif nature is not Nature.HANGING:
            self._after(begun.job.seconds * worker.machine.slowness, lambda: self._end(worker, begun))

    def _end(self, worker: Worker, ended: Task) -> None:
        if worker.alive and not worker.hung:
            worker.told.append(self._outcome(worker, ended))
            self._go_on(worker)

    def _outcome(self, worker: Worker, ended: Task) -> Outcome:
        if ended.key in self.written:
            result = JobResult(ended.key, "", (), "", "skipped")  # found there, nothing computed
            return Outcome(ended.key, Kind.DONE, result)
        if worker.machine.temper is not Temper.SOUND:
            passing = worker.machine.temper is Temper.CUT_OFF
            return Outcome(ended.key, Kind.PASSING if passing else Kind.DOUBT)
        self._tried[ended.key] += 1
        if self._tried[ended.key] <= ended.job.passing:
            return Outcome(ended.key, Kind.PASSING)
        if ended.job.nature is not Nature.GOOD:
            return Outcome(ended.key, Kind.FAULT if ended.job.nature is Nature.FAULTY else Kind.DOUBT)
        self.written.add(ended.key)
        self.computed[ended.key] += 1
        return Outcome(ended.key, Kind.DONE)

    def _finish(self, worker: Worker) -> None:
        """Send off the report of the first chunk; what a leaving worker did not begin is handed back."""
        if not worker.alive or worker.hung:
            return
        chunk, outcomes, leaving = worker.chunks.popleft(), worker.told, worker.draining
        worker.told = []
        self._after(worker.machine.latency, lambda: self._report(worker, chunk, outcomes, leaving))
        if worker.chunks:
            self._go_on(worker)
        elif leaving:
            self._after(worker.machine.latency + INSTANT, lambda: self._depart(worker))

    def _report(self, worker: Worker, chunk: Send, outcomes: list[Outcome], leaving: bool) -> None:
        if worker.known:
            self.ledger.report(chunk, outcomes, self.now, leaving=leaving)
        self.dispatcher.report(worker.name, chunk.number, outcomes, self.now, leaving=leaving)
