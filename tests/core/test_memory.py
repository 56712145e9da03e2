"""Images too large for the memory: refused, tiled, and the model that decides it."""

from __future__ import annotations

import numpy as np
import pytest

from gluon_nst import memory, memory_model, striped_network
from gluon_nst.bench.measure import picture
from gluon_nst.checkpoint import Checkpoint
from gluon_nst.errors import Interrupted, OutOfMemoryError
from gluon_nst.memory import Room, device_room
from gluon_nst.memory_limit import MemoryLimit
from gluon_nst.memory_model import predicted_bytes, workspace_bytes
from gluon_nst.probe import call_apart
from gluon_nst.recipe_files import load_recipe
from gluon_nst.stylizer import Stylizer
from gluon_nst.tiles import CELL
from tests.core.narrow import narrow_parameters, smooth_picture

SHAPE = (341, 180)
CONTENT, STYLE = smooth_picture(*SHAPE, 0), smooth_picture(200, 240, 1)


def small(**changes: object):
    return load_recipe("default", size=341, scales=2, steps=5, coarse_steps=3, **changes)


def stylizer(recipe, max_memory: str = "") -> Stylizer:
    return Stylizer(recipe, narrow_parameters(), device="cpu", precision="float32", max_memory=max_memory)


def tight(recipe, count: int = 1) -> str:
    """Return a limit into which the larger scale of SHAPE does not fit whole, but all tiles do."""
    needed = predicted_bytes(recipe, "float32", *SHAPE, count, at_once=1)
    return str(int(needed / (1 - memory._RESERVE)) - 9)


@pytest.fixture
def cuts(monkeypatch):
    """Take note of how images are cut."""
    seen, tiling = [], Room.tiling

    def watched(self, *shape):
        seen.append(tiling(self, *shape))
        return seen[-1]

    monkeypatch.setattr(Room, "tiling", watched)
    return seen


@pytest.mark.parametrize("changes", [{}, {"optimizer": "lbfgs"}, {"original_colors": True}], ids=str)
def test_a_tiled_run_gives_the_picture_of_an_untiled_one(changes, cuts):
    recipe = small(**changes)
    (whole,) = stylizer(recipe).stylize([CONTENT], [STYLE])
    assert set(cuts) == {None}
    (tiled,) = stylizer(recipe, tight(recipe)).stylize([CONTENT], [STYLE])
    assert any(cuts)
    assert np.abs(whole.pixels.astype(int) - tiled.pixels).max() <= 2
    assert [point.step for point in whole.losses] == [point.step for point in tiled.losses]
    assert tiled.losses[-1].total == pytest.approx(whole.losses[-1].total, rel=1e-3)


def test_several_are_tiled_too(cuts):
    recipe, pictures = small(), [smooth_picture(*SHAPE, n) for n in range(2)]
    whole = stylizer(recipe).stylize(pictures, [STYLE])
    tiled = stylizer(recipe, tight(recipe, 2)).stylize(pictures, [STYLE])
    assert any(cuts)
    for one, other in zip(whole, tiled, strict=True):
        assert np.abs(one.pixels.astype(int) - other.pixels).max() <= 2


@pytest.mark.parametrize("changes", [{}, {"optimizer": "lbfgs", "lbfgs_round": 2}], ids=str)
def test_a_resumed_tiled_run_is_the_uninterrupted_one_bit_for_bit(changes, cuts):
    recipe = small(**changes)
    (expected,) = stylizer(recipe, tight(recipe)).stylize([CONTENT], [STYLE])
    kept: list[Checkpoint] = []

    def stop(fraction, take):
        if fraction > 0.7:
            kept.append(take())
            raise Interrupted("enough")

    with pytest.raises(Interrupted):
        stylizer(recipe, tight(recipe)).stylize([CONTENT], [STYLE], tick=stop)
    assert kept[0].snapshot.step > 1
    (resumed,) = stylizer(recipe, tight(recipe)).stylize([CONTENT], [STYLE], resume=kept[0])
    np.testing.assert_array_equal(resumed.pixels, expected.pixels)
    assert resumed.losses == expected.losses


