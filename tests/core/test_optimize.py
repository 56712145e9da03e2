"""The descent of one scale on objectives whose course is known, against NumPy."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from gluon_nst.backend import mx, nd, to_ndarray
from gluon_nst.errors import DivergedError, Interrupted
from gluon_nst.optimize import AdamState, Evaluation, Settings, adam_step, normalized_gradient_step, optimize
from gluon_nst.schedule import learning_rate
from tests.core.narrow import relative
from tests.reference import adam_start, normalised_gradient_step
from tests.reference import adam_step as numpy_adam_step

SHAPE = (2, 3, 4, 5)

ADAM = Settings(
    optimizer="adam",
    steps=12,
    learning_rate=0.05,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-8,
    schedule="constant",
    decay_every=1,
    decay_factor=1.0,
    bounds=None,
    average=0.0,
    stop_below=0.0,
    stop_window=5,
    lbfgs_round=20,
    lbfgs_history=10,
)


def settings(**changes) -> Settings:
    return dataclasses.replace(ADAM, **changes)


def random_image(shape=SHAPE, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


class Quadratic:
    """``sum(curvature / 2 * (x - minimum)^2)`` of each image; remembers where it was evaluated."""

    def __init__(self, shape=SHAPE, seed: int = 1) -> None:
        self.minimum = random_image(shape, seed)
        self.curvature = np.random.default_rng(seed).uniform(0.2, 5, shape).astype(np.float32)
        self.points: list[np.ndarray] = []

    def gradient(self, x: np.ndarray) -> np.ndarray:
        return self.curvature * (x - self.minimum)

    def __call__(self, generated) -> Evaluation:
        x = generated.image.data()
        self.points.append(x.asnumpy())
        away = x - to_ndarray(self.minimum)
        gradient = to_ndarray(self.curvature) * away
        return Evaluation({"total": (gradient * away).sum(axis=(1, 2, 3)) / 2}, gradient)


def numpy_adam(objective: Quadratic, x: np.ndarray, setting: Settings) -> list[np.ndarray]:
    """Return the iterates of the oracle's Adam, the start not included."""
    x, state, iterates = x.astype(float), adam_start(x.astype(float)), []
    for step in range(setting.steps):
        rate = learning_rate(
            step,
            setting.steps,
            setting.learning_rate,
            schedule=setting.schedule,
            every=setting.decay_every,
            factor=setting.decay_factor,
        )
        x, state = numpy_adam_step(
            x, objective.gradient(x), state, rate, setting.beta1, setting.beta2, setting.epsilon
        )
        if setting.bounds is not None:
            x = np.clip(x, *(bound.asnumpy() for bound in setting.bounds))
        iterates.append(x)
    return iterates


