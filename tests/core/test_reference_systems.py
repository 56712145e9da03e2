"""The five reference systems: losses, gradients, starts and updates against the oracle, and each run by name.

The real networks are compared in float32 against float64: what is seen is 1e-7 for the terms and 1e-6 for
the gradients (relative, L2), a hundred times below what is allowed here.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gluon_nst.activations import CAFFE_SCALE, rescaled_arrays
from gluon_nst.backend import mx, to_ndarray
from gluon_nst.features import VGGFeatures
from gluon_nst.generated_image import GeneratedImage
from gluon_nst.losses import total_variation
from gluon_nst.objective import StyleTransferObjective, content_targets, style_targets
from gluon_nst.optimize import AdamState, Settings, adam_step, normalized_gradient_step
from gluon_nst.parameters import load_parameters
from gluon_nst.preprocessing import PIXEL_UNITS, preprocess
from gluon_nst.pyramid import Scale
from gluon_nst.recipe import recipe_mapping
from gluon_nst.recipe_files import load_recipe, recipe_names
from gluon_nst.schedule import learning_rate
from gluon_nst.starts import noise
from gluon_nst.stylizer import Stylizer
from gluon_nst.vgg_layers import CONVOLUTIONS
from tests.core.narrow import narrow_arrays, narrow_parameters, relative, smooth_picture
from tests.reference import (
    START_IMAGES,
    SYSTEMS,
    adam_start,
    d2l_learning_rate,
    image_from_pixels,
    losses_and_gradient,
    normalised_gradient_step,
    tf2_adam_step,
)
from tests.reference import adam_step as numpy_adam_step

DATA = Path(__file__).parents[2] / "data"
NAMES = list(SYSTEMS)
PARTS = ("content", "style", "tv")
TOLERANCE = 1e-4

SHAPE = (32, 48)
STYLE_SHAPE = {"tf2-adam": (36, 30)}
"""Where the system does not stretch the style to the content."""


@lru_cache
def parameters(network: str):
    return load_parameters("bundled", network)


def photograph(path: str, height: int, width: int) -> np.ndarray:
    with Image.open(DATA / path) as image:
        return np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS))


@lru_cache
def pictures(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the image in the system's units, and the content and style pictures."""
    content = photograph("photos/temple.jpg", *SHAPE)
    style = photograph("styles/night_lanterns.jpg", *STYLE_SHAPE.get(name, SHAPE))
    noise = np.random.default_rng(0).normal(0, 20, content.shape)
    image = image_from_pixels(name, np.clip(content + noise, 0, 255)).astype(np.float32)
    return image, content, style


def layer_factors(network: str, activations: str) -> dict[str, float]:
    """Return the factor of every feature map: that of a named layer holds on until the next named one."""
    factors, factor = {}, 1.0
    for conv in CONVOLUTIONS[network]:
        factor = CAFFE_SCALE[activations].get(conv, factor)
        factors[conv] = factors[conv.replace("conv", "relu")] = factor
    return factors


def oracle(name: str, arrays, factors, part: str):
    """Return the oracle's losses and gradient with one part alone."""
    image, content, style = pictures(name)
    # The 260 x 260 of keras-lbfgs-vgg16 is the number of pixels of its image: H W in the product.
    pixels = SHAPE[0] * SHAPE[1] if name == "keras-lbfgs-vgg16" else None
    return losses_and_gradient(
        name,
        image.astype(float),
        content.astype(float),
        style.astype(float),
        arrays,
        factors,
        parts=(part,),
        image_pixels=pixels,
    )


def evaluate(recipe, network: VGGFeatures, image, content, style):
    """Return the terms as numbers and the gradient (3, H, W)."""
    units = PIXEL_UNITS[recipe.pixel_units]
    objective = StyleTransferObjective(
        network,
        recipe,
        content_targets(network, recipe, preprocess([content], units, mx.cpu())),
        style_targets(network, recipe, preprocess([style], units, mx.cpu())),
    )
    losses, gradient = objective(GeneratedImage(to_ndarray(image[None])))
    return {term: value.asscalar() for term, value in losses.items()}, gradient.asnumpy()[0]


def alone(recipe, part: str):
    """Return the recipe with the weights of the other parts 0."""
    return recipe.replace(**{f"{other}_weight": 0 for other in PARTS if other != part})


def network_of(recipe, arrays) -> VGGFeatures:
    return VGGFeatures(
        arrays,
        [layer for layer, _ in (*recipe.content_layers, *recipe.style_layers)],
        network=recipe.network,
        pooling=recipe.pooling,
        padding=recipe.padding,
        units=PIXEL_UNITS[recipe.pixel_units],
        context=mx.cpu(),
    )


# --- losses and gradients ---


