"""L-BFGS on one image: SciPy's, in rounds that each start afresh."""

from __future__ import annotations

import contextlib

import numpy as np
from numpy.typing import NDArray

from gluon_nst.backend import to_ndarray
from gluon_nst.checkpoint import Snapshot
from gluon_nst.descent import Evaluation, Objective, Settings, StepTick
from gluon_nst.generated_image import GeneratedImage
from gluon_nst.readings import Readings

__all__ = ["run_lbfgs"]


def run_lbfgs(
    objective: Objective,
    generated: GeneratedImage,
    settings: Settings,
    readings: Readings,
    resume: Snapshot | None,
    tick: StepTick | None,
) -> None:
    """Run SciPy's L-BFGS-B without bounds (with them it stalls); leave the image at the last point accepted.

    Parameters
    ----------
    objective, generated, settings, readings
        As `gluon_nst.optimize.optimize` has them; one image, (1, 3, H, W).
    resume
        The bound of a round to go on from; None starts from the image.
    tick
        Called after every evaluation. The snapshot that it can take is of the last bound of a round: within
        one, the state is SciPy's own.
    """
    rounds = _Rounds(objective, generated, settings, readings, resume, tick)
    while rounds.round():
        pass
    rounds.show(rounds.point)


class _Spent(Exception):  # noqa: N818
    """All evaluations are used up, maybe within a line search."""


class _Rounds:
    """The way of one image: how many evaluations, which point was accepted last."""

    def __init__(
        self,
        objective: Objective,
        generated: GeneratedImage,
        settings: Settings,
        readings: Readings,
        resume: Snapshot | None,
        tick: StepTick | None,
    ) -> None:
        self._objective, self._generated, self._settings = objective, generated, settings
        self._readings, self._tick = readings, tick
        self._done = 0 if resume is None else resume.step
        image = generated.image.data().asnumpy() if resume is None else resume.image
        self._shape = image.shape
        self.point: NDArray[np.float64] = image.ravel().astype(np.float64)

    def round(self) -> bool:
        """Run one round; return False if there was none left, or if it converged."""
        from scipy.optimize import fmin_l_bfgs_b

        before, settings = self._done, self._settings
        budget = min(settings.lbfgs_round, settings.steps - before)
        if not budget:
            return False
        self._bound = self._snapshot()
        with contextlib.suppress(_Spent):
            # SciPy stops after the step in which maxfun is exceeded.
            fmin_l_bfgs_b(
                self._evaluate, self.point, maxfun=budget - 1, m=settings.lbfgs_history, callback=self._accept
            )
        # Converged: a fresh round would stop where it starts.
        return self._done - before >= min(budget, 3)

    def show(self, point: NDArray[np.float64]) -> None:
        """Set the image to a point."""
        data = self._generated.image.data()
        self._generated.image.set_data(to_ndarray(point.reshape(self._shape), ctx=data.context))

    def _evaluate(self, point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        if self._done == self._settings.steps:
            raise _Spent
        self.show(point)
        losses, gradient = self._objective(self._generated)
        self._done += 1
        self._readings.take(self._done, Evaluation(losses, gradient))
        if self._tick is not None:
            self._tick(self._done, lambda: self._bound)
        return float(losses["total"].asscalar()), gradient.asnumpy().ravel().astype(np.float64)

    def _accept(self, point: NDArray[np.float64]) -> None:
        self.point = point.copy()

    def _snapshot(self) -> Snapshot:
        image = self.point.reshape(self._shape)
        return Snapshot(self._done, image, None, None, list(self._readings.history))
