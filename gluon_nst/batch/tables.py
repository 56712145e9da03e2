"""Tables read row by row: CSV, TSV, JSON Lines (each also as .gz) and Parquet, from any file or standard input."""

from __future__ import annotations

import contextlib
import csv
import functools
import gzip
import io
import itertools
import json
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple, cast

from gluon_nst import storage
from gluon_nst.errors import ManifestError

__all__ = ["STANDARD_INPUT", "Record", "Table", "read_table"]

STANDARD_INPUT = "-"

_KINDS = "tables end in .csv, .tsv, .jsonl or .ndjson (each also with .gz) or .parquet"
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = (".jsonl", ".ndjson")
_WIDE_BOMS = (b"\xff\xfe", b"\xfe\xff")  # UTF-16 and UTF-32

# Rows of Parquet that are Python objects at one time: 0.4 MB with four columns.
_PARQUET_ROWS = 1024


class Record(NamedTuple):
    """A row of a table.

    Attributes
    ----------
    number
        Line at which it begins, or the number of the row in Parquet, from 1.
    values
        Text by column from CSV; what JSON and Parquet hold from those.
    problem
        Why the row cannot be read; empty if it can.
    """

    number: int
    values: Mapping[str, Any]
    problem: str = ""


class Table(NamedTuple):
    """A table that is open.

    Attributes
    ----------
    columns
        Names of the columns; None where every row has its own (JSON Lines).
    records
        The rows, in order, read as they are asked for.
    unit
        What `Record.number` counts: "line" or "row".
    close
        Closes the file; no more rows are read then.
    """

    columns: tuple[str, ...] | None
    records: Iterator[Record]
    unit: str
    close: Callable[[], None]


def read_table(path: storage.StrPath) -> Table:
    """Open a table; its kind is told by the ending of its name, that of standard input by its first character.

    Parameters
    ----------
    path
        A local path, an fsspec URL, or ``-`` for CSV or JSON Lines on standard input.

    Raises
    ------
    ManifestError
        If it cannot be opened, its kind is unknown, or it has no header.
    """
    name = os.fspath(path)
    if name == STANDARD_INPUT:
        return _standard_input()
    kind = name.partition("::")[0].lower().removesuffix(".gz")
    suffix = next((each for each in (*_DELIMITERS, *_JSON_LINES, ".parquet") if kind.endswith(each)), None)
    if suffix is None:
        raise ManifestError(f"the kind of the manifest {name!r} is unknown; {_KINDS}.")
    if suffix == ".parquet":
        return _read_parquet(path, name)
    lines, close = _open_lines(path, name)
    try:
        table = _read_csv(lines, _DELIMITERS[suffix], name) if suffix in _DELIMITERS else _read_json(lines)
    except ManifestError:
        close()
        raise
    return table._replace(close=close)


@contextlib.contextmanager
def _errors_of(name: str) -> Iterator[None]:
    """Turn what opening a table raises into an error that names it."""
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ManifestError(f"the manifest {name!r} cannot be read: {reason}.") from error


def _nothing() -> None:
    """Leave open what was not opened here."""


def _standard_input() -> Table:
    lines = _decoded(sys.stdin.buffer)
    with _errors_of(STANDARD_INPUT):
        first = next(lines, "")
    lines = itertools.chain([first], lines)
    return _read_json(lines) if first.lstrip().startswith("{") else _read_csv(lines, ",", STANDARD_INPUT)


def _open_lines(path: storage.StrPath, name: str) -> tuple[Iterator[str], Callable[[], None]]:
    """Return the lines of a file, and what closes it."""
    stack = contextlib.ExitStack()
    with _errors_of(name):
        stream = stack.enter_context(storage.open_binary(path))
    if name.lower().endswith(".gz"):
        stream = stack.enter_context(cast(BinaryIO, gzip.GzipFile(fileobj=stream)))
    # Files of fsspec read a line slowly by themselves.
    buffered = stack.enter_context(io.BufferedReader(cast(io.RawIOBase, stream)))
    return _decoded(buffered), stack.close


def _decoded(stream: Iterable[bytes]) -> Iterator[str]:
    """Yield lines; bytes that are no UTF-8 become lone surrogates, as in Python's file names."""
    for number, line in enumerate(stream):
        if number == 0:
            if line.startswith(_WIDE_BOMS):
                raise OSError("it is UTF-16; save it as UTF-8")
            line = line.removeprefix(b"\xef\xbb\xbf")
        yield line.decode("utf-8", "surrogateescape")


def _read_csv(lines: Iterator[str], delimiter: str, name: str) -> Table:
    reader = csv.reader(lines, delimiter=delimiter)
    with _errors_of(name):
        header = next(_cells(reader), None)
    if header is None or header.problem:
        why = header.problem if header else "it is empty; its first line must name the columns"
        raise ManifestError(f"the manifest {name!r} cannot be read: {why}.")
    columns = tuple(cell.strip() for cell in header.values["cells"])
    return Table(columns, map(functools.partial(_named, columns), _cells(reader)), "line", _nothing)


def _cells(reader: Any) -> Iterator[Record]:
    """Yield the cells of each row that has any; after a line that cannot be read there is no way on."""
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield Record(number, {}, f"{error}; is a quotation mark left open?")
            return
        except (OSError, EOFError, zlib.error) as error:
            yield Record(number, {}, f"the file cannot be read further: {error}")
            return
        if cells is None:
            return
        if any(cells):
            yield Record(number, {"cells": cells})


def _named(columns: Sequence[str], record: Record) -> Record:
    if record.problem:
        return record
    cells = record.values["cells"]
    if len(cells) != len(columns):
        return Record(record.number, {}, f"{len(cells)} cells under {len(columns)} columns")
    return Record(record.number, dict(zip(columns, cells, strict=True)))


def _read_json(lines: Iterator[str]) -> Table:
    return Table(None, _objects(lines), "line", _nothing)


def _objects(lines: Iterator[str]) -> Iterator[Record]:
    for number in itertools.count(1):
        try:
            line = next(lines, None)
        except (OSError, EOFError, zlib.error) as error:
            yield Record(number, {}, f"the file cannot be read further: {error}")
            return
        if line is None:
            return
        if line.strip():
            yield _object(number, line)


def _object(number: int, line: str) -> Record:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Record(number, {}, f"no valid JSON: {error}")
    if not isinstance(values, dict):
        return Record(number, {}, 'no JSON object; write {"content": ..., "style": ...}')
    return Record(number, values)


def _read_parquet(path: storage.StrPath, name: str) -> Table:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ManifestError(
            f"the manifest {name!r} is Parquet, which needs pyarrow: pip install 'gluon-nst[parquet]', or save it "
            "as CSV or JSON Lines."
        ) from error
    try:
        with _errors_of(name):
            file = parquet.ParquetFile(storage.open_binary(path) if storage.is_url(path) else path)
    except pyarrow.ArrowException as error:
        raise ManifestError(f"the manifest {name!r} cannot be read: {error}.") from error
    rows = _parquet_rows(file, pyarrow.ArrowException)
    return Table(tuple(file.schema_arrow.names), rows, "row", functools.partial(file.close, force=True))


def _parquet_rows(file: Any, damage: type[Exception]) -> Iterator[Record]:
    number = 0
    try:
        for batch in file.iter_batches(batch_size=_PARQUET_ROWS):
            for values in batch.to_pylist():
                number += 1
                yield Record(number, values)
    except (damage, OSError) as error:
        yield Record(number + 1, {}, f"the file cannot be read further: {error}")
