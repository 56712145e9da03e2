"""The recipes of a manifest's rows: the batch's own, or another one, with some fields changed."""

from __future__ import annotations

import functools
import json
import math
import os
from collections.abc import Mapping
from typing import Any

from gluon_nst.errors import RecipeError
from gluon_nst.recipe import Recipe, recipe_digest
from gluon_nst.recipe_files import load_recipe, override, tailor
from gluon_nst.storage import join

__all__ = ["RowRecipes", "is_unset"]

# Recipes that differ, kept for rows to come; some 2 KB each. Sweeps over rows have tens of them.
_KEPT = 1024


class RowRecipes:
    """Makes the recipes of rows; equal ones are the same object, as long as the last thousand are concerned.

    Parameters
    ----------
    base
        The batch's recipe, for rows that name none.
    folder
        Where recipe files lie that rows name by a relative path.
    """

    def __init__(self, base: Recipe, folder: str) -> None:
        self._base = base
        self._folder = folder
        self._made = functools.lru_cache(_KEPT)(self._make)
        self._known = functools.lru_cache(_KEPT)(_Shared)
        self._known(recipe_digest(base)).hold(base)

    def get(self, name: str | None, changes: Mapping[str, Any]) -> Recipe:
        """Return a recipe with some fields changed.

        Parameters
        ----------
        name
            A recipe's name or TOML file; None for the batch's.
        changes
            Values by field: numbers, lists and mappings as JSON has them, or text, read as after ``--set``.
            `size` and `steps` mean what ``--size`` and ``--steps`` do.

        Raises
        ------
        RecipeError
            On an unknown recipe or field, or a wrong value.
        """
        # Parquet has numbers that JSON does not know, such as decimals: as text they are read like any others.
        return self._made(name, json.dumps(changes, default=str) if changes else "")

    def _make(self, name: str | None, changes: str) -> Recipe:
        recipe = self._base if name is None else load_recipe(self._placed(name))
        if changes:
            recipe = _changed(recipe, json.loads(changes))
        return self._known(recipe_digest(recipe)).hold(recipe)

    def _placed(self, name: str) -> str:
        return join(self._folder, name) if name.endswith(".toml") and not os.path.isabs(name) else name  # noqa: PTH117


class _Shared:
    """The one object that stands for all equal recipes."""

    def __init__(self, digest: str) -> None:
        self._recipe: Recipe | None = None

    def hold(self, recipe: Recipe) -> Recipe:
        """Return the recipe that was held first."""
        if self._recipe is None:
            self._recipe = recipe
        return self._recipe


def is_unset(value: Any) -> bool:
    """Return whether a cell says nothing: empty text, null, or the NaN that pandas writes for a gap."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _changed(recipe: Recipe, changes: dict[str, Any]) -> Recipe:
    size, steps = changes.pop("size", None), changes.pop("steps", None)
    recipe = tailor(recipe, size=_whole(size), steps=_steps(steps))
    # All in one go: a field may be meant only together with another.
    return override(recipe, [f"{field}={_toml(value)}" for field, value in changes.items()])


def _toml(value: Any) -> str:
    """Return a value as after ``--set``; JSON writes all but mappings as TOML does."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {json.dumps(item)}" for key, item in value.items()) + "}"
    return value if isinstance(value, str) else json.dumps(value)


def _whole(value: Any) -> Any:
    """Return 512 for 512.0 and "512.0": pandas makes real numbers of whole ones where a column has gaps."""
    if isinstance(value, bool):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        return value
    return int(number) if number.is_integer() else value


def _steps(value: Any) -> int | None:
    steps = _whole(value)
    if steps is None or (isinstance(steps, int) and not isinstance(value, bool)):
        return steps
    raise RecipeError(f"steps is {value!r}; it takes a whole number of 1 or more.")
