from __future__ import annotations

import colorsys
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from gluon_nst.errors import UsageError
from gluon_nst.images.adobe_rgb import adobe_rgb_profile
from gluon_nst.images.color import original_colors, srgb_profile
from gluon_nst.images.read import Picture, read_image

from .builders import (
    ExifWriter,
    cmyk_profile,
    encode,
    gradient,
    gray_profile,
    lab_to_srgb,
    noise,
    srgb_encode,
    swapped_profile,
    xyz_to_srgb,
)

# CIE xy of the primaries of Adobe RGB (1998), white D65, and the Bradford matrix.
_ADOBE_PRIMARIES = np.array([[0.64, 0.33], [0.21, 0.71], [0.15, 0.06]])
_D65, _D50 = np.array([0.9505, 1.0, 1.0891]), np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def _read(folder: Path, data: bytes) -> Picture:
    (folder / "picture").write_bytes(data)
    return read_image(folder / "picture")


def _adobe_to_xyz_d50() -> np.ndarray:
    """Derive the matrix of Adobe RGB from its chromaticities (Lindbloom)."""
    x, y = _ADOBE_PRIMARIES.T
    columns = np.stack([x / y, np.ones(3), (1 - x - y) / y])
    columns = columns * np.linalg.solve(columns, _D65)
    gain = np.diag((_BRADFORD @ _D50) / (_BRADFORD @ _D65))
    return np.linalg.inv(_BRADFORD) @ gain @ _BRADFORD @ columns


def _adobe_to_srgb(pixels: np.ndarray) -> np.ndarray:
    return xyz_to_srgb((pixels / 255) ** (563 / 256) @ _adobe_to_xyz_d50().T)


def test_the_matrix_of_adobe_rgb_follows_from_its_primaries() -> None:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(adobe_rgb_profile())).profile
    columns = [profile.red_colorant[0], profile.green_colorant[0], profile.blue_colorant[0]]
    np.testing.assert_allclose(np.array(columns).T, _adobe_to_xyz_d50(), atol=2e-4)
    assert profile.profile_description == "Adobe RGB (1998)"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_an_embedded_profile_is_applied(tmp_path: Path, kind: str) -> None:
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    image = Image.new("RGB", (8, 8), (250, 40, 10))
    picture = _read(tmp_path, encode(image, kind, icc_profile=swapped_profile(), **options))
    assert np.abs(picture.pixels.astype(int) - (40, 250, 10)).max() <= 2
    assert picture.note == ("colors converted to sRGB with its profile 'sRGB built-in'",)


def test_wide_gamut_colors_are_converted_by_the_book(tmp_path: Path) -> None:
    pixels = gradient(40, 40) // 2 + 60
    picture = _read(tmp_path, encode(Image.fromarray(pixels), "PNG", icc_profile=adobe_rgb_profile()))
    expected = _adobe_to_srgb(pixels)
    inside = ((expected > 0) & (expected < 255)).all(axis=2)
    assert inside.mean() > 0.5
    assert np.abs(picture.pixels - expected)[inside].max() <= 1
    assert np.abs(picture.pixels.astype(int) - pixels).max() > 10


@pytest.mark.parametrize("order", ["<", ">"])
def test_adobe_rgb_that_is_only_named_in_exif_is_converted(tmp_path: Path, order: str) -> None:
    pixels = np.full((8, 8, 3), (100, 150, 100), np.uint8)
    block = ExifWriter(order).block(orientation=1).replace(b"R98\0", b"R03\0")
    picture = _read(tmp_path, encode(Image.fromarray(pixels), "PNG", exif=block))
    assert np.abs(picture.pixels - _adobe_to_srgb(pixels)).max() <= 1
    plain = encode(Image.fromarray(pixels), "PNG", exif=ExifWriter(order).block(orientation=1))
    np.testing.assert_array_equal(_read(tmp_path, plain).pixels, pixels)


def test_an_srgb_profile_moves_no_pixel(tmp_path: Path) -> None:
    pixels = noise(30, 30)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = _read(tmp_path, encode(Image.fromarray(pixels), "PNG", icc_profile=profile))
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert picture.note == ()


def test_alpha_is_not_colored(tmp_path: Path) -> None:
    rgba = np.dstack([np.full((4, 4, 3), (200, 40, 10), np.uint8), np.full((4, 4), 99, np.uint8)])
    picture = _read(tmp_path, encode(Image.fromarray(rgba), "PNG", icc_profile=swapped_profile()))
    np.testing.assert_array_equal(picture.alpha, rgba[..., 3])
    assert np.abs(picture.pixels.astype(int) - (40, 200, 10)).max() <= 1


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_gray_profiles_are_applied_to_gray(tmp_path: Path, mode: str) -> None:
    levels = np.arange(256, dtype=np.uint8)[None]
    image = Image.fromarray(levels)
    if mode == "LA":
        image.putalpha(100)
    picture = _read(tmp_path, encode(image, "PNG", icc_profile=gray_profile(1.0)))
    assert np.abs(picture.pixels[..., 0] - srgb_encode(levels / 255)).max() <= 1
    assert picture.note == ("grayscale converted to sRGB with its profile",)