def test_what_does_not_fit_in_the_smallest_tiles_is_refused():
    with pytest.raises(OutOfMemoryError, match=r"1 image of 180x341 .*smallest tiles.*0\.0 GB.*--max-memory"):
        stylizer(small(), "1MB").stylize([CONTENT], [STYLE])


def test_the_largest_tiles_that_fit_are_taken():
    recipe = load_recipe("default")
    for limit in (5 * 10**9, 8 * 10**9):
        tiling = Room(recipe, "float32", "cpu", MemoryLimit(limit)).tiling(3072, 4096)
        assert tiling is not None
        assert (
            predicted_bytes(recipe, "float32", 3072, 4096, 1, tiling.largest, 1)
            <= (1 - memory._RESERVE) * limit
        )
    assert Room(recipe, "float32", "cpu", MemoryLimit(10**12)).tiling(3072, 4096) is None


def test_the_workspace_of_coarser_scales_is_reckoned_with():
    recipe = load_recipe("default")
    limit = MemoryLimit(6 * 10**9)
    rooms = [Room(load_recipe("default", scales=scales), "float32", "cpu", limit) for scales in (1, 0)]
    alone, after_others = (room.tiling(3072, 4096).largest for room in rooms)
    assert alone[0] * alone[1] > after_others[0] * after_others[1]
    left = workspace_bytes(recipe, "float32", 1536, 2048)  # the largest scale that fits whole
    needed = predicted_bytes(recipe, "float32", 3072, 4096, 1, after_others, 1)
    assert needed <= (1 - memory._RESERVE) * (6 * 10**9 - left)


def test_the_workspace_is_a_copy_of_the_largest_map():
    recipe = load_recipe("default")
    assert workspace_bytes(recipe, "float32", 512, 768) == 4 * 64 * 512 * 768
    assert workspace_bytes(recipe, "bfloat16", 512, 768) == 2 * 64 * 512 * 768
    # In stripes the third block, a sixteenth as many pixels, has the largest.
    assert workspace_bytes(recipe, "float32", 1536, 2048) == 4 * 256 * 1536 * 2048 // 16


def test_the_room_is_what_is_free_and_what_is_held():
    room = device_room("cpu")
    assert room is None or room > 10**8


def test_more_pixels_images_and_layers_take_more_memory():
    recipe = load_recipe("default")
    one, two = (predicted_bytes(recipe, "float32", 1000, 2000, count) for count in (2, 3))
    assert two - one > 2_000_000 * 1000
    taking_turns = [predicted_bytes(recipe, "float32", 1000, 2000, count, at_once=1) for count in (1, 2)]
    assert taking_turns[0] < taking_turns[1] < one
    shallow = load_recipe("default", style_layers={"relu1_1": 1.0}, content_layers={"relu2_1": 1.0})
    assert predicted_bytes(shallow, "float32", 1000, 2000) < predicted_bytes(recipe, "float32", 1000, 2000)
    assert predicted_bytes(recipe, "bfloat16", 1000, 2000) < predicted_bytes(recipe, "float32", 1000, 2000)


def test_the_model_knows_where_stripes_begin():
    assert striped_network._LARGE == memory_model._STRIPED_FROM
    assert striped_network._ROWS + 2 * CELL == memory_model._STRIPE
    for at_once in (1, None):
        below, above = (
            predicted_bytes(load_recipe("default"), "float32", height, 1024, at_once=at_once)
            for height in (511, 512)
        )
        assert above < 0.9 * below


def peak(height: int, width: int) -> int:
    """Stylize in this process; return the most memory that it had."""
    from gluon_nst.bench.peak import peak_memory

    recipe = load_recipe("default", shape=[height, width], scales=1, steps=2)
    worker = Stylizer(recipe, device="cpu", precision="float32")
    worker.stylize([picture(height, width, 0)], [picture(height, width, 1)])
    return peak_memory()


def test_the_model_foretells_the_peak():
    reply = call_apart("tests.core.test_memory:peak", 240, 320, timeout=300)
    assert not reply.failure
    assert reply.answer == pytest.approx(
        predicted_bytes(load_recipe("default"), "float32", 240, 320, at_once=1), rel=0.15
    )
