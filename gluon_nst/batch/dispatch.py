"""Which chunk goes to which worker next, who is suspect, who is retired: pure logic.

It knows no Dask, no clock of its own and no files. It is told what happened, and asked what to do. Stock Dask
scheduling loses innocent jobs: whatever is assigned to a worker that dies is blamed, and a broken worker that
fails fast eats the whole collection. Hence:

- A worker holds two chunks at most. When it dies, all that it held is suspect, and each suspect runs alone; a
  job is poison only after it killed a live worker alone, twice.
- A failure that may be the worker's fault sends the job to another worker. One worker's word is believed only
  after that worker has done another job or passed a check since.
- A worker that fails several different jobs in a row is checked, and retired if it fails that too, or if other
  workers did what it could not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from gluon_nst.batch.backlog import Backlog
from gluon_nst.batch.feeding import Feeder, Portion
from gluon_nst.batch.limits import Limits
from gluon_nst.batch.orders import Action, Check, Kill, Retire, Send, Verdict
from gluon_nst.batch.outcomes import Kind, Outcome
from gluon_nst.batch.standing import Chunk, Entry, Standing, State, Task

__all__ = ["Dispatcher"]

# Seconds between two looks for overruns: at ten thousand workers one takes 17 ms, and reports come in hundreds a
# second.
_LOOK_EVERY = 0.1


class Dispatcher:
    """Decides; see the module's text. Feed it events, then carry out `actions` and record `verdicts`.

    Parameters
    ----------
    tasks
        What is to be done, in the order wanted; drawn only as needed.
    limits
        The numbers.
    total
        How many tasks there are, if that is known: the last chunks are then kept small.
    """

    def __init__(
        self, tasks: Iterator[Task], limits: Limits | None = None, *, total: int | None = None
    ) -> None:
        self.limits = limits or Limits()
        self.workers: dict[str, Standing] = {}
        self.retries = 0
        self.stopping = False
        self.halted = ""
        self._backlog = Backlog(tasks, total)
        self._feeder = Feeder(self._backlog, self.limits, self.workers)
        self._number = 0
        self._actions: list[Action] = []
        self._verdicts: list[Verdict] = []
        # Outcomes in doubt that are believed only once their worker has passed a check or done a job.
        self._held: dict[Entry, tuple[Standing, Outcome | None]] = {}
        self._looked = -math.inf

    # ---- what happened

    def join(self, worker: str, now: float, pace: float | None = None) -> None:
        """Take in a worker that has proved ready; `pace` is a guess at its seconds per unit of cost.

        One of that name that was there before is dead, whether anyone noticed or not.
        """
        self.leave(worker)
        self.workers[worker] = Standing(worker, self.limits.strikes, since=now, pace=pace)

    def leave(self, worker: str, *, expected: bool = False) -> None:
        """Take note that a worker is gone; `expected` if it closed in order, so that nobody is to blame."""
        standing = self.workers.pop(worker, None)
        if standing is None:
            return
        for chunk in standing.chunks.values():
            for entry in chunk.entries:
                self._lost(entry, chunk, standing, expected=expected)
        self._disbelieve(standing)

    def report(
        self,
        worker: str,
        number: int,
        outcomes: Sequence[Outcome],
        now: float,
        *,
        leaving: bool = False,
    ) -> None:
        """Take in what came back for a chunk; a job of it that nothing is said of was not started."""
        standing = self.workers.get(worker)
        if standing is None or number not in standing.chunks:
            return  # given up before: its jobs run elsewhere, and what it wrote will be found there
        told = {outcome.key: outcome for outcome in outcomes}
        chunk = standing.give_back(number, now, {key for key, each in told.items() if _computed(each)})
        if leaving:
            self.depart(worker)
        for entry in chunk.entries:
            self._take(entry, told.get(entry.task.key), standing, number, now)

    def release(self, worker: str, number: int) -> None:
        """Take back a chunk that never reached its worker, without blame."""
        standing = self.workers.get(worker)
        if standing is not None and number in standing.chunks:
            for entry in reversed(standing.chunks.pop(number).entries):
                self._hand_back(entry)

    def checked(self, worker: str, now: float, *, sound: bool, why: str = "") -> None:
        """Take in the result of a check."""
        standing = self.workers.get(worker)
        if standing is None or standing.state is not State.CHECKING:
            return
        if not sound:
            self._retire(standing, f"it failed its check: {why}")
            return
        standing.state, standing.since = State.WORKING, now
        standing.strikes.clear()
        standing.strikes_allowed *= 2
        self._believe(standing)

    def depart(self, worker: str) -> None:
        """Take note that a worker is about to leave: it finishes what it holds and gets nothing more."""
        standing = self.workers.get(worker)
        if standing is not None and standing.usable:
            standing.state = State.LEAVING

    def stop(self) -> None:
        """Begin nothing more; what is in flight may end."""
        self.stopping = True

    # ---- what to do

    def actions(self, now: float, *, expecting: bool = False) -> list[Action]:
        """Return what is to be done now, once.

        Parameters
        ----------
        now
            The time, in seconds.
        expecting
            Whether workers are on their way: what one failed in doubt is then kept for them.
        """
        self._feeder.expecting = expecting
        self._find_overruns(now)
        if not self.stopping:
            self._settle_held(now)
            self._backlog.wake(now)
            for portion in self._feeder.portions():
                self._send(portion, now)
        actions, self._actions = self._actions, []
        return actions

    def verdicts(self) -> list[Verdict]:
        """Return the last words that were spoken since the last call."""
        verdicts, self._verdicts = self._verdicts, []
        return verdicts

    @property
    def in_flight(self) -> int:
        """Jobs at workers."""
        return sum(each.jobs for each in self.workers.values())

    @property
    def _working(self) -> bool:
        return any(not each.idle for each in self.workers.values())

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do, or, when stopping, nothing is in flight."""
        if self._working:
            return False
        return self.stopping or not (self._held or self._backlog.waiting())

    @property
    def usable(self) -> list[str]:
        """The workers that can be given work, now or after a check."""
        return [name for name, each in self.workers.items() if each.usable]

    def _send(self, portion: Portion, now: float) -> None:
        self._number += 1
        for entry in portion.entries:
            entry.attempts += 1
        portion.worker.take(Chunk(self._number, portion.entries, sole=portion.sole), now)
        tasks = tuple(entry.task for entry in portion.entries)
        self._actions.append(Send(portion.worker.name, self._number, tasks))

    # ---- one task at a time

    def _take(
        self, entry: Entry, outcome: Outcome | None, standing: Standing, number: int, now: float
    ) -> None:
        kind = Kind.UNSTARTED if outcome is None else outcome.kind
        if kind is Kind.DONE:
            self._done(entry, outcome, standing, number)
        elif kind is Kind.FAULT:
            self._judge(entry, "failed", outcome, standing.name)
        elif kind is Kind.DOUBT:
            self._doubt(entry, outcome, standing, number, now)
        elif kind is Kind.PASSING:
            self._pass(entry, outcome, standing, number, now)
        else:
            self._hand_back(entry)
        if kind is Kind.HALT:
            self._halt(outcome)

    def _done(self, entry: Entry, outcome: Outcome | None, standing: Standing, number: int) -> None:
        if outcome is not None and _computed(outcome):
            standing.refuted = max(0, standing.refuted - 1)  # only one that fails more than it does is bad
            if standing.struck_before(number):
                standing.strikes.clear()
                standing.strikes_allowed = self.limits.strikes
                self._believe(standing)
        self._judge(entry, "done", outcome, standing.name)
        for name in entry.doubts - {standing.name}:
            other = self.workers.get(name)
            if other is not None and other.usable:
                other.refuted += 1
                if other.refuted >= self.limits.refuted:
                    self._retire(other, f"it failed {other.refuted} jobs that other workers then did")

    def _doubt(
        self, entry: Entry, outcome: Outcome | None, standing: Standing, number: int, now: float
    ) -> None:
        """Send the job elsewhere; where two workers agree it is the job's fault, if one of them is to be believed.

        That is one that did another job or passed a check since: two broken workers agree on every job.
        """
        if standing.state is State.RETIRED:
            self._again(entry)
            return
        agreeing = [self.workers[name] for name in entry.doubts - {standing.name} if self._trusted(name)]
        if any(entry.task.key not in each.strikes for each in agreeing):
            self._judge(entry, "failed", outcome, standing.name)
            return
        if agreeing or standing.name in entry.doubts:
            self._held[entry] = standing, outcome
        else:
            entry.doubts.add(standing.name)
            self._again(entry)
        standing.strikes.add(entry.task.key)
        standing.struck_in, standing.struck_at = number, self._number
        if len(standing.strikes) >= standing.strikes_allowed:
            self._check(standing, now)

    def _pass(
        self, entry: Entry, outcome: Outcome | None, standing: Standing, number: int, now: float
    ) -> None:
        entry.passes += 1
        if entry.passes >= self.limits.passes:
            entry.passes = 0  # it may be this worker's way to the storage: the next has tries of its own
            self._doubt(entry, outcome, standing, number, now)
            return
        self.retries += 1
        self._backlog.put_later(entry, now + self.limits.pause * 2 ** (entry.passes - 1))

    def _lost(self, entry: Entry, chunk: Chunk, standing: Standing, *, expected: bool) -> None:
        """Find out what the death of its worker says of a job."""
        overrun = standing.state is State.KILLED
        if expected and not overrun:
            self._hand_back(entry)
            return
        # One that was leaving, under check or retired may have died of that.
        entry.kills += chunk.alone and standing.state is State.WORKING
        entry.overruns += chunk.alone and overrun
        if entry.kills >= self.limits.kills:
            self._judge(entry, "poison", None, standing.name)
        elif entry.overruns >= self.limits.overruns:
            self._judge(entry, "timeout", None, standing.name)
        else:
            self.retries += 1
            self._backlog.put_suspect(entry)

    def _judge(self, entry: Entry, status: str, outcome: Outcome | None, worker: str) -> None:
        self._verdicts.append(Verdict(entry.task, status, outcome, entry.attempts, worker))

    def _again(self, entry: Entry) -> None:
        self.retries += 1
        self._backlog.put_last(entry)

    def _hand_back(self, entry: Entry) -> None:
        entry.attempts -= 1
        self._backlog.put_first(entry)

    def _halt(self, outcome: Outcome | None) -> None:
        result = None if outcome is None else outcome.result
        self.halted = self.halted or (result.error if result is not None else "storage is full")
        self.stop()

    # ---- trust

    def _trusted(self, worker: str) -> bool:
        return worker in self.workers and self.workers[worker].state is not State.RETIRED

    def _check(self, standing: Standing, now: float) -> None:
        if standing.state is State.WORKING:
            standing.state, standing.since = State.CHECKING, now
            self._actions.append(Check(standing.name))

    def _believe(self, standing: Standing) -> None:
        """Take a worker's word for the jobs that it failed at and that are held, by itself or by another."""
        for entry, (holder, outcome) in list(self._held.items()):
            if holder is standing or standing.name in entry.doubts:
                del self._held[entry]
                self._judge(entry, "failed", outcome, holder.name)

    def _disbelieve(self, standing: Standing) -> None:
        """Let those jobs run again, as if this worker had never had them."""
        for entry in [entry for entry, (holder, _) in self._held.items() if holder is standing]:
            del self._held[entry]
            entry.doubts.discard(standing.name)
            self._again(entry)

    def _retire(self, standing: Standing, why: str) -> None:
        standing.state, standing.why = State.RETIRED, why
        self._actions.append(Retire(standing.name, why))
        self._disbelieve(standing)

    def _settle_held(self, now: float) -> None:
        """Where nothing but held outcomes is left, have checked who holds them, and who failed at them before.

        Those who hold them may never answer, and come back under other names for ever.
        """
        if self._held and not self._working and not self._backlog.waiting():
            failed = set().union(*(entry.doubts for entry in self._held))
            holders = {holder for holder, _ in self._held.values()}
            for standing in self.workers.values():
                if standing in holders or standing.name in failed:
                    self._check(standing, now)

    # ---- time

    def _find_overruns(self, now: float) -> None:
        if now - self._looked < _LOOK_EVERY:
            return
        self._looked = now
        for standing in self.workers.values():
            allowed = self._seconds_allowed(standing)
            if now - standing.since > allowed:
                standing.state = State.KILLED
                self._actions.append(
                    Kill(standing.name, f"nothing came back from it for {allowed:.0f} seconds")
                )

    def _seconds_allowed(self, standing: Standing) -> float:
        if standing.state is State.KILLED:
            return math.inf
        if standing.idle:
            return self.limits.least_timeout if standing.state is State.CHECKING else math.inf
        return self.limits.seconds_allowed(standing.jobs, standing.cost, self._feeder.pace(standing))


def _computed(outcome: Outcome) -> bool:
    """Return whether a job was run to its end, so that it says something of its worker."""
    result = outcome.result
    return outcome.kind is Kind.DONE and (result is None or result.status == "succeeded")
