"""The one warm Stylizer of a worker process, and the one thread that it computes in.

MXNet dies when threads share a network, so all computation goes through one thread; the threads that call wait,
and meanwhile others read and write pictures.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from gluon_nst.errors import ParametersError
from gluon_nst.inputs import Input, take_input
from gluon_nst.jobs import Job
from gluon_nst.recipe import Recipe

if TYPE_CHECKING:
    from gluon_nst.parameters import Parameters
    from gluon_nst.stylizer import Stylizer

__all__ = ["compute", "make_stylizer", "style_input", "warm_stylizer"]

Value = TypeVar("Value")

_warm: dict[tuple[object, ...], Stylizer] = {}

# Style pictures kept decoded: jobs of one style come together, and one of 12 megapixels takes 36 MB.
_STYLES_KEPT = 4


@functools.lru_cache(maxsize=1)
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="gluon-nst-compute")


def compute(work: Callable[[], Value]) -> tuple[Value, float]:
    """Call `work` in the computing thread; return what it gives, and the seconds that it took there."""

    def timed() -> tuple[Value, float]:
        began = time.perf_counter()
        return work(), time.perf_counter() - began

    return _thread().submit(timed).result()


def warm_stylizer(job: Job, max_memory: str = "") -> Stylizer:
    """Return the Stylizer kept from the job before, or a new one if this job needs another.

    To be called within `compute`.
    """
    key = (job.recipe, job.weights, job.parameters, job.device, job.precision, max_memory)
    if key not in _warm:
        _warm.clear()
        _warm[key] = make_stylizer(
            job.recipe, device=job.device, precision=job.precision, weights=job.weights,
            parameters=job.parameters, max_memory=max_memory,
        )  # fmt: skip
    return _warm[key]


def make_stylizer(
    recipe: Recipe, *, device: str, precision: str, weights: str, parameters: str, max_memory: str = ""
) -> Stylizer:
    """Return a new Stylizer; to be called within `compute`.

    The parameters are read once for all recipes of one network. That is most of the time it takes: of 0.2 s for
    VGG19 on two cores 0.15 s, measured over five calls each.

    Parameters
    ----------
    recipe, device, precision, weights
        As in `gluon_nst.jobs.Job`.
    parameters
        sha256 that the parameters must have; empty if any will do.
    max_memory
        As in `gluon_nst.batch.settings.WorkSettings`.

    Raises
    ------
    ParametersError
        If those found on this machine are others.
    """
    from gluon_nst.stylizer import Stylizer

    numbers = _load(weights, recipe.network, parameters)
    return Stylizer(recipe, numbers, device=device, precision=precision, max_memory=max_memory)


@functools.lru_cache(maxsize=1)  # 80 MB for VGG19, which the warm Stylizer holds anyway
def _load(weights: str, network: str, sha256: str) -> Parameters:
    from gluon_nst.parameters import load_parameters

    found = load_parameters(weights, network)
    if sha256 and found.sha256 != sha256:
        raise ParametersError(
            f"the parameters {weights!r} of {network} are not those of the batch here: sha256 {found.sha256[:16]}..., "
            f"not {sha256[:16]}... Give all workers the same file."
        )
    return found


def style_input(path: str, fingerprint: str) -> Input:
    """Return a style picture; kept as long as its fingerprint stays the same, if it has one."""
    return _kept_style(path, fingerprint) if fingerprint else take_input(path)


@functools.lru_cache(maxsize=_STYLES_KEPT)
def _kept_style(path: str, fingerprint: str) -> Input:
    return take_input(path)
