"""The Stylizer: content and style pictures in, stylized pictures out. Arrays only, never files.

One warm Stylizer serves a whole collection: the network stays on its device, and the targets of the last few
style pictures are kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from gluon_nst import backend
from gluon_nst.activations import rescaled_arrays
from gluon_nst.backend import to_ndarray, translate_errors
from gluon_nst.checkpoint import Checkpoint, Tick, ignore_tick
from gluon_nst.chunk import Chunk, Pixels, make_chunks
from gluon_nst.course import Course, check_fit
from gluon_nst.features import VGGFeatures
from gluon_nst.images.color import original_colors
from gluon_nst.images.geometry import resize
from gluon_nst.memory import Room
from gluon_nst.memory_limit import parse_memory_limit
from gluon_nst.optimize import Outcome, Settings, optimize
from gluon_nst.parameters import Parameters, load_parameters
from gluon_nst.precision import choose_precision
from gluon_nst.preprocessing import PIXEL_UNITS, deprocess, preprocess
from gluon_nst.progress import REPORT_EVERY, LossPoint, Observer, ignore_progress
from gluon_nst.pyramid import Scale, working_shape
from gluon_nst.recipe import Recipe, used_layers
from gluon_nst.settling_objective import SettlingObjective
from gluon_nst.starts import enlarge, noise, revise
from gluon_nst.targets import StyleTargets
from gluon_nst.tiled_objective import make_objective

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
        Steps over all scales; wall time of the chunk; why it ended ("steps": all were done; "converged": the
        recipe's early stop, or L-BFGS itself, ended a scale before).
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
        Of the feature maps, see `gluon_nst.precision.choose_precision`; everything else is float32 always.
    max_memory
        What may be taken, see `gluon_nst.memory_limit.parse_memory_limit`; images that need more are worked on in
        tiles.

    Raises
    ------
    DeviceError, UsageError, ParametersError, RecipeError
        If the device, the precision or the parameters cannot serve the recipe.

    Notes
    -----
    On a CPU the threads of MXNet's engine end and begin anew before each scale (`gluon_nst.primitives`). Other threads
    of a program may use Stylizers of their own meanwhile, but not MXNet in other ways.
    """

    def __init__(
        self,
        recipe: Recipe,
        parameters: Parameters | None = None,
        *,
        device: str = "auto",
        precision: str = "auto",
        max_memory: str = "",
    ) -> None:
        self.recipe = recipe
        self.device = backend.device_name(device)
        chosen = choose_precision(precision, self.device)
        self.precision, self.notes = chosen.name, (chosen.note,) * bool(chosen.note)
        self.parameters = load_parameters("bundled", recipe.network) if parameters is None else parameters
        self._context = backend.context(self.device)
        self._units = PIXEL_UNITS[recipe.pixel_units]
        low, high = self._units.bounds()
        self._bounds = low.as_in_context(self._context), high.as_in_context(self._context)
        with translate_errors():
            self._network = VGGFeatures(
                rescaled_arrays(self.parameters, recipe.activations),
                used_layers(recipe),
                network=recipe.network,
                pooling=recipe.pooling,
                padding=recipe.padding,
                units=self._units,
                context=self._context,
                precision="bfloat16" if self.precision == "bfloat16" else "float32",
            )
        limit = parse_memory_limit(max_memory)
        self._room = Room(recipe, self.precision, self.device, limit, self._network.widest)
        self._style_targets = StyleTargets(self._network, recipe, self._context, self._room.tiling)

    def stylize(
        self,
        contents: Sequence[Pixels],
        styles: Sequence[Pixels],
        *,
        blend: Sequence[float] | None = None,
        starts: Sequence[Pixels] | None = None,
        observe: Observer = ignore_progress,
        every: int = REPORT_EVERY,
        resume: Checkpoint | None = None,
        tick: Tick = ignore_tick,
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
        resume
            A checkpoint of the same call under the same recipe, to go on from: pictures and losses are those of
            an uninterrupted call, on the CPU bit for bit. Under L-BFGS or an early stop, which take one image
            after the other, it is of one of them; those before it are done again.
        tick
            Called after every step, without waiting for the device: it may run up to `every` steps ahead. It can
            take a checkpoint, and ends the work by raising `gluon_nst.errors.Interrupted`.

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
        UsageError
            If weights, start pictures or the checkpoint do not fit the pictures.
        """
        chunks = make_chunks(self.recipe, contents, styles, blend, starts)
        if resume is not None:
            check_fit(resume, chunks)
        done: list[Stylized] = []
        with translate_errors():
            for chunk in chunks:
                own = resume if resume is not None and resume.part == chunk.part else None
                course = Course(chunk, own, observe, tick, self._finish)
                done += self._run(chunk, course, every)
        return done

    def fits_whole(self, height: int, width: int, count: int) -> bool:
        """Tell whether so many content pictures of a shape fit into the memory without being cut into tiles."""
        return self._room.fits(*working_shape(self.recipe, height, width), count)

    def _run(self, chunk: Chunk, course: Course, every: int) -> list[Stylized]:
        """Take a chunk through the scales that it has before it."""
        last, count = chunk.scales[-1], len(chunk.contents)
        self._room.tiling(last.height, last.width, count)  # raises now, not after the smaller scales
        image = state = None
        for scale in chunk.scales[course.index :]:
            image, state = self._enter_scale(chunk, course, image, state)
            image, state, history = self._one_scale(chunk, scale, image, state, course, every)
            course.finish_scale(history)
        pictures = self._finish(image, chunk)
        steps, seconds, reason = course.steps, course.seconds, course.stop_reason
        return [
            Stylized(picture, course.losses(n), steps, seconds, reason, self.device, self.precision)
            for n, picture in enumerate(pictures)
        ]

    def _enter_scale(self, chunk: Chunk, course: Course, image: Any, state: Any) -> tuple[Any, Any]:
        """Return images and moments to begin a scale with, from what the one before left."""
        snapshot = course.snapshot()
        if snapshot is not None:
            return to_ndarray(snapshot.image, ctx=self._context), None
        if not course.index:
            return self._start(chunk), None
        kept = state if self.recipe.carry_moments else None
        larger, moments = enlarge(image, kept, self._bounds, chunk.scales[course.index])
        if self.recipe.restore_detail or self.recipe.match_colors:
            pictures = revise(self.recipe, deprocess(larger.asnumpy(), self._units), chunk, course.index)
            larger = preprocess(pictures, self._units, self._context)
        return larger, moments

    def _one_scale(
        self, chunk: Chunk, scale: Scale, image: Any, state: Any, course: Course, every: int
    ) -> Outcome:
        tiling = self._room.tiling(scale.height, scale.width, len(chunk.contents))
        backend.expect_new_shape(self._context)
        style = self._style_targets.blended(chunk.styles, chunk.blend, scale)
        snapshot = course.snapshot()
        done = 0 if snapshot is None else snapshot.step
        # Nobody keeps the preprocessed pictures: 150 MB at 4096x3072.
        objective = make_objective(
            self._network, self.recipe, self._preprocess(chunk.contents, scale), style, tiling, done
        )
        return optimize(
            SettlingObjective(objective), image, self._settings(scale),
            state=state, resume=snapshot, tick=course.tick, observe=course.observe, every=every,
        )  # fmt: skip

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

    def _finish(self, image: Any, chunk: Chunk) -> list[Pixels]:
        """Return the pictures (H, W, 3) of the chunk's images (N, 3, H, W)."""
        pictures = deprocess(image.asnumpy(), self._units)
        if not self.recipe.original_colors:
            return pictures
        return [
            original_colors(picture, resize(photograph, *picture.shape[:2]))
            for picture, photograph in zip(pictures, chunk.photographs, strict=True)
        ]
