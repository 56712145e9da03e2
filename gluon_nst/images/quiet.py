"""Pillow's warnings, held back while it decodes.

Pillow warns about odd tags, odd palettes and large pictures through Python's process-wide warning filters.
This program says what it has to say in errors and notes instead. `warnings.catch_warnings` alone is not safe
in threads: the last to leave may restore another's filters for good. So the first thread in sets the filters,
and the last one out restores them.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

__all__ = ["pillow_warnings_off"]

_lock = threading.Lock()
_inside = 0
_saved: warnings.catch_warnings[None] | None = None


@contextmanager
def pillow_warnings_off() -> Iterator[None]:
    """Hold back the warnings that come from Pillow, and no others, in this block."""
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _inside, _saved
    with _lock:
        _inside += 1
        if _inside == 1:
            _saved = warnings.catch_warnings()
            _saved.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)


def _leave() -> None:
    global _inside, _saved
    with _lock:
        _inside -= 1
        if _inside == 0 and _saved is not None:
            _saved.__exit__(None, None, None)
            _saved = None
