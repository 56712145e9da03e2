"""Where tiles lie: windows, what they own, and the choice of their size."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from gluon_nst.tiles import Box, Tiling, choose_tiling, margin, shift_of_step, smallest_window, stride

SHIFTS = [(0.0, 0.0), (0.31, 0.77), (0.999, 0.999)]


def small_windows(limit):
    return lambda height, width: height * width <= limit


@pytest.mark.parametrize("shape", [(256, 320), (213, 250), (300, 111), (97, 402)])
@pytest.mark.parametrize("border", [16, 32])
@pytest.mark.parametrize("shift", SHIFTS)
def test_every_position_of_every_map_is_owned_once_and_seen_with_its_margin(shape, border, shift):
    tiling = choose_tiling(*shape, border, small_windows(130**2))
    assert tiling.rows * tiling.columns > 1
    owners = {pixels: np.zeros([side // pixels for side in shape], int) for pixels in (1, 2, 4, 8, 16)}
    for tile in tiling.tiles(shift):
        window, owned = tile.window, tile.owned
        assert window.top % 16 == window.left % 16 == 0
        for first, begin, last, end, side in [
            (window.top, owned.top, window.bottom, owned.bottom, shape[0]),
            (window.left, owned.left, window.right, owned.right, shape[1]),
        ]:
            assert first == 0 or begin - first >= border
            assert last == side or last - end >= border
        for pixels, count in owners.items():
            box = owned.at(pixels)
            count[box.top : box.bottom, box.left : box.right] += 1
    assert all((count == 1).all() for count in owners.values())


@pytest.mark.parametrize("shift", SHIFTS)
def test_windows_have_few_shapes_and_those_of_one_shape_come_together(shift):
    tiling = choose_tiling(4096 - 5, 3072 - 9, 80, small_windows(10**6))
    shapes = [tile.window.shape for tile in tiling.tiles(shift)]
    assert len(set(shapes)) == sum(a != b for a, b in itertools.pairwise(shapes)) + 1 <= 4
    assert max(shapes) == tiling.largest
    assert sum(height * width for height, width in shapes) == tiling.work


def test_the_borders_move_with_the_step_and_hang_on_the_seed():
    tiling = choose_tiling(512, 512, 16, small_windows(160**2))
    owned = [
        tuple(tile.owned for tile in tiling.tiles(shift_of_step(seed, step)))
        for seed in (0, 1)
        for step in range(8)
    ]
    assert len(set(owned)) > 6
    assert shift_of_step(3, 4) == shift_of_step(3, 4)


def test_the_margin_is_how_far_the_deepest_layer_sees():
    # 2 convolutions at 1 pixel, 2 at 2, 4 at 4, 4 at 8 and 1 at 16: 2 + 4 + 16 + 32 + 16 = 70.
    assert margin("vgg19", ("relu1_1", "conv5_1")) == 80
    assert margin("vgg19", ("relu5_2",)) == 96
    assert margin("vgg16", ("relu5_3",)) == 96  # 2 + 4 + 12 + 24 + 48 = 90
    assert margin("vgg16", ("conv1_1",)) == 16
    assert [stride(f"conv{block}_1") for block in range(1, 6)] == [1, 2, 4, 8, 16]


def test_few_large_compact_tiles_are_chosen():
    tiling = choose_tiling(3072, 4096, 80, small_windows(3 * 10**6))
    assert (tiling.rows, tiling.columns) == (2, 3)
    assert tiling.work < 1.2 * 3072 * 4096
    assert choose_tiling(3072, 4096, 80, small_windows(3072 * 4096)) == Tiling(3072, 4096, 3072, 4096, 80)


def test_the_smallest_window_is_the_last_to_fit():
    height, width = smallest_window(1000, 130, 80)
    assert (height, width) == (176 + 1000 % 16, 130)
    assert choose_tiling(1000, 130, 80, small_windows(height * width)) is not None
    assert choose_tiling(1000, 130, 80, small_windows(height * width - 1)) is None


def test_a_part_is_counted_from_the_corner_of_another():
    assert Box(32, 64, 48, 96).within(Box(16, 80, 16, 112)).at(16) == Box(1, 3, 2, 5)
