"""The loop of a batch: what the dispatcher decides goes to the runner, what happens there to the dispatcher.

A result is on the disk before it is given to the caller.
"""

from __future__ import annotations

import dataclasses
import enum
import time
from collections.abc import Callable, Iterator, Sequence

from gluon_nst.batch.dispatch import Dispatcher
from gluon_nst.batch.limits import Limits
from gluon_nst.batch.orders import Action, Check, Kill, Retire, Send, Verdict
from gluon_nst.batch.outcomes import Kind, Outcome
from gluon_nst.batch.roster import Roster
from gluon_nst.batch.runner import Broken, Checked, Event, Gone, Lost, Ready, Reported, Runner, Unready
from gluon_nst.batch.settings import WorkSettings
from gluon_nst.batch.standing import Task
from gluon_nst.batch.tally import BatchProgress, Tally
from gluon_nst.errors import OutputError
from gluon_nst.jobs import JobResult

__all__ = ["Drive", "Ending", "Recorder", "Rules"]

Recorder = Callable[[Sequence[tuple[Task, JobResult]]], None]
"""Makes results durable, or raises OutputError."""

_TICK = 0.25  # seconds between two looks at the clock when nothing happens
_TELL = 2.0  # seconds between two signs of progress
_OVERTIME = 15.0  # seconds beyond the grace in which broken-off jobs hand back


class Ending(enum.Enum):
    """Why a batch ended."""

    FINISHED = "finished"
    STOPPED = "stopped"  # told to, or storage is full; the same command goes on
    LOST = "lost"  # the scheduler is gone; the same command goes on
    FAILURES = "failures"  # more than --max-failures
    STRANDED = "stranded"  # no worker that can work


@dataclasses.dataclass(frozen=True)
class Rules:
    """When a batch ends before its time.

    Attributes
    ----------
    max_failures
        Failures after which to stop; None goes on to the end.
    grace
        Seconds that jobs in hand have once the batch is to stop; Kubernetes and Slurm kill 30 seconds after
        they ask, and keeping checkpoints takes some of them.
    wait_for_workers
        Seconds to wait for a worker while there is none. A killed one is back within 5.
    """

    max_failures: int | None = None
    grace: float = 20.0
    wait_for_workers: float = 60.0


