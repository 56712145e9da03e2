"""Slurm, PBS and LSF: what a job of each looks like, by dask-jobqueue's classes, and whether it is still there."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from dask_jobqueue import LSFCluster, PBSCluster, SLURMCluster
from dask_jobqueue.lsf import LSFJob
from dask_jobqueue.pbs import PBSJob
from dask_jobqueue.slurm import SLURMJob

__all__ = ["SYSTEMS", "System", "in_queue", "job_class", "job_options"]

NOTICE = 180  # seconds between the notice and the end of a job's time; Slurm's may come 60 later
GRACE = 60  # of these for the picture in hand
OVER = {
    "DONE", "EXIT", "COMPLETED", "COMPLETING", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class System:
    """A queueing system: Dask's classes for it, how to ask for a GPU, for a notice before the end, and about a job."""

    cluster: type
    job: type
    gpu: tuple[str, ...]
    notice: tuple[str, ...]
    ask: str


# A job that Slurm put back into the queue would come in the way of the one that Dask submits in its place.
SYSTEMS = {
    "slurm": System(
        SLURMCluster,
        SLURMJob,
        ("--gres=gpu:1",),
        (f"--signal=B:USR2@{NOTICE}", "--no-requeue"),
        "squeue -h -o %T -j",
    ),
    "pbs": System(PBSCluster, PBSJob, (), (), "qstat"),  # which gives no notice: see `_own_notice`
    "lsf": System(
        LSFCluster, LSFJob, ('-gpu "num=1"',), (f"-wa USR2 -wt {NOTICE // 60}",), "bjobs -noheader -o stat"
    ),
}


def job_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return what Dask's job classes are told."""
    system = SYSTEMS[options.system]
    gpu = () if options.no_gpu else system.gpu
    given: dict[str, Any] = {
        "cores": options.cores,
        "processes": 1,
        "memory": options.memory,
        "queue": options.partition,
        "project" if options.system == "lsf" else "account": options.account,
        # LSF counts no seconds.
        "walltime": options.walltime.rpartition(":")[0] if options.system == "lsf" else options.walltime,
        "job_name": "gluon-nst",
        "log_directory": str(options.jobs_dir.absolute()),
        "job_extra_directives": [*gpu, *system.notice, *options.directive],
        "job_script_prologue": options.prologue,
    }
    if options.system == "pbs":
        given["resource_spec"] = options.resources or _pbs_resources(options)
    return given


def _pbs_resources(options: argparse.Namespace) -> str:
    gpu = "" if options.no_gpu else ":ngpus=1"
    return f"select=1:ncpus={options.cores}{gpu}:mem={options.memory.lower().replace('i', '')}"


def job_class(options: argparse.Namespace, tls: Path) -> type:
    """Return Dask's class for a job, changed to run `gluon-nst workers` in place of Dask's own worker.

    That proves its worker ready, and lets it finish the picture in hand when the job is to end. `exec` puts it in the
    place of the job's shell, to which alone the notice is sent, and which would die of it.
    """
    interface = ["--interface", options.interface] if options.interface else []
    notice = _own_notice(options.walltime) if options.system == "pbs" else []

    class LauncherJob(SYSTEMS[options.system].job):  # type: ignore[misc]
        def __init__(self, scheduler: str | None = None, name: str | None = None, **given: Any) -> None:
            super().__init__(scheduler, name, **given)
            words = [
                *notice, sys.executable, "-m", "gluon_nst", "workers", str(scheduler), "--name", str(name),
                "--grace", str(GRACE), "--tls-dir", str(tls), *interface,
            ]  # fmt: skip
            self._command_template = f"exec {shlex.join(words)}"

    return LauncherJob


def _own_notice(walltime: str) -> list[str]:
    """Return the command that gives notice before the end: PBS gives none."""
    return ["timeout", "--signal=USR2", str(max(1, _seconds(walltime) - NOTICE))]


def _seconds(walltime: str) -> int:
    hours, minutes, seconds = map(int, walltime.split(":"))
    return (60 * hours + minutes) * 60 + seconds


def in_queue(ask: str, job: str) -> bool:
    """Return whether a job waits or runs; queueing systems forget those that ended, at once or after a while."""
    done = subprocess.run([*ask.split(), job], capture_output=True, text=True, check=False)
    return done.returncode == 0 and bool(set(done.stdout.split()) - OVER)
