"""A batch from a plan to its results: the run directory, what was done before, the drive, the tables at the end."""

from __future__ import annotations

import contextlib
import dataclasses
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gluon_nst.batch.drive import Drive, Ending, Rules
from gluon_nst.batch.exports import write_results
from gluon_nst.batch.last_records import FAILURES
from gluon_nst.batch.limits import Limits
from gluon_nst.batch.plan import Plan
from gluon_nst.batch.resume import take_stock
from gluon_nst.batch.run_directory import RunDirectory, open_run
from gluon_nst.batch.runner import Runner
from gluon_nst.batch.settings import WorkSettings
from gluon_nst.batch.standing import Task
from gluon_nst.batch.tally import BatchProgress, Tally
from gluon_nst.errors import OutputError, UsageError
from gluon_nst.jobs import JobResult, result_record
from gluon_nst.recipe import Recipe, recipe_mapping
from gluon_nst.storage import sweep

__all__ = ["BatchRun", "RunOptions", "begin_run", "failures_allowed"]

# Seconds after which a half-written file is nobody's any more; writing one takes seconds at most.
_ABANDONED = 3600.0

_ALONG = {"size": ("shape",), "steps": ("coarse_steps", "average")}


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """How to run a batch; the command line's options of the same names.

    Attributes
    ----------
    existing, retry, verify, new_run
        See `gluon_nst.batch.settings.WorkSettings`, `gluon_nst.batch.resume.take_stock` and
        `gluon_nst.batch.run_directory.open_run`.
    max_failures
        "N" or "P%" of all jobs: failures of this start after which to stop; empty goes on to the end.
    timeout
        Seconds that one job may take; None: 20 times longer than foreseen, at least 10 minutes.
    grace
        Seconds that jobs in hand have once the batch is to stop.
    together, keep_gps, max_memory
        See `gluon_nst.batch.settings.WorkSettings`.
    shard
        (K, N) if this is one of several parts that may run at the same time.
    state
        Folder or URL that all workers reach, for checkpoints and rejected pictures; empty: the run directory.
    """

    existing: str = "skip"
    retry: str = "none"
    verify: bool = False
    new_run: bool = False
    max_failures: str = ""
    timeout: float | None = None
    grace: float = Rules.grace
    wait_for_workers: float = Rules.wait_for_workers
    together: int = 1
    keep_gps: bool = False
    max_memory: str = ""
    shard: tuple[int, int] | None = None
    state: str = ""


def failures_allowed(text: str, total: int) -> int | None:
    """Return how many of `total` jobs may fail, from "N" or "P%"; None if the text is empty.

    Raises
    ------
    UsageError
        If it is neither.
    """
    number = text.removesuffix("%")
    if not text:
        return None
    if not number.replace(".", "", 1).isdigit() or (number == text and "." in number):
        raise UsageError(f"max_failures is {text!r}; it takes a number such as 100, or a part such as 5%.")
    return int(float(number) / 100 * total) if text.endswith("%") else int(number)


