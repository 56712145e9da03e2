"""Reading the losses back from the device every few steps, and noticing where they are no numbers any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gluon_nst.checkpoint import History, Losses
from gluon_nst.descent import Evaluation
from gluon_nst.errors import DivergedError
from gluon_nst.generated_image import GeneratedImage

__all__ = ["Readings", "StepObserver", "check_finite"]

StepObserver = Callable[[int, Losses, Callable[[], Any]], None]
"""Called with the number of steps done, the losses and a function that returns the images."""


class Readings:
    """Reads the losses every few steps, keeps them, and passes them on.

    Parameters
    ----------
    generated
        The images.
    steps, every
        How many steps there will be, and how many lie between two readings.
    observe
        Whom to tell; None tells nobody.
    history
        What was read before.
    """

    def __init__(
        self,
        generated: GeneratedImage,
        steps: int,
        every: int,
        observe: StepObserver | None,
        history: History = (),
    ) -> None:
        self.history = list(history)
        self._generated, self._steps, self._every, self._observe = generated, steps, every, observe

    def take(self, step: int, evaluation: Evaluation, *, last: bool = False) -> None:
        """Take note of the losses that step number `step` (from 1) began with; `last` if none will follow."""
        if step != 1 and step % self._every and step != self._steps and not last:
            return
        read = {term: value.asnumpy().astype(np.float64) for term, value in evaluation.losses.items()}
        # Not the losses alone: oneDNN's ReLU and max pooling make numbers of NaN again.
        check_finite(evaluation.gradient, step)
        check_finite(self._generated.image.data(), step)
        if not np.isfinite(read["total"]).all():
            raise _diverged(step)
        self.history.append((step, read))
        if self._observe is not None:
            self._observe(step, read, self._generated.image.data)


def check_finite(array: Any, step: int) -> None:
    """Raise DivergedError unless all of an NDArray is finite; its sum tells."""
    if not np.isfinite(array.sum().asscalar()):
        raise _diverged(step)


def _diverged(step: int) -> DivergedError:
    return DivergedError(
        f"the loss was no number any more at step {step}: the optimisation diverged. Use a lower "
        "learning_rate or smaller weights."
    )
