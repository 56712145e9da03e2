"""TLS files as distributed takes them."""

from __future__ import annotations

import ssl

import dask
from distributed.security import Security

from gluon_nst.launch.tls import FOLDER_VARIABLE, Tls, tls_address

__all__ = ["connection_trouble", "scheduler_address", "security_of"]


def security_of(tls: Tls | None) -> Security | None:
    """Return the security under which nothing but TLS is spoken; None without files: then Dask's configuration counts.

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


def scheduler_address(address: str, tls: Tls | None) -> str:
    """Return a scheduler's address as it is to be called with those files, see `tls_address`.

    Raises
    ------
    UsageError
        If it and the files do not go together, unless Dask's own configuration has files.
    """
    configured = tls is None and dask.config.get("distributed.comm.tls.ca-file")
    return address if configured else tls_address(address, tls)


def connection_trouble(error: BaseException, tls: Tls | None) -> str:
    """Return why a connection failed that was made with those files: Dask's own words hide what TLS had to do with it.

    What a scheduler without TLS leads to, depends on who is faster.
    """
    cause = error.__cause__
    if tls and isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate does not hold under {tls.ca_file}: {cause.verify_message}"
    if tls and (isinstance(cause, ssl.SSLError) or "convert to SSL" in str(error)):
        return f"it speaks no TLS. Leave out --tls-* and unset {FOLDER_VARIABLE}, or give it files too"
    if not tls and isinstance(cause, ConnectionResetError | BrokenPipeError):
        return "it ended the connection, as one does that speaks only TLS; give its files by --tls-dir"
    return str(error)