# --- first order ---


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"beta1": 0.99, "epsilon": 0.1, "learning_rate": 0.02},
        {"schedule": "step", "decay_every": 3, "decay_factor": 0.5},
        {"schedule": "cosine", "decay_factor": 0.1},
        {"bounds": (nd.full((1, 3, 1, 1), -0.4), nd.full((1, 3, 1, 1), 0.3))},
    ],
    ids=["plain", "tf2", "step", "cosine", "clipped"],
)
def test_adam_equals_numpy(changes):
    objective, setting = Quadratic(), settings(**changes)
    expected = numpy_adam(objective, random_image(), setting)
    outcome = optimize(objective, to_ndarray(random_image()), setting)
    for found, wanted in zip([*objective.points[1:], outcome.image.asnumpy()], expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    assert outcome.state.step == setting.steps


def test_adam_reaches_the_minimum():
    objective = Quadratic()
    outcome = optimize(objective, to_ndarray(random_image()), settings(steps=400, schedule="cosine"))
    np.testing.assert_allclose(outcome.image.asnumpy(), objective.minimum, atol=0.01)
    assert outcome.history[-1][1]["total"].max() < 1e-4 * outcome.history[0][1]["total"].min()


def test_one_step_of_adam_moves_every_number_by_the_rate():
    # With zero moments, the corrected step is rate * g / |g|.
    image, gradient = to_ndarray(random_image()), to_ndarray(random_image(seed=4))
    state = adam_step(image, gradient, AdamState.fresh(image), 0.25, settings())
    np.testing.assert_allclose(
        image.asnumpy(), random_image() - 0.25 * np.sign(random_image(seed=4)), rtol=1e-4, atol=1e-4
    )
    assert state.step == 1


def test_clipping_holds_each_channel_within_its_own_bounds():
    low, high = np.array([-0.1, -0.5, 0.0], np.float32), np.array([0.1, 0.2, 0.05], np.float32)
    bounds = tuple(to_ndarray(bound.reshape(1, 3, 1, 1)) for bound in (low, high))
    objective = Quadratic()
    outcome = optimize(objective, to_ndarray(random_image()), settings(bounds=bounds))
    for image in [*objective.points[1:], outcome.image.asnumpy()]:
        assert (image >= low.reshape(1, 3, 1, 1)).all()
        assert (image <= high.reshape(1, 3, 1, 1)).all()
    np.testing.assert_array_equal(objective.points[0], random_image())


@pytest.mark.parametrize("optimizer", ["adam", "normalized-gd"])
@pytest.mark.parametrize(("decay", "steps"), [(0.5, 1), (0.5, 6), (0.9, 12)])
def test_the_average_is_the_weighted_mean_of_the_iterates(decay, steps, optimizer):
    objective = Quadratic()
    plain = optimize(objective, to_ndarray(random_image()), settings(steps=steps, optimizer=optimizer))
    iterates = [*objective.points[1:], plain.image.asnumpy()]
    weights = np.array([decay ** (steps - 1 - k) for k in range(steps)])
    expected = np.tensordot(weights / weights.sum(), np.stack(iterates), axes=1)
    averaged = optimize(
        Quadratic(), to_ndarray(random_image()), settings(steps=steps, optimizer=optimizer, average=decay)
    )
    np.testing.assert_allclose(averaged.image.asnumpy(), expected, rtol=1e-5, atol=1e-6)


def test_averaging_does_not_change_the_course():
    plain, averaged = Quadratic(), Quadratic()
    optimize(plain, to_ndarray(random_image()), settings())
    optimize(averaged, to_ndarray(random_image()), settings(average=0.9))
    np.testing.assert_array_equal(np.stack(plain.points), np.stack(averaged.points))


def test_normalized_descent_measures_each_image_alone():
    gradient = random_image(seed=4) * np.array([1.0, 1e4], np.float32).reshape(2, 1, 1, 1)
    image = to_ndarray(random_image())
    normalized_gradient_step(image, to_ndarray(gradient), 0.01, 1e-5)
    for n in range(2):
        expected = normalised_gradient_step(random_image()[n].astype(float), gradient[n].astype(float))
        np.testing.assert_allclose(image.asnumpy()[n], expected, rtol=1e-6, atol=1e-6)


def test_normalized_descent_moves_by_the_rate_in_the_mean():
    objective, setting = Quadratic(), settings(optimizer="normalized-gd", learning_rate=0.2, epsilon=0.0)
    outcome = optimize(objective, to_ndarray(random_image()), setting)
    points = np.stack([*objective.points, outcome.image.asnumpy()])
    moved = np.sqrt((np.diff(points, axis=0) ** 2).mean(axis=(2, 3, 4)))
    np.testing.assert_allclose(moved, 0.2, rtol=1e-4)


def test_only_adam_has_a_state():
    outcome = optimize(Quadratic(), to_ndarray(random_image()), settings(optimizer="normalized-gd"))
    assert outcome.state is None


def test_normalized_descent_stays_where_the_gradient_is_zero():
    objective = Quadratic()
    outcome = optimize(
        objective, to_ndarray(objective.minimum), settings(optimizer="normalized-gd", epsilon=1e-5)
    )
    np.testing.assert_array_equal(outcome.image.asnumpy(), objective.minimum)


# --- state ---


def test_two_runs_with_the_state_carried_over_equal_one():
    whole = optimize(Quadratic(), to_ndarray(random_image()), settings(steps=10))
    first = optimize(Quadratic(), to_ndarray(random_image()), settings(steps=5))
    second = optimize(Quadratic(), first.image, settings(steps=5), state=first.state)
    np.testing.assert_array_equal(second.image.asnumpy(), whole.image.asnumpy())
    assert second.state.step == 10


def test_without_the_state_adam_starts_afresh():
    first = optimize(Quadratic(), to_ndarray(random_image()), settings(steps=5))
    afresh = optimize(Quadratic(), first.image, settings(steps=1))
    moved = np.abs(afresh.image.asnumpy() - first.image.asnumpy())
    np.testing.assert_allclose(moved, ADAM.learning_rate, rtol=1e-3)


def test_the_start_is_left_as_it_was():
    start = to_ndarray(random_image())
    for optimizer in ("adam", "normalized-gd"):
        optimize(Quadratic(), start, settings(optimizer=optimizer))
    np.testing.assert_array_equal(start.asnumpy(), random_image())


@pytest.mark.parametrize("optimizer", ["adam", "normalized-gd"])
def test_images_of_a_batch_do_not_mix(optimizer):
    together = optimize(
        Quadratic(), to_ndarray(random_image()), settings(optimizer=optimizer)
    ).image.asnumpy()
    for n in range(2):
        objective = Quadratic()
        objective.minimum = objective.minimum[n : n + 1]
        objective.curvature = objective.curvature[n : n + 1]
        alone = optimize(objective, to_ndarray(random_image()[n : n + 1]), settings(optimizer=optimizer))
        np.testing.assert_allclose(together[n : n + 1], alone.image.asnumpy(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("changes", [{}, {"average": 0.9}, {"optimizer": "lbfgs"}])
def test_no_steps_change_nothing(changes):
    objective = Quadratic((1, 3, 4, 5))
    start = random_image((1, 3, 4, 5))
    outcome = optimize(objective, to_ndarray(start), settings(steps=0, **changes))
    np.testing.assert_array_equal(outcome.image.asnumpy(), start)
    assert outcome.history == []
    assert objective.points == []


# --- L-BFGS ---

ONE = (1, 3, 4, 5)


class Rosenbrock(Quadratic):
    """The valley of Rosenbrock (1960) through all numbers in turn: a hundred evaluations are not enough."""

    def __call__(self, generated) -> Evaluation:
        x = generated.image.data().asnumpy().astype(float).ravel()
        self.points.append(x.copy())
        bend = x[1:] - x[:-1] ** 2
        gradient = np.zeros_like(x)
        gradient[:-1] = -400 * x[:-1] * bend - 2 * (1 - x[:-1])
        gradient[1:] += 200 * bend
        value = float((100 * bend**2 + (1 - x[:-1]) ** 2).sum())
        return Evaluation({"total": to_ndarray([value])}, to_ndarray(gradient.reshape(ONE)))


def lbfgs(**changes) -> Settings:
    return settings(**{"optimizer": "lbfgs", "steps": 100, **changes})


def test_lbfgs_reaches_the_minimum_of_a_quadratic():
    objective = Quadratic(ONE)
    outcome = optimize(objective, to_ndarray(random_image(ONE)), lbfgs())
    np.testing.assert_allclose(outcome.image.asnumpy(), objective.minimum, atol=1e-3)
    assert len(objective.points) < 100
    assert outcome.state is None


def test_lbfgs_ends_at_the_best_point_that_it_accepted():
    objective = Rosenbrock(ONE)
    outcome = optimize(objective, to_ndarray(random_image(ONE)), lbfgs(steps=60))
    end = outcome.image.asnumpy().ravel()
    assert any(np.array_equal(end, point.astype(np.float32)) for point in objective.points)
    fresh = optimize(Rosenbrock(ONE), outcome.image, lbfgs(steps=1))
    assert fresh.history[0][1]["total"][0] < 0.05 * outcome.history[0][1]["total"][0]


def test_every_round_of_lbfgs_starts_afresh():
    objective = Rosenbrock(ONE)
    optimize(objective, to_ndarray(random_image(ONE)), lbfgs(steps=40, lbfgs_round=10))
    points = objective.points
    again = [k for k in range(1, len(points)) if any(np.array_equal(points[k], old) for old in points[:k])]
    assert 3 <= len(again) <= 4  # each round but the first begins where the last one ended
    for k in (0, *(k for k in again if k + 1 < len(points))):
        # A fresh L-BFGS knows no curvature: its first trial is straight down the gradient.
        moved = points[k + 1] - points[k]
        gradient = gradient_at(points[k])
        cosine = -moved @ gradient / np.linalg.norm(moved) / np.linalg.norm(gradient)
        assert cosine == pytest.approx(1, abs=1e-4)


def test_lbfgs_remembers_as_much_as_it_is_told():
    courses = []
    for history in (1, 10):
        objective = Rosenbrock(ONE)
        optimize(objective, to_ndarray(random_image(ONE)), lbfgs(steps=20, lbfgs_history=history))
        courses.append(objective.points[:10])
    # The second trial of both rests on one correction; later ones on more, if there is room.
    np.testing.assert_array_equal(courses[0][:3], courses[1][:3])
    assert not np.array_equal(courses[0], courses[1])


def gradient_at(point: np.ndarray) -> np.ndarray:
    class At:
        class image:  # noqa: N801
            data = staticmethod(lambda: to_ndarray(point.reshape(ONE)))

    return Rosenbrock(ONE)(At).gradient.asnumpy().ravel().astype(float)


@pytest.mark.parametrize(("steps", "round_"), [(50, 20), (200, 20), (10, 20), (7, 5), (1, 20), (2, 20)])
def test_lbfgs_evaluates_no_more_than_asked(steps, round_):
    objective = Rosenbrock(ONE)
    optimize(objective, to_ndarray(random_image(ONE)), lbfgs(steps=steps, lbfgs_round=round_))
    assert len(objective.points) <= steps


def test_lbfgs_never_reports_a_step_beyond_the_last():
    seen: list[int] = []
    optimize(
        Rosenbrock(ONE),
        to_ndarray(random_image(ONE)),
        lbfgs(steps=4),
        observe=lambda step, losses, image: seen.append(step),
    )
    assert max(seen) == 4


def test_lbfgs_stops_where_it_has_converged():
    objective = Quadratic(ONE)
    outcome = optimize(objective, to_ndarray(objective.minimum), lbfgs(steps=1000))
    assert len(objective.points) < 5
    np.testing.assert_array_equal(outcome.image.asnumpy(), objective.minimum)


# --- reports ---


@pytest.mark.parametrize(("every", "expected"), [(1, [1, 2, 3, 4, 5]), (3, [1, 3, 5]), (100, [1, 5])])
def test_reports_come_as_often_as_asked(every, expected):
    outcome = optimize(Quadratic(), to_ndarray(random_image()), settings(steps=5), every=every)
    assert [step for step, _ in outcome.history] == expected


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(1, [1]), (4, [1, 4]), (5, [1, 5]), (12, [1, 5, 10, 12]), (20, [1, 5, 10, 15, 20])],
)
@pytest.mark.parametrize("optimizer", ["adam", "normalized-gd"])
def test_reports_come_at_the_first_each_fifth_and_the_last_step(optimizer, steps, expected):
    seen: list[tuple[int, dict]] = []
    outcome = optimize(
        Quadratic(),
        to_ndarray(random_image()),
        settings(steps=steps, optimizer=optimizer),
        observe=lambda step, losses, image: seen.append((step, losses)),
    )
    assert [step for step, _ in seen] == expected
    assert [step for step, _ in outcome.history] == expected
    for (_, told), (_, kept) in zip(seen, outcome.history, strict=True):
        np.testing.assert_array_equal(told["total"], kept["total"])


def test_reported_losses_are_those_before_the_step_of_each_image():
    objective, images = Quadratic(), []
    outcome = optimize(
        objective,
        to_ndarray(random_image()),
        settings(steps=6),
        observe=lambda step, losses, image: images.append(image().asnumpy()),
    )
    for (step, losses), image in zip(outcome.history, images, strict=True):
        point = objective.points[step - 1]
        np.testing.assert_array_equal(image, point)
        expected = (objective.curvature * (point - objective.minimum) ** 2).sum((1, 2, 3)) / 2
        assert losses["total"].dtype == np.float64
        np.testing.assert_allclose(losses["total"], expected, rtol=1e-5)


class Broken(Quadratic):
    """A quadratic whose loss is no number for one image from some evaluation on."""

    def __init__(self, from_step: int, value: float, shape=SHAPE) -> None:
        super().__init__(shape)
        self.from_step, self.value = from_step, value

    def __call__(self, generated) -> Evaluation:
        losses, gradient = super().__call__(generated)
        if len(self.points) >= self.from_step:
            broken = losses["total"].asnumpy()
            broken[-1] = self.value
            losses = {"total": to_ndarray(broken)}
        return Evaluation(losses, gradient)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("optimizer", ["adam", "normalized-gd"])
def test_a_loss_that_is_no_number_ends_it_at_the_next_report(optimizer, value):
    objective = Broken(7, value)
    with pytest.raises(DivergedError, match=r"at step 10: the optimisation diverged.*learning_rate"):
        optimize(objective, to_ndarray(random_image()), settings(steps=30, optimizer=optimizer))
    assert len(objective.points) == 10


def test_lbfgs_too_ends_where_the_loss_is_no_number():
    with pytest.raises(DivergedError):
        optimize(Broken(1, float("nan"), ONE), to_ndarray(random_image(ONE)), lbfgs())


def test_a_real_divergence_is_caught():
    setting = settings(optimizer="adam", learning_rate=1e30, steps=20)
    with pytest.raises(DivergedError):
        optimize(Quadratic(), to_ndarray(random_image()), setting)


class Steep(Quadratic):
    """A quadratic that is flat to look at and whose gradient is no number for one image."""

    def __call__(self, generated) -> Evaluation:
        _, gradient = super().__call__(generated)
        broken = gradient.asnumpy()
        broken[-1, 0, 0, 0] = np.nan
        return Evaluation({"total": nd.ones(SHAPE[0])}, to_ndarray(broken))


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("optimizer", ["adam", "normalized-gd"])
def test_an_image_that_is_no_number_is_never_handed_out(optimizer, clip):
    bounds = (nd.zeros((1, 3, 1, 1)), nd.ones((1, 3, 1, 1))) if clip else None
    with pytest.raises(DivergedError):
        optimize(Steep(), to_ndarray(random_image()), settings(optimizer=optimizer, bounds=bounds))


def test_the_result_lives_where_the_start_did():
    outcome = optimize(Quadratic(), to_ndarray(random_image(), ctx=mx.cpu()), settings(steps=1))
    assert outcome.image.context == mx.cpu()
    assert relative(outcome.image.asnumpy(), random_image()) < 0.2


# --- snapshots ---


def snapshots(setting: Settings, objective: Quadratic, start: np.ndarray, **options) -> dict:
    """Return step -> snapshot, taken after each step of a run."""
    taken = {}
    optimize(
        objective,
        to_ndarray(start),
        setting,
        tick=lambda step, take: taken.__setitem__(step, take()),
        **options,
    )
    return taken


FIRST_ORDER = [
    {"average": 0.9, "schedule": "cosine"},
    {"schedule": "step", "decay_every": 4, "decay_factor": 0.5},
    {"optimizer": "normalized-gd", "average": 0.5},
]


@pytest.mark.parametrize("changes", FIRST_ORDER, ids=["averaged", "step", "normalized-gd"])
def test_every_snapshot_leads_to_the_same_end(changes):
    setting = settings(**changes)
    whole = optimize(Quadratic(), to_ndarray(random_image()), setting)
    taken = snapshots(setting, Quadratic(), random_image())
    assert list(taken) == list(range(1, 13))
    for step, snapshot in taken.items():
        objective = Quadratic()
        rest = optimize(objective, nd.zeros(SHAPE), setting, resume=snapshot)
        assert len(objective.points) == setting.steps - step
        np.testing.assert_array_equal(rest.image.asnumpy(), whole.image.asnumpy())
        assert [read for read, _ in rest.history] == [read for read, _ in whole.history]
        for (_, found), (_, wanted) in zip(rest.history, whole.history, strict=True):
            np.testing.assert_array_equal(found["total"], wanted["total"])


def test_a_resumed_adam_keeps_the_moments_that_were_carried_in():
    first = optimize(Quadratic(), to_ndarray(random_image()), settings(steps=5))

    def carried():
        return AdamState(5, first.state.mean.copy(), first.state.variance.copy())

    whole = optimize(Quadratic(), first.image.copy(), settings(), state=carried())
    taken = snapshots(settings(), Quadratic(), first.image.asnumpy(), state=carried())
    assert taken[3].moments.step == 8
    rest = optimize(Quadratic(), nd.zeros(SHAPE), settings(), resume=taken[3])
    np.testing.assert_array_equal(rest.image.asnumpy(), whole.image.asnumpy())
    np.testing.assert_array_equal(rest.state.variance.asnumpy(), whole.state.variance.asnumpy())
    assert rest.state.step == 17


def test_a_snapshot_is_the_iterate_after_its_step():
    objective = Quadratic()
    taken = snapshots(settings(average=0.9), objective, random_image())
    for step in range(1, 12):
        np.testing.assert_array_equal(taken[step].image, objective.points[step])


def test_what_a_tick_raises_ends_the_run():
    def stop(step, take):
        if step == 4:
            raise Interrupted("asked to")

    for optimizer in ("adam", "normalized-gd", "lbfgs"):
        objective = Rosenbrock(ONE)
        with pytest.raises(Interrupted, match="asked to"):
            optimize(objective, to_ndarray(random_image(ONE)), settings(optimizer=optimizer), tick=stop)
        assert len(objective.points) == 4


def test_snapshots_of_lbfgs_are_of_the_last_bound_of_a_round():
    setting = lbfgs(steps=35, lbfgs_round=10)
    whole = optimize(Rosenbrock(ONE), to_ndarray(random_image(ONE)), setting)
    taken = snapshots(setting, Rosenbrock(ONE), random_image(ONE))
    assert list(taken) == list(range(1, 36))
    bounds = sorted({snapshot.step for snapshot in taken.values()})
    assert bounds[0] == 0
    assert len(bounds) == 4
    for bound in bounds:
        objective = Rosenbrock(ONE)
        snapshot = next(each for each in taken.values() if each.step == bound)
        rest = optimize(objective, nd.zeros(ONE), setting, resume=snapshot)
        assert len(objective.points) == 35 - bound
        np.testing.assert_array_equal(rest.image.asnumpy(), whole.image.asnumpy())
        assert [step for step, _ in rest.history] == [step for step, _ in whole.history]


def test_a_snapshot_after_the_last_step_needs_no_evaluation():
    objective = Quadratic()
    snapshot = snapshots(settings(average=0.5), Quadratic(), random_image())[12]
    rest = optimize(objective, nd.zeros(SHAPE), settings(average=0.5), resume=snapshot)
    whole = optimize(Quadratic(), to_ndarray(random_image()), settings(average=0.5))
    assert objective.points == []
    np.testing.assert_array_equal(rest.image.asnumpy(), whole.image.asnumpy())