@pytest.mark.parametrize("activations", ["as-is", "caffe"])
@pytest.mark.parametrize("name", NAMES)
def test_losses_and_gradients_are_the_oracles(name, activations):
    recipe, image = load_recipe(name, activations=activations), pictures(name)[0]
    real = parameters(recipe.network)
    factors = layer_factors(recipe.network, real.activations) if activations == "caffe" else None
    network = network_of(recipe, rescaled_arrays(real, activations))
    expected = {part: oracle(name, real.arrays, factors, part) for part in ("content", "style")}
    for part in expected:
        losses, gradient = evaluate(alone(recipe, part), network, *pictures(name))
        assert losses[part] == pytest.approx(getattr(expected[part], part), rel=TOLERANCE), part
        assert losses["total"] == pytest.approx(losses[part])
        assert relative(gradient, expected[part].gradient) < TOLERANCE, part
    tv, by_tv = SYSTEMS[name].tv(image.astype(float), SYSTEMS[name].tv_factor)
    terms = {"content": expected["content"].content, "style": expected["style"].style, "tv": tv}
    losses, gradient = evaluate(recipe, network, *pictures(name))
    for part, term in {**terms, "total": sum(terms.values())}.items():
        assert losses[part] == pytest.approx(term, rel=TOLERANCE), part
    whole = by_tv + expected["content"].gradient + expected["style"].gradient
    assert relative(gradient, whole) < TOLERANCE


@pytest.mark.parametrize("name", [name for name in NAMES if SYSTEMS[name].tv_factor])
def test_total_variation_is_the_oracles(name):
    recipe, image = load_recipe(name), pictures(name)[0]
    expected_value, expected_gradient = SYSTEMS[name].tv(image.astype(float), SYSTEMS[name].tv_factor)
    value, gradient = total_variation(to_ndarray(image[None]), recipe.tv_loss)
    assert recipe.tv_weight * value.asscalar() == pytest.approx(expected_value, rel=TOLERANCE)
    assert relative(recipe.tv_weight * gradient.asnumpy()[0], expected_gradient) < TOLERANCE


@pytest.mark.parametrize("name", [name for name in NAMES if SYSTEMS[name].tv_factor])
def test_total_variation_alone_can_be_optimised(name):
    recipe = load_recipe(name)
    arrays = narrow_arrays(recipe.network)
    losses, gradient = evaluate(alone(recipe, "tv"), network_of(recipe, arrays), *pictures(name))
    expected = oracle(name, arrays, None, "tv")
    assert losses["total"] == losses["tv"] == pytest.approx(expected.tv, rel=TOLERANCE)
    assert relative(gradient, expected.gradient) < TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_several_images_are_evaluated_as_if_alone(name):
    recipe = load_recipe(name)
    network = network_of(recipe, narrow_arrays(recipe.network))
    units = PIXEL_UNITS[recipe.pixel_units]
    contents = [smooth_picture(*SHAPE, seed) for seed in range(3)]
    starts = [smooth_picture(*SHAPE, seed + 10) for seed in range(3)]
    style = pictures(name)[2]
    objective = StyleTransferObjective(
        network,
        recipe,
        content_targets(network, recipe, preprocess(contents, units, mx.cpu())),
        style_targets(network, recipe, preprocess([style], units, mx.cpu())),
    )
    together, gradients = objective(GeneratedImage(preprocess(starts, units, mx.cpu())))
    terms = {term: value.asnumpy() for term, value in together.items()}
    gradients = gradients.asnumpy()
    for n, content in enumerate(contents):
        image = preprocess([starts[n]], units, mx.cpu()).asnumpy()[0]
        losses, gradient = evaluate(recipe, network, image, content, style)
        for term, value in losses.items():
            assert terms[term][n] == pytest.approx(value, rel=1e-5)
        assert relative(gradients[n], gradient) < 1e-5


def test_a_layer_may_carry_both_content_and_style():
    layers = {"relu1_1": 1.0, "relu2_1": 0.5}
    recipe = load_recipe(
        "tf2-adam", content_layers=layers, style_layers=layers, content_weight=1, tv_weight=0
    )
    network = network_of(recipe, narrow_arrays())
    _, both = evaluate(recipe, network, *pictures("tf2-adam"))
    one_by_one = [evaluate(alone(recipe, part), network, *pictures("tf2-adam"))[1] for part in PARTS[:2]]
    assert relative(both, sum(one_by_one)) < 1e-5
    assert min(np.linalg.norm(gradient) for gradient in one_by_one) > 0


