"""Proof that this process can stylize: device, parameters, and a tiny picture that comes out right."""

from __future__ import annotations

import dataclasses
import os
import platform
import socket
import time

import numpy as np
from numpy.typing import NDArray

from gluon_nst._version import __version__
from gluon_nst.api import make_stylizer
from gluon_nst.batch.cost import cost_of
from gluon_nst.errors import SuspiciousResultError
from gluon_nst.images.checks import find_fault
from gluon_nst.jobs import Job
from gluon_nst.worker.engine import compute, warm_stylizer

__all__ = ["Readiness", "last_readiness", "measure_pace", "prove_ready"]

_SIDE = 64
_STEPS = 4

_last: Readiness | None = None


@dataclasses.dataclass(frozen=True)
class Readiness:
    """What a process that is ready says of itself.

    Attributes
    ----------
    host, pid, device, precision
        Where and with what it computes.
    python, version, mxnet
        Versions that must not differ within a run.
    pace
        Seconds per step and pixel on the tiny picture: more than a large one takes.
    """

    host: str
    pid: int
    device: str
    precision: str
    python: str
    version: str
    mxnet: str
    pace: float


def prove_ready(job: Job) -> Readiness:
    """Make ready for a job like this one, and stylize a tiny picture to prove it.

    The Stylizer stays warm for the jobs that follow.

    Raises
    ------
    GluonNSTError
        If the device, the parameters or the recipe cannot be used, or the picture comes out wrong.
    """
    global _last
    _last = compute(lambda: _prove(job))[0]
    return _last


def last_readiness() -> Readiness | None:
    """Return what this process last said of itself; None if it has not proved ready yet."""
    return _last


def measure_pace(job: Job, side: int = 192) -> float:
    """Return the seconds per step and pixel of jobs like this one, tried on a picture of `side` pixels.

    Large enough that a step is mostly computation; takes some seconds on a CPU.
    """
    return compute(lambda: _try(job, side)[0])[0]


def _prove(job: Job) -> Readiness:
    stylizer = warm_stylizer(job)
    pace, fault = _try(job, _SIDE)
    if fault:
        raise SuspiciousResultError(f"a tiny picture made as a proof came out wrong: {fault}")
    from gluon_nst import backend

    return Readiness(
        socket.gethostname(), os.getpid(), stylizer.device, stylizer.precision, platform.python_version(),
        __version__, backend.version(), pace,
    )  # fmt: skip


def _try(job: Job, side: int) -> tuple[float, str | None]:
    """Stylize a small picture; return the seconds per step and pixel, and what is wrong with it."""
    recipe = job.recipe.replace(
        size=side, shape=[], scales=1, steps=_STEPS, init="content", original_colors=False
    )
    stylizer = make_stylizer(recipe, device=job.device, precision=job.precision, weights=job.weights)
    content, style = _pattern(0, side), _pattern(1, side)
    stylizer.stylize([content], [style])  # what is compiled on first use is not counted
    began = time.perf_counter()
    (made,) = stylizer.stylize([content], [style])
    seconds = time.perf_counter() - began
    return seconds / cost_of(recipe, (side, side)), find_fault(made.pixels, content, made.losses)


def _pattern(seed: int, side: int) -> NDArray[np.uint8]:
    """Return a picture of soft patches: something that a network can see."""
    patches = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.kron(patches, np.ones((side // 8, side // 8, 1), dtype=np.uint8))
