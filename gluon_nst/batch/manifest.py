"""The file that lists the jobs of a batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from gluon_nst.recipe import Recipe
from gluon_nst.storage import StrPath

__all__ = ["Row", "read_manifest"]


class Row(NamedTuple):
    """One line of a manifest."""

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
    """Yield the rows of a manifest."""
    raise NotImplementedError
