"""``gluon-nst recipes``: list them, or print one to edit."""

from __future__ import annotations

import click

from gluon_nst.cli.options import json_option


@click.command()
@click.argument("name", required=False)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Print it with a field changed.")
@json_option
def recipes(name: str | None, settings: tuple[str, ...], as_json: bool) -> None:
    """List the recipes, or print the one called NAME as TOML, to edit and pass back with --recipe FILE.

    \b
    gluon-nst recipes
    gluon-nst recipes default > mine.toml
    """
    import json

    from gluon_nst.recipe import recipe_mapping
    from gluon_nst.recipe_files import load_recipe, override, recipe_names, recipe_text, to_toml

    if name is None:
        found = {each: load_recipe(each).description for each in recipe_names()}
        click.echo(json.dumps(found) if as_json else _table(found))
    elif as_json:
        click.echo(json.dumps(recipe_mapping(override(load_recipe(name), settings))))
    elif settings or name.endswith(".toml"):
        click.echo(to_toml(override(load_recipe(name), settings)), nl=False)
    else:
        click.echo(recipe_text(name), nl=False)


def _table(rows: dict[str, str]) -> str:
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}}  {text}" for name, text in rows.items())
