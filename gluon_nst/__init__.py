"""Neural style transfer for photo collections, on MXNet Gluon and Dask.

Importing this package loads neither MXNet nor Dask; the first call that needs them does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gluon_nst._version import __version__

if TYPE_CHECKING:
    from gluon_nst.api import stylize as stylize
    from gluon_nst.batch.api import BatchSummary as BatchSummary
    from gluon_nst.batch.api import iterate_batch as iterate_batch
    from gluon_nst.batch.api import run_batch as run_batch
    from gluon_nst.batch.collect import BatchRequest as BatchRequest
    from gluon_nst.batch.collect import collect_jobs as collect_jobs
    from gluon_nst.batch.run import RunOptions as RunOptions
    from gluon_nst.batch.tally import BatchProgress as BatchProgress
    from gluon_nst.errors import GluonNSTError as GluonNSTError
    from gluon_nst.images.provenance import read_provenance as read_provenance
    from gluon_nst.jobs import Job as Job
    from gluon_nst.jobs import JobResult as JobResult
    from gluon_nst.progress import LossPoint as LossPoint
    from gluon_nst.progress import Progress as Progress
    from gluon_nst.recipe import Recipe as Recipe
    from gluon_nst.recipe_files import load_recipe as load_recipe
    from gluon_nst.recipe_files import recipe_names as recipe_names
    from gluon_nst.result import Result as Result
    from gluon_nst.stylizer import Stylizer as Stylizer

_HOMES = {
    "BatchProgress": "batch.tally",
    "BatchRequest": "batch.collect",
    "BatchSummary": "batch.api",
    "GluonNSTError": "errors",
    "Job": "jobs",
    "JobResult": "jobs",
    "LossPoint": "progress",
    "Progress": "progress",
    "Recipe": "recipe",
    "Result": "result",
    "Stylizer": "stylizer",
    "RunOptions": "batch.run",
    "collect_jobs": "batch.collect",
    "iterate_batch": "batch.api",
    "load_recipe": "recipe_files",
    "read_provenance": "images.provenance",
    "recipe_names": "recipe_files",
    "run_batch": "batch.api",
    "stylize": "api",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gluon_nst' has no attribute {name!r}")
    return getattr(import_module(f"gluon_nst.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
