"""The recipe of a manifest's row."""

from __future__ import annotations

from decimal import Decimal

import pytest

from gluon_nst.batch.row_recipes import RowRecipes
from gluon_nst.errors import RecipeError
from gluon_nst.recipe_files import load_recipe, tailor

BASE = load_recipe()


def row(**changes):
    return RowRecipes(BASE, "").get(None, changes)


@pytest.mark.parametrize(
    "together",
    [
        {"init": "uniform", "init_range": [0.2, 0.8]}, {"init_range": "[0.2, 0.8]", "init": "normal"},
        {"gram": "raw", "style_fit": "stretch"}, {"content_layers": {}, "style_layers": {"relu2_1": 1.5}},
        {"network": "vgg16", "style_layers": {"relu4_3": 1.0}},
    ],
    ids=str,
)  # fmt: skip
def test_fields_that_are_meant_only_together_can_be_set_in_one_row(together):
    expected = {
        name: [0.2, 0.8] if value == "[0.2, 0.8]" else value for name, value in together.items()
    }  # fmt: skip
    assert row(**together) == BASE.replace(**expected)


def test_fields_that_do_not_fit_each_other_are_refused():
    with pytest.raises(RecipeError, match="init_range"):
        row(init="uniform")


@pytest.mark.parametrize("size", [256, 256.0, "256", "256.0", Decimal("256")])
def test_a_size_may_be_any_spelling_of_a_whole_number(size):
    assert row(size=size) == tailor(BASE, size=256)


@pytest.mark.parametrize(
    "wrong", [{"size": True}, {"size": 2.5}, {"steps": True}, {"steps": "ten"}, {"seed": 1.5}]
)
def test_what_is_no_whole_number_is_refused(wrong):
    with pytest.raises(RecipeError, match=next(iter(wrong))):
        row(**wrong)


@pytest.mark.parametrize("rate", [0.005, "0.005", Decimal("0.005")])
def test_a_number_may_be_text_or_a_decimal_of_parquet(rate):
    assert row(learning_rate=rate).learning_rate == 0.005


def test_a_rows_own_shape_and_coarse_steps_outlast_its_size_and_steps():
    made = row(size=256, shape="[40, 56]", steps=30, coarse_steps=7)
    assert (made.size, made.shape, made.steps, made.coarse_steps) == (256, (40, 56), 30, 7)


def test_one_weight_of_a_layer_can_be_set_by_itself():
    layers = {**dict(BASE.style_layers), "relu1_1": 3.0}
    assert row(**{"style_layers.relu1_1": 3}) == BASE.replace(style_layers=layers)


def test_rows_that_mean_the_same_share_one_recipe():
    recipes = RowRecipes(BASE, "")
    assert recipes.get(None, {}) is recipes.get("default", {}) is BASE
    assert recipes.get(None, {"size": 256}) is recipes.get(None, {"size": "256"})
