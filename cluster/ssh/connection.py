"""One ssh to one host, kept up: the workers over there, from their start to their end."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from host_file import Host

__all__ = ["Connection", "Terms"]

_FAR_SIDE = Path(__file__).with_name("far_side.sh")

_SSH_FAILED = 255  # ssh's own exit code; any other is the command's
_USAGE, _NO_WORKER_WORKS = 2, 5  # of `gluon-nst workers`
_NOT_FOUND = (126, 127)  # a shell's codes for a command that is not there or cannot be run
# Trying again would not help, and would look like an attack.
_HOPELESS = (
    "Permission denied",
    "Host key verification failed",
    "Could not resolve hostname",
    "Bad owner or",
)

_LONGEST_PAUSE = 300.0  # seconds
_CLOSING = 40.0  # seconds for workers to end, beyond their grace: their last results are fetched for 10, processes end
_HELD = 60.0  # seconds; a connection that lasted so long is counted as a success


@dataclasses.dataclass(frozen=True)
class Terms:
    """What all connections of a run have in common.

    Attributes
    ----------
    ssh
        The command, with options of the user's.
    address
        Of the scheduler.
    certificates
        Files for the other side, which keeps them in a folder of its own while it runs.
    patience
        Seconds that a connection may be silent before it counts as lost, on both sides.
    tries
        How often in succession a host is tried.
    """

    ssh: Sequence[str]
    address: str
    certificates: Sequence[Path]
    patience: float
    tries: int


class Connection:
    """Keeps the workers of one host up, through several ssh processes if it must.

    Parameters
    ----------
    host
        A line of the host file.
    terms
        What all have in common.
    say
        Takes a line for the user.
    """

    def __init__(self, host: Host, terms: Terms, say: Callable[[str], None]) -> None:
        self._host, self._terms, self._say = host, terms, say
        self._over = asyncio.Event()
        self._last_said = ""

    async def keep(self) -> None:
        """Have workers there until `close` is called, they end in order, or the host is given up."""
        failed = 0
        for number in itertools.count(1):
            began = time.monotonic()
            code = await self._run_once(number)
            failed = 1 if time.monotonic() - began > _HELD else failed + 1
            if self._over.is_set() or not self._worth_another_try(code, failed):
                return
            pause = min(_LONGEST_PAUSE, self._terms.patience * 2 ** (failed - 1))
            self._tell(f"{self._what_happened(code)}; trying again in {pause:.0f} s")
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._over.wait(), pause)
                return

    def close(self) -> None:
        """Tell the workers there to end; `keep` returns once they have."""
        self._over.set()

    def _tell(self, line: str) -> None:
        self._say(f"{self._host.name}: {line}")

    # ---- what an end means

    def _worth_another_try(self, code: int, failed: int) -> bool:
        final = self._final_word(code)
        if final is None and failed >= self._terms.tries:
            final = f"{self._what_happened(code)}; given up after {failed} tries"
        if final is not None:
            self._tell(final)
        return final is None

    def _final_word(self, code: int) -> str | None:
        """Return why this end is the last, None if it need not be."""
        if code == 0:
            return "its workers have left"
        if code == _USAGE:
            return "its line of the host file is not understood there, see above; the others go on"
        if code == _NO_WORKER_WORKS:
            return "no worker can work there, see above; the others go on"
        if code in _NOT_FOUND:
            program = self._host.settings.get("command", "gluon-nst")
            return f"{program} is not found there; write command=/its/path in the host file"
        if code == _SSH_FAILED and any(word in self._last_said for word in _HOPELESS):
            return f"cannot be reached: {self._last_said}"
        return None

    def _what_happened(self, code: int) -> str:
        if code == _SSH_FAILED:
            return f"no connection ({self._last_said or 'ssh says nothing'})"
        return f"the workers ended with exit code {code}"

    # ---- one ssh

    async def _run_once(self, number: int) -> int:
        ssh = await asyncio.create_subprocess_exec(
            *self._command(number),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in the terminal is for the batch to answer
        )
        assert ssh.stdin is not None and ssh.stdout is not None
        feeding = asyncio.create_task(self._feed(ssh.stdin))
        try:
            await self._pass_on(ssh.stdout)
            return await ssh.wait()
        finally:
            feeding.cancel()
            with contextlib.suppress(ProcessLookupError):
                ssh.kill()

    def _command(self, number: int) -> list[str]:
        patience = self._terms.patience
        far = ["sh", "-c", f'eval "$(head -c {_FAR_SIDE.stat().st_size})"', "gluon-nst", f"{patience:g}"]
        return [
            *self._terms.ssh, *self._host.ssh_options(), "-T",
            "-o", "BatchMode=yes",  # no password can be asked for: say so at once
            "-o", f"ConnectTimeout={max(1, round(patience))}",
            "-o", f"ServerAliveInterval={max(1, round(patience / 4))}", "-o", "ServerAliveCountMax=4",
            self._host.name, shlex.join([*far, *self._host.command(self._terms.address, number)]),
        ]  # fmt: skip

    async def _feed(self, stdin: asyncio.StreamWriter) -> None:
        """Send what the far side needs, then signs of life; closing is what ends it."""
        with contextlib.suppress(OSError):
            stdin.write(_FAR_SIDE.read_bytes())
            for file in self._terms.certificates:
                stdin.write(f"file {file.name}\n".encode() + file.read_bytes().rstrip(b"\n") + b"\n")
            stdin.write(b".\n")
            while not self._over.is_set():
                stdin.write(b".")
                await stdin.drain()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._over.wait(), self._terms.patience / 4)
            stdin.close()

    async def _pass_on(self, stdout: asyncio.StreamReader) -> None:
        """Say what is said over there, until its end; not for longer than the workers may take to close."""
        reading = asyncio.create_task(self._read(stdout))
        over = asyncio.create_task(self._over.wait())
        await asyncio.wait((reading, over), return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        patience = self._host.grace + _CLOSING
        done, _ = await asyncio.wait((reading,), timeout=patience)
        if not done:
            reading.cancel()
            self._tell(f"its workers have not ended within {patience:.0f} s: they are left to themselves")

    async def _read(self, stdout: asyncio.StreamReader) -> None:
        async for line in stdout:
            self._last_said = line.decode(errors="replace").rstrip()
            if not self._over.is_set():  # how they end when all is done is no news
                self._tell(self._last_said)
