"""One batch at a time in a run directory.

The kernel's file lock ends with the process that holds it, so no stale lock is ever left behind. Where a network
file system keeps such locks to one host, or has none, the holder's heartbeat tells the others: the time of the
lock file, which the holder renews from a thread of its own, whatever it is busy with.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

from gluon_nst.errors import OutputError, RunHeldError

__all__ = ["HEARTBEAT", "RunLock"]

HEARTBEAT = 10.0
"""Seconds between two signs of life."""

# A minute: more than a busy network file system lets others wait for a new time, less than a person waits.
_STALE = 6 * HEARTBEAT


class RunLock:
    """Holds a run directory until it is released.

    Parameters
    ----------
    directory
        The run directory.

    Raises
    ------
    RunHeldError
        If another process holds it; says who.
    OutputError
        If the lock file cannot be written.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "lock"
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise OutputError(f"cannot write the lock {self._path}: {error.strerror}") from error
        try:
            self._refuse_if_held()
            self._sign()
        except BaseException:
            os.close(self._file)
            raise
        self._over = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="run-lock", daemon=True)
        self._heart.start()

    def release(self) -> None:
        """Let others have the run directory."""
        self._over.set()
        self._heart.join()
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, 0)
        os.close(self._file)

    def _beat(self) -> None:
        while not self._over.wait(HEARTBEAT):
            with contextlib.suppress(OSError):
                os.utime(self._file)

    def _refuse_if_held(self) -> None:
        locked = self._lock()
        holder = self._holder()
        # Where the kernel locks, a holder of this host that did not keep us out is dead.
        silent = locked and holder.get("host") == socket.gethostname()
        if holder and not silent and self._age() < _STALE:
            raise self._held(holder, f" If it is gone, its lock ends {_STALE:.0f} seconds after it.")

    def _lock(self) -> bool:
        """Lock the file against other processes of this host; return whether its file system can do that."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self._held(self._holder()) from None
        except OSError:
            return False
        return True

    def _sign(self) -> None:
        holder = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "user": _user(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        }
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, json.dumps(holder).encode(), 0)
        except OSError as error:
            raise OutputError(f"cannot write the lock {self._path}: {error.strerror}") from error

    def _holder(self) -> dict[str, Any]:
        try:
            found = json.loads(os.pread(self._file, 4096, 0))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _age(self) -> float:
        """Return the seconds since the last sign of life, by the file system's own clock."""
        probe = self._path.with_name(f".{os.getpid()}.clock")
        try:
            probe.touch()
            return probe.stat().st_mtime - os.fstat(self._file).st_mtime
        except OSError:
            return 0.0
        finally:
            with contextlib.suppress(OSError):
                probe.unlink()

    def _held(self, holder: dict[str, Any], more: str = "") -> RunHeldError:
        who = "another process"
        if holder:
            who = "process {pid} on {host}, started by {user} at {since}".format_map(
                {key: holder.get(key, "?") for key in ("pid", "host", "user", "since")}
            )
        return RunHeldError(
            f"{self._path.parent} is in use: {who} runs a batch there. Wait for it, stop it, or give another "
            f"output folder.{more}"
        )


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())
