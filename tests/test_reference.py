"""The oracle of the other tests proves itself: against loops, closed forms and finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from tests.reference import (
    START_IMAGES,
    SYSTEMS,
    adam_start,
    adam_step,
    d2l_learning_rate,
    image_from_pixels,
    losses_and_gradient,
    normalised_gradient_step,
    pixels_from_image,
    tf2_adam_step,
)
from tests.reference.losses import PARTS, content_term, style_term
from tests.reference.terms import gram
from tests.reference.vgg import (
    CONVOLUTIONS_PER_BLOCK,
    backward,
    convolution_names,
    convolve,
    convolve_backward,
    forward,
    max_pool,
    max_pool_backward,
)

WIDTHS = (5, 6, 7, 8, 9)
"""Channels of the narrow networks used here, by block."""

NAMES = list(SYSTEMS)


def random_arrays(network: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Return a narrow network whose activations neither vanish nor explode (He et al. 2015)."""
    rng, arrays, before = np.random.default_rng(seed), {}, 3
    for name in convolution_names(network):
        width = WIDTHS[int(name[4]) - 1]
        arrays[f"{name}.weight"] = rng.normal(0, np.sqrt(2 / (9 * before)), (width, before, 3, 3))
        arrays[f"{name}.bias"] = rng.normal(0, 0.3, width)
        before = width
    return arrays


