"""How the process of a worker that has not joined the scheduler ends."""

from __future__ import annotations

__all__ = ["LEFT", "UNABLE"]

# EX_UNAVAILABLE and EX_TEMPFAIL of sysexits.h, which neither Python nor MXNet ends with on its own.
UNABLE, LEFT = 69, 75
