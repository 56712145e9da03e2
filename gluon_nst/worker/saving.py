"""Write a result where it belongs, with some patience: minutes of work hang on it."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import PurePosixPath

from gluon_nst import storage
from gluon_nst.batch.blame import kind_of
from gluon_nst.batch.outcomes import Kind
from gluon_nst.errors import OutputError
from gluon_nst.result import Result

__all__ = ["save"]

# Seconds to wait before the second and third try: lost connections and throttled stores mostly come back.
_PAUSES = (1.0, 4.0)


def save(result: Result, path: str | os.PathLike[str]) -> tuple[int, str]:
    """Write a picture with its provenance; return its length in bytes and its sha256.

    Raises
    ------
    OutputError
        If it cannot be encoded, or not written in three tries.
    """
    data = result.encode(PurePosixPath(os.fspath(path)).suffix)
    for pause in (*_PAUSES, None):
        try:
            storage.write_bytes(path, data)
            break
        except OutputError as error:
            if pause is None or kind_of(error) is not Kind.PASSING:
                raise
            time.sleep(pause)
    return len(data), hashlib.sha256(data).hexdigest()
