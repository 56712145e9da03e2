"""What a caller may give as a picture: a path, an array, a Pillow image."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import PurePath
from typing import Any

import numpy as np
from PIL import Image

from gluon_nst.errors import ImageReadError, ImageSizeError
from gluon_nst.images.read import Picture, read_image
from gluon_nst.vgg_layers import MIN_SIDE

__all__ = ["Input", "PictureLike", "take_input"]

PictureLike = Any
"""A path or URL, an array (H, W, 3) uint8 RGB, or a Pillow image."""


@dataclasses.dataclass(frozen=True, eq=False)
class Input:
    """A picture with its origin.

    Attributes
    ----------
    picture
        Pixels, alpha, EXIF.
    name
        File name without directories, or "array".
    sha256
        Of the pixels (and alpha), as they are used: shape, then bytes.
    """

    picture: Picture
    name: str
    sha256: str


def take_input(given: PictureLike, *, keep_gps: bool = False) -> Input:
    """Return the picture behind whatever was given.

    Raises
    ------
    ImageReadError, ImageSizeError
        If it cannot be read, or is nothing that holds a picture.
    """
    if isinstance(given, (str, os.PathLike)):
        picture = read_image(given, keep_gps=keep_gps)
        return _input(picture, PurePath(os.fspath(given)).name)
    pixels = np.asarray(given.convert("RGB") if isinstance(given, Image.Image) else given)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ImageReadError(
            f"an array of shape {pixels.shape} and type {pixels.dtype} is no picture here; give (height, width, 3) "
            "uint8 in RGB order, a Pillow image, or a path."
        )
    return _input(Picture(pixels, None, None, ()), "array")


def _input(picture: Picture, name: str) -> Input:
    height, width, _ = picture.pixels.shape
    if min(height, width) < MIN_SIDE:
        raise ImageSizeError(
            f"{name} is {width}x{height} pixels; no side may be below {MIN_SIDE}. Give a larger picture."
        )
    return Input(picture, name, _digest(picture))


def _digest(picture: Picture) -> str:
    digest = hashlib.sha256(repr(picture.pixels.shape).encode() + picture.pixels.tobytes())
    if picture.alpha is not None:
        digest.update(picture.alpha.tobytes())
    return digest.hexdigest()
