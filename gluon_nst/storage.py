"""Every byte that comes in or goes out: local paths and fsspec URLs (s3://, gs://, memory://, ...).

A finished output is complete or absent. On a local disk it is written under a temporary name in the same
directory, forced to the disk, and renamed; on any other file system it is one PUT, which object stores do
whole.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import tempfile
import time
import uuid
from pathlib import Path
from typing import BinaryIO, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from gluon_nst.errors import OutputError
from gluon_nst.paths import StrPath, absolute, is_url, join

__all__ = [
    "StrPath",
    "absolute",
    "as_os_error",
    "check_writable",
    "exists",
    "is_url",
    "join",
    "may_pass",
    "open_binary",
    "read_bytes",
    "read_start",
    "remove",
    "resolve",
    "sweep",
    "write_bytes",
]

# Failures that the same call would meet again, whoever makes it and however often.
_LASTING = frozenset(
    {
        errno.ENOENT,
        errno.EISDIR,
        errno.ENOTDIR,
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENAMETOOLONG,
        errno.EINVAL,
        errno.ELOOP,
        errno.EPROTONOSUPPORT,
    }
)
_LASTING_KINDS = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
# Names of files that are being written.
_PART = re.compile(r"\.[0-9a-f]{32}\.part")
_READ_ONLY_PROTOCOLS = frozenset({"http", "https"})


def read_bytes(path: StrPath) -> bytes:
    """Read a whole file.

    Parameters
    ----------
    path : str or os.PathLike
        A local path or an fsspec URL.

    Returns
    -------
    bytes
        The content; may be empty.

    Raises
    ------
    OSError
        If it cannot be read, whatever the file system raised. The caller says what the file was for.
    """
    system, name = resolve(path)
    if system is None:
        return Path(name).read_bytes()
    try:
        return bytes(system.cat_file(name))
    except Exception as error:
        raise as_os_error(error, path) from error


def read_start(path: StrPath, length: int) -> bytes:
    """Read the first bytes of a file: one range request on an object store.

    Parameters
    ----------
    path : str or os.PathLike
        A local path or an fsspec URL.
    length : int
        Bytes wanted; fewer come back when the file is shorter.

    Raises
    ------
    OSError
        As `read_bytes` does.
    """
    system, name = resolve(path)
    if system is None:
        with Path(name).open("rb") as file:
            return file.read(length)
    try:
        return bytes(system.cat_file(name, start=0, end=length))
    except FileNotFoundError:
        raise
    except Exception:
        # An object store refuses any range of an empty object, a web server may refuse ranges at all.
        return read_bytes(path)[:length]


def open_binary(path: StrPath) -> BinaryIO:
    """Open a file for reading piece by piece.

    Raises
    ------
    OSError
        As `read_bytes` does.
    """
    system, name = resolve(path)
    if system is None:
        return Path(name).open("rb")
    try:
        return cast(BinaryIO, system.open(name, "rb"))
    except Exception as error:
        raise as_os_error(error, path) from error


def exists(path: StrPath) -> bool:
    """Return whether there is a file or folder; a link that points nowhere counts as none.

    Raises
    ------
    OSError
        If the file system cannot say.
    """
    system, name = resolve(path)
    if system is None:
        return os.path.exists(name)  # noqa: PTH110 (false, not an error, for names too long)
    try:
        system.invalidate_cache(name)
        return bool(system.exists(name))
    except Exception as error:
        raise as_os_error(error, path) from error


def remove(path: StrPath) -> None:
    """Remove a file; none there is no error.

    Raises
    ------
    OSError
        If it cannot be removed.
    """
    system, name = resolve(path)
    try:
        if system is None:
            Path(name).unlink()
        else:
            system.rm_file(name)
    except FileNotFoundError:
        return
    except Exception as error:
        raise as_os_error(error, path) from error


def sweep(folder: StrPath, *, older_than: float = 0.0) -> int:
    """Remove what writers that were killed left half done in a local folder; return how much that was.

    Parameters
    ----------
    folder
        A local folder; one that is not there, and URLs, hold nothing of the kind.
    older_than
        Seconds since the last change: younger files may be somebody's work in hand.
    """
    removed = 0
    if is_url(folder):
        return removed
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _PART.fullmatch(entry.name) and time.time() - entry.stat().st_mtime >= older_than:
                Path(entry.path).unlink(missing_ok=True)
                removed += 1
    return removed


def write_bytes(path: StrPath, data: bytes) -> None:
    """Write a whole file, so that it is there complete or not at all.

    Missing local parent directories are made. An existing file is replaced; what a symbolic link points to
    is replaced, not the link. When a local write fails or is interrupted, even by Ctrl-C, the temporary
    file is removed.

    Parameters
    ----------
    path : str or os.PathLike
        A local path or an fsspec URL.
    data : bytes
        The content.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    try:
        system, name = resolve(path)
        if system is None:
            _replace_file(Path(os.path.realpath(name)), data)
        else:
            _put(system, name, data)
    except OSError as error:
        raise OutputError(f"cannot write {os.fspath(path)}: {_reason(error)}") from error


