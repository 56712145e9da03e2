"""What a worker does with a chunk of jobs: the one place that joins files and computation.

A worker process keeps one warm Stylizer, so a collection pays for the network and the style targets once.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from gluon_nst.api import make_stylizer, stylize_inputs
from gluon_nst.images.write import check_output_path
from gluon_nst.inputs import take_input
from gluon_nst.jobs import Job, JobResult, job_id
from gluon_nst.result import Result

if TYPE_CHECKING:
    from gluon_nst.stylizer import Stylizer

__all__ = ["run_chunk"]

_warm: dict[tuple[object, ...], Stylizer] = {}


def run_chunk(jobs: Sequence[Job]) -> list[JobResult]:
    """Run jobs one after the other and tell what became of each; a job that fails stops none of the others.

    This is the program's one catch-all: whatever a job raises becomes its result.
    """
    return [_run_caught(job) for job in jobs]


def _run_caught(job: Job) -> JobResult:
    began = time.perf_counter()
    result = JobResult(job_id(job), job.content, job.styles, job.output, "failed", worker=_worker_name())
    try:
        done = _run(job)
    except Exception as error:
        result = replace(result, error_type=type(error).__name__, error=str(error))
    else:
        losses = tuple(done.last_losses().items())
        result = replace(result, status="succeeded", steps=done.steps, losses=losses)
    return replace(result, seconds=time.perf_counter() - began)


def _run(job: Job) -> Result:
    check_output_path(job.output)
    content, *styles = (take_input(path) for path in (job.content, *job.styles))
    result = stylize_inputs(_warm_stylizer(job), [content], styles, blend=job.blend or None)[0]
    result = replace(result, provenance={"job_id": job_id(job), **result.provenance})
    result.save(job.output)
    return result


def _warm_stylizer(job: Job) -> Stylizer:
    """Return the Stylizer kept from the job before, or a new one if this job needs another."""
    key = (job.recipe, job.weights, job.device, job.precision)
    if key not in _warm:
        _warm.clear()
        _warm[key] = make_stylizer(
            job.recipe, device=job.device, precision=job.precision, weights=job.weights
        )
    return _warm[key]


def _worker_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"
