"""``gluon-nst stylize``: one pair."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gluon_nst.cli.options import engine_options, json_option, recipe_options

if TYPE_CHECKING:
    from gluon_nst.progress import Observer
    from gluon_nst.recipe import Recipe
    from gluon_nst.result import Result


@click.command()
@click.argument("content")
@click.argument("styles", nargs=-1, required=True, metavar="STYLE...")
@click.option(
    "-o", "--output", required=True, metavar="OUT", help="File to write: .jpg, .png, .webp or .tif."
)
@recipe_options
@click.option("--blend", metavar="W,W,...", help="Weight of each style image; evenly if not given.")
@click.option("--init-image", metavar="FILE", help="Start from this picture.")
@engine_options
@click.option(
    "--preview-every", nargs=2, type=(int, click.Path(file_okay=False, path_type=Path)), metavar="K DIR",
    help="Save the picture as it is after every K steps to DIR.",
)  # fmt: skip
@click.option("--plot", metavar="FILE", help="Draw the course of the losses to this PNG.")
@click.option("--keep-gps", is_flag=True, help="Keep the place of capture in the result.")
@json_option
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
def stylize(
    content: str,
    styles: tuple[str, ...],
    output: str,
    recipe: Recipe,
    blend: str | None,
    init_image: str | None,
    device: str,
    precision: str,
    weights: str,
    max_memory: str,
    preview_every: tuple[int, Path] | None,
    plot: str | None,
    keep_gps: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Paint the photograph CONTENT in the style of one image, or of several blended.

    \b
    gluon-nst stylize photo.jpg painting.jpg -o out.png
    gluon-nst stylize photo.jpg a.jpg b.jpg --blend 2,1 --size 768 -o out.jpg
    """
    from gluon_nst import api
    from gluon_nst.cli.observing import Previews, progress_bar, together
    from gluon_nst.images.write import check_output_path
    from gluon_nst.progress import REPORT_EVERY

    if init_image is not None:
        recipe = recipe.replace(init="image")
    for path in (output, plot):
        if path is not None:
            check_output_path(path)
    observers: list[Observer] = []
    every = REPORT_EVERY
    if preview_every is not None:
        observers.append(Previews(*preview_every))
        every = math.gcd(every, preview_every[0])
    with progress_bar(hidden=quiet or as_json) as bar:
        result = api.stylize(
            content, list(styles), recipe=recipe, blend=_numbers(blend), start=init_image, device=device,
            precision=precision, weights=weights, max_memory=max_memory, keep_gps=keep_gps,
            observe=together(bar, *observers), every=every,
        )  # fmt: skip
    result.save(output)
    if plot is not None:
        _plot(result, plot)
    _report(result, output, as_json=as_json, quiet=quiet)


def _numbers(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no list of numbers, such as 2,1.", param_hint="--blend"
        ) from None


def _plot(result: Result, path: str) -> None:
    from gluon_nst.loss_plot import plot_losses
    from gluon_nst.storage import write_bytes

    write_bytes(path, plot_losses(result.losses))


def _report(result: Result, output: str, *, as_json: bool, quiet: bool) -> None:
    summary: dict[str, Any] = {"output": output, **result.summary()}
    if as_json:
        click.echo(json.dumps(summary))
    elif not quiet:
        for note in result.notes:
            click.echo(f"note: {note}", err=True)
        click.echo(
            f"{output}: {summary['width']}x{summary['height']}, {result.steps} steps in {result.seconds:.0f} s, "
            f"loss {result.last_losses()['total']:.4g}"
        )
