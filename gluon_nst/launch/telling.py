"""What the processes of a cluster say to the person, or the log, that watches them."""

from __future__ import annotations

import contextlib
import sys

__all__ = ["say"]


def say(line: str) -> None:
    """Write a line to standard error, in one piece, since several processes share it.

    If nobody listens any more, as when an SSH connection is gone, it is not said: to end in order matters more.
    """
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
