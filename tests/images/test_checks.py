"""What is, and what is not, called a good result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gluon_nst.images.checks import find_fault
from gluon_nst.images.geometry import resize
from gluon_nst.images.read import read_image
from gluon_nst.progress import LossPoint
from gluon_nst.recipe_files import load_recipe, recipe_names, tailor
from tests.core.narrow import smooth_picture

SAMPLES = Path(__file__).parents[2] / "data"
PHOTOGRAPH = smooth_picture(48, 64, 0)
PICTURE = smooth_picture(48, 64, 1)


def points(totals, *, style: float = 0.8, scale: int = 1, steps=(1, 10, 20, 30)) -> list[LossPoint]:
    """Return readings of these totals, of which style is a fixed part and content the rest."""
    return [
        LossPoint(scale, step, (1 - style) * total, style * total, 0.0, total)
        for step, total in zip(steps, totals, strict=False)
    ]


GOOD = points([1.0, 0.5, 0.3, 0.2])


def blank(level, shape=(48, 64)) -> np.ndarray:
    return np.full((*shape, 3), level, np.uint8)


def speckled(level: int, part: float) -> np.ndarray:
    """Return one color in which a part of the pixels is one level off."""
    picture = blank(level)
    rows, columns, _ = picture.shape
    off = np.random.default_rng(0).permutation(rows * columns)[: round(part * rows * columns)]
    picture.reshape(-1, 3)[off] += 1
    return picture


# --- pictures ---


def test_a_good_result_has_no_fault():
    assert find_fault(PICTURE, PHOTOGRAPH, GOOD) is None


@pytest.mark.parametrize("photograph", [PHOTOGRAPH, blank(255), blank(10)])
def test_a_black_picture_is_found(photograph):
    assert "the picture is black: its mean level is 0.0 of 255" in find_fault(blank(0), photograph, GOOD)


def test_a_black_picture_with_a_few_bright_pixels_is_black():
    picture = blank(0)
    picture[3, 5] = 255
    assert "is black" in find_fault(picture, PHOTOGRAPH, GOOD)


@pytest.mark.parametrize("level", [1, 127, 255])
def test_a_picture_of_one_gray_is_found(level):
    # One level is black in the mean; the others are merely flat.
    assert ("is black" if level == 1 else "is flat") in find_fault(blank(level), PHOTOGRAPH, GOOD)


def test_a_picture_of_one_color_is_found_and_the_color_is_said():
    picture = blank(0) + np.array([200, 30, 90], np.uint8)
    fault = find_fault(picture, PHOTOGRAPH, GOOD)
    assert fault == "the picture is flat: all of it is of one color, about rgb(200, 30, 90)"


def test_faint_noise_is_not_flat():
    # A part p of the pixels one level off has the deviation sqrt(p (1 - p)).
    assert find_fault(speckled(115, 0.5), PHOTOGRAPH, GOOD) is None
    assert find_fault(speckled(115, 0.02), PHOTOGRAPH, GOOD) is None
    assert "is flat" in find_fault(speckled(115, 0.005), PHOTOGRAPH, GOOD)


@pytest.mark.parametrize("level", [0, 5, 128, 255])
def test_a_blank_photograph_may_stay_blank(level):
    assert find_fault(blank(level), blank(level), GOOD) is None


def test_a_picture_of_the_night_may_become_black():
    night = (np.random.default_rng(0).random((48, 64, 3)) * 12).astype(np.uint8)
    assert 5 < night.mean() < 6
    assert find_fault(night // 4, night, GOOD) is None


@pytest.mark.parametrize("shape", [(48, 64), (96, 128), (40, 40)])
def test_a_copy_of_the_photograph_is_found_at_any_size(shape):
    assert "is equal to the photograph" in find_fault(resize(PHOTOGRAPH, *shape), PHOTOGRAPH, GOOD)


def test_one_level_away_is_not_equal():
    other = np.where(PHOTOGRAPH < 128, PHOTOGRAPH + 1, PHOTOGRAPH - 1).astype(np.uint8)
    assert find_fault(other, PHOTOGRAPH, GOOD) is None


@pytest.mark.parametrize(
    "losses",
    [points([1.0, 0.95, 0.9, 0.85]), points([1.0]), points([1.0, 2.0]), points([0, 0, 0, 0]), []],
    ids=["little done", "one step", "two steps", "nothing to do", "nothing read"],
)
def test_work_that_changes_little_may_leave_the_photograph(losses):
    assert find_fault(PHOTOGRAPH, PHOTOGRAPH, losses) is None


def test_large_pictures_are_judged_like_small_ones():
    large = resize(PHOTOGRAPH, 1500, 2000)
    assert "is equal" in find_fault(large, PHOTOGRAPH, GOOD)
    assert find_fault(resize(PICTURE, 1500, 2000), PHOTOGRAPH, GOOD) is None
    assert "is black" in find_fault(blank(0, (1500, 2000)), PHOTOGRAPH, GOOD)


# --- losses ---


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("term", ["content", "style", "tv", "total"])
def test_a_loss_that_is_no_number_is_found(term, value):
    broken = LossPoint(**{**vars(GOOD[2]), term: value})
    assert find_fault(PICTURE, PHOTOGRAPH, [*GOOD[:2], broken, GOOD[3]]) == "the loss is no number"


def test_a_loss_that_rises_is_found():
    fault = find_fault(PICTURE, PHOTOGRAPH, points([1.0, 1.5, 2.0, 3.0]))
    assert fault == "the loss did not go down: at scale 1 it went from 1 at step 1 to 3 at step 30"


def test_a_loss_that_is_far_above_its_start_is_found_though_it_comes_down():
    assert "did not go down" in find_fault(PICTURE, PHOTOGRAPH, points([1, 1e5, 1e4, 500]))


def test_a_loss_that_stands_still_is_found():
    assert "it stayed at 3 for 30 steps" in find_fault(PICTURE, PHOTOGRAPH, points([3.0] * 4))


def test_a_slow_descent_is_one():
    assert find_fault(PICTURE, PHOTOGRAPH, points([3.0, 2.9999, 2.9998, 2.9997])) is None


@pytest.mark.parametrize("steps", [(1,), (1, 2), (1, 5), (1, 5, 10), (1, 5, 10, 15)])
def test_a_few_steps_are_not_judged(steps):
    assert find_fault(PICTURE, PHOTOGRAPH, points([1.0, 5.0, 20.0, 50.0], steps=steps)) is None


def test_a_loss_that_starts_at_the_bottom_may_rise_and_come_back():
    assert find_fault(PICTURE, PHOTOGRAPH, points([0.001, 0.05, 0.03, 0.02])) is None


def test_carried_moments_may_let_a_scale_begin_badly():
    losses = [*GOOD, *points([0.3, 0.9, 0.4, 0.25], scale=2)]
    assert find_fault(PICTURE, PHOTOGRAPH, losses) is None


def test_losses_of_different_scales_are_not_compared():
    losses = [*GOOD, *points([50.0, 40.0, 30.0, 20.0], scale=2)]
    assert find_fault(PICTURE, PHOTOGRAPH, losses) is None


def test_the_last_scale_is_the_one_that_counts():
    rising, falling = [1.0, 1.5, 2.0, 3.0], [1.0, 0.5, 0.3, 0.2]
    assert find_fault(PICTURE, PHOTOGRAPH, [*points(rising), *points(falling, scale=2)]) is None
    fault = find_fault(PICTURE, PHOTOGRAPH, [*points(falling), *points(rising, scale=2)])
    assert "at scale 2 it went from 1" in fault


def test_a_huge_content_weight_may_raise_the_total():
    # From the content, its term begins at 0; the style stays about where it is.
    losses = [LossPoint(1, 1, 0.0, 1.6, 0.0, 1.6), LossPoint(1, 30, 147.0, 1.9, 0.0, 148.9)]
    assert find_fault(PICTURE, PHOTOGRAPH, losses) is None


def test_without_a_style_the_total_alone_is_judged():
    assert "did not go down" in find_fault(PICTURE, PHOTOGRAPH, points([1.0, 2.0, 3.0, 4.0], style=0.0))


# --- the real thing ---


@pytest.mark.parametrize("name", recipe_names())
def test_no_recipe_raises_a_false_alarm(name):
    from gluon_nst.stylizer import Stylizer

    photograph = read_image(SAMPLES / "photos" / "rocket.jpg").pixels
    style = read_image(SAMPLES / "styles" / "woodblock_waves.jpg").pixels
    for steps in (1, 20):
        worker = Stylizer(tailor(load_recipe(name), size=48, steps=steps), device="cpu")
        (result,) = worker.stylize([photograph], [style])
        assert find_fault(result.pixels, photograph, result.losses) is None
        assert result.losses[-1].step == steps
