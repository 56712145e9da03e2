"""One scale of the optimisation: from a start image down the gradient of an objective.

Knows neither VGG nor files: an objective is any callable that evaluates a `GeneratedImage`. Settings, state,
step and run are apart, so that a caller can drive single steps.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gluon_nst.backend import nd, to_ndarray
from gluon_nst.errors import DivergedError
from gluon_nst.generated_image import GeneratedImage
from gluon_nst.progress import REPORT_EVERY
from gluon_nst.schedule import learning_rate

__all__ = [
    "AdamState",
    "Evaluation",
    "Outcome",
    "Settings",
    "adam_step",
    "normalized_gradient_step",
    "optimize",
]

Losses = dict[str, NDArray[np.float64]]
StepObserver = Callable[[int, Losses, Callable[[], Any]], None]


class Evaluation(NamedTuple):
    """What an objective says of the images: term -> NDArray (N,), and the gradient (N, 3, H, W)."""

    losses: Mapping[str, Any]
    gradient: Any


Objective = Callable[[GeneratedImage], Evaluation]


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to descend; the fields mean what those of `gluon_nst.recipe.Recipe` do.

    Attributes
    ----------
    bounds
        Black and white in the image's units, two NDArrays (1, 3, 1, 1), to clip to after each step; or None.
    """

    optimizer: str
    steps: int
    learning_rate: float
    beta1: float
    beta2: float
    epsilon: float
    schedule: str
    decay_every: int
    decay_factor: float
    bounds: tuple[Any, Any] | None
    average: float
    lbfgs_round: int
    lbfgs_history: int


class AdamState(NamedTuple):
    """Adam between two steps: number of steps done, and the two moments, (N, 3, H, W) each."""

    step: int
    mean: Any
    variance: Any

    @classmethod
    def fresh(cls, image: Any) -> AdamState:
        """Return the state before the first step."""
        return cls(0, nd.zeros_like(image), nd.zeros_like(image))


class Outcome(NamedTuple):
    """What one scale ends with.

    Attributes
    ----------
    image
        (N, 3, H, W): the last iterate, or the average of the last ones.
    state
        Adam's state, None for the other optimisers.
    history
        Losses every few steps: (step, term -> (N,)).
    """

    image: Any
    state: AdamState | None
    history: list[tuple[int, Losses]]


def adam_step(image: Any, gradient: Any, state: AdamState, rate: float, settings: Settings) -> AdamState:
    """Update the images in place by one step of Adam (Kingma and Ba 2015, end of section 2).

    Epsilon is added to the uncorrected root, as MXNet and Keras do; the moments are updated in place too.
    """
    step = state.step + 1
    corrected = rate * (1 - settings.beta2**step) ** 0.5 / (1 - settings.beta1**step)
    nd.adam_update(
        image, gradient, state.mean, state.variance, out=image,
        lr=corrected, beta1=settings.beta1, beta2=settings.beta2, epsilon=settings.epsilon,
    )  # fmt: skip
    return state._replace(step=step)


def normalized_gradient_step(image: Any, gradient: Any, rate: float, epsilon: float) -> None:
    """Update each image in place by ``rate * g / (rms(g) + epsilon)``, the mean square taken over that image."""
    square = (gradient * gradient).reshape((gradient.shape[0], -1)).mean(axis=1)
    scale = rate / (square.sqrt() + epsilon)
    image[:] = image - nd.broadcast_mul(gradient, scale.reshape((-1, 1, 1, 1)))


def optimize(
    objective: Objective,
    start: Any,
    settings: Settings,
    *,
    state: AdamState | None = None,
    observe: StepObserver | None = None,
    every: int = REPORT_EVERY,
) -> Outcome:
    """Run all steps of one scale.

    Parameters
    ----------
    objective
        Gives losses and gradient of the images as they are.
    start
        (N, 3, H, W) float32. L-BFGS takes one image only: its line search would tie several together.
    state
        Adam's moments to go on from; None starts afresh.
    observe
        Called with the number of steps done, the losses and a function that returns the images; None observes
        nothing.
    every
        Steps between two readings of the losses; the first and the last step are always read.

    Raises
    ------
    DivergedError
        When the loss is no longer a finite number.
    """
    generated = GeneratedImage(start)
    watch = _Watch(generated, settings.steps, every, observe)
    if settings.optimizer == "lbfgs":
        _run_lbfgs(objective, generated, settings, watch)
        return Outcome(generated.image.data(), None, watch.history)
    return _run_first_order(objective, generated, settings, state, watch)