def test_targets_stay_when_the_network_sees_another_picture():
    recipe = load_recipe("tf2-adam")
    network = network_of(recipe, narrow_arrays())
    image, other = (
        preprocess([smooth_picture(*SHAPE, seed)], PIXEL_UNITS["unit"], mx.cpu()) for seed in (1, 2)
    )
    targets = [content_targets(network, recipe, image), style_targets(network, recipe, image)]
    before = [{layer: array.asnumpy() for layer, array in each.items()} for each in targets]
    content_targets(network, recipe, other)
    network.record(other)
    for each, expected in zip(targets, before, strict=True):
        for layer, array in each.items():
            np.testing.assert_array_equal(array.asnumpy(), expected[layer])


def test_layers_of_no_weight_cost_and_change_nothing():
    with_zero = load_recipe("tf2-adam", style_layers={"relu1_1": 1.0, "relu3_1": 0.0})
    without = load_recipe("tf2-adam", style_layers={"relu1_1": 1.0})
    network = network_of(with_zero, narrow_arrays())
    losses, gradient = evaluate(with_zero, network, *pictures("tf2-adam"))
    expected, expected_gradient = evaluate(without, network, *pictures("tf2-adam"))
    assert losses == expected
    np.testing.assert_array_equal(gradient, expected_gradient)


@pytest.mark.parametrize("network", ["vgg16", "vgg19"])
def test_rescaled_parameters_scale_each_layer_by_its_factor(network):
    given = narrow_parameters(network, activations="unit-mean" if network == "vgg19" else "torchvision")
    factors = layer_factors(network, given.activations)
    layers = list(factors)
    image = to_ndarray(np.random.default_rng(0).normal(size=(1, 3, 20, 24)))
    maps = {}
    for activations in ("as-is", "caffe"):
        features = VGGFeatures(
            rescaled_arrays(given, activations),
            layers,
            network=network,
            pooling="max",
            padding="zero",
            units=PIXEL_UNITS["imagenet"],
            context=mx.cpu(),
        )
        maps[activations] = {layer: array.asnumpy() for layer, array in features.extract(image).items()}
    assert len(set(factors.values())) >= 5
    for layer, factor in factors.items():
        assert relative(maps["caffe"][layer], factor * maps["as-is"][layer]) < 1e-5, layer


@pytest.mark.parametrize("scale", ["caffe", "unknown"])
def test_parameters_of_the_original_or_an_unknown_scale_stay(scale):
    given = narrow_parameters(activations=scale)
    assert rescaled_arrays(given, "caffe") is given.arrays


# --- updates ---


def settings_of(name: str) -> Settings:
    recipe = load_recipe(name)
    low, high = PIXEL_UNITS[recipe.pixel_units].bounds()
    names = {field: getattr(recipe, field) for field in Settings.__dataclass_fields__ if field != "bounds"}
    return Settings(**names, bounds=(low, high) if recipe.clip else None)


def oracle_step(name: str, image, gradient, state, step: int):
    if name == "d2l":
        return numpy_adam_step(image, gradient, state, d2l_learning_rate(step, 2))
    if name == "tf2-adam":
        return tf2_adam_step(image, gradient, state)
    return normalised_gradient_step(image, gradient), state


@pytest.mark.parametrize("name", ["d2l", "tf2-adam", "keras-normalised-gd"])
def test_three_steps_lead_where_the_oracles_lead(name):
    recipe, setting, arrays = load_recipe(name), settings_of(name), narrow_arrays()
    start, content, style = pictures(name)
    units = PIXEL_UNITS[recipe.pixel_units]
    network = network_of(recipe, arrays)
    objective = StyleTransferObjective(
        network,
        recipe,
        content_targets(network, recipe, preprocess([content], units, mx.cpu())),
        style_targets(network, recipe, preprocess([style], units, mx.cpu())),
    )
    generated = GeneratedImage(to_ndarray(start[None]))
    state = AdamState.fresh(generated.image.data())
    slow, slow_state = start.astype(float), adam_start(start.astype(float))
    for step in range(3):
        _, gradient = objective(generated)
        rate = learning_rate(
            step,
            recipe.steps,
            recipe.learning_rate,
            schedule=recipe.schedule,
            every=recipe.decay_every,
            factor=recipe.decay_factor,
        )
        if recipe.optimizer == "adam":
            state = adam_step(generated.image.data(), gradient, state, rate, setting)
        else:
            normalized_gradient_step(generated.image.data(), gradient, rate, setting.epsilon)
        if setting.bounds is not None:
            generated.clip(*setting.bounds)
        reference = losses_and_gradient(name, slow, content.astype(float), style.astype(float), arrays)
        slow, slow_state = oracle_step(name, slow, reference.gradient, slow_state, step)
    moved = slow - start
    assert np.abs(moved).max() > recipe.learning_rate
    # Numbers whose gradient is next to nothing may go the other way under Adam: most must agree, and well.
    assert relative(generated.image.data().asnumpy()[0] - start, moved) < 0.01


