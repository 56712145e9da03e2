"""The workers that a batch starts for itself on one machine."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import dask
from dask.utils import parse_timedelta
from distributed import Client, Nanny, Scheduler, SpecCluster

from gluon_nst.errors import ClusterError
from gluon_nst.launch.scheduler_file import address_in
from gluon_nst.launch.security import connection_trouble, scheduler_address, security_of
from gluon_nst.launch.settings import SETTINGS, SHORT_LOGS, quieten
from gluon_nst.launch.signals import signals_kept_off
from gluon_nst.launch.slots import Slot
from gluon_nst.launch.tls import Tls

__all__ = ["connect", "dashboard_link", "local_client"]


@contextlib.contextmanager
def local_client(slots: Sequence[Slot], tls: Tls | None = None) -> Iterator[Client]:
    """Start a worker process in each slot of this machine, and yield a client of them.

    Everything is bound to the loopback interface, and is gone when the context ends. A worker has two threads:
    one computes while the other reads and writes.

    Parameters
    ----------
    slots
        Room for workers.
    tls
        With what they speak TLS. Without it, whoever has an account on this machine can use them.

    Raises
    ------
    UsageError
        If the TLS files are of no use.
    """
    security = security_of(tls)
    place = {"host": "127.0.0.1", "security": security, "protocol": "tls://" if tls else "tcp://"}
    silence = {"silence_logs": logging.CRITICAL}  # what fails is said once, in the job's result
    pages = {"dashboard": True, "dashboard_address": "127.0.0.1:0"}  # served with or without a dashboard
    workers = {
        slot.name: {
            "cls": Nanny,
            "options": {**place, **silence, "nthreads": 2, "memory_limit": 0, "env": dict(slot.environment)},
        }
        for slot in slots
    }
    with dask.config.set(SETTINGS):
        with signals_kept_off():
            cluster = SpecCluster(
                workers=workers,
                scheduler={"cls": Scheduler, "options": {**place, **pages, "port": 0}},
                **silence,
                security=security,
            )
        with cluster, Client(cluster) as client:
            yield client


@contextlib.contextmanager
def connect(scheduler: str, tls: Tls | None = None) -> Iterator[Client]:
    """Yield a client of a running scheduler.

    Parameters
    ----------
    scheduler
        Its address, or the path of its scheduler file, which ends in ".json".
    tls
        With what to speak TLS; None does not.

    Raises
    ------
    UsageError
        If the TLS files are of no use, or the address asks for TLS and there are none, or the other way round.
    ClusterError
        If there is none within the time that Dask's setting `distributed.comm.timeouts.connect` gives: 30 seconds,
        if nobody changed it.
    """
    quieten()
    security = security_of(tls)
    until = time.monotonic() + float(parse_timedelta(dask.config.get("distributed.comm.timeouts.connect")))
    try:
        address = address_in(Path(scheduler), until) if scheduler.endswith(".json") else scheduler
        with dask.config.set(SHORT_LOGS):
            client = Client(
                scheduler_address(address, tls), security=security, timeout=max(1.0, until - time.monotonic())
            )
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"no Dask scheduler answers at {scheduler}: {connection_trouble(error, tls)}. Start one with "
            "`gluon-nst scheduler`, or leave out --scheduler to use this machine alone."
        ) from error
    with client:
        yield client


def dashboard_link(client: Client) -> str | None:
    """Return the address of Dask's dashboard, None if there is none."""
    services = client.scheduler_info(n_workers=0).get("services", {})
    return client.dashboard_link if services.get("dashboard") and _has_dashboard() else None


def _has_dashboard() -> bool:
    """Return whether what Dask needs for its dashboard is installed; it is no requirement."""
    return importlib.util.find_spec("bokeh") is not None
