"""The grid of feature maps: its rows are checked against features computed and placed here on their own."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gluon_nst.errors import ImageSizeError, ParametersError, RecipeError, UsageError
from gluon_nst.feature_grid import feature_grid
from gluon_nst.feature_sheet import Column, color_map, draw_sheet
from gluon_nst.parameters import Parameters, load_parameters

ROOT = Path(__file__).resolve().parent.parent
Picture = NDArray[np.uint8]
FLAT = (208, 208, 208)


@pytest.fixture(scope="module")
def parameters() -> Parameters:
    return load_parameters("bundled", "vgg16")


@pytest.fixture(scope="module")
def photo() -> Picture:
    return np.asarray(Image.open(ROOT / "data" / "photos" / "temple.jpg").convert("RGB"))


def picture(height: int, width: int, seed: int = 0) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def holds(sheet: Picture, tile: Picture) -> bool:
    """Whether a tile stands somewhere in a sheet, pixel for pixel."""
    height, width = tile.shape[:2]
    corners = (sheet[: -height or None, : -width or None] == tile[0, 0]).all(axis=2)
    return any(np.array_equal(sheet[y : y + height, x : x + width], tile) for y, x in np.argwhere(corners))


def column(features: dict[str, NDArray[np.float32]], height: int = 48, width: int = 64) -> Column:
    return Column("picture", ["a note"], picture(height, width), features)


# --- the sheet


def test_colors_run_from_viridis_first_to_its_last_and_grow_lighter() -> None:
    colors = color_map(np.arange(256, dtype=np.uint8)[None])[0].astype(float)
    assert colors[0].tolist() == [0x44, 0x01, 0x54]
    assert colors[-1].tolist() == [0xFD, 0xE7, 0x25]
    linear = np.where(colors / 255 <= 0.04045, colors / 255 / 12.92, ((colors / 255 + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]  # of sRGB, IEC 61966-2-1
    lightness = 116 * np.cbrt(luminance) - 16  # CIE 1976 L*, above its dark end
    assert np.diff(lightness[8::4]).min() > 0
    assert np.polynomial.Polynomial.fit(np.arange(256), lightness, 1)(np.arange(256)) == pytest.approx(
        lightness, abs=3.0
    )


def test_a_map_is_drawn_over_its_own_range() -> None:
    ramp = np.linspace(-3, 5, 64 * 48, dtype=np.float32).reshape(1, 48, 64)
    expected = color_map(np.rint((ramp[0] + 3) / 8 * 255).astype(np.uint8))
    sheet = draw_sheet([column({"relu1_1": ramp})], "title", [], 64)
    assert holds(sheet, expected)
    assert np.array_equal(sheet, draw_sheet([column({"relu1_1": ramp * 1000})], "title", [], 64))


def test_a_small_map_is_shown_pixel_by_pixel() -> None:
    small = np.array([[[0, 255], [100, 50]]], np.float32)
    expected = color_map(small[0].astype(np.uint8)).repeat(32, axis=0).repeat(32, axis=1)
    assert holds(draw_sheet([column({"relu5_1": small}, 64, 64)], "title", [], 64), expected)


def test_a_dead_map_is_flat_gray() -> None:
    for value in (0.0, 7.0):
        dead = np.full((1, 3, 4), value, np.float32)
        sheet = draw_sheet([column({"relu5_1": dead})], "title", [], 64)
        assert holds(sheet, np.full((48, 64, 3), FLAT, np.uint8))


def test_columns_stand_side_by_side_and_maps_in_order() -> None:
    # Each map is bright in one place: first the left one of two halves, then the right.
    left, right = np.zeros((2, 4), np.float32), np.zeros((2, 4), np.float32)
    left[:, :2], right[:, 2:] = 1, 1
    one = column({"relu1_1": np.stack([left, right])}, 32, 64)
    sheet = draw_sheet([one, one], "title", [], 64)
    row = sheet[-40]  # within the only row of maps
    bright = (row == [0xFD, 0xE7, 0x25]).all(axis=1)
    starts = np.flatnonzero(bright[1:] & ~bright[:-1]) + 1
    widths = np.flatnonzero(~bright[1:] & bright[:-1]) + 1 - starts
    assert widths.tolist() == [32, 32, 32, 32]
    assert starts[1] - starts[0] == 64 + 4 + 32  # a map, the gap, and half a map
    assert starts[2] - starts[0] == starts[3] - starts[1] > 2 * 64


def test_long_and_strange_labels_stay_within_their_column() -> None:
    features = {"relu1_1": np.eye(8, dtype=np.float32)[None]}
    short, long = (
        dataclasses.replace(column(features), label=label)
        for label in ("a", "long\nname\t" * 40 + "\N{PARTY POPPER}")
    )
    assert draw_sheet([long], "t", [], 64).shape == draw_sheet([short], "t", [], 64).shape
    beside = draw_sheet([long, short], "t", [], 64)
    alone = draw_sheet([short, short], "t", [], 64)
    assert np.array_equal(beside[:, -200:], alone[:, -200:])  # nothing ran into the next column


# --- the whole


def test_rows_hold_the_features_of_the_network(parameters: Parameters, photo: Picture) -> None:
    # relu1_1 of a picture, by hand: a 3x3 correlation of the normalized picture, zeros around it.
    small = np.asarray(Image.fromarray(photo).crop((250, 100, 314, 148)))  # 64x48: no resizing anywhere
    normalized = (small / 255.0 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    padded = np.pad(normalized, ((1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))  # (H, W, 3, 3, 3)
    weight, bias = parameters.arrays["conv1_1.weight"], parameters.arrays["conv1_1.bias"]
    maps = np.maximum(np.einsum("hwcij,ocij->ohw", windows, weight) + bias[:, None, None], 0)[:3]
    sheet = feature_grid([small], ["temple"], parameters, layers=["relu1_1"], maps=3, cell=64)
    expected = draw_sheet(
        [Column("temple", [], small, {"relu1_1": maps.astype(np.float32)})], "vgg16", [], 64
    )
    # Rounding may lift single pixels to the next of 256 colors, a step of at most 3.
    strip, wanted = (each[-20 - 48 : -20, -20 - 3 * 64 - 8 : -20].astype(int) for each in (sheet, expected))
    assert strip.std() > 10
    assert np.abs(strip - wanted).max() <= 3


def test_every_activation_has_a_row_by_default(parameters: Parameters, photo: Picture) -> None:
    # 13 convolutions; with cells of 64 pixels a row of a 3:2 picture is 43 pixels high, less than its text.
    all_of_them = feature_grid([photo], ["temple"], parameters, maps=1, cell=128)
    three = feature_grid([photo], ["temple"], parameters, layers=["relu1_1", "relu1_2"], maps=1, cell=128)
    one = feature_grid([photo], ["temple"], parameters, layers=["relu1_1"], maps=1, cell=128)
    row, block_gap = three.shape[0] - one.shape[0], 18
    within, between = 13 - 5, 4  # five blocks
    assert row == 85 + 4  # 128 * 427 / 640, and the gap
    assert all_of_them.shape[0] == one.shape[0] + within * row + between * (row - 4 + block_gap)


def test_layers_whose_maps_are_too_small_are_left_out(parameters: Parameters) -> None:
    # 40 pixels: 40, 20, 10, 5 in blocks 1 to 4, and 2 in block 5, which is not drawn.
    default = feature_grid([picture(40, 40)], ["x"], parameters, maps=1, cell=64)
    four = [f"relu{block}_{i}" for block, count in enumerate((2, 2, 3, 3), 1) for i in range(1, count + 1)]
    assert np.array_equal(
        default, feature_grid([picture(40, 40)], ["x"], parameters, layers=four, maps=1, cell=64)
    )


def test_parameters_that_end_early_end_the_rows(parameters: Parameters) -> None:
    short = load_parameters("bundled", "vgg16", layers_up_to="relu2_1")
    by_name = feature_grid(
        [picture(32, 32)], ["x"], parameters, layers=["relu1_1", "relu1_2", "relu2_1"], cell=32
    )
    assert np.array_equal(feature_grid([picture(32, 32)], ["x"], short, cell=32), by_name)
    with pytest.raises(ParametersError, match="conv2_2"):
        feature_grid([picture(32, 32)], ["x"], short, layers=["relu3_1"])


def test_two_pictures_of_two_shapes(parameters: Parameters, photo: Picture) -> None:
    tall = picture(90, 60)
    both = feature_grid(
        [photo, tall], ["content", "style"], parameters, layers=["relu1_1", "conv2_1"], maps=2
    )
    assert both.dtype == np.uint8 and both.ndim == 3
    # The second picture's header thumbnail, 1.5 cells high, is in it as it is resized on its own.
    thumbnail = np.asarray(Image.fromarray(tall).resize((96, 144), Image.Resampling.LANCZOS))
    assert holds(both, thumbnail)


def test_the_same_call_gives_the_same_grid(parameters: Parameters) -> None:
    grids = [feature_grid([picture(50, 70)], ["x"], parameters, maps=2, cell=48) for _ in range(2)]
    assert np.array_equal(*grids)


def test_a_long_narrow_picture_is_shrunk_no_further_than_the_network_allows(parameters: Parameters) -> None:
    grid = feature_grid([picture(20, 800)], ["strip"], parameters, layers=["relu1_1"], maps=1)
    assert grid.ndim == 3  # at a longer side of 256 it would have been 6 pixels high


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"labels": []}, UsageError, "1 pictures came with 0 labels"),
        ({"maps": 0}, UsageError, "maps is 0; give 1 to 64"),
        ({"maps": 65}, UsageError, "maps is 65"),
        ({"cell": 16}, UsageError, "cell is 16 pixels; give 32 to 512"),
        ({"layers": ["relu9_1"]}, RecipeError, "no layer 'relu9_1'"),
        ({"layers": []}, UsageError, "no layers"),
        ({"pictures": [picture(15, 40)]}, ImageSizeError, "40x15 pixels; no side may be below 16"),
        ({"pictures": [np.zeros((32, 32), np.uint8)]}, UsageError, r"uint8 \(32, 32\)"),
        ({"pictures": [np.zeros((32, 32, 3))]}, UsageError, "float64"),
        ({"pictures": [], "labels": []}, UsageError, "0 pictures"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    parameters: Parameters, settings: dict[str, object], error: type[Exception], message: str
) -> None:
    call: dict[str, object] = {"pictures": [picture(32, 32)], "labels": ["x"], **settings}
    with pytest.raises(error, match=message):
        feature_grid(call.pop("pictures"), call.pop("labels"), parameters, **call)  # type: ignore[arg-type]
