"""`gluon-nst scheduler` and `gluon-nst workers` as they are, to be signaled and killed; the engine is the stand-in."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
from distributed import Client

from tests.batch.field import environment, wait_until, workers_below

__all__ = ["Command", "listening", "scheduler", "workers"]


class Command:
    """A command that runs, in a process group of its own; ended with the context if it has not ended by then."""

    def __init__(self, log: Path, *words: object, **env: str) -> None:
        self._log = log
        command = [sys.executable, "-m", "gluon_nst", *map(str, words)]
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                command, stdout=file, stderr=file, env=environment(**env), start_new_session=True
            )

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *details: object) -> None:
        children = self.children()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        psutil.wait_procs(children, timeout=10)

    def told(self) -> str:
        """Return what it has said so far, on both streams."""
        return self._log.read_text()

    def wait_for(self, text: str, count: int = 1) -> None:
        """Wait until it has said something so many times."""
        wait_until(lambda: self.told().count(text) >= count or self.process.poll() is not None)
        assert self.told().count(text) >= count, self.told()

    def children(self) -> list[psutil.Process]:
        """Return all processes below it."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []

    def workers(self) -> list[psutil.Process]:
        """Return its worker processes."""
        return workers_below(self.process.pid)

    def signal(self, number: signal.Signals, *, group: bool = False) -> None:
        """Send a signal to it, or to all its processes as Slurm does."""
        (os.killpg if group else os.kill)(self.process.pid, number)

    def end(self, timeout: float = 60) -> int:
        """Wait for its end; return its exit code."""
        return self.process.wait(timeout)


def scheduler(folder: Path, *words: object, **env: str) -> Command:
    """Start a scheduler on a free port, which leaves its address in `scheduler.json`."""
    return Command(
        folder / "scheduler.log", "scheduler", "--port", 0, "--scheduler-file", folder / "scheduler.json", *words, **env
    )  # fmt: skip


def address_of(folder: Path) -> str:
    """Return the address of the scheduler of a folder."""
    wait_until((folder / "scheduler.json").exists)
    return json.loads((folder / "scheduler.json").read_text())["address"]


def client_of(folder: Path) -> Client:
    """Return a client of the scheduler of a folder."""
    return Client(address_of(folder))


def workers(folder: Path, *words: object, log: str = "workers.log", **env: str) -> Command:
    """Start workers of the scheduler of a folder."""
    return Command(folder / log, "workers", folder / "scheduler.json", *words, **env)


def listening(*commands: Command) -> set[str]:
    """Return the addresses that commands and all processes below them listen on."""
    processes = [
        each for command in commands for each in (psutil.Process(command.process.pid), *command.children())
    ]
    return {
        connection.laddr.ip
        for process in processes
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
