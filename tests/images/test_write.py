from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image, ImageCms

from gluon_nst.errors import OutputError, UsageError
from gluon_nst.images.read import read_image
from gluon_nst.images.write import OUTPUT_FORMATS, check_output_path, encode_image, write_image
from tests.limits import files_at_most

from .builders import ExifWriter, gradient, noise

KINDS = pytest.mark.parametrize("suffix", sorted(OUTPUT_FORMATS))


def _opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@KINDS
def test_what_is_written_is_read_back(tmp_path: Path, suffix: str) -> None:
    pixels = gradient(40, 50)
    write_image(tmp_path / f"a{suffix}", pixels)
    picture = read_image(tmp_path / f"a{suffix}")
    lossless = OUTPUT_FORMATS[suffix] in ("PNG", "TIFF")
    assert np.abs(picture.pixels.astype(int) - pixels).max() <= (0 if lossless else 12)
    assert picture.alpha is None
    assert picture.note == ()


@KINDS
def test_every_output_carries_an_srgb_profile(suffix: str) -> None:
    image = _opened(encode_image(noise(8, 8), suffix))
    assert image.format == OUTPUT_FORMATS[suffix]
    profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
    assert "sRGB" in ImageCms.getProfileDescription(profile)


@KINDS
def test_alpha_is_kept_and_in_jpeg_laid_on_white(tmp_path: Path, suffix: str) -> None:
    pixels, alpha = gradient(32, 32), np.full((32, 32), 64, np.uint8)
    pixels[:] = (200, 100, 0)
    alpha[:, :16] = 0
    write_image(tmp_path / f"a{suffix}", pixels, alpha=alpha)
    picture = read_image(tmp_path / f"a{suffix}")
    if OUTPUT_FORMATS[suffix] == "JPEG":
        assert picture.alpha is None
        share = alpha[..., None] / 255
        expected = pixels * share + 255 * (1 - share)
        assert np.abs(picture.pixels - expected)[:, [0, 31]].max() <= 2
    else:
        assert picture.alpha is not None
        np.testing.assert_array_equal(picture.alpha, alpha)
        assert np.abs(picture.pixels.astype(int) - pixels)[:, 24:].max() <= 2


def test_jpeg_is_written_at_95_without_chroma_subsampling() -> None:
    image = _opened(encode_image(noise(16, 16), ".jpg"))
    assert all(component[1:3] == (1, 1) for component in image.layer)
    # libjpeg scales the example table of ITU-T T.81, K.1 by (200 - 2 * 95) percent: 16 becomes 2.
    assert image.quantization[0][0] == 2
    assert len(encode_image(noise(64, 64), ".jpg", quality=50)) < len(encode_image(noise(64, 64), ".jpg")) / 2


@pytest.mark.parametrize("quality", [95, 100])
def test_noise_which_compresses_worst_can_be_written(quality: int) -> None:
    image = _opened(encode_image(noise(700, 700), ".jpg", exif=ExifWriter("<").block(), quality=quality))
    assert image.size == (700, 700)


@KINDS
def test_equal_input_gives_equal_bytes_in_another_process(suffix: str) -> None:
    script = (
        "import sys, numpy as np; from gluon_nst.images.write import encode_image;"
        "pixels = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3);"
        f"data = encode_image(pixels, {suffix!r}, alpha=pixels[..., 0], provenance={{'a': 1}});"
        "sys.stdout.buffer.write(data)"
    )
    pixels = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)
    here = encode_image(pixels, suffix, alpha=pixels[..., 0], provenance={"a": 1})
    there = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert there.stdout == here


def test_arrays_are_not_changed_and_need_not_be_contiguous() -> None:
    pixels, alpha = noise(9, 9), noise(9, 9)[..., 0].copy()
    before = (pixels.copy(), alpha.copy())
    for suffix in OUTPUT_FORMATS:
        turned = encode_image(pixels.transpose(1, 0, 2), suffix, alpha=alpha.T)
        straight = encode_image(np.ascontiguousarray(pixels.transpose(1, 0, 2)), suffix, alpha=alpha.T.copy())
        assert turned == straight
    np.testing.assert_array_equal(pixels, before[0])
    np.testing.assert_array_equal(alpha, before[1])


