"""Where hosts are, and by which of its addresses they reach this machine."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import subprocess
from collections.abc import Sequence

from host_file import Host

from gluon_nst.errors import UsageError

__all__ = ["address_for", "all_on_loopback"]

_NO_PACKET = (
    9  # the port "discard": a datagram socket is connected, to ask for the route, and nothing is sent
)


def all_on_loopback(hosts: Sequence[Host], ssh: Sequence[str]) -> bool:
    """Return whether all hosts are this machine, reached without its network.

    Parameters
    ----------
    hosts
        Of the host file.
    ssh
        The command that would reach them; its configuration counts.
    """
    return all(_is_loopback(_place(host, ssh)) for host in hosts)


def address_for(hosts: Sequence[Host], ssh: Sequence[str]) -> str:
    """Return the address of this machine on the way to the hosts.

    Raises
    ------
    UsageError
        If it cannot be found: names are unknown here, or every host is behind another.
    """
    for host in hosts:
        place = _place(host, ssh)
        if place is not None and not _is_loopback(place):
            with contextlib.suppress(OSError):
                return _way_to(place)
    raise UsageError(
        "no route to any of the hosts was found from here; say by --host ADDR by which of its addresses they reach "
        "this machine."
    )


def _place(host: Host, ssh: Sequence[str]) -> str | None:
    """Return the name or address that ssh would connect to; None behind a jump host, or if ssh does not say."""
    try:
        asked = subprocess.run(
            [*ssh, "-G", *host.ssh_options(), host.name], capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise UsageError(
            f"{ssh[0]} cannot be run ({error.strerror}); install OpenSSH's client, or give --ssh."
        ) from None
    said = dict(line.split(" ", 1) for line in asked.stdout.splitlines() if " " in line)
    jumps = any(said.get(key, "none") != "none" for key in ("proxyjump", "proxycommand"))
    return None if jumps else said.get("hostname")


def _is_loopback(place: str | None) -> bool:
    if place is None:
        return False
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(place).is_loopback
    return place == "localhost"


def _way_to(place: str) -> str:
    kind, _, _, _, target = socket.getaddrinfo(place, _NO_PACKET, type=socket.SOCK_DGRAM)[0]
    with socket.socket(kind, socket.SOCK_DGRAM) as probe:
        probe.connect(target)
        return str(probe.getsockname()[0])
