"""Jobs that a person wrote by hand, completed by what a plan must know of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator

from gluon_nst.batch.collect import Candidate
from gluon_nst.batch.look_ahead import Look, Looker, in_order
from gluon_nst.batch.sources import Source
from gluon_nst.jobs import Job
from gluon_nst.paths import absolute

__all__ = ["complete_jobs"]


def complete_jobs(jobs: Iterable[Job], digest: Callable[[str, str], str]) -> Iterator[Candidate]:
    """Yield the jobs with absolute paths, fingerprints and parameters, and the shapes of their contents.

    Parameters
    ----------
    jobs
        What to do.
    digest
        Gives the sha256 of the parameters of a source (`Job.weights`) and a network.
    """
    looker = Looker()

    def look(job: Job) -> Look:
        return looker.look(Source(absolute(job.content), "", None, named=True))

    for job, seen in in_order(look, jobs):
        weights = absolute(job.weights) if job.weights.endswith(".params") else job.weights
        styles = tuple(map(absolute, job.styles))
        complete = dataclasses.replace(
            job, content=absolute(job.content), styles=styles, output=absolute(job.output), weights=weights,
            fingerprints=(seen.fingerprint, *map(looker.mark, styles)),
            parameters=digest(weights, job.recipe.network),
        )  # fmt: skip
        yield Candidate(complete, seen.shape, complete.content)
