"""What an error says of whose fault it was."""

from __future__ import annotations

import errno

from gluon_nst.batch.outcomes import Kind
from gluon_nst.errors import DeviceError, ImageReadError, ImageSizeError, Interrupted, OutputError, UsageError
from gluon_nst.storage import may_pass

__all__ = ["kind_of"]

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})

# What the same call would meet again on this worker, though another one may see the file or may write.
_ANOTHER_WORKER_MAY = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EROFS})

_OWN_FAULT = (ImageReadError, ImageSizeError, OutputError, UsageError)


def kind_of(error: BaseException) -> Kind:
    """Tell whose fault an error is, as far as one worker can know.

    A missing file is in doubt, not the job's own fault: a worker whose storage is not mounted misses them all.
    """
    if isinstance(error, Interrupted):
        return Kind.UNSTARTED
    number = _errno(error)
    if number in _NO_SPACE:
        return Kind.HALT
    if number in _ANOTHER_WORKER_MAY:
        return Kind.DOUBT
    if may_pass(error):
        return Kind.PASSING
    return Kind.FAULT if isinstance(error, _OWN_FAULT) and not isinstance(error, DeviceError) else Kind.DOUBT


def _errno(error: BaseException) -> int | None:
    source = error if isinstance(error, OSError) else error.__cause__
    if isinstance(source, FileNotFoundError):
        return errno.ENOENT  # object stores raise it without a number
    return source.errno if isinstance(source, OSError) else None
