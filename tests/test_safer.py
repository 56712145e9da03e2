"""The setting for the one retry."""

from __future__ import annotations

import pytest

from gluon_nst.recipe import recipe_mapping
from gluon_nst.recipe_files import load_recipe, recipe_names
from gluon_nst.safer import safer


def changed(before, after) -> dict[str, tuple[object, object]]:
    pairs = zip(recipe_mapping(before).items(), recipe_mapping(after).values(), strict=True)
    return {name: (old, new) for (name, old), new in pairs if old != new}


@pytest.mark.parametrize("name", recipe_names())
def test_only_the_size_of_the_steps_changes(name):
    recipe = load_recipe(name)
    field, factor = ("lbfgs_round", 2) if recipe.optimizer == "lbfgs" else ("learning_rate", 4)
    old = getattr(recipe, field)
    assert changed(recipe, safer(recipe)) == {field: (old, old / factor)}


@pytest.mark.parametrize(("given", "expected"), [(20, 10), (9, 4), (5, 4), (4, 4), (3, 3), (1, 1)])
def test_rounds_of_lbfgs_do_not_get_too_short_to_search(given, expected):
    recipe = load_recipe("keras-lbfgs-vgg19", lbfgs_round=given)
    assert safer(recipe).lbfgs_round == expected


def test_the_smallest_rate_stays():
    recipe = load_recipe("default", learning_rate=1e-12)
    assert safer(recipe) == recipe
