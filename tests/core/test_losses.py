"""Losses: values by theory, closed-form gradients against autograd and finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from gluon_nst.backend import FLOAT_TYPES, as_float32, autograd, is_float32, nd, to_ndarray
from gluon_nst.losses import (
    content_divisor,
    content_loss,
    gram_divisor,
    normalized_gram,
    style_divisor,
    style_loss,
    total_variation,
)
from gluon_nst.recipe import CHOICES
from tests.core.narrow import relative

CONTENT = CHOICES["content_loss"]
STYLE = CHOICES["style_loss"]
GRAM = CHOICES["gram"]
VARIATION = CHOICES["tv_loss"]
PIXELS = 37 * 41
"""Pixels of the image that the feature maps are said to come from."""

MAPS = [(2, 4, 5, 7), (2, 6, 18, 20)]
"""Shapes on either side of 256 positions, where the Gram matrix takes another way."""


def maps(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.5, 1, shape).astype(np.float32)


# --- the straightforward forms, in NumPy and float64 ---


def plain_content(x: np.ndarray, t: np.ndarray, kind: str) -> np.ndarray:
    """Return the loss of each image, (N,)."""
    square = ((x - t) ** 2).reshape(len(x), -1)
    if kind == "sum":
        return square.sum(1)
    return square.mean(1) / ((t**2).reshape(len(t), -1).mean(1) if kind == "relative" else 1)


def plain_gram(x: np.ndarray, gram: str) -> np.ndarray:
    _, c, h, w = x.shape
    return np.einsum("nchw,ndhw->ncd", x, x) / {"raw": 1, "hw": h * w, "chw": c * h * w}[gram]


def plain_style(x: np.ndarray, t: np.ndarray, kind: str, gram: str) -> np.ndarray:
    _, c, h, w = x.shape
    square = (plain_gram(x, gram) - t) ** 2
    if kind == "mean":
        return square.mean((1, 2))
    if kind == "relative":
        return square.mean((1, 2)) / (t**2).mean((1, 2))
    return square.sum((1, 2)) / (4 * (c * h * w) ** 2 if kind == "layer-size" else 4 * (3 * PIXELS) ** 2)


def plain_variation(x: np.ndarray, kind: str) -> np.ndarray:
    down, right = np.diff(x, axis=2), np.diff(x, axis=3)
    if kind == "power":
        return ((down[..., :-1] ** 2 + right[:, :, :-1] ** 2) ** 1.25).sum((1, 2, 3))
    if kind == "absolute":
        return (np.abs(down).mean((1, 2, 3)) + np.abs(right).mean((1, 2, 3))) / 2
    return (down**2).mean((1, 2, 3)) + (right**2).mean((1, 2, 3))


def slope(function, x: np.ndarray, direction: np.ndarray, step: float = 1e-5) -> float:
    """Return the derivative of the sum of `function` at x along a direction, by central differences."""
    x, direction = x.astype(float), direction.astype(float)
    return float((function(x + step * direction) - function(x - step * direction)).sum() / (2 * step))


# --- gradients ---


def by_autograd(loss, x: np.ndarray):
    """Return value and gradient as MXNet's autograd gives them for an expression of NDArrays."""
    variable = to_ndarray(x)
    variable.attach_grad()
    with autograd.record():
        value = loss(variable)
    value.backward()
    return value.asnumpy(), variable.grad.asnumpy()


def check(found, autograd_form, plain_form, x: np.ndarray) -> None:
    value, gradient = (array.asnumpy() for array in found)
    expected_value, expected_gradient = by_autograd(autograd_form, x)
    assert value.shape == (len(x),)
    assert gradient.shape == x.shape
    np.testing.assert_allclose(value, expected_value, rtol=2e-5)
    assert relative(gradient, expected_gradient) < 2e-5
    np.testing.assert_allclose(value, plain_form(x.astype(float)), rtol=2e-5)
    direction = np.sign(gradient) + np.random.default_rng(9).normal(size=x.shape)
    assert float((gradient * direction).sum()) == pytest.approx(slope(plain_form, x, direction), rel=1e-4)


@pytest.mark.parametrize("shape", MAPS, ids=str)
@pytest.mark.parametrize("kind", CONTENT)
def test_content_gradient(kind, shape):
    x, t = maps(shape), maps(shape, seed=1)
    target = to_ndarray(t)

    def loss(variable):
        square = (variable - target) ** 2
        if kind == "sum":
            return square.sum(axis=(1, 2, 3))
        scale = (target**2).mean(axis=(1, 2, 3)) if kind == "relative" else nd.ones(len(x))
        return square.mean(axis=(1, 2, 3)) / scale

    found = content(to_ndarray(x), target, kind)
    check(found, loss, lambda image: plain_content(image, t.astype(float), kind), x)


