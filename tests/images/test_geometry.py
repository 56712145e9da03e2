from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest

from gluon_nst.errors import UsageError
from gluon_nst.images.geometry import fit_longer_side, resize

from .builders import gradient, noise


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(600, 800, 400), (800, 600, 400), (3, 2, 1000), (1, 20000, 512), (333, 500, 512), (5, 5, 7), (3, 4, 2)],
)
def test_longer_side_fits_and_the_other_is_rounded_with_halves_up(height: int, width: int, size: int) -> None:
    longer = max(height, width)
    exact = [Fraction(side * size, longer) for side in (height, width)]
    expected = tuple(max(1, floor(side + Fraction(1, 2))) for side in exact)
    assert fit_longer_side(height, width, size) == expected
    assert max(expected) == size


@pytest.mark.parametrize("values", [(0, 5, 5), (5, 0, 5), (5, 5, 0), (-1, 5, 5)])
def test_sizes_below_one_are_refused(values: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError, match="1 or more"):
        fit_longer_side(*values)


def test_same_size_gives_the_same_array_back() -> None:
    pixels = noise(5, 7)
    assert resize(pixels, 5, 7) is pixels


@pytest.mark.parametrize("channels", [(), (3,)])
def test_shape_is_height_and_width(channels: tuple[int, ...]) -> None:
    pixels = np.zeros((10, 20, *channels), np.uint8)
    assert resize(pixels, 3, 8).shape == (3, 8, *channels)


def _lanczos_rows(pixels: np.ndarray, length: int) -> np.ndarray:
    """Resample axis 0 by definition: sinc(x) sinc(x/3) over |x| < 3, widened by the scale when shrinking."""
    scale = max(1.0, pixels.shape[0] / length)
    centers = (np.arange(length) + 0.5) * pixels.shape[0] / length
    distance = (np.arange(pixels.shape[0]) + 0.5 - centers[:, None]) / scale
    weights = np.where(np.abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.tensordot(weights, pixels, axes=1)


@pytest.mark.parametrize(("height", "width"), [(13, 11), (60, 90), (13, 90)])
def test_resizing_is_the_lanczos_filter(height: int, width: int) -> None:
    # Middle values: nothing is clipped, so it does not matter which axis goes first.
    pixels = noise(40, 37) // 4 + 96
    columns = _lanczos_rows(pixels.transpose(1, 0, 2).astype(float), width)
    expected = _lanczos_rows(columns.transpose(1, 0, 2), height)
    assert (
        np.abs(resize(pixels, height, width) - expected).max() <= 1.3
    )  # rounded twice, the first then weighted


def test_shrinking_is_antialiased() -> None:
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    inner = resize(stripes, 16, 16)[2:-2, 2:-2].astype(int)
    assert np.abs(inner - 127.5).max() < 2


def test_a_single_row_can_be_resized() -> None:
    assert resize(gradient(1, 2000), 1, 51).shape == (1, 51, 3)


@pytest.mark.parametrize("pixels", [np.zeros((4, 4, 3)), np.zeros(4, np.uint8)])
def test_other_arrays_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(UsageError, match="uint8"):
        resize(pixels, 2, 2)
    with pytest.raises(UsageError, match="1 or more"):
        resize(np.zeros((4, 4), np.uint8), 0, 2)
