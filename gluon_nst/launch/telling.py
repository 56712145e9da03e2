"""What the processes of a cluster say to the person, or the log, that watches them."""

from __future__ import annotations

import sys

__all__ = ["say"]


def say(line: str) -> None:
    """Write a line to standard error, in one piece, since several processes share it."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
