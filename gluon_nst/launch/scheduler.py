"""A Dask scheduler with our settings, in this process."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib.util
import json
import resource
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dask
from distributed import Scheduler
from distributed.utils import get_ip_interface

from gluon_nst.errors import UsageError
from gluon_nst.launch.exposure import check_exposure
from gluon_nst.launch.security import security_of
from gluon_nst.launch.settings import SETTINGS, quieten
from gluon_nst.launch.signals import StopAsked, signals_kept_off
from gluon_nst.launch.telling import say
from gluon_nst.launch.tls import Tls
from gluon_nst.storage import write_bytes

__all__ = ["SchedulerTerms", "run_scheduler"]

# Told to stop together with a batch, as Slurm does it, the scheduler hands on the batch's last results: a batch has by
# default 20 seconds for pictures in hand, its workers 10 more for their results.
_LINGER = 35.0
_LOOK_AGAIN = 0.1  # seconds
# For those on this machine: it asks nobody who they are. With a dashboard to see, Dask's own port, if it is free.
_PAGES = {True: "127.0.0.1:8787", False: "127.0.0.1:0"}


@dataclasses.dataclass(frozen=True)
class SchedulerTerms:
    """How a scheduler is to run.

    Attributes
    ----------
    host, interface
        Where to listen; by default where only this machine reaches it.
    port
        0 takes any free one.
    file
        Where to leave the address; None nowhere.
    tls
        With what to speak TLS; None does not.
    insecure
        Whether others may reach it without TLS.
    """

    host: str | None = None
    interface: str | None = None
    port: int = 8786
    file: Path | None = None
    tls: Tls | None = None
    insecure: bool = False


def run_scheduler(terms: SchedulerTerms, announce: Callable[[str], None]) -> None:
    """Run a scheduler until a signal or a client ends it.

    SIGTERM and SIGINT end it in order, once batches that still run have let go of it; a Ctrl-C after that ends it at
    once. SIGUSR2, which Slurm sends to workers, it does not heed.

    Parameters
    ----------
    terms
        How it is to run.
    announce
        Called with its address once it listens.

    Raises
    ------
    UsageError
        If others could reach it without TLS, if the TLS files are of no use, or if it cannot listen there.
    """
    host = _host(terms)
    if not terms.tls and not terms.insecure:
        check_exposure(host)
    quieten()
    _allow_many_files()
    with signals_kept_off(), dask.config.set(SETTINGS):
        asyncio.run(_serve(terms, host, announce))


def _host(terms: SchedulerTerms) -> str:
    if not terms.interface:
        return terms.host or "127.0.0.1"
    try:
        return str(get_ip_interface(terms.interface))
    except ValueError as error:
        raise UsageError(f"--interface {terms.interface}: {error}") from error


def _allow_many_files() -> None:
    """Raise the limit of open files as far as it goes: each worker takes several connections."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _serve(terms: SchedulerTerms, host: str, announce: Callable[[str], None]) -> None:
    stop = StopAsked(deaf_to=(signal.SIGUSR2,))
    scheduler = await _started(terms, host)
    try:
        with _address_left_in(terms.file, scheduler):
            announce(scheduler.address)
            finished = asyncio.ensure_future(scheduler.finished())
            await asyncio.wait({finished, stop.asked}, return_when=asyncio.FIRST_COMPLETED)
            await _linger(scheduler)
    finally:
        await scheduler.close(reason="gluon-nst: told to stop")


async def _started(terms: SchedulerTerms, host: str) -> Scheduler:
    dashboard = importlib.util.find_spec("bokeh") is not None
    try:
        return await Scheduler(
            host=host,
            port=terms.port,
            security=security_of(terms.tls),
            dashboard=dashboard,
            dashboard_address=_PAGES[dashboard],
        )
    except (OSError, RuntimeError) as error:
        why = error.__cause__ or error
        raise UsageError(
            f"no scheduler can listen at {host}, port {terms.port}: {why}. Give another --host or --port."
        ) from error


@contextlib.contextmanager
def _address_left_in(file: Path | None, scheduler: Scheduler) -> Iterator[None]:
    """Write the scheduler file, and remove it at the end, if it is still this scheduler's."""
    if file is None:
        yield
        return
    write_bytes(file, json.dumps(scheduler.identity(), indent=2).encode())
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):
            if json.loads(file.read_bytes())["id"] == scheduler.id:
                file.unlink()


async def _linger(scheduler: Scheduler) -> None:
    """Wait until batches that were told to stop as well have let go."""
    if scheduler.client_comms:
        say(f"waiting for what still runs, {_LINGER:g} seconds at most")
    until = time.monotonic() + _LINGER
    while scheduler.client_comms and time.monotonic() < until:
        await asyncio.sleep(_LOOK_AGAIN)
