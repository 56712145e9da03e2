"""A field for batches on the stand-in engine: marked photographs, real Dask processes, and how to harm them."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from gluon_nst import read_provenance
from tests.batch.stand_in import MARKS

STAND_IN_MODULE = "tests.batch.stand_in"
STAND_IN = str(Path(__file__).with_name("stand_in.py"))
ROOT = Path(__file__).parent.parent.parent


def write_photo(path: Path, mark: str, number: int, side: int = 32) -> None:
    """Write a small PNG whose first pixel tells the stand-in what to do; every number gives other pixels."""
    pixels = np.random.default_rng(number).integers(0, 200, (side, side, 3), dtype=np.uint8)
    pixels[0, 0] = MARKS[mark]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, compress_level=1)


def write_style(path: Path) -> Path:
    """Write a style picture."""
    write_photo(path, "good", 10**6, side=48)
    return path


def write_field(folder: Path, marks: Iterable[str]) -> tuple[object, ...]:
    """Write a photograph for each mark, named p000, p001, ..., and a style; return the arguments of a batch of them."""
    for number, mark in enumerate(marks):
        write_photo(folder / "photos" / f"p{number:03}.png", mark, number)
    return folder / "photos", "--style", write_style(folder / "style.png"), "-o", folder / "out"


def output_names(numbers: Iterable[int]) -> set[str]:
    """Return the names of the outputs of those photographs of `write_field`."""
    return {f"p{number:03}__style.png" for number in numbers}


def environment(**more: str) -> dict[str, str]:
    """Return an environment in which every Dask worker loads the stand-in."""
    return {
        **os.environ, "DASK_DISTRIBUTED__WORKER__PRELOAD": STAND_IN, "PYTHONPATH": str(ROOT),
        "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "10s", **more,
    }  # fmt: skip


def batch_command(*arguments: object) -> list[str]:
    """Return the command line of a batch of small PNGs; with "--workers", "0" it loads the stand-in itself."""
    words = [*map(str, arguments), "--format", ".png", "--size", "32", "--steps", "1"]
    start = ["-m", "gluon_nst"]
    if "--workers 0 " in " ".join(words):
        start = [
            "-c",
            f"from {STAND_IN_MODULE} import install; install(); import gluon_nst.cli as c; c.main()",
        ]
    return [sys.executable, *start, "batch", *words]


def run_batch(*arguments: object, timeout: float = 300, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a batch to its end."""
    return subprocess.run(
        batch_command(*arguments),
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment(**more),
        check=False,
    )


def workers_below(pid: int) -> list[psutil.Process]:
    """Return the worker processes that a process started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(pid).children(recursive=True)
        return [each for each in children if "spawn_main" in " ".join(each.cmdline())]
    return []


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Running:
    """A batch that runs, in a process group of its own; ended with the context if it has not ended by then."""

    def __init__(self, *arguments: object, **more: str) -> None:
        self.process = subprocess.Popen(
            batch_command(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(**more),
            start_new_session=True,
        )

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *details: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()

    def signal(self, number: signal.Signals, *, group: bool = False) -> None:
        """Send a signal to the command, or to all its processes as a terminal does."""
        (os.killpg if group else os.kill)(self.process.pid, number)

    def children(self) -> list[psutil.Process]:
        """Return the processes below the command."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def workers(self) -> list[psutil.Process]:
        """Return its worker processes."""
        return workers_below(self.process.pid)

    def end(self, timeout: float = 60) -> tuple[int, str]:
        """Wait for its end; return its exit code and what it said on standard error."""
        _, told = self.process.communicate(timeout=timeout)
        return self.process.returncode, told


class Cluster:
    """A Dask scheduler and workers in processes of their own, to be killed one by one."""

    def __init__(self, folder: Path, workers: int = 2, **more: str) -> None:
        self._folder, self._workers, self._env = folder, workers, environment(**more)
        self._processes: list[subprocess.Popen[bytes]] = []
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.address = ""

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(self, *details: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the scheduler on a free port of the loopback interface, and the workers."""
        port = free_port()
        self.address = f"tcp://127.0.0.1:{port}"
        self.scheduler = self._run(
            "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard", "--no-show"
        )
        for number in range(self._workers):
            self.add_worker(number)

    def add_worker(self, number: int, *arguments: str, **more: str) -> subprocess.Popen[bytes]:
        """Start one worker with its nanny, in the cluster's environment and more."""
        return self._run(
            "worker", self.address, "--host", "127.0.0.1", "--nthreads", "2", "--no-dashboard",
            "--local-directory", str(self._folder / f"scratch-{number}"), "--memory-limit", "0", *arguments, **more,
        )  # fmt: skip

    def worker_processes(self) -> list[psutil.Process]:
        """Return the worker processes under the nannies."""
        nannies = [each for each in self._processes if each is not self.scheduler and each.poll() is None]
        return [worker for nanny in nannies for worker in workers_below(nanny.pid)]

    def stop(self) -> None:
        """End all of it at once, workers first."""
        for child in self.worker_processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        for each in self._processes:
            with contextlib.suppress(ProcessLookupError):
                each.send_signal(signal.SIGKILL)
            each.wait()
        self._processes.clear()

    def _run(self, *words: str, **more: str) -> subprocess.Popen[bytes]:
        log = (self._folder / f"{words[0]}.log").open("ab")
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *words],
            env={**self._env, **more},
            stdout=log,
            stderr=log,
            cwd=self._folder,
        )
        log.close()
        self._processes.append(process)
        return process


def records(output: Path) -> int:
    """Return how many records a run's journal has so far."""
    journal = output / ".gluon-nst" / "journal.jsonl"
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def journal_of(output: Path) -> list[dict]:
    """Return the records of a run's journal."""
    return [json.loads(line) for line in (output / ".gluon-nst" / "journal.jsonl").read_text().splitlines()]


def statuses(output: Path) -> Counter:
    """Return how many jobs ended how, by their last records."""
    last = {record["job_id"]: record["status"] for record in journal_of(output)}
    return Counter("done" if status in ("succeeded", "skipped") else status for status in last.values())


def failed_names(output: Path) -> dict[str, str]:
    """Return file name -> status of failed.csv."""
    with (output / ".gluon-nst" / "failed.csv").open() as file:
        return {Path(row["content"]).name: row["status"] for row in csv.DictReader(file)}


def check_outputs(output: Path, expected: set[str]) -> None:
    """Hold every output against what it says of itself; exactly the expected ones must be there."""
    found = {path.name for path in output.rglob("*") if path.is_file() and ".gluon-nst" not in path.parts}
    assert found == expected
    done = {
        Path(each["output"]).name: each
        for each in journal_of(output)
        if each["status"] in ("succeeded", "skipped")
    }
    for name in expected:
        with Image.open(output / name) as image:
            image.load()
        record = read_provenance(output / name)
        assert record["job_id"] == done[name]["job_id"]
        assert record["content"]["name"].startswith(name.partition("__")[0])


def wait_until(condition, seconds: float = 60.0) -> None:
    """Wait for a condition; fail if it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)
