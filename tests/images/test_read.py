"""Orientation, sizes, and everything that can be wrong with a file."""

from __future__ import annotations

import os
import struct
import threading
import warnings
import zlib
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image, ImageFile

from gluon_nst import storage
from gluon_nst.errors import ImageReadError, ImageSizeError
from gluon_nst.images.read import MAX_PIXELS, read_image

from .builders import ExifWriter, encode, gradient, noise

# How an upright picture is stored, from where Exif 2.32 says that row 0 and column 0 are (tag 0x0112): 1 top
# left, 2 top right, 3 bottom right, 4 bottom left, 5 left top, 6 right top, 7 right bottom, 8 left bottom.
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: upright[:, ::-1].transpose(1, 0, 2),
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: upright[::-1].transpose(1, 0, 2),
}


def _orientation_exif(value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif.tobytes()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright(tmp_path: Path, orientation: int, kind: str) -> None:
    upright = gradient(24, 40)
    stored = np.ascontiguousarray(STORED[orientation](upright))
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    data = encode(Image.fromarray(stored), kind, exif=_orientation_exif(orientation), **options)
    (tmp_path / "in").write_bytes(data)
    picture = read_image(tmp_path / "in")
    assert picture.pixels.shape == (24, 40, 3)
    assert np.abs(picture.pixels.astype(int) - upright).max() <= (4 if kind == "JPEG" else 0)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_alpha_is_turned_with_the_colors(tmp_path: Path, kind: str) -> None:
    upright = np.dstack([gradient(6, 9), gradient(6, 9)[..., 2]])
    stored = np.ascontiguousarray(STORED[6](upright))
    (tmp_path / "in").write_bytes(encode(Image.fromarray(stored), kind, exif=_orientation_exif(6)))
    picture = read_image(tmp_path / "in")
    np.testing.assert_array_equal(picture.alpha, upright[..., 3])
    np.testing.assert_array_equal(picture.pixels, upright[..., :3])


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 20000), (20000, 1)])
def test_degenerate_sizes_are_readable(tmp_path: Path, height: int, width: int) -> None:
    pixels = gradient(height, width)
    (tmp_path / "in").write_bytes(encode(Image.fromarray(pixels), "PNG"))
    np.testing.assert_array_equal(read_image(tmp_path / "in").pixels, pixels)


def test_a_url_is_read_like_a_path() -> None:
    pixels = noise(5, 6)
    url = "memory://gluon_nst_test_read/in.png"
    storage.write_bytes(url, encode(Image.fromarray(pixels), "PNG"))
    np.testing.assert_array_equal(read_image(url).pixels, pixels)
    with pytest.raises(ImageReadError, match="no such file"):
        read_image("memory://gluon_nst_test_read/other.png")
    fsspec.filesystem("memory").rm("/gluon_nst_test_read", recursive=True)


