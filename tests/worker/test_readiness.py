"""The proof that a process can stylize, with the real engine."""

from __future__ import annotations

import os
import platform
import socket

import numpy as np
import pytest

from gluon_nst import backend
from gluon_nst._version import __version__
from gluon_nst.batch.cost import cost_of
from gluon_nst.errors import DeviceError, ParametersError, SuspiciousResultError
from gluon_nst.jobs import Job
from gluon_nst.parameters import load_parameters
from gluon_nst.recipe_files import load_recipe, tailor
from gluon_nst.worker import engine
from gluon_nst.worker.readiness import measure_pace, prove_ready
from tests.batch.stand_in import StandIn
from tests.worker.installed import install

RECIPE = tailor(load_recipe(), size=64, steps=2)


def job(**more) -> Job:
    return Job("a.png", ("s.png",), "/out/a.png", RECIPE, **{"device": "cpu", "precision": "float32", **more})


@pytest.fixture(autouse=True)
def _cold():
    engine._warm.clear()
    engine._load.cache_clear()
    yield
    engine._warm.clear()
    engine._load.cache_clear()


def test_a_sound_process_proves_ready_and_keeps_its_stylizer_warm():
    given = job(parameters=load_parameters("bundled", RECIPE.network).sha256)
    ready = prove_ready(given)
    assert (ready.host, ready.pid, ready.device) == (socket.gethostname(), os.getpid(), "cpu")
    assert (ready.precision, ready.version, ready.mxnet) == ("float32", __version__, backend.version())
    assert ready.python == platform.python_version()
    assert 0 < ready.pace * cost_of(RECIPE, (64, 64)) < 60, "seconds for a picture of 64 pixels"
    (warm,) = engine._warm.values()
    assert engine.compute(lambda: engine.warm_stylizer(given))[0] is warm


def test_other_parameters_than_the_batchs_prove_nothing():
    with pytest.raises(
        ParametersError, match=r"not those of the batch here: sha256 .* Give all workers the same"
    ):
        prove_ready(job(parameters="f" * 64))


def test_a_device_that_is_not_there_proves_nothing():
    with pytest.raises(DeviceError):
        prove_ready(job(device="gpu:7"))


def test_one_reading_of_the_parameters_serves_recipes_that_differ_elsewhere():
    def build(seed):
        return engine.make_stylizer(
            RECIPE.replace(seed=seed), device="cpu", precision="float32", weights="bundled", parameters=""
        )

    first, second = engine.compute(lambda: [build(1), build(2)])[0]
    assert first.parameters is second.parameters
    assert (first.recipe.seed, second.recipe.seed) == (1, 2)


class Blackening(StandIn):
    """Gives black pictures."""

    def stylize(self, *given, **more):
        done = super().stylize(*given, **more)
        for each in done:
            each.pixels = np.zeros_like(each.pixels)
        return done


def test_black_pictures_prove_nothing(monkeypatch):
    install(monkeypatch, Blackening)
    with pytest.raises(SuspiciousResultError, match=r"a tiny picture made as a proof came out wrong.*black"):
        prove_ready(job())


def test_the_pace_is_the_time_of_a_picture_over_its_work(monkeypatch):
    install(monkeypatch)
    # The stand-in sleeps 2 ms a picture; its four steps at 192 pixels are the work.
    assert measure_pace(job()) * 4 * 192 * 192 >= 0.002
