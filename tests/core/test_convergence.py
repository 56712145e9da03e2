"""The early stop: when a scale ends, and that nothing else depends on it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from gluon_nst.backend import mx, to_ndarray
from gluon_nst.convergence import Convergence
from gluon_nst.optimize import Evaluation, optimize
from gluon_nst.recipe_files import load_recipe, recipe_names
from tests.core.test_checkpoint import assert_equal_results, interrupted
from tests.core.test_optimize import Quadratic, random_image, settings
from tests.core.test_stylizer import STYLE, contents, stylizer

STOPPING = {"stop_below": 0.3, "stop_window": 4, "steps": 40, "coarse_steps": 30, "average": 0.8}


def end(losses, below: float, window: int) -> int:
    """Return the step after which losses (steps, N) stop, from the definition; all of them if none does."""
    for step in range(2 * window, len(losses) + 1, window):
        last, before = losses[step - window : step].sum(0), losses[step - 2 * window : step - window].sum(0)
        if (last > (1 - below) * before).all():
            return step
    return len(losses)


def asked(losses, below: float, window: int) -> int:
    """Return the step after which `Convergence` stops."""
    convergence = Convergence(below, window, mx.cpu(), None)
    for step, each in enumerate(losses, 1):
        convergence.take(step, to_ndarray(np.asarray(each, np.float32)))
        if convergence.reached(step):
            return step
    return len(losses)


FALLING = np.column_stack([0.5 + 0.9 ** np.arange(60), 2 + 0.95 ** np.arange(60)])


@pytest.mark.parametrize("window", [1, 3, 7, 31])
@pytest.mark.parametrize("below", [0.0, 0.001, 0.02, 0.2])
def test_it_stops_where_the_definition_says(below, window):
    expected = end(FALLING, below, window) if below else len(FALLING)
    assert asked(FALLING, below, window) == expected


def test_the_cases_above_are_not_all_alike():
    assert len({end(FALLING, below, 3) for below in (0.001, 0.02, 0.2)}) == 3


def test_the_slowest_image_decides():
    ends = [asked(FALLING[:, [n]], 0.02, 3) for n in (0, 1)]
    assert asked(FALLING, 0.02, 3) == max(ends) > min(ends)


def test_losses_that_are_no_numbers_stop_nothing():
    assert asked(np.full((9, 1), np.nan), 0.1, 2) == 9


class Floored(Quadratic):
    """Falls towards a loss above 0, as a compromise between content and style does."""

    def __call__(self, generated) -> Evaluation:
        losses, gradient = super().__call__(generated)
        return Evaluation({"total": losses["total"] + 20}, gradient)


def test_a_scale_ends_at_the_bound_of_a_window():
    whole = optimize(Floored(), to_ndarray(random_image()), settings(steps=300), every=1)
    totals = np.stack([losses["total"] for _, losses in whole.history])
    expected = end(totals, 0.05, 7)
    assert expected % 7 == 0
    assert 14 < expected < 300
    objective = Floored()
    outcome = optimize(
        objective, to_ndarray(random_image()), settings(steps=300, stop_below=0.05, stop_window=7), every=5
    )
    assert outcome.state.step == len(objective.points) == expected
    # Its last losses are read, whether that was due or not.
    assert [step for step, _ in outcome.history] == [1, *range(5, expected, 5), expected]
    np.testing.assert_array_equal(outcome.history[-1][1]["total"], totals[expected - 1])


def test_a_picture_says_that_it_converged():
    (early,) = stylizer(**STOPPING).stylize(contents(1), [STYLE])
    (whole,) = stylizer(**{**STOPPING, "stop_below": 0.0}).stylize(contents(1), [STYLE])
    assert (whole.steps, whole.stop_reason) == (70, "steps")
    assert early.stop_reason == "converged"
    assert early.steps < 70
    last = {point.scale: point.step for point in early.losses}
    assert sum(last.values()) == early.steps
    assert [each % 4 for each in last.values()] == [0, 0]


def test_how_often_losses_are_read_changes_nothing():
    often, seldom = (stylizer(**STOPPING).stylize(contents(1), [STYLE], every=every)[0] for every in (1, 9))
    np.testing.assert_array_equal(often.pixels, seldom.pixels)
    assert often.steps == seldom.steps


def test_company_changes_nothing():
    worker = stylizer(**STOPPING)
    together = worker.stylize(contents(3), [STYLE])
    alone = [worker.stylize([content], [STYLE])[0] for content in contents(3)]
    assert_equal_results(together, alone)
    assert len({result.steps for result in alone}) > 1


def test_a_resumed_call_stops_where_an_uninterrupted_one_does():
    worker = stylizer(**STOPPING)
    whole = worker.stylize(contents(2), [STYLE])
    steps = sum(result.steps for result in whole)
    for after in itertools.chain(range(1, whole[0].steps + 1, 3), (whole[0].steps, steps - 1, steps)):
        kept = interrupted(worker, contents(2), after)
        assert_equal_results(worker.stylize(contents(2), [STYLE], resume=kept), whole)


def test_progress_never_goes_back():
    fractions = []
    stylizer(**STOPPING).stylize(contents(2), [STYLE], tick=lambda fraction, take: fractions.append(fraction))
    assert fractions == sorted(set(fractions))
    assert fractions[-1] <= 1


def test_lbfgs_takes_no_notice():
    given = {"optimizer": "lbfgs", "lbfgs_round": 3, "steps": 9, "coarse_steps": 7}
    stopping = stylizer(**given, stop_below=0.5, stop_window=1).stylize(contents(1), [STYLE])
    assert_equal_results(stopping, stylizer(**given).stylize(contents(1), [STYLE]))


@pytest.mark.parametrize("name", [name for name in recipe_names() if name != "default"])
def test_the_reference_recipes_take_all_their_steps(name):
    assert load_recipe(name).stop_below == 0
