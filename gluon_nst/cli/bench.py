"""``gluon-nst bench``: how fast this machine stylizes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from gluon_nst.cli.options import json_option

if TYPE_CHECKING:
    from gluon_nst.bench import Figures

_HEADINGS = ("size", "precision", "together", "s/step", "GFLOP/s", "roofline", "share", "MB", "pairs/h")
_WIDTHS = (9, 19, 8, 9, 8, 8, 5, 6, 8)


def _numbers(context: click.Context, option: click.Parameter, value: str) -> tuple[int, ...]:
    words = [word.strip() for word in value.split(",")]
    if not all(word.isdecimal() and int(word) for word in words):
        raise click.BadParameter(f"{value!r} is no list of whole numbers above 0, such as 256,512.")
    return tuple(map(int, words))


@click.command()
@click.option(
    "--recipe", "recipe_name", default="default", show_default=True, metavar="NAME|FILE",
    help="Recipe by name, or a TOML file; see `gluon-nst recipes`.",
)  # fmt: skip
@click.option(
    "--size", "sizes", callback=_numbers, default="256,512", show_default=True, metavar="PX,...",
    help="Longer sides; the pictures are 4:3.",
)  # fmt: skip
@click.option(
    "--precision", "precisions", default="auto", show_default=True, metavar="auto,float32,...",
    help="Precisions, as `stylize` takes them.",
)  # fmt: skip
@click.option(
    "--together", callback=_numbers, default="1", show_default=True, metavar="N,...",
    help="How many pictures go through the network at once.",
)  # fmt: skip
@click.option(
    "--steps", type=click.IntRange(1), default=2, show_default=True, metavar="N",
    help="Steps that are timed as one.",
)  # fmt: skip
@click.option(
    "--repeats", type=click.IntRange(1), default=3, show_default=True, metavar="N",
    help="How often they are timed; the median counts.",
)  # fmt: skip
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|gpu:K")
@json_option
def bench(
    recipe_name: str, sizes: tuple[int, ...], precisions: str, together: tuple[int, ...], steps: int, repeats: int,
    device: str, as_json: bool,
) -> int:  # fmt: skip
    """Measure how fast this machine stylizes, by size, precision and number of pictures together.

    \b
    gluon-nst bench
    gluon-nst bench --size 256,512,1024 --precision auto,float32 --together 1,4

    Each line is measured in a process of its own: seconds a step of all pictures together; operations a
    second, and what a bare convolution reaches in between (the roofline); peak memory; and the pairs an hour
    that the recipe's whole schedule would give. Exit code 1 if a line has no figures.
    """
    from gluon_nst import bench as library
    from gluon_nst.recipe_files import load_recipe

    recipe, words = load_recipe(recipe_name), [word.strip() for word in precisions.split(",")]
    wanted = library.cases(sizes, words, together, steps, repeats)
    rows = library.bench(recipe, wanted, device)
    about = library.describe_machine()
    if as_json:
        found = list(rows)
        click.echo(
            json.dumps({"machine": about, "recipe": recipe.name, "rows": [row.as_mapping() for row in found]})
        )
    else:
        click.echo(_heading(about, recipe.name))
        found = [_shown(row) for row in rows]
    return 1 if any(row.failure for row in found) else 0


def _heading(about: dict[str, Any], recipe: str) -> str:
    sets, gigabytes = " ".join(about["instruction_sets"]), about["memory"] / 1e9
    versions = ", ".join(
        f"{name} {about[name]}" for name in ("gluon_nst", "mxnet", "mxnet-cu112", "numpy") if about[name]
    )
    machine = f"{about['cpu']}, {about['cores']} cores, {sets}, {gigabytes:.0f} GB".replace(", ,", ",")
    return f"{machine}\n{versions}\nrecipe {recipe}\n\n{_line(_HEADINGS)}"


def _shown(row: Figures) -> Figures:
    """Print a row as soon as it is there."""
    case, size = row.case, f"{row.width}x{row.height}"
    if row.failure:
        click.echo(f"{_line((size, case.precision, case.together))}  {row.failure}")
        return row
    used = row.precision if row.precision == case.precision else f"{case.precision} ({row.precision})"
    seconds = row.as_mapping()["seconds_per_step"]
    click.echo(_line((
        size, used, case.together, f"{seconds:.3g}", f"{row.flops / 1e9:.0f}", f"{row.roofline / 1e9:.0f}",
        f"{row.share:.0%}", f"{row.peak_memory / 1e6:.0f}", f"{row.pairs_per_hour:.3g}",
    )))  # fmt: skip
    return row


def _line(words: tuple[Any, ...]) -> str:
    widths = _WIDTHS[: len(words)]
    left = [f"{word:<{width}}" for word, width in zip(words[:2], widths[:2], strict=True)]
    return "  ".join(
        [*left, *(f"{word:>{width}}" for word, width in zip(words[2:], widths[2:], strict=True))]
    )
