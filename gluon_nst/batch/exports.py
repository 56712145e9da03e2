"""The results of a run as tables: results.csv, results.parquet, and failed.csv, which is a manifest to run again."""

from __future__ import annotations

import csv
import importlib.util
import io
import itertools
import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from gluon_nst.batch.last_records import FAILURES, LastRecord, LastRecords, Record, read_last_records
from gluon_nst.errors import OutputError
from gluon_nst.storage import absolute

__all__ = ["TABLES", "write_results"]

TABLES = ("results.csv", "failed.csv", "results.parquet")
"""Names of the files in the run directory."""

# Rows of one Parquet row group: small enough to be held as Python objects (some 10 MB), large enough to compress.
_GROUP = 10_000

# What a spreadsheet takes for the beginning of a formula (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_results(run: Path, records: LastRecords | None = None) -> list[Path]:
    """Write the tables of a run into its run directory; each is there complete or not at all.

    ``results.csv`` has a row for every job, in the order in which the journal first names them, and
    ``results.parquet`` the same with typed columns; it is left out where pyarrow is not installed.
    ``failed.csv`` has the jobs that failed, were poison or ran out of time, and can be given back to
    ``gluon-nst batch --manifest``.

    In the CSV files, text other than paths that a spreadsheet would take for a formula gets an apostrophe in
    front. Bytes of file names that are no UTF-8 are written as they are.

    Parameters
    ----------
    run : pathlib.Path
        The run directory.
    records : LastRecords, optional
        What `read_last_records` gave, if it was read already.

    Returns
    -------
    list of pathlib.Path
        The files written.

    Raises
    ------
    OutputError
        If a file cannot be written.
    UsageError
        If the journal cannot be read.
    """
    records = read_last_records(run) if records is None else records
    results, failed, parquet = (run / name for name in TABLES)
    written = [
        _write_csv(results, _result_columns(records), map(_csv_result, records)),
        _write_csv(failed, _failed_columns(records), _failed_rows(records)),
    ]
    if importlib.util.find_spec("pyarrow") is not None:
        written.append(_write_parquet(parquet, records))
    return written


# Column -> its kind in Parquet. Losses come after them, one column a term.
_RESULT_COLUMNS = {
    "job_id": "string", "status": "string", "content": "string", "styles": "list<string>", "output": "string",
    "seconds": "float64", "steps": "int64", "stop_reason": "string", "width": "int64", "height": "int64",
    "bytes": "int64", "sha256": "string", "error_type": "string", "error": "string", "aside": "string",
    "notes": "list<string>", "worker": "string", "attempts": "int64", "finished_at": "float64",
}  # fmt: skip
_FAILED_COLUMNS = (
    "content", "style", "styles", "output", "status", "error_type", "error", "attempts", "job_id", "aside",
)  # fmt: skip
# Cells that nothing reads back.
_PROSE = ("stop_reason", "error_type", "error", "worker")


def _result_columns(records: LastRecords) -> list[str]:
    return [*_RESULT_COLUMNS, *map(_loss_column, records.terms)]


def _loss_column(term: str) -> str:
    return f"{term}_loss"


def _result_row(record: LastRecord) -> Record:
    values = vars(record.result)
    losses = {_loss_column(term): value for term, value in record.result.losses}
    return {**{name: values[name] for name in _RESULT_COLUMNS}, **losses}


def _csv_result(record: LastRecord) -> Record:
    row = _without_formulas(_result_row(record))
    return {**row, "styles": json.dumps(row["styles"]), "notes": json.dumps(row["notes"])}


def _failed_columns(records: LastRecords) -> list[str]:
    return [*_FAILED_COLUMNS, *(name for name in records.changed if name not in _FAILED_COLUMNS)]


def _failed_rows(records: LastRecords) -> Iterator[Record]:
    return (_failed_row(record) for record in records if record.result.status in FAILURES)


def _failed_row(record: LastRecord) -> Record:
    result = record.result
    own = {
        name: vars(result)[name] for name in ("status", "error_type", "error", "attempts", "job_id", "aside")
    }
    changes = {name: _setting(name, value) for name, value in record.changes.items() if name not in own}
    return {
        **changes,
        **_without_formulas(own),
        **_style_cells(record),
        "content": absolute(result.content),
        "output": absolute(result.output),
    }


def _style_cells(record: LastRecord) -> Record:
    """Return one plain style as it is; several, or weights, as JSON."""
    styles = [absolute(style) for style in record.result.styles]
    if len(styles) == 1:
        return {"style": styles[0]}
    if len(record.blend) != len(styles):
        return {"styles": json.dumps(styles)}
    pairs = zip(styles, record.blend, strict=True)
    return {"styles": json.dumps([{"style": style, "weight": weight} for style, weight in pairs])}


def _setting(name: str, value: object) -> str:
    """Return a field of the recipe as the manifest takes it: TOML, quotes around words left out."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {json.dumps(item)}" for key, item in value.items()) + "}"
    if name == "size" and value == 0:
        return "original"
    return value if isinstance(value, str) else json.dumps(value)


def _without_formulas(row: Record) -> Record:
    return {name: _harmless(value) if name in _PROSE else value for name, value in row.items()}


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _write_csv(path: Path, columns: list[str], rows: Iterator[Record]) -> Path:
    with _replacing(path) as file:
        text = io.TextIOWrapper(file, "utf-8", errors="surrogateescape", newline="")
        writer = csv.DictWriter(text, columns)
        writer.writeheader()
        writer.writerows(_per_cell(_encodable, row) for row in rows)
        text.detach()
    return path


def _write_parquet(path: Path, records: LastRecords) -> Path:
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {"list<string>": pa.list_(pa.string()), "float64": pa.float64(), "int64": pa.int64()}
    fields = [(name, kinds.get(kind, pa.string())) for name, kind in _RESULT_COLUMNS.items()]
    schema = pa.schema([*fields, *((_loss_column(term), pa.float64()) for term in records.terms)])
    with _replacing(path) as file, parquet.ParquetWriter(file, schema) as writer:
        rows = map(_result_row, records)
        while group := list(itertools.islice(rows, _GROUP)):
            cells = [_per_cell(_unicode, row) for row in group]
            writer.write_table(pa.Table.from_pylist(cells, schema=schema))
    return path


def _per_cell(change: Callable[[str], str], row: Record) -> Record:
    return {name: _map_text(change, value) for name, value in row.items()}


def _map_text(change: Callable[[str], str], value: Any) -> Any:
    if isinstance(value, tuple):
        return [change(each) for each in value]
    return change(value) if isinstance(value, str) else value


def _encodable(text: str) -> str:
    """Return a text that `surrogateescape` can encode: lone surrogates that stand for no byte are replaced."""
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def _unicode(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file under a temporary name beside `path`, which it replaces when the block ends well."""
    temporary = path.parent / f".{uuid.uuid4().hex}.part"
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}. Give it room and permission."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
