"""Learning rates by their formulas."""

from __future__ import annotations

import itertools
import math

import pytest

from gluon_nst.recipe_files import load_recipe
from gluon_nst.schedule import SCHEDULES, learning_rate
from tests.reference import d2l_learning_rate


@pytest.mark.parametrize("step", [0, 1, 57, 99])
def test_constant_stays(step):
    assert learning_rate(step, 100, 0.3, schedule="constant", every=10, factor=0.5) == 0.3


def test_constant_is_the_default():
    assert learning_rate(99, 100, 0.3) == 0.3


def test_step_falls_after_each_multiple_and_not_at_it():
    rates = [learning_rate(i, 10, 8.0, schedule="step", every=3, factor=0.5) for i in range(10)]
    assert rates == [8, 8, 8, 8, 4, 4, 4, 2, 2, 2]


def test_step_at_every_step():
    rates = [learning_rate(i, 4, 1.0, schedule="step", every=1, factor=0.5) for i in range(4)]
    assert rates == [1, 1, 0.5, 0.25]


def test_step_factor_of_zero_stops():
    rates = [learning_rate(i, 4, 1.0, schedule="step", every=2, factor=0.0) for i in range(4)]
    assert rates == [1, 1, 1, 0]


def test_cosine_starts_full_ends_at_the_factor_and_is_half_way_in_the_middle():
    rates = [learning_rate(i, 11, 2.0, schedule="cosine", factor=0.1) for i in range(11)]
    assert rates[0] == pytest.approx(2.0)
    assert rates[5] == pytest.approx((2.0 + 0.2) / 2)
    assert rates[10] == pytest.approx(0.2)
    assert all(before > after for before, after in itertools.pairwise(rates))


def test_cosine_of_a_quarter():
    expected = 0.5 * (1 + math.cos(math.pi / 4))
    assert learning_rate(1, 5, 1.0, schedule="cosine", factor=0.0) == pytest.approx(expected)


def test_cosine_of_one_step_is_the_full_rate():
    assert learning_rate(0, 1, 2.0, schedule="cosine", factor=0.1) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("stage", "steps", "every"), [(1, 500, "coarse_decay_every"), (2, 300, "decay_every")]
)
def test_d2l_has_the_rates_of_the_chapter_in_both_stages(stage, steps, every):
    recipe = load_recipe("d2l")
    assert (recipe.coarse_steps, recipe.steps)[stage - 1] == steps
    for step in range(steps):
        rate = learning_rate(
            step,
            steps,
            recipe.learning_rate,
            schedule=recipe.schedule,
            every=getattr(recipe, every),
            factor=recipe.decay_factor,
        )
        assert rate == pytest.approx(d2l_learning_rate(step, stage), rel=1e-12)


def test_every_schedule_starts_at_the_base_rate():
    assert {learning_rate(0, 10, 0.7, schedule=name, every=2, factor=0.1) for name in SCHEDULES} == {0.7}
