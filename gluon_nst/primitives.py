"""What MXNet keeps of oneDNN for each shape that it has met, and how it is let go of.

MXNet 1.9.1 keeps every primitive that oneDNN makes for an operator, with the memory that it works in, in the thread of
the engine that ran it, as long as that lives: for each new shape of image some 250 bytes a pixel in bfloat16 and 110 in
float32 (benchmarks/README.md). Its own remedy, ``MXNET_MKLDNN_CACHE_NUM``, throws out of a full cache what came last,
so that new shapes are then made anew in every step. But before a process forks MXNet ends those threads, and begins new
ones after it; the two functions that do so are called here, without a fork.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterator

__all__ = ["at_work", "drop_primitives"]

_END_THREADS, _BEGIN_THREADS = "_ZN5mxnet22pthread_atfork_prepareEv", "_ZN5mxnet21pthread_atfork_parentEv"

_gate = threading.Lock()
_working: set[int] = set()


@contextlib.contextmanager
def at_work() -> Iterator[None]:
    """Mark this thread as one that uses MXNet's engine, which then is left running for it."""
    me = threading.get_ident()
    with _gate:
        outermost = me not in _working
        _working.add(me)
    try:
        yield
    finally:
        if outermost:
            with _gate:
                _working.discard(me)


def drop_primitives(library: ctypes.CDLL) -> bool:
    """Let go of all primitives; return whether it was done. The engine must be idle.

    It is not done while another thread is at work, nor with a build of MXNet that does not show the two functions.

    Parameters
    ----------
    library
        MXNet, loaded.
    """
    with _gate:
        if _working - {threading.get_ident()}:
            return False
        try:
            functions = [getattr(library, name) for name in (_END_THREADS, _BEGIN_THREADS)]
        except AttributeError:
            return False
        for function in functions:
            function.restype = None
            function()
        return True