def test_gray_with_a_profile_of_rgb_takes_its_curve(tmp_path: Path) -> None:
    levels = np.arange(256, dtype=np.uint8)[None]
    picture = _read(tmp_path, encode(Image.fromarray(levels), "PNG", icc_profile=adobe_rgb_profile()))
    assert np.abs(picture.pixels[..., 1] - srgb_encode((levels / 255) ** (563 / 256))).max() <= 1


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_cmyk_is_converted_with_its_profile(tmp_path: Path, kind: str) -> None:
    corners = np.zeros((2, 2, 2, 2, 3), int)
    corners[...] = (0, 128, 128)  # every other overprint is black
    corners[0, 0, 0, 0] = (255, 128, 128)  # paper
    corners[1, 0, 0, 0] = (140, 98, 88)
    corners[0, 1, 0, 0] = (125, 180, 120)
    for inks in [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (1, 1, 0, 0)]:
        image = Image.new("CMYK", (16, 16), tuple(255 * ink for ink in inks))
        data = encode(image, kind, icc_profile=cmyk_profile(corners))
        picture = _read(tmp_path, data)
        stored = corners[inks]
        lab = np.array([stored[0] / 2.55, stored[1] - 128, stored[2] - 128])
        assert np.abs(picture.pixels[8, 8] - lab_to_srgb(lab)).max() <= 3
        assert picture.note == ("CMYK converted to sRGB with its profile",)


@pytest.mark.parametrize(
    ("profile", "note"),
    [
        (b"not a profile at all", "unusable color profile ignored"),
        (adobe_rgb_profile()[:300], "unusable color profile ignored"),
        (gray_profile(1.0), "color profile of another color space ignored"),
        (adobe_rgb_profile().replace(b"RGB ", b"HLS ", 1), "color profile of another color space ignored"),
    ],
)
def test_a_profile_that_cannot_be_used_is_ignored_with_a_note(
    tmp_path: Path, profile: bytes, note: str
) -> None:
    pixels = noise(6, 6)
    picture = _read(tmp_path, encode(Image.fromarray(pixels), "PNG", icc_profile=profile))
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert picture.note == (note,)


def test_the_profile_of_outputs_is_srgb_and_carries_no_clock() -> None:
    profile = srgb_profile()
    srgb_profile.cache_clear()
    assert srgb_profile() == profile
    assert profile[24:36] == bytes.fromhex("07d000010001000000000000")
    made_now = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    made_now[24:36] = profile[24:36]
    assert bytes(made_now) == profile


def test_original_colors_exchanges_luma_and_keeps_chroma() -> None:
    # Mild pictures, so that nothing leaves the gamut.
    stylized, content = noise(6, 5) // 8 + 110, noise(6, 5, seed=1) // 4 + 96
    result = original_colors(stylized, content)
    assert result.dtype == np.uint8
    for y, x in np.ndindex(6, 5):
        luma = colorsys.rgb_to_yiq(*(stylized[y, x] / 255))[0]
        chroma = colorsys.rgb_to_yiq(*(content[y, x] / 255))[1:]
        expected = np.array(colorsys.yiq_to_rgb(luma, *chroma)) * 255
        # colorsys rounds its luma weights to two digits: 0.30, 0.59, 0.11.
        assert np.abs(result[y, x] - expected).max() < 1.5


def test_original_colors_of_jpegs_own_color_space() -> None:
    stylized, content = noise(16, 16) // 8 + 110, noise(16, 16, seed=1) // 4 + 96
    luma = Image.fromarray(stylized).convert("YCbCr").getchannel(0)
    chroma = Image.fromarray(content).convert("YCbCr").split()[1:]
    expected = np.asarray(Image.merge("YCbCr", (luma, *chroma)).convert("RGB")).astype(int)
    assert np.abs(original_colors(stylized, content) - expected).max() <= 3  # Pillow rounds each way


def test_original_colors_of_gray_and_of_itself() -> None:
    content = noise(4, 4)
    np.testing.assert_array_equal(original_colors(content, content), content)
    gray = np.repeat(noise(4, 4)[..., :1], 3, axis=2)
    stylized = noise(4, 4, seed=2)
    luma = np.rint(stylized @ np.array([0.299, 0.587, 0.114]))
    np.testing.assert_array_equal(original_colors(stylized, gray), np.repeat(luma[..., None], 3, axis=2))


def test_original_colors_clips_what_leaves_the_gamut() -> None:
    white, blue = np.full((1, 1, 3), 255, np.uint8), np.array([[[0, 0, 255]]], np.uint8)
    np.testing.assert_array_equal(original_colors(white, blue), [[[226, 226, 255]]])
    np.testing.assert_array_equal(original_colors(np.zeros_like(blue), blue), [[[0, 0, 226]]])


def test_original_colors_needs_one_shape() -> None:
    with pytest.raises(UsageError, match="one shape"):
        original_colors(noise(4, 4), noise(4, 5))