@pytest.mark.parametrize("shape", MAPS, ids=str)
@pytest.mark.parametrize("gram", GRAM)
@pytest.mark.parametrize("kind", STYLE)
def test_style_gradient(kind, gram, shape):
    x = maps(shape)
    count, c, h, w = shape
    t = plain_gram(maps(shape, seed=1).astype(float), gram)
    target = to_ndarray(t)
    divisor = {"raw": 1, "hw": h * w, "chw": c * h * w}[gram]

    def loss(variable):
        flat = variable.reshape((count, c, h * w))
        square = (nd.batch_dot(flat, flat, transpose_b=True) / divisor - target) ** 2
        if kind == "relative":
            return square.mean(axis=(1, 2)) / (target**2).mean(axis=(1, 2))
        if kind == "mean":
            return square.mean(axis=(1, 2))
        root = 2.0 * (c * h * w if kind == "layer-size" else 3 * PIXELS)
        return square.sum(axis=(1, 2)) / root**2

    found = style_loss(to_ndarray(x), target, kind, gram, PIXELS)
    check(found, loss, lambda image: plain_style(image, t, kind, gram), x)


@pytest.mark.parametrize("kind", VARIATION)
def test_total_variation_gradient(kind):
    x = maps((2, 3, 9, 11))

    def loss(variable):
        down, right = variable[:, :, 1:] - variable[:, :, :-1], variable[:, :, :, 1:] - variable[:, :, :, :-1]
        if kind == "power":
            square = down[:, :, :, :-1] ** 2 + right[:, :, :-1] ** 2
            return (square**1.25).sum(axis=(1, 2, 3))
        if kind == "absolute":
            return (down.abs().mean(axis=(1, 2, 3)) + right.abs().mean(axis=(1, 2, 3))) / 2
        return (down**2).mean(axis=(1, 2, 3)) + (right**2).mean(axis=(1, 2, 3))

    found = total_variation(to_ndarray(x), kind)
    check(found, loss, lambda image: plain_variation(image, kind), x)


def content(features, target, kind):
    return content_loss(features, target, content_divisor(target, kind))


@pytest.mark.parametrize("weight", [0.25, 3.0])
def test_a_weight_multiplies_value_and_gradient(weight):
    x, t = to_ndarray(maps((2, 3, 20, 20))), to_ndarray(maps((2, 3, 20, 20), seed=1))
    gram = normalized_gram(t, "hw")
    pairs = [
        (content_loss(x, t, content_divisor(t, "mean"), w), style_loss(x, gram, "relative", "hw", PIXELS, w))
        for w in (1.0, weight)
    ]
    for plain, weighted in zip(*pairs, strict=True):
        for one, other in zip(plain, weighted, strict=True):
            assert relative(other.asnumpy(), weight * one.asnumpy()) < 1e-5


@pytest.mark.parametrize("shape", [(1, 64, 20, 24), (2, 16, 7, 9)], ids=str)
def test_losses_of_bfloat16_features_follow_float32(shape):
    x, t = to_ndarray(maps(shape)), to_ndarray(maps(shape, seed=1))
    low = nd.amp_cast(x, dtype=FLOAT_TYPES["bfloat16"])
    gram = normalized_gram(t, "hw")
    for loss in (lambda f: content(f, t, "relative"), lambda f: style_loss(f, gram, "mean", "hw", PIXELS)):
        (value, gradient), (expected, slope_there) = loss(low), loss(x)
        assert is_float32(value)
        np.testing.assert_allclose(value.asnumpy(), expected.asnumpy(), rtol=2e-2)
        assert relative(as_float32(gradient).asnumpy(), slope_there.asnumpy()) < 3e-2


# --- values by theory ---


@pytest.mark.parametrize("gram", GRAM)
@pytest.mark.parametrize(("h", "w"), [(5, 6), (20, 30)])
def test_gram_of_ones(gram, h, w):
    found = normalized_gram(nd.ones((2, 7, h, w)), gram).asnumpy()
    assert found.shape == (2, 7, 7)
    np.testing.assert_allclose(found, {"raw": h * w, "hw": 1, "chw": 1 / 7}[gram], rtol=1e-6)


def test_gram_divisors():
    assert [gram_divisor(kind, 64, 100) for kind in ("raw", "hw", "chw")] == [1, 100, 6400]


def test_style_divisors():
    target = to_ndarray(np.stack([np.full((3, 3), 2.0), np.full((3, 3), 5.0)]))
    found = {kind: style_divisor(kind, target, 10, 100).asnumpy().tolist() for kind in STYLE}
    assert found == {
        "mean": [9],
        "relative": [9 * 4, 9 * 25],
        "layer-size": [4 * (3 * 10) ** 2],
        "image-size": [4 * 300**2],
    }


