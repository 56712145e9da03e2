"""An objective that tells when its first evaluation is over."""

from __future__ import annotations

from gluon_nst.backend import settle_memory
from gluon_nst.descent import Evaluation, Objective
from gluon_nst.generated_image import GeneratedImage

__all__ = ["SettlingObjective"]


class SettlingObjective:
    """An objective of images of a new shape: the memory is settled once they have been evaluated.

    Parameters
    ----------
    objective
        What evaluates them.
    """

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._settled = False

    def __call__(self, generated: GeneratedImage) -> Evaluation:
        """Return the weighted terms, (N,) each, and the gradient of their sum, (N, 3, H, W)."""
        evaluation = self._objective(generated)
        if not self._settled:
            settle_memory(evaluation.gradient.context)
            self._settled = True
        return evaluation
