"""Paths and URLs as text; nothing is looked up."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias

__all__ = ["StrPath", "absolute", "is_url", "join"]

StrPath: TypeAlias = "str | os.PathLike[str]"


def is_url(path: StrPath) -> bool:
    """Return whether a path is a URL: ``scheme://...``."""
    return "://" in os.fspath(path)


def absolute(path: StrPath) -> str:
    """Return a local path that means the same from any working directory; a URL as it is.

    Links are not followed and ``..`` stays: behind a link it means another folder than it seems to.
    """
    return os.fspath(path) if is_url(path) else os.fspath(Path(path).absolute())


def join(base: StrPath, *parts: str) -> str:
    """Return a path or URL below `base`; empty parts are left out, parts may hold ``/``.

    What follows ``::`` in a chained URL (``zip://folder::file.zip``) stays last.
    """
    first, chain, rest = os.fspath(base).partition("::") if is_url(base) else (os.fspath(base), "", "")
    for part in filter(None, parts):
        first = part if not first else f"{first}{part}" if first.endswith("/") else f"{first}/{part}"
    return first + chain + rest