@pytest.mark.parametrize("name", ["out.jpg", "OUT.JPEG", "a.b.png", "x.TiFf"])
def test_good_names_pass_in_any_case(tmp_path: Path, name: str) -> None:
    check_output_path(tmp_path / name)
    write_image(tmp_path / name, noise(4, 4))
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["out", "out.gif", "out.", "png", "out.jpgg", "out.png.bak"])
def test_a_suffix_that_is_not_written_is_named_with_those_that_are(tmp_path: Path, name: str) -> None:
    for attempt in (
        lambda: check_output_path(tmp_path / name),
        lambda: write_image(tmp_path / name, noise(4, 4)),
    ):
        with pytest.raises(OutputError, match=r"\.jpg, \.jpeg, \.png, \.webp, \.tif, \.tiff") as caught:
            attempt()
        assert name in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_impossible_place_is_known_beforehand(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "out.png", "https://example.invalid/out.png"):
        with pytest.raises(OutputError, match="cannot write"):
            check_output_path(place)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OutputError, match="is a directory"):
        check_output_path(tmp_path / "folder.png")


@pytest.mark.parametrize(("suffix", "limit"), [(".jpg", 65500), (".webp", 16383)])
def test_sides_end_where_the_format_ends(suffix: str, limit: int) -> None:
    assert max(_opened(encode_image(np.zeros((1, limit, 3), np.uint8), suffix)).size) == limit
    with pytest.raises(OutputError, match=rf"end at {limit}; write \.png or \.tif"):
        encode_image(np.zeros((limit + 1, 1, 3), np.uint8), suffix)
    assert _opened(encode_image(np.zeros((1, limit + 1, 3), np.uint8), ".png")).width == limit + 1


@pytest.mark.parametrize(
    ("pixels", "alpha", "quality"),
    [
        (np.zeros((4, 4, 3)), None, 95),
        (np.zeros((4, 4), np.uint8), None, 95),
        (np.zeros((4, 4, 4), np.uint8), None, 95),
        (np.zeros((0, 4, 3), np.uint8), None, 95),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), np.uint8), 95),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4)), 95),
        (np.zeros((4, 4, 3), np.uint8), None, 0),
        (np.zeros((4, 4, 3), np.uint8), None, 101),
    ],
)
def test_arguments_that_cannot_be_meant(pixels: np.ndarray, alpha: np.ndarray | None, quality: int) -> None:
    with pytest.raises(UsageError):
        encode_image(pixels, ".png", alpha=alpha, quality=quality)


def test_a_write_that_fails_leaves_the_old_picture(tmp_path: Path) -> None:
    write_image(tmp_path / "out.png", np.zeros((8, 8, 3), np.uint8))
    old = (tmp_path / "out.png").read_bytes()
    with pytest.raises(OutputError, match=r"cannot write .*out\.png"), files_at_most(4096):
        write_image(tmp_path / "out.png", noise(100, 100))
    assert (tmp_path / "out.png").read_bytes() == old
    assert os.listdir(tmp_path) == ["out.png"]  # noqa: PTH208


def test_a_url_is_written_in_one_piece() -> None:
    url = "memory://gluon_nst_test_write/deep/out.webp"
    check_output_path(url)
    write_image(url, gradient(20, 20))
    assert np.abs(read_image(url).pixels.astype(int) - gradient(20, 20)).mean() < 3
    assert fsspec.filesystem("memory").ls("/gluon_nst_test_write/deep", detail=False) == [
        "/gluon_nst_test_write/deep/out.webp"
    ]
    fsspec.filesystem("memory").rm("/gluon_nst_test_write", recursive=True)


def test_tiff_is_compressed_without_loss() -> None:
    flat = np.zeros((200, 200, 3), np.uint8)
    assert len(encode_image(flat, ".tif")) < 2000
    np.testing.assert_array_equal(np.asarray(_opened(encode_image(noise(50, 40), ".tif"))), noise(50, 40))