class _Watch:
    """Reads the losses every few steps, keeps them, and passes them on."""

    def __init__(
        self, generated: GeneratedImage, steps: int, every: int, observe: StepObserver | None
    ) -> None:
        self.history: list[tuple[int, Losses]] = []
        self._generated, self._steps, self._every, self._observe = generated, steps, every, observe

    def __call__(self, step: int, evaluation: Evaluation) -> None:
        """Take note of the losses that step number `step` (from 1) began with."""
        if step != 1 and step % self._every and step != self._steps:
            return
        read = {term: value.asnumpy().astype(np.float64) for term, value in evaluation.losses.items()}
        # Not the losses alone: oneDNN's ReLU and max pooling make numbers of NaN again.
        _check_finite(evaluation.gradient, step)
        _check_finite(self._generated.image.data(), step)
        if not np.isfinite(read["total"]).all():
            raise _diverged(step)
        self.history.append((step, read))
        if self._observe is not None:
            self._observe(step, read, self._generated.image.data)


def _check_finite(array: Any, step: int) -> None:
    """Raise DivergedError unless all is finite; a sum tells."""
    if not np.isfinite(array.sum().asscalar()):
        raise _diverged(step)


def _diverged(step: int) -> DivergedError:
    return DivergedError(
        f"the loss was no number any more at step {step}: the optimisation diverged. Use a lower "
        "learning_rate or smaller weights."
    )


def _run_first_order(
    objective: Objective,
    generated: GeneratedImage,
    settings: Settings,
    state: AdamState | None,
    watch: _Watch,
) -> Outcome:
    """Run Adam or normalised gradient descent."""
    image = generated.image.data()
    state = AdamState.fresh(image) if state is None else state
    average = nd.zeros_like(image) if settings.average else None
    for step in range(settings.steps):
        evaluation = objective(generated)
        watch(step + 1, evaluation)
        rate = learning_rate(
            step, settings.steps, settings.learning_rate,
            schedule=settings.schedule, every=settings.decay_every, factor=settings.decay_factor,
        )  # fmt: skip
        if settings.optimizer == "adam":
            state = adam_step(image, evaluation.gradient, state, rate, settings)
        else:
            normalized_gradient_step(image, evaluation.gradient, rate, settings.epsilon)
        if settings.bounds is not None:
            generated.clip(*settings.bounds)
        if average is not None:
            average[:] = average * settings.average + image * (1 - settings.average)
    if average is not None and settings.steps:
        # Corrected for the zeros that the average started from, as Adam corrects its moments.
        image = average / (1 - settings.average**settings.steps)
    _check_finite(image, settings.steps)
    # Clipping makes a pixel of a NaN again; the moments keep it.
    _check_finite(state.mean, settings.steps)
    return Outcome(image, state if settings.optimizer == "adam" else None, watch.history)


class _Spent(Exception):  # noqa: N818
    """All evaluations are used up, maybe within a line search."""


def _run_lbfgs(objective: Objective, generated: GeneratedImage, settings: Settings, watch: _Watch) -> None:
    """Run SciPy's L-BFGS-B without bounds (with them it stalls), in rounds that each start afresh."""
    from scipy.optimize import fmin_l_bfgs_b

    image = generated.image.data()
    shape, evaluations = image.shape, 0

    def evaluate(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        nonlocal evaluations
        if evaluations == settings.steps:
            raise _Spent
        generated.image.set_data(to_ndarray(flat.reshape(shape), ctx=image.context))
        losses, gradient = objective(generated)
        evaluations += 1
        watch(evaluations, Evaluation(losses, gradient))
        return float(losses["total"].asscalar()), gradient.asnumpy().ravel().astype(np.float64)

    flat = image.asnumpy().ravel().astype(np.float64)

    def accept(point: NDArray[np.float64]) -> None:
        nonlocal flat
        flat = point.copy()

    while evaluations < settings.steps:
        budget = min(settings.lbfgs_round, settings.steps - evaluations)
        before = evaluations
        with contextlib.suppress(_Spent):
            # SciPy stops after the step in which maxfun is exceeded.
            fmin_l_bfgs_b(evaluate, flat, maxfun=budget - 1, m=settings.lbfgs_history, callback=accept)
        if evaluations - before < min(budget, 3):
            break  # converged: a fresh round would stop where it starts
    generated.image.set_data(to_ndarray(flat.reshape(shape), ctx=image.context))
