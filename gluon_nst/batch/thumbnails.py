"""Small WebP pictures for the report, made in threads and kept from one report to the next."""

from __future__ import annotations

import io
import os
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gluon_nst.batch.thumbnail_cache import Thumbnail, ThumbnailCache
from gluon_nst.errors import ImageError

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Look", "choose_look", "local_path", "make_thumbnail", "make_thumbnails"]

MISSING = "file not found"

# More decoders at once would only hold more large pictures in memory.
_THREADS = min(8, os.cpu_count() or 1)


class Look(NamedTuple):
    """How large and how good a thumbnail is: its longer side in pixels, and WebP's quality, 0 to 100."""

    side: int
    quality: int


# Rows of a page -> the look of its thumbnails, which keeps the page below 40 MB. A row brings a content and a stylized
# image. Measured with the photographs of this project and, for stylized images, its paintings, whose strokes
# compress badly, a row takes 35, 16, 6.8, 3.4 and 1.8 kB of the page at these looks, the row's text with it.
_LOOKS = ((500, Look(288, 70)), (1_500, Look(192, 65)), (4_000, Look(128, 45)), (10_000, Look(96, 30)))
_SMALLEST = Look(64, 30)


def choose_look(rows: int) -> Look:
    """Return how thumbnails should look on a page of so many rows, up to 20,000, to keep it below 40 MB."""
    return next((look for most, look in _LOOKS if rows <= most), _SMALLEST)


def local_path(path: str) -> Path | None:
    """Return the local file that a path or a file: URL names, None for another URL."""
    if path.startswith("file://"):
        return Path(urllib.request.url2pathname(urllib.parse.urlsplit(path).path))
    return None if "://" in path else Path(path)


def make_thumbnails(versions: Mapping[str, str], look: Look, cache: ThumbnailCache) -> dict[str, Thumbnail]:
    """Make the thumbnails of pictures, or take them from the cache.

    Parameters
    ----------
    versions
        Path or URL of each picture -> a text that changes when the picture does. A local file needs none: its
        size and time of change are added.
    look
        How they should look.
    cache
        Where thumbnails are kept.

    Returns
    -------
    dict
        A thumbnail for each path; where no picture can be read, one that says why.
    """
    known = {path: _version(path, version) for path, version in versions.items()}
    found = {path: cache.get(path, known[path], look) for path in versions}
    missing = [path for path, thumbnail in found.items() if thumbnail is None]
    made = dict(_made(missing, look))
    # What could not be read is tried again: storage may be back.
    cache.put(((path, known[path], each) for path, each in made.items() if each.data), look)
    return {path: thumbnail or made[path] for path, thumbnail in found.items()}


def make_thumbnail(path: str, look: Look) -> Thumbnail:
    """Make one thumbnail: upright, sRGB, never larger than the picture.

    Returns
    -------
    Thumbnail
        Without data where the picture cannot be read.
    """
    from gluon_nst.images.read import read_file

    place = local_path(path)
    if place is not None and not place.is_file():
        return Thumbnail(b"", MISSING)
    try:
        return Thumbnail(_encode(_shrink(read_file(path), path, look.side), look.quality), "")
    except (ImageError, OSError, MemoryError) as error:
        return Thumbnail(b"", " ".join(str(error).split()) or type(error).__name__)


def _made(paths: Iterable[str], look: Look) -> Iterator[tuple[str, Thumbnail]]:
    with ThreadPoolExecutor(_THREADS, "thumbnail") as pool:
        yield from pool.map(lambda path: (path, make_thumbnail(path, look)), paths)


def _version(path: str, version: str) -> str:
    place = local_path(path)
    if place is None:
        return version
    try:
        found = place.stat()
    except (OSError, ValueError):
        return MISSING
    return f"{found.st_size} {found.st_mtime_ns}"


def _shrink(data: bytes, name: str, side: int) -> Image.Image:
    """Decode as few pixels as will do and make them a small upright picture, RGB or RGBA."""
    from gluon_nst.images.color import to_srgb
    from gluon_nst.images.metadata import read_orientation
    from gluon_nst.images.modes import to_channels
    from gluon_nst.images.opening import decode, holds_16_bits, open_header

    image = open_header(data, name)
    exif, profile = image.info.get("exif"), image.info.get("icc_profile")
    deep = holds_16_bits(image)
    # A JPEG is decoded at 1/2, 1/4 or 1/8 of its size; twice the thumbnail's leaves something to average.
    image.draft(None, (2 * side, 2 * side))
    decode(image, name)
    # Pillow turns TIFF pictures upright as it loads them.
    turn = 1 if image.format == "TIFF" else read_orientation(exif if isinstance(exif, bytes) else None)
    channels = to_channels(image, name, deep=deep)
    channels.color.thumbnail((side, side))
    color, _ = to_srgb(channels.color, profile if isinstance(profile, bytes) else None)
    if channels.alpha is not None:
        color.putalpha(channels.alpha.resize(color.size))
    return _upright(color, turn)


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    from PIL import ImageOps

    # Pillow's own reader of EXIF gives up on damage; it gets the one field that counts, already read.
    image.info.clear()
    image.getexif()[0x0112] = orientation
    turned = ImageOps.exif_transpose(image)
    turned.info.clear()
    return turned


def _encode(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=quality)
    return buffer.getvalue()
