"""The update rules of the reference systems, as pure functions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tests.reference.vgg import FloatArray


class AdamState(NamedTuple):
    """The running means of the gradient and of its square, and the number of steps taken."""

    mean: FloatArray
    square: FloatArray
    steps: int


def adam_start(image: FloatArray) -> AdamState:
    """Return the state before the first step."""
    return AdamState(np.zeros_like(image), np.zeros_like(image), 0)


def adam_step(
    image: FloatArray,
    gradient: FloatArray,
    state: AdamState,
    learning_rate: float,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
) -> tuple[FloatArray, AdamState]:
    """Return the image and the state after one step of Adam, epsilon added to the uncorrected root.

    Kingma and Ba 2015, the form at the end of section 2 ("epsilon hat"), which MXNet and Keras both use;
    the defaults are MXNet's.
    """
    t = state.steps + 1
    mean = beta_1 * state.mean + (1 - beta_1) * gradient
    square = beta_2 * state.square + (1 - beta_2) * gradient**2
    rate = learning_rate * np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
    return image - rate * mean / (np.sqrt(square) + epsilon), AdamState(mean, square, t)


def d2l_learning_rate(step: int, stage: int) -> float:
    """Return d2l's learning rate at `step` (from 0) of `stage` (1 or 2; 500 and 300 steps).

    It falls to a tenth after steps 200 and 400 of stage 1, and after steps 100 and 200 of stage 2: step 200
    itself still runs at the rate of step 199.
    """
    every = {1: 200, 2: 100}[stage]
    return 0.01 * 0.1 ** (max(step - 1, 0) // every)


def tf2_adam_step(image: FloatArray, gradient: FloatArray, state: AdamState) -> tuple[FloatArray, AdamState]:
    """Return the image, clipped to [0, 1], and the state after one step of tf2-adam.

    beta_2 is the library's default, 0.999.
    """
    moved, state = adam_step(image, gradient, state, 0.02, beta_1=0.99, epsilon=0.1)
    return np.clip(moved, 0.0, 1.0), state


def normalised_gradient_step(image: FloatArray, gradient: FloatArray) -> FloatArray:
    """Return the image after one step of keras-normalised-gd."""
    return np.asarray(image - 0.01 * gradient / (np.sqrt((gradient**2).mean()) + 1e-5))
