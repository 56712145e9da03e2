"""What a worker does with a chunk of jobs: the one place that joins files and computation.

Two chunks run at once in a worker, each in a thread of its own: while one waits for the engine, the other reads
or writes its pictures.
"""

from __future__ import annotations

import dataclasses
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import Any

import gluon_nst.worker.departure as departure
from gluon_nst.batch.blame import kind_of
from gluon_nst.batch.outcomes import ChunkReport, Kind, Outcome
from gluon_nst.batch.settings import WorkSettings
from gluon_nst.errors import Interrupted, SuspiciousResultError
from gluon_nst.images.write import check_output_path
from gluon_nst.inputs import Input, take_input
from gluon_nst.jobs import Job, JobResult, job_id
from gluon_nst.result import Result
from gluon_nst.worker.engine import compute, style_input
from gluon_nst.worker.existing import Existing, find_existing
from gluon_nst.worker.making import make, make_together
from gluon_nst.worker.saving import save

__all__ = ["run_chunk", "worker_name"]


@dataclasses.dataclass(frozen=True, eq=False)
class _Ready:
    """A job whose pictures are read, and the seconds that this took."""

    job: Job
    key: str
    content: Input
    styles: list[Input]
    seconds: float


def run_chunk(jobs: Sequence[Job], settings: WorkSettings | None = None) -> ChunkReport:
    """Run jobs and tell what became of each; a job that fails stops none of the others.

    Once the process is to leave, or the run is recalled, jobs that have not begun are handed back.

    Parameters
    ----------
    jobs
        What to do.
    settings
        What the jobs of the run have in common.
    """
    settings = settings or WorkSettings()
    outcomes = [
        outcome for group in _groups(jobs, settings.together) for outcome in _run_group(group, settings)
    ]
    return ChunkReport(tuple(outcomes), departure.leaving())


def worker_name() -> str:
    """Return the name of this process, for people."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _groups(jobs: Sequence[Job], together: int) -> Iterator[list[Job]]:
    for start in range(0, len(jobs), together):
        yield list(jobs[start : start + together])


def _run_group(jobs: Sequence[Job], settings: WorkSettings) -> Iterator[Outcome]:
    ready: list[_Ready] = []
    for job in jobs:
        prepared = _caught(job, partial(_prepare, job, settings))
        if isinstance(prepared, Outcome):
            yield prepared
        else:
            ready.append(prepared)
    ready.sort(key=_likeness)
    for _, alike in groupby(ready, key=_likeness):
        yield from _finish(list(alike), settings)


def _likeness(ready: _Ready) -> str:
    """Return what jobs must have in common to go through the network together."""
    job = ready.job
    shape = ready.content.picture.pixels.shape
    return repr((shape, job.styles, job.blend, job.weights, job.device, job.precision, job.recipe))


def _finish(alike: list[_Ready], settings: WorkSettings) -> list[Outcome]:
    """Compute and write; where several cannot be done together, halves of them, to see whose fault it is."""
    if len(alike) == 1:
        one = alike[0]
        return [_outcome(_caught(one.job, lambda: _complete(one, settings)), one.key)]
    made = _caught(alike[0].job, lambda: _make_together(alike, settings))
    if isinstance(made, Outcome):
        middle = len(alike) // 2
        return _finish(alike[:middle], settings) + _finish(alike[middle:], settings)
    results, seconds = made
    return [
        _outcome(_caught(one.job, partial(_write, one, result, seconds)), one.key)
        for one, result in zip(alike, results, strict=True)
    ]


def _prepare(job: Job, settings: WorkSettings) -> _Ready | Outcome:
    """Read what the job needs, or find that it was done before."""
    key, began = job_id(job), time.perf_counter()
    if departure.starts_nothing(settings.run):
        return Outcome(key, Kind.UNSTARTED)
    check_output_path(job.output)
    existing = find_existing(job, overwrite=settings.existing == "overwrite")
    if existing is not None and existing.is_result_of(key):
        return _adopted(job, key, existing)
    content = take_input(job.content, keep_gps=settings.keep_gps)
    prints = job.fingerprints[1:] or ("",) * len(job.styles)
    styles = [style_input(path, mark) for path, mark in zip(job.styles, prints, strict=True)]
    if existing is not None and existing.equals_result_of(job, content, styles):
        return _adopted(job, key, existing)
    return _Ready(job, key, content, styles, time.perf_counter() - began)


def _complete(one: _Ready, settings: WorkSettings) -> JobResult:
    result, seconds = compute(lambda: make(one.job, one.key, one.content, one.styles, settings))
    return _write(one, result, seconds)


def _make_together(alike: Sequence[_Ready], settings: WorkSettings) -> tuple[list[Result], float]:
    first = alike[0]
    jobs, keys, contents = ([getattr(each, name) for each in alike] for name in ("job", "key", "content"))
    results, seconds = compute(lambda: make_together(jobs, keys, contents, first.styles, settings))
    return results, seconds / len(alike)


def _write(one: _Ready, result: Result, seconds: float) -> JobResult:
    began = time.perf_counter()
    size, digest = save(result, one.job.output)
    height, width = result.pixels.shape[:2]
    return dataclasses.replace(
        _blank(one.job, one.key, "succeeded"),
        seconds=one.seconds + seconds + time.perf_counter() - began,
        steps=result.steps, stop_reason=result.stop_reason, losses=tuple(result.last_losses().items()),
        width=width, height=height, bytes=size, sha256=digest, notes=result.notes,
    )  # fmt: skip


def _adopted(job: Job, key: str, existing: Existing) -> Outcome:
    result = dataclasses.replace(
        _blank(job, key, "skipped"), width=existing.width, height=existing.height, bytes=existing.bytes,
        sha256=existing.sha256, notes=("adopted: it was there already",),
    )  # fmt: skip
    return Outcome(key, Kind.DONE, result)


def _outcome(done: JobResult | Outcome, key: str) -> Outcome:
    return done if isinstance(done, Outcome) else Outcome(key, Kind.DONE, done)


def _caught(job: Job, step: Callable[[], Any]) -> Any:
    """Take a step of a job; whatever it raises becomes the job's outcome. The program's one catch-all."""
    try:
        return step()
    except Exception as error:
        key = job_id(job)
        if isinstance(error, Interrupted):
            return Outcome(key, Kind.UNSTARTED)
        failed = dataclasses.replace(
            _blank(job, key, "failed"), error_type=type(error).__name__, error=str(error),
            aside=error.aside if isinstance(error, SuspiciousResultError) else "",
        )  # fmt: skip
        return Outcome(key, kind_of(error), failed)


def _blank(job: Job, key: str, status: str) -> JobResult:
    return JobResult(
        key, job.content, job.styles, job.output, status, worker=worker_name(), finished_at=time.time()
    )
