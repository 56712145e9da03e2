"""What runs on this machine: the scheduler and the batch, as processes that end with the script."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from gluon_nst.errors import ClusterError
from gluon_nst.launch.tls import FOLDER_VARIABLE

__all__ = ["run_scheduler", "start"]

_GLUON_NST = [sys.executable, "-m", "gluon_nst"]

_BEGINNING = (
    60.0  # seconds to begin to listen: it takes one, or some where the disk that Python is on is slow
)
_ENDING = 15.0  # seconds to end: it takes less than one, once the batch is gone
_PR_SET_PDEATHSIG = 1  # of Linux's prctl(2)


@contextlib.asynccontextmanager
async def run_scheduler(options: Sequence[str], file: Path, say: Callable[[str], None]) -> AsyncIterator[str]:
    """Run a scheduler, and give its address.

    Parameters
    ----------
    options
        Of `gluon-nst scheduler`.
    file
        Where it leaves its address.
    say
        Takes what it says.

    Raises
    ------
    ClusterError
        If it does not come up.
    """
    quiet, heard = asyncio.subprocess.DEVNULL, asyncio.subprocess.PIPE
    process = await start("scheduler", *options, "--scheduler-file", str(file), stdout=quiet, stderr=heard)
    listening = asyncio.create_task(_pass_on(process, say))
    try:
        await _wait_for(file, listening)
        yield str(json.loads(file.read_bytes())["address"])
    finally:
        listening.cancel()  # how it ends is no news
        await _end(process)


async def start(
    *arguments: str, stdout: int | None = None, stderr: int | None = None
) -> asyncio.subprocess.Process:
    """Start a command of gluon-nst that a terminal's Ctrl-C does not reach, so that it gets each signal once."""
    environment = {key: value for key, value in os.environ.items() if key != FOLDER_VARIABLE}
    return await asyncio.create_subprocess_exec(
        *_GLUON_NST, *arguments, env=environment, stdout=stdout, stderr=stderr, start_new_session=True,
        preexec_fn=_end_with_us,
    )  # fmt: skip


def _end_with_us() -> None:
    """Have the kernel send SIGTERM to this process when the one that started it is gone, however it went."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


async def _pass_on(process: asyncio.subprocess.Process, say: Callable[[str], None]) -> None:
    assert process.stderr is not None
    async for line in process.stderr:
        say(f"scheduler: {line.decode(errors='replace').rstrip()}")


async def _wait_for(file: Path, listening: asyncio.Task[None]) -> None:
    """Wait until the scheduler listens; it has ended if it closes what it is listened to by."""
    for _ in range(int(_BEGINNING / 0.05)):
        if file.exists():
            return
        if listening.done():
            raise ClusterError("the scheduler ended, see above.")
        await asyncio.sleep(0.05)
    raise ClusterError(f"the scheduler does not listen after {_BEGINNING:.0f} seconds.")


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _ENDING)
    except asyncio.TimeoutError:
        process.kill()
