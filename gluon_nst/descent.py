"""The parts of a descent: its settings, what an objective says, single steps, the state between two steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gluon_nst.backend import nd, to_ndarray
from gluon_nst.checkpoint import History, Moments, Snapshot
from gluon_nst.generated_image import GeneratedImage
from gluon_nst.schedule import learning_rate

__all__ = [
    "AdamState",
    "Descent",
    "Evaluation",
    "Objective",
    "Settings",
    "StepTick",
    "adam_step",
    "normalized_gradient_step",
]


class Evaluation(NamedTuple):
    """What an objective says of the images: term -> NDArray (N,), and the gradient (N, 3, H, W)."""

    losses: Mapping[str, Any]
    gradient: Any


Objective = Callable[[GeneratedImage], Evaluation]

StepTick = Callable[[int, Callable[[], Snapshot]], None]
"""Called after every step with the number of steps done and a function that takes a snapshot, which alone waits
for the device."""


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
    stop_below: float
    stop_window: int
    lbfgs_round: int
    lbfgs_history: int

    def rate(self, step: int) -> float:
        """Return the learning rate of the step with this number, from 0."""
        return learning_rate(
            step, self.steps, self.learning_rate,
            schedule=self.schedule, every=self.decay_every, factor=self.decay_factor,
        )  # fmt: skip


class AdamState(NamedTuple):
    """Adam between two steps: number of steps done, and the two moments, (N, 3, H, W) each."""

    step: int
    mean: Any
    variance: Any

    @classmethod
    def fresh(cls, image: Any) -> AdamState:
        """Return the state before the first step."""
        return cls(0, nd.zeros_like(image), nd.zeros_like(image))

    @classmethod
    def on_device(cls, moments: Moments, context: Any) -> AdamState:
        """Return the state that a snapshot holds."""
        mean, variance = (to_ndarray(each, ctx=context) for each in (moments.mean, moments.variance))
        return cls(moments.step, mean, variance)

    def moments(self) -> Moments:
        """Return the state as a snapshot holds it."""
        return Moments(self.step, self.mean.asnumpy(), self.variance.asnumpy())


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


class Descent:
    """A descent of first order between two steps: Adam or normalised gradient descent.

    Parameters
    ----------
    generated
        The images, which every step changes.
    settings
        How to descend.
    state
        Adam's moments to go on from, changed in place; None starts afresh.
    resume
        A snapshot whose step, moments and average to go on from; its image is the caller's to set.
    """

    def __init__(
        self, generated: GeneratedImage, settings: Settings, state: AdamState | None, resume: Snapshot | None
    ) -> None:
        image = generated.image.data()
        if resume is not None and resume.moments is not None:
            state = AdamState.on_device(resume.moments, image.context)
        if state is None and settings.optimizer == "adam":
            state = AdamState.fresh(image)
        self.done = 0 if resume is None else resume.step
        self.state = state if settings.optimizer == "adam" else None
        self._average = _running_average(image, settings, resume)
        self._generated, self._settings = generated, settings

    def step(self, gradient: Any) -> None:
        """Go one step down the gradient, (N, 3, H, W)."""
        settings, image = self._settings, self._generated.image.data()
        rate = settings.rate(self.done)
        if self.state is not None:
            self.state = adam_step(image, gradient, self.state, rate, settings)
        else:
            normalized_gradient_step(image, gradient, rate, settings.epsilon)
        if settings.bounds is not None:
            self._generated.clip(*settings.bounds)
        if self._average is not None:
            self._average[:] = self._average * settings.average + image * (1 - settings.average)
        self.done += 1

    def image(self) -> Any:
        """Return the images as they are, (N, 3, H, W), or the average of the last ones."""
        if self._average is None or not self.done:
            return self._generated.image.data()
        # Corrected for the zeros that the average started from, as Adam corrects its moments.
        return self._average / (1 - self._settings.average**self.done)

    def snapshot(self, history: History, sums: NDArray[np.float32] | None) -> Snapshot:
        """Copy the descent to the host, with the losses that were read on the way and the early stop's sums."""
        moments = None if self.state is None else self.state.moments()
        average = None if self._average is None else self._average.asnumpy()
        return Snapshot(
            self.done, self._generated.image.data().asnumpy(), moments, average, list(history), sums
        )


def _running_average(image: Any, settings: Settings, resume: Snapshot | None) -> Any:
    if not settings.average:
        return None
    if resume is not None and resume.average is not None:
        return to_ndarray(resume.average, ctx=image.context)
    return nd.zeros_like(image)
