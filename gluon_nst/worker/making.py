"""From read pictures to results that passed their check; to be called in the computing thread."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import gluon_nst.worker.departure as departure
from gluon_nst import storage
from gluon_nst.api import stylize_inputs
from gluon_nst.batch.settings import WorkSettings
from gluon_nst.checkpoint import Checkpoint
from gluon_nst.errors import (
    DivergedError,
    GluonNSTError,
    Interrupted,
    OutOfMemoryError,
    SuspiciousResultError,
    UsageError,
)
from gluon_nst.images.checks import find_fault
from gluon_nst.images.write import write_image
from gluon_nst.inputs import Input
from gluon_nst.jobs import Job
from gluon_nst.result import Result
from gluon_nst.safer import safer
from gluon_nst.worker.engine import make_stylizer, warm_stylizer
from gluon_nst.worker.keeping import Keeper

__all__ = ["make", "make_together"]

# What is taken where a picture did not fit although it was foreseen to: half of the default.
_LESS = "45%"


def make(job: Job, key: str, content: Input, styles: Sequence[Input], settings: WorkSettings) -> Result:
    """Make the picture of a job, from its checkpoint if there is one.

    A result that fails its check is made once more with a safer setting: float32 and a lower rate. Where the memory
    runs out on the way, it is made once more in tiles.

    Raises
    ------
    Interrupted
        If the run was recalled while the job waited for its turn, or its time is up.
    SuspiciousResultError
        If that fails too; its `aside` says where the picture is kept.
    GluonNSTError
        Whatever else can go wrong.
    """
    _refuse_recalled(settings)
    keeper = Keeper(key, settings)
    try:
        result = _make_with_less(job, content, styles, keeper, settings)
        fault = _fault(result, content)
    except DivergedError as error:
        fault = str(error)
    keeper.drop()  # where it led to a fault too: nobody should go on from there
    if fault:
        result = _make_safely(job, key, content, styles, settings, fault)
    return _signed(result, key)


def make_together(
    jobs: Sequence[Job],
    keys: Sequence[str],
    contents: Sequence[Input],
    styles: Sequence[Input],
    settings: WorkSettings,
) -> list[Result]:
    """Make the pictures of jobs that differ in their contents only, which have one shape, in one pass.

    Raises
    ------
    Interrupted
        As `make`; no checkpoint is kept of several together.
    OutOfMemoryError
        If the memory model says that they do not fit: fewer at once are better than tiles.
    SuspiciousResultError
        If one of them fails its check; which, is seen when they run alone.
    GluonNSTError
        Whatever else can go wrong.
    """
    _refuse_recalled(settings)
    watch = Keeper("", dataclasses.replace(settings, state=""))
    stylizer = warm_stylizer(jobs[0], settings.max_memory)
    height, width = contents[0].picture.pixels.shape[:2]
    if not stylizer.fits_whole(height, width, len(contents)):
        raise OutOfMemoryError(f"{len(contents)} pictures do not fit together; fewer may.")
    results = stylize_inputs(stylizer, contents, styles, blend=jobs[0].blend or None, tick=watch.tick)
    for result, content in zip(results, contents, strict=True):
        if fault := _fault(result, content):
            raise SuspiciousResultError(fault)
    return [_signed(result, key) for result, key in zip(results, keys, strict=True)]


def _refuse_recalled(settings: WorkSettings) -> None:
    if departure.starts_nothing(settings.run):
        raise Interrupted("the run was recalled before this job began.")


def _make_with_less(
    job: Job, content: Input, styles: Sequence[Input], keeper: Keeper, settings: WorkSettings
) -> Result:
    """Make the picture, in smaller tiles if the memory runs out although it was foreseen to last."""
    try:
        return _resume(job, content, styles, keeper, settings.max_memory)
    except OutOfMemoryError:
        return _resume(job, content, styles, keeper, _LESS)


def _resume(job: Job, content: Input, styles: Sequence[Input], keeper: Keeper, max_memory: str) -> Result:
    """Go on from the job's checkpoint; begin anew if there is none, or it does not fit the pictures."""
    checkpoint = keeper.found()
    if checkpoint is not None:
        try:
            return _stylize(job, content, styles, keeper, checkpoint, max_memory)
        except UsageError:
            keeper.drop()
    return _stylize(job, content, styles, keeper, None, max_memory)


def _stylize(
    job: Job,
    content: Input,
    styles: Sequence[Input],
    keeper: Keeper,
    checkpoint: Checkpoint | None,
    max_memory: str,
) -> Result:
    stylizer = warm_stylizer(job, max_memory)
    blend = job.blend or None
    return stylize_inputs(stylizer, [content], styles, blend=blend, resume=checkpoint, tick=keeper.tick)[0]


def _fault(result: Result, content: Input) -> str | None:
    return find_fault(result.pixels, content.picture.pixels, result.losses)


def _make_safely(
    job: Job, key: str, content: Input, styles: Sequence[Input], settings: WorkSettings, first: str
) -> Result:
    recipe = safer(job.recipe)
    if recipe == job.recipe:
        raise SuspiciousResultError(first)
    stylizer = make_stylizer(
        recipe, device=job.device, precision="float32", weights=job.weights, parameters=job.parameters,
        max_memory=settings.max_memory,
    )  # fmt: skip
    keeper = Keeper(key, dataclasses.replace(settings, state=""))  # only to be broken off
    result = stylize_inputs(stylizer, [content], styles, blend=job.blend or None, tick=keeper.tick)[0]
    if fault := _fault(result, content):
        aside = _kept_aside(result, key, settings)
        raise SuspiciousResultError(f"{first}; with a lower rate, in float32: {fault}", aside)
    return dataclasses.replace(result, notes=(*result.notes, f"made with a lower rate, in float32: {first}"))


def _kept_aside(result: Result, key: str, settings: WorkSettings) -> str:
    """Keep a rejected picture for a person to look at; return where, or nothing if that could not be done."""
    if not settings.state:
        return ""
    place = storage.join(settings.state, "rejected", f"{key}.png")
    try:
        write_image(place, result.pixels, provenance=dict(result.provenance))
    except GluonNSTError:
        return ""
    return place


def _signed(result: Result, key: str) -> Result:
    return dataclasses.replace(result, provenance={"job_id": key, **result.provenance})
