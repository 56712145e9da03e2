"""Thumbnails kept in a file of the run directory, so that the next report need not make them again."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

__all__ = ["Thumbnail", "ThumbnailCache", "open_cache"]

_TABLE = """CREATE TABLE IF NOT EXISTS thumbnails (
    path TEXT, side INTEGER, quality INTEGER, version TEXT, data BLOB, problem TEXT,
    PRIMARY KEY (path, side, quality))"""


class Thumbnail(NamedTuple):
    """A WebP file, or, where there is none, why."""

    data: bytes
    problem: str


class ThumbnailCache:
    """Thumbnails by path and look, each good for one version of its picture.

    A cache that cannot be read or written holds nothing, and hinders nobody.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def get(self, path: str, version: str, look: tuple[int, int]) -> Thumbnail | None:
        """Return the thumbnail of this version of a picture; None if it must be made."""
        query = "SELECT data, problem FROM thumbnails WHERE path=? AND side=? AND quality=? AND version=?"
        try:
            row = self._database.execute(query, (_key(path), *look, version)).fetchone()
        except sqlite3.Error:
            return None
        return Thumbnail(*row) if row else None

    def put(self, made: Iterable[tuple[str, str, Thumbnail]], look: tuple[int, int]) -> None:
        """Keep thumbnails, given as (path, version, thumbnail); older ones of these paths go."""
        rows = [(_key(path), *look, version, *thumbnail) for path, version, thumbnail in made]
        with contextlib.suppress(sqlite3.Error), self._database:
            self._database.executemany("INSERT OR REPLACE INTO thumbnails VALUES (?, ?, ?, ?, ?, ?)", rows)


@contextmanager
def open_cache(run: Path) -> Iterator[ThumbnailCache]:
    """Open the cache of a run directory; one in memory if the file is damaged or cannot be written."""
    with contextlib.closing(_connect(run / "thumbnails.sqlite")) as database:
        yield ThumbnailCache(database)


def _connect(path: Path) -> sqlite3.Connection:
    try:
        return _prepared(str(path))
    except sqlite3.Error:
        return _prepared(":memory:")


def _prepared(name: str) -> sqlite3.Connection:
    database = sqlite3.connect(name)
    try:
        database.execute(_TABLE)
    except sqlite3.Error:
        database.close()
        raise
    return database


def _key(path: str) -> str:
    """Return a text that the database takes: file names may hold bytes that are no UTF-8."""
    return path.encode("utf-8", "backslashreplace").decode()
