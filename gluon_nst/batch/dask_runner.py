"""Jobs on Dask workers. The one module that imports distributed.

Only paths, numbers and the recipe go over the wire, never pixels. A few jobs are in flight per worker, so the
scheduler's memory does not grow with the collection.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import dask
from distributed import Client, LocalCluster, as_completed

from gluon_nst.errors import ClusterError
from gluon_nst.jobs import Job, JobResult, job_id
from gluon_nst.machine import cpu_cores, cpu_quota, usable_cores
from gluon_nst.worker import run_chunk

__all__ = ["DaskRunner", "local_client"]

_IN_FLIGHT = 1  # jobs per worker: with a second one, Dask blames both when the first kills the worker

# A job that kills its worker must not be tried on every other one, nor take its neighbors with it.
_SETTINGS = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.work-stealing": False,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.diagnostics.nvml": False,
}


@contextlib.contextmanager
def local_client(workers: int) -> Iterator[Client]:
    """Start worker processes on this machine, that share its cores, and yield a client of them.

    Everything is bound to the loopback interface, and is gone when the context ends.
    """
    cores = usable_cores(cpu_cores(), cpu_quota())
    # Dask would give every worker one thread for numerical libraries.
    threads = {"OMP_NUM_THREADS": str(max(1, cores // workers)), "OPENBLAS_NUM_THREADS": "1"}
    with (
        dask.config.set(_SETTINGS),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            silence_logs=logging.CRITICAL,  # what fails is said once, in the job's result
            env=threads,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


class DaskRunner:
    """Runs jobs on the workers of a Dask client, which stays the caller's to close."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def run(self, jobs: Iterable[Job]) -> Iterator[JobResult]:
        """Yield one result for every job, in order of completion.

        Raises
        ------
        ClusterError
            If the scheduler is lost, or there is no worker.
        """
        waiting = iter(jobs)
        running: dict[Any, Job] = {}
        for job in islice(waiting, self._window()):
            self._submit(job, running)
        completed = as_completed(list(running))
        for future in completed:
            yield _result(future, running.pop(future))
            for job in islice(waiting, 1):
                completed.add(self._submit(job, running))

    def _window(self) -> int:
        workers = len(self._client.scheduler_info(n_workers=-1)["workers"])
        if not workers:
            raise ClusterError("the Dask scheduler has no worker; start one, or leave out --scheduler.")
        return _IN_FLIGHT * workers

    def _submit(self, job: Job, running: dict[Any, Job]) -> Any:
        future = self._client.submit(run_chunk, [job], pure=False, retries=0)
        running[future] = job
        return future


def _result(future: Any, job: Job) -> JobResult:
    """Return the job's result, whether its worker lived to give it or not."""
    if future.status == "finished":
        result: JobResult = future.result()[0]
        return result
    if future.status == "cancelled":
        raise ClusterError(
            "the Dask scheduler is lost, and with it the jobs in flight. Run the same command again."
        )
    error = future.exception()
    return JobResult(
        job_id(job), job.content, job.styles, job.output, "failed", error_type=type(error).__name__,
        error=f"the worker process that ran this job died ({error})",
    )  # fmt: skip
