"""How far one scheduler, one client and one run directory go: measured with stand-in workers, to be extrapolated.

python -m benchmarks.scale dispatch    seconds of the dispatcher for one report, with up to 10,000 simulated workers
python -m benchmarks.scale cluster     a real scheduler and client with hundreds of workers whose jobs only wait
python -m benchmarks.scale journal     bytes and seconds a job of the journal, written and read again by a second start
python -m benchmarks.scale plan        seconds a job until the first one starts, and what a shard of ten saves
python -m benchmarks.scale files       seconds a file of writing and looking, as a folder grows
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil

from benchmarks.batch_speed import SHORT_LOG
from benchmarks.waiting_workers import done
from gluon_nst.batch.collect import BatchRequest, collect_jobs
from gluon_nst.batch.dispatch import Dispatcher
from gluon_nst.batch.journal import Journal
from gluon_nst.batch.last_records import iterate_records
from gluon_nst.batch.orders import Send
from gluon_nst.batch.outcomes import Kind, Outcome
from gluon_nst.batch.plan import Plan
from gluon_nst.batch.standing import Task
from gluon_nst.jobs import Job, result_record
from gluon_nst.recipe_files import load_recipe
from gluon_nst.storage import write_bytes
from tests.batch.field import ROOT, Cluster, journal_of, write_style

RECIPE = load_recipe()
JOB_SECONDS = 60.0  # of a photograph at 1024 px on a CPU; the more, the fewer reports a worker sends


# ---- the dispatcher alone


def dispatch(counts: Sequence[int], rounds: int = 20) -> None:
    """Time reports and new orders; several that came during one round of the client's loop are taken together."""
    print("| workers | reports a round | ms a round | microseconds a report |\n|---|---|---|---|")
    for count in counts:
        for together in (1, 10, 100):
            seconds = dispatch_round(count, together, rounds)
            print(
                f"| {count:,} | {together} | {1e3 * seconds:.2f} | {1e6 * seconds / together:.0f} |",
                flush=True,
            )


