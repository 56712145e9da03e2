"""Color: every picture as sRGB, and the colors of the content given back to a stylized picture."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from gluon_nst.errors import UsageError

__all__ = ["original_colors", "srgb_profile", "to_srgb"]

# Luma of Rec. 601, as in JPEG's YCbCr, in NTSC's YIQ and in neural-style's rgb2yuv.
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)

# What photo editors use by default; only table profiles (CMYK, mostly) know other intents at all.
_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION

_BROKEN_PROFILE = (ImageCms.PyCMSError, OSError, ValueError, TypeError)
_MODE_OF_SPACE = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}


@lru_cache(maxsize=1)
def srgb_profile() -> bytes:
    """Return the ICC profile that outputs carry: Little CMS's sRGB, without its time of making."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    # ICC.1 header, bytes 24 to 35: date and time. Two outputs must not differ because of it.
    profile[24:36] = bytes.fromhex("07d0 0001 0001 0000 0000 0000")
    return bytes(profile)


def to_srgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, str | None]:
    """Convert a picture to sRGB.

    Parameters
    ----------
    image : PIL.Image.Image
        Of mode L, RGB, CMYK or LAB, without alpha.
    profile : bytes or None
        The ICC profile that the file carried.

    Returns
    -------
    PIL.Image.Image
        Of mode RGB. Unchanged values when there is no profile, or it is sRGB to within one level.
    str or None
        What was done, when it was more than nothing.
    """
    if image.mode == "LAB":
        return _converted(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))), "CIELAB converted"
    if not profile:
        note = "CMYK without a profile converted plainly" if image.mode == "CMYK" else None
        return _assumed_srgb(image), note
    try:
        return _through(image, ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    except _BROKEN_PROFILE:
        return _assumed_srgb(image), "unusable color profile ignored"


def _assumed_srgb(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGB" else image.convert("RGB")


def _through(image: Image.Image, source: ImageCms.ImageCmsProfile) -> tuple[Image.Image, str | None]:
    mode = _MODE_OF_SPACE.get(source.profile.xcolor_space.strip())
    if mode == "RGB" and image.mode == "L":
        image = image.convert("RGB")
    if mode != image.mode:
        return _assumed_srgb(image), "color profile of another color space ignored"
    if _is_srgb(source, mode):
        return _assumed_srgb(image), None
    return _converted(image, source), f"{_kind(mode)} converted to sRGB with its profile{_title(source)}"


def _kind(mode: str) -> str:
    return {"L": "grayscale", "RGB": "colors"}.get(mode, mode)


def _title(source: ImageCms.ImageCmsProfile) -> str:
    text = " ".join((source.profile.profile_description or "").split())
    return f" {text!r}" if text else ""


def _converted(image: Image.Image, source: ImageCms.ImageCmsProfile) -> Image.Image:
    if image.mode != "L":
        return _apply(image, source, _FLAGS)
    # Little CMS speeds grays up with a coarse table, ten levels off in the shadows of a linear profile; exact
    # values of all 256 grays cost nothing.
    table = np.asarray(_apply(_probe("L"), source, _FLAGS | ImageCms.Flags.NOOPTIMIZE))[0]
    return Image.fromarray(table[np.asarray(image)])


def _apply(image: Image.Image, source: ImageCms.ImageCmsProfile, flags: ImageCms.Flags) -> Image.Image:
    target = ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(source, target, image.mode, "RGB", _INTENT, flags)
    result = ImageCms.applyTransform(image, transform)
    return result if result is not None else image


def _is_srgb(source: ImageCms.ImageCmsProfile, mode: str) -> bool:
    """Return whether converting would move no color by more than a level: then it is only rounding."""
    if mode == "CMYK":
        return False
    probe = _probe(mode)
    moved = np.asarray(_converted(probe, source), dtype=np.int16) - np.asarray(probe.convert("RGB"))
    return bool(np.abs(moved).max() <= 1)


@lru_cache(maxsize=2)
def _probe(mode: str) -> Image.Image:
    """Return every gray, or a grid of 17 x 17 x 17 colors."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    levels = np.linspace(0, 255, 17).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1)
    return Image.fromarray(grid.reshape(17, 17 * 17, 3))


def original_colors(stylized: npt.NDArray[np.uint8], content: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Give a stylized picture the colors of its content: luma of the one, chroma of the other.

    What Gatys, Bethge, Hertzmann and Shechtman (2016), "Preserving Color in Neural Artistic Style Transfer",
    call luminance-only transfer, done after the fact, as neural-style does with ``-original_colors 1``. In
    YIQ and in YCbCr alike, chroma is a multiple of (R - Y, B - Y); so to exchange Y is to add the same
    difference to R, G and B. What leaves the gamut is clipped.

    Parameters
    ----------
    stylized, content : numpy.ndarray
        (H, W, 3), uint8, sRGB, of the same shape.

    Returns
    -------
    numpy.ndarray
        (H, W, 3), uint8.

    Raises
    ------
    UsageError
        If the shapes differ.
    """
    if stylized.shape != content.shape:
        raise UsageError(f"original_colors needs one shape, got {stylized.shape} and {content.shape}")
    colors = content.astype(np.float32)
    difference = stylized.astype(np.float32) @ _LUMA - colors @ _LUMA
    mixed = np.clip(np.rint(colors + difference[..., None]), 0, 255)
    return np.asarray(mixed, dtype=np.uint8)
