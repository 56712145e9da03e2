"""From bytes to a decoded picture: which kinds are read, and what is refused.

The kind is told by the first bytes, never by the name. Only the decoders listed here are ever asked, so a
file that poses as a picture cannot reach Pillow's rarer ones (or Ghostscript, behind its EPS reader). They
are called directly, not through `Image.open`, which holds every picture against a process-wide limit.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import BinaryIO

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from gluon_nst.errors import ImageReadError, ImageSizeError
from gluon_nst.images.integrity import find_damage
from gluon_nst.images.quiet import pillow_warnings_off

__all__ = ["MAX_PIXELS", "count_frames", "decode", "holds_16_bits", "open_header", "open_stream"]

MAX_PIXELS = 178_956_970
"""Largest picture that is decoded unless the caller says otherwise: 2^29 / 3 pixels, where Pillow's own guard
against decompression bombs stops. Medium-format cameras make 100 to 150 million. One of the full size took 1.7 GiB
and 2.5 s to read (JPEG, one core)."""

_KINDS = "JPEG, PNG, WebP, TIFF, GIF and BMP pictures can be read"

_SIGNATURES: tuple[tuple[bytes, type[ImageFile.ImageFile]], ...] = (
    (b"\xff\xd8\xff", JpegImagePlugin.JpegImageFile),
    (b"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    (b"RIFF", WebPImagePlugin.WebPImageFile),
    (b"II*\0", TiffImagePlugin.TiffImageFile),
    (b"MM\0*", TiffImagePlugin.TiffImageFile),
    (b"II+\0", TiffImagePlugin.TiffImageFile),
    (b"MM\0+", TiffImagePlugin.TiffImageFile),
    (b"GIF87a", GifImagePlugin.GifImageFile),
    (b"GIF89a", GifImagePlugin.GifImageFile),
    (b"BM", BmpImagePlugin.BmpImageFile),
)

_SNIFFED = 512  # bytes by which a file's kind is told, or what it is instead

# What Pillow's decoders raise for damaged content. Cutting and corrupting files of every kind brought up the
# first three; the others can come from sums and lookups on numbers that a hostile header chose.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    EOFError,
    AssertionError,
    RuntimeError,
    struct.error,
    zlib.error,
)


def open_header(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> ImageFile.ImageFile:
    """Read the header of a picture; no pixel is decoded.

    Parameters
    ----------
    data : bytes
        The whole file.
    name : str
        What to call it in an error.
    max_pixels : int
        Height times width that is still accepted.

    Returns
    -------
    PIL.ImageFile.ImageFile
        The picture, to be given to `decode`.

    Raises
    ------
    ImageReadError
        If it is empty, of an unknown kind, or damaged.
    ImageSizeError
        If it has more than `max_pixels` pixels.
    """
    stream = io.BytesIO(data)
    image = open_stream(stream, name)
    count = image.width * image.height
    if count > max_pixels:
        raise ImageSizeError(
            f"{name} is {image.height}x{image.width} pixels (height x width), {count:,} in all; "
            f"at most {max_pixels:,} are read. Shrink it first, or raise max_pixels."
        )
    damage = find_damage(image.format, data, stream.tell())
    if damage is not None:
        raise ImageReadError(f"{name} is damaged: {damage}. Get it again from where it came.")
    return image


def open_stream(stream: BinaryIO, name: str) -> ImageFile.ImageFile:
    """Read the header of a picture from a seekable file that is open, and no more of it than the kind needs.

    The file must stay open for as long as the picture is used. Damage behind the header goes unseen.

    Raises
    ------
    ImageReadError, ImageSizeError
        As `open_header`.
    """
    decoder = _decoder(stream.read(_SNIFFED), name)
    stream.seek(0)
    try:
        with pillow_warnings_off():
            return decoder(stream, "")
    except Image.DecompressionBombError as error:
        raise _beyond_pillow(name, error) from error
    except _DAMAGE as error:
        raise _damaged(name, error) from error


def decode(image: ImageFile.ImageFile, name: str) -> None:
    """Decode the pixels of a picture that `open_header` gave, its first frame if it is animated.

    Raises
    ------
    ImageReadError
        If the content is damaged or cut off.
    ImageSizeError
        If it is larger than Pillow's decoder for its kind allows.
    """
    try:
        with pillow_warnings_off():
            image.load()
    except Image.DecompressionBombError as error:
        raise _beyond_pillow(name, error) from error
    except MemoryError as error:
        raise ImageSizeError(
            f"{name}: not enough memory to decode {image.height}x{image.width} pixels. Shrink it first."
        ) from error
    except _DAMAGE as error:
        raise _damaged(name, error) from error


def holds_16_bits(image: ImageFile.ImageFile) -> bool:
    """Return whether the file has 16-bit channels; ask before `decode`, afterwards nothing tells."""
    return any(";16" in str(tile) for tile in image.tile)


def count_frames(image: ImageFile.ImageFile) -> int:
    """Return the number of frames or pages, 1 if the file is too odd to say; call it last of all."""
    try:
        with pillow_warnings_off():
            return int(getattr(image, "n_frames", 1))
    except _DAMAGE:
        return 1


def _decoder(data: bytes, name: str) -> type[ImageFile.ImageFile]:
    if not data:
        raise ImageReadError(f"{name} is empty (0 bytes); {_KINDS}.")
    for signature, decoder in _SIGNATURES:
        if data.startswith(signature) and (signature != b"RIFF" or data[8:12] == b"WEBP"):
            return decoder
    raise ImageReadError(f"{name} is not a picture that can be read: {_looks_like(data)}. {_KINDS}.")


def _looks_like(data: bytes) -> str:
    """Say what a file of no known kind seems to be."""
    if data[4:8] == b"ftyp":
        brand = data[8:12].decode("latin-1").strip()
        return f"it is an HEIF, AVIF or video file (brand {brand!r}); convert it to JPEG or PNG"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(data) - 3:
            return f"it begins with the bytes {data[:8].hex(' ')}"
    return "it is a text file" if b"\0" not in data else f"it begins with the bytes {data[:8].hex(' ')}"


def _damaged(name: str, error: Exception) -> ImageReadError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return ImageReadError(f"{name} is damaged or cut off, or of a variant that cannot be read: {reason}")


def _beyond_pillow(name: str, error: Exception) -> ImageSizeError:
    return ImageSizeError(
        f"{name} is larger than Pillow decodes, whatever max_pixels says; shrink it first: {error}"
    )
