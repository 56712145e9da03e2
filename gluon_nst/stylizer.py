"""The Stylizer: content and style pictures in, stylized pictures out. Arrays only, never files.

One warm Stylizer serves a whole collection: the network stays on its device, and the targets of the last few
style images are kept.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gluon_nst import backend
from gluon_nst.activations import rescaled_arrays
from gluon_nst.backend import nd, translate_errors
from gluon_nst.errors import ImageSizeError, OutOfMemoryError, UsageError
from gluon_nst.features import VGGFeatures
from gluon_nst.images.color import original_colors
from gluon_nst.images.geometry import fit_longer_side, resize
from gluon_nst.objective import StyleTransferObjective, content_targets, style_targets
from gluon_nst.optimize import AdamState, Losses, Outcome, Settings, optimize
from gluon_nst.parameters import Parameters, load_parameters
from gluon_nst.preprocessing import PIXEL_UNITS, deprocess, preprocess
from gluon_nst.progress import TERMS, Observer, Progress, ignore_progress
from gluon_nst.pyramid import Scale, pyramid, working_shape
from gluon_nst.recipe import Recipe

__all__ = ["LossPoint", "Stylized", "Stylizer"]

Picture = NDArray[np.uint8]

_CACHED_TARGETS = 16  # sets of style targets kept; a set of five layers of VGG19 is 2.4 MB

# Bytes that one optimised pixel takes and what the process takes besides, in float32 on a CPU: the measured
# slope of resident memory over image size was 3.0 KB (hybridized, head gradients).
_BYTES_PER_PIXEL = 3100
_BYTES_BESIDES = 5 * 10**8


@dataclasses.dataclass(frozen=True)
class LossPoint:
    """The losses of one image at one step: each term as it counts in the total, before the step's update."""

    scale: int
    step: int
    content: float
    style: float
    tv: float
    total: float


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

    pixels: Picture
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
        self._targets: OrderedDict[tuple[object, ...], dict[str, Any]] = OrderedDict()
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

    def stylize(
        self,
        contents: Sequence[Picture],
        styles: Sequence[Picture],
        *,
        blend: Sequence[float] | None = None,
        starts: Sequence[Picture] | None = None,
        observe: Observer = ignore_progress,
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
        observe
            Called every few steps.

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
        shape = _one_shape(contents)
        scales = pyramid(self.recipe, *working_shape(self.recipe, *shape))
        if self.recipe.optimizer == "lbfgs" and len(contents) > 1:
            # A line search chooses one step length for all that it sees, so each image gets its own.
            alone = [([content], None if starts is None else [starts[n]]) for n, content in enumerate(contents)]
            return [self.stylize(one, styles, blend=blend, starts=start, observe=observe)[0] for one, start in alone]
        self._check_memory(scales[-1], len(contents))
        with translate_errors():
            return self._run(contents, styles, _blend(blend, len(styles)), starts, scales, observe)

    def _run(
        self,
        contents: Sequence[Picture],
        styles: Sequence[Picture],
        blend: Sequence[float],
        starts: Sequence[Picture] | None,
        scales: Sequence[Scale],
        observe: Observer,
    ) -> list[Stylized]:
        began = time.perf_counter()
        losses: list[list[LossPoint]] = [[] for _ in contents]
        image, state = self._start(contents, starts, scales[0]), None
        for index, scale in enumerate(scales):
            if index:
                image, state = self._enlarge(image, state, scale)
            outcome = self._one_scale(contents, styles, blend, image, state, scales, index, observe)
            image, state = outcome.image, outcome.state
            for n, points in enumerate(losses):
                points.extend(_loss_point(index + 1, step, read, n) for step, read in outcome.history)
        pictures = self._finish(image.asnumpy(), contents)
        seconds = time.perf_counter() - began
        steps = sum(scale.steps for scale in scales)
        return [
            Stylized(picture, tuple(points), steps, seconds, "steps", self.device, self.precision)
            for picture, points in zip(pictures, losses, strict=True)
        ]

    def _one_scale(
        self,
        contents: Sequence[Picture],
        styles: Sequence[Picture],
        blend: Sequence[float],
        image: Any,
        state: AdamState | None,
        scales: Sequence[Scale],
        index: int,
        observe: Observer,
    ) -> Outcome:
        scale = scales[index]
        style = self._style_targets(styles, blend, scale)
        content = content_targets(self._network, self.recipe, self._preprocess(contents, scale))
        objective = StyleTransferObjective(self._network, self.recipe, content, style)
        return optimize(
            objective, image, self._settings(scale), state=state,
            observe=self._watch(scales, index, contents, observe),
        )  # fmt: skip

    def _preprocess(self, pictures: Sequence[Picture], scale: Scale) -> Any:
        resized = [resize(picture, scale.height, scale.width) for picture in pictures]
        return preprocess(resized, self._units, self._context)

    def _start(self, contents: Sequence[Picture], starts: Sequence[Picture] | None, scale: Scale) -> Any:
        recipe = self.recipe
        if (recipe.init == "image") != (starts is not None):
            raise UsageError('a start image and init = "image" go together; give both or neither.')
        if recipe.init in ("content", "image"):
            return self._preprocess(contents if starts is None else starts, scale)
        noise = [_noise(recipe, content, scale) for content in contents]
        return nd.array(np.stack(noise), ctx=self._context)

    def _enlarge(self, image: Any, state: AdamState | None, scale: Scale) -> tuple[Any, AdamState | None]:
        """Carry the image, and Adam's moments if the recipe wants that, up to the next scale."""
        clipped = nd.broadcast_minimum(nd.broadcast_maximum(image, self._units_bounds()[0]), self._units_bounds()[1])
        larger = nd.array(_resample(clipped.asnumpy(), scale, Image.Resampling.BICUBIC), ctx=self._context)
        if state is None or not self.recipe.carry_moments:
            return larger, None
        mean, variance = (
            nd.array(_resample(moment.asnumpy(), scale, Image.Resampling.BILINEAR), ctx=self._context)
            for moment in (state.mean, state.variance)
        )
        return larger, AdamState(state.step, mean, variance)

    def _units_bounds(self) -> tuple[Any, Any]:
        low, high = self._units.bounds()
        return low.as_in_context(self._context), high.as_in_context(self._context)

    def _settings(self, scale: Scale) -> Settings:
        recipe = self.recipe
        return Settings(
            optimizer=recipe.optimizer,
            steps=scale.steps,
            learning_rate=recipe.learning_rate,
            beta1=recipe.beta1,
            beta2=recipe.beta2,
            epsilon=recipe.epsilon,
            schedule=recipe.schedule,
            decay_every=scale.decay_every,
            decay_factor=recipe.decay_factor,
            bounds=self._units_bounds() if recipe.clip else None,
            average=recipe.average,
            lbfgs_round=recipe.lbfgs_round,
            lbfgs_history=recipe.lbfgs_history,
        )

    def _style_targets(self, styles: Sequence[Picture], blend: Sequence[float], scale: Scale) -> dict[str, Any]:
        """Return the Gram targets of the blend: the weighted mean of those of each style.

        For squared differences that is the same, up to a constant, as a weighted sum of one loss per style.
        """
        blended: dict[str, Any] = {}
        for style, weight in zip(styles, blend, strict=True):
            for layer, gram in self._targets_of(style, scale).items():
                blended[layer] = blended[layer] + weight * gram if layer in blended else weight * gram
        return blended

    def _targets_of(self, style: Picture, scale: Scale) -> dict[str, Any]:
        shape = self._style_shape(style, scale)
        key = (hashlib.sha256(np.ascontiguousarray(style)).digest(), style.shape, shape)
        if key not in self._targets:
            picture = resize(style, *shape)
            image = preprocess([picture], self._units, self._context)
            self._targets[key] = style_targets(self._network, self.recipe, image)
            while len(self._targets) > _CACHED_TARGETS:
                self._targets.popitem(last=False)
        self._targets.move_to_end(key)
        return self._targets[key]

    def _style_shape(self, style: Picture, scale: Scale) -> tuple[int, int]:
        if self.recipe.style_fit == "stretch":
            return scale.height, scale.width
        return fit_longer_side(*style.shape[:2], max(1, round(scale.longer_side * self.recipe.style_scale)))

    def _finish(self, image: NDArray[np.float32], contents: Sequence[Picture]) -> list[Picture]:
        pictures = deprocess(image, self._units)
        if not self.recipe.original_colors:
            return pictures
        return [
            original_colors(picture, resize(content, *picture.shape[:2]))
            for picture, content in zip(pictures, contents, strict=True)
        ]

    def _check_memory(self, scale: Scale, count: int) -> None:
        available = backend.available_memory()
        needed = count * scale.height * scale.width * _BYTES_PER_PIXEL + _BYTES_BESIDES
        if self.device == "cpu" and available is not None and needed > available:
            raise OutOfMemoryError(
                f"{count} image{'s' * (count > 1)} of {scale.width}x{scale.height} pixels would take about "
                f"{needed / 1e9:.1f} GB, but {available / 1e9:.1f} GB are free. Use a smaller --size."
            )

    def _watch(
        self, scales: Sequence[Scale], index: int, contents: Sequence[Picture], observe: Observer
    ) -> Callable[[int, Losses, Callable[[], Any]], None]:
        """Return the observer of one scale's steps that tells `observe` of the whole work."""
        scale = scales[index]
        work = [each.steps * each.height * each.width for each in scales]

        def watch(step: int, losses: Losses, image: Callable[[], Any]) -> None:
            done = sum(work[:index]) + step * scale.height * scale.width
            progress = Progress(
                index + 1, len(scales), scale.height, scale.width, step, scale.steps, done / max(1, sum(work)),
                {term: float(losses[term].mean()) for term in TERMS},
            )  # fmt: skip
            observe(progress, lambda: self._finish(image().asnumpy(), contents))

        return watch


def _one_shape(contents: Sequence[Picture]) -> tuple[int, int]:
    shapes = {content.shape for content in contents}
    if len(shapes) != 1:
        raise ImageSizeError(f"content pictures of one call must have one shape; these have {sorted(shapes)}.")
    height, width, _ = shapes.pop()
    return height, width


def _blend(blend: Sequence[float] | None, count: int) -> Sequence[float]:
    """Return the weights of the styles, divided by their sum."""
    weights = [1.0] * count if blend is None else list(blend)
    if not count or len(weights) != count or min(weights) < 0 or not sum(weights):
        raise UsageError(
            f"{count} style images came with the blend weights {weights}; give each one weight of 0 or more, "
            "not all 0, and at least one style image."
        )
    return [weight / sum(weights) for weight in weights]


def _noise(recipe: Recipe, content: Picture, scale: Scale) -> NDArray[np.float32]:
    """Return a noise image (3, H, W), seeded from the recipe and the content picture alone."""
    digest = hashlib.sha256(np.ascontiguousarray(content)).digest()
    generator = np.random.default_rng([recipe.seed, int.from_bytes(digest[:8], "little")])
    first, second = recipe.init_range
    draw = generator.uniform if recipe.init == "uniform" else generator.normal
    return draw(first, second, (3, scale.height, scale.width)).astype(np.float32)


def _resample(arrays: NDArray[np.float32], scale: Scale, filter: Image.Resampling) -> NDArray[np.float32]:
    """Resize (N, 3, h, w) numbers to the scale's shape, channel by channel."""
    planes = [
        np.asarray(Image.fromarray(plane, "F").resize((scale.width, scale.height), filter))
        for plane in arrays.reshape(-1, *arrays.shape[2:])
    ]
    return np.stack(planes).reshape(*arrays.shape[:2], scale.height, scale.width)


def _loss_point(scale: int, step: int, losses: Losses, n: int) -> LossPoint:
    return LossPoint(scale, step, *(float(losses[term][n]) for term in TERMS))