def check_writable(path: StrPath) -> None:
    """Raise now what `write_bytes` would raise after minutes of work, as far as it can be known.

    A local directory is tried with a file that has no name. Of a URL only the protocol is checked.

    Parameters
    ----------
    path : str or os.PathLike
        Where something is to be written.

    Raises
    ------
    OutputError
        If `path` is a directory, its parent can be neither used nor made, or the place is read-only.
    """
    try:
        system, name = resolve(path)
        if system is None:
            _try_folder(Path(os.path.realpath(name)))
        elif _READ_ONLY_PROTOCOLS.intersection(_protocols(system)):
            raise OSError(errno.EROFS, "web addresses can be read but not written")
    except OSError as error:
        raise OutputError(f"cannot write {os.fspath(path)}: {_reason(error)}") from error


def may_pass(error: BaseException) -> bool:
    """Return whether an error comes from storage and the same call may succeed later.

    Parameters
    ----------
    error : BaseException
        An `OSError` of `read_bytes`, or an error of this package raised from one.

    Returns
    -------
    bool
        True for timeouts, I/O errors, full disks and lost connections. False for files that are missing,
        directories, permissions and damaged content.
    """
    source = error if isinstance(error, OSError) else error.__cause__
    return isinstance(source, OSError) and source.errno is not None and source.errno not in _LASTING


def resolve(path: StrPath) -> tuple[fsspec.AbstractFileSystem | None, str]:
    """Return the file system (None for the local one) and the path in it.

    Raises
    ------
    OSError
        If no installed file system knows the URL.
    """
    text = os.fspath(path)
    if "\0" in text:
        raise OSError(errno.EINVAL, "a path cannot hold a zero byte")
    if not is_url(text):
        return None, text
    try:
        system, name = fsspec.core.url_to_fs(text)
    except (ValueError, ImportError) as error:
        raise OSError(errno.EPROTONOSUPPORT, f"{error} (in {text})") from error
    except Exception as error:
        raise as_os_error(error, text) from error
    return (None if isinstance(system, LocalFileSystem) else system), name


def _protocols(system: fsspec.AbstractFileSystem) -> tuple[str, ...]:
    names = system.protocol
    return (names,) if isinstance(names, str) else tuple(names)


def as_os_error(error: Exception, path: StrPath) -> OSError:
    """Return what a file system plugin raised as an `OSError`; each has its own family of errors."""
    if isinstance(error, OSError) and (error.errno is not None or isinstance(error, _LASTING_KINDS)):
        return error
    return OSError(errno.EIO, f"{type(error).__name__}: {error}", os.fspath(path))


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _put(system: fsspec.AbstractFileSystem, name: str, data: bytes) -> None:
    try:
        system.pipe_file(name, data)
    except Exception as error:
        raise as_os_error(error, name) from error


def _replace_file(target: Path, data: bytes) -> None:
    _refuse_non_file(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    # A short name of its own: the target's name may be as long as the file system allows.
    temporary = target.parent / f".{uuid.uuid4().hex}.part"  # see _PART
    try:
        _write_through(temporary, data)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _write_through(path: Path, data: bytes) -> None:
    """Create `path`, write, and wait until the disk has it."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _refuse_non_file(target: Path) -> None:
    """Raise unless `target` is a plain file or nothing: a rename would replace a device such as /dev/null."""
    try:
        mode = target.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a directory; give a file name in it")
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is not a plain file")


def _try_folder(target: Path) -> None:
    """Raise unless a file can be made in the nearest directory above `target` that exists."""
    _refuse_non_file(target)
    folder = target.parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is not a directory")
    with tempfile.TemporaryFile(dir=folder):
        pass
