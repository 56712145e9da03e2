"""``gluon-nst batch``: a collection."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable

import click

from gluon_nst.cli.options import engine_options, json_option, recipe_options
from gluon_nst.errors import ImageError, ParametersError
from gluon_nst.jobs import JobResult
from gluon_nst.recipe import Recipe

EXIT_SOME_FAILED = 1
EXIT_UNREADABLE = 3


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--style", "styles", multiple=True, required=True, metavar="IMAGE", help="May be given again.")
@click.option(
    "-o", "--output", required=True, metavar="DIR", help="Folder for the results; the tree is kept."
)
@recipe_options
@engine_options
@click.option(
    "--format", "suffix", default=".jpg", show_default=True, help="Kind of file written.",
    type=click.Choice([".jpg", ".png", ".webp", ".tif"]),
)  # fmt: skip
@click.option(
    "--workers", type=click.IntRange(1), default=min(2, os.cpu_count() or 1), show_default=True,
    help="Worker processes on this machine; they share its cores.",
)  # fmt: skip
@json_option
def batch(
    inputs: tuple[str, ...],
    styles: tuple[str, ...],
    output: str,
    recipe: Recipe,
    device: str,
    precision: str,
    weights: str,
    suffix: str,
    workers: int,
    as_json: bool,
) -> int:
    """Stylize every picture of files and folders with every style, on local Dask workers.

    \b
    gluon-nst batch photos/ --style painting.jpg -o stylized/

    A picture that fails stops none of the others. Exit code 0: all done; 1: some failed.
    """
    from gluon_nst.batch.collect import BatchRequest, collect_jobs
    from gluon_nst.inputs import take_input
    from gluon_nst.parameters import load_parameters

    try:
        request = BatchRequest(
            inputs, styles, output, recipe, suffix=suffix, weights=weights, device=device, precision=precision
        )
        jobs = [candidate.job for candidate in collect_jobs(request)]
        for style in styles:
            take_input(style)
        load_parameters(weights, recipe.network)
    except (ImageError, ParametersError) as error:
        click.echo(f"{type(error).__name__}: {error}", err=True)
        return EXIT_UNREADABLE

    from gluon_nst.batch.dask_runner import DaskRunner, local_client

    with local_client(min(workers, len(jobs))) as client:
        results = list(_shown(DaskRunner(client).run(jobs), len(jobs), quiet=as_json))
    return _summary(results, as_json=as_json)


def _shown(results: Iterable[JobResult], total: int, *, quiet: bool) -> Iterable[JobResult]:
    """Pass results on, one line each on the way."""
    for number, result in enumerate(results, 1):
        if result.status != "succeeded":
            click.echo(
                f"[{number}/{total}] FAILED {result.content}: {result.error_type}: {result.error}", err=True
            )
        elif not quiet:
            click.echo(f"[{number}/{total}] {result.output} ({result.seconds:.0f} s)")
        yield result


def _summary(results: list[JobResult], *, as_json: bool) -> int:
    failed = [result for result in results if result.status != "succeeded"]
    if as_json:
        click.echo(json.dumps([{**vars(result), "losses": dict(result.losses)} for result in results]))
    else:
        click.echo(f"{len(results) - len(failed)} succeeded, {len(failed)} failed")
    return EXIT_SOME_FAILED if failed else 0
