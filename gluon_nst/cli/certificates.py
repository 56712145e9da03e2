"""``gluon-nst certificates``: who belongs to a cluster."""

from __future__ import annotations

from pathlib import Path

import click

from gluon_nst.errors import UsageError
from gluon_nst.launch.tls import FOLDER_VARIABLE

# Longer than any batch takes, and as long as those hold that Dask makes for itself (`Security.temporary`).
_DAYS = 365


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--days",
    type=click.IntRange(1),
    default=_DAYS,
    show_default=True,
    metavar="N",
    help="How long they hold.",
)
def certificates(folder: Path, days: int) -> None:
    """Make the TLS files of a cluster: a certificate for all its processes, its key, and its authority.

    \b
    gluon-nst certificates tls/
    gluon-nst scheduler --host 0.0.0.0 --tls-dir tls/
    gluon-nst workers tls://node1:8786 --tls-dir tls/
    gluon-nst batch photos/ --style painting.jpg -o stylized/ --scheduler tls://node1:8786 --tls-dir tls/

    Who has the folder can use the cluster, and run code on it; nobody else can. Keep it where your own processes
    read it and no one else does.
    """
    try:
        from gluon_nst.launch.certificates import make_certificates
    except ModuleNotFoundError as error:
        raise UsageError(
            f"to make certificates takes the module {error.name!r}, which is missing: pip install 'gluon-nst[tls]'"
        ) from error

    until = make_certificates(folder, days)
    click.echo(f"{folder}: ca.pem, cert.pem and key.pem, good until {until:%Y-%m-%d}")
    click.echo(f"Give all of the cluster --tls-dir {folder}, or set {FOLDER_VARIABLE} there.")