# --- starts ---


def distribution_of(name: str):
    kind, given = START_IMAGES[name]
    if kind == "uniform":
        low, high = given["low"], given["high"]
        return (low + high) / 2, (high - low) / np.sqrt(12), low, high
    return given["mean"], given["std"], -np.inf, np.inf


@pytest.mark.parametrize("name", [name for name in NAMES if START_IMAGES[name][0] != "content"])
def test_noise_starts_have_their_distribution(name):
    numbers = noise(load_recipe(name), smooth_picture(30, 40, seed=1), Scale(96, 128, 1, 1)).astype(float)
    mean, deviation, low, high = distribution_of(name)
    error = deviation / np.sqrt(numbers.size)
    assert numbers.shape == (3, 96, 128)
    assert abs(numbers.mean() - mean) < 5 * error
    assert numbers.std() == pytest.approx(deviation, rel=0.02)
    assert low <= numbers.min()
    assert numbers.max() <= high
    if np.isfinite(high):
        assert numbers.max() - numbers.min() > 0.999 * (high - low)
        assert np.histogram(numbers, 4, (low, high))[0].min() > 0.24 * numbers.size
    else:
        assert (np.abs(numbers - mean) < deviation).mean() == pytest.approx(0.6827, abs=0.01)
    # Neighbors have nothing to do with each other.
    assert abs(np.corrcoef(numbers[:, :, 1:].ravel(), numbers[:, :, :-1].ravel())[0, 1]) < 0.03


def test_d2l_starts_from_the_photograph():
    assert START_IMAGES["d2l"][0] == "content"
    picture = smooth_picture(32, 48, seed=1)
    recipe = load_recipe("d2l", shape=[32, 48], scales=1, steps=1, learning_rate=1e-12)
    (result,) = Stylizer(recipe, narrow_parameters(), device="cpu").stylize([picture], [picture])
    np.testing.assert_array_equal(result.pixels, picture)


# --- recipes as data, and the whole way ---


def test_there_is_a_recipe_for_every_system():
    assert set(recipe_names()) == {"default", *SYSTEMS}


@pytest.mark.parametrize("name", NAMES)
def test_recipes_name_the_layers_of_the_system(name):
    recipe, system = load_recipe(name), SYSTEMS[name]
    assert recipe.network == system.network
    assert [layer for layer, _ in recipe.content_layers] == [system.content_layer]
    assert tuple(layer for layer, _ in recipe.style_layers) == system.style_layers
    assert (recipe.style_fit == "stretch") >= system.same_shape
    assert recipe.pooling == "max"
    assert recipe.padding == "zero"


def test_recipes_have_the_numbers_of_their_optimisers():
    facts = {
        "d2l": ("adam", 0.01, 0.9, 0.999, 1e-8, False),
        "tf2-adam": ("adam", 0.02, 0.99, 0.999, 0.1, True),
        "keras-normalised-gd": ("normalized-gd", 0.01, None, None, 1e-5, False),
    }
    for name, expected in facts.items():
        recipe = recipe_mapping(load_recipe(name))
        fields = ("optimizer", "learning_rate", "beta1", "beta2", "epsilon", "clip")
        for field, value in zip(fields, expected, strict=True):
            assert value is None or recipe[field] == value, (name, field)
    for name in ("keras-lbfgs-vgg16", "keras-lbfgs-vgg19"):
        recipe = load_recipe(name)
        assert (recipe.optimizer, recipe.lbfgs_round, recipe.steps) == ("lbfgs", 20, 200)
        assert not recipe.clip


@pytest.mark.parametrize("name", ["default", *NAMES])
def test_every_recipe_runs_by_name(name):
    recipe = load_recipe(name, steps=2, coarse_steps=2, size=48, min_size=24)
    if recipe.shape:
        recipe = recipe.replace(shape=[32, 48])
    content, style = photograph("photos/temple.jpg", 40, 60), photograph("styles/woodblock_waves.jpg", 50, 40)
    (result,) = Stylizer(recipe, parameters(recipe.network), device="cpu").stylize([content], [style])
    assert result.pixels.shape == (32, 48, 3)
    assert result.pixels.dtype == np.uint8
    assert result.pixels.std() > 5
    assert len({point.scale for point in result.losses}) == (2 if name in ("default", "d2l") else 1)
    for point in result.losses:
        terms = (point.content, point.style, point.tv)
        assert np.isfinite(terms).all()
        assert min(terms) >= 0
        assert point.total == pytest.approx(sum(terms), rel=1e-5)
    assert result.losses[-1].total != result.losses[0].total
