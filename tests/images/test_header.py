"""The shape that a header tells is the shape that reading gives."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image

from gluon_nst import storage
from gluon_nst.errors import ImageError, ImageReadError
from gluon_nst.images.header import Header, read_header
from gluon_nst.images.read import read_image
from gluon_nst.images.write import OUTPUT_FORMATS, encode_image

from .builders import ExifWriter, encode, gradient, noise

MEMORY = "memory://gluon_nst_test_header"


@pytest.fixture
def memory() -> Iterator[str]:
    yield MEMORY
    if fsspec.filesystem("memory").exists(MEMORY):
        fsspec.filesystem("memory").rm(MEMORY, recursive=True)


def _orientation_exif(value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif.tobytes()


def _agreed(path: str | Path) -> Header:
    """Return the header of a picture whose pixels have the shape that it tells."""
    header = read_header(path)
    assert (header.height, header.width) == read_image(path).pixels.shape[:2]
    return header


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_shape_is_that_of_the_upright_picture(
    tmp_path: Path, memory: str, orientation: int, kind: str
) -> None:
    data = encode(Image.fromarray(gradient(24, 40)), kind, exif=_orientation_exif(orientation))
    (tmp_path / "in").write_bytes(data)
    storage.write_bytes(f"{memory}/in", data)
    shape = (40, 24) if orientation >= 5 else (24, 40)
    assert _agreed(tmp_path / "in") == _agreed(f"{memory}/in") == Header(*shape, False)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_exif_as_cameras_write_it_is_understood(tmp_path: Path, order: str, kind: str) -> None:
    data = encode(Image.fromarray(gradient(24, 40)), kind, exif=ExifWriter(order).block(6))
    (tmp_path / "in").write_bytes(data)
    assert _agreed(tmp_path / "in") == Header(40, 24, False)


def _kinds() -> dict[str, bytes]:
    image = Image.fromarray(noise(30, 50))
    frames = [Image.fromarray(noise(30, 50, seed)).quantize(16) for seed in range(3)]
    return {
        "progressive.jpg": encode(image, "JPEG", progressive=True),
        "cmyk.jpg": encode(image.convert("CMYK"), "JPEG"),
        "gray.jpg": encode(image.convert("L"), "JPEG"),
        "palette.png": encode(image.quantize(16), "PNG"),
        "deep.png": encode(Image.fromarray(noise(30, 50)[..., 0].astype(np.uint16) * 257), "PNG"),
        "lossless.webp": encode(image, "WEBP", lossless=True),
        "alpha.webp": encode(image.convert("RGBA"), "WEBP"),
        "lzw.tif": encode(image, "TIFF", compression="tiff_lzw"),
        "big.tif": encode(image, "TIFF", big_tiff=True),
        "one.gif": encode(frames[0], "GIF"),
        "moving.gif": encode(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "moving.webp": encode(image, "WEBP", save_all=True, append_images=[Image.fromarray(noise(30, 50, 1))]),
        "one.bmp": encode(image, "BMP"),
        "large.png": encode(Image.fromarray(noise(200, 300)), "PNG"),
        "large.tif": encode(Image.fromarray(noise(200, 300)), "TIFF"),
        "large.webp": encode(Image.fromarray(noise(300, 400)), "WEBP", lossless=True),
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(_kinds()))
def test_every_kind_of_picture_agrees_with_its_pixels(tmp_path: Path, memory: str, name: str) -> None:
    data = _kinds()[name]
    (tmp_path / name).write_bytes(data)
    storage.write_bytes(f"{memory}/{name}", data)
    assert _agreed(tmp_path / name) == _agreed(f"{memory}/{name}")


def _with_chunk(png: bytes, kind: bytes, body: bytes) -> bytes:
    """Return a PNG with one more chunk, right before its end."""
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return png[:-12] + chunk + png[-12:]


def test_exif_behind_the_pixels_of_a_png_counts(tmp_path: Path) -> None:
    png = encode(Image.fromarray(noise(200, 300)), "PNG")
    (tmp_path / "in").write_bytes(_with_chunk(png, b"eXIf", _orientation_exif(6)[6:]))
    assert _agreed(tmp_path / "in") == Header(300, 200, False)


def test_a_record_behind_the_pixels_of_a_png_counts(tmp_path: Path) -> None:
    png = encode(Image.fromarray(noise(20, 30)), "PNG")
    (tmp_path / "in").write_bytes(_with_chunk(png, b"tEXt", b"gluon_nst\0{}"))
    assert read_header(tmp_path / "in").stylized
    (tmp_path / "in").write_bytes(_with_chunk(png, b"tEXt", b"Comment\0gluon_nst"))
    assert not read_header(tmp_path / "in").stylized


@pytest.mark.parametrize("suffix", sorted(OUTPUT_FORMATS))
@pytest.mark.parametrize("shape", [(20, 30), (300, 200)])
def test_a_picture_of_this_program_is_known(
    tmp_path: Path, memory: str, suffix: str, shape: tuple[int, int]
) -> None:
    for provenance, stylized in (({"job_id": "x"}, True), (None, False)):
        data = encode_image(noise(*shape), suffix, provenance=provenance)
        (tmp_path / "out").write_bytes(data)
        storage.write_bytes(f"{memory}/out", data)
        assert _agreed(tmp_path / "out") == _agreed(f"{memory}/out") == Header(*shape, stylized)


def test_metadata_longer_than_what_is_read_first_is_read_too(memory: str) -> None:
    jpeg = encode(Image.fromarray(gradient(24, 40)), "JPEG")
    comment = b"\xff\xfe" + struct.pack(">H", 60_002) + bytes(60_000)
    storage.write_bytes(f"{memory}/in", jpeg[:2] + 3 * comment + jpeg[2:])
    assert _agreed(f"{memory}/in") == Header(24, 40, False)


def _refused(path: str | Path) -> tuple[str, str]:
    """Return what reading the header and reading the picture say."""
    messages = []
    for read in (read_header, read_image):
        with pytest.raises(ImageReadError) as caught:
            read(path)
        messages.append(str(caught.value))
    return messages[0], messages[1]


@pytest.mark.parametrize(
    "data",
    [b"", b"Dear diary" * 30, b"\0\0\0\x18ftypheic" + bytes(99), b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"],
)
def test_what_is_no_picture_is_refused_in_the_words_of_reading(
    tmp_path: Path, memory: str, data: bytes
) -> None:
    (tmp_path / "in.jpg").write_bytes(data)
    storage.write_bytes(f"{memory}/in.jpg", data)
    for path in (tmp_path / "in.jpg", f"{memory}/in.jpg"):
        header, picture = _refused(path)
        assert header == picture


def test_what_is_missing_or_no_file_is_refused_in_the_words_of_reading(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"x")
    for path in (tmp_path, tmp_path / "phto.jpg", f"{MEMORY}/none.jpg", "nosuch://x/y.jpg", "zero\0byte"):
        header, picture = _refused(path)
        assert header == picture


@pytest.mark.parametrize(
    "name", ["progressive.jpg", "palette.png", "lossless.webp", "lzw.tif", "one.gif", "one.bmp"]
)
def test_a_file_cut_off_anywhere_gives_its_shape_or_an_error_of_pictures(tmp_path: Path, name: str) -> None:
    data, path = _kinds()[name], tmp_path / name
    shapes = set()
    for length in range(1, len(data), max(1, len(data) // 150)):
        path.write_bytes(data[:length])
        try:
            header = read_header(path)
        except ImageError:
            continue
        shapes.add((header.height, header.width))
    assert shapes <= {(30, 50)}


class _Counting(MemoryFileSystem):
    """Memory that tells how much of it was read."""

    protocol = "gluonnstcounting"
    read = 0

    def cat_file(self, path, start=None, end=None, **kwargs):
        data = super().cat_file(path.partition("://")[2], start=start, end=end, **kwargs)
        type(self).read += len(data)
        return data


def test_of_a_large_jpeg_at_a_url_64_kib_are_read(memory: str) -> None:
    fsspec.register_implementation("gluonnstcounting", _Counting, clobber=True)
    data = encode(Image.fromarray(noise(500, 700)), "JPEG", quality=95)
    storage.write_bytes(f"{memory}/in.jpg", data)
    _Counting.read = 0
    assert read_header("gluonnstcounting://gluon_nst_test_header/in.jpg") == Header(500, 700, False)
    assert _Counting.read == 65_536 < len(data)
