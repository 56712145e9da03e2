"""What the optimisation tells while it runs. The loop itself is silent; it hands a record to an observer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["REPORT_EVERY", "TERMS", "LossPoint", "Observer", "Progress", "ignore_progress"]

REPORT_EVERY = 5
"""Steps between two readings of the losses, if nobody asks for others: each reading waits for the device."""

TERMS = ("content", "style", "tv", "total")
"""The terms of the loss, each as it counts in the total: weights included."""


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where an optimisation is.

    Attributes
    ----------
    scale, scales
        Number of the scale, from 1, and how many there are.
    height, width
        Its shape in pixels.
    step, steps
        Steps done at this scale, and how many there will be.
    fraction
        Part of the whole work that is done, 0 to 1; a step counts as many times as the image has pixels. Steps
        that an early stop spares count as done once their scale has ended.
    losses
        Term -> value, averaged over the images of the chunk, before the step's update.
    """

    scale: int
    scales: int
    height: int
    width: int
    step: int
    steps: int
    fraction: float
    losses: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class LossPoint:
    """The losses of one image at one step: each term as it counts in the total, before the step's update."""

    scale: int
    step: int
    content: float
    style: float
    tv: float
    total: float


Observer = Callable[[Progress, Callable[[], list[Any]]], None]
"""Called every few steps with the progress and a function that gives the pictures, (H, W, 3) uint8."""


def ignore_progress(progress: Progress, pictures: Callable[[], list[Any]]) -> None:
    """Observe nothing."""
