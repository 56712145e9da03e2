"""The journal: what became of each job, one line of JSON each, appended and never changed.

One process writes it, the one that holds the run's lock. A line is on the disk before anybody is told that its
job is done. A last line that was cut off, by a crash or a full disk, was never told; it is taken away.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gluon_nst.errors import OutputError

__all__ = ["JOURNAL", "Journal"]

JOURNAL = "journal.jsonl"
"""Name of the file in a run directory."""


class Journal:
    """The journal of a run, open for appending; a context manager.

    Parameters
    ----------
    path
        The file; made if it is missing.

    Raises
    ------
    OutputError
        If it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._before = path, b""
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            _cut_torn_line(self._file)
            _settle_name(path)
        except OSError as error:
            raise self._unwritable(error) from error

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def append(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Write records and wait until the disk has them; all of them together cost one wait.

        Raises
        ------
        OutputError
            If they cannot be written; then none of them counts.
        """
        if not records:
            return
        data = "".join(json.dumps(record, allow_nan=False, default=str) + "\n" for record in records).encode()
        try:
            end = os.fstat(self._file).st_size
            self._write(self._before + data, end)
        except OSError as error:
            raise self._unwritable(error) from error
        self._before = b""

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _write(self, data: bytes, end: int) -> None:
        """Write all of it behind `end`, or nothing."""
        try:
            written = 0
            while written < len(data):
                written += os.write(self._file, data[written:])
            os.fsync(self._file)
        except OSError:
            self._before = b"\n"  # should the half line stay, the next one must not be glued to it
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, end)
                self._before = b""
            raise

    def _unwritable(self, error: OSError) -> OutputError:
        return OutputError(f"cannot write the journal {self._path}: {error.strerror}")


def _cut_torn_line(file: int) -> None:
    """Shorten the file to the end of its last whole line."""
    end = position = os.fstat(file).st_size
    while position > 0:
        start = max(0, position - 65536)
        newline = os.pread(file, position - start, start).rfind(b"\n")
        if newline >= 0:
            position = start + newline + 1
            break
        position = start
    if position < end:
        os.ftruncate(file, position)


def _settle_name(path: Path) -> None:
    """Wait until the disk has the file's name too: fsync of a file promises its content only."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
