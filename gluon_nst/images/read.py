"""Read a picture: any kind, mode, orientation and profile in; upright 8-bit sRGB out."""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

from gluon_nst import storage
from gluon_nst.errors import ImageReadError
from gluon_nst.images.adobe_rgb import adobe_rgb_profile
from gluon_nst.images.color import to_srgb
from gluon_nst.images.metadata import carry_exif, names_adobe_rgb, read_orientation
from gluon_nst.images.modes import to_channels
from gluon_nst.images.opening import MAX_PIXELS, count_frames, decode, holds_16_bits, open_header
from gluon_nst.images.quiet import pillow_warnings_off

__all__ = ["MAX_PIXELS", "Picture", "find_exif", "read_file", "read_image", "reading"]

# What undoes each EXIF orientation (Exif 2.32, tag 0x0112).
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# To suggest a near name, a folder of a hundred thousand photos is not searched to its end.
_NAMES_SEARCHED = 2000


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as the rest of the program wants it.

    Attributes
    ----------
    pixels : numpy.ndarray
        (H, W, 3), uint8, sRGB, upright. Its own memory, writable.
    alpha : numpy.ndarray or None
        (H, W), uint8, 255 is opaque. None when the picture is opaque everywhere.
    exif : bytes or None
        What `write_image` should carry over: without orientation, thumbnail, size and, unless asked
        for, GPS.
    note : tuple of str
        What was done or given up, such as "first frame of 12".
    """

    pixels: npt.NDArray[np.uint8]
    alpha: npt.NDArray[np.uint8] | None
    exif: bytes | None
    note: tuple[str, ...]


def read_image(path: storage.StrPath, *, max_pixels: int = MAX_PIXELS, keep_gps: bool = False) -> Picture:
    """Read a JPEG, PNG, WebP, TIFF, GIF or BMP picture.

    EXIF orientation is applied, the colors are converted to sRGB with the embedded profile, 16 bits
    become 8, alpha is kept beside the colors, and of an animation the first frame is taken.

    Parameters
    ----------
    path : str or os.PathLike
        A local path or an fsspec URL.
    max_pixels : int
        Pictures with more pixels are refused before they are decoded.
    keep_gps : bool
        Whether `Picture.exif` tells where the photo was taken.

    Returns
    -------
    Picture
        Pixels, alpha, EXIF and notes.

    Raises
    ------
    ImageReadError
        If the file is missing, no picture, damaged, or cut off. When storage failed, the cause is the
        `OSError`, and `storage.may_pass` tells whether another try may help.
    ImageSizeError
        If it has more than `max_pixels` pixels.
    """
    name = os.fspath(path)
    data = read_file(path)
    image = open_header(data, name, max_pixels)
    deep = holds_16_bits(image)
    decode(image, name)
    exif = data if image.format == "TIFF" else find_exif(image)
    with pillow_warnings_off():
        channels = to_channels(image, name, deep=deep)
        color, converted = to_srgb(channels.color, _find_profile(image, exif))
    # Pillow turns TIFF pictures upright as it loads them.
    orientation = 1 if image.format == "TIFF" else read_orientation(exif)
    alpha = None if channels.alpha is None else _upright_array(channels.alpha, orientation)
    pixels = _upright_array(color, orientation)
    notes = (*_frame_note(image), *channels.notes, *((converted,) if converted else ()))
    return Picture(pixels, alpha, carry_exif(exif, keep_gps=keep_gps), notes)


def read_file(path: storage.StrPath) -> bytes:
    """Read the bytes of a picture file.

    Raises
    ------
    ImageReadError
        If it is missing, a directory, or cannot be read.
    """
    with reading(path):
        return storage.read_bytes(path)


@contextlib.contextmanager
def reading(path: storage.StrPath) -> Iterator[None]:
    """Turn what storage raises in this block into an error that says which picture, and why.

    Raises
    ------
    ImageReadError
        As `read_file`.
    """
    name = os.fspath(path)
    try:
        yield
    except FileNotFoundError as error:
        raise ImageReadError(f"{name}: no such file.{_near_name(name)}") from error
    except IsADirectoryError as error:
        raise ImageReadError(f"{name} is a directory; give a picture in it.") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageReadError(f"{name} cannot be read: {reason}") from error


def _near_name(name: str) -> str:
    """Return " Did you mean ...?" for a file of nearly this name in the same folder."""
    wanted = Path(name)
    try:
        with os.scandir(wanted.parent) as entries:
            names = [entry.name for entry in islice(entries, _NAMES_SEARCHED)]
    except (OSError, ValueError):
        return ""
    near = difflib.get_close_matches(wanted.name, names, n=1, cutoff=0.75)
    return f" Did you mean {str(wanted.parent / near[0])!r}?" if near else ""


def find_exif(image: ImageFile.ImageFile) -> bytes | None:
    """Return the EXIF block of a picture that is no TIFF, as its decoder found it."""
    block = image.info.get("exif")
    if isinstance(block, bytes):
        return block
    text = image.info.get("Raw profile type exif")  # where ImageMagick put it before PNG had a chunk for it
    if not isinstance(text, str):
        return None
    try:
        return bytes.fromhex("".join(text.split("\n")[3:]))
    except ValueError:
        return None


def _find_profile(image: ImageFile.ImageFile, exif: bytes | None) -> bytes | None:
    profile = image.info.get("icc_profile")
    if isinstance(profile, bytes) and profile:
        return profile
    return adobe_rgb_profile() if image.mode == "RGB" and names_adobe_rgb(exif) else None


def _upright_array(image: Image.Image, orientation: int) -> npt.NDArray[np.uint8]:
    turn = _UPRIGHT.get(orientation)
    return np.array(image if turn is None else image.transpose(turn), dtype=np.uint8)


def _frame_note(image: ImageFile.ImageFile) -> tuple[str, ...]:
    frames = count_frames(image)
    return (f"first frame of {frames}",) if frames > 1 else ()
