"""What the page of a report shows: a row for each job, and the pictures that the rows share."""

from __future__ import annotations

import base64
import dataclasses
import heapq
import math
import os
import urllib.parse
from collections.abc import Iterable
from pathlib import Path

from gluon_nst.batch.last_records import FAILURES, LastRecord, Record
from gluon_nst.batch.summary import error_pattern
from gluon_nst.batch.thumbnail_cache import Thumbnail, ThumbnailCache
from gluon_nst.batch.thumbnails import choose_look, local_path, make_thumbnails
from gluon_nst.jobs import JobResult

__all__ = ["MAX_ROWS", "Gallery", "choose_records", "link_to", "make_gallery"]

MAX_ROWS = 20_000
"""Jobs on one page. Beyond this its thumbnails would be too small to tell anything, or the page larger than 40 MB."""


@dataclasses.dataclass(frozen=True)
class Gallery:
    """What the page shows, as JSON values.

    Attributes
    ----------
    rows
        One mapping a job; pictures by their place in `pictures`.
    pictures
        One mapping each: `path`, `link` (relative to the page; empty where there is no local file),
        `thumbnail` (WebP in base64; empty if there is none) and `problem` (why).
    """

    rows: list[Record]
    pictures: list[Record]


def choose_records(records: Iterable[LastRecord], most: int = MAX_ROWS) -> list[LastRecord]:
    """Return the records that the page shows, in their order: all, or failures before others if too many."""
    numbered = enumerate(records)
    chosen = heapq.nsmallest(
        most, numbered, key=lambda each: (each[1].result.status not in FAILURES, each[0])
    )
    return [record for _, record in sorted(chosen, key=lambda each: each[0])]


def make_gallery(
    records: Iterable[LastRecord], cache: ThumbnailCache, folder: Path | None, *, expected: int = 0
) -> Gallery:
    """Lay out the page's rows and pictures, and make the thumbnails that they need.

    Parameters
    ----------
    records
        What to show.
    cache
        Where thumbnails are kept.
    folder
        Where the page will lie; None if that is no local folder, and then nothing is linked.
    expected
        Number of rows when the run is over, if more: thumbnails get their final look at once.
    """
    chosen = list(records)
    look = choose_look(min(max(len(chosen), expected), MAX_ROWS))
    thumbnails = make_thumbnails(_versions(chosen), look, cache)
    numbers = {path: number for number, path in enumerate(thumbnails)}
    pictures = [_picture(path, thumbnail, folder) for path, thumbnail in thumbnails.items()]
    return Gallery([_row(record, numbers) for record in chosen], pictures)


def _versions(records: Iterable[LastRecord]) -> dict[str, str]:
    """Return the pictures of all rows; what the journal knows of an output tells its versions apart."""
    versions: dict[str, str] = {}
    for result, _, _ in records:
        versions.update(dict.fromkeys((result.content, *result.styles), ""))
        stylized = _stylized(result)
        if stylized:
            versions[stylized] = result.sha256
    return versions


def _stylized(result: JobResult) -> str:
    """Return the picture that a job made, if it made one: what it would replace is none of its doing."""
    return result.aside if result.status in FAILURES else result.output


def _picture(path: str, thumbnail: Thumbnail, folder: Path | None) -> Record:
    return {
        "path": path,
        "link": "" if thumbnail.problem else link_to(path, folder),
        "thumbnail": base64.b64encode(thumbnail.data).decode("ascii"),
        "problem": thumbnail.problem,
    }


def link_to(path: str, folder: Path | None) -> str:
    """Return the relative URL of a local file from a folder; empty for what lies elsewhere, or from no folder.

    Every colon in it is escaped, so that it can name no scheme such as javascript.
    """
    place = local_path(path)
    if place is None or folder is None:
        return ""
    relative = os.path.relpath(place, folder).replace(os.sep, "/")
    return urllib.parse.quote(relative.encode("utf-8", "surrogateescape"))


def _row(record: LastRecord, numbers: dict[str, int]) -> Record:
    result = record.result
    stylized = _stylized(result)
    values = {
        **{name: getattr(result, name) for name in _SHOWN},
        "losses": {term: _finite(value) for term, value in result.losses},
        "seconds": _finite(result.seconds),
        "finished_at": _finite(result.finished_at),
        "content": numbers[result.content],
        "styles": [numbers[style] for style in result.styles],
        "blend": record.blend,
        "changes": {name: str(value) for name, value in record.changes.items()},
        "stylized": numbers[stylized] if stylized else None,
        "pattern": error_pattern(result) if result.status in FAILURES else "",
    }
    # A number that is not given is not shown; the page takes what is absent as empty.
    return {name: value for name, value in values.items() if value not in ("", (), {}, None)}


_SHOWN = (
    "job_id", "status", "output", "steps", "stop_reason", "width", "height", "error_type", "error", "aside", "notes",
    "worker", "attempts",
)  # fmt: skip


def _finite(value: float) -> float | None:
    """Return a number that JSON can hold; what is no number, or infinite, is left out."""
    return value if math.isfinite(value) else None
