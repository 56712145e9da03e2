"""The Adobe RGB (1998) profile, for cameras that only name it.

By DCF 2.0 (CIPA DC-009), a camera set to Adobe RGB embeds no ICC profile: it writes the interoperability
index "R03" into EXIF, and the reader is to know the rest. Read as sRGB, such photos look dull.
"""

from __future__ import annotations

import struct
from functools import lru_cache

__all__ = ["adobe_rgb_profile"]

# Adobe RGB (1998) Color Image Encoding, 2005-05: primaries (0.64, 0.33), (0.21, 0.71), (0.15, 0.06), white
# D65, here as XYZ adapted to D50 by the Bradford matrix as ICC profiles want them; gamma 2 + 51/256.
_COLORANTS = {
    b"rXYZ": (0.60974, 0.31111, 0.01947),
    b"gXYZ": (0.20528, 0.62567, 0.06087),
    b"bXYZ": (0.14919, 0.06322, 0.74457),
}
_GAMMA = 0x0233
_D50 = (0.9642, 1.0, 0.8249)
_NAME = b"Adobe RGB (1998)\0"


@lru_cache(maxsize=1)
def adobe_rgb_profile() -> bytes:
    """Return an ICC profile (version 2.1, matrix and gamma; ICC.1:1998-09) of Adobe RGB (1998)."""
    curve = struct.pack(">4s4xIH2x", b"curv", 1, _GAMMA)
    # A description carries its text again in Unicode (none) and in 67 bytes of Macintosh script (none).
    description = struct.pack(">4s4xI", b"desc", len(_NAME)) + _NAME + bytes(8 + 3 + 67)
    tags = {b"desc": description, b"cprt": b"text\0\0\0\0Public domain\0", b"wtpt": _xyz_tag(_D50)}
    tags |= {key: _xyz_tag(value) for key, value in _COLORANTS.items()}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    return _profile(tags)


def _xyz(value: tuple[float, float, float]) -> bytes:
    return struct.pack(">3i", *(round(part * 65536) for part in value))


def _xyz_tag(value: tuple[float, float, float]) -> bytes:
    return b"XYZ \0\0\0\0" + _xyz(value)


def _profile(tags: dict[bytes, bytes]) -> bytes:
    table = struct.pack(">I", len(tags))
    body = b""
    for key, value in tags.items():
        table += struct.pack(">4sII", key, 128 + 4 + 12 * len(tags) + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    size = 128 + len(table) + len(body)
    head = struct.pack(">I4xI4s4s4s", size, 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + _xyz(_D50)
    return head.ljust(128, b"\0") + table + body
