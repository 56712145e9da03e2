"""The TLS files of a cluster: which ones, and whether they are of use together.

All of one cluster show a certificate of its own authority and ask for one: who has none gets in nowhere.
"""

from __future__ import annotations

import dataclasses
import os
import ssl
from pathlib import Path

from gluon_nst.errors import UsageError

__all__ = ["CA_FILE", "CERT_FILE", "FOLDER_VARIABLE", "KEY_FILE", "Tls", "chosen_tls", "tls_address"]

CA_FILE, CERT_FILE, KEY_FILE = "ca.pem", "cert.pem", "key.pem"
FOLDER_VARIABLE = "GLUON_NST_TLS_DIR"

_MAKE = "`gluon-nst certificates DIR` makes all three for a cluster."


@dataclasses.dataclass(frozen=True)
class Tls:
    """The three files that let a process into a cluster.

    Attributes
    ----------
    ca_file
        Certificate of the authority that all others must be of.
    cert, key
        The process's own certificate and its private key. All are paths of PEM files.
    """

    ca_file: Path
    cert: Path
    key: Path

    @classmethod
    def in_folder(cls, folder: Path) -> Tls:
        """Return those of a folder that `gluon-nst certificates` made."""
        return cls(folder / CA_FILE, folder / CERT_FILE, folder / KEY_FILE)

    def check(self) -> None:
        """Try the files on one another.

        Raises
        ------
        UsageError
            If one is missing or cannot be read, if they do not belong together, or if a certificate has expired.
        """
        for path in (self.ca_file, self.cert, self.key):
            _check_readable(path)
        try:
            _shake_hands(self._context(ssl.PROTOCOL_TLS_SERVER), self._context(ssl.PROTOCOL_TLS_CLIENT))
        except ssl.SSLCertVerificationError as error:
            raise UsageError(
                f"the certificate {self.cert} does not hold under {self.ca_file}: {error.verify_message}. {_MAKE}"
            ) from error
        except ssl.SSLError as error:
            raise UsageError(
                f"{self.ca_file}, {self.cert} and {self.key} are of no use for TLS: {error.reason or error}. {_MAKE}"
            ) from error

    def _context(self, protocol: ssl._SSLMethod) -> ssl.SSLContext:
        """Return a context as Dask makes it: a certificate of the authority is asked for, but no host name."""
        context = ssl.SSLContext(protocol)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(self.ca_file)
        context.load_cert_chain(
            self.cert, self.key, password=""
        )  # or OpenSSL asks a person for that of the key
        return context


def chosen_tls(folder: Path | None, ca_file: Path | None, cert: Path | None, key: Path | None) -> Tls | None:
    """Return the files that options name, else those of the folder in GLUON_NST_TLS_DIR; None where neither is.

    Raises
    ------
    UsageError
        If both a folder and files are named, or not all of the files.
    """
    if ca_file and cert and key and not folder:
        return Tls(ca_file, cert, key)
    if ca_file or cert or key:
        raise UsageError(
            "give either --tls-dir, or all of --tls-ca-file, --tls-cert and --tls-key. "
            "`gluon-nst certificates DIR` makes a folder for --tls-dir."
        )
    folder = folder or Path(os.environ.get(FOLDER_VARIABLE, ""))
    return Tls.in_folder(folder) if folder != Path() else None


def tls_address(address: str, tls: Tls | None) -> str:
    """Return a scheduler's address with its scheme, once that is the one to be spoken.

    Raises
    ------
    UsageError
        If it is tls:// and there are no files for it, or not tls:// though there are.
    """
    scheme, mark, _ = address.partition("://")
    if tls and not mark:
        return f"tls://{address}"
    if tls and scheme != "tls":
        raise UsageError(
            f"the scheduler's address is {address}, but TLS files are given, and with them only tls:// is spoken. "
            f"Start the scheduler with TLS, or leave out --tls-* and unset {FOLDER_VARIABLE}."
        )
    if scheme == "tls" and mark and not tls:
        raise UsageError(
            f"the scheduler's address is {address}: give its TLS files, by --tls-dir, by --tls-ca-file, --tls-cert "
            f"and --tls-key, or by {FOLDER_VARIABLE}."
        )
    return address


def _check_readable(path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise UsageError(f"the TLS file {path} cannot be read: {error.strerror}. {_MAKE}") from error


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    """Let two contexts greet one another in memory, so that each looks at the other's certificate."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
    while ends:
        for end in list(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            ends.remove(end)
