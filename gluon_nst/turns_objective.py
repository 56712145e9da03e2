"""The objective of several images on a CPU, one after the other.

A CPU is busy with one image. In one pass several took the memory of all, and gained nothing: one at a time was 0.98
times as fast in float32, in bfloat16 1.14 times, as oneDNN brings the maps of several into other layouts to cut them
apart for their Gram matrices (four of 256x192 pixels, two cores of Zen 4).
"""

from __future__ import annotations

from collections.abc import Sequence

from gluon_nst.backend import nd
from gluon_nst.descent import Evaluation, Objective
from gluon_nst.generated_image import GeneratedImage

__all__ = ["TurnsObjective"]


class TurnsObjective:
    """Losses and gradients of images, each evaluated alone.

    Parameters
    ----------
    objectives
        One for each image.
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self._objectives = objectives
        self._alone: list[GeneratedImage] = []

    def __call__(self, generated: GeneratedImage) -> Evaluation:
        """Return the weighted terms, (N,) each, and the gradient of their sum, (N, 3, H, W)."""
        images = nd.split(generated.image.data(), num_outputs=len(self._objectives), axis=0)
        self._alone = self._alone or [GeneratedImage(image) for image in images]
        evaluations = []
        for one, image, objective in zip(self._alone, images, self._objectives, strict=True):
            one.image.set_data(image)
            evaluations.append(objective(one))
        losses = {
            term: nd.concat(*[each.losses[term] for each in evaluations], dim=0)
            for term in evaluations[0].losses
        }
        return Evaluation(losses, nd.concat(*[each.gradient for each in evaluations], dim=0))
