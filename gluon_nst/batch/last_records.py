"""What became of the jobs of a run: the last record of each, read from the journal without holding it in memory."""

from __future__ import annotations

import dataclasses
import io
import json
import os
from array import array
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeAlias

from gluon_nst.batch.journal import JOURNAL
from gluon_nst.batch.run_directory import default_run_directory
from gluon_nst.errors import UsageError
from gluon_nst.jobs import STATUSES, JobResult, result_from_record
from gluon_nst.progress import TERMS
from gluon_nst.storage import is_url

__all__ = [
    "FAILURES",
    "LastRecord",
    "LastRecords",
    "Record",
    "find_run",
    "iterate_records",
    "read_last_records",
    "read_mapping",
]

Record: TypeAlias = dict[str, Any]

FAILURES = ("failed", "poison", "timeout")
"""Statuses of jobs that were tried and gave no picture."""

_FILES = (JOURNAL, "status.json", "run.json")


class LastRecord(NamedTuple):
    """The last record of a job.

    Attributes
    ----------
    result
        What became of it.
    blend
        Weight of each style; empty if the record does not say.
    changes
        Fields of the recipe that this job had of its own.
    """

    result: JobResult
    blend: tuple[float, ...]
    changes: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class LastRecords:
    """The jobs of a journal, one `LastRecord` each, in the order in which they first appear.

    Iterating reads the journal again, one line at a time, so a million jobs take 8 MB.

    Attributes
    ----------
    journal
        The file.
    places
        Where in it the last record of each job begins, in bytes.
    skipped
        Number of lines that are no record. A last line that is cut off does not count: it is being written,
        or the machine stopped.
    terms
        Terms of the losses in any record; those of `gluon_nst.progress.TERMS` come first.
    changed
        Names in the `changes` of any record, sorted.
    """

    journal: Path
    places: array[int]
    skipped: int
    terms: tuple[str, ...]
    changed: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[LastRecord]:
        if not self.places:
            return
        with self.journal.open("rb") as file:
            for place in self.places:
                file.seek(place)
                record = _parse(file.readline())
                if record is not None:
                    yield record


def find_run(directory: str | os.PathLike[str]) -> Path:
    """Return the run directory that belongs to an output folder or URL, or is the given directory itself.

    Raises
    ------
    UsageError
        If there is no run in it, or the run was made in shards, each of which has a directory of its own.
    """
    given = os.fspath(directory)
    usual = default_run_directory(given)
    candidates = [usual] if is_url(given) else [usual, Path(given)]
    for candidate in candidates:
        if any((candidate / name).is_file() for name in _FILES):
            return candidate
    shards = sorted(str(path.parent) for path in usual.glob(f"shard-*/{JOURNAL}"))
    if shards:
        raise UsageError(f"the run in {given!r} was made in shards; give one of {', '.join(shards)}.")
    raise UsageError(
        f"there is no run in {given!r}; give what `gluon-nst batch` was given with -o, or the directory {usual} "
        "itself."
    )


def read_last_records(run: Path) -> LastRecords:
    """Find the last record of every job in the journal of a run directory.

    A journal that is missing is taken as empty: the run has just begun. While this reads, one number and one
    job id per job are held: 150 MB for a million jobs.

    Raises
    ------
    UsageError
        If the journal cannot be read.
    """
    with _open_journal(run) as file:
        return _scan(run / JOURNAL, file)


def iterate_records(run: Path) -> Iterator[LastRecord]:
    """Yield every record of the journal of a run directory, oldest first; of a job the last one counts.

    Nothing is held in memory. A journal that is missing is taken as empty.

    Raises
    ------
    UsageError
        If the journal cannot be read.
    """
    with _open_journal(run) as file:
        for _, line in _whole_lines(file):
            if (record := _parse(line)) is not None:
                yield record


def read_mapping(path: Path) -> Record:
    """Return the JSON object in a file; empty if the file is missing or holds something else."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


@contextmanager
def _open_journal(run: Path) -> Iterator[BinaryIO]:
    """Open the journal, and say what is wrong if it cannot be read."""
    try:
        with _journal_or_nothing(run) as file:
            yield file
    except OSError as error:
        raise UsageError(
            f"the journal {run / JOURNAL} cannot be read: {error.strerror}. Give another run directory."
        ) from error


def _journal_or_nothing(run: Path) -> BinaryIO:
    try:
        return (run / JOURNAL).open("rb")
    except FileNotFoundError:
        return io.BytesIO()


def _scan(journal: Path, file: BinaryIO) -> LastRecords:
    rows: dict[str, int] = {}
    places, skipped = array("q"), 0
    terms: set[str] = set()
    changed: set[str] = set()
    for place, line in _whole_lines(file):
        record = _parse(line)
        if record is None:
            skipped += 1
            continue
        row = rows.setdefault(record.result.job_id, len(places))
        places[row : row + 1] = array("q", [place])
        terms.update(term for term, _ in record.result.losses)
        changed.update(record.changes)
    return LastRecords(journal, places, skipped, (*TERMS, *sorted(terms - {*TERMS})), tuple(sorted(changed)))


def _whole_lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield each line that ends, and where it begins; blank ones are left out."""
    place = 0
    for line in file:
        if line.endswith(b"\n") and not line.isspace():
            yield place, line
        place += len(line)


def _parse(line: bytes) -> LastRecord | None:
    """Return what a line of the journal says, None if it is no record."""
    try:
        record = json.loads(line)
        result = result_from_record(record)
        blend = tuple(float(weight) for weight in record.get("blend") or ())
        changes = dict(record.get("changes") or {})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return LastRecord(result, blend, changes) if _is_sound(result) else None


def _is_sound(result: JobResult) -> bool:
    """Return whether every field holds a value of its kind: the journal may have been edited."""
    texts = (*result.styles, *result.notes, *(getattr(result, name) for name in _TEXTS))
    numbers = (*(value for _, value in result.losses), *(getattr(result, name) for name in _NUMBERS))
    return (
        result.status in STATUSES
        and all(isinstance(text, str) for text in texts)
        and all(isinstance(number, int | float) for number in numbers)
    )


def _fields_of(*kinds: str) -> tuple[str, ...]:
    # Under `from __future__ import annotations` the type of a field is its text.
    return tuple(field.name for field in dataclasses.fields(JobResult) if field.type in kinds)


_TEXTS, _NUMBERS = _fields_of("str"), _fields_of("int", "float")
