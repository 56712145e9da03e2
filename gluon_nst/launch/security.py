"""TLS files as distributed takes them."""

from __future__ import annotations

from distributed.security import Security

from gluon_nst.launch.tls import Tls

__all__ = ["security_of"]


def security_of(tls: Tls | None) -> Security | None:
    """Return the security under which nothing but TLS is spoken; None without files, where nothing is encrypted.

    Raises
    ------
    UsageError
        If the files are of no use.
    """
    if tls is None:
        return None
    tls.check()
    roles = ("client", "scheduler", "worker")
    pairs = {
        **{f"tls_{role}_cert": str(tls.cert) for role in roles},
        **{f"tls_{role}_key": str(tls.key) for role in roles},
    }
    return Security(require_encryption=True, tls_ca_file=str(tls.ca_file), **pairs)