def dispatch_round(count: int, together: int, rounds: int) -> float:
    """Return the median seconds of one round with that many reports."""
    tasks = (Task(f"t{number}", "group", 1.0, None) for number in itertools.count())
    dispatcher = Dispatcher(tasks, total=10**7)
    for number in range(count):
        dispatcher.join(f"w{number}", 0.0, pace=JOB_SECONDS)
    held = {each.worker: each for each in dispatcher.actions(0.0) if isinstance(each, Send)}
    choose, seconds = random.Random(0), []
    for turn in range(1, rounds + 1):
        now = turn * together * JOB_SECONDS / count  # as fast as that many workers report
        chosen = choose.sample(sorted(held), together)
        began = time.perf_counter()
        for worker in chosen:
            order = held[worker]
            outcomes = [Outcome(task.key, Kind.DONE) for task in order.tasks]
            dispatcher.report(worker, order.number, outcomes, now)
        orders = dispatcher.actions(now)
        dispatcher.verdicts()
        assert not dispatcher.finished and dispatcher.usable
        seconds.append(time.perf_counter() - began)
        held |= {each.worker: each for each in orders if isinstance(each, Send)}
    return sorted(seconds)[len(seconds) // 2]


# ---- a real scheduler and client

RATE = 50.0  # jobs a second that all workers do together: what two cores bear beside the stand-ins
JOBS_EACH = 6
IDLE_SECONDS = 10.0
# What a worker does for itself a hundred times a second would be all that hundreds in one process do.
QUIET = {
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    "DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL": "10s",
}


def cluster(counts: Sequence[int]) -> None:
    """Watch the processor time and the memory of a scheduler and of `gluon-nst batch`."""
    print(
        "| workers | s until they have joined | scheduler: idle, ms of CPU a worker and second | ms of CPU a job | MB "
        "| batch: s until all work | ms of CPU a job | MB | of the ideal time |\n|---|---|---|---|---|---|---|---|---|"
    )
    for count in counts:
        with tempfile.TemporaryDirectory() as name, Cluster(Path(name), workers=0, **SHORT_LOG) as field:
            print(cluster_row(Path(name), field, count), flush=True)


def cluster_row(folder: Path, field: Cluster, count: int) -> str:
    assert field.scheduler is not None
    seconds, jobs = count / RATE, count * JOBS_EACH
    began = time.perf_counter()
    with waiting_workers(field.address, count, seconds):
        joined = time.perf_counter() - began
        idle = 1e3 * busy_share(field.scheduler.pid, IDLE_SECONDS) / count
        scheduler, started = psutil.Process(field.scheduler.pid), time.time()
        before = cpu_seconds(scheduler)
        client = run_waiting_batch(folder, field.address, jobs)
        records = journal_of(folder / "out")
        used = cpu_seconds(scheduler) - before
        memory = scheduler.memory_info().rss / 1e6
    first = sorted(record["finished_at"] for record in records)
    spread = first[count - 1] - started - seconds
    ideal = seconds * JOBS_EACH / (first[-1] - first[0] + seconds)
    return (
        f"| {count} | {joined:.1f} | {idle:.2f} | {1e3 * used / jobs:.1f} | {memory:.0f} "
        f"| {spread:.1f} | {1e3 * client[0] / jobs:.1f} | {client[1]:.0f} | {ideal:.0%} |"
    )


@contextlib.contextmanager
def waiting_workers(address: str, count: int, seconds: float) -> Iterator[None]:
    """Run stand-in workers until the context ends."""
    command = [sys.executable, "-m", "benchmarks.waiting_workers", address, str(count), str(seconds)]
    environment = {**os.environ, **QUIET}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield
        finally:
            process.kill()


def run_waiting_batch(folder: Path, address: str, jobs: int) -> tuple[float, float]:
    """Run a batch of pictures that nobody reads; return its processor seconds and its largest memory in MB."""
    write_manifest(folder, jobs)
    words = ["batch", "--manifest", "jobs.jsonl", "--style", "style.png", "-o", "out", "--scheduler", address]
    with subprocess.Popen(
        [sys.executable, "-m", "gluon_nst", *words, "-q"], cwd=folder, stdout=subprocess.DEVNULL
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e3


def write_manifest(folder: Path, jobs: int) -> None:
    """Write a manifest of photographs that are not there, and a style."""
    write_style(folder / "style.png")
    with (folder / "jobs.jsonl").open("w") as file:
        file.writelines(f'{{"content": "p{number}.jpg"}}\n' for number in range(jobs))


def busy_share(pid: int, seconds: float) -> float:
    """Watch a process for so many seconds; return the processor seconds that it takes in one."""
    process = psutil.Process(pid)
    before = cpu_seconds(process)
    time.sleep(seconds)
    return (cpu_seconds(process) - before) / seconds


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


# ---- the journal


def journal(counts: Sequence[int]) -> None:
    """Write records as a batch does, then read them as a second start does."""
    print(
        "| jobs | bytes a job | written: jobs a second, 1 a wait | 100 a wait | read: microseconds a job |\n"
        "|---|---|---|---|---|"
    )
    for count in counts:
        with tempfile.TemporaryDirectory() as name:
            print(journal_row(Path(name), count), flush=True)


def journal_row(run: Path, count: int) -> str:
    rates = []
    with Journal(run / "journal.jsonl") as file:
        for group in (1, 100):
            share = min(count, 2000) if group == 1 else count
            began = time.perf_counter()
            for start in range(0, share, group):
                file.append([record(number) for number in range(start, min(share, start + group))])
            rates.append(share / (time.perf_counter() - began))
    size = (run / "journal.jsonl").stat().st_size
    began = time.perf_counter()
    found = sum(1 for _ in iterate_records(run))
    seconds = time.perf_counter() - began
    return (
        f"| {count:,} | {size / found:.0f} | {rates[0]:.0f} | {rates[1]:.0f} | {1e6 * seconds / found:.0f} |"
    )


def record(number: int) -> dict[str, object]:
    content, output = f"/shared/photographs/{number:08}.jpg", f"/shared/stylized/{number:08}__waves.jpg"
    job = Job(content, ("/shared/styles/waves.jpg",), output, RECIPE)
    return result_record(done(job))


# ---- the plan, and the files


def plan(counts: Sequence[int]) -> None:
    """Plan manifests of photographs that are not there, whole and one of ten shards of each."""
    print("| rows | shard | s | microseconds a row |\n|---|---|---|---|")
    for count in counts:
        with tempfile.TemporaryDirectory() as name:
            write_manifest(Path(name), count)
            for shard in (None, (1, 10)):
                seconds = plan_seconds(Path(name), shard)
                part = "1 of 10" if shard else "all"
                print(f"| {count:,} | {part} | {seconds:.1f} | {1e6 * seconds / count:.0f} |", flush=True)


def plan_seconds(folder: Path, shard: tuple[int, int] | None) -> float:
    request = BatchRequest(
        (),
        (str(folder / "style.png"),),
        str(folder / "out"),
        RECIPE,
        manifest=str(folder / "jobs.jsonl"),
        shard=shard,
    )
    began = time.perf_counter()
    with Plan() as made:
        made.add(collect_jobs(request))
    return time.perf_counter() - began


def files(counts: Sequence[int]) -> None:
    """Write outputs as a worker does, durably, and look at each as a second start does."""
    print("| files in one folder | written: ms a file | looked at: microseconds a file |\n|---|---|---|")
    for count in counts:
        with tempfile.TemporaryDirectory() as name:
            began = time.perf_counter()
            for number in range(count):
                write_bytes(Path(name, f"{number:08}__waves.jpg"), b"x")
            written = time.perf_counter() - began
            began = time.perf_counter()
            found = sum(1 for each in os.scandir(name) if each.stat().st_size)
            looked = time.perf_counter() - began
            print(f"| {found:,} | {1e3 * written / count:.2f} | {1e6 * looked / count:.1f} |", flush=True)


PARTS: dict[str, tuple[Callable[[Sequence[int]], None], list[int]]] = {
    "dispatch": (dispatch, [100, 1_000, 10_000]),
    "cluster": (cluster, [50, 100, 200, 400]),
    "journal": (journal, [100_000]),
    "plan": (plan, [100_000]),
    "files": (files, [1_000, 10_000, 100_000]),
}


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("counts", type=int, nargs="*")
    given = parser.parse_args(words)
    measure, usual = PARTS[given.part]
    measure(given.counts or usual)


if __name__ == "__main__":
    main()
