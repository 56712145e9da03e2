"""Jobs and their results: plain frozen records, which is all that travels to a worker and back."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from gluon_nst.recipe import Recipe, recipe_digest

__all__ = [
    "STATUSES",
    "Job",
    "JobResult",
    "job_from_record",
    "job_id",
    "job_record",
    "result_from_record",
    "result_record",
]

STATUSES = ("succeeded", "failed", "poison", "timeout", "skipped")


@dataclasses.dataclass(frozen=True)
class Job:
    """One picture to make.

    Attributes
    ----------
    content, output
        Paths or URLs.
    styles, blend
        Paths or URLs of the style images, and the weight of each (empty: evenly).
    recipe
        What to do.
    weights
        Source of the parameters, as `gluon_nst.parameters.load_parameters` takes it.
    device, precision
        As `gluon_nst.stylizer.Stylizer` takes them.
    fingerprints
        What changes when the content or a style image does, one text each in that order: size and time of
        change, or an object store's ETag. Empty if nobody looked.
    parameters
        sha256 of the parameters; empty if nobody looked.
    """

    content: str
    styles: tuple[str, ...]
    output: str
    recipe: Recipe
    blend: tuple[float, ...] = ()
    weights: str = "bundled"
    device: str = "auto"
    precision: str = "auto"
    fingerprints: tuple[str, ...] = ()
    parameters: str = ""


@dataclasses.dataclass(frozen=True)
class JobResult:
    """What became of a job.

    Attributes
    ----------
    job_id, content, styles, output
        Which job.
    status
        One of `STATUSES`.
    seconds, steps, stop_reason
        Wall time from reading to writing; steps over all scales; why it ended.
    losses
        Last losses read: (term, value) pairs.
    width, height, bytes, sha256
        Of the file written: pixels, length, digest.
    error_type, error
        Class and message of what went wrong; empty if nothing did.
    aside
        Where the picture of a failed job is kept, if there is one to look at.
    notes
        What else is to be said, such as "adopted" or "first frame of 12".
    worker
        Name of the process that did it.
    attempts
        How often the job was begun.
    finished_at
        Seconds since 1970.
    """

    job_id: str
    content: str
    styles: tuple[str, ...]
    output: str
    status: str
    seconds: float = 0.0
    steps: int = 0
    stop_reason: str = ""
    losses: tuple[tuple[str, float], ...] = ()
    width: int = 0
    height: int = 0
    bytes: int = 0
    sha256: str = ""
    error_type: str = ""
    error: str = ""
    aside: str = ""
    notes: tuple[str, ...] = ()
    worker: str = ""
    attempts: int = 1
    finished_at: float = 0.0


def job_id(job: Job) -> str:
    """Return a digest, 16 hex digits, of everything that decides what the output is and where it goes."""
    parts = [
        job.content, job.styles, job.blend, job.output, recipe_digest(job.recipe), job.weights,
        job.precision, job.fingerprints, job.parameters,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def job_record(job: Job) -> dict[str, Any]:
    """Return a job as plain JSON values, all but its recipe."""
    return {name: value for name, value in vars(job).items() if name != "recipe"}


def job_from_record(record: Mapping[str, Any], recipe: Recipe) -> Job:
    """Return the job that `job_record` wrote."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in record.items()
    }
    return Job(recipe=recipe, **values)


def result_record(result: JobResult) -> dict[str, Any]:
    """Return a result as plain JSON values: a line of the journal."""
    return {**vars(result), "losses": dict(result.losses)}


def result_from_record(record: Mapping[str, Any]) -> JobResult:
    """Return the result that `result_record` wrote; keys that are not known are left out.

    Raises
    ------
    KeyError, TypeError
        If it is no such record.
    """
    names = [field.name for field in dataclasses.fields(JobResult)]
    values = {name: record[name] for name in names if name in record}
    values["losses"] = tuple(dict(values.get("losses", {})).items())
    for name in ("styles", "notes"):
        values[name] = tuple(values.get(name, ()))
    return JobResult(**values)
