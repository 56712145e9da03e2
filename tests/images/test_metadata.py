"""EXIF in, EXIF out; what is made and read back here is made by hand and read by Pillow."""

from __future__ import annotations

import io
import random
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from gluon_nst.images.metadata import (
    add_exif_to_tiff,
    carry_exif,
    exif_for_output,
    names_adobe_rgb,
    read_orientation,
)
from gluon_nst.images.read import read_image
from gluon_nst.images.write import encode_image

from .builders import ExifWriter, encode, gradient

ORDERS = pytest.mark.parametrize("order", ["<", ">"])
KINDS = pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])


def _exif_of(data: bytes) -> tuple[dict[int, Any], dict[int, Any], dict[int, Any], dict[int, Any]]:
    with Image.open(io.BytesIO(data)) as image:
        exif = image.getexif()
        parts = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.IFD.IFD1)
        return dict(exif), *(dict(exif.get_ifd(part)) for part in parts)


@ORDERS
@KINDS
def test_what_describes_the_photo_survives_and_what_would_be_false_does_not(
    tmp_path: Path, order: str, suffix: str
) -> None:
    (tmp_path / "in.jpg").write_bytes(
        encode(Image.fromarray(gradient(30, 40)), "JPEG", exif=ExifWriter(order).block())
    )
    picture = read_image(tmp_path / "in.jpg")
    image, photo, place, thumbnail = _exif_of(encode_image(gradient(12, 9), suffix, exif=picture.exif))
    assert image[ExifTags.Base.Make] == "Maker"
    assert image[ExifTags.Base.XResolution] == 300
    assert image[ExifTags.Base.Artist].encode("latin-1") == "Zoë Ünal".encode()
    assert image[ExifTags.Base.Copyright] == "© Zoë"
    assert ExifTags.Base.Orientation not in image
    assert photo[ExifTags.Base.ExposureTime] == 1 / 250
    assert photo[ExifTags.Base.DateTimeOriginal] == "2024:05:06 07:08:09"
    assert photo[ExifTags.Base.ExposureBiasValue] == pytest.approx(-1 / 3)
    assert photo[ExifTags.Base.UserComment] == b"ASCII\0\0\0a comment"
    assert photo[ExifTags.Base.LensModel].encode("latin-1") == "Objectif 35 mm é".encode()
    assert (photo[ExifTags.Base.ExifImageHeight], photo[ExifTags.Base.ExifImageWidth]) == (12, 9)
    assert photo[ExifTags.Base.ColorSpace] == 1
    assert ExifTags.Base.MakerNote not in photo
    assert ExifTags.IFD.Interop not in photo
    assert place == {}
    assert thumbnail == {}
    if suffix == ".tif":
        assert (image[ExifTags.Base.ImageWidth], image[ExifTags.Base.ImageLength]) == (9, 12)
    else:
        assert ExifTags.Base.ImageWidth not in image


@ORDERS
@KINDS
def test_gps_is_kept_when_asked_for(tmp_path: Path, order: str, suffix: str) -> None:
    (tmp_path / "in.png").write_bytes(
        encode(Image.fromarray(gradient(4, 4)), "PNG", exif=ExifWriter(order).block())
    )
    picture = read_image(tmp_path / "in.png", keep_gps=True)
    place = _exif_of(encode_image(gradient(4, 4), suffix, exif=picture.exif))[2]
    assert place == {1: "N", 2: (48.0, 51.0, 30.0)}


@KINDS
def test_exif_goes_from_any_kind_to_any_kind(tmp_path: Path, suffix: str) -> None:
    carried = carry_exif(ExifWriter("<").block(), keep_gps=True)
    path = tmp_path / f"in{suffix}"
    path.write_bytes(encode_image(gradient(8, 8), suffix, exif=carried))
    again = read_image(path, keep_gps=True).exif
    assert again is not None
    image, photo, place, _ = _exif_of(encode_image(gradient(3, 5), ".jpg", exif=again))
    assert image[ExifTags.Base.Copyright] == "© Zoë"
    assert photo[ExifTags.Base.ExposureBiasValue] == pytest.approx(-1 / 3)
    assert (photo[ExifTags.Base.ExifImageHeight], photo[ExifTags.Base.ExifImageWidth]) == (3, 5)
    assert place[1] == "N"


def test_exif_that_imagemagick_put_into_a_png_text_is_found(tmp_path: Path) -> None:
    block = ExifWriter(">").block(orientation=3)
    chunks = PngInfo()
    chunks.add_text("Raw profile type exif", f"\nexif\n{len(block):8}\n{block.hex()}\n", zip=True)
    pixels = gradient(5, 7)
    (tmp_path / "in.png").write_bytes(encode(Image.fromarray(pixels), "PNG", pnginfo=chunks))
    picture = read_image(tmp_path / "in.png")
    np.testing.assert_array_equal(picture.pixels, pixels[::-1, ::-1])
    assert picture.exif is not None
    assert b"2024:05:06" in picture.exif


def test_a_picture_without_exif_has_none_and_gets_none(tmp_path: Path) -> None:
    (tmp_path / "in.jpg").write_bytes(encode(Image.fromarray(gradient(8, 8)), "JPEG"))
    assert read_image(tmp_path / "in.jpg").exif is None
    assert exif_for_output(None, 5, 5) is None
    assert b"Exif\0\0" not in encode_image(gradient(8, 8), ".jpg")


