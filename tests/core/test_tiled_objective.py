"""The objective tile by tile against the objective of the whole image."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from gluon_nst.backend import mx
from gluon_nst.features import VGGFeatures
from gluon_nst.generated_image import GeneratedImage
from gluon_nst.objective import StyleTransferObjective, content_targets, style_targets
from gluon_nst.parameters import load_parameters
from gluon_nst.preprocessing import PIXEL_UNITS, preprocess
from gluon_nst.recipe_files import load_recipe
from gluon_nst.tiled_objective import (
    TiledObjective,
    tiled_content_targets,
    tiled_style_targets,
)
from gluon_nst.tiles import Tiling, choose_tiling, margin
from tests.core.narrow import narrow_features, relative, smooth_picture

RECIPES = ["default", "d2l", "tf2-adam", "keras-lbfgs-vgg16", "keras-lbfgs-vgg19", "keras-normalised-gd"]


def layers_of(recipe) -> tuple[str, ...]:
    return tuple(layer for layer, weight in (*recipe.content_layers, *recipe.style_layers) if weight)


def images(recipe, height: int, width: int, first: int, count: int = 1):
    pictures = [smooth_picture(height, width, first + n) for n in range(count)]
    return preprocess(pictures, PIXEL_UNITS[recipe.pixel_units], mx.cpu())


def narrow_network(recipe) -> VGGFeatures:
    return narrow_features(
        layers_of(recipe), recipe.network, pooling=recipe.pooling, padding=recipe.padding,
        units=recipe.pixel_units,
    )  # fmt: skip


def real_network(recipe, precision: str) -> VGGFeatures:
    return VGGFeatures(
        load_parameters("bundled", recipe.network).arrays, layers_of(recipe), network=recipe.network,
        pooling=recipe.pooling, padding=recipe.padding, units=PIXEL_UNITS[recipe.pixel_units],
        context=mx.cpu(), precision=precision,
    )  # fmt: skip


def small_tiles(recipe, height: int, width: int) -> Tiling:
    """Return tiles hardly larger than the margins allow."""
    border = margin(recipe.network, layers_of(recipe))
    return choose_tiling(height, width, border, lambda h, w: h <= 2 * border + 47 and w <= 2 * border + 47)


def evaluate(objective, image):
    losses, gradient = objective(GeneratedImage(image))
    return {term: value.asnumpy().copy() for term, value in losses.items()}, gradient.asnumpy().copy()


def both(network, recipe, shape, tiling, count: int = 1):
    """Return losses and gradient of the whole image, and those of two steps by tiles."""
    content, style, image = (
        images(recipe, *shape, first, n) for first, n in ((0, count), (50, 1), (100, count))
    )
    targets = style_targets(network, recipe, style)
    # Made here, as `make_objective` would let several take turns on a CPU.
    whole = evaluate(
        StyleTransferObjective(network, recipe, content_targets(network, recipe, content), targets), image
    )
    tiled = TiledObjective(
        network, recipe, tiled_content_targets(network, recipe, content, tiling),
        tiled_style_targets(network, recipe, style, tiling), tiling,
    )  # fmt: skip
    return whole, [evaluate(tiled, image) for _ in range(2)]


def agree(whole, tiled, tolerance: float) -> None:
    for losses, gradient in tiled:
        assert relative(gradient, whole[1]) < tolerance
        for term, value in whole[0].items():
            np.testing.assert_allclose(losses[term], value, rtol=tolerance)


# Without total variation, which is not tiled and drowns the rest of the gradient in some recipes.
@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize(("pooling", "padding"), [("max", "zero"), ("average", "replicate")])
def test_tiles_give_the_gradient_of_the_whole_image(name, pooling, padding):
    recipe = load_recipe(name, pooling=pooling, padding=padding, tv_weight=0.0)
    shape = (213, 250)
    tiling = small_tiles(recipe, *shape)
    assert tiling.rows * tiling.columns >= 2
    whole, tiled = both(narrow_network(recipe), recipe, shape, tiling)
    # keras-normalised-gd's raw Gram differences cancel to few digits in float32.
    agree(whole, tiled, 1e-4 if name == "keras-normalised-gd" else 1e-5)


def test_several_images_each_keep_their_own_targets():
    recipe = load_recipe("default")
    whole, tiled = both(narrow_network(recipe), recipe, (224, 213), small_tiles(recipe, 224, 213), count=3)
    agree(whole, tiled, 1e-5)


def test_a_margin_too_small_is_seen():
    """The comparison must be able to fail: positions that see beyond their window come out otherwise."""
    recipe = load_recipe("default", tv_weight=0.0)
    tiling = dataclasses.replace(small_tiles(recipe, 213, 250), margin=48)
    whole, tiled = both(narrow_network(recipe), recipe, (213, 250), tiling)
    assert relative(tiled[0][1], whole[1]) > 1e-4


def test_steps_by_other_borders_agree_and_do_differ():
    recipe = load_recipe("default", tv_weight=0.0)
    _, (first, second) = both(narrow_network(recipe), recipe, (320, 213), small_tiles(recipe, 320, 213))
    assert 0 < relative(first[1], second[1]) < 1e-5


@pytest.mark.parametrize("weights", [{"style_weight": 0.0}, {"content_weight": 0.0}])
def test_a_term_without_weight_is_left_out(weights):
    recipe = load_recipe("default", **weights)
    whole, tiled = both(narrow_network(recipe), recipe, (213, 250), small_tiles(recipe, 213, 250))
    agree(whole, tiled, 1e-5)


def test_vgg19_proper_agrees_and_bfloat16_as_far_as_it_goes():
    recipe, shape = load_recipe("default", tv_weight=0.0), (213, 64)
    tiling = small_tiles(recipe, *shape)
    assert tiling.rows > 1
    exact, tiled = both(real_network(recipe, "float32"), recipe, shape, tiling)
    agree(exact, tiled, 2e-5)
    whole, tiled = both(real_network(recipe, "bfloat16"), recipe, shape, tiling)
    # No farther from float32 than the whole image in bfloat16 is.
    assert relative(tiled[0][1], exact[1]) < 1.3 * relative(whole[1], exact[1]) < 0.5
    agree(exact, [(losses, exact[1]) for losses, _ in tiled], 0.02)


def test_content_targets_are_those_of_the_whole_image():
    recipe = load_recipe("d2l")
    network, image = narrow_network(recipe), images(recipe, 213, 250, 0, 2)
    whole = {layer: each.asnumpy() for layer, each in content_targets(network, recipe, image).items()}
    tiled = tiled_content_targets(network, recipe, image, small_tiles(recipe, 213, 250))
    assert list(tiled) == list(whole)
    for layer, target in tiled.items():
        np.testing.assert_allclose(target.asnumpy(), whole[layer], rtol=1e-5, atol=1e-5)
