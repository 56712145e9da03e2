"""The pictures among files, folders, globs and URLs, found one folder at a time."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Hashable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from gluon_nst.errors import ImageReadError
from gluon_nst.listing import Entry, folder_key, list_folder, look_up
from gluon_nst.storage import StrPath, exists, is_url, join

__all__ = ["PICTURE_SUFFIXES", "Source", "find_pictures"]

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")
"""Kinds of files taken from folders and globs, in capitals or small letters."""

_MAGIC = re.compile(r"[*?\[]")
_ANY_DEPTH = "**"


class Source(NamedTuple):
    """A picture that was found.

    Attributes
    ----------
    path
        Local path or full URL.
    relative
        The path, with ``/``, below the folder named or the fixed part of the glob: the tree that the output
        keeps. Of a file named by itself, its name.
    fingerprint
        Text that changes when the file does; empty if nothing tells, None if nobody looked.
    named
        Whether the file was named by itself, not found in a folder or by a glob.
    """

    path: str
    relative: str
    fingerprint: str | None
    named: bool = False


class _Input(NamedTuple):
    """An input: a file, a folder, or the folder at which a glob begins."""

    entry: Entry
    pattern: tuple[str, ...]


def find_pictures(inputs: Iterable[StrPath], *, skip: StrPath | None = None) -> Iterator[Source]:
    """Yield the pictures among files, folders and globs, local or URLs.

    Folders are searched to any depth, in the order of their names; hidden files and folders are left out, and
    links that lead back to a folder above. A glob knows ``*``, ``?``, ``[...]`` and ``**`` (folders to any
    depth), and tells capitals from small letters; a folder that it matches is searched. Whatever exists under
    exactly the name given is taken as that, not as a glob. A file named by itself is taken whatever its name.

    Parameters
    ----------
    inputs
        Paths and fsspec URLs.
    skip
        A folder whose content is left out where an input holds it: the output's.

    Raises
    ------
    ImageReadError
        Before anything else, if an input does not exist; in the end, if there was no picture in all of them.
    """
    given = [os.fspath(each) for each in inputs]
    roots = [_look_at(each) for each in given]
    return _found(given, roots, None if skip is None else folder_key(skip))


def _found(given: Sequence[str], roots: Sequence[_Input], skip: Hashable) -> Iterator[Source]:
    count = 0
    for root in roots:
        for source in _inside(root, skip):
            count += 1
            yield source
    if not count:
        raise ImageReadError(
            f"there is no picture in {', '.join(given) or 'no input at all'}; pictures end in "
            f"{', '.join(PICTURE_SUFFIXES)}."
        )


def _look_at(given: str) -> _Input:
    """Tell whether an input is a file, a folder or a glob.

    Raises
    ------
    ImageReadError
        If there is nothing, or it cannot be told.
    """
    try:
        return _Input(look_up(given), (_ANY_DEPTH,))
    except OSError as error:
        base, pattern = _split_glob(given)
        if not pattern:
            raise _missing(given, error) from error
    try:
        return _Input(look_up(base or "."), pattern)._replace(pattern=pattern)
    except OSError as error:
        raise _missing(given, error) from error


def _missing(given: str, error: OSError) -> ImageReadError:
    if isinstance(error, FileNotFoundError):
        return ImageReadError(f"there is no file or folder {given!r}.")
    return ImageReadError(f"{given!r} cannot be read: {error.strerror or error}.")


def _split_glob(given: str) -> tuple[str, tuple[str, ...]]:
    """Split a glob at its first part that is no name: ("photos", ("**", "*.jpg")).

    A part such as ``[2020]`` is a name if there is a file or folder of that name.
    """
    url, chain, rest = given.partition("::") if is_url(given) else (given, "", "")
    scheme, separator, path = url.rpartition("://")
    base, parts = scheme + separator + "/" * path.startswith("/"), [part for part in path.split("/") if part]
    for index, part in enumerate(parts):
        if _MAGIC.search(part) and not _exists(join(base, part) + chain + rest):
            return base + chain + rest, tuple(parts[index:])
        base = join(base, part)
    return given, ()


def _exists(path: str) -> bool:
    try:
        return exists(path)
    except OSError:
        return False


def _inside(root: _Input, skip: Hashable) -> Iterator[Source]:
    """Yield the pictures of one input."""
    entry = root.entry
    if not entry.is_folder:
        yield Source(entry.path, entry.name, entry.fingerprint, named=True)
        return
    barred = {folder_key(entry.path)}
    yield from _walk(entry.path, "", root.pattern, frozenset({0}), frozenset(barred), skip)


def _walk(
    folder: str, tree: str, pattern: Sequence[str], states: frozenset[int], above: frozenset[Hashable],
    skip: Hashable,
) -> Iterator[Source]:  # fmt: skip
    """Yield the pictures below a folder.

    Parameters
    ----------
    folder, tree
        Its path, and the path below the input's folder.
    pattern, states
        The glob's parts, and the numbers of those that may match what the folder holds.
    above
        Keys of the folder and those above it.
    skip
        Key of a folder to leave out.
    """
    for entry in _entries(folder):
        following = _advance(tuple(pattern), states, entry.name)
        if entry.name.startswith(".") or not following:
            continue
        relative = join(tree, entry.name)
        if not entry.is_folder:
            if len(pattern) in following and _is_picture(entry.name):
                yield Source(entry.path, relative, entry.fingerprint)
            continue
        key = folder_key(entry.path)
        if key in above or key == skip:
            continue
        if len(pattern) in following:  # a folder that the whole glob matches is searched
            yield from _walk(entry.path, relative, (_ANY_DEPTH,), frozenset({0}), above | {key}, skip)
        else:
            yield from _walk(entry.path, relative, pattern, following, above | {key}, skip)


def _entries(folder: str) -> Iterator[Entry]:
    try:
        yield from list_folder(folder)
    except OSError as error:
        raise ImageReadError(f"the folder {folder!r} cannot be read: {error.strerror or error}.") from error


@functools.lru_cache(maxsize=4096)  # most files of a folder differ, but its folders and states do not
def _closed(pattern: tuple[str, ...], states: frozenset[int]) -> frozenset[int]:
    """Add the states that are reached without a name: ``**`` also stands for no folder at all."""
    reached = set(states)
    for state in range(len(pattern)):
        if state in reached and pattern[state] == _ANY_DEPTH:
            reached.add(state + 1)
    return frozenset(reached)


def _advance(pattern: tuple[str, ...], states: frozenset[int], name: str) -> frozenset[int]:
    """Return the parts that may match what is below `name`; the number of parts itself: all are matched."""
    following = set()
    for state in _closed(pattern, states) - {len(pattern)}:
        if pattern[state] == _ANY_DEPTH:
            following.add(state)
        elif fnmatchcase(name, pattern[state]):
            following.add(state + 1)
    return _closed(pattern, frozenset(following))


def _is_picture(name: str) -> bool:
    return name.lower().endswith(PICTURE_SUFFIXES)
