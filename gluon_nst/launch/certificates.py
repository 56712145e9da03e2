"""The certificates of a cluster, all made at once. Needs the library `cryptography`.

All processes of a cluster may do the same, so they share one certificate. The authority's key signs it and is then
forgotten: nobody can add another, and whoever is to be shut out is left behind with new files for all others.
"""

from __future__ import annotations

import datetime
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gluon_nst.errors import OutputError, UsageError
from gluon_nst.launch.tls import Tls

__all__ = ["make_certificates"]

_AUTHORITY, _CLUSTER = "gluon-nst authority", "gluon-nst cluster"
_CLOCKS_APART = datetime.timedelta(hours=1)  # a node whose clock is behind must not find them not valid yet
_USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


def make_certificates(folder: Path, days: float) -> datetime.datetime:
    """Write the three files of a cluster, see `gluon_nst.launch.tls.Tls`; return until when they hold.

    The key is for its owner only, and so is the folder if it has yet to be made.

    Parameters
    ----------
    folder
        Where. None of the files may be there.
    days
        How many days they hold.

    Raises
    ------
    UsageError
        If one of the files is there.
    OutputError
        If they cannot be written.
    """
    tls, until = Tls.in_folder(folder), _now() + datetime.timedelta(days=days)
    there = [path for path in (tls.ca_file, tls.cert, tls.key) if path.exists()]
    if there:
        raise UsageError(
            f"{there[0]} exists, and a cluster may run with it. Name another folder, or remove it."
        )
    key, cert, ca = _contents(until)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_new(tls.key, key, 0o600)
        _write_new(tls.cert, cert, 0o644)
        _write_new(tls.ca_file, ca, 0o644)
    except OSError as error:
        raise OutputError(f"the certificates cannot be written to {folder}: {error.strerror}.") from error
    return until


def _contents(until: datetime.datetime) -> tuple[bytes, bytes, bytes]:
    """Return key, certificate and the authority's certificate in PEM format."""
    # P-256: every TLS library has it, and it costs a worker's many connections least.
    authority, own = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    key = own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    certificates = (_cluster_builder(own, authority, until), _authority_builder(authority, until))
    cert, ca = (each.sign(authority, hashes.SHA256()).public_bytes(Encoding.PEM) for each in certificates)
    return key, cert, ca


def _authority_builder(key: ec.EllipticCurvePrivateKey, until: datetime.datetime) -> x509.CertificateBuilder:
    return (
        _builder(_AUTHORITY, key, key, until)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage("key_cert_sign"), critical=True)
    )


def _cluster_builder(
    key: ec.EllipticCurvePrivateKey, authority: ec.EllipticCurvePrivateKey, until: datetime.datetime
) -> x509.CertificateBuilder:
    roles = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]  # workers are both
    return (
        _builder(_CLUSTER, key, authority, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage("digital_signature"), critical=True)
        .add_extension(x509.ExtendedKeyUsage(roles), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("gluon-nst")]), critical=False)
    )


def _builder(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    authority: ec.EllipticCurvePrivateKey,
    until: datetime.datetime,
) -> x509.CertificateBuilder:
    """Return what both have in common. RFC 5280, section 4.2.1, asks for the identifiers of the keys."""
    public, issuer = key.public_key(), authority.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(_AUTHORITY))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - _CLOCKS_APART)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), critical=False)
    )


def _usage(only: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{each: each == only for each in _USAGES})


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a file that nobody has written meanwhile, with its mode from the first moment."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)