def random_pictures(seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return three pictures of 20x24, 0..255: where the image is, content and style."""
    rng = np.random.default_rng(seed)
    return tuple(rng.uniform(0, 255, (20, 24, 3)) for _ in range(3))


def evaluate(name, image, parts=PARTS, **options):
    _, content, style = random_pictures()
    arrays = random_arrays(SYSTEMS[name].network)
    return losses_and_gradient(name, image, content, style, arrays, parts=parts, **options)


def start(name: str) -> np.ndarray:
    return image_from_pixels(name, random_pictures()[0])


# --- the network ---


def test_convolution_equals_loops():
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(2, 4, 5)), rng.normal(size=(3, 2, 3, 3))
    expected = np.zeros((3, 4, 5))
    for o, c, y, z, i, j in np.ndindex(3, 2, 4, 5, 3, 3):
        if 0 <= y + i - 1 < 4 and 0 <= z + j - 1 < 5:
            expected[o, y, z] += weight[o, c, i, j] * x[c, y + i - 1, z + j - 1]
    np.testing.assert_allclose(convolve(x, weight), expected, rtol=1e-12, atol=1e-12)


def test_convolution_backward_is_the_adjoint():
    rng = np.random.default_rng(0)
    x, g, weight = rng.normal(size=(2, 5, 6)), rng.normal(size=(3, 5, 6)), rng.normal(size=(3, 2, 3, 3))
    assert (convolve(x, weight) * g).sum() == pytest.approx((x * convolve_backward(g, weight)).sum())


def test_max_pool_drops_the_odd_row_and_column():
    x = np.arange(25.0).reshape(1, 5, 5)
    np.testing.assert_array_equal(max_pool(x), [[[6, 8], [16, 18]]])
    routed = max_pool_backward(np.array([[[1.0, 2], [3, 4]]]), x)
    expected = np.zeros((1, 5, 5))
    expected[0, [1, 1, 3, 3], [1, 3, 1, 3]] = 1, 2, 3, 4
    np.testing.assert_array_equal(routed, expected)


@pytest.mark.parametrize(
    ("window", "first"),
    [([[5, 5], [5, 5]], (0, 0)), ([[1, 5], [5, 5]], (0, 1)), ([[1, 2], [5, 5]], (1, 0))],
)
def test_ties_in_a_window_go_to_the_first_in_row_major_order(window, first):
    routed = max_pool_backward(np.ones((1, 1, 1)), np.array([window], dtype=float))
    assert np.argwhere(routed[0]).tolist() == [list(first)]


def test_no_gradient_passes_a_relu_at_zero():
    arrays = {"conv1_1.weight": np.ones((1, 3, 3, 3)), "conv1_1.bias": np.zeros(1)}
    maps = forward("vgg19", arrays, np.zeros((3, 4, 4)), ["relu1_1"])
    ones = np.ones((1, 4, 4))
    assert not backward("vgg19", arrays, maps, {"relu1_1": ones}).any()
    assert backward("vgg19", arrays, maps, {"conv1_1": ones}).all()


@pytest.mark.parametrize(("network", "count"), [("vgg16", 13), ("vgg19", 16)])
def test_networks_have_their_layers_and_sizes(network, count):
    assert sum(CONVOLUTIONS_PER_BLOCK[network]) == count
    last = convolution_names(network)[-1]
    maps = forward(network, random_arrays(network), np.zeros((3, 33, 47)), [last])
    assert len(maps) == 2 * count
    sides = [maps[f"relu{block}_1"].shape[1:] for block in range(1, 6)]
    assert sides == [(33, 47), (16, 23), (8, 11), (4, 5), (2, 2)]


def test_forward_stops_at_the_deepest_layer_asked_for():
    maps = forward("vgg19", random_arrays("vgg19"), np.zeros((3, 16, 16)), ["relu1_1", "conv2_1"])
    assert list(maps) == ["conv1_1", "relu1_1", "conv1_2", "relu1_2", "conv2_1", "relu2_1"]


@pytest.mark.parametrize("network", ["vgg16", "vgg19"])
def test_backward_equals_finite_differences_from_every_layer(network):
    rng, arrays = np.random.default_rng(2), random_arrays(network)
    x, direction = rng.normal(size=(3, 20, 24)), rng.normal(size=(3, 20, 24))
    last = convolution_names(network)[-1]
    maps, step = forward(network, arrays, x, [last]), 1e-6
    up, down = (forward(network, arrays, x + s * direction, [last]) for s in (step, -step))
    for layer, features in maps.items():
        weight = rng.normal(size=features.shape)
        numeric = (weight * (up[layer] - down[layer])).sum() / (2 * step)
        analytic = (backward(network, arrays, maps, {layer: weight}) * direction).sum()
        assert analytic == pytest.approx(numeric, rel=1e-6), layer


def test_gradients_of_several_layers_add_up():
    rng, arrays = np.random.default_rng(3), random_arrays("vgg19")
    maps = forward("vgg19", arrays, rng.normal(size=(3, 20, 24)), ["relu4_2"])
    given = {layer: rng.normal(size=maps[layer].shape) for layer in ("relu4_2", "conv4_2", "relu2_2")}
    apart = sum(backward("vgg19", arrays, maps, {layer: g}) for layer, g in given.items())
    np.testing.assert_allclose(backward("vgg19", arrays, maps, given), apart, rtol=1e-9, atol=1e-12)


# --- the terms, in closed form ---


def test_gram_of_ones():
    ones = np.ones((4, 3, 5))
    np.testing.assert_array_equal(gram(ones, 1), np.full((4, 4), 15.0))
    np.testing.assert_array_equal(gram(ones, SYSTEMS["d2l"].gram_divisor(ones.shape)), np.full((4, 4), 0.25))
    np.testing.assert_array_equal(gram(ones, SYSTEMS["tf2-adam"].gram_divisor(ones.shape)), np.ones((4, 4)))


# Features of ones, 4 x 3 x 5, against zeros: G is 15 in each of 16 places; the image has 480 pixels.
@pytest.mark.parametrize(
    ("name", "layer", "pixels", "expected"),
    [
        ("d2l", "conv3_1", 480, 1e3 / 4**2),
        ("keras-lbfgs-vgg16", "relu3_3", 67600, 0.9 * 16 * 225 / (36 * 67600.0**2)),
        ("keras-lbfgs-vgg19", "relu3_1", 480, 16 * 225 / (4 * 60**2)),
        ("tf2-adam", "relu3_1", 480, 0.002),
        ("keras-normalised-gd", "relu5_1", 480, 100 * (1 / 2) * 0.25 * 3600 / 1440**2),
        ("keras-normalised-gd", "relu4_1", 480, 100 * (1 / 3) * 0.25 * 3600 / 1440**2),
        ("keras-normalised-gd", "relu3_1", 480, 100 * (1 / 4) * 0.25 * 3600 / 1440**2),
        ("keras-normalised-gd", "relu2_1", 480, 100 * (1 / 5) * 0.25 * 3600 / 1440**2),
    ],
)
def test_style_of_ones_against_zeros(name, layer, pixels, expected):
    ones = np.ones((4, 3, 5))
    value, _ = style_term(SYSTEMS[name], layer, ones, np.zeros((4, 3, 5)), pixels)
    assert value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["d2l", "tf2-adam"])
def test_normalised_grams_do_not_feel_the_size_of_the_style(name):
    layer = SYSTEMS[name].style_layers[0]
    value, gradient = style_term(SYSTEMS[name], layer, np.ones((4, 3, 5)), np.ones((4, 7, 2)), 480)
    assert value == pytest.approx(0, abs=1e-25)
    np.testing.assert_allclose(gradient, 0, atol=1e-12)


# Sixty differences of 3: their squares sum to 540, their mean is 9.
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("d2l", 9),
        ("keras-lbfgs-vgg16", 10.8),
        ("keras-lbfgs-vgg19", 5.4e4),
        ("tf2-adam", 9e4),
        ("keras-normalised-gd", 270),
    ],
)
def test_content_of_a_constant_difference(name, expected):
    threes, zeros = np.full((4, 3, 5), 3.0), np.zeros((4, 3, 5))
    value, _ = content_term(SYSTEMS[name], "any", threes, zeros, 480)
    assert value == pytest.approx(expected, rel=1e-12)


def tv(name: str, image: np.ndarray) -> float:
    return SYSTEMS[name].tv(image, SYSTEMS[name].tv_factor)[0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("d2l", 10),
        ("keras-lbfgs-vgg16", 0.995 * 3 * 4 * 6 * 2**1.25),
        ("keras-lbfgs-vgg19", 3 * 4 * 6 * 2**1.25),
        ("tf2-adam", 2e8),
        ("keras-normalised-gd", 0),
    ],
)
def test_tv_of_a_checkerboard(name, expected):
    board = np.broadcast_to(np.indices((5, 7)).sum(axis=0) % 2, (3, 5, 7)).astype(float)
    assert tv(name, board) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("d2l", 5 * 2 * (1 / (4 * 7) + 1 / (5 * 6)) / 3),
        ("keras-lbfgs-vgg16", 0),
        ("keras-lbfgs-vgg19", 0),
        ("tf2-adam", 1e8 * 4 * (1 / (4 * 7) + 1 / (5 * 6)) / 3),
        ("keras-normalised-gd", 0),
    ],
)
def test_tv_of_a_dot_in_the_last_corner(name, expected):
    """A step of 2 down and one across in one channel; the block of the Keras systems ends before it."""
    dot = np.zeros((3, 5, 7))
    dot[1, -1, -1] = 2
    assert tv(name, dot) == pytest.approx(expected, rel=1e-12)


# --- the systems ---


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", NAMES)
def test_gradient_equals_finite_differences(name, part):
    if (name, part) == ("keras-normalised-gd", "tv"):
        assert not evaluate(name, start(name), parts=(part,)).gradient.any()
        return
    rng, image = np.random.default_rng(4), start(name)
    gradient = evaluate(name, image, parts=(part,)).gradient
    # A thousandth of a grey level, or less: small enough for the kinks, large enough for rounding.
    step = 1e-4 / SYSTEMS[name].pixel_scale.max()
    for _ in range(3):
        direction = rng.normal(size=image.shape)
        up, down = (evaluate(name, image + s * direction, parts=(part,)).total for s in (step, -step))
        assert (gradient * direction).sum() == pytest.approx((up - down) / (2 * step), rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_total_is_the_sum_of_its_parts(name):
    image = start(name)
    whole = evaluate(name, image)
    apart = [evaluate(name, image, parts=(part,)) for part in PARTS]
    assert whole.total == whole.content + whole.style + whole.tv
    assert (whole.content, whole.style, whole.tv) == tuple(one.total for one in apart)
    total = sum(one.gradient for one in apart)
    np.testing.assert_allclose(whole.gradient, total, rtol=1e-9, atol=1e-12 * np.abs(total).max())


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_lost_where_image_content_and_style_agree(name):
    content, _, other = random_pictures()
    arrays, image = random_arrays(SYSTEMS[name].network), image_from_pixels(name, content)
    at_home = losses_and_gradient(name, image, content, content, arrays)
    away = losses_and_gradient(name, image, other, other, arrays)
    assert at_home.content < 1e-20 * away.content
    assert at_home.style < 1e-20 * away.style
    assert at_home.tv == away.tv


@pytest.mark.parametrize("name", NAMES)
def test_pixels_survive_the_round_trip(name):
    pixels = random_pictures()[0]
    np.testing.assert_allclose(pixels_from_image(name, image_from_pixels(name, pixels)), pixels, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "white"),
    [
        ("d2l", [0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225]),
        ("keras-lbfgs-vgg16", [131.32, 138.221, 151.061]),
        ("keras-lbfgs-vgg19", [131.32, 138.221, 151.061]),
        ("tf2-adam", [1, 1, 1]),
        ("keras-normalised-gd", [131.32, 138.221, 151.061]),
    ],
)
def test_white_in_the_units_of_each_system(name, white):
    image = image_from_pixels(name, np.full((1, 1, 3), 255.0))
    np.testing.assert_allclose(image[:, 0, 0], white, rtol=1e-12)


def test_all_systems_feed_the_network_the_same_picture():
    """Content at relu5_2 is read by two systems whose pixel units differ; only the weights may differ."""
    keras, tf2 = (
        evaluate(name, start(name), parts=("content",)) for name in ("keras-lbfgs-vgg19", "tf2-adam")
    )
    assert tf2.content / 1e4 * WIDTHS[4] * 1 * 1 == pytest.approx(keras.content / 1e2, rel=1e-9)
    np.testing.assert_allclose(tf2.gradient / 255 / 1e4 * WIDTHS[4], keras.gradient / 1e2, rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_activation_scale_undoes_a_network_with_rescaled_filters(name):
    system, rng = SYSTEMS[name], np.random.default_rng(5)
    arrays, content, style = random_arrays(system.network), *random_pictures()[1:]
    expected = losses_and_gradient(name, start(name), content, style, arrays)
    rescaled, scale, before = dict(arrays), {}, np.ones(3)
    for conv in convolution_names(system.network):
        factor = rng.uniform(0.5, 2, len(arrays[f"{conv}.bias"]))
        rescaled[f"{conv}.weight"] = (
            arrays[f"{conv}.weight"] * factor[:, None, None, None] / before[:, None, None]
        )
        rescaled[f"{conv}.bias"] = arrays[f"{conv}.bias"] * factor
        scale[conv] = scale[conv.replace("conv", "relu")] = 1 / factor
        before = factor
    found = losses_and_gradient(name, start(name), content, style, rescaled, scale)
    np.testing.assert_allclose(found[:4], expected[:4], rtol=1e-9)
    np.testing.assert_allclose(
        found.gradient, expected.gradient, rtol=1e-7, atol=1e-10 * np.abs(expected.gradient).max()
    )


def test_activation_scale_of_one_number_has_its_power():
    plain = evaluate("d2l", start("d2l"))
    scale = {"conv4_4": 3.0} | dict.fromkeys(SYSTEMS["d2l"].style_layers, 2.0)
    found = evaluate("d2l", start("d2l"), activation_scale=scale)
    assert found[:3] == pytest.approx((9 * plain.content, 16 * plain.style, plain.tv), rel=1e-12)


def test_image_pixels_replaces_the_published_size():
    image = start("keras-lbfgs-vgg16")
    plain = evaluate("keras-lbfgs-vgg16", image)
    found = evaluate("keras-lbfgs-vgg16", image, image_pixels=480)
    assert found.style == pytest.approx(plain.style * (67600 / 480) ** 2, rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_style_of_another_size_is_taken_unless_stretched(name):
    image, content, style = start(name), random_pictures()[1], random_pictures()[2][:17]
    arguments = name, image, content, style, random_arrays(SYSTEMS[name].network)
    if SYSTEMS[name].same_shape:
        with pytest.raises(ValueError, match="stretches the style"):
            losses_and_gradient(*arguments)
    else:
        assert losses_and_gradient(*arguments).gradient.shape == image.shape


# --- the update rules ---


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_adam_on_a_constant_gradient(steps):
    """The running means are then (1 - beta^t) times g and g^2, so that all but epsilon's share cancels."""
    gradient = np.array([[[3.0, -0.02, 0.0]]])
    image, state = np.zeros((1, 1, 3)), adam_start(np.zeros((1, 1, 3)))
    expected = image
    for t in range(1, steps + 1):
        image, state = adam_step(image, gradient, state, 0.5, beta_1=0.8, beta_2=0.9, epsilon=0.1)
        expected = expected - 0.5 * gradient / (np.abs(gradient) + 0.1 / np.sqrt(1 - 0.9**t))
    np.testing.assert_allclose(image, expected, rtol=1e-12)
    assert state.steps == steps


def test_adam_on_two_gradients_by_hand():
    image, state = adam_step(np.zeros(1), np.array([1.0]), adam_start(np.zeros(1)), 0.01)
    assert image[0] == pytest.approx(-0.01 / (1 + 1e-8 / np.sqrt(0.001)), rel=1e-12)
    image, _ = adam_step(image, np.array([-2.0]), state, 0.01)
    # mean 0.09 - 0.2 over 1 - 0.81; square 0.000999 + 0.004 over 1 - 0.998001.
    move = (-0.11 / 0.19) / np.sqrt(0.004999 / 0.001999)
    assert image[0] == pytest.approx(-0.01 - 0.01 * move, rel=1e-6)


@pytest.mark.parametrize(
    ("stage", "rates"),
    [
        (1, {0: 0.01, 199: 0.01, 200: 0.01, 201: 1e-3, 400: 1e-3, 401: 1e-4, 499: 1e-4}),
        (2, {0: 0.01, 100: 0.01, 101: 1e-3, 200: 1e-3, 201: 1e-4, 299: 1e-4}),
    ],
)
def test_d2l_learning_rate(stage, rates):
    assert {step: d2l_learning_rate(step, stage) for step in rates} == pytest.approx(rates)


def test_tf2_adam_clips_and_moves_by_its_constants():
    image, gradient = np.array([0.5, -3.0, 4.0, 0.999]), np.array([10.0, 0, 0, -1e6])
    moved, state = tf2_adam_step(image, gradient, adam_start(image))
    first = 0.5 - 0.02 * 10 / (10 + 0.1 / np.sqrt(0.001))
    np.testing.assert_allclose(moved, [first, 0, 1, 1], rtol=1e-12)
    np.testing.assert_allclose(state.mean, 0.01 * gradient, rtol=1e-12)


def test_normalised_gradient_step_by_hand():
    """The RMS of (3, -4, 0, 0) is 2.5."""
    moved = normalised_gradient_step(np.zeros(4), np.array([3.0, -4.0, 0.0, 0.0]))
    np.testing.assert_allclose(moved, [-0.03 / 2.50001, 0.04 / 2.50001, 0, 0], rtol=1e-12)
    assert not normalised_gradient_step(np.zeros(4), np.zeros(4)).any()


def test_every_system_has_a_start():
    assert list(START_IMAGES) == NAMES
