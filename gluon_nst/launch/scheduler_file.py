"""The file in which a scheduler leaves its address."""

from __future__ import annotations

import json
import time
from pathlib import Path

__all__ = ["address_in"]

_LOOK_AGAIN = 0.1  # seconds between two looks for a scheduler file


def address_in(file: Path, until: float) -> str:
    """Return the address in a scheduler file, which may yet have to be written; Dask would wait for it for ever.

    Parameters
    ----------
    file
        Its path.
    until
        When to give up, on the clock of `time.monotonic`.

    Raises
    ------
    ValueError
        If there is no such file by then, or it is none.
    """
    while True:
        try:
            return str(json.loads(file.read_bytes())["address"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            if time.monotonic() > until:
                why = "it is no scheduler file" if file.exists() else "there is no such file"
                raise ValueError(why) from error
        time.sleep(_LOOK_AGAIN)
