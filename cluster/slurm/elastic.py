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
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
from dask.utils import parse_timedelta
from queues import SYSTEMS, in_queue, job_class, job_options  # beside this file

from gluon_nst.launch.certificates import make_certificates
from gluon_nst.launch.security import security_of
from gluon_nst.launch.settings import SETTINGS, quieten
from gluon_nst.launch.tls import Tls

DAYS = 365  # that the certificates hold: longer than any run
QUEUED = "86400"  # seconds that the batch waits while there is no worker: jobs may queue for a day
LOOK_AGAIN = 5.0  # seconds between two looks at the jobs
TOLD = -1.0  # in place of the time since which a job has been gone
EXIT_STRANDED = 5  # as `gluon-nst batch`


def main() -> int:
    """Run a batch; return its exit code."""
    options = _parser().parse_args()
    quieten()
    if options.print:
        job = job_class(options, Path("CERTIFICATES"))("tls://SCHEDULER:PORT", "NAME", **job_options(options))
        sys.stdout.write(job.job_script())
        return 0
    with (
        dask.config.set(SETTINGS),
        _certificates(options.jobs_dir) as tls,
        _cluster(options, tls) as cluster,
        _batch(cluster.scheduler_address, tls, options.batch) as child,
    ):
        return _attend(child, cluster, SYSTEMS[options.system].ask)


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
        "--walltime", type=_walltime, default="04:00:00", metavar="H:M:S", help="of a job; another follows it"
    )
    add("--cores", type=int, default=4, metavar="N", help="of each job")
    add("--memory", default="8GiB", metavar="SIZE", help="of each job")
    add("--no-gpu", action="store_true", help="ask for no GPU")
    add("--resources", metavar="TEXT", help="PBS: the whole of -l, as select=1:ncpus=4:ngpus=1:mem=8gb")
    add("--directive", action="append", default=[], metavar="TEXT", help="a further line of the job script")
    add("--prologue", action="append", default=[], metavar="COMMAND", help="what a job does first")
    add("--jobs-dir", type=Path, default=Path(".gluon-nst-jobs"), metavar="DIR",
        help="logs and certificates, on a file system that all hosts share")  # fmt: skip
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--interface", metavar="IF", help="network of scheduler and workers, as ib0")
    where.add_argument("--host", metavar="ADDR", help="address of this host that the workers reach")
    add("--print", action="store_true", help="show the job script, and submit nothing")
    add("batch", nargs="+", metavar="...", help="arguments of gluon-nst batch, after --")
    return parser


def _walltime(text: str) -> str:
    if not re.fullmatch(r"\d+:[0-5]\d:[0-5]\d", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write hours, minutes, seconds, as 04:00:00")
    return text


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


@contextlib.contextmanager
def _batch(scheduler: str, tls: Path, arguments: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run the batch as a child that gets the signals that this process gets."""
    command = [sys.executable, "-m", "gluon_nst", "batch", "--wait-for-workers", QUEUED, *arguments]
    # In a session of its own, or a terminal's Ctrl-C would reach it twice, and end it at once.
    child = subprocess.Popen(
        [*command, "--scheduler", scheduler, "--tls-dir", str(tls)], start_new_session=True
    )
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
        signal.signal(each, lambda number, frame: child.send_signal(number))
    with child:
        yield child


def _attend(child: subprocess.Popen[bytes], cluster: Any, ask: str) -> int:
    """Wait for the batch; return its exit code, or 5 once no job is left that could bring a worker."""
    barren: dict[str, float] = {}
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return child.wait(LOOK_AGAIN)
        jobs = {name: job.job_id for name, job in dict(cluster.workers).items() if job.job_id}
        if _look_at(jobs, _names(cluster), barren, ask):
            say("no job is left that could bring a worker")
            child.terminate()
            child.wait()
            return EXIT_STRANDED


def _look_at(jobs: dict[str, str], there: set[str], barren: dict[str, float], ask: str) -> bool:
    """Tell of jobs that ended before their workers came; return whether there are no others.

    Dask replaces a job whose worker was lost, after `lost-worker-timeout`. It waits for ever for a worker that never
    was: to submit such a job again and again would burn a queue's patience.
    """
    patience = 2 * parse_timedelta(dask.config.get("distributed.deploy.lost-worker-timeout"))
    now = time.monotonic()
    for name, job in jobs.items():
        if name in there or in_queue(ask, job):
            barren.pop(job, None)
        elif barren.setdefault(job, now) != TOLD and now - barren[job] > patience:
            say(f"job {job} ended before its worker came, and is not replaced; its log says why")
            barren[job] = TOLD
    return bool(jobs) and all(barren.get(job) == TOLD for job in jobs.values())


def _names(cluster: Any) -> set[str]:
    return {each["name"] for each in cluster.scheduler_info["workers"].values()}


def say(what: str) -> None:
    """Tell the person who waits."""
    sys.stderr.write(f"elastic.py: {what}\n")


if __name__ == "__main__":
    sys.exit(main())
