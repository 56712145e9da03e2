"""Several images in turns, as on a CPU, against all in one pass, as on a GPU."""

from __future__ import annotations

import numpy as np
import pytest

from gluon_nst.objective import StyleTransferObjective, content_targets, style_targets
from gluon_nst.recipe_files import load_recipe
from gluon_nst.tiled_objective import make_objective
from tests.core.test_tiled_objective import RECIPES, agree, evaluate, images, narrow_network


@pytest.mark.parametrize("name", RECIPES)
def test_turns_give_the_losses_and_the_gradient_of_one_pass(name):
    recipe = load_recipe(name)
    network = narrow_network(recipe)
    content, image = (images(recipe, 48, 80, first, 3) for first in (0, 100))
    styles = style_targets(network, recipe, images(recipe, 40, 40, 50))
    whole = StyleTransferObjective(network, recipe, content_targets(network, recipe, content), styles)
    agree(
        evaluate(whole, image),
        [evaluate(make_objective(network, recipe, content, styles, None), image)],
        1e-5,
    )


def test_turns_are_one_by_one_bit_for_bit_and_may_be_taken_again():
    recipe = load_recipe("default")
    network = narrow_network(recipe)
    content, image = (images(recipe, 48, 80, first, 3) for first in (0, 100))
    styles = style_targets(network, recipe, images(recipe, 40, 40, 50))
    turns = make_objective(network, recipe, content, styles, None)
    evaluate(turns, image * 0.5)
    losses, gradient = evaluate(turns, image)
    for place in range(3):
        own = slice(place, place + 1)
        expected, alone = evaluate(make_objective(network, recipe, content[own], styles, None), image[own])
        np.testing.assert_array_equal(gradient[own], alone)
        assert {term: value[place] for term, value in losses.items()} == {
            term: value[0] for term, value in expected.items()
        }
