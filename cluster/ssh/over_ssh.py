"""Run a batch on the machines of a host file: a scheduler here, workers over ssh there, all ended with the batch.

    python cluster/ssh/over_ssh.py hosts.txt -- photos/ --style painting.jpg -o stylized/

Beside this page of help there is a README.md. The Python that runs this must have gluon_nst installed.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import click
from connection import Connection, Terms
from host_file import Host, read_hosts
from near_side import run_scheduler, start
from reaching import address_for, all_on_loopback

from gluon_nst.errors import GluonNSTError, UsageError
from gluon_nst.launch.certificates import make_certificates

# SIGHUP is what a terminal sends that is closed: to stop in order is better than to be lost.
_SIGNALS = {
    signal.SIGINT: signal.SIGINT,
    signal.SIGTERM: signal.SIGTERM,
    signal.SIGUSR2: signal.SIGUSR2,
    signal.SIGHUP: signal.SIGTERM,
}
_CERTIFICATE_DAYS = 60  # longer than any one batch; they are removed with it

_EXIT_USAGE, _EXIT_STRANDED, _EXIT_STOPPED = 2, 5, 75  # as the batch has them


def _say(line: str) -> None:
    click.echo(line, err=True)


@click.command()
@click.argument("host_file", type=click.Path(path_type=Path), metavar="HOSTFILE")
@click.argument("batch", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- BATCH...")
@click.option(
    "--host", metavar="ADDR", help="Address of this machine that all hosts reach.  [default: by the route]"
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="N",
    help="Port of the scheduler, where a firewall asks for one.  [default: a free one]",
)
@click.option(
    "--insecure", is_flag=True, help="No TLS: whoever reaches the port can run commands on all machines."
)
@click.option(
    "--ssh", default="ssh", show_default=True, metavar="COMMAND", help="With options, as in 'ssh -F FILE'."
)
@click.option(
    "--patience",
    type=click.FloatRange(1),
    default=20.0,
    show_default=True,
    metavar="SECONDS",
    # Under the 30 s after which Dask gives up a silent connection (distributed.comm.timeouts.tcp): so workers that
    # merely lost the scheduler are not taken for ones that left in order.
    help="How long a connection may be silent before it is made anew.",
)
@click.option(
    "--tries",
    type=click.IntRange(1),
    default=6,
    show_default=True,
    metavar="N",
    # With pauses that double from 20 s on: ten minutes, in which a machine can be started again.
    help="How often a host that cannot be reached is tried.",
)
def main(host_file: Path, batch: tuple[str, ...], **options: object) -> None:
    """Run `gluon-nst batch BATCH...` on workers of the machines that HOSTFILE names.

    Exit code: the batch's; 2 also for a host file that is not understood, 5 if the scheduler does not come up.
    """
    try:
        sys.exit(asyncio.run(_run(read_hosts(host_file), batch, **options)))  # type: ignore[arg-type]
    except GluonNSTError as error:
        _say(f"{type(error).__name__}: {error}")
        sys.exit(_EXIT_USAGE if isinstance(error, UsageError) else _EXIT_STRANDED)


async def _run(
    hosts: Sequence[Host], batch: Sequence[str], *, host: str | None, port: int, insecure: bool, ssh: str,
    patience: float, tries: int,
) -> int:  # fmt: skip
    command = shlex.split(ssh)
    near = all_on_loopback(hosts, command)
    address = host or ("127.0.0.1" if near else address_for(hosts, command))
    with _Stopping() as stopping, tempfile.TemporaryDirectory(prefix="gluon-nst-") as name:
        folder = Path(name)  # nobody else may look into it
        tls = [] if insecure or near else _certificates(folder / "tls")
        listening = ["--host", address, "--port", str(port), *(["--insecure"] if insecure else []), *tls]
        async with run_scheduler(listening, folder / "scheduler.json", _say) as reached:
            terms = Terms(command, reached, sorted((folder / "tls").glob("*.pem")), patience, tries)
            async with _workers(hosts, terms, stopping.at_once):
                return await stopping.batch([*batch, "--scheduler", reached, *tls])


def _certificates(folder: Path) -> list[str]:
    """Make certificates for this run; return the options that name them."""
    make_certificates(folder, _CERTIFICATE_DAYS)
    return ["--tls-dir", str(folder)]


@contextlib.asynccontextmanager
async def _workers(hosts: Sequence[Host], terms: Terms, at_once: asyncio.Event) -> AsyncIterator[None]:
    """Have workers on all hosts; let them end in order, or by themselves if it is to be at once."""
    connections = [Connection(host, terms, _say) for host in hosts]
    tasks = [asyncio.create_task(each.keep()) for each in connections]
    try:
        yield
    finally:
        for each in connections:
            each.close()
        impatience = asyncio.create_task(at_once.wait())
        ending = asyncio.gather(*tasks)
        await asyncio.wait((ending, impatience), return_when=asyncio.FIRST_COMPLETED)
        impatience.cancel()
        ending.cancel()
        await asyncio.gather(ending, return_exceptions=True)


class _Stopping:
    """Passes signals on to the batch, which stops in order at the first, and at once at a Ctrl-C after it.

    Attributes
    ----------
    at_once
        Set by that.
    """

    def __init__(self) -> None:
        self.at_once = asyncio.Event()
        self._asked: signal.Signals | None = None
        self._process: asyncio.subprocess.Process | None = None

    def __enter__(self) -> _Stopping:
        for number, passed in _SIGNALS.items():
            asyncio.get_running_loop().add_signal_handler(number, self._pass_on, passed)
        return self

    def __exit__(self, *details: object) -> None:
        for number in _SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(number)

    async def batch(self, arguments: Sequence[str]) -> int:
        """Run the batch; return its exit code."""
        if self._asked is not None:
            return _EXIT_STOPPED
        self._process = await start("batch", *arguments)
        return await self._process.wait()

    def _pass_on(self, number: signal.Signals) -> None:
        if self._asked is not None and number == signal.SIGINT:
            self.at_once.set()
        self._asked = number
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)


if __name__ == "__main__":
    main()
