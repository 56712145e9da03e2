"""Options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from gluon_nst.launch.tls import FOLDER_VARIABLE, chosen_tls
from gluon_nst.recipe_files import load_recipe, override, tailor

__all__ = ["engine_options", "json_option", "option_group", "place_options", "recipe_options", "tls_options"]

Command = TypeVar("Command", bound=Callable[..., Any])


def option_group(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Return a decorator that gives a command several options, shown in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_recipe_options = option_group(
    click.option(
        "--recipe", "recipe_name", default="default", show_default=True, metavar="NAME|FILE",
        help="Recipe by name, or a TOML file; see `gluon-nst recipes`.",
    ),
    click.option("--size", metavar="PX|original", help="Longer side of the result; the recipe's if not given."),
    click.option("--steps", type=int, metavar="N", help="Steps at the last scale; coarser ones in proportion."),
    click.option("--seed", type=int, metavar="N", help="Seed of the noise that some recipes start from."),
    click.option(
        "--set", "settings", multiple=True, metavar="KEY=VALUE",
        help="Any field of the recipe, such as style_weight=2; may be given again.",
    ),
)  # fmt: skip

engine_options = option_group(
    click.option("--device", default="auto", show_default=True, metavar="auto|cpu|gpu:K"),
    click.option("--precision", default="auto", show_default=True, metavar="auto|float32|bfloat16|tf32"),
    click.option(
        "--weights", default="bundled", show_default=True, metavar="bundled|zoo|FILE",
        help="Pretrained parameters; see `gluon-nst weights`.",
    ),
    click.option(
        "--max-memory", default="", metavar="SIZE|P%",
        help="What a process may take, as 6GB or 80%; larger pictures are worked on in tiles.  [default: 90% of what "
        "is free, shared by the workers of this machine]",
    ),
)  # fmt: skip

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as JSON on standard output."
)


def place_options(default: str) -> Callable[[Command], Command]:
    """Return a decorator that gives a command `--host` and `--interface`, of which it gets one at most.

    Parameters
    ----------
    default
        Where it listens if neither is given, for people.
    """

    def one_of_both(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
        other = "interface" if parameter.name == "host" else "host"
        if value and context.params.get(other):
            raise click.UsageError("--host and --interface exclude each other; give one of them.")
        return value

    return option_group(
        click.option(
            "--host", metavar="ADDR", callback=one_of_both, help=f"Address to listen on.  [default: {default}]"
        ),
        click.option(
            "--interface", metavar="IF", callback=one_of_both, help="Network interface to listen on instead, as ib0."
        ),
    )  # fmt: skip


_tls_options = option_group(
    click.option(
        "--tls-dir", type=click.Path(path_type=Path), metavar="DIR",
        help=f"Folder that `gluon-nst certificates` made; without it, what {FOLDER_VARIABLE} says.",
    ),
    click.option("--tls-ca-file", type=click.Path(path_type=Path), metavar="FILE", help="Instead of a folder: these."),
    click.option("--tls-cert", type=click.Path(path_type=Path), metavar="FILE"),
    click.option("--tls-key", type=click.Path(path_type=Path), metavar="FILE"),
)  # fmt: skip


def tls_options(command: Command) -> Command:
    """Give a command the options that name TLS files; it gets a `Tls` or None, as `tls`."""

    @functools.wraps(command)
    def with_tls(
        tls_dir: Path | None, tls_ca_file: Path | None, tls_cert: Path | None, tls_key: Path | None, **others: object
    ) -> Any:  # fmt: skip
        return command(tls=chosen_tls(tls_dir, tls_ca_file, tls_cert, tls_key), **others)

    return _tls_options(cast(Command, with_tls))


def recipe_options(command: Command) -> Command:
    """Give a command the options that choose a recipe; it gets the `Recipe` itself, as `recipe`."""

    @functools.wraps(command)
    def with_recipe(
        recipe_name: str, size: str | None, steps: int | None, seed: int | None, settings: tuple[str, ...],
        **others: object,
    ) -> Any:  # fmt: skip
        # What --set says counts last.
        recipe = override(tailor(load_recipe(recipe_name), size=size, steps=steps, seed=seed), settings)
        return command(recipe=recipe, **others)

    return _recipe_options(cast(Command, with_recipe))