class Drive:
    """Runs tasks on a runner.

    Parameters
    ----------
    tasks
        What is to be done, in order.
    runner
        Where.
    settings
        What all jobs have in common.
    tally
        Counts the results.
    record
        Makes results durable.
    observe
        Told how far it is, every two seconds.
    stop
        Asked whether to stop; begins nothing more once it says so.
    """

    def __init__(
        self,
        tasks: Iterator[Task],
        runner: Runner,
        settings: WorkSettings,
        *,
        tally: Tally,
        record: Recorder,
        observe: Callable[[BatchProgress], None],
        stop: Callable[[], bool] = lambda: False,
        limits: Limits | None = None,
        rules: Rules | None = None,
        to_do: int | None = None,
    ) -> None:
        self.ending: Ending | None = None
        self.message = ""
        self._first, self._tasks = _peek(tasks)
        self._runner, self._settings, self._tally = runner, settings, tally
        self._record, self._observe, self._stop = record, observe, stop
        self._rules = rules or Rules()
        self._dispatcher = Dispatcher(self._tasks, limits, total=to_do)
        self._roster = Roster()
        self._started_at = time.time()
        self._told_at = self._alone_since = time.monotonic()
        self._drain_until: float | None = None

    def results(self) -> Iterator[JobResult]:
        """Yield one result for every job that ends, as they come; sets `ending` and `message` at last."""
        if self._first is None:
            self._end(Ending.FINISHED)
            return
        self._runner.start(self._first.job, self._settings)
        while self.ending is None:
            for action in self._dispatcher.actions(time.monotonic(), expecting=self._runner.expecting()):
                self._carry_out(action)
            for event in self._runner.wait(_TICK):
                self._take(event)
            yield from self._conclude(self._dispatcher.verdicts())
            self._look_around()
        self._tell(force=True)

    # ---- to the runner

    def _carry_out(self, action: Action) -> None:
        if isinstance(action, Send):
            self._runner.send(action.worker, action.number, [task.job for task in action.tasks])
        elif isinstance(action, Check):
            self._roster.state(action.worker, "checking")
            self._runner.check(action.worker)
        elif isinstance(action, Kill):
            self._roster.state(action.worker, "killed", action.why)
            self._tell(force=True)  # it may be gone before the next time
            self._runner.kill(action.worker)
        elif isinstance(action, Retire):
            self._roster.state(action.worker, "retired", action.why)

    # ---- from the runner

    def _take(self, event: Event) -> None:
        now = time.monotonic()
        if isinstance(event, Ready):
            self._roster.come(event.worker, event.readiness.device)
            self._dispatcher.join(event.worker, now, event.readiness.pace)
        elif isinstance(event, Unready):
            self._roster.state(event.worker, "unready", event.why)
        elif isinstance(event, Gone):
            self._roster.leave(event.worker)
            self._dispatcher.leave(event.worker, expected=event.expected)
        elif isinstance(event, Reported):
            report = event.report
            if report.leaving:
                self._roster.state(event.worker, "leaving")
            self._dispatcher.report(event.worker, event.number, report.outcomes, now, leaving=report.leaving)
        elif isinstance(event, Checked):
            self._roster.state(event.worker, "working")
            self._dispatcher.checked(event.worker, now, sound=event.sound, why=event.why)
        elif isinstance(event, Broken):
            self._doubt_all(event, now)
        elif isinstance(event, Lost):
            self._end(Ending.LOST, f"{event.why}. Run the same command again to go on.")

    def _doubt_all(self, event: Broken, now: float) -> None:
        """Put each job of a chunk that failed as a whole in doubt."""
        standing = self._dispatcher.workers.get(event.worker)
        chunk = standing.chunks.get(event.number) if standing is not None else None
        tasks = [] if chunk is None else [entry.task for entry in chunk.entries]
        outcomes = [
            Outcome(task.key, Kind.DOUBT, _unmade(task, "failed", "BackendError", event.why, event.worker))
            for task in tasks
        ]
        self._dispatcher.report(event.worker, event.number, outcomes, now)

    # ---- results

    def _conclude(self, verdicts: Sequence[Verdict]) -> Iterator[JobResult]:
        ended = [(verdict.task, _result(verdict)) for verdict in verdicts]
        if not ended:
            return
        try:
            self._record(ended)
        except OutputError as error:
            self._end(Ending.STOPPED, f"{error}. Nothing that was told is lost; the same command goes on.")
            return
        now = time.monotonic()
        for (task, result), verdict in zip(ended, verdicts, strict=True):
            self._tally.add(result, task.cost, now)
            self._roster.count(verdict.worker, well=result.status in ("succeeded", "skipped"))
            yield result

    # ---- the end

    def _look_around(self) -> None:
        now = time.monotonic()
        if self._must_stop():
            self._drain(now)
        self._look_for_workers(now)
        overdue = self._drain_until is not None and now > self._drain_until
        if self._dispatcher.finished or overdue:
            self._end(*self._reason())
        self._tell()

    def _must_stop(self) -> bool:
        return self._stop() or bool(self._dispatcher.halted) or self._too_many_failures()

    def _too_many_failures(self) -> bool:
        limit = self._rules.max_failures
        return limit is not None and self._tally.failures > limit

    def _look_for_workers(self, now: float) -> None:
        if self._dispatcher.usable or self._dispatcher.in_flight or self._runner.expecting():
            self._alone_since = now
        elif now - self._alone_since > self._rules.wait_for_workers and not self._dispatcher.finished:
            reasons = self._roster.reasons()
            self._end(
                Ending.STRANDED, f"no worker can work. {reasons} Run the same command again once one can."
            )

    def _drain(self, now: float) -> None:
        """Begin nothing more, and give what runs the time of grace."""
        if self._drain_until is None:
            self._dispatcher.stop()
            self._runner.recall(self._rules.grace)
            self._drain_until = now + self._rules.grace + _OVERTIME

    def _reason(self) -> tuple[Ending, str]:
        if self._dispatcher.halted:
            return Ending.STOPPED, f"{self._dispatcher.halted}. Make room and run the same command again."
        if self._too_many_failures():
            allowed = self._rules.max_failures
            return Ending.FAILURES, f"{self._tally.failures} jobs failed, more than the {allowed} allowed."
        if self._dispatcher.stopping:
            return Ending.STOPPED, "stopped early. Run the same command again to go on."
        return Ending.FINISHED, ""

    def _end(self, ending: Ending, message: str = "") -> None:
        if self.ending is None:
            self.ending, self.message = ending, message

    # ---- progress

    def _tell(self, *, force: bool = False) -> None:
        now = time.monotonic()
        if force or now - self._told_at >= _TELL:
            self._told_at = now
            self._observe(self.progress())

    def progress(self) -> BatchProgress:
        """Return how far it is."""
        now = time.monotonic()
        state = "draining" if self._dispatcher.stopping else "running"
        if self.ending is not None:
            state = "finished" if self.ending is Ending.FINISHED else "stopped"
        return BatchProgress(
            state=state, total=self._tally.total, counts=dict(self._tally.counts), retried=self._dispatcher.retries,
            in_flight=self._dispatcher.in_flight, images_per_hour=self._tally.images_per_hour(now),
            eta_seconds=self._tally.eta(now), started_at=self._started_at, updated_at=time.time(),
            workers=self._roster.lines(), message=self.message,
        )  # fmt: skip


def _peek(tasks: Iterator[Task]) -> tuple[Task | None, Iterator[Task]]:
    """Return the first task, and all of them."""
    first = next(tasks, None)
    return first, iter(()) if first is None else _chained(first, tasks)


def _chained(first: Task, rest: Iterator[Task]) -> Iterator[Task]:
    yield first
    yield from rest


def _result(verdict: Verdict) -> JobResult:
    """Return what is recorded of a verdict."""
    if verdict.outcome is not None and verdict.outcome.result is not None:
        return dataclasses.replace(verdict.outcome.result, attempts=verdict.attempts)
    told = {
        "poison": ("WorkerDied", "it killed the worker that ran it alone, twice. It is left out from now on; "
                   "--retry poison tries it again."),
        "timeout": ("TimedOut", "it ran alone, twice, for longer than allowed, and was ended. See --timeout."),
    }  # fmt: skip
    kind, error = told[verdict.status]
    return _unmade(verdict.task, verdict.status, kind, error, verdict.worker, verdict.attempts)


def _unmade(task: Task, status: str, kind: str, error: str, worker: str, attempts: int = 1) -> JobResult:
    job = task.job
    return JobResult(
        task.key, job.content, job.styles, job.output, status,
        error_type=kind, error=error, worker=worker, attempts=attempts, finished_at=time.time(),
    )  # fmt: skip
