"""How much memory a process may take, as a person writes it: `--max-memory`."""

from __future__ import annotations

import dataclasses
import os
import re

from gluon_nst.errors import UsageError

__all__ = ["SHARE_VARIABLE", "MemoryLimit", "parse_memory_limit"]

# Of what is free nine tenths are taken by default: what other programs will want in the meantime is unknown.
_SAFE = 0.9

SHARE_VARIABLE = "GLUON_NST_MEMORY_SHARE"
"""Environment variable with the part of that which is this process's: workers of one machine share its memory."""

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


@dataclasses.dataclass(frozen=True)
class MemoryLimit:
    """A limit in bytes, or, where that is 0, as a share of what the device has for this process."""

    size: int = 0
    share: float = _SAFE

    def of(self, room: int | None) -> int | None:
        """Return the limit in bytes, where the device has so many for this process; None if nobody knows."""
        if self.size:
            return self.size
        return None if room is None else int(self.share * room)


def parse_memory_limit(text: str) -> MemoryLimit:
    """Return the limit that a text means: "6GB", "500M", "6000000000" or "80%".

    An empty one means nine tenths of what is free, or of this process's share of it.

    Raises
    ------
    UsageError
        If it is none of these.
    """
    if not text:
        return MemoryLimit(share=_SAFE * float(os.environ.get(SHARE_VARIABLE, "1")))
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%|[KMGT]?)(i?B)?", text.strip(), re.IGNORECASE)
    number = float(match[1]) if match else 0.0
    percent = match is not None and match[2] == "%"
    if match is None or not number or (percent and (match[3] or number > 100)):
        raise UsageError(
            f"max-memory is {text!r}; it takes bytes, such as 6GB, 500M or 6000000000, or a share of what is free, "
            "such as 80%."
        )
    return MemoryLimit(share=number / 100) if percent else MemoryLimit(_bytes(number, match))


def _bytes(number: float, match: re.Match[str]) -> int:
    unit = _UNITS[match[2].upper()]
    binary = (match[3] or "").lower() == "ib"
    return max(1, int(number * (2 ** (10 * list(_UNITS.values()).index(unit)) if binary else unit)))
