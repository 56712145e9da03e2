"""The palette of a picture brought to that of others."""

import numpy as np

from gluon_nst.images.palette import match_palette


def noise(seed, mean, deviation, shape=(60, 80)):
    colors = np.random.default_rng(seed).normal(mean, deviation, (*shape, 3))
    return np.clip(colors, 0, 255).astype(np.uint8)


def moments(picture):
    flat = picture.reshape(-1, 3).astype(float)
    return flat.mean(axis=0), np.cov(flat.T, bias=True)


def test_mean_and_covariance_become_the_styles():
    content = noise(0, (90, 120, 140), (40, 30, 35))
    style = noise(1, (130, 110, 100), (15, 30, 20))
    mean, covariance = moments(match_palette(content, [style], [1.0]))
    wanted_mean, wanted_covariance = moments(style)
    assert np.abs(mean - wanted_mean).max() < 1
    assert np.abs(covariance - wanted_covariance).max() < 0.1 * wanted_covariance.max()


def test_its_own_palette_leaves_a_picture_nearly_as_it_is():
    content = noise(2, (120, 120, 120), (40, 30, 20))
    change = match_palette(content, [content], [1.0]).astype(int) - content
    assert np.abs(change).max() <= 4  # the regularisation by grain moves the extremes a little


def test_two_styles_blend_by_weight():
    content, first, second = noise(3, 128, 20), noise(4, 80, 10), noise(5, 180, 10)
    mean, covariance = moments(match_palette(content, [first, second], [0.75, 0.25]))
    assert np.abs(mean - (0.75 * moments(first)[0] + 0.25 * moments(second)[0])).max() < 2
    # Between two palettes apart the blend is as wide as both and the way between them.
    assert covariance[0, 0] > 10 * moments(first)[1][0, 0]


def test_a_plain_picture_is_not_blown_up():
    plain = np.full((40, 40, 3), 70, np.uint8)
    plain[::2, ::2] += 1  # the least grain there is
    matched = match_palette(plain, [noise(6, 128, 60)], [1.0])
    assert matched.astype(float).std(axis=(0, 1)).max() < 15


def test_shapes_may_differ_and_stay():
    made = match_palette(noise(7, 100, 10, (17, 31)), [noise(8, 128, 30, (40, 20))], [1.0])
    assert made.shape == (17, 31, 3) and made.dtype == np.uint8
