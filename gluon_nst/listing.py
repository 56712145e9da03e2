"""What a folder holds, and what tells that a file has changed: local, or on any fsspec file system.

Listings are never taken from fsspec's cache, and never left in it: a folder may hold a million files.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import fsspec

from gluon_nst.storage import StrPath, as_os_error, join, resolve

__all__ = ["Entry", "fingerprint", "folder_key", "list_folder", "look_up"]

# Where file systems put a digest, and where a time of change (s3fs, gcsfs, adlfs; memory, sftp, zip, ...).
_DIGESTS = ("ETag", "etag", "md5Hash", "content_md5")
_TIMES = ("LastModified", "last_modified", "mtime", "updated", "modified", "created", "date_time", "CRC")


class Entry(NamedTuple):
    """A file or folder.

    Attributes
    ----------
    path
        Local path or full URL.
    name
        Last part of the path.
    is_folder
        Whether it is a folder; symbolic links are followed.
    fingerprint
        Text that changes when the file does; empty for folders, and where nothing tells.
    """

    path: str
    name: str
    is_folder: bool
    fingerprint: str


def list_folder(path: StrPath) -> Iterator[Entry]:
    """Yield what a folder holds, sorted by name.

    Only names are held for the whole folder when it is local. What is neither file nor folder (pipes, sockets,
    links that point nowhere) is left out, as is what vanishes meanwhile.

    Raises
    ------
    OSError
        If the folder cannot be read.
    """
    system, name = resolve(path)
    if system is None:
        return _list_local(name)
    return _list_remote(system, name, os.fspath(path))


def look_up(path: StrPath) -> Entry:
    """Return the entry of one file or folder: one request on an object store.

    Raises
    ------
    OSError
        `FileNotFoundError` if there is none; any other if it cannot be told.
    """
    text = os.fspath(path)
    system, name = resolve(path)
    if system is None:
        status = Path(name).stat()
        is_folder = stat.S_ISDIR(status.st_mode)
        return Entry(name, Path(name).name, is_folder, "" if is_folder else _local_fingerprint(status))
    try:
        system.invalidate_cache(name)
        info = system.info(name)
    except Exception as error:
        raise as_os_error(error, path) from error
    return _entry(info, text, text.partition("::")[0].rstrip("/").rpartition("/")[2])


def fingerprint(path: StrPath) -> str:
    """Return text that changes when the file does: size and time of change, or an object store's ETag.

    Raises
    ------
    OSError
        As `look_up`.
    """
    return look_up(path).fingerprint


def folder_key(path: StrPath) -> Hashable:
    """Return what is equal for two names of the same folder, however many links lead to it."""
    system, name = resolve(path)
    if system is not None:
        return os.fspath(path).rstrip("/")
    try:
        status = Path(name).stat()
    except OSError:
        return os.path.realpath(name)
    return status.st_dev, status.st_ino


def _list_local(folder: str) -> Iterator[Entry]:
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries)
    for name in names:
        path = join(folder, name)
        try:
            status = os.stat(path)  # noqa: PTH116 (called for every file of a collection)
        except OSError:
            continue
        if stat.S_ISDIR(status.st_mode):
            yield Entry(path, name, True, "")
        elif stat.S_ISREG(status.st_mode):
            yield Entry(path, name, False, _local_fingerprint(status))


def _list_remote(system: fsspec.AbstractFileSystem, folder: str, url: str) -> Iterator[Entry]:
    try:
        system.invalidate_cache(folder)
        infos = system.ls(folder, detail=True)
        system.invalidate_cache(folder)
    except Exception as error:
        raise as_os_error(error, url) from error
    own = folder.strip("/")
    named = ((info["name"].rstrip("/").rpartition("/")[2], info) for info in infos)
    # Object stores list the marker of an empty folder, and a file as if it were a folder of itself.
    found = [_entry(info, join(url, name), name) for name, info in named if info["name"].strip("/") != own]
    return iter(sorted(found, key=lambda entry: entry.name))


def _entry(info: Mapping[str, Any], url: str, name: str) -> Entry:
    is_folder = info.get("type") == "directory"
    return Entry(url, name, is_folder, "" if is_folder else _remote_fingerprint(info))


def _local_fingerprint(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}"


def _remote_fingerprint(info: Mapping[str, Any]) -> str:
    for key in _DIGESTS:
        if info.get(key):
            return str(info[key]).strip('"')
    parts = [info.get("size"), *(info[key] for key in _TIMES if info.get(key))]
    return "-".join(str(part) for part in parts if part is not None)
