"""The objective with the front in stripes against the objective that runs it whole."""

from __future__ import annotations

import pytest

from gluon_nst.objective import StyleTransferObjective, content_targets, style_targets
from gluon_nst.recipe_files import load_recipe
from gluon_nst.striped_network import stripes_pay
from gluon_nst.striped_objective import StripedObjective, striped_content_targets, striped_style_targets
from tests.core.narrow import narrow_features, relative
from tests.core.test_tiled_objective import (
    RECIPES,
    agree,
    evaluate,
    images,
    narrow_network,
    real_network,
)


def both(network, recipe, shape, count=1):
    """Return losses and gradient of the images run whole, and those in stripes."""
    content, image = (images(recipe, *shape, first, count) for first in (0, 100))
    style = images(recipe, *shape[::-1], 50)
    whole = StyleTransferObjective(
        network, recipe, content_targets(network, recipe, content), style_targets(network, recipe, style)
    )
    expected = evaluate(whole, image)
    striped = StripedObjective(
        network, recipe, striped_content_targets(network, recipe, content),
        striped_style_targets(network, recipe, style),
    )  # fmt: skip
    return expected, [evaluate(striped, image)]


# Without total variation, which is the same in both and drowns the rest of the gradient in some recipes.
@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize(("pooling", "padding"), [("max", "zero"), ("average", "replicate")])
def test_stripes_give_the_gradient_of_the_whole_image(name, pooling, padding):
    recipe = load_recipe(name, pooling=pooling, padding=padding, tv_weight=0.0)
    agree(*both(narrow_network(recipe), recipe, (333, 75)), 1e-4 if name == "keras-normalised-gd" else 1e-5)


@pytest.mark.parametrize("height", [160, 161, 288, 299, 430])
def test_stripes_of_any_height(height):
    recipe = load_recipe("default")
    agree(*both(narrow_network(recipe), recipe, (height, 40)), 1e-5)


def test_stripes_of_several_images():
    recipe = load_recipe("d2l")
    agree(*both(narrow_network(recipe), recipe, (300, 48), count=3), 1e-5)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-6), ("bfloat16", 1e-2)])
def test_stripes_of_the_real_network(precision, tolerance):
    recipe = load_recipe("d2l", tv_weight=0.0)
    agree(*both(real_network(recipe, precision), recipe, (300, 64)), tolerance)


def test_targets_are_those_of_the_whole_image():
    recipe = load_recipe("keras-normalised-gd")
    network, image = narrow_network(recipe), images(recipe, 299, 50, 0)
    for whole, striped in (
        (content_targets, striped_content_targets),
        (style_targets, striped_style_targets),
    ):
        expected = {layer: found.asnumpy().copy() for layer, found in whole(network, recipe, image).items()}
        found = striped(network, recipe, image)
        assert set(found) == set(expected)
        for layer, values in expected.items():
            assert relative(found[layer].asnumpy(), values) < 1e-5


def test_only_large_images_of_deep_networks_go_in_stripes():
    network = narrow_features(["relu3_1"])
    assert stripes_pay(network, (1, 3, 768, 1024)) and stripes_pay(network, (4, 3, 384, 512))
    assert not stripes_pay(network, (1, 3, 384, 512))
    assert not stripes_pay(narrow_features(["relu1_2"]), (1, 3, 768, 1024))


def test_a_network_of_two_blocks_has_one_in_front():
    recipe = load_recipe(
        "default", style_layers={"relu1_1": 1.0, "relu2_2": 0.5}, content_layers={"relu2_1": 1.0}
    )
    network = narrow_network(recipe)
    assert stripes_pay(network, (1, 3, 768, 1024)) and network.front.names[-1] == "pool1"
    agree(*both(network, recipe, (299, 48)), 1e-5)
