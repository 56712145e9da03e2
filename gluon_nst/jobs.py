"""Jobs and their results: plain frozen records, which is all that travels to a worker and back."""

from __future__ import annotations

import dataclasses
import hashlib
import json

from gluon_nst.recipe import Recipe, recipe_digest

__all__ = ["STATUSES", "Job", "JobResult", "job_id"]

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
    """

    content: str
    styles: tuple[str, ...]
    output: str
    recipe: Recipe
    blend: tuple[float, ...] = ()
    weights: str = "bundled"
    device: str = "auto"
    precision: str = "auto"


@dataclasses.dataclass(frozen=True)
class JobResult:
    """What became of a job.

    Attributes
    ----------
    job_id, content, output
        Which job.
    status
        One of `STATUSES`.
    seconds, steps
        Wall time from reading to writing; steps over all scales.
    losses
        Last losses read: (term, value) pairs.
    error_type, error
        Class and message of what went wrong; empty if nothing did.
    worker
        Name of the process that did it.
    """

    job_id: str
    content: str
    output: str
    status: str
    seconds: float = 0.0
    steps: int = 0
    losses: tuple[tuple[str, float], ...] = ()
    error_type: str = ""
    error: str = ""
    worker: str = ""


def job_id(job: Job) -> str:
    """Return a digest, 16 hex digits, of everything that decides what the output is and where it goes."""
    parts = [job.content, job.styles, job.blend, job.output, recipe_digest(job.recipe), job.weights]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
