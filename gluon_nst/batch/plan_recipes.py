"""The recipes of a plan: each is stored once, in the plan's file, under a number."""

from __future__ import annotations

import functools
import json
import sqlite3

from gluon_nst.recipe import Recipe, make_recipe, recipe_digest, recipe_mapping

__all__ = ["PlanRecipes"]

# Numbers and recipes that are remembered: a batch mostly has a handful, but every row may have one of its own.
_NUMBERS, _RECIPES = 1000, 64


class PlanRecipes:
    """Gives recipes numbers, and back again.

    Parameters
    ----------
    base
        The plan's file.
    """

    def __init__(self, base: sqlite3.Connection) -> None:
        self._base = base
        self._base.execute("CREATE TABLE recipe (number INTEGER PRIMARY KEY, digest TEXT UNIQUE, body TEXT)")
        self._numbers: dict[str, int] = {}
        self._latest: tuple[Recipe, int] | None = None
        self.get = functools.lru_cache(maxsize=_RECIPES)(self._read)

    def number(self, recipe: Recipe) -> int:
        """Return the number of a recipe; those that make the same pictures have the same."""
        # Mostly the same object all the time: its digest, 22 us, is a quarter of the work on a job.
        if self._latest is None or self._latest[0] is not recipe:
            self._latest = recipe, self._find(recipe)
        return self._latest[1]

    def _find(self, recipe: Recipe) -> int:
        digest = recipe_digest(recipe)
        number = self._numbers.get(digest)
        if number is None:
            number = self._store(digest, recipe)
            if len(self._numbers) >= _NUMBERS:
                self._numbers.clear()
            self._numbers[digest] = number
        return number

    def _store(self, digest: str, recipe: Recipe) -> int:
        body = json.dumps(recipe_mapping(recipe))
        self._base.execute("INSERT OR IGNORE INTO recipe (digest, body) VALUES (?, ?)", (digest, body))
        row = self._base.execute("SELECT number FROM recipe WHERE digest = ?", (digest,)).fetchone()
        return int(row[0])

    def _read(self, number: int) -> Recipe:
        """Return the recipe of a number."""
        body = self._base.execute("SELECT body FROM recipe WHERE number = ?", (number,)).fetchone()[0]
        return make_recipe(json.loads(body))
