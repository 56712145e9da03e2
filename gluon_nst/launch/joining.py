"""How the workers of a machine find their scheduler, and notice that it is gone."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from pathlib import Path

from distributed.comm import Comm, connect
from distributed.comm.addressing import get_address_host
from distributed.security import Security
from distributed.utils import get_ip, get_ip_interface

from gluon_nst.errors import ClusterError
from gluon_nst.launch.scheduler_file import address_in
from gluon_nst.launch.security import connection_trouble, scheduler_address, security_of
from gluon_nst.launch.telling import say
from gluon_nst.launch.terms import Terms

__all__ = ["closed", "find_scheduler", "host_towards"]

_ATTEMPT = 5.0  # seconds for one attempt: then the file is read again, which may have been an old one's
_PAUSE = 0.2  # seconds between two attempts


async def find_scheduler(terms: Terms) -> Comm:
    """Return a connection to the scheduler, once there is one; they may be started in any order.

    Raises
    ------
    ClusterError
        If there is none in time.
    UsageError
        If the TLS files are of no use, or do not go with the address.
    """
    security = security_of(terms.tls) or Security()
    until, waited = time.monotonic() + terms.wait, False
    while True:
        try:
            return await _attempt(terms, security)
        except (OSError, ValueError) as error:
            if time.monotonic() > until or isinstance(error.__cause__, ssl.SSLError):
                raise ClusterError(
                    f"no Dask scheduler answers at {terms.scheduler}: {connection_trouble(error, terms.tls)}. "
                    "Start one with `gluon-nst scheduler`."
                ) from error
        if not waited:
            say(f"waiting for a scheduler at {terms.scheduler}")
        waited = True
        await asyncio.sleep(_PAUSE)


async def closed(comm: Comm) -> None:
    """Wait until the other end is gone; nothing is ever sent."""
    with contextlib.suppress(OSError):
        await comm.read()


def host_towards(address: str, terms: Terms) -> str:
    """Return where workers listen: where they were told to, else only where the scheduler is reached from."""
    if terms.interface:
        return str(get_ip_interface(terms.interface))
    return terms.host or str(get_ip(get_address_host(address)))


async def _attempt(terms: Terms, security: Security) -> Comm:
    given = terms.scheduler
    address = address_in(Path(given), 0.0) if given.endswith(".json") else given
    timeout = min(_ATTEMPT, max(1.0, terms.wait))
    return await connect(
        scheduler_address(address, terms.tls), timeout=timeout, **security.get_connection_args("worker")
    )
