"""The workers that a batch starts for itself on one machine."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import dask
from dask.utils import parse_timedelta
from distributed import Client, LocalCluster

from gluon_nst.errors import ClusterError
from gluon_nst.launch.scheduler_file import address_in
from gluon_nst.launch.security import connection_trouble, scheduler_address, security_of
from gluon_nst.launch.settings import SETTINGS, SHORT_LOGS, quieten
from gluon_nst.launch.signals import signals_kept_off
from gluon_nst.launch.tls import Tls
from gluon_nst.machine import cpu_cores, cpu_quota, usable_cores

__all__ = ["connect", "dashboard_link", "local_client"]


@contextlib.contextmanager
def local_client(workers: int, tls: Tls | None = None) -> Iterator[Client]:
    """Start worker processes on this machine, that share its cores, and yield a client of them.

    Everything is bound to the loopback interface, and is gone when the context ends. A worker has two threads:
    one computes while the other reads and writes.

    Parameters
    ----------
    workers
        How many.
    tls
        With what they speak TLS. Without it, whoever has an account on this machine can use them.

    Raises
    ------
    UsageError
        If the TLS files are of no use.
    """
    security = security_of(tls)
    cores = usable_cores(cpu_cores(), cpu_quota())
    # Dask would give every worker one thread for numerical libraries. MXNet's own are OpenMP's and OpenBLAS's.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(max(1, cores // workers)))
    with dask.config.set(SETTINGS):
        with signals_kept_off():
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=2,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",  # served with or without a dashboard; None would be port 8787
                silence_logs=logging.CRITICAL,  # what fails is said once, in the job's result
                env=threads,
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
