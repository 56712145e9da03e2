"""What was sent, told and lost in a simulated world, and the rules that no action may break."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

from gluon_nst.batch.limits import Limits
from gluon_nst.batch.orders import Action, Check, Kill, Retire, Send, Verdict
from gluon_nst.batch.outcomes import Kind, Outcome
from gluon_nst.batch.standing import Task

__all__ = ["Ledger"]


@dataclasses.dataclass(eq=False)
class View:
    """What the driver may know of a worker."""

    state: str = "working"
    chunks: dict[int, Send] = dataclasses.field(default_factory=dict)

    @property
    def keys(self) -> list[str]:
        """Jobs that it holds."""
        return [each.key for chunk in self.chunks.values() for each in chunk.tasks]


class Ledger:
    """The account; `assert` where a rule is broken.

    Attributes
    ----------
    deaths_alone, kills_alone
        How often a worker died, or was ended for an overrun, that held this job and nothing else.
    sent, returned, lost
        How often a job was sent, came back not begun, and was at a worker that died.
    told
        How often each kind of outcome was told: (key, kind) -> number.
    ended
        Workers that died, left or were retired.
    """

    def __init__(self, tasks: Sequence[Task], limits: Limits) -> None:
        self.limits = limits
        self.tasks = {each.key: each for each in tasks}
        self.views: dict[str, View] = {}
        self.verdicts: dict[str, Verdict] = {}
        self.drawn = 0
        self.stopped = False
        self.suspects: set[str] = set()
        self.deaths_alone: Counter[str] = Counter()
        self.kills_alone: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.returned: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.told: Counter[tuple[str, Kind]] = Counter()
        self.ended = 0
        self.checks = 0
        self.retired: list[str] = []
        self._doubted: set[tuple[str, str]] = set()
        self._paused: dict[str, float] = {}

    # ---- what the world tells

    def join(self, worker: str) -> None:
        """A worker is there."""
        self.views[worker] = View()

    def died(self, worker: str) -> None:
        """A worker dies, though the driver does not know it yet."""
        view = self.views[worker]
        if len(view.keys) == 1 and view.state != "killed":
            self.deaths_alone[view.keys[0]] += 1

    def leave(self, worker: str, *, expected: bool) -> None:
        """The driver learns that a worker is gone."""
        view = self.views.pop(worker)
        self.ended += 1
        if expected:
            self.returned.update(view.keys)
        else:
            self.suspects.update(view.keys)
            self.lost.update(view.keys)

    def depart(self, worker: str) -> None:
        """A worker is about to leave."""
        if self.views[worker].state in ("working", "checking"):
            self.views[worker].state = "leaving"

    def release(self, worker: str, number: int) -> None:
        """A chunk did not reach its worker."""
        if worker in self.views:
            self.returned.update(each.key for each in self.views[worker].chunks.pop(number).tasks)

    def checked(self, worker: str, *, sound: bool) -> None:
        """A check has ended."""
        view = self.views[worker]
        if sound and view.state == "checking":
            view.state = "working"

    def report(self, chunk: Send, outcomes: Sequence[Outcome], now: float, *, leaving: bool) -> None:
        """A chunk came back to a driver that waited for it."""
        del self.views[chunk.worker].chunks[chunk.number]
        if leaving:
            self.depart(chunk.worker)
        told = {each.key: each.kind for each in outcomes}
        self.returned.update(each.key for each in chunk.tasks if each.key not in told)
        for key, kind in told.items():
            self.told[key, kind] += 1
            if kind in (Kind.DOUBT, Kind.PASSING):  # storage that fails at the last try is in doubt as well
                self._doubted.add((chunk.worker, key))
            if kind is Kind.PASSING:
                self._paused[key] = now + self.limits.pause * 2 ** (self.limits.passes - 1)

    # ---- what the dispatcher says

    def take_action(self, action: Action) -> None:
        """Hold an action against the rules and take note of it."""
        view = self.views[action.worker]
        if isinstance(action, Send):
            self._take_send(action, view)
        elif isinstance(action, Check):
            assert view.state == "working", f"a check of a worker that is {view.state}"
            self.checks += 1
            view.state = "checking"
        elif isinstance(action, Retire):
            assert view.state in ("working", "checking"), f"a worker is retired that is {view.state}"
            self.ended += 1
            self.retired.append(action.worker)
            view.state = "retired"
        elif isinstance(action, Kill):
            assert view.state != "killed", "a worker is killed twice"
            if len(view.keys) == 1:
                self.kills_alone[view.keys[0]] += 1
            view.state = "killed"

    def _take_send(self, chunk: Send, view: View) -> None:
        keys = [each.key for each in chunk.tasks]
        there = view.keys
        at_work = {key for each in self.views.values() for key in each.keys}
        assert not self.stopped, "something is sent after the stop"
        assert view.state == "working", f"something is sent to a worker that is {view.state}"
        assert len(view.chunks) < self.limits.in_flight, "too many chunks at a worker"
        assert 0 < len(keys) <= self.limits.chunk_jobs, f"a chunk of {len(keys)} jobs"
        assert len({each.group for each in chunk.tasks}) == 1, "a chunk of several groups"
        assert not self.suspects & {*there}, "something is sent to where a suspect runs"
        assert not self.suspects & {*keys} or len(keys + there) == 1, "a suspect is not alone"
        assert not at_work & {*keys}, "a job is at two workers at once"
        assert not self.verdicts.keys() & {*keys}, "a job is sent after its verdict"
        self.sent.update(keys)
        view.chunks[chunk.number] = chunk

    def take_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        """Take note of verdicts, of which there is one for a job."""
        for verdict in verdicts:
            key = verdict.task.key
            assert key not in self.verdicts, f"two verdicts on {key}"
            assert verdict.attempts == self.sent[key] - self.returned[key], "attempts are miscounted"
            self.verdicts[key] = verdict

    def settle(self, held: set[str], now: float) -> None:
        """Hold the whole against the rules, after all that was to be done now is done."""
        # Tasks are drawn to be sent; one may have been looked at that must wait for another chunk.
        assert self.drawn - len(self.sent) <= 1, "tasks are drawn ahead of their time"
        self._nobody_is_idle_for_nothing(held, now)

    def _nobody_is_idle_for_nothing(self, held: set[str], now: float) -> None:
        idle = [name for name, view in self.views.items() if view.state == "working" and not view.chunks]
        if not idle or self.stopped:
            return
        at_work = {key for view in self.views.values() for key in view.keys}
        waiting = self.tasks.keys() - self.verdicts.keys() - at_work - held
        waiting = {key for key in waiting if self._paused.get(key, 0.0) <= now}
        for name in idle:
            mine = {key for key in waiting if (name, key) not in self._doubted}
            assert not mine, f"{name} is idle though {sorted(mine)} wait"