def test_content_of_a_known_difference():
    target = to_ndarray(maps((2, 3, 4, 5)))
    expected = {"sum": 4 * 60, "mean": 4}
    for kind, number in expected.items():
        value, gradient = content(target + 2, target, kind)
        np.testing.assert_allclose(value.asnumpy(), number, rtol=1e-5)
        np.testing.assert_allclose(gradient.asnumpy(), 4 if kind == "sum" else 4 / 60, rtol=1e-5)


@pytest.mark.parametrize("kind", CONTENT)
def test_content_at_its_target_is_zero(kind):
    target = to_ndarray(maps((2, 3, 4, 5)))
    value, gradient = content(target, target, kind)
    assert not value.asnumpy().any()
    assert not gradient.asnumpy().any()


@pytest.mark.parametrize("gram", GRAM)
@pytest.mark.parametrize("kind", STYLE)
def test_style_at_its_target_is_zero(kind, gram):
    features = to_ndarray(maps((2, 3, 20, 20)))
    value, gradient = style_loss(features, normalized_gram(features, gram), kind, gram, PIXELS)
    assert not value.asnumpy().any()
    assert not gradient.asnumpy().any()


def test_a_relative_loss_of_zeros_is_one():
    features = maps((2, 3, 20, 20))
    alike, _ = content(nd.zeros(features.shape), to_ndarray(features), "relative")
    np.testing.assert_allclose(alike.asnumpy(), 1, rtol=1e-6)
    for gram in GRAM:
        target = normalized_gram(to_ndarray(features), gram)
        style, gradient = style_loss(nd.zeros(features.shape), target, "relative", gram, PIXELS)
        np.testing.assert_allclose(style.asnumpy(), 1, rtol=1e-6)
        assert not gradient.asnumpy().any()


def test_relative_losses_stay_finite_on_a_target_of_zeros():
    features, zeros = to_ndarray(maps((1, 3, 4, 4))), nd.zeros((1, 3, 4, 4))
    for value, gradient in (
        content(features, zeros, "relative"),
        style_loss(features, nd.zeros((1, 3, 3)), "relative", "hw", PIXELS),
    ):
        assert np.isfinite(value.asnumpy()).all()
        assert np.isfinite(gradient.asnumpy()).all()


def test_a_style_target_of_ones_seen_from_zeros():
    value = {
        kind: style_loss(nd.zeros((1, 3, 4, 5)), nd.ones((1, 3, 3)), kind, "hw", PIXELS)[0].asscalar()
        for kind in STYLE
    }
    assert value["mean"] == pytest.approx(1)
    assert value["relative"] == pytest.approx(1)
    assert value["layer-size"] == pytest.approx(9 / (4 * 60**2))
    assert value["image-size"] == pytest.approx(9 / (4 * (3 * PIXELS) ** 2))


def test_raw_gram_entries_of_a_large_picture_do_not_overflow():
    # Entries of 4e20 square beyond the 3e38 of float32.
    features = nd.full((1, 2, 20, 20), 1e9)
    value, gradient = style_loss(features, nd.zeros((1, 2, 2)), "image-size", "raw", 10**6)
    expected = 4 * (400 * 1e18) ** 2 / (4 * (3e6) ** 2)
    assert value.asscalar() == pytest.approx(expected, rel=1e-5)
    assert np.isfinite(gradient.asnumpy()).all()


def checkerboard(h: int, w: int) -> np.ndarray:
    board = (np.add.outer(np.arange(h), np.arange(w)) % 2).astype(np.float32)
    return np.broadcast_to(board, (2, 3, h, w))


