"""The plan: every job of a batch, checked against the others, in the order in which they will be done.

It is kept in an SQLite file of its own, so that a million jobs take no memory: SQLite finds the duplicates,
sorts, and counts. The file is scratch; the journal alone is the truth about what was done.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from gluon_nst.batch.cost import cost_of
from gluon_nst.batch.last_records import FAILURES
from gluon_nst.batch.plan_recipes import PlanRecipes
from gluon_nst.batch.shards import same_name
from gluon_nst.batch.standing import Task
from gluon_nst.errors import OutputError, UsageError
from gluon_nst.jobs import Job, JobResult, job_from_record, job_id, job_record
from gluon_nst.recipe import Recipe
from gluon_nst.storage import exists

__all__ = ["Group", "Plan"]

_TABLES = """
CREATE TABLE job (
    id TEXT PRIMARY KEY, output BLOB UNIQUE, work TEXT UNIQUE, origin BLOB, body TEXT, recipe INTEGER, look TEXT,
    height INTEGER, width INTEGER, cost REAL, status TEXT, bytes INTEGER, sha256 TEXT,
    seconds REAL, pixels INTEGER
) WITHOUT ROWID;
"""

# Jobs of one recipe together (a worker keeps one network warm), longest first within a factor of two, so that
# the last to run are short; among those of about one length a style's together, since its targets are kept.
_ORDER = "recipe, CAST(log2(cost) AS INTEGER) DESC, look, height, width, id"

_BATCH = 1000  # rows that are held at once
_NAMED = 5  # clashes that are told in words


class Group(NamedTuple):
    """Jobs to do that go together: what a dry run shows.

    Attributes
    ----------
    recipe
        Theirs.
    height, width
        Of the contents in pixels, None where it could not be read.
    jobs, cost
        How many, and the work of one in steps times pixels.
    """

    recipe: Recipe
    height: int | None
    width: int | None
    jobs: int
    cost: float


class Plan:
    """The jobs of a batch; a context manager that removes its file at the end."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="gluon-nst-plan-")
        self._base = sqlite3.connect(Path(self._folder.name) / "plan.sqlite", isolation_level=None)
        # Scratch: nothing of it outlives a crash, so nothing need be made safe.
        self._base.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;" + _TABLES)
        self._base.create_function("log2", 1, math.log2, deterministic=True)
        self._base.create_function("folder", 1, os.path.dirname, deterministic=True)
        self._recipes = PlanRecipes(self._base)
        self._cost = functools.lru_cache(maxsize=4096)(cost_of)

    def __enter__(self) -> Plan:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the plan's file."""
        self._base.close()
        self._folder.cleanup()

    # ---- what is to be done

    def add(self, jobs: Iterable[tuple[Job, tuple[int, int] | None, str]]) -> None:
        """Take in jobs, each with the (height, width) of its content, if known, and where it comes from.

        Raises
        ------
        UsageError
            If a job is given twice, or two would write the same file; names the first of them.
        OutputError
            If there is no room for the plan's file.
        """
        clashes: list[str] = []
        found = 0
        with self._at_once():
            for job, shape, origin in jobs:
                if not self._insert(job, shape, origin):
                    found += 1
                    if found <= _NAMED:
                        clashes.append(self._clash(job, origin))
        if found:
            more = f"\nand {found - _NAMED} more." if found > _NAMED else ""
            raise UsageError("\n".join(clashes) + more)

    # ---- what was done before

    def note(self, results: Iterable[JobResult]) -> None:
        """Take in what the journal says, oldest first; jobs that are not in the plan are passed over."""
        rows = (
            (each.status, each.bytes, each.sha256, each.seconds, each.width * each.height, each.job_id)
            for each in results
        )
        with self._at_once():
            self._base.executemany(
                "UPDATE job SET status = ?, bytes = ?, sha256 = ?, seconds = ?, pixels = ? WHERE id = ?", rows
            )

    def done(self) -> Iterator[tuple[str, str, int, str]]:
        """Yield id, output, length in bytes and sha256 of every job that was done; some may be reopened meanwhile."""
        last = ""
        while rows := self._base.execute(
            "SELECT id, output, bytes, sha256 FROM job WHERE status IN ('succeeded', 'skipped') AND id > ? "
            "ORDER BY id LIMIT ?",
            (last, _BATCH),
        ).fetchall():
            last = rows[-1][0]
            yield from ((key, _text(output), size, digest) for key, output, size, digest in rows)

    def reopen(self, ids: Iterable[str]) -> None:
        """Let jobs be done again."""
        with self._at_once():
            self._base.executemany("UPDATE job SET status = NULL WHERE id = ?", ((each,) for each in ids))

    def retry(self, what: str) -> None:
        """Let jobs that failed before be tried again: "failed" (and timed out), "poison", "all" or "none"."""
        chosen = {"failed": ("failed", "timeout"), "poison": ("poison",), "all": FAILURES, "none": ()}[what]
        self._base.executemany("UPDATE job SET status = NULL WHERE status = ?", [(each,) for each in chosen])

    # ---- questions

    def counts(self) -> dict[str, int]:
        """Return how many jobs there are by status; those to do under "to do"."""
        return dict(self._base.execute("SELECT COALESCE(status, 'to do'), COUNT(*) FROM job GROUP BY status"))

    def groups(self) -> Iterator[Group]:
        """Yield the jobs to do, added up by recipe and shape, the most work first."""
        rows = self._base.execute(
            "SELECT recipe, height, width, COUNT(*), MAX(cost) FROM job WHERE status IS NULL "
            "GROUP BY recipe, height, width ORDER BY SUM(cost) DESC, height, width"
        )
        for recipe, height, width, jobs, cost in rows:
            yield Group(self._recipes.get(recipe), height, width, jobs, cost)

    def cost_to_do(self) -> float:
        """Return the work of all jobs to do together."""
        return float(self._base.execute("SELECT TOTAL(cost) FROM job WHERE status IS NULL").fetchone()[0])

    def pace_before(self) -> float | None:
        """Return the seconds per unit of work of the jobs that were done before; None if there are none."""
        return self._ratio("seconds", "cost")

    def bytes_per_pixel_before(self) -> float | None:
        """Return the length of a file per pixel of the pictures that were made before; None if there are none."""
        return self._ratio("bytes", "pixels")

    def largest(self) -> Task | None:
        """Return the job to do that takes the most work; None if nothing is to do."""
        return next(self._tasks("cost DESC LIMIT 1"), None)

    def folders(self) -> Iterator[str]:
        """Yield the folders that outputs go to."""
        for (folder,) in self._base.execute("SELECT DISTINCT folder(output) FROM job"):
            yield _text(folder)

    def existing_outputs(self) -> Iterator[str]:
        """Yield the outputs of jobs to do that are there already."""
        for (output,) in self._base.execute("SELECT output FROM job WHERE status IS NULL"):
            if exists(_text(output)):
                yield _text(output)

    def tasks(self) -> Iterator[Task]:
        """Yield what is to be done, in order; it is read from the file as it goes."""
        return self._tasks(_ORDER)

    # ---- inside

    def _tasks(self, order: str) -> Iterator[Task]:
        rows = self._base.execute(
            f"SELECT id, body, recipe, look, height, width, cost FROM job WHERE status IS NULL ORDER BY {order}"
        )
        for key, body, number, look, height, width, cost in rows:
            job = job_from_record(json.loads(body), self._recipes.get(number))
            yield Task(key, f"{number}/{look}/{height}x{width}", cost, job)

    @contextlib.contextmanager
    def _at_once(self) -> Iterator[None]:
        """Make many changes in one go."""
        try:
            self._base.execute("BEGIN")
            try:
                yield
            finally:
                self._base.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise OutputError(
                f"cannot write the plan, some 900 bytes a job, in {self._folder.name}: {error}. Make room there, "
                "or set TMPDIR to a folder that has it."
            ) from error

    def _ratio(self, above: str, below: str) -> float | None:
        row = self._base.execute(
            f"SELECT TOTAL({above}), TOTAL({below}) FROM job WHERE sha256 <> '' AND seconds > 0"
        ).fetchone()
        return row[0] / row[1] if row[1] else None

    def _insert(self, job: Job, shape: tuple[int, int] | None, origin: str) -> bool:
        number = self._recipes.number(job.recipe)
        height, width = shape or (None, None)
        look = json.dumps([job.styles, job.blend])
        row = (
            job_id(job), _bytes(same_name(job.output)), json.dumps([job.content, look, number]), _bytes(origin),
            json.dumps(job_record(job)), number, look, height, width, self._cost(job.recipe, shape),
        )  # fmt: skip
        # Ignored, not failed: without a journal a statement that fails cannot be undone.
        done = self._base.execute(
            "INSERT OR IGNORE INTO job (id, output, work, origin, body, recipe, look, height, width, cost) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )
        return done.rowcount == 1

    def _clash(self, job: Job, origin: str) -> str:
        work = json.dumps(
            [job.content, json.dumps([job.styles, job.blend]), self._recipes.number(job.recipe)]
        )
        first = self._origin_where("work", work)
        if first is not None:
            where = f"{first} and {origin}" if first != origin else f"{origin} (twice)"
            return f"the same job is given twice: {where}. Leave one out."
        first = self._origin_where("output", _bytes(same_name(job.output)))
        return (
            f"{first or 'another job'} and {origin} would both be written to {job.output}. Rename one, "
            "or give them different names with --name or different output folders."
        )

    def _origin_where(self, column: str, value: str | bytes) -> str | None:
        row = self._base.execute(f"SELECT origin FROM job WHERE {column} = ?", (value,)).fetchone()
        return None if row is None else _text(row[0])


def _bytes(text: str) -> bytes:
    """Return a path as SQLite can hold it: names of files may be no Unicode."""
    return text.encode("utf-8", "surrogatepass")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")
