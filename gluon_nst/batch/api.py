"""Batches from Python: for those who write their own submission scripts."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gluon_nst._version import __version__
from gluon_nst.batch.completing import complete_jobs
from gluon_nst.batch.drive import Ending
from gluon_nst.batch.plan import Plan
from gluon_nst.batch.run import BatchRun, RunOptions, begin_run
from gluon_nst.batch.run_directory import default_run_directory
from gluon_nst.batch.runner import Runner, SerialRunner
from gluon_nst.batch.tally import BatchProgress
from gluon_nst.errors import UsageError
from gluon_nst.jobs import Job, JobResult
from gluon_nst.parameters import load_parameters
from gluon_nst.storage import is_url

__all__ = ["BatchSummary", "iterate_batch", "run_batch"]


def _watch_nothing(progress: BatchProgress) -> None:
    """Observe nothing."""


def _never() -> bool:
    return False


@dataclasses.dataclass(frozen=True)
class BatchSummary:
    """How a batch ended.

    Attributes
    ----------
    ending, message
        "finished", or why it ended before: "stopped", "lost", "failures", "stranded", and what to do.
    counts
        Status -> jobs, those of earlier starts included.
    run_directory
        Where the journal, results.csv and failed.csv are.
    """

    ending: str
    message: str
    counts: Mapping[str, int]
    run_directory: Path

    @property
    def ok(self) -> bool:
        """Whether every job was done."""
        done = self.counts.get("succeeded", 0) + self.counts.get("skipped", 0)
        return self.ending == Ending.FINISHED.value and done == sum(self.counts.values())


def run_batch(
    jobs: Iterable[Job],
    *,
    client: Any = None,
    run_dir: str | os.PathLike[str] | None = None,
    options: RunOptions | None = None,
    observe: Callable[[BatchProgress], None] = _watch_nothing,
    stop: Callable[[], bool] = _never,
) -> BatchSummary:
    """Run jobs to the end; the parameters are those of `iterate_batch`.

    A job that fails raises nothing; it is counted, and failed.csv in the run directory says why. The same call
    again does what is left.

    Examples
    --------
    >>> import gluon_nst
    >>> recipe = gluon_nst.load_recipe("default", size=768)
    >>> jobs = [gluon_nst.Job("a.jpg", ("painting.jpg",), "out/a.jpg", recipe)]
    >>> gluon_nst.run_batch(jobs).ok  # doctest: +SKIP
    True
    """
    with _begun(jobs, client, run_dir, options) as (run, runner):
        for _ in run.results(runner, observe=observe, stop=stop):
            pass
    ending = run.ending or Ending.FINISHED
    return BatchSummary(ending.value, run.message, dict(run.counts), run.path)


def iterate_batch(
    jobs: Iterable[Job],
    *,
    client: Any = None,
    run_dir: str | os.PathLike[str] | None = None,
    options: RunOptions | None = None,
    observe: Callable[[BatchProgress], None] = _watch_nothing,
    stop: Callable[[], bool] = _never,
) -> Iterator[JobResult]:
    """Run jobs and yield a result for each as it ends, once it is recorded; those done before are not repeated.

    Parameters
    ----------
    jobs
        What to do; drawn once, before the start. `gluon_nst.collect_jobs` makes them of folders and manifests.
    client
        A `distributed.Client`, whose workers do the work; it stays the caller's to close. None: this process
        does it.
    run_dir
        Where the journal is kept. None: ``.gluon-nst`` in the folder that all outputs share.
    options
        Retries, time-outs, limits.
    observe
        Told every two seconds how far it is.
    stop
        Asked all the time whether to stop.

    Raises
    ------
    UsageError
        If jobs clash, or another batch works in the run directory.
    OutputError
        If the run directory cannot be written.
    """
    with _begun(jobs, client, run_dir, options) as (run, runner):
        yield from run.results(runner, observe=observe, stop=stop)


@contextlib.contextmanager
def _begun(
    jobs: Iterable[Job],
    client: Any,
    run_dir: str | os.PathLike[str] | None,
    options: RunOptions | None,
) -> Iterator[tuple[BatchRun, Runner]]:
    """Yield the run, with what was done before taken stock of, and what runs the rest."""
    options = options or RunOptions()
    with Plan() as plan:
        plan.add(complete_jobs(jobs, functools.lru_cache(maxsize=8)(_digest)))
        directory = _shared_run(plan) if run_dir is None else Path(run_dir)
        identity = {"version": __version__, "made_by": "run_batch"}
        with begin_run(plan, directory, identity, options) as run, _runner(client, options) as runner:
            yield run, runner


@contextlib.contextmanager
def _runner(client: Any, options: RunOptions) -> Iterator[Runner]:
    if client is None:
        with contextlib.closing(SerialRunner()) as serial:
            yield serial
        return
    from gluon_nst.batch.dask_runner import DaskRunner

    with contextlib.closing(DaskRunner(client, grace=options.grace)) as runner:
        yield runner


def _digest(weights: str, network: str) -> str:
    return load_parameters(weights, network).sha256


def _shared_run(plan: Plan) -> Path:
    """Return the run directory of the folder that all outputs share."""
    folders = iter(plan.folders())
    shared = next(folders, None)
    if shared is None:
        raise UsageError("there are no jobs; give at least one.")
    for folder in folders:
        if is_url(folder) or is_url(shared):
            raise UsageError("the outputs share no folder; say with run_dir where the journal is to be kept.")
        shared = os.path.commonpath([shared, folder])
    return default_run_directory(shared)
