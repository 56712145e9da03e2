"""Write a picture: encoded in memory, equal bytes for equal input, then stored complete or not at all."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin, TiffImagePlugin

from gluon_nst import storage
from gluon_nst.errors import OutputError, UsageError, did_you_mean
from gluon_nst.images.color import srgb_profile
from gluon_nst.images.metadata import add_exif_to_tiff, exif_for_output
from gluon_nst.images.provenance import PNG_KEY, provenance_text, xmp_packet

__all__ = ["JPEG_QUALITY", "OUTPUT_FORMATS", "check_output_path", "encode_image", "write_image"]

OUTPUT_FORMATS: Mapping[str, str] = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
"""File name suffix, in small letters, and the format that it stands for."""

JPEG_QUALITY = 95
"""Default quality of JPEG and WebP: Pillow's documentation names 95 as the highest that is of use."""

# Limits of the formats: libjpeg's JPEG_MAX_DIMENSION; WebP has 14 bits for a side.
_LONGEST_SIDE = {"JPEG": 65500, "WEBP": 16383}

# An XMP packet must fit one JPEG segment: 65535, less its length field and the 29 bytes of its name.
_LONGEST_JPEG_XMP = 65533 - 29

_XMP_TAG = 700
_BYTE = 1


def check_output_path(path: storage.StrPath) -> None:
    """Raise now if a picture could not be written to `path` later.

    Parameters
    ----------
    path : str or os.PathLike
        A local path or an fsspec URL.

    Raises
    ------
    OutputError
        If its suffix is not one of `OUTPUT_FORMATS` (in capitals or small letters), or the place cannot be
        written to.
    """
    _format_of(_suffix(path), os.fspath(path))
    storage.check_writable(path)


def write_image(
    path: storage.StrPath,
    pixels: npt.NDArray[np.uint8],
    *,
    alpha: npt.NDArray[np.uint8] | None = None,
    exif: bytes | None = None,
    provenance: Mapping[str, Any] | None = None,
    quality: int = JPEG_QUALITY,
) -> None:
    """Encode a picture by the suffix of `path` and store it, complete or not at all.

    Parameters are those of `encode_image`, and `path`, a local path or an fsspec URL.

    Raises
    ------
    OutputError
        If the suffix is unknown, the format cannot hold the picture, or it cannot be stored.
    UsageError
        If the arrays, the quality or the provenance cannot be meant.
    """
    suffix = _suffix(path)
    _format_of(suffix, os.fspath(path))
    data = encode_image(pixels, suffix, alpha=alpha, exif=exif, provenance=provenance, quality=quality)
    storage.write_bytes(path, data)


def encode_image(
    pixels: npt.NDArray[np.uint8],
    suffix: str,
    *,
    alpha: npt.NDArray[np.uint8] | None = None,
    exif: bytes | None = None,
    provenance: Mapping[str, Any] | None = None,
    quality: int = JPEG_QUALITY,
) -> bytes:
    """Encode a picture with an sRGB profile; equal arguments give equal bytes.

    JPEG is written without chroma subsampling (4:4:4), TIFF with lossless Deflate compression.

    Parameters
    ----------
    pixels : numpy.ndarray
        (H, W, 3), uint8, sRGB.
    suffix : str
        One of `OUTPUT_FORMATS`.
    alpha : numpy.ndarray, optional
        (H, W), uint8. JPEG has no alpha: there the picture is laid on white.
    exif : bytes, optional
        From `Picture.exif`; its size fields are set to the size of `pixels`.
    provenance : mapping, optional
        Plain JSON data that `read_provenance` gives back.
    quality : int
        1 to 100, of JPEG and WebP.

    Returns
    -------
    bytes
        The file.

    Raises
    ------
    OutputError
        If the suffix is unknown, or the format cannot hold the picture.
    UsageError
        If the arrays, the quality or the provenance cannot be meant.
    """
    kind = _format_of(suffix, suffix)
    _check_arrays(pixels, alpha)
    _check_limits(pixels, kind, quality)
    exif = exif_for_output(exif, *pixels.shape[:2])
    options = _options(kind, quality, provenance)
    if exif is not None and kind != "TIFF":
        options["exif"] = exif
    data = _save(_to_image(pixels, alpha, kind), kind, options)
    return add_exif_to_tiff(data, exif) if exif is not None and kind == "TIFF" else data


