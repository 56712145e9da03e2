"""Parts of a collection that are run apart: which of them an output belongs to."""

from __future__ import annotations

import os
import zlib

from gluon_nst.storage import is_url

__all__ = ["in_shard", "same_name"]


def in_shard(output: str, shard: tuple[int, int] | None) -> bool:
    """Return whether a job with this output belongs to a part, (K, N) with K from 1; None is the whole.

    By the output, so that two jobs that would write the same file meet in one part, where they are refused. It
    depends on no other job: a part stays the same as the collection grows.
    """
    if shard is None:
        return True
    number, count = shard
    return zlib.crc32(same_name(output).encode("utf-8", "surrogatepass")) % count + 1 == number


def same_name(output: str) -> str:
    """Return one spelling for all names of a file, as far as that can be told without asking the disk."""
    return output if is_url(output) else os.path.normpath(output)
