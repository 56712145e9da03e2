"""The columns that a manifest may have."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from gluon_nst.errors import ManifestError, UsageError, did_you_mean
from gluon_nst.recipe import field_names

__all__ = ["IGNORED_COLUMNS", "check_columns", "check_header", "settings_in"]

IGNORED_COLUMNS = frozenset(
    {
        "", "job_id", "status", "seconds", "stop_reason", "losses", "width", "height", "bytes", "sha256",
        "error_type", "error", "aside", "notes", "worker", "attempts", "finished_at",
    }
)  # fmt: skip
"""Columns that say what became of a job."""

_OWN_COLUMNS = ("content", "style", "styles", "output", "recipe")
_SETTINGS = frozenset(field_names()) - {"name", "description"}


def check_header(columns: Sequence[str] | None, name: str) -> None:
    """Check the columns of a manifest; None where every row has its own.

    Raises
    ------
    ManifestError
        On an unknown or doubled column, or if there is none for the content.
    """
    if columns is None:
        return
    try:
        check_columns(tuple(columns))
        doubled = sorted({column for column in columns if column and columns.count(column) > 1})
        if doubled:
            raise ManifestError(
                f"there are several columns {', '.join(map(repr, doubled))}; keep one of each."
            )
        if "content" not in columns:
            raise ManifestError(f"there is no column 'content'; the columns are {', '.join(columns)}.")
    except UsageError as error:
        raise ManifestError(f"line 1 of {name}: {error}") from error


@functools.lru_cache(maxsize=256)  # rows of JSON Lines mostly have the same columns
def check_columns(columns: tuple[str, ...]) -> None:
    """Raise ManifestError if there is a column that no manifest has."""
    known = {*_OWN_COLUMNS, *_SETTINGS}
    for column in columns:
        if column.partition(".")[0] not in known and column not in IGNORED_COLUMNS:
            raise ManifestError(
                f"there is no column {column!r} in a manifest.{did_you_mean(column, known)} Columns are "
                f"{', '.join(_OWN_COLUMNS)}, size, steps and any field of a recipe, separated by commas."
            )


def settings_in(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a row that change its recipe."""
    return {column: value for column, value in values.items() if column.partition(".")[0] in _SETTINGS}
