"""The distribution of a picture's colors brought to that of others."""

import numpy as np
import pytest

from gluon_nst.images import color_match
from gluon_nst.images.color_match import match_colors
from gluon_nst.images.palette import match_palette

SHAPE = (60, 80, 3)


def noise(seed, mean, deviation, shape=SHAPE):
    colors = np.random.default_rng(seed).normal(mean, deviation, shape)
    return np.clip(colors, 0, 255).astype(np.uint8)


def two_tones(low, high, share, seed=0, shape=SHAPE):
    """Return a picture of two tones, `share` of it of the higher one, with grain."""
    random = np.random.default_rng(seed)
    tones = np.where(random.random((*shape[:2], 1)) < share, high, low)
    return np.clip(tones + random.normal(0, 10, shape), 0, 255).astype(np.uint8)


def deciles(picture):
    return np.quantile(picture.reshape(-1, 3), np.arange(0.05, 1, 0.1), axis=0)


def test_the_shape_of_the_distribution_becomes_the_styles():
    content, style = noise(0, (120, 100, 140), 25), two_tones((40, 60, 150), (200, 190, 90), 0.3)
    matched, linear = (match(content, [style], [1.0]) for match in (match_colors, match_palette))
    assert np.abs(deciles(matched) - deciles(style)).max() < 16
    # The mean and covariance of the same style alone leave one hump.
    assert np.abs(deciles(linear) - deciles(style)).max() > 30


def test_its_own_colors_leave_a_picture_nearly_as_it_is():
    content = two_tones((40, 60, 150), (200, 190, 90), 0.3)
    change = match_colors(content, [content], [1.0]).astype(int) - content
    assert np.abs(change).mean() < 1.5
    assert np.quantile(np.abs(change), 0.99) < 8


def test_styles_count_by_their_weights():
    content, dark, light = noise(1, 128, 30), noise(2, 50, 8), noise(3, 210, 8)
    for share in (0.25, 0.5, 0.75):
        matched = match_colors(content, [dark, light], [1 - share, share])
        assert (matched > 130).mean() == pytest.approx(share, abs=0.03)
    with_nothing_of_one = match_colors(content, [dark, light], [1.0, 0.0])
    assert (with_nothing_of_one > 130).mean() < 0.001


def test_a_plain_picture_is_not_blown_up():
    plain = np.full((40, 40, 3), 70, np.uint8)
    plain[::2, ::2] += 1  # the least grain there is
    matched = match_colors(plain, [noise(4, 128, 60)], [1.0])
    assert matched.astype(float).std(axis=(0, 1)).max() < 10
    assert np.abs(matched.reshape(-1, 3).mean(axis=0) - 128).max() < 20


def test_shapes_may_differ_and_stay():
    made = match_colors(noise(5, 100, 10, (17, 31, 3)), [noise(6, 128, 30, (40, 20, 3))], [1.0])
    assert made.shape == (17, 31, 3) and made.dtype == np.uint8


def test_every_pixel_of_a_color_goes_to_one_color_in_blocks_or_not(monkeypatch):
    content, style = noise(7, 100, 40, (30, 50, 3)), noise(8, 128, 60)
    content[::7] = (90, 120, 60)
    whole = match_colors(content, [style], [1.0])
    assert len(np.unique(whole[::7].reshape(-1, 3), axis=0)) == 1
    monkeypatch.setattr(color_match, "_BLOCK", 97)
    np.testing.assert_array_equal(match_colors(content, [style], [1.0]), whole)


def test_the_given_picture_is_left_alone():
    content = noise(9, 100, 40)
    content.setflags(write=False)
    kept = content.copy()
    match_colors(content, [noise(10, 128, 60)], [1.0])
    np.testing.assert_array_equal(content, kept)
