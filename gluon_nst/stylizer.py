"""The Stylizer: content and style pictures in, stylized pictures out. Arrays only, never files.

One warm Stylizer serves a whole collection: the network stays on its device, and the targets of the last few
style pictures are kept.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gluon_nst import backend
from gluon_nst.activations import rescaled_arrays
from gluon_nst.backend import to_ndarray, translate_errors
from gluon_nst.errors import ImageSizeError, UsageError
from gluon_nst.features import VGGFeatures
from gluon_nst.images.color import original_colors
from gluon_nst.images.geometry import fit_longer_side, resize
from gluon_nst.images.palette import match_palette
from gluon_nst.memory import check_memory
from gluon_nst.objective import StyleTransferObjective, content_targets
from gluon_nst.optimize import REPORT_EVERY, Losses, Outcome, Settings, StepObserver, optimize
from gluon_nst.parameters import Parameters, load_parameters
from gluon_nst.preprocessing import PIXEL_UNITS, deprocess, preprocess
from gluon_nst.progress import TERMS, LossPoint, Observer, Progress, ignore_progress
from gluon_nst.pyramid import Scale, pyramid, working_shape
from gluon_nst.recipe import Recipe
from gluon_nst.starts import enlarge, noise
from gluon_nst.targets import StyleTargets

__all__ = ["Stylized", "Stylizer"]

Pixels = NDArray[np.uint8]

# Longer side at which a style's palette is taken: 200,000 pixels settle a mean and a covariance.
_PALETTE_SIDE = 512


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


@dataclasses.dataclass(frozen=True, eq=False)
class _Work:
    """One chunk on its way through the scales; `contents` may be recolored, `photographs` never are."""

    photographs: Sequence[Pixels]
    contents: Sequence[Pixels]
    styles: Sequence[Pixels]
    blend: Sequence[float]
    starts: Sequence[Pixels] | None
    scales: Sequence[Scale]
    observe: Observer
    every: int
    part: int = 0
    parts: int = 1


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
        scales = pyramid(self.recipe, *working_shape(self.recipe, *_one_shape(contents)))
        weights = _normalized(blend, len(styles))
        recolored = self._recolored(contents, styles, weights, scales[-1])
        work = _Work(contents, recolored, styles, weights, starts, scales, observe, every)
        if (self.recipe.init == "image") != (starts is not None):
            raise UsageError('a start image and init = "image" go together; give both or neither.')
        if starts is not None and len(starts) != len(contents):
            raise UsageError(f"{len(contents)} contents came with {len(starts)} start images; give each one.")
        # A line search chooses one step length for all that it sees, so under L-BFGS each image runs alone.
        parts = _one_by_one(work) if self.recipe.optimizer == "lbfgs" else [work]
        with translate_errors():
            return [stylized for part in parts for stylized in self._run(part)]

    def _recolored(
        self, contents: Sequence[Pixels], styles: Sequence[Pixels], blend: Sequence[float], scale: Scale
    ) -> Sequence[Pixels]:
        if self.recipe.content_colors == "own":
            return contents
        small = [_at_most(style, _PALETTE_SIDE) for style in styles]
        return [
            match_palette(resize(content, scale.height, scale.width), small, blend) for content in contents
        ]

    def _run(self, work: _Work) -> list[Stylized]:
        """Take a chunk through all scales."""
        check_memory(work.scales[-1], len(work.contents), self.device)
        began = time.perf_counter()
        losses: list[list[LossPoint]] = [[] for _ in work.contents]
        image, state = self._start(work), None
        for index, scale in enumerate(work.scales):
            if index:
                image, state = enlarge(
                    image, state if self.recipe.carry_moments else None, self._bounds, scale
                )
            outcome = self._one_scale(work, index, image, state)
            image, state = outcome.image, outcome.state
            for n, points in enumerate(losses):
                points.extend(_loss_point(index + 1, step, read, n) for step, read in outcome.history)
        pictures = self._finish(image.asnumpy(), work.photographs)
        seconds, steps = time.perf_counter() - began, sum(scale.steps for scale in work.scales)
        return [
            Stylized(picture, tuple(points), steps, seconds, "steps", self.device, self.precision)
            for picture, points in zip(pictures, losses, strict=True)
        ]

    def _one_scale(self, work: _Work, index: int, image: Any, state: Any) -> Outcome:
        scale = work.scales[index]
        style = self._style_targets.blended(work.styles, work.blend, scale)
        content = content_targets(self._network, self.recipe, self._preprocess(work.contents, scale))
        objective = StyleTransferObjective(self._network, self.recipe, content, style)
        watch = self._watch(work, index)
        return optimize(objective, image, self._settings(scale), state=state, observe=watch, every=work.every)

    def _preprocess(self, pictures: Sequence[Pixels], scale: Scale) -> Any:
        resized = [resize(picture, scale.height, scale.width) for picture in pictures]
        return preprocess(resized, self._units, self._context)

    def _start(self, work: _Work) -> Any:
        scale = work.scales[0]
        if self.recipe.init in ("content", "image"):
            return self._preprocess(work.contents if work.starts is None else work.starts, scale)
        images = [noise(self.recipe, photograph, scale) for photograph in work.photographs]
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

    def _watch(self, work: _Work, index: int) -> StepObserver:
        """Return the observer of one scale's steps that tells the caller of the whole work."""
        scale, scales = work.scales[index], work.scales
        pixel_steps = [each.steps * each.height * each.width for each in scales]

        def fraction(done: int) -> float:
            return (work.part + done / sum(pixel_steps)) / work.parts

        def watch(step: int, losses: Losses, image: Callable[[], Any]) -> None:
            done = sum(pixel_steps[:index]) + step * scale.height * scale.width
            progress = Progress(
                index + 1, len(scales), scale.height, scale.width, step, scale.steps, fraction(done),
                {term: float(losses[term].mean()) for term in TERMS},
            )  # fmt: skip
            work.observe(progress, lambda: self._finish(image().asnumpy(), work.photographs))

        return watch


