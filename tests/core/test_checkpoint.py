"""Checkpoints: as bytes and back, and how a call of the Stylizer goes on from one."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest

from gluon_nst.checkpoint import (
    Checkpoint,
    Moments,
    Snapshot,
    decode_checkpoint,
    encode_checkpoint,
)
from gluon_nst.errors import Interrupted, UsageError
from gluon_nst.recipe_files import load_recipe, tailor
from gluon_nst.stylizer import Stylizer
from tests.core.narrow import narrow_parameters, smooth_picture
from tests.core.test_stylizer import STYLE, contents, stylizer

# --- bytes ---


def losses(seed: int) -> dict[str, np.ndarray]:
    values = np.random.default_rng(seed).normal(size=(4, 2)) * 10.0 ** np.arange(-150, 250, 100)[:, None]
    return dict(zip(("content", "style", "tv", "total"), values, strict=True))


def images(seed: int, shape=(2, 3, 5, 4)) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def checkpoint(**changes) -> Checkpoint:
    moments = Moments(107, images(1), images(2))
    snapshot = Snapshot(7, images(0), moments, images(3), [(1, losses(0)), (5, losses(1))])
    earlier = ([(1, losses(2)), (100, losses(3))], [])
    return dataclasses.replace(Checkpoint(earlier, snapshot, 12.3456789, 2), **changes)


def assert_same(found: object, wanted: object) -> None:
    """Hold records, sequences and arrays of checkpoints against each other, bit for bit."""
    if dataclasses.is_dataclass(wanted):
        assert type(found) is type(wanted)
        found, wanted = vars(found), vars(wanted)
    if isinstance(wanted, dict):
        assert list(found) == list(wanted)
        found, wanted = list(found.values()), list(wanted.values())
    if isinstance(wanted, (list, tuple)):
        assert len(found) == len(wanted)
        for each, other in zip(found, wanted, strict=True):
            assert_same(each, other)
    elif isinstance(wanted, np.ndarray):
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)
    else:
        assert found == wanted


def without(**changes) -> Checkpoint:
    return checkpoint(snapshot=dataclasses.replace(checkpoint().snapshot, **changes))


@pytest.mark.parametrize(
    "given",
    [
        checkpoint(),
        without(moments=None, average=None),
        without(average=None),
        without(moments=None, average=None, image=images(0).astype(np.float64) / 3),
        checkpoint(earlier=()),
        without(step=0, history=[]),
        without(sums=np.array([[np.inf, np.inf], [3, 4], [0, 0.1]], np.float32)),
    ],
    ids=["whole", "bare", "moments only", "float64", "first scale", "first step", "early stop"],
)
def test_a_checkpoint_comes_back_as_it_went(given):
    assert_same(decode_checkpoint(encode_checkpoint(given, "this job"), "this job"), given)


@pytest.mark.parametrize(("key", "other"), [("job", "job "), ("job", ""), ("a", "b"), ("", "a")])
def test_a_checkpoint_of_other_work_is_not_taken(key, other):
    assert decode_checkpoint(encode_checkpoint(checkpoint(), key), other) is None


def test_every_flipped_byte_is_noticed():
    data = encode_checkpoint(without(moments=None, average=None), "job")
    for place in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[place] ^= 1
        assert decode_checkpoint(bytes(damaged), "job") is None


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 500, -1])
def test_a_checkpoint_that_was_cut_off_is_not_taken(length):
    assert decode_checkpoint(encode_checkpoint(checkpoint(), "job")[:length], "job") is None


@pytest.mark.parametrize("data", [b"PK\x03\x04", bytes(100), b"nothing of the kind" * 50])
def test_what_is_no_checkpoint_is_not_taken(data):
    assert decode_checkpoint(data, "job") is None


def test_a_checkpoint_that_lost_its_end_and_got_zeros_is_not_taken():
    data = encode_checkpoint(checkpoint(), "job")
    assert decode_checkpoint(data[: len(data) // 2].ljust(len(data), b"\0"), "job") is None


@pytest.mark.parametrize(
    ("changes", "per_pixel"),
    [
        ({}, 48),
        ({"average": None}, 36),
        ({"average": None, "moments": None}, 12),
        ({"average": None, "moments": None, "image": images(0, (1, 3, 128, 128)).astype(np.float64)}, 24),
    ],
)
def test_a_checkpoint_takes_as_many_bytes_as_are_said(changes, per_pixel):
    arrays = [images(seed, (1, 3, 128, 128)) for seed in range(4)]
    large = {"image": arrays[0], "moments": Moments(1, arrays[1], arrays[2]), "average": arrays[3]}
    size = len(encode_checkpoint(without(**{**large, **changes}), "job"))
    assert 0 <= size - per_pixel * 128 * 128 < 4000


# --- going on ---


class Stop:
    """A tick that counts steps, and after one of them takes a checkpoint and ends the work."""

    def __init__(self, after: int | None = None) -> None:
        self.after, self.fractions, self.data = after, [], b""

    def __call__(self, fraction, take) -> None:
        self.fractions.append(fraction)
        if len(self.fractions) == self.after:
            self.data = encode_checkpoint(take(), "job")
            raise Interrupted("asked to")


def interrupted(worker: Stylizer, pictures, after: int) -> Checkpoint:
    stop = Stop(after)
    with pytest.raises(Interrupted):
        worker.stylize(pictures, [STYLE], tick=stop)
    return decode_checkpoint(stop.data, "job")


def assert_equal_results(found, wanted) -> None:
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
        assert one.losses == other.losses
        assert (one.steps, one.stop_reason) == (other.steps, other.stop_reason)


THREE_SCALES = {"scales": 3, "scale_factor": 1.4}  # 7 steps, 7 steps, 6 steps


@pytest.mark.parametrize(
    "changes",
    [
        {"carry_moments": True, "average": 0.8, "restore_detail": True, "match_colors": True},
        {"schedule": "cosine", "decay_factor": 0.1, "init": "normal", "init_range": [0.5, 0.2]},
        {"optimizer": "normalized-gd", "average": 0.5, "clip": False},
    ],
    ids=["moments and average", "fresh moments", "normalized-gd"],
)
def test_a_resumed_call_gives_the_same_pictures_bit_for_bit(changes):
    first, second = (stylizer(**{**THREE_SCALES, **changes}) for _ in range(2))
    whole = first.stylize(contents(2), [STYLE])
    # Within each scale, and just before and after its bounds.
    for after in (1, 5, 6, 7, 8, 11, 14, 15, 19, 20):
        kept = interrupted(first, contents(2), after)
        assert_equal_results(second.stylize(contents(2), [STYLE], resume=kept), whole)


@pytest.mark.parametrize("after", [1, 8, 9, 12])
def test_both_stages_of_d2l_can_be_resumed(after):
    given = tailor(load_recipe("d2l"), size=48, steps=5, decay_every=3, coarse_decay_every=4)
    worker = Stylizer(given, narrow_parameters(), device="cpu", precision="float32")
    picture = [smooth_picture(48, 48, 0)]
    whole = worker.stylize(picture, [STYLE])
    assert {point.scale for point in whole[0].losses} == {1, 2}
    assert whole[0].steps == 13
    resumed = worker.stylize(picture, [STYLE], resume=interrupted(worker, picture, after))
    assert_equal_results(resumed, whole)


LBFGS = {"optimizer": "lbfgs", "lbfgs_round": 3, "steps": 9, "coarse_steps": 7}


@pytest.mark.parametrize("after", [1, 3, 4, 7, 8, 12, 16])
def test_lbfgs_goes_on_from_the_last_bound_of_a_round(after):
    worker = stylizer(**LBFGS)
    whole = worker.stylize(contents(1), [STYLE])
    kept = interrupted(worker, contents(1), after)
    before = 0 if after <= 7 else 7
    assert len(kept.earlier) == (before > 0)
    assert kept.snapshot.step == (after - before - 1) // 3 * 3
    assert_equal_results(worker.stylize(contents(1), [STYLE], resume=kept), whole)


@pytest.mark.parametrize("after", [2, 20, 40])
def test_lbfgs_on_several_images_does_those_before_again(after):
    worker = stylizer(**LBFGS)
    whole = worker.stylize(contents(3), [STYLE])
    kept = interrupted(worker, contents(3), after)
    assert kept.part == (after - 1) // 16
    assert_equal_results(worker.stylize(contents(3), [STYLE], resume=kept), whole)


def test_a_checkpoint_may_be_resumed_twice():
    worker = stylizer(average=0.9, carry_moments=True)
    kept = interrupted(worker, contents(1), 9)
    again = [worker.stylize(contents(1), [STYLE], resume=kept) for _ in range(2)]
    assert_equal_results(*again)


def test_taking_checkpoints_changes_nothing():
    taken = []
    worker = stylizer(**THREE_SCALES, carry_moments=True, average=0.8)
    watched = worker.stylize(contents(2), [STYLE], tick=lambda fraction, take: taken.append(take()))
    assert_equal_results(watched, worker.stylize(contents(2), [STYLE]))
    assert [(len(each.earlier), each.snapshot.step) for each in taken] == [
        (scale, step + 1) for scale, steps in enumerate((7, 7, 6)) for step in range(steps)
    ]


def test_only_the_steps_that_are_left_are_done():
    whole, rest = Stop(), Stop()
    worker = stylizer(**THREE_SCALES)
    worker.stylize(contents(1), [STYLE], tick=whole)
    kept = interrupted(worker, contents(1), 9)
    worker.stylize(contents(1), [STYLE], resume=kept, tick=rest)
    assert rest.fractions == whole.fractions[9:]
    assert whole.fractions == sorted(set(whole.fractions))
    assert whole.fractions[-1] == 1.0


def test_progress_goes_on_from_where_it_was():
    def watch(seen):
        return lambda progress, show: seen.append(progress)

    whole, rest = [], []
    worker = stylizer(**THREE_SCALES)
    worker.stylize(contents(1), [STYLE], observe=watch(whole))
    kept = interrupted(worker, contents(1), 9)
    worker.stylize(contents(1), [STYLE], resume=kept, observe=watch(rest))
    assert rest == [progress for progress in whole if (progress.scale, progress.step) > (2, 2)]


def test_the_time_before_the_interruption_counts():
    worker = stylizer()
    kept = interrupted(worker, contents(1), 9)
    assert kept.seconds > 0
    began = time.perf_counter()
    late = dataclasses.replace(kept, seconds=1000.0)
    (result,) = worker.stylize(contents(1), [STYLE], resume=late)
    assert 1000 < result.seconds <= 1000 + time.perf_counter() - began


def test_an_interrupted_worker_works_on():
    worker = stylizer()
    interrupted(worker, contents(2), 9)
    assert_equal_results(worker.stylize(contents(2), [STYLE]), stylizer().stylize(contents(2), [STYLE]))


@pytest.mark.parametrize(
    ("changes", "count"),
    [({}, 1), ({"size": 36}, 2), ({"coarse_steps": 3}, 2), ({"scales": 1, "size": 20}, 1)],
    ids=["fewer images", "another size", "fewer steps", "fewer scales"],
)
def test_a_checkpoint_that_cannot_fit_is_refused(changes, count):
    kept = interrupted(stylizer(), contents(2), 5)
    with pytest.raises(UsageError, match=r"the checkpoint is of images \(2, 3, 16, 20\) at scale 1, step 5"):
        stylizer(**changes).stylize(contents(count), [STYLE], resume=kept)