def _suffix(path: storage.StrPath) -> str:
    return PurePosixPath(os.fspath(path)).suffix


def _format_of(suffix: str, given: str) -> str:
    kind = OUTPUT_FORMATS.get(suffix.lower())
    if kind is None:
        raise OutputError(
            f"cannot write {given!r}: the suffix must be one of {', '.join(OUTPUT_FORMATS)}."
            f"{did_you_mean(suffix.lower(), OUTPUT_FORMATS)}"
        )
    return kind


def _check_arrays(pixels: npt.NDArray[np.uint8], alpha: npt.NDArray[np.uint8] | None) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        raise UsageError(f"a picture is written from uint8 (H, W, 3), not {pixels.dtype} {pixels.shape}")
    if alpha is not None and (alpha.dtype != np.uint8 or alpha.shape != pixels.shape[:2]):
        raise UsageError(
            f"alpha must be uint8 {pixels.shape[:2]} like the pixels, not {alpha.dtype} {alpha.shape}"
        )


def _check_limits(pixels: npt.NDArray[np.uint8], kind: str, quality: int) -> None:
    if not 1 <= quality <= 100:
        raise UsageError(f"quality is {quality}; it must be from 1 to 100")
    height, width = pixels.shape[:2]
    limit = _LONGEST_SIDE.get(kind)
    if limit is not None and max(height, width) > limit:
        raise OutputError(
            f"{height}x{width} pixels (height x width) do not fit a {kind} file, whose sides end at {limit}; "
            "write .png or .tif instead"
        )


def _to_image(pixels: npt.NDArray[np.uint8], alpha: npt.NDArray[np.uint8] | None, kind: str) -> Image.Image:
    image = Image.fromarray(pixels)
    if alpha is None:
        return image
    if kind == "JPEG":
        return Image.composite(image, Image.new("RGB", image.size, "white"), Image.fromarray(alpha))
    image.putalpha(Image.fromarray(alpha))
    return image


def _options(kind: str, quality: int, provenance: Mapping[str, Any] | None) -> dict[str, Any]:
    options: dict[str, Any] = {"icc_profile": srgb_profile()}
    if kind == "JPEG":
        # No "optimize": with grainy pictures Pillow's buffer is too small for it, and saving fails.
        options |= {"quality": quality, "subsampling": 0}
    elif kind == "WEBP":
        options |= {"quality": quality}
    elif kind == "TIFF":
        options |= {"compression": "tiff_adobe_deflate"}
    if provenance is not None:
        options |= _record(kind, provenance_text(provenance))
    return options


def _record(kind: str, text: str) -> dict[str, Any]:
    """Return the option of Pillow's writer that puts a provenance text into the file."""
    if kind == "PNG":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt(PNG_KEY, text)
        return {"pnginfo": chunks}
    packet = xmp_packet(text)
    if kind != "TIFF":
        if kind == "JPEG" and len(packet) > _LONGEST_JPEG_XMP:
            raise OutputError(
                f"the provenance takes {len(packet)} bytes; JPEG holds {_LONGEST_JPEG_XMP}; write .png"
            )
        return {"xmp": packet}
    fields = TiffImagePlugin.ImageFileDirectory_v2()
    fields.tagtype[_XMP_TAG] = _BYTE
    fields[_XMP_TAG] = packet
    return {"tiffinfo": fields}


def _save(image: Image.Image, kind: str, options: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    try:
        image.save(buffer, kind, **options)
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot encode {image.height}x{image.width} pixels as {kind}: {error}") from error
    return buffer.getvalue()
