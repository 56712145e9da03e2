"""An engine that takes milliseconds, in place of MXNet, in the worker processes of a test.

Loaded by Dask's preload, so that a worker that is started again has it too. All else is real: processes, files,
dispatch, journal. The first pixel of a photograph says how it behaves, see `MARKS`; which worker is broken, the
environment (`STAND_IN_BROKEN`: a folder, in which the first worker to come leaves its process id as `broken`, unless
that says "all" already, and the manner, which may change while it works).
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import types
from pathlib import Path

import numpy as np

MARKS = {
    "good": (10, 20, 30),
    "poison": (255, 0, 0),
    "segfault": (200, 0, 0),
    "hang": (0, 255, 0),
    "black": (0, 0, 255),
    "raise": (0, 0, 200),
    "diverge": (0, 0, 150),
    "slow": (255, 255, 0),
}
PROOF_SIDE = 64
SLOW_STEPS = 600
SECONDS = float(os.environ.get("STAND_IN_SECONDS", "0.002"))
PROOF_SECONDS = float(os.environ.get("STAND_IN_PROOF_SECONDS", SECONDS))


class StandIn:
    """What the worker uses of a Stylizer."""

    device, precision, notes = "cpu", "float32", ()
    parameters = types.SimpleNamespace(source="stand-in", sha256="0" * 64)

    def __init__(self, recipe, **_):
        self.recipe = recipe

    def fits_whole(self, height, width, count):
        return True

    def stylize(
        self, contents, styles, *, blend=None, starts=None, observe=None, every=5, resume=None, tick=None
    ):
        from gluon_nst.images.geometry import resize
        from gluon_nst.progress import LossPoint
        from gluon_nst.pyramid import working_shape

        proving = contents[0].shape[0] == PROOF_SIDE
        broken = broken_manner(proving=proving)
        pause = PROOF_SECONDS if proving and not is_broken() else SECONDS
        time.sleep(0 if broken else pause)  # what is broken mostly fails at once, and eats the more
        done = []
        for content in contents:
            mark = mark_of(content)
            steps = behave(mark, tick, resume)
            if mark == "raise" or broken == "raise":
                raise RuntimeError("the device does not answer")
            height, width = working_shape(self.recipe, *content.shape[:2])
            pixels = 255 - resize(content, height, width)
            if mark == "black" or broken == "black":
                pixels[:] = 0
            losses = tuple(LossPoint(1, step, 0.1, total, 0.0, total) for step, total in ((1, 1.0), (2, 0.5)))
            done.append(
                types.SimpleNamespace(
                    pixels=pixels, losses=losses, steps=steps, seconds=SECONDS, stop_reason="steps", device="cpu",
                    precision="float32",
                )
            )  # fmt: skip
        return done


def mark_of(content):
    pixel = tuple(int(value) for value in content[0, 0])
    return next((name for name, color in MARKS.items() if color == pixel), "good")


def behave(mark, tick, resume):
    """Do what the mark says; return the steps that it took."""
    if mark == "poison":
        os._exit(9)
    if mark == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if mark == "hang":
        time.sleep(3600)
    return go_slowly(tick, resume) if mark == "slow" else 2


def go_slowly(tick, resume):
    """Take steps of `STAND_IN_PACE` seconds, and leave a file in the folder `STAND_IN_BEGAN` at the first."""
    begin = resume.snapshot.step if resume else 0
    if folder := os.environ.get("STAND_IN_BEGAN"):
        Path(folder, f"began-{os.getpid()}").touch()
    for step in range(begin, SLOW_STEPS):
        time.sleep(float(os.environ.get("STAND_IN_PACE", "0.05")))
        if tick is not None:
            tick(step / SLOW_STEPS, lambda step=step: checkpoint_at(step + 1))
    return SLOW_STEPS - begin


def checkpoint_at(step):
    from gluon_nst.checkpoint import Checkpoint, Snapshot

    return Checkpoint((), Snapshot(step, np.zeros((1, 3, 1, 1), np.float32), None, None, []), 0.0)


def is_broken():
    """Return whether this worker is to be the broken one, now or later."""
    folder = os.environ.get("STAND_IN_BROKEN")
    if not folder:
        return False
    path = Path(folder) / "broken"
    with contextlib.suppress(FileExistsError), path.open("x") as file:
        file.write(str(os.getpid()))
    return path.read_text() in (str(os.getpid()), "all")


def broken_manner(*, proving):
    """Return how this worker is broken, "raise" or "black"; empty if it is sound.

    One that is broken "only at work" comes right at its proofs.
    """
    if not is_broken():
        return ""
    manner, _, when = (Path(os.environ["STAND_IN_BROKEN"]) / "manner").read_text().partition(" ")
    return "" if proving and when else manner


def dask_setup(worker):
    """Take MXNet's place in a worker process."""
    install()


def install():
    import gluon_nst.worker.engine as engine
    import gluon_nst.worker.making as making
    import gluon_nst.worker.readiness as readiness
    from gluon_nst.versions import installed_versions

    mxnet = installed_versions().get("mxnet", "stand-in")  # any other would be refused
    sys.modules["gluon_nst.backend"] = types.SimpleNamespace(version=lambda: mxnet)
    import gluon_nst

    gluon_nst.backend = sys.modules["gluon_nst.backend"]
    for module in (engine, making, readiness):
        module.make_stylizer = lambda recipe, **options: StandIn(recipe, **options)
