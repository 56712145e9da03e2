"""EXIF: what of a photo's metadata goes on into the stylized picture.

Kept: who, when, with which camera, lens and exposure. Dropped: what would be false or broken in the new
picture (orientation, size, thumbnail, color space, places in the frame, the maker's private note), and GPS
unless asked for.
"""

from __future__ import annotations

import struct

from gluon_nst.images.tiff_fields import (
    LONG,
    SHORT,
    Field,
    Fields,
    Tree,
    number,
    pack_header,
    pack_tree,
    parse_tree,
    reorder,
)

__all__ = ["add_exif_to_tiff", "carry_exif", "exif_for_output", "names_adobe_rgb", "read_orientation"]

_ORIENTATION = 0x0112
_INTEROPERABILITY_INDEX = 0x0001

# Fields that describe the picture, not its storage: names, dates, resolution, ratings, Windows' XP texts.
_KEPT_OF_IMAGE = frozenset(
    {0x010E, 0x010F, 0x0110, 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, 0x013B, 0x013C, 0x4746, 0x4749, 0x8298}
    | set(range(0x9C9B, 0x9CA0))
)

_COLOR_SPACE, _PIXEL_X, _PIXEL_Y = 0xA001, 0xA002, 0xA003

# Fields of the photo that stop being true: maker note (its inner offsets break), color space, size, focal
# plane resolution and unit (pixels per mm), subject area and location (pixels), padding.
_DROPPED_OF_PHOTO = frozenset(
    {0x927C, _COLOR_SPACE, _PIXEL_X, _PIXEL_Y, 0xA20E, 0xA20F, 0xA210, 0x9214, 0xA214, 0xEA1C, 0xEA1D}
)

# No honest text or exposure field is longer; the whole block must fit JPEG's 65533 bytes with room to spare.
_LONGEST_VALUE = 8 * 1024
_LONGEST_BLOCK = 60 * 1024


def read_orientation(exif: bytes | None) -> int:
    """Return the EXIF orientation, 1 to 8; 1 when there is none or it makes no sense."""
    tree = parse_tree(exif) if exif else None
    value = number(tree.image.get(_ORIENTATION), tree.order) if tree is not None else None
    return value if value is not None and 1 <= value <= 8 else 1


def names_adobe_rgb(exif: bytes | None) -> bool:
    """Return whether EXIF names Adobe RGB as DCF cameras do, with interoperability index R03."""
    tree = parse_tree(exif) if exif else None
    index = tree.interoperability.get(_INTEROPERABILITY_INDEX) if tree is not None else None
    return index is not None and index.value.startswith(b"R03")


def carry_exif(exif: bytes | None, *, keep_gps: bool = False) -> bytes | None:
    """Return the EXIF block to carry into an output.

    Parameters
    ----------
    exif : bytes or None
        As the file held it, or a whole TIFF file. Damaged fields are left out.
    keep_gps : bool
        Whether the place where the photo was taken may be published with the output.

    Returns
    -------
    bytes or None
        Beginning with "Exif" and two zeros; None when nothing is left.
    """
    tree = parse_tree(exif) if exif else None
    if tree is None:
        return None
    image = {tag: entry for tag, entry in tree.image.items() if tag in _KEPT_OF_IMAGE}
    photo = {tag: entry for tag, entry in tree.photo.items() if tag not in _DROPPED_OF_PHOTO}
    place = tree.place if keep_gps else {}
    return _block(Tree(tree.order, _short(image), _short(photo), _short(place)))


def exif_for_output(exif: bytes | None, height: int, width: int) -> bytes | None:
    """Return a carried EXIF block with the size of the output, sRGB, and no orientation or thumbnail.

    Parameters
    ----------
    exif : bytes or None
        As `carry_exif` gave it.
    height, width : int
        Size of the output in pixels.

    Returns
    -------
    bytes or None
        None when there was none, or it cannot be read.
    """
    carried = carry_exif(exif, keep_gps=True)
    tree = parse_tree(carried) if carried else None
    if tree is None:
        return None
    tree.photo[_COLOR_SPACE] = Field(SHORT, struct.pack(tree.order + "H", 1))
    tree.photo[_PIXEL_X] = Field(LONG, struct.pack(tree.order + "I", width))
    tree.photo[_PIXEL_Y] = Field(LONG, struct.pack(tree.order + "I", height))
    return _block(tree)


def add_exif_to_tiff(tiff: bytes, exif: bytes) -> bytes:
    """Put the fields of an EXIF block into a little- or big-endian TIFF file.

    The file's own fields win. A new directory is appended and the header pointed at it; the pixels stay
    where they are.
    """
    own, added = parse_tree(tiff), parse_tree(exif)
    if own is None or added is None:
        return tiff
    merged = reorder(added, own.order)
    merged = Tree(own.order, {**merged.image, **own.image}, merged.photo, merged.place)
    tiff += bytes(len(tiff) % 2)
    return pack_header(own.order, len(tiff)) + tiff[8:] + pack_tree(merged, len(tiff))


def _short(fields: Fields) -> Fields:
    return {tag: entry for tag, entry in fields.items() if len(entry.value) <= _LONGEST_VALUE}


def _block(tree: Tree) -> bytes | None:
    if not (tree.image or tree.photo or tree.place):
        return None
    block = b"Exif\0\0" + pack_header(tree.order, 8) + pack_tree(tree, 8)
    return block if len(block) <= _LONGEST_BLOCK else None
