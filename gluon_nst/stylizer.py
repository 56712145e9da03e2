"""The Stylizer: content and style pictures in, stylized pictures out. Arrays only, never files.

One warm Stylizer serves a whole collection: the network stays on its device, and the targets of the last few
style pictures are kept.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gluon_nst import backend
from gluon_nst.activations import rescaled_arrays
from gluon_nst.backend import to_ndarray, translate_errors
from gluon_nst.chunk import Chunk, Pixels, make_chunks
from gluon_nst.features import VGGFeatures
from gluon_nst.images.color import original_colors
from gluon_nst.images.geometry import resize
from gluon_nst.memory import check_memory
from gluon_nst.objective import StyleTransferObjective, content_targets
from gluon_nst.optimize import Losses, Outcome, Settings, StepObserver, optimize
from gluon_nst.parameters import Parameters, load_parameters
from gluon_nst.preprocessing import PIXEL_UNITS, deprocess, preprocess
from gluon_nst.progress import REPORT_EVERY, TERMS, LossPoint, Observer, Progress, ignore_progress
from gluon_nst.pyramid import Scale
from gluon_nst.recipe import Recipe
from gluon_nst.starts import enlarge, noise
from gluon_nst.targets import StyleTargets

__all__ = ["Stylized", "Stylizer"]


@dataclasses.dataclass(frozen=True, eq=False)
class Stylized:
    """One finished picture.

    Attributes
    ----------
    pixels
        (H, W, 3) uint8 RGB.
    losses
        Losses every few steps, scale after scale.
    steps, seconds, stop_reason
        Steps over all scales; wall time of the chunk; why it ended ("steps": all were done).
    device, precision
        What was used.
    """

    pixels: Pixels
    losses: tuple[LossPoint, ...]
    steps: int
    seconds: float
    stop_reason: str
    device: str
    precision: str


class Stylizer:
    """Stylizes pictures under one recipe, on one device.

    Parameters
    ----------
    recipe
        What to do.
    parameters
        Pretrained numbers of the recipe's network; None loads the bundled ones.
    device
        "cpu", "gpu:K" or "auto".
    precision
        "auto" or "float32": of the feature maps; everything else is float32 always.

    Raises
    ------
    DeviceError, UsageError, ParametersError, RecipeError
        If the device, the precision or the parameters cannot serve the recipe.
    """

    def __init__(
        self,
        recipe: Recipe,
        parameters: Parameters | None = None,
        *,
        device: str = "auto",
        precision: str = "auto",
    ) -> None:
        self.recipe = recipe
        self.device = backend.device_name(device)
        self.precision = backend.precision(precision)
        self.parameters = load_parameters("bundled", recipe.network) if parameters is None else parameters
        self._context = backend.context(self.device)
        self._units = PIXEL_UNITS[recipe.pixel_units]
        low, high = self._units.bounds()
        self._bounds = low.as_in_context(self._context), high.as_in_context(self._context)
        with translate_errors():
            self._network = VGGFeatures(
                rescaled_arrays(self.parameters, recipe.activations),
                [layer for layer, weight in (*recipe.content_layers, *recipe.style_layers) if weight],
                network=recipe.network,
                pooling=recipe.pooling,
                padding=recipe.padding,
                units=self._units,
                context=self._context,
            )
        self._style_targets = StyleTargets(self._network, recipe, self._context)

    def stylize(
        self,
        contents: Sequence[Pixels],
        styles: Sequence[Pixels],
        *,
        blend: Sequence[float] | None = None,
        starts: Sequence[Pixels] | None = None,
        observe: Observer = ignore_progress,
        every: int = REPORT_EVERY,
    ) -> list[Stylized]:
        """Stylize pictures of one shape together, each with its own targets.

        Parameters
        ----------
        contents
            N content pictures (H, W, 3) uint8 RGB of one shape.
        styles
            One or more style pictures (h, w, 3) uint8 RGB, of any shapes.
        blend
            Weight of each style picture; None blends them evenly.
        starts
            Pictures to start from, for `init = "image"`; resized to the first scale.
        observe, every
            Called after every so many steps.

        Returns
        -------
        list of Stylized
            One for each content picture, the same as if it had been alone up to rounding.

        Raises
        ------
        ImageSizeError
            If the shapes differ, or are too small for the network.
        OutOfMemoryError
            If the device has no room, as far as that can be told before or while it runs.
        DivergedError
            If the loss stops being a number.
        """
        chunks = make_chunks(self.recipe, contents, styles, blend, starts)
        with translate_errors():
            return [stylized for chunk in chunks for stylized in self._run(chunk, observe, every)]

    def _run(self, chunk: Chunk, observe: Observer, every: int) -> list[Stylized]:
        """Take a chunk through all scales."""
        check_memory(chunk.scales[-1], len(chunk.contents), self.device)
        began = time.perf_counter()
        losses: list[list[LossPoint]] = [[] for _ in chunk.contents]
        image, state = self._start(chunk), None
        for index, scale in enumerate(chunk.scales):
            if index:
                image, state = enlarge(
                    image, state if self.recipe.carry_moments else None, self._bounds, scale
                )
            watch = self._watch(chunk, index, observe)
            outcome = self._one_scale(chunk, scale, image, state, watch, every)
            image, state = outcome.image, outcome.state
            for n, points in enumerate(losses):
                points.extend(_loss_point(index + 1, step, read, n) for step, read in outcome.history)
        pictures = self._finish(image.asnumpy(), chunk.photographs)
        seconds, steps = time.perf_counter() - began, sum(scale.steps for scale in chunk.scales)
        return [
            Stylized(picture, tuple(points), steps, seconds, "steps", self.device, self.precision)
            for picture, points in zip(pictures, losses, strict=True)
        ]

    def _one_scale(
        self, chunk: Chunk, scale: Scale, image: Any, state: Any, watch: StepObserver, every: int
    ) -> Outcome:
        style = self._style_targets.blended(chunk.styles, chunk.blend, scale)
        content = content_targets(self._network, self.recipe, self._preprocess(chunk.contents, scale))
        objective = StyleTransferObjective(self._network, self.recipe, content, style)
        return optimize(objective, image, self._settings(scale), state=state, observe=watch, every=every)

    def _preprocess(self, pictures: Sequence[Pixels], scale: Scale) -> Any:
        resized = [resize(picture, scale.height, scale.width) for picture in pictures]
        return preprocess(resized, self._units, self._context)

    def _start(self, chunk: Chunk) -> Any:
        scale = chunk.scales[0]
        if self.recipe.init in ("content", "image"):
            return self._preprocess(chunk.contents if chunk.starts is None else chunk.starts, scale)
        images = [noise(self.recipe, photograph, scale) for photograph in chunk.photographs]
        return to_ndarray(np.stack(images), ctx=self._context)

    def _settings(self, scale: Scale) -> Settings:
        """Return the optimiser's settings: those fields of the recipe that have the same names."""
        own: dict[str, Any] = {"steps": scale.steps, "decay_every": scale.decay_every}
        own["bounds"] = self._bounds if self.recipe.clip else None
        names = [field.name for field in dataclasses.fields(Settings) if field.name not in own]
        return Settings(**own, **{name: getattr(self.recipe, name) for name in names})

    def _finish(self, image: NDArray[np.float32], photographs: Sequence[Pixels]) -> list[Pixels]:
        pictures = deprocess(image, self._units)
        if not self.recipe.original_colors:
            return pictures
        return [
            original_colors(picture, resize(photograph, *picture.shape[:2]))
            for picture, photograph in zip(pictures, photographs, strict=True)
        ]

    def _watch(self, chunk: Chunk, index: int, observe: Observer) -> StepObserver:
        """Return the observer of one scale's steps that tells the caller of the whole work."""
        scale = chunk.scales[index]

        def watch(step: int, losses: Losses, image: Callable[[], Any]) -> None:
            progress = Progress(
                index + 1, len(chunk.scales), scale.height, scale.width, step, scale.steps,
                chunk.fraction(index, step), {term: float(losses[term].mean()) for term in TERMS},
            )  # fmt: skip
            observe(progress, lambda: self._finish(image().asnumpy(), chunk.photographs))

        return watch


def _loss_point(scale: int, step: int, losses: Losses, n: int) -> LossPoint:
    return LossPoint(scale, step, *(float(losses[term][n]) for term in TERMS))
