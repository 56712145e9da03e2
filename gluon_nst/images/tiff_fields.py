"""The directories of tagged fields that TIFF and EXIF share, read and written byte for byte.

TIFF 6.0, section 2, and Exif 2.32 (CIPA DC-008), sections 4.5 and 4.6. Pillow can do this too, but guesses
the types of most EXIF fields anew and turns every letter beyond ASCII into a question mark; a photographer's
name must survive.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

__all__ = [
    "LONG",
    "SHORT",
    "Field",
    "Fields",
    "Tree",
    "number",
    "pack_header",
    "pack_tree",
    "parse_tree",
    "reorder",
]

SHORT, LONG = 3, 4

# Type -> (bytes per value, bytes that swap together); rationals are two numbers of four bytes.
_TYPES = {
    1: (1, 1),
    2: (1, 1),
    3: (2, 2),
    4: (4, 4),
    5: (8, 4),
    6: (1, 1),
    7: (1, 1),
    8: (2, 2),
    9: (4, 4),
    10: (8, 4),
    11: (4, 4),
    12: (8, 8),
}
_EXIF_POINTER, _GPS_POINTER, _INTEROPERABILITY_POINTER = 0x8769, 0x8825, 0xA005


@dataclass(frozen=True)
class Field:
    """One field: its TIFF type, and its values as bytes in the order of its tree."""

    kind: int
    value: bytes


Fields = dict[int, Field]


@dataclass
class Tree:
    """The directories: of the picture (IFD0), of the photo (Exif), of the place (GPS), of interoperability.

    `order` is "<" (little-endian, "II") or ">" (big-endian, "MM"). The last is read and never written.
    """

    order: str = "<"
    image: Fields = field(default_factory=dict)
    photo: Fields = field(default_factory=dict)
    place: Fields = field(default_factory=dict)
    interoperability: Fields = field(default_factory=dict)


def parse_tree(data: bytes) -> Tree | None:
    """Read the directories of an EXIF block or of a TIFF file.

    Parameters
    ----------
    data : bytes
        From the byte-order mark on, with or without "Exif" and two zeros before it.

    Returns
    -------
    Tree or None
        What could be read: a field that points outside the data or has no known type is left out. None
        when it does not begin like a TIFF file, or nothing could be read.
    """
    while data.startswith(b"Exif\0\0"):
        data = data[6:]
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None or len(data) < 8:
        return None
    tree = Tree(order, _parse_fields(data, order, struct.unpack_from(order + "I", data, 4)[0]))
    tree.photo = _parse_fields(data, order, number(tree.image.pop(_EXIF_POINTER, None), order))
    tree.place = _parse_fields(data, order, number(tree.image.pop(_GPS_POINTER, None), order))
    interoperability = number(tree.photo.pop(_INTEROPERABILITY_POINTER, None), order)
    tree.interoperability = _parse_fields(data, order, interoperability)
    return tree if tree.image or tree.photo or tree.place else None


def number(entry: Field | None, order: str) -> int | None:
    """Return the first value of a SHORT or LONG field; None for any other."""
    layout = {SHORT: "H", LONG: "I"}.get(entry.kind) if entry is not None else None
    if entry is None or layout is None or len(entry.value) < struct.calcsize(layout):
        return None
    return int(struct.unpack_from(order + layout, entry.value)[0])


def _parse_fields(data: bytes, order: str, offset: int | None) -> Fields:
    fields: Fields = {}
    if offset is None or offset + 2 > len(data):
        return fields
    count = struct.unpack_from(order + "H", data, offset)[0]
    # Sane values do not overlap, so all of them fit in the data once: a bound for hostile directories.
    budget = len(data)
    for start in range(offset + 2, min(offset + 2 + 12 * count, len(data) - 11), 12):
        tag, entry = _parse_field(data, order, start, budget)
        if entry is not None:
            fields.setdefault(tag, entry)
            budget -= len(entry.value)
    return fields


def _parse_field(data: bytes, order: str, start: int, budget: int) -> tuple[int, Field | None]:
    tag, kind, count = struct.unpack_from(order + "HHI", data, start)
    size = count * _TYPES.get(kind, (0, 0))[0]
    at = start + 8 if size <= 4 else struct.unpack_from(order + "I", data, start + 8)[0]
    if not 0 < size <= budget or at + size > len(data):
        return tag, None
    return tag, Field(kind, data[at : at + size])


def reorder(tree: Tree, order: str) -> Tree:
    """Return the same fields in byte order `order`."""
    if tree.order == order:
        return tree
    parts = (
        {tag: _reversed(entry) for tag, entry in part.items()}
        for part in (tree.image, tree.photo, tree.place)
    )
    return Tree(order, *parts)


def _reversed(entry: Field) -> Field:
    unit = _TYPES[entry.kind][1]
    pieces = (entry.value[i : i + unit][::-1] for i in range(0, len(entry.value), unit))
    return Field(entry.kind, b"".join(pieces))


def pack_header(order: str, start: int) -> bytes:
    """Return the 8 bytes before everything else; `start` is where the first directory begins."""
    return {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", start)


def pack_tree(tree: Tree, start: int) -> bytes:
    """Write the directories of a tree, one after the other.

    Parameters
    ----------
    tree : Tree
        What to write.
    start : int
        Where in the file the first byte will be; even.

    Returns
    -------
    bytes
        The directories with their values. The first has no successor (no thumbnail).
    """
    children = {_EXIF_POINTER: tree.photo, _GPS_POINTER: tree.place}
    pointers = {tag: Field(LONG, bytes(4)) for tag, fields in children.items() if fields}
    end = start + len(_pack_fields({**tree.image, **pointers}, tree.order, start))
    blocks = b""
    for tag in pointers:
        at = end + len(blocks)
        pointers[tag] = Field(LONG, struct.pack(tree.order + "I", at))
        blocks += _pack_fields(children[tag], tree.order, at)
    return _pack_fields({**tree.image, **pointers}, tree.order, start) + blocks


def _pack_fields(fields: Fields, order: str, start: int) -> bytes:
    table = struct.pack(order + "H", len(fields))
    heap = b""
    heap_start = start + 2 + 12 * len(fields) + 4
    for tag, entry in sorted(fields.items()):
        table += struct.pack(order + "HHI", tag, entry.kind, len(entry.value) // _TYPES[entry.kind][0])
        if len(entry.value) <= 4:
            table += entry.value.ljust(4, b"\0")
        else:
            table += struct.pack(order + "I", heap_start + len(heap))
            heap += entry.value + bytes(len(entry.value) % 2)  # values begin at even offsets
    return table + bytes(4) + heap