def _one_shape(contents: Sequence[Pixels]) -> tuple[int, int]:
    shapes = {content.shape for content in contents}
    if len(shapes) != 1:
        raise ImageSizeError(
            f"content pictures of one call must have one shape; these have {sorted(shapes)}."
        )
    shape = shapes.pop()
    if len(shape) != 3 or shape[2] != 3:
        raise UsageError(f"a picture of shape {shape} was given; pictures are (height, width, 3), RGB.")
    return shape[0], shape[1]


def _at_most(picture: Pixels, longer_side: int) -> Pixels:
    """Return the picture, made smaller if its longer side is above a bound."""
    height, width = picture.shape[:2]
    return resize(picture, *fit_longer_side(height, width, min(longer_side, max(height, width))))


def _normalized(blend: Sequence[float] | None, count: int) -> list[float]:
    """Return the weights of the styles, divided by their sum."""
    weights = [1.0] * count if blend is None else list(blend)
    if not count or len(weights) != count or min(weights) < 0 or not 0 < sum(weights) < math.inf:
        raise UsageError(
            f"{count} style images came with the blend weights {weights}; give each one weight of 0 or more, "
            "not all 0, and at least one style image."
        )
    return [weight / sum(weights) for weight in weights]


def _one_by_one(work: _Work) -> list[_Work]:
    starts = [None] * len(work.contents) if work.starts is None else [[start] for start in work.starts]
    return [
        dataclasses.replace(
            work, photographs=[photograph], contents=[content], starts=start, part=part, parts=len(starts)
        )
        for part, (photograph, content, start) in enumerate(
            zip(work.photographs, work.contents, starts, strict=True)
        )
    ]


def _loss_point(scale: int, step: int, losses: Losses, n: int) -> LossPoint:
    return LossPoint(scale, step, *(float(losses[term][n]) for term in TERMS))
