"""Hundreds of Dask workers in one process, whose jobs only wait: for `benchmarks.scale`.

python -m benchmarks.waiting_workers ADDRESS COUNT SECONDS
"""

from __future__ import annotations

import asyncio
import os
import platform
import socket
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from distributed import Worker, get_worker

import gluon_nst.worker
import gluon_nst.worker.readiness as readiness
from gluon_nst._version import __version__
from gluon_nst.batch.cost import cost_of
from gluon_nst.batch.outcomes import ChunkReport, Kind, Outcome
from gluon_nst.jobs import Job, JobResult, job_id
from gluon_nst.versions import installed_versions

_AT_ONCE = 20  # workers that register at the same time

seconds = 1.0
computing: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


def wait_chunk(jobs: Sequence[Job], settings: Any) -> ChunkReport:
    """Take the time of jobs, one chunk of a worker after the other, and tell that they are done."""
    with computing[get_worker().name]:
        time.sleep(seconds * len(jobs))
    return ChunkReport(tuple(Outcome(job_id(job), Kind.DONE, done(job)) for job in jobs))


def done(job: Job) -> JobResult:
    losses = tuple((term, 0.123456789) for term in ("content", "style", "tv", "total"))
    return JobResult(
        job_id(job), job.content, job.styles, job.output, "succeeded", seconds=seconds, steps=133,
        stop_reason="steps", losses=losses, width=1024, height=768, bytes=400_000, sha256="0" * 64,
        worker=f"{socket.gethostname()}:{os.getpid()}", finished_at=time.time(),
    )  # fmt: skip


def prove(job: Job) -> readiness.Readiness:
    """Say that the worker is ready, and how long its jobs take."""
    return readiness.Readiness(
        socket.gethostname(), os.getpid(), "cpu", "float32", platform.python_version(), __version__,
        installed_versions()["mxnet"], seconds / cost_of(job.recipe, None),
    )  # fmt: skip


async def host(address: str, count: int) -> None:
    """Run workers until their scheduler is gone."""
    scratch = tempfile.mkdtemp()
    workers: list[Worker] = []
    while len(workers) < count:
        more = [
            Worker(
                address, nthreads=2, host="127.0.0.1", name=f"w{len(workers) + each}", memory_limit=0,
                local_directory=scratch, dashboard=False,
            )
            for each in range(min(_AT_ONCE, count - len(workers)))
        ]  # fmt: skip
        await asyncio.gather(*more)
        workers += more
    print("ready", flush=True)
    await asyncio.gather(*(each.finished() for each in workers))


if __name__ == "__main__":
    seconds = float(sys.argv[3])
    gluon_nst.worker.run_chunk = wait_chunk
    readiness.prove_ready = prove
    asyncio.run(host(sys.argv[1], int(sys.argv[2])))
