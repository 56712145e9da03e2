#!/usr/bin/env python
"""A batch of gluon-nst on jobs that come and go: one job of the queue for each worker, replaced when it is lost.

    python cluster/slurm/elastic.py --jobs 8 --partition gpu -- photos/ --style painting.jpg -o stylized/

What follows "--" goes to `gluon-nst batch`, which runs here, as does the scheduler: on a login node, or in a small job
of its own. For queues in which one GPU is free now and then; gluon_nst.sbatch is simpler where all start together.

Run on a real Slurm 22.05. --system pbs was run through Slurm's own qsub only, not on OpenPBS or PBS Pro; of
--system lsf nothing but the job script has been seen, as there is no LSF that could be run.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
from dask_jobqueue import LSFCluster, PBSCluster, SLURMCluster
from dask_jobqueue.lsf import LSFJob
from dask_jobqueue.pbs import PBSJob
from dask_jobqueue.slurm import SLURMJob

from gluon_nst.launch.certificates import make_certificates
from gluon_nst.launch.security import security_of
from gluon_nst.launch.settings import SETTINGS, quieten
from gluon_nst.launch.tls import Tls

NOTICE = 180  # seconds between the notice and the end of a job's time; Slurm's may come 60 later
GRACE = 60  # of these for the picture in hand
DAYS = 365  # that the certificates hold: longer than any run


@dataclasses.dataclass(frozen=True)
class System:
    """A queueing system: Dask's classes for it, and what it calls a GPU and a notice before the end."""

    cluster: type
    job: type
    gpu: tuple[str, ...]
    notice: tuple[str, ...]


SYSTEMS = {
    "slurm": System(SLURMCluster, SLURMJob, ("--gres=gpu:1",), (f"--signal=B:USR2@{NOTICE}",)),
    "pbs": System(PBSCluster, PBSJob, (), ()),  # which gives no notice: see `_own_notice`
    "lsf": System(LSFCluster, LSFJob, ('-gpu "num=1"',), (f"-wa USR2 -wt {NOTICE // 60}",)),
}


def main() -> int:
    """Run a batch; return its exit code."""
    options = _parser().parse_args()
    quieten()
    if options.print:
        job = job_class(options, Path("CERTIFICATES"))("tls://SCHEDULER:PORT", "NAME", **job_options(options))
        sys.stdout.write(job.job_script())
        return 0
    with dask.config.set(SETTINGS), _certificates(options.jobs_dir) as tls, _cluster(options, tls) as cluster:
        return _run_batch(cluster.scheduler_address, tls, options.batch)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--system", choices=SYSTEMS, default="slurm", help="queueing system")
    add("--jobs", type=int, default=2, metavar="N", help="workers, each in a job of its own")
    add("--partition", "--queue", metavar="NAME", help="where to submit")
    add("--account", "--project", metavar="NAME", help="who pays")
    add(
        "--walltime",
        default="04:00:00",
        metavar="H:M:S",
        type=_walltime,
        help="of each job; another follows it",
    )
    add("--cores", type=int, default=4, metavar="N", help="of each job")
    add("--memory", default="8GiB", metavar="SIZE", help="of each job")
    add("--no-gpu", action="store_true", help="ask for no GPU")
    add("--resources", metavar="TEXT", help="PBS: the whole of -l, as select=1:ncpus=4:ngpus=1:mem=8gb")
    add("--directive", action="append", default=[], metavar="TEXT", help="a further line of the job script")
    add(
        "--prologue",
        action="append",
        default=[],
        metavar="COMMAND",
        help="what a job does first, as module load",
    )
    add("--jobs-dir", type=Path, default=Path(".gluon-nst-jobs"), metavar="DIR",
        help="logs and certificates, on a file system that all hosts share")  # fmt: skip
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--interface", metavar="IF", help="network of scheduler and workers, as ib0")
    where.add_argument("--host", metavar="ADDR", help="address of this host that the workers reach")
    add("--print", action="store_true", help="show the job script, and submit nothing")
    add("batch", nargs="+", metavar="...", help="arguments of gluon-nst batch, after --")
    return parser


@contextlib.contextmanager
def _certificates(folder: Path) -> Iterator[Path]:
    """Yield a folder of certificates for this run; without them every user of the network could run code as you."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tls-", dir=folder.absolute()) as private:
        make_certificates(Path(private) / "tls", DAYS)
        yield Path(private) / "tls"


@contextlib.contextmanager
def _cluster(options: argparse.Namespace, tls: Path) -> Iterator[Any]:
    """Start the scheduler here, and keep as many jobs as were asked for until the context ends."""
    where = {key: value for key in ("host", "interface") if (value := getattr(options, key))}
    cluster = SYSTEMS[options.system].cluster(
        job_cls=job_class(options, tls),
        security=security_of(Tls.in_folder(tls)),
        scheduler_options={"dashboard_address": "127.0.0.1:0", **where},
        silence_logs="critical",
        **job_options(options),
    )
    with cluster:
        # Not scale(), which never replaces a job that was lost.
        cluster.adapt(minimum_jobs=options.jobs, maximum_jobs=options.jobs, interval="2s")
        yield cluster


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


def _walltime(text: str) -> str:
    if not re.fullmatch(r"\d+:[0-5]\d:[0-5]\d", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write hours, minutes, seconds, as 04:00:00")
    return text


def _seconds(walltime: str) -> int:
    hours, minutes, seconds = map(int, walltime.split(":"))
    return (60 * hours + minutes) * 60 + seconds


def _run_batch(scheduler: str, tls: Path, arguments: list[str]) -> int:
    """Run the batch as a child that gets the signals that this process gets; return its exit code."""
    command = [sys.executable, "-m", "gluon_nst", "batch", "--wait-for-workers", "86400", *arguments]
    # In a session of its own, or a terminal's Ctrl-C would reach it twice, and end it at once.
    child = subprocess.Popen(
        [*command, "--scheduler", scheduler, "--tls-dir", str(tls)], start_new_session=True
    )
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
        signal.signal(each, lambda number, frame: child.send_signal(number))
    return child.wait()


if __name__ == "__main__":
    sys.exit(main())
