"""``gluon-nst weights``: the pretrained parameters."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from gluon_nst.cli.options import json_option


@click.group()
def weights() -> None:
    """List, verify or import pretrained parameters."""


@weights.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List the parameters that come with the package."""
    from gluon_nst.parameters import list_parameters

    records = list_parameters()
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(record) for record in records]))
        return
    for record in records:
        click.echo(f"{record.name}  {record.network}, {record.dtype}, sha256 {record.sha256[:16]}...")
        click.echo(f"    {record.origin}\n    {record.authors}; {record.license}")


@weights.command()
@click.argument("source", default="bundled", metavar="[bundled|zoo|FILE]")
@click.option("--network", default=None, metavar="NAME", help="vgg19 or vgg16; both if not given.")
@json_option
def verify(source: str, network: str | None, as_json: bool) -> int:
    """Read parameters again and check fingerprint, shapes and numbers. Exit code 1 if anything is wrong."""
    from gluon_nst.parameters import verify_parameters
    from gluon_nst.vgg_layers import NETWORKS

    networks = (network,) if network else NETWORKS if source == "bundled" else ("vgg19",)
    reports = [verify_parameters(source, each) for each in networks]
    if as_json:
        click.echo(json.dumps([{**dataclasses.asdict(report), "ok": report.ok} for report in reports]))
    else:
        for report in reports:
            state = "ok" if report.ok else "; ".join(report.problems)
            click.echo(f"{report.source}: {report.network}, {report.convolutions} convolutions: {state}")
    return 0 if all(report.ok for report in reports) else 1


@weights.command("import")
@click.argument("file")
@click.option(
    "-o", "--output", required=True, metavar="FILE.params", help="File to write; a record goes beside it."
)
@click.option("--network", metavar="NAME", help="vgg19 or vgg16, if it must be that one.")
@click.option(
    "--preprocessing", default="auto", show_default=True, metavar="auto|rgb|caffe-bgr",
    help="What the parameters were trained with.",
)  # fmt: skip
@click.option("--dtype", default="float32", show_default=True, metavar="float32|float16")
def import_command(file: str, output: str, network: str | None, preprocessing: str, dtype: str) -> None:
    """Convert VGG16 or VGG19 parameters: .npz, .safetensors, Keras .h5, PyTorch .pth.

    \b
    gluon-nst weights import vgg19.h5 -o vgg19-keras.params
    gluon-nst stylize photo.jpg painting.jpg --weights vgg19-keras.params -o out.png
    """
    from gluon_nst.parameters import import_parameters

    record = import_parameters(Path(file), output, network=network, preprocessing=preprocessing, dtype=dtype)
    click.echo(f"{output}: {record.network}, {record.dtype}, sha256 {record.sha256}")
