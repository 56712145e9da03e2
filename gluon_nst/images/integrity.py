"""Damage that Pillow's decoders do not see.

A download that stopped and was filled up with zeros, as some tools do, decodes without complaint when the
decoder happens to make something of the zeros. Two formats let one tell.
"""

from __future__ import annotations

import zlib

__all__ = ["find_damage"]


def find_damage(kind: str | None, data: bytes, pixels_start: int) -> str | None:
    """Look for damage in a file whose header is sound.

    Parameters
    ----------
    kind : str
        Pillow's name of the format; only JPEG and PNG are looked into.
    data : bytes
        The whole file.
    pixels_start : int
        Where a JPEG's first scan begins: its thumbnail, which has an end marker too, lies before.

    Returns
    -------
    str or None
        What is wrong.
    """
    if kind == "JPEG" and data.find(b"\xff\xd9", pixels_start) < 0:
        return "the JPEG has no end marker, so it was cut off"
    if kind == "PNG" and not _checksums_match(data):
        return "a PNG checksum does not match its data"
    return None


def _checksums_match(data: bytes) -> bool:
    """Hold the pixel chunks of a PNG against their checksums; Pillow checks those of the others."""
    start = 8
    while start + 12 <= len(data):
        end = start + 8 + int.from_bytes(data[start : start + 4], "big")
        if data[start + 4 : start + 8] == b"IDAT":
            stored = int.from_bytes(data[end : end + 4], "big")
            if zlib.crc32(memoryview(data)[start + 4 : end]) != stored:
                return False
        start = end + 4
    return True