def test_a_plain_tiff_carries_nothing_of_its_storage(tmp_path: Path) -> None:
    (tmp_path / "in.tif").write_bytes(encode(Image.fromarray(gradient(8, 8)), "TIFF"))
    assert read_image(tmp_path / "in.tif").exif is None


@ORDERS
def test_orientation_and_adobe_rgb_are_read(order: str) -> None:
    for orientation in range(1, 9):
        assert read_orientation(ExifWriter(order).block(orientation)) == orientation
    for nonsense in (0, 9, 65535):
        assert read_orientation(ExifWriter(order).block(nonsense)) == 1
    assert not names_adobe_rgb(ExifWriter(order).block())
    assert names_adobe_rgb(ExifWriter(order).block().replace(b"R98\0", b"R03\0"))


def test_tiffs_of_both_byte_orders_take_exif_of_both() -> None:
    pixels = gradient(6, 5)
    little = encode(Image.fromarray(pixels), "TIFF", compression="tiff_lzw")
    big = _big_endian_tiff(pixels)
    for tiff in (little, big):
        for order in "<>":
            # The block claims 4000 x 3000 pixels; of its storage a file knows best.
            merged = add_exif_to_tiff(tiff, ExifWriter(order).block(orientation=1))
            with Image.open(io.BytesIO(merged)) as image:
                np.testing.assert_array_equal(np.asarray(image), pixels)
            image_fields, photo, place, _ = _exif_of(merged)
            assert image_fields[ExifTags.Base.Make] == "Maker"
            assert photo[ExifTags.Base.ExposureTime] == 1 / 250
            assert place[2] == (48.0, 51.0, 30.0)


def _big_endian_tiff(pixels: np.ndarray) -> bytes:
    height, width = pixels.shape[:2]
    entries = [
        (0x0100, 4, width),
        (0x0101, 4, height),
        (0x0102, 3, [8, 8, 8]),
        (0x0103, 3, 1),
        (0x0106, 3, 2),
        (0x0111, 4, 200),
        (0x0115, 3, 3),
        (0x0116, 4, height),
        (0x0117, 4, pixels.size),
    ]
    return (b"MM\0*\0\0\0\x08" + ExifWriter(">").fields(8, entries)).ljust(200, b"\0") + pixels.tobytes()


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"Exif\0\0",
        b"Exif\0\0II*\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 40,
        b"nothing of the kind",
    ],
)
def test_malformed_exif_does_not_stop_a_read(tmp_path: Path, block: bytes) -> None:
    pixels = gradient(8, 8)
    (tmp_path / "in.png").write_bytes(encode(Image.fromarray(pixels), "PNG", exif=block or b"\0"))
    picture = read_image(tmp_path / "in.png")
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert picture.exif is None
    assert exif_for_output(block, 3, 3) is None


@ORDERS
def test_damaged_exif_gives_what_is_left_and_never_an_error(order: str) -> None:
    block, chance = ExifWriter(order).block(), random.Random(0)
    for _ in range(3000):
        damaged = bytearray(block[: chance.randrange(8, len(block))])
        for _ in range(chance.choice([1, 2, 5])):
            damaged[chance.randrange(len(damaged))] = chance.choice([0, 255, chance.randrange(256)])
        assert 1 <= read_orientation(bytes(damaged)) <= 8
        carried = carry_exif(bytes(damaged), keep_gps=True)
        if carried is not None:
            assert carry_exif(carried, keep_gps=True) == carried


@ORDERS
def test_a_directory_whose_fields_all_share_their_bytes_is_not_multiplied(order: str) -> None:
    writer = ExifWriter(order)
    count = 5000
    table = struct.pack(order + "H", count)
    for tag in range(count):
        table += struct.pack(order + "HHII", 0x9000 + tag, 7, 8000, 8)
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HI", 42, 8)
    image = writer.fields(8, [(0x010F, 2, b"Maker\0"), (0x8769, 4, 60)])
    hostile = (head + image).ljust(60, b"\0") + table
    tracemalloc.start()
    carried = carry_exif(hostile)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert carried is not None
    assert b"Maker" in carried
    assert peak < 20 * len(hostile)


@ORDERS
def test_values_begin_at_even_offsets(order: str) -> None:
    carried = (carry_exif(ExifWriter(order).block()) or b"")[6:]
    count = struct.unpack_from(order + "H", carried, 8)[0]
    entries = [struct.unpack_from(order + "HHII", carried, 10 + 12 * i) for i in range(count)]
    offsets = [value for tag, kind, number, value in entries if kind == 2 and number > 4]
    assert len(offsets) == 3
    assert [offset % 2 for offset in offsets] == [0, 0, 0]


def test_one_huge_field_does_not_cost_the_others() -> None:
    fields = [(0x010F, 2, b"Maker\0"), (0x010E, 2, b"x" * 62000 + b"\0")]
    carried = carry_exif(b"II*\0\x08\0\0\0" + ExifWriter("<").fields(8, fields))
    assert carried is not None
    assert b"Maker" in carried


def test_a_block_too_long_for_a_jpeg_does_not_stop_a_write() -> None:
    writer = ExifWriter("<")
    photo = [(0x9286 + i, 7, b"x" * 8000) for i in range(12)]
    block = b"II*\0\x08\0\0\0" + writer.fields(8, [(0x8769, 4, 26)]) + writer.fields(26, photo)
    data = encode_image(gradient(8, 8), ".jpg", exif=block)
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (8, 8)
