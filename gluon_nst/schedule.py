"""Learning-rate schedules: pure functions of the step."""

from __future__ import annotations

import math

__all__ = ["SCHEDULES", "learning_rate"]

SCHEDULES = ("constant", "step", "cosine")


def learning_rate(
    step: int, steps: int, base: float, *, schedule: str = "constant", every: int = 1, factor: float = 0.1
) -> float:
    """Return the learning rate of one step.

    Parameters
    ----------
    step
        The step, counted from 0.
    steps
        Number of steps of this scale; only "cosine" looks at it.
    base
        Learning rate of the first step.
    schedule
        "constant"; "step": multiplied by `factor` after each step i that is a positive multiple of `every`,
        so that steps 0 to `every` run at the full rate (the Gluon chapter's loop); or "cosine": a quarter
        wave from `base` down to ``factor * base`` at the last step (Loshchilov and Hutter 2016, section 3,
        without restarts).
    """
    if schedule == "step":
        return base * factor ** (max(0, step - 1) // every)
    if schedule == "cosine":
        progress = step / max(1, steps - 1)
        return base * (factor + (1 - factor) * (1 + math.cos(math.pi * progress)) / 2)
    return base