def _message(path: Path, kind: type[Exception] = ImageReadError, **options: int) -> str:
    with pytest.raises(kind) as caught:
        read_image(path, **options)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_a_missing_file_names_one_like_it(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    assert f"Did you mean '{tmp_path / 'holiday.jpg'}'?" in _message(tmp_path / "holday.jpg")
    assert "Did you mean" not in _message(tmp_path / "zebra.tif")
    assert "no such file" in _message(tmp_path / "no" / "such" / "folder.png")


def test_a_missing_file_in_a_large_folder(tmp_path: Path) -> None:
    for number in range(2100):
        (tmp_path / f"{number:05}.jpg").touch()
    assert "no such file" in _message(tmp_path / "zebra.tif")


def test_what_is_no_file_or_no_picture_is_named(tmp_path: Path) -> None:
    assert "is a directory" in _message(tmp_path)
    (tmp_path / "empty.jpg").touch()
    assert "is empty" in _message(tmp_path / "empty.jpg")
    (tmp_path / "text.jpg").write_text("Dear diary, Übermut tut selten gut.\n" * 50, encoding="utf-8")
    assert "it is a text file" in _message(tmp_path / "text.jpg")
    (tmp_path / "clip.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    assert "HEIF, AVIF or video" in _message(tmp_path / "clip.heic")
    (tmp_path / "sound.webp").write_bytes(b"RIFF\x24\0\0\0WAVEfmt " + bytes(100))
    assert "begins with the bytes 52 49 46 46" in _message(tmp_path / "sound.webp")
    (tmp_path / "code.jpg").write_bytes(b"\x7fELF\x02\x01\x01\xff" * 20)
    assert "begins with the bytes 7f 45 4c 46" in _message(tmp_path / "code.jpg")
    (tmp_path / "print.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    assert "it is a text file" in _message(tmp_path / "print.jpg")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "symbolic links" in _message(tmp_path / "loop")
    assert "too long" in _message(tmp_path / ("n" * 256))


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_a_file_without_read_permission(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(encode(Image.fromarray(noise(4, 4)), "PNG"))
    (tmp_path / "secret.png").chmod(0)
    assert "Permission denied" in _message(tmp_path / "secret.png")


def _files() -> dict[str, bytes]:
    image = Image.fromarray(noise(40, 60))
    return {
        "baseline.jpg": encode(image, "JPEG", exif=_orientation_exif(1)),
        "progressive.jpg": encode(image, "JPEG", progressive=True),
        "cmyk.jpg": encode(image.convert("CMYK"), "JPEG"),
        "rgb.png": encode(image, "PNG"),
        "palette.png": encode(image.quantize(16), "PNG"),
        "lossy.webp": encode(image, "WEBP"),
        "lossless.webp": encode(image, "WEBP", lossless=True),
        "raw.tif": encode(image, "TIFF"),
        "packed.tif": encode(image, "TIFF", compression="tiff_adobe_deflate"),
        "lzw.tif": encode(image, "TIFF", compression="tiff_lzw"),
        "one.gif": encode(image.quantize(16), "GIF"),
        "one.bmp": encode(image, "BMP"),
    }


@pytest.mark.parametrize("name", sorted(_files()))
def test_a_file_cut_off_anywhere_is_refused_or_whole(
    tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    data, path = _files()[name], tmp_path / name
    path.write_bytes(data)
    whole = read_image(path).pixels
    refused = 0
    lengths = {*np.linspace(1, len(data) - 1, 60).astype(int).tolist(), *range(len(data) - 24, len(data))}
    for length in lengths:
        path.write_bytes(data[:length])
        try:
            pixels = read_image(path).pixels
        except ImageReadError as error:
            refused += 1
            assert "\n" not in str(error)
        else:
            np.testing.assert_array_equal(pixels, whole)
            assert length >= len(data) - 16
    assert refused >= 60


@pytest.mark.parametrize("name", ["baseline.jpg", "progressive.jpg", "cmyk.jpg", "rgb.png", "palette.png"])
def test_a_download_that_stopped_and_was_filled_with_zeros_is_refused(tmp_path: Path, name: str) -> None:
    data = _files()[name]
    for part in (0.3, 0.6, 0.9, 0.98):
        kept = int(len(data) * part)
        (tmp_path / name).write_bytes(data[:kept] + bytes(len(data) - kept))
        assert "damaged" in _message(tmp_path / name)


def test_the_end_marker_of_a_thumbnail_is_not_taken_for_the_end(tmp_path: Path) -> None:
    data = encode(Image.fromarray(noise(64, 64)), "JPEG", exif=ExifWriter("<").block(1))
    assert data.count(b"\xff\xd9") == 2
    kept = len(data) * 9 // 10
    (tmp_path / "in.jpg").write_bytes(data[:kept] + bytes(len(data) - kept))
    assert "no end marker" in _message(tmp_path / "in.jpg")


@pytest.mark.parametrize("seed", range(3))
def test_random_damage_never_escapes_as_another_error(
    tmp_path: Path, seed: int, capfd: pytest.CaptureFixture[str]
) -> None:
    chance = np.random.default_rng(seed)
    for name, data in _files().items():
        for _ in range(30):
            damaged = np.frombuffer(data, np.uint8).copy()
            places = chance.integers(0, min(len(data), chance.choice([60, 400, len(data)])), 3)
            damaged[places] = chance.integers(0, 256, 3)
            (tmp_path / name).write_bytes(damaged.tobytes())
            try:
                read_image(tmp_path / name, max_pixels=1_000_000)
            except (ImageReadError, ImageSizeError) as error:
                assert "\n" not in str(error)


def _png_claiming(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    small = encode(Image.new("RGB", (1, 1)), "PNG")
    return small[:12] + header + struct.pack(">I", zlib.crc32(header)) + small[33:]


def test_a_picture_with_too_many_pixels_is_refused_by_its_header(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(_png_claiming(60000, 50000))
    message = _message(bomb, ImageSizeError)
    assert "50000x60000" in message
    assert f"{MAX_PIXELS:,}" in message
    assert "max_pixels" in message


def test_the_limit_is_exact_and_can_be_moved(tmp_path: Path) -> None:
    (tmp_path / "in.png").write_bytes(encode(Image.fromarray(noise(10, 12)), "PNG"))
    assert read_image(tmp_path / "in.png", max_pixels=120).pixels.shape == (10, 12, 3)
    _message(tmp_path / "in.png", ImageSizeError, max_pixels=119)


def test_between_pillows_warning_and_the_limit_nothing_warns(tmp_path: Path) -> None:
    width, height = 12000, 8000
    assert Image.MAX_IMAGE_PIXELS < width * height < MAX_PIXELS
    (tmp_path / "in.png").write_bytes(_png_claiming(width, height))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "damaged" in _message(tmp_path / "in.png")  # its one pixel does not fill it


def test_a_decoders_own_limit_is_reported_as_a_size(tmp_path: Path) -> None:
    limit, small = MAX_PIXELS * 4, encode(Image.new("L", (8, 8)), "TIFF", compression="tiff_lzw")
    huge = small
    for tag in (256, 257):
        huge = huge.replace(struct.pack("<HHII", tag, 4, 1, 8), struct.pack("<HHII", tag, 4, 1, 20000))
        huge = huge.replace(struct.pack("<HHIHH", tag, 3, 1, 8, 0), struct.pack("<HHII", tag, 4, 1, 20000))
    (tmp_path / "in.tif").write_bytes(huge)
    assert "whatever max_pixels says" in _message(tmp_path / "in.tif", ImageSizeError, max_pixels=limit)


def test_reading_leaves_pillows_settings_and_the_warning_filters_alone(tmp_path: Path) -> None:
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
    (tmp_path / "in.png").write_bytes(encode(Image.fromarray(noise(10, 12)), "PNG"))
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n????")
    threads = [
        threading.Thread(target=lambda: [read_image(tmp_path / "in.png") for _ in range(30)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _message(tmp_path / "bad.png")
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)) == before
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_a_picture_that_makes_pillow_warn_is_read_without_a_warning(tmp_path: Path) -> None:
    data = encode(Image.fromarray(noise(4, 4)), "TIFF", compression="tiff_lzw")
    # An artist whose name lies beyond the end of the file.
    odd = data.replace(struct.pack("<HHI", 284, 3, 1), struct.pack("<HHI", 315, 2, 1 << 20))
    assert odd != data
    (tmp_path / "in.tif").write_bytes(odd)
    with pytest.warns(UserWarning), Image.open(tmp_path / "in.tif"):
        pass
    np.testing.assert_array_equal(read_image(tmp_path / "in.tif").pixels, noise(4, 4))


def test_storage_that_may_recover_can_be_told_from_a_bad_file(tmp_path: Path) -> None:
    (tmp_path / "cut.jpg").write_bytes(_files()["baseline.jpg"][:700])
    for path in (tmp_path / "cut.jpg", tmp_path / "missing.jpg", tmp_path):
        with pytest.raises(ImageReadError) as caught:
            read_image(path)
        assert not storage.may_pass(caught.value)
