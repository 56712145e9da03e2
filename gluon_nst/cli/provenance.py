"""``gluon-nst provenance``: where a picture came from."""

from __future__ import annotations

import json

import click


@click.command()
@click.argument("image")
def provenance(image: str) -> int:
    """Print what a stylized IMAGE says of its making: inputs, recipe, parameters, versions.

    Exit code 1 if it says nothing.
    """
    from gluon_nst.images.provenance import read_provenance

    found = read_provenance(image)
    if found is None:
        click.echo(
            f"{image} carries no provenance: it was not made by gluon-nst, or another program rewrote it.",
            err=True,
        )
        return 1
    click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    return 0
