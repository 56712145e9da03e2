"""Shape and origin of a picture from its first bytes; no pixel is decoded."""

from __future__ import annotations

import contextlib
import io
import os
import struct
from typing import BinaryIO, NamedTuple

from PIL import PngImagePlugin, TiffImagePlugin

from gluon_nst import storage
from gluon_nst.errors import ImageError
from gluon_nst.images.metadata import read_orientation
from gluon_nst.images.opening import open_stream
from gluon_nst.images.provenance import carries_provenance
from gluon_nst.images.quiet import pillow_warnings_off
from gluon_nst.images.read import find_exif, reading

__all__ = ["Header", "read_header"]

_FIRST_BYTES = 65_536
"""What is read first of a URL. Camera JPEGs hold EXIF with its thumbnail, at most one segment of 65,533 bytes,
before the size; without a thumbnail all of it fits."""

_ON_ITS_SIDE = frozenset({5, 6, 7, 8})  # EXIF orientations that exchange height and width

# A PNG chunk: length of its data, kind, data, checksum (PNG 3rd edition, 5.3).
_CHUNK_HEAD = struct.Struct(">I4s")
_CHECKSUM = 4
_CHUNKS_READ = frozenset({b"eXIf", b"tEXt", b"zTXt", b"iTXt"})


class Header(NamedTuple):
    """What is known of a picture before it is decoded.

    Attributes
    ----------
    height, width
        Pixels of the upright picture: the shape that `read_image` gives.
    stylized
        Whether it carries a record of this program.
    """

    height: int
    width: int
    stylized: bool


def read_header(path: storage.StrPath) -> Header:
    """Read the shape of a picture, and whether this program made it.

    Of a local file the header is read, of a URL the first 64 KiB; more only where that does not do (TIFF, WebP,
    long metadata). EXIF and records behind the pixels of a PNG are found in local and in small files only.

    Parameters
    ----------
    path : str or os.PathLike
        A local path or an fsspec URL.

    Raises
    ------
    ImageReadError, ImageSizeError
        As `read_image`; but damage behind the header goes unseen.
    """
    if storage.is_url(path):
        with reading(path):
            start = storage.read_start(path, _FIRST_BYTES)
        if len(start) < _FIRST_BYTES or not start.startswith((b"II", b"MM")):
            # Pillow skips fields of a TIFF that lie behind the end, so a part of one cannot be trusted.
            with contextlib.suppress(ImageError):
                return _header(io.BytesIO(start), os.fspath(path))
    with reading(path):
        stream = storage.open_binary(path)
    with stream:
        return _header(stream, os.fspath(path))


def _header(stream: BinaryIO, name: str) -> Header:
    image = open_stream(stream, name)
    with pillow_warnings_off():
        if isinstance(image, PngImagePlugin.PngImageFile):
            _read_trailing_chunks(image, stream)
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            height, width, orientation = _tiff_shape(image)
        else:
            height, width, orientation = image.height, image.width, read_orientation(find_exif(image))
    if orientation in _ON_ITS_SIDE:
        height, width = width, height
    return Header(height, width, carries_provenance(image))


def _tiff_shape(image: TiffImagePlugin.TiffImageFile) -> tuple[int, int, int]:
    """Return height and width as stored, and the orientation; releases of Pillow differ in what `size` is."""
    tags = image.tag_v2
    orientation = tags.get(0x0112, 1)
    return int(tags[0x0101]), int(tags[0x0100]), orientation if isinstance(orientation, int) else 1


def _read_trailing_chunks(image: PngImagePlugin.PngImageFile, stream: BinaryIO) -> None:
    """Let Pillow read the text and EXIF chunks behind the pixels, where some programs put them."""
    if not image.tile or image.png is None:
        return
    stream.seek(image.tile[0].offset - _CHUNK_HEAD.size)
    with contextlib.suppress(OSError, SyntaxError, ValueError, EOFError):
        while len(head := stream.read(_CHUNK_HEAD.size)) == _CHUNK_HEAD.size:
            length, kind = _CHUNK_HEAD.unpack(head)
            if kind in _CHUNKS_READ:
                image.png.call(kind, stream.tell(), length)
            else:
                stream.seek(length, os.SEEK_CUR)
            stream.seek(_CHECKSUM, os.SEEK_CUR)
