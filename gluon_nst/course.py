"""One chunk on its way through the scales: what lies behind it, where it goes on, and who is told."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from gluon_nst.checkpoint import Checkpoint, History, Losses, Snapshot, Tick
from gluon_nst.chunk import Chunk, Pixels
from gluon_nst.errors import UsageError
from gluon_nst.progress import TERMS, LossPoint, Observer, Progress

__all__ = ["Course", "check_fit"]


class Course:
    """Keeps clock and losses of one call's work on a chunk; tells the observer and the tick of it.

    Parameters
    ----------
    chunk
        The pictures and their scales.
    resume
        A checkpoint of this chunk; None begins at its first scale.
    observe, tick
        As `gluon_nst.stylizer.Stylizer.stylize` takes them.
    pictures
        Turns images (N, 3, H, W), on the device, of a chunk into pictures.
    """

    def __init__(
        self,
        chunk: Chunk,
        resume: Checkpoint | None,
        observe: Observer,
        tick: Tick,
        pictures: Callable[[Any, Chunk], list[Pixels]],
    ) -> None:
        self._chunk, self._resume = chunk, resume
        self._notify, self._tick, self._pictures = observe, tick, pictures
        self._histories: list[History] = [] if resume is None else list(resume.earlier)
        self._began = time.perf_counter() - (0 if resume is None else resume.seconds)

    @property
    def index(self) -> int:
        """Index of the scale at work."""
        return len(self._histories)

    @property
    def seconds(self) -> float:
        """Wall time, that before an interruption included."""
        return time.perf_counter() - self._began

    def snapshot(self) -> Snapshot | None:
        """Return where the scale at work goes on, or None if it begins."""
        if self._resume is None or len(self._resume.earlier) != self.index:
            return None
        return self._resume.snapshot

    def finish_scale(self, history: History) -> None:
        """Go on to the next scale."""
        self._histories.append(history)

    @property
    def steps(self) -> int:
        """Steps of the finished scales: the last of a scale is always read, but where L-BFGS ends by itself."""
        return sum(history[-1][0] for history in self._histories if history)

    @property
    def stop_reason(self) -> str:
        """Why the work ended: "converged" if a scale did not take all of its steps, else "steps"."""
        return "steps" if self.steps == sum(scale.steps for scale in self._chunk.scales) else "converged"

    def losses(self, image: int) -> tuple[LossPoint, ...]:
        """Return what was read of one image, scale after scale."""
        return tuple(
            LossPoint(index + 1, step, *(float(read[term][image]) for term in TERMS))
            for index, history in enumerate(self._histories)
            for step, read in history
        )

    def observe(self, step: int, losses: Losses, image: Callable[[], Any]) -> None:
        """Tell the observer of the losses that a step began with."""
        scale = self._chunk.scales[self.index]
        progress = Progress(
            self.index + 1, len(self._chunk.scales), scale.height, scale.width, step, scale.steps,
            self._chunk.fraction(self.index, step), {term: float(losses[term].mean()) for term in TERMS},
        )  # fmt: skip
        self._notify(progress, lambda: self._pictures(image(), self._chunk))

    def tick(self, step: int, take: Callable[[], Snapshot]) -> None:
        """Tell the tick of a step that was made."""
        self._tick(self._chunk.fraction(self.index, step), lambda: self._checkpoint(take()))

    def _checkpoint(self, snapshot: Snapshot) -> Checkpoint:
        return Checkpoint(tuple(self._histories), snapshot, self.seconds, self._chunk.part)


def check_fit(resume: Checkpoint, chunks: Sequence[Chunk]) -> None:
    """Raise UsageError unless a checkpoint can be of one of these chunks."""
    index, shape, step = len(resume.earlier), resume.snapshot.image.shape, resume.snapshot.step
    for chunk in chunks:
        if chunk.part == resume.part and index < len(chunk.scales):
            scale = chunk.scales[index]
            if shape == (len(chunk.contents), 3, scale.height, scale.width) and step <= scale.steps:
                return
    raise UsageError(
        f"the checkpoint is of images {shape} at scale {index + 1}, step {step}, which this call never comes "
        "to. Resume with the recipe and the pictures that it was taken of, or start anew."
    )