@pytest.mark.parametrize(
    ("kind", "expected"), [("absolute", 1), ("squared", 2), ("power", 2**1.25 * 3 * 7 * 8)]
)
def test_variation_of_a_checkerboard(kind, expected):
    value, _ = total_variation(to_ndarray(checkerboard(8, 9)), kind)
    np.testing.assert_allclose(value.asnumpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize(
    ("kind", "expected"), [("absolute", 0.5 * 0.25), ("squared", 0.25**2), ("power", 0.25**2.5 * 3 * 7 * 8)]
)
def test_variation_of_a_ramp(kind, expected, axis):
    ramp = np.arange(8 if axis == 2 else 9, dtype=np.float32) * 0.25
    image = np.broadcast_to(ramp[:, None] if axis == 2 else ramp, (2, 3, 8, 9))
    value, _ = total_variation(to_ndarray(image), kind)
    np.testing.assert_allclose(value.asnumpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("kind", VARIATION)
def test_variation_of_one_color_is_zero(kind):
    value, gradient = total_variation(nd.full((2, 3, 8, 9), 0.7), kind)
    assert not value.asnumpy().any()
    assert not gradient.asnumpy().any()


@pytest.mark.parametrize("kind", VARIATION)
def test_the_gradient_of_variation_moves_no_mean(kind):
    # Adding a constant changes no difference, so the gradient sums to zero.
    _, gradient = total_variation(to_ndarray(maps((2, 3, 8, 9))), kind)
    sums, size = gradient.asnumpy().sum((1, 2, 3)), np.abs(gradient.asnumpy()).sum()
    assert np.abs(sums).max() < 1e-5 * size


# --- the batch axis ---


@pytest.mark.parametrize("kind", CONTENT)
def test_content_of_three_equals_one_by_one(kind):
    x, t = to_ndarray(maps((3, 4, 5, 6))), to_ndarray(maps((3, 4, 5, 6), seed=1))
    value, gradient = content(x, t, kind)
    for n in range(3):
        one_value, one_gradient = content(x[n : n + 1], t[n : n + 1], kind)
        assert value[n].asscalar() == pytest.approx(one_value.asscalar(), rel=1e-6)
        np.testing.assert_allclose(gradient[n].asnumpy(), one_gradient[0].asnumpy(), rtol=1e-6)


@pytest.mark.parametrize("shared", [True, False], ids=["one target", "a target each"])
@pytest.mark.parametrize("gram", GRAM)
@pytest.mark.parametrize("kind", STYLE)
def test_style_of_three_equals_one_by_one(kind, gram, shared):
    x = to_ndarray(maps((3, 4, 17, 18)))
    target = normalized_gram(to_ndarray(maps((1 if shared else 3, 4, 9, 9), seed=1)), gram)
    value, gradient = style_loss(x, target, kind, gram, PIXELS)
    for n in range(3):
        own = target if shared else target[n : n + 1]
        one_value, one_gradient = style_loss(x[n : n + 1], own, kind, gram, PIXELS)
        assert value[n].asscalar() == pytest.approx(one_value.asscalar(), rel=1e-6)
        assert relative(gradient[n].asnumpy(), one_gradient[0].asnumpy()) < 1e-6


@pytest.mark.parametrize("kind", VARIATION)
def test_variation_of_three_equals_one_by_one(kind):
    x = to_ndarray(maps((3, 3, 7, 6)))
    value, gradient = total_variation(x, kind)
    for n in range(3):
        one_value, one_gradient = total_variation(x[n : n + 1], kind)
        assert value[n].asscalar() == pytest.approx(one_value.asscalar(), rel=1e-6)
        np.testing.assert_allclose(gradient[n].asnumpy(), one_gradient[0].asnumpy(), rtol=1e-6)


# --- scale-freeness of the relative forms ---


def tiled(x: np.ndarray) -> np.ndarray:
    return np.tile(x, (1, 1, 2, 2))


@pytest.mark.parametrize("change", [lambda x: 7 * x, tiled], ids=["times seven", "tiled to double size"])
def test_relative_content_does_not_depend_on_scale_or_size(change):
    x, t = maps((2, 4, 9, 10)), maps((2, 4, 9, 10), seed=1)
    before, _ = content(to_ndarray(x), to_ndarray(t), "relative")
    after, _ = content(to_ndarray(change(x)), to_ndarray(change(t)), "relative")
    np.testing.assert_allclose(after.asnumpy(), before.asnumpy(), rtol=1e-5)


@pytest.mark.parametrize("change", [lambda x: 7 * x, tiled], ids=["times seven", "tiled to double size"])
@pytest.mark.parametrize("gram", GRAM)
def test_relative_style_does_not_depend_on_scale_or_size(gram, change):
    x, s = maps((2, 4, 9, 10)), maps((1, 4, 12, 13), seed=1)

    def loss(features, style):
        target = normalized_gram(to_ndarray(style), gram)
        return style_loss(to_ndarray(features), target, "relative", gram, PIXELS)[0].asnumpy()

    np.testing.assert_allclose(loss(change(x), change(s)), loss(x, s), rtol=2e-5)


@pytest.mark.parametrize("gram", ["hw", "chw"])
def test_divided_gram_matrices_do_not_depend_on_size(gram):
    x = maps((2, 4, 9, 10))
    small, large = (normalized_gram(to_ndarray(image), gram).asnumpy() for image in (x, tiled(x)))
    np.testing.assert_allclose(large, small, rtol=1e-5, atol=1e-6)


def test_only_the_relative_forms_are_free_of_scale():
    x, t = maps((1, 4, 9, 10)), maps((1, 4, 9, 10), seed=1)
    for kind, factor in (("sum", 49), ("mean", 49), ("relative", 1)):
        before, _ = content(to_ndarray(x), to_ndarray(t), kind)
        after, _ = content(to_ndarray(7 * x), to_ndarray(7 * t), kind)
        assert after.asscalar() / before.asscalar() == pytest.approx(factor, rel=1e-4)
