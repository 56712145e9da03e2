"""Pixel units: exact round trips and the affine maps between them."""

from __future__ import annotations

import numpy as np
import pytest

from gluon_nst.backend import mx, nd
from gluon_nst.preprocessing import PIXEL_UNITS, deprocess, preprocess
from gluon_nst.recipe import CHOICES
from tests.reference import image_from_pixels
from tests.reference.systems import CAFFE_MEAN, ZOO_MEAN, ZOO_STD

UNITS = sorted(PIXEL_UNITS)

SYSTEM_OF_UNITS = {"imagenet": "d2l", "unit": "tf2-adam", "caffe": "keras-lbfgs-vgg19"}
"""A reference system that optimises in these units."""


def every_level() -> np.ndarray:
    """Return a picture (16, 16, 3) in which each channel holds each of the 256 levels once."""
    ramp = np.arange(256, dtype=np.uint8)
    return np.stack([ramp, ramp[::-1], np.roll(ramp, 77)], axis=1).reshape(16, 16, 3)


def test_every_unit_that_a_recipe_can_name_is_there():
    assert set(PIXEL_UNITS) == set(CHOICES["pixel_units"])


@pytest.mark.parametrize("units", UNITS)
def test_every_level_comes_back(units):
    image = preprocess([every_level()], PIXEL_UNITS[units], mx.cpu())
    (back,) = deprocess(image.asnumpy(), PIXEL_UNITS[units])
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, every_level())


@pytest.mark.parametrize("units", UNITS)
def test_units_are_those_of_the_reference_systems(units):
    image = preprocess([every_level()], PIXEL_UNITS[units], mx.cpu()).asnumpy()
    expected = image_from_pixels(SYSTEM_OF_UNITS[units], every_level().astype(float))
    assert image.dtype == np.float32
    np.testing.assert_allclose(image[0], expected, rtol=1e-6, atol=2e-5)


def test_pictures_keep_their_place_in_the_batch():
    pictures = [every_level(), 255 - every_level(), np.zeros((16, 16, 3), np.uint8)]
    image = preprocess(pictures, PIXEL_UNITS["caffe"], mx.cpu())
    assert image.shape == (3, 3, 16, 16)
    for picture, back in zip(pictures, deprocess(image.asnumpy(), PIXEL_UNITS["caffe"]), strict=True):
        np.testing.assert_array_equal(back, picture)


@pytest.mark.parametrize("units", UNITS)
def test_bounds_are_black_and_white(units):
    low, high = PIXEL_UNITS[units].bounds()
    extremes = [np.zeros((1, 1, 3), np.uint8), np.full((1, 1, 3), 255, np.uint8)]
    black, white = preprocess(extremes, PIXEL_UNITS[units], mx.cpu()).asnumpy()
    assert low.shape == high.shape == (1, 3, 1, 1)
    np.testing.assert_allclose(low.asnumpy()[0], black, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(high.asnumpy()[0], white, rtol=1e-6, atol=1e-6)


def test_known_bounds():
    unit_low, unit_high = PIXEL_UNITS["unit"].bounds()
    assert unit_low.asnumpy().ravel().tolist() == [0, 0, 0]
    assert unit_high.asnumpy().ravel().tolist() == [1, 1, 1]
    caffe_low, caffe_high = PIXEL_UNITS["caffe"].bounds()
    np.testing.assert_allclose(caffe_low.asnumpy().ravel(), -CAFFE_MEAN.ravel(), rtol=1e-6)
    np.testing.assert_allclose(caffe_high.asnumpy().ravel(), 255 - CAFFE_MEAN.ravel(), rtol=1e-6)


@pytest.mark.parametrize("units", UNITS)
def test_what_is_beyond_black_and_white_is_clipped(units):
    low, high = (bound.asnumpy() for bound in PIXEL_UNITS[units].bounds())
    beyond = np.concatenate([low - 3, high + 3, np.full_like(low, -np.inf), np.full_like(low, np.inf)])
    assert [picture.ravel().tolist() for picture in deprocess(beyond, PIXEL_UNITS[units])] == [
        [0, 0, 0],
        [255, 255, 255],
        [0, 0, 0],
        [255, 255, 255],
    ]


def test_levels_are_rounded_to_the_nearest():
    image = np.full((1, 3, 1, 1), 100.49 / 255, np.float32)
    assert deprocess(image, PIXEL_UNITS["unit"])[0].ravel().tolist() == [100, 100, 100]
    image = np.full((1, 3, 1, 1), 100.51 / 255, np.float32)
    assert deprocess(image, PIXEL_UNITS["unit"])[0].ravel().tolist() == [101, 101, 101]


@pytest.mark.parametrize("units", UNITS)
def test_to_network_gives_the_zoo_input(units):
    scale, shift = PIXEL_UNITS[units].to_network()
    image = preprocess([every_level()], PIXEL_UNITS[units], mx.cpu()).asnumpy()
    expected = (every_level().transpose(2, 0, 1) / 255 - ZOO_MEAN) / ZOO_STD
    assert scale.shape == shift.shape == (1, 3, 1, 1)
    np.testing.assert_allclose((scale * image + shift)[0], expected, rtol=1e-5, atol=1e-5)


def test_imagenet_units_are_the_network_input_already():
    scale, shift = PIXEL_UNITS["imagenet"].to_network()
    assert (scale == 1).all()
    assert (shift == 0).all()


def test_pictures_that_are_views_are_read_right():
    picture = every_level()
    turned = preprocess([picture[::-1, ::-1]], PIXEL_UNITS["unit"], mx.cpu())
    np.testing.assert_array_equal(deprocess(turned.asnumpy(), PIXEL_UNITS["unit"])[0], picture[::-1, ::-1])
    assert isinstance(turned, nd.NDArray)
