"""The most memory that this process has taken."""

from __future__ import annotations

import resource
from pathlib import Path

__all__ = ["peak_memory"]


def peak_memory() -> int:
    """Return the most bytes that this process has had resident."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    # On Linux this would count the process that this one was started from too.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
