"""Watching one stylization: the progress bar and the previews."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gluon_nst.errors import UsageError
from gluon_nst.images.write import write_image
from gluon_nst.progress import Observer, Progress, ignore_progress

__all__ = ["Previews", "progress_bar", "together"]


@contextlib.contextmanager
def progress_bar(*, hidden: bool) -> Iterator[Observer]:
    """Show a live bar on standard error from the first step on; yield the observer that moves it."""
    if hidden:
        yield ignore_progress
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("ETA"))
    bar = Bar(
        *columns, TimeRemainingColumn(), TextColumn("loss {task.fields[loss]}"), console=Console(stderr=True)
    )
    task = bar.add_task("", total=1.0, loss="")

    def observe(progress: Progress, pictures: Callable[[], list[Any]]) -> None:
        # Started late, so that an error before the first step stands alone.
        bar.start()
        where = f"scale {progress.scale}/{progress.scales} ({progress.width}x{progress.height})"
        text = f"{where} step {progress.step}/{progress.steps}"
        bar.update(
            task, completed=progress.fraction, description=text, loss=f"{progress.losses['total']:.4g}"
        )

    try:
        yield observe
    finally:
        bar.stop()


class Previews:
    """Saves the picture as it is after every so many steps, over all scales."""

    def __init__(self, every: int, folder: Path) -> None:
        if every < 1:
            raise UsageError(f"--preview-every {every} is no number of steps; it takes 1 or more.")
        self._every, self._folder = every, folder
        self._steps_before, self._last = 0, (1, 0)

    def __call__(self, progress: Progress, pictures: Callable[[], list[Any]]) -> None:
        """Save a preview if it is time for one."""
        scale, step = self._last
        if progress.scale != scale:
            self._steps_before += step
        self._last = progress.scale, progress.step
        steps = self._steps_before + progress.step
        if steps % self._every == 0:
            write_image(self._folder / f"step_{steps:06d}.png", pictures()[0])


def together(*observers: Observer) -> Observer:
    """Return one observer that tells all."""

    def observe(progress: Progress, pictures: Callable[[], list[Any]]) -> None:
        for each in observers:
            each(progress, pictures)

    return observe
