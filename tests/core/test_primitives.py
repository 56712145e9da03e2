"""What MXNet keeps for each shape is let go of, and nothing else is."""

import ctypes
import itertools
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gluon_nst import backend, primitives
from gluon_nst.primitives import at_work, drop_primitives
from gluon_nst.probe import call_apart
from gluon_nst.recipe_files import load_recipe
from gluon_nst.stylizer import Stylizer
from tests.core.narrow import narrow_parameters, smooth_picture

LIBRARY = backend.mx.base._LIB
SHAPES = 8


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_pictures_of_many_shapes_leave_no_memory_behind():
    left, kept = (
        call_apart("benchmarks.many_shapes:measure", "float32", 224, SHAPES + 1, 1, drops, timeout=300)
        for drops in (True, False)
    )
    assert not left.failure and not kept.failure
    # The first one brings what is needed once.
    grown, grown_before = (reply.answer["bytes"][-1] - reply.answer["bytes"][1] for reply in (left, kept))
    assert grown_before > SHAPES * 2e6, "else there is nothing to let go of"
    assert grown < grown_before / 2


def stylized(seed: int) -> list[np.ndarray]:
    recipe = load_recipe("default", size=64, steps=4, coarse_steps=3, min_size=32)
    worker = Stylizer(recipe, narrow_parameters(), device="cpu", precision="float32")
    shapes = ((48, 64), (64, 40), (48, 64))
    return [
        worker.stylize([smooth_picture(*shape, seed)], [smooth_picture(60, 60, 9)])[0].pixels
        for shape in shapes
    ]


def test_pictures_are_the_same_bit_for_bit(monkeypatch):
    dropped = stylized(0)
    monkeypatch.setattr(backend, "drop_primitives", lambda library: False)
    for one, other in zip(dropped, stylized(0), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_engine_is_left_alone_while_another_thread_is_at_work():
    begun, ended = threading.Event(), threading.Event()

    def work():
        with at_work():
            begun.set()
            ended.wait(60)

    with ThreadPoolExecutor(1) as pool, at_work(), at_work():
        done = pool.submit(work)
        begun.wait(60)
        assert not drop_primitives(LIBRARY)
        ended.set()
        done.result()
        assert drop_primitives(LIBRARY)
    assert not primitives._working


def test_threads_with_networks_of_their_own_do_not_disturb_each_other():
    seeds = range(4)
    alone = [stylized(seed) for seed in seeds]
    with ThreadPoolExecutor(2) as pool:
        beside = list(pool.map(stylized, seeds))
    for one, other in zip(itertools.chain(*alone), itertools.chain(*beside), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_build_that_does_not_show_the_functions_is_left_alone():
    assert not drop_primitives(ctypes.CDLL(None))


def test_an_error_ends_the_work():
    with pytest.raises(ZeroDivisionError), backend.translate_errors():
        raise ZeroDivisionError
    assert not primitives._working
