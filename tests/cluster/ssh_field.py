"""A batch over SSH that runs, its host file, and what becomes of it."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.batch.field import ROOT, environment, wait_until

SCRIPT = ROOT / "cluster" / "ssh" / "over_ssh.py"
COMMAND = f"{sys.executable} -m gluon_nst"
SMALL = ("--format", ".png", "--size", "32", "--steps", "1")


def far_environment(folder: Path, **more: str) -> dict[str, str]:
    """Return what workers need over there: the stand-in engine, and a folder for temporary files, to be looked into."""
    given = environment()
    names = ("DASK_DISTRIBUTED__WORKER__PRELOAD", "PYTHONPATH")
    (folder / "tmp").mkdir(exist_ok=True)
    # Dask gives up a silent connection after 30 s; 11 are the least that it takes.
    timeout = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "11s", "TMPDIR": str(folder / "tmp")}
    return {**{name: given[name] for name in names}, **timeout, **more}


def write_hosts(path: Path, *lines: str) -> Path:
    """Write a host file; lines that say no command get this Python's."""
    ours = f" command={shlex.quote(COMMAND)}"
    path.write_text("".join(f"{line}{'' if 'command=' in line else ours}\n" for line in lines))
    return path


class OverSsh:
    """The script, running; ended with the context, with all that it started here, if it has not ended by then."""

    def __init__(self, hosts: Path, ssh: str, *arguments: object, patience: float = 4) -> None:
        words = [
            sys.executable,
            SCRIPT,
            hosts,
            "--ssh",
            ssh,
            "--patience",
            patience,
            "--",
            *arguments,
            *SMALL,
        ]
        self._log = hosts.with_suffix(".log")
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                list(map(str, words)),
                stdout=log,
                stderr=log,
                env=environment(DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP="11s"),
                start_new_session=True,
            )
        self._started: dict[int, psutil.Process] = {}

    def __enter__(self) -> OverSsh:
        return self

    def __exit__(self, *details: object) -> None:
        self.children()
        for each in (psutil.Process(os.getpid()), *self._started.values()):
            if each.pid != os.getpid():
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
        self.process.kill()
        self.process.wait()

    @property
    def said(self) -> str:
        """What it has said so far."""
        return self._log.read_text()

    def children(self) -> list[psutil.Process]:
        """Return all processes that it has started here and that are there, also after its own end."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for each in psutil.Process(self.process.pid).children(recursive=True):
                self._started[each.pid] = each
        return [each for each in self._started.values() if each.is_running() and each.status() != "zombie"]

    def child(self, command: str) -> psutil.Process:
        """Return the process of a command of gluon-nst."""
        (found,) = [each for each in self.children() if f"gluon_nst {command}" in " ".join(each.cmdline())]
        return found

    def wait_for(self, condition: Callable[[], object], seconds: float = 60) -> None:
        """Wait for a condition while it runs."""
        wait_until(lambda: condition() or self.process.poll() is not None, seconds)
        assert condition(), self.said

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all processes of its group, as a terminal does."""
        os.killpg(self.process.pid, number)

    def end(self, seconds: float = 90) -> int:
        """Wait for its end; return its exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(self.said) from None
