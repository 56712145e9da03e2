"""Every color mode that a file can have, against what it means."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import PIL
import pytest
from PIL import Image

from gluon_nst.errors import ImageReadError
from gluon_nst.images.read import Picture, read_image

from .builders import encode, gradient, lab_to_srgb, noise


def _read(folder: Path, data: bytes) -> Picture:
    (folder / "picture").write_bytes(data)
    return read_image(folder / "picture")


def _png(width: int, height: int, depth: int, color: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG by the book, for depths and chunks that Pillow does not write."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_rgb_comes_back_exactly_and_writable(tmp_path: Path, kind: str) -> None:
    pixels = noise(7, 5)
    picture = _read(tmp_path, encode(Image.fromarray(pixels), kind))
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert (picture.alpha, picture.exif, picture.note) == (None, None, ())
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.flags.writeable
    assert picture.pixels.flags.c_contiguous


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_grayscale_becomes_three_equal_channels(tmp_path: Path, kind: str) -> None:
    gray = np.full((8, 8), 77, np.uint8)
    picture = _read(tmp_path, encode(Image.fromarray(gray), kind))
    np.testing.assert_array_equal(picture.pixels, np.full((8, 8, 3), 77))
    assert picture.alpha is None


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    bits = noise(9, 10)[..., 0] > 127
    picture = _read(tmp_path, encode(Image.fromarray(bits), "PNG"))
    np.testing.assert_array_equal(picture.pixels, np.repeat(bits[..., None] * 255, 3, axis=2))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_alpha_is_kept_beside_the_colors(tmp_path: Path, kind: str) -> None:
    rgba = np.dstack([noise(6, 8), 1 + noise(6, 8, seed=1)[..., 0] // 2])
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    picture = _read(tmp_path, encode(Image.fromarray(rgba), kind, **options))
    np.testing.assert_array_equal(picture.pixels, rgba[..., :3])
    np.testing.assert_array_equal(picture.alpha, rgba[..., 3])


def test_gray_with_alpha(tmp_path: Path) -> None:
    both = noise(6, 8)[..., :2].copy()
    picture = _read(tmp_path, encode(Image.fromarray(both, "LA"), "PNG"))
    np.testing.assert_array_equal(picture.pixels, np.repeat(both[..., :1], 3, axis=2))
    np.testing.assert_array_equal(picture.alpha, both[..., 1])


def test_alpha_that_is_opaque_everywhere_is_left_out(tmp_path: Path) -> None:
    rgba = np.dstack([noise(6, 8), np.full((6, 8), 255, np.uint8)])
    assert _read(tmp_path, encode(Image.fromarray(rgba), "PNG")).alpha is None


def test_palette_becomes_its_colors(tmp_path: Path) -> None:
    palette = np.array([[10, 20, 30], [200, 0, 5], [0, 255, 128]], np.uint8)
    index = noise(6, 8)[..., 0] % 3
    image = Image.fromarray(index, "P")
    image.putpalette(palette.tobytes())
    for kind in ("PNG", "GIF", "TIFF"):
        picture = _read(tmp_path, encode(image, kind))
        np.testing.assert_array_equal(picture.pixels, palette[index])
        assert picture.alpha is None


def test_transparent_palette_entries_become_alpha(tmp_path: Path) -> None:
    palette = np.array([[10, 20, 30], [200, 0, 5], [0, 255, 128]], np.uint8)
    index = noise(6, 8)[..., 0] % 3
    image = Image.fromarray(index, "P")
    image.putpalette(palette.tobytes())
    picture = _read(tmp_path, encode(image, "PNG", transparency=bytes([0, 128, 255])))
    np.testing.assert_array_equal(picture.pixels, palette[index])
    np.testing.assert_array_equal(picture.alpha, np.array([0, 128, 255])[index])
    picture = _read(tmp_path, encode(image, "GIF", transparency=1))
    np.testing.assert_array_equal(picture.alpha, np.array([255, 0, 255])[index])


def test_a_transparent_color_becomes_alpha(tmp_path: Path) -> None:
    pixels = noise(6, 8) % 2 * 255
    key = (255, 0, 255)
    picture = _read(tmp_path, encode(Image.fromarray(pixels), "PNG", transparency=key))
    np.testing.assert_array_equal(picture.alpha, np.where((pixels == key).all(axis=2), 0, 255))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_gray_is_scaled_not_clipped(tmp_path: Path, kind: str) -> None:
    values = np.linspace(0, 65535, 30 * 40).round().astype(np.uint16).reshape(30, 40)
    picture = _read(tmp_path, encode(Image.fromarray(values), kind))
    expected = np.rint(values.astype(float) * 255 / 65535)
    np.testing.assert_array_equal(picture.pixels[..., 0], expected)
    assert picture.note == ("16-bit grayscale reduced to 8 bits",)


def test_a_transparent_sixteen_bit_gray_becomes_alpha(tmp_path: Path) -> None:
    values = np.array([[0, 1000], [1001, 65535]], np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    picture = _read(tmp_path, _png(2, 2, 16, 0, rows, (b"tRNS", struct.pack(">H", 1000))))
    np.testing.assert_array_equal(picture.alpha, [[255, 0], [255, 255]])


@pytest.mark.parametrize(("color", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_sixteen_bit_color_and_alpha_are_scaled_to_within_a_level(
    tmp_path: Path, color: int, channels: int
) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (5, 4, channels)).astype(np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    picture = _read(tmp_path, _png(4, 5, 16, color, rows))
    exact = values * (255 / 65535)
    colors = exact[..., :1] if channels == 2 else exact[..., :3]
    assert np.abs(picture.pixels - colors).max() <= 1
    assert (picture.alpha is None) == (channels == 3)
    if channels != 3:
        assert np.abs(picture.alpha - exact[..., -1]).max() <= 1
    assert picture.note == ("16-bit channels reduced to 8",)


def test_integers_within_sixteen_bits_are_read_and_others_refused(tmp_path: Path) -> None:
    values = np.array([[0, 65535], [32768, 257]], np.int32)
    picture = _read(tmp_path, encode(Image.fromarray(values), "TIFF"))
    np.testing.assert_array_equal(picture.pixels[..., 0], [[0, 255], [128, 1]])
    for wild in (-1, 65536):
        values[0, 0] = wild
        with pytest.raises(ImageReadError, match=f"integers from .*{wild}|to {wild}"):
            _read(tmp_path, encode(Image.fromarray(values), "TIFF"))


def test_floats_between_0_and_1_are_read_and_others_refused(tmp_path: Path) -> None:
    values = np.array([[0, 0.25], [0.5, 1]], np.float32)
    picture = _read(tmp_path, encode(Image.fromarray(values), "TIFF"))
    np.testing.assert_array_equal(picture.pixels[..., 1], np.rint(values * 255))
    assert picture.note == ("float values 0..1 scaled to 8 bits",)
    for wild in (-0.1, 1.5, np.nan, np.inf):
        values[0, 0] = wild
        with pytest.raises(ImageReadError, match=r"outside 0\.\.1"):
            _read(tmp_path, encode(Image.fromarray(values), "TIFF"))


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_cmyk_without_a_profile_is_ink_on_white(tmp_path: Path, kind: str) -> None:
    inks = [(0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 255, 0), (0, 0, 0, 255), (60, 120, 0, 51)]
    for cmyk in inks:
        data = encode(Image.new("CMYK", (16, 16), cmyk), kind, **({"quality": 100} if kind == "JPEG" else {}))
        # Adobe writes CMYK JPEGs inverted and marks them; so does Pillow. Taken as they are, white is black.
        assert (b"Adobe\0" in data) == (kind == "JPEG")
        picture = _read(tmp_path, data)
        expected = [(255 - ink) * (255 - cmyk[3]) / 255 for ink in cmyk[:3]]
        assert np.abs(picture.pixels[8, 8] - expected).max() <= 2
        assert picture.note == ("CMYK without a profile converted plainly",)


@pytest.mark.parametrize("lab", [(60, 20, -30), (40, -10, 25), (80, 0, 0), (100, 0, 0), (0, 0, 0)])
def test_cielab_is_converted(tmp_path: Path, lab: tuple[int, int, int]) -> None:
    stored = (round(lab[0] * 2.55), lab[1] + 128, lab[2] + 128)
    picture = _read(tmp_path, encode(Image.new("LAB", (4, 4), stored), "TIFF"))
    assert np.abs(picture.pixels[1, 1] - lab_to_srgb(np.array(lab))).max() <= 1
    assert picture.note == ("CIELAB converted",)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_read(tmp_path: Path, kind: str) -> None:
    colors = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    frames = [Image.new("RGB", (20, 10), color) for color in colors]
    options = {"lossless": True} if kind == "WEBP" else {}
    picture = _read(tmp_path, encode(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    np.testing.assert_array_equal(picture.pixels, np.asarray(frames[0]))
    assert picture.note == ("first frame of 3",)


def test_premultiplied_alpha_is_divided_out(tmp_path: Path) -> None:
    straight, alpha = gradient(10, 10), 128
    premultiplied = np.dstack([np.rint(straight * (alpha / 255)), np.full((10, 10), alpha)]).astype(np.uint8)
    data = encode(Image.fromarray(premultiplied), "TIFF")
    marked = data.replace(struct.pack("<HHII", 338, 3, 1, 2), struct.pack("<HHII", 338, 3, 1, 1))
    assert marked != data
    picture = _read(tmp_path, marked)
    assert np.abs(picture.pixels.astype(int) - straight).max() <= 1
    np.testing.assert_array_equal(picture.alpha, np.full((10, 10), alpha))


@pytest.mark.skipif(int(PIL.__version__.split(".")[0]) < 13, reason="this Pillow cannot read it")
def test_premultiplied_alpha_of_gray_is_divided_out(tmp_path: Path) -> None:
    data = encode(Image.new("LA", (4, 4), (50, 128)), "TIFF")
    marked = data.replace(struct.pack("<HHII", 338, 3, 1, 2), struct.pack("<HHII", 338, 3, 1, 1))
    assert marked != data
    picture = _read(tmp_path, marked)
    assert np.abs(picture.pixels - 50 * 255 / 128).max() <= 1
    np.testing.assert_array_equal(picture.alpha, np.full((4, 4), 128))
