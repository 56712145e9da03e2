"""One scale of the optimisation: from a start image down the gradient of an objective.

Knows neither VGG nor files: an objective is any callable that evaluates a `GeneratedImage`. Settings, state,
step and run are apart, so that a caller can drive single steps.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from gluon_nst.backend import to_ndarray
from gluon_nst.checkpoint import Losses, Snapshot
from gluon_nst.convergence import Convergence
from gluon_nst.descent import (
    AdamState,
    Descent,
    Evaluation,
    Objective,
    Settings,
    StepTick,
    adam_step,
    normalized_gradient_step,
)
from gluon_nst.generated_image import GeneratedImage
from gluon_nst.lbfgs import run_lbfgs
from gluon_nst.progress import REPORT_EVERY
from gluon_nst.readings import Readings, StepObserver, check_finite

__all__ = [
    "AdamState",
    "Evaluation",
    "Outcome",
    "Settings",
    "adam_step",
    "normalized_gradient_step",
    "optimize",
]


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


def optimize(
    objective: Objective,
    start: Any,
    settings: Settings,
    *,
    state: AdamState | None = None,
    resume: Snapshot | None = None,
    tick: StepTick | None = None,
    observe: StepObserver | None = None,
    every: int = REPORT_EVERY,
) -> Outcome:
    """Run all steps of one scale, or those until it has converged, or those that a snapshot of it leaves.

    Parameters
    ----------
    objective
        Gives losses and gradient of the images as they are.
    start
        (N, 3, H, W) float32. L-BFGS takes one image only: its line search would tie several together.
    state
        Adam's moments to go on from; None starts afresh.
    resume
        A snapshot of this very scale to go on from; `start` and `state` then count for nothing but the device.
        What it ends with is, bit for bit, what an uninterrupted run ends with, as far as the objective is
        the same each time.
    tick
        Called after every step, without waiting for the device; may raise to end the run. Under L-BFGS the
        snapshot is that of the last bound of a round.
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
    history = () if resume is None else resume.history
    generated = GeneratedImage(start if resume is None else to_ndarray(resume.image, ctx=start.context))
    readings = Readings(generated, settings.steps, every, observe, history)
    if settings.optimizer == "lbfgs":
        run_lbfgs(objective, generated, settings, readings, resume, tick)
        return Outcome(generated.image.data(), None, readings.history)
    descent = Descent(generated, settings, state, resume)
    convergence = Convergence(
        settings.stop_below, settings.stop_window, start.context, None if resume is None else resume.sums
    )
    _run_first_order(objective, generated, descent, settings.steps, convergence, readings, tick)
    return Outcome(_finite_image(descent), descent.state, readings.history)


def _run_first_order(
    objective: Objective,
    generated: GeneratedImage,
    descent: Descent,
    steps: int,
    convergence: Convergence,
    readings: Readings,
    tick: StepTick | None,
) -> None:
    """Run Adam or normalised gradient descent."""
    while descent.done < steps and not convergence.reached(descent.done):
        evaluation = objective(generated)
        step = descent.done + 1
        convergence.take(step, evaluation.losses["total"])
        readings.take(step, evaluation, last=convergence.reached(step))
        descent.step(evaluation.gradient)
        if tick is not None:
            tick(descent.done, lambda: descent.snapshot(readings.history, convergence.sums()))
        del evaluation  # its gradient would be kept while the next one is computed


def _finite_image(descent: Descent) -> Any:
    image = descent.image()
    check_finite(image, descent.done)
    if descent.state is not None:
        # Clipping makes a pixel of a NaN again; the moments keep it.
        check_finite(descent.state.mean, descent.done)
    return image
