"""The file that lists the jobs of a batch, one in a row.

Columns:

content
    Path or URL of the content image.
style, styles
    One style image, its path as it is; or several in JSON: ``["a.jpg", "b.jpg"]``, ``{"a.jpg": 2, "b.jpg": 1}``
    with weights, or ``[{"style": "a.jpg", "weight": 2}, ...]``. Left out, the batch's own styles are meant.
output
    Path below the output directory; left out, it is made by the batch's name template.
recipe
    Name or TOML file of a recipe, instead of the batch's.
size, steps, and any field of the recipe
    As ``--size``, ``--steps`` and ``--set`` take them.

Relative paths of images and recipes begin at the manifest's folder, those of standard input at the working
directory. An empty cell says nothing. The columns in which ``failed.csv`` says what went wrong are ignored, so it
is a manifest too.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gluon_nst.batch.columns import check_columns, check_header, settings_in
from gluon_nst.batch.naming import place_output
from gluon_nst.batch.row_recipes import RowRecipes, is_unset
from gluon_nst.batch.row_styles import read_styles
from gluon_nst.batch.tables import STANDARD_INPUT, Record, Table, read_table
from gluon_nst.errors import ManifestError, UsageError
from gluon_nst.images.write import OUTPUT_FORMATS
from gluon_nst.recipe import Recipe
from gluon_nst.storage import StrPath, absolute, exists, is_url, join

__all__ = ["Row", "read_manifest"]

_REPORTED = 20  # bad rows reported at once: a screenful


class Row(NamedTuple):
    """A job as a manifest asks for it.

    Attributes
    ----------
    line
        Line of the file, or row of a Parquet file, from 1.
    origin
        The same for a person: "line 12 of jobs.csv".
    content, styles, blend
        As in `gluon_nst.jobs.Job`. No styles: the batch's own.
    relative
        Path of the content to keep in the output: as given if it lies below the manifest, else its name.
    output
        Path or URL in the output directory; None if the row does not say.
    recipe
        The batch's recipe or another one, with the row's changes.
    """

    line: int
    origin: str
    content: str
    relative: str
    styles: tuple[str, ...]
    blend: tuple[float, ...]
    output: str | None
    recipe: Recipe


def read_manifest(
    path: StrPath, *, recipe: Recipe, output: StrPath, needs_style: bool = True
) -> Iterator[Row]:
    """Yield the rows of a manifest, as they are read.

    Parameters
    ----------
    path
        A local path, an fsspec URL, or ``-``, as `gluon_nst.batch.tables.read_table` takes it.
    recipe
        The batch's recipe.
    output
        The output directory.
    needs_style
        Whether a row without a style is wrong.

    Raises
    ------
    ManifestError
        At once if it cannot be opened or a column is wrong. At the first row that is wrong, together with the
        wrong ones that follow it, up to 20.
    """
    name = os.fspath(path)
    table = read_table(path)
    try:
        check_header(table.columns, name)
    except ManifestError:
        table.close()
        raise
    reader = _RowReader(table.unit, name, recipe, os.fspath(output), needs_style)
    return _rows(table, reader, name)


def _rows(table: Table, reader: _RowReader, name: str) -> Iterator[Row]:
    problems: list[str] = []
    number = 0
    with contextlib.closing(table):
        for record in table.records:
            number = record.number
            try:
                row = reader.read(record)
            except UsageError as error:
                problems.append(f"{reader.where(record)}: {error}")
                if len(problems) == _REPORTED:
                    break
                continue
            if not problems:
                yield row
    if problems:
        raise ManifestError(_report(problems, name))
    if not number:
        raise ManifestError(f"the manifest {name!r} has no rows.")


def _report(problems: Sequence[str], name: str) -> str:
    if len(problems) == 1:
        return problems[0]
    count = f"the first {len(problems)}" if len(problems) == _REPORTED else str(len(problems))
    return "\n  ".join([f"{name} has rows that cannot be used, here {count}:", *problems])


class _RowReader:
    """Makes rows of records, with what is the same for all of them."""

    def __init__(self, unit: str, name: str, recipe: Recipe, output: str, needs_style: bool) -> None:
        self._unit = unit
        self._name = "standard input" if name == STANDARD_INPUT else name
        self._output = output
        self._needs_style = needs_style
        self._folder = _folder_of(name)
        self._recipes = RowRecipes(recipe, self._folder)

    def where(self, record: Record) -> str:
        """Return "line 12 of jobs.csv"."""
        return f"{self._unit} {record.number} of {self._name}"

    def read(self, record: Record) -> Row:
        """Return the row that a record means.

        Raises
        ------
        UsageError
            If it cannot be read or meant.
        """
        if record.problem:
            raise ManifestError(record.problem)
        check_columns(tuple(record.values))
        values = {column: value for column, value in record.values.items() if not is_unset(value)}
        content = _text(values, "content")
        if content is None:
            raise ManifestError("it has no content; give the path of a picture.")
        styles, blend = read_styles(values.get("style"), values.get("styles"))
        if self._needs_style and not styles:
            raise ManifestError("it has no style; give the path of a picture.")
        self._check_encoding(content, *styles)
        return Row(
            record.number, self.where(record), self._placed(content), _tree(content),
            tuple(map(self._placed, styles)), blend, self._target(_text(values, "output")),
            self._recipes.get(_text(values, "recipe"), settings_in(values)),
        )  # fmt: skip

    def _placed(self, path: str) -> str:
        if is_url(path) or path.startswith("/"):
            return path
        return absolute(join(self._folder, path))

    def _check_encoding(self, *paths: str) -> None:
        """Refuse what is no UTF-8, unless it is the name of a file, which on Unix may be any bytes."""
        for path in paths:
            if not path.isascii() and not _is_unicode(path) and not exists(self._placed(path)):
                raise ManifestError(
                    f"{path.encode('utf-8', 'surrogateescape')!r} is no UTF-8; save the manifest as UTF-8."
                )

    def _target(self, output: str | None) -> str | None:
        if output is None:
            return None
        placed = place_output(self._output, output)
        if posixpath.splitext(output)[1].lower() not in OUTPUT_FORMATS:
            raise ManifestError(
                f"the output {output!r} has no ending of a picture; it takes {', '.join(OUTPUT_FORMATS)}."
            )
        return placed


def _folder_of(name: str) -> str:
    """Return where a manifest lies; for one on standard input, the working directory."""
    if name == STANDARD_INPUT or not is_url(name):
        return os.fspath(Path(absolute(name)).parent)
    first, chain, rest = name.partition("::")
    return first.rpartition("/")[0] + chain + rest


def _text(values: Mapping[str, Any], column: str) -> str | None:
    value = values.get(column)
    if value is not None and not isinstance(value, str):
        raise ManifestError(f"{column} is {value!r}; it takes text.")
    return value


def _tree(content: str) -> str:
    """Return the path that the output keeps."""
    path = posixpath.normpath(content)
    inside = not is_url(content) and not path.startswith(("/", "../"))
    return path if inside else content.partition("::")[0].rpartition("/")[2]


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
