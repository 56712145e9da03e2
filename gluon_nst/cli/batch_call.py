"""What ``gluon-nst batch`` was asked for, and what that means to the library."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gluon_nst._version import __version__
from gluon_nst.errors import UsageError
from gluon_nst.launch.tls import Tls
from gluon_nst.recipe import Recipe, recipe_mapping

if TYPE_CHECKING:
    from gluon_nst.batch.collect import BatchRequest
    from gluon_nst.batch.run import RunOptions
    from gluon_nst.launch.slots import Slot

__all__ = ["BatchCall"]


@dataclasses.dataclass(frozen=True)
class BatchCall:
    """The options of the command, by their names."""

    inputs: tuple[str, ...]
    styles: tuple[str, ...]
    output: str
    manifest: str | None
    recipe: Recipe
    device: str
    precision: str
    weights: str
    max_memory: str
    blend: str | None
    name: str | None
    suffix: str
    keep_gps: bool
    dry_run: bool
    existing: str
    retry: str
    verify: bool
    max_failures: str
    timeout: float | None
    grace: float
    shard: tuple[int, int] | None
    workers: int | None
    scheduler: str | None
    tls: Tls | None
    wait_for_workers: float
    together: int
    run_dir: Path | None
    new_run: bool
    as_json: bool
    quiet: bool

    @property
    def state(self) -> str:
        """Where workers keep checkpoints and rejected pictures: beside outputs in a store, which all of them reach."""
        from gluon_nst.batch.run_directory import FOLDER
        from gluon_nst.paths import is_url, join

        return join(self.output, FOLDER) if is_url(self.output) else ""

    def request(self, parameters: str) -> BatchRequest:
        """Return what is to be done; `parameters` is the sha256 of the recipe's."""
        from gluon_nst.batch.collect import BatchRequest
        from gluon_nst.batch.naming import DEFAULT_NAME
        from gluon_nst.storage import absolute

        # A file is named so that workers with other working directories find it.
        weights = absolute(self.weights) if self.weights.endswith(".params") else self.weights
        return BatchRequest(
            self.inputs, self.styles, self.output, self.recipe, manifest=self.manifest, blend=self._blend(),
            suffix=self.suffix, name=self.name or DEFAULT_NAME, weights=weights, parameters=parameters,
            device=self.device, precision=self.precision, shard=self.shard,
        )  # fmt: skip

    def run_options(self) -> RunOptions:
        """Return how it is to be run: the options of the same names."""
        from gluon_nst.batch.run import RunOptions
        from gluon_nst.memory_limit import parse_memory_limit

        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(RunOptions)}
        parse_memory_limit(self.max_memory)  # refused here, not by every job
        return RunOptions(**given)

    def slots(self, jobs: int) -> tuple[Slot, ...]:
        """Return room for the workers that are started on this machine for so many jobs; none if none are."""
        from gluon_nst.launch.discovery import slots_of_batch

        here = not self.scheduler and self.workers != 0 and jobs
        return slots_of_batch(self.workers, self.device, jobs) if here else ()

    def run_directory(self) -> Path:
        """Return where the run is kept."""
        from gluon_nst.batch.run_directory import default_run_directory

        return self.run_dir or default_run_directory(self.output, self.shard)

    def identity(self, parameters: str) -> dict[str, Any]:
        """Return what makes this run another one than the last in the same folder."""
        from gluon_nst.batch.run_directory import file_digest
        from gluon_nst.storage import absolute

        return {
            "version": __version__,
            "inputs": [absolute(each) for each in self.inputs],
            "styles": [absolute(each) for each in self.styles],
            "manifest": self.manifest
            and {"path": absolute(self.manifest), "sha256": file_digest(self.manifest)},
            "output": absolute(self.output),
            "name": self.name,
            "format": self.suffix,
            "blend": self._blend(),
            "recipe": {**recipe_mapping(self.recipe), "description": ""},
            "parameters": parameters,
            "precision": self.precision,
            "shard": self.shard,
        }

    def _blend(self) -> tuple[float, ...]:
        try:
            return tuple(float(part) for part in self.blend.split(",")) if self.blend else ()
        except ValueError:
            raise UsageError(f"--blend is {self.blend!r}; it takes a list of numbers, such as 2,1.") from None
