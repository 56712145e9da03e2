"""Who can reach an address: a Dask port runs whatever code it is sent."""

from __future__ import annotations

import ipaddress
import socket

from gluon_nst.errors import UsageError

__all__ = ["check_exposure"]


def check_exposure(host: str) -> None:
    """Refuse an address that others than this machine can reach.

    Parameters
    ----------
    host
        A name or an address to listen on.

    Raises
    ------
    UsageError
        If it is not only of the loopback interface, or no address of this machine.
    """
    if not all(_is_loopback(address) for address in _addresses(host)):
        raise UsageError(
            f"without TLS, everybody who can reach {host} could run programs here. Make certificates with "
            "`gluon-nst certificates DIR` and give --tls-dir DIR to scheduler, workers and batch; or use --insecure, "
            "in a network where nobody else is."
        )


def _addresses(host: str) -> set[str]:
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None)}
    except OSError as error:
        raise UsageError(
            f"{host!r} is no address of this machine: {error}. Give one, or an --interface."
        ) from error


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
