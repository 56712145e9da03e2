"""Recipes in files: the named ones of the package, a person's own TOML, single fields set by hand."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from gluon_nst.errors import RecipeError, did_you_mean
from gluon_nst.recipe import Recipe, check_field, make_recipe, recipe_mapping

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["load_recipe", "override", "recipe_names", "recipe_text", "tailor", "to_toml"]


def recipe_names() -> tuple[str, ...]:
    """Return the names of the recipes that come with the package, `default` first."""
    names = {entry.name[:-5] for entry in _folder().iterdir() if entry.name.endswith(".toml")}
    return ("default", *sorted(names - {"default"}))


def recipe_text(name: str) -> str:
    """Return the TOML text of a recipe of the package, comments and all.

    Raises
    ------
    RecipeError
        If there is none of that name.
    """
    names = recipe_names()
    if name not in names:
        raise RecipeError(
            f"there is no recipe {name!r}.{did_you_mean(name, names)} Recipes: {', '.join(names)}; or the path "
            "of a .toml file."
        )
    text: str = (_folder() / f"{name}.toml").read_text(encoding="utf-8")
    return text


def load_recipe(name_or_path: str | os.PathLike[str] = "default", **changes: object) -> Recipe:
    """Return a recipe by name, or from a TOML file, with some fields changed.

    A file need not be whole: what it leaves out comes from the recipe that its key `base` names, or from
    `default`.

    Raises
    ------
    RecipeError
        If there is no such recipe or file, or a field or value is wrong.
    """
    given = os.fspath(name_or_path)
    if given.endswith(".toml"):
        values = _whole(_parse(_read(Path(given)), given), Path(given).stem)
    else:
        values = _parse(recipe_text(given), given)
    return make_recipe({**values, **changes})


def override(recipe: Recipe, settings: Iterable[str]) -> Recipe:
    """Return the recipe with settings of the form KEY=VALUE applied in turn.

    VALUE is written as in TOML; quotes around a word may be left out. KEY may be ``content_layers.LAYER`` or
    ``style_layers.LAYER`` to set one weight; a list of layers separated by commas gives each the weight 1.

    Raises
    ------
    RecipeError
        On a setting without "=", an unknown key or a wrong value.
    """
    values = recipe_mapping(recipe)
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise RecipeError(f"{setting!r} is no setting; write KEY=VALUE, such as style_weight=2.")
        field, _, layer = key.strip().partition(".")
        value = _value(check_field(field), text.strip())
        values[field] = _one_layer(field, values[field], layer, value) if layer else value
    return make_recipe(values)


def tailor(
    recipe: Recipe, *, size: int | str | None = None, steps: int | None = None, **fields: object
) -> Recipe:
    """Return the recipe with the settings that most people change.

    Parameters
    ----------
    size
        Longer side in pixels, or "original" for the content's own size; a fixed shape gives way to it.
    steps
        Steps at the last scale; those at the coarser scales change in proportion, and for fewer steps so does the
        number of iterates that are averaged.
    fields
        Any other field; None leaves it as it is.

    Raises
    ------
    RecipeError
        On an unknown field or a wrong value.
    """
    changes = {name: value for name, value in fields.items() if value is not None}
    if size is not None:
        changes |= {"size": 0 if size == "original" else _pixels(size), "shape": []}
    if steps is not None:
        changes = _scheduled(recipe, steps) | changes
    return recipe.replace(**changes) if changes else recipe


def _scheduled(recipe: Recipe, steps: int) -> dict[str, object]:
    """Return the fields that a number of steps decides."""
    share = steps / recipe.steps
    # An average with the decay a spans about 1 / (1 - a) iterates; it must not reach back to the start of a scale.
    shorter = max(0.0, round(1 - (1 - recipe.average) / share, 6)) if steps > 0 else 0.0
    return {
        "steps": steps,
        "coarse_steps": round(recipe.coarse_steps * share),
        "average": min(recipe.average, shorter),
    }


def _pixels(size: int | str) -> int:
    if str(size).isdigit() and int(size) > 0:
        return int(size)
    raise RecipeError(
        f"size is {size!r}; it takes the longer side in pixels, such as 512, or the word original."
    )


def to_toml(recipe: Recipe) -> str:
    """Return the recipe as TOML text that `load_recipe` reads back to an equal one."""
    return "".join(f"{name} = {_toml_value(value)}\n" for name, value in recipe_mapping(recipe).items())


def _folder() -> Any:
    return resources.files("gluon_nst") / "recipes"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"cannot read the recipe {str(path)!r}: {getattr(error, 'strerror', None) or error}."
        ) from error


def _parse(text: str, given: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"the recipe {given!r} is no valid TOML: {error}.") from error


def _whole(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Fill in what a person's file leaves out."""
    own = dict(values)
    base = _parse(recipe_text(str(own.pop("base", "default"))), "base")
    return {**base, "name": name, "description": "", **own}


def _value(field: str, text: str) -> Any:
    """Parse the text of one value as TOML, else take it as a word (or as names of layers)."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        if field.endswith("_layers"):
            return dict.fromkeys((part.strip() for part in text.split(",")), 1.0)
        return text


def _one_layer(field: str, layers: Any, layer: str, weight: Any) -> dict[str, Any]:
    if not isinstance(layers, Mapping):
        raise RecipeError(f"{field} has no parts, so {field}.{layer} cannot be set. Write {field}=VALUE.")
    return {**layers, layer: weight}


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON escapes all that TOML wants escaped but the delete character.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_toml_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    return repr(value)