class BatchRun:
    """A batch that is ready to start; made by `begin_run`.

    Attributes
    ----------
    path
        The run directory.
    resumed
        Whether it goes on with an earlier start.
    to_do
        Jobs that are left.
    counts
        Status -> jobs, all starts together.
    ending, message
        Why it ended, once the results are through.
    """

    def __init__(self, plan: Plan, directory: RunDirectory, options: RunOptions, base: Recipe | None) -> None:
        self._plan, self._directory, self._options, self._base = plan, directory, options, base
        before = plan.counts()
        self.path, self.resumed = directory.path, directory.resumed
        self.to_do = before.pop("to do", 0)
        self._tally = Tally(before, self.to_do, plan.cost_to_do(), time.monotonic())
        self._rules = Rules(
            max_failures=failures_allowed(options.max_failures, self._tally.total),
            grace=options.grace, wait_for_workers=options.wait_for_workers,
        )  # fmt: skip
        self.ending: Ending | None = None
        self.message = ""

    @property
    def counts(self) -> Mapping[str, int]:
        """Status -> jobs that ended so, in this start or before."""
        return self._tally.counts

    @property
    def done(self) -> int:
        """Jobs that are done."""
        return self.counts["succeeded"] + self.counts["skipped"]

    @property
    def failures(self) -> int:
        """Jobs that failed in any way."""
        return sum(self.counts[status] for status in FAILURES)

    @property
    def left(self) -> int:
        """Jobs of which nothing is known yet."""
        return self._tally.total - sum(self.counts.values())

    def results(
        self,
        runner: Runner,
        *,
        observe: Callable[[BatchProgress], None] = lambda progress: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[JobResult]:
        """Run what is left and yield each result, once it is on the disk.

        Parameters
        ----------
        runner
            Where; it stays the caller's to close.
        observe
            Told every two seconds how far it is.
        stop
            Asked all the time whether to stop: jobs in hand then get `grace` seconds, and nothing is lost.
        """
        drive = Drive(
            self._plan.tasks(), runner, self._settings(), tally=self._tally, record=self._record,
            observe=self._telling(observe), stop=stop, limits=Limits(timeout=self._options.timeout),
            rules=self._rules, to_do=self.to_do,
        )  # fmt: skip
        try:
            yield from drive.results()
            _sweep(self._plan, self._options)
        finally:
            self.ending, self.message = drive.ending or Ending.STOPPED, drive.message
            with contextlib.suppress(OutputError):
                write_results(self.path)

    def _settings(self) -> WorkSettings:
        options = self._options
        return WorkSettings(
            run=uuid.uuid4().hex, existing=options.existing, state=options.state or str(self.path.absolute()),
            together=options.together, keep_gps=options.keep_gps, max_memory=options.max_memory,
        )  # fmt: skip

    def _telling(self, observe: Callable[[BatchProgress], None]) -> Callable[[BatchProgress], None]:
        def tell(progress: BatchProgress) -> None:
            self._directory.write_status(progress.as_mapping())
            observe(progress)

        return tell

    def _record(self, ended: Sequence[tuple[Task, JobResult]]) -> None:
        self._directory.journal.append([self._line(task, result) for task, result in ended])

    def _line(self, task: Task, result: JobResult) -> dict[str, Any]:
        """Return a line of the journal: the result, and what else it takes to run the job again."""
        extra: dict[str, Any] = {}
        if task.job.blend:
            extra["blend"] = task.job.blend
        if self._base is not None and task.job.recipe != self._base:
            extra["changes"] = _changes(self._base, task.job.recipe)
        return {**result_record(result), **extra}


def _sweep(plan: Plan, options: RunOptions) -> None:
    """Remove half-written files; those of other parts of the batch, which run at the same time, are left alone."""
    for folder in plan.folders():
        sweep(folder, older_than=_ABANDONED if options.shard else 0.0)


def _changes(base: Recipe, own: Recipe) -> dict[str, Any]:
    """Return the fields in which a job's own recipe differs from the batch's, and those that change with them."""
    before, after = recipe_mapping(base), recipe_mapping(own)
    changed = [name for name in after if after[name] != before[name] and name not in ("name", "description")]
    # In a manifest, a size undoes a fixed shape and steps change the coarse ones and the average, unless the row has
    # its own.
    along = [name for each in changed for name in _ALONG.get(each, ())]
    return {name: after[name] for name in dict.fromkeys([*changed, *along])}


@contextlib.contextmanager
def begin_run(
    plan: Plan,
    directory: Path,
    identity: Mapping[str, Any],
    options: RunOptions | None = None,
    *,
    base: Recipe | None = None,
) -> Iterator[BatchRun]:
    """Hold the run directory and take stock of what was done before.

    Parameters
    ----------
    plan
        Every job of the batch.
    directory
        The run directory; what of it was done before is skipped.
    identity
        What the run is; see `gluon_nst.batch.run_directory.open_run`.
    options
        How to run.
    base
        The recipe of the batch; what a job's own differs in is put into the journal.

    Raises
    ------
    UsageError
        `RunHeldError`, `RunMismatchError`, or outputs exist that must not.
    OutputError
        If the run directory cannot be written.
    """
    options = options or RunOptions()
    with open_run(directory, identity, new_run=options.new_run) as held:
        _sweep(plan, options)
        take_stock(plan, held.path, retry=options.retry, verify=options.verify, existing=options.existing)
        yield BatchRun(plan, held, options, base)
