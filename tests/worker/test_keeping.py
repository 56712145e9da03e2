"""Checkpoints of a job in hand: when they are kept, found again and removed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from gluon_nst.batch.settings import WorkSettings
from gluon_nst.checkpoint import Checkpoint, Snapshot
from gluon_nst.errors import DivergedError, Interrupted, SuspiciousResultError, UsageError
from gluon_nst.inputs import take_input
from gluon_nst.jobs import Job, job_id
from gluon_nst.recipe_files import load_recipe, tailor
from gluon_nst.worker import departure
from gluon_nst.worker.keeping import Keeper
from gluon_nst.worker.making import make
from tests.batch.field import write_photo
from tests.batch.stand_in import StandIn
from tests.limits import files_at_most
from tests.worker.installed import install

KEY = "0123456789abcdef"

pytestmark = pytest.mark.usefixtures("installed")


def checkpoint(step=3, side=8) -> Checkpoint:
    image = np.full((1, 3, side, side), step, np.float32)
    return Checkpoint((), Snapshot(step, image, None, None, []), seconds=1.5)


def never() -> Checkpoint:
    raise AssertionError("no checkpoint is due")


@pytest.fixture
def settings(tmp_path) -> WorkSettings:
    return WorkSettings(run="r", state=str(tmp_path / "run"), checkpoint_seconds=0.0)


def kept_files(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "run").rglob("*") if path.is_file())


def test_a_checkpoint_that_is_due_is_kept_and_found_by_the_next_process(settings, tmp_path):
    Keeper(KEY, settings).tick(0.3, lambda: checkpoint(3))
    assert kept_files(tmp_path) == [f"{KEY}.npz"]
    found = Keeper(KEY, settings).found()
    assert found.snapshot.step == 3 and found.seconds == 1.5
    assert np.array_equal(found.snapshot.image, checkpoint(3).snapshot.image)
    assert Keeper("another", settings).found() is None


def test_between_two_checkpoints_nothing_is_taken(settings):
    keeper = Keeper(KEY, dataclasses.replace(settings, checkpoint_seconds=3600.0))
    keeper.tick(0.5, never)
    assert keeper.found() is None


def test_work_that_must_stop_is_kept_first_whenever_the_last_one_was(settings):
    keeper = Keeper(KEY, dataclasses.replace(settings, checkpoint_seconds=3600.0))
    departure.recall("r")
    with pytest.raises(Interrupted, match=f"job {KEY} was broken off at 42%"):
        keeper.tick(0.42, lambda: checkpoint(5))
    assert Keeper(KEY, settings).found().snapshot.step == 5


def test_without_a_place_nothing_is_taken_and_work_still_stops(settings):
    keeper = Keeper(KEY, dataclasses.replace(settings, state=""))
    keeper.tick(0.5, never)
    departure.leave(0.0)
    with pytest.raises(Interrupted):
        keeper.tick(0.5, never)
    assert keeper.found() is None


def test_a_checkpoint_is_dropped_whether_this_process_kept_it_or_found_it(settings, tmp_path):
    first = Keeper(KEY, settings)
    first.tick(0.1, checkpoint)
    first.drop()
    assert kept_files(tmp_path) == []
    Keeper(KEY, settings).tick(0.1, checkpoint)
    second = Keeper(KEY, settings)
    second.found()
    second.drop()
    assert kept_files(tmp_path) == []


@pytest.mark.parametrize(
    "spoil", [lambda data: data[:-1], lambda data: b"", lambda data: data[:40] + b"x" + data[41:]]
)
def test_a_damaged_checkpoint_is_none_and_is_removed_in_the_end(settings, tmp_path, spoil):
    Keeper(KEY, settings).tick(0.1, checkpoint)
    path = tmp_path / "run" / "checkpoints" / f"{KEY}.npz"
    path.write_bytes(spoil(path.read_bytes()))
    keeper = Keeper(KEY, settings)
    assert keeper.found() is None
    keeper.drop()
    assert kept_files(tmp_path) == []


def test_a_full_disk_costs_the_checkpoint_and_not_the_job(settings, tmp_path):
    keeper = Keeper(KEY, settings)
    with files_at_most(100):
        keeper.tick(0.1, checkpoint)
    assert kept_files(tmp_path) == []
    keeper.tick(0.2, lambda: checkpoint(9))
    assert Keeper(KEY, settings).found().snapshot.step == 9


# ---- a whole job


@pytest.fixture
def job(tmp_path) -> Job:
    write_photo(tmp_path / "p.png", "good", 1)
    write_photo(tmp_path / "s.png", "good", 2)
    recipe = tailor(load_recipe(), size=32, steps=2)
    return Job(str(tmp_path / "p.png"), (str(tmp_path / "s.png"),), str(tmp_path / "o.png"), recipe)


def make_it(job: Job, settings: WorkSettings):
    return make(job, job_id(job), take_input(job.content), [take_input(job.styles[0])], settings)


class Scripted(StandIn):
    """Keeps a checkpoint on its way and then does what the script says; notes what it was given to go on from."""

    resumed: list[int | None] = []
    script = ""

    def stylize(self, *given, resume=None, tick=None, **more):
        self.resumed.append(None if resume is None else resume.snapshot.step)
        if resume is not None and self.script == "unfit":
            raise UsageError("the checkpoint is of another shape")
        tick(0.5, lambda: checkpoint(7))
        if self.script == "stop":
            departure.recall("r")
            tick(0.6, lambda: checkpoint(8))
        if self.script == "diverge":
            raise DivergedError("the loss is no number")
        return super().stylize(*given, **more)


@pytest.fixture
def script(monkeypatch):
    def play(script):
        monkeypatch.setattr(Scripted, "script", script)
        monkeypatch.setattr(Scripted, "resumed", [])
        install(monkeypatch, Scripted)
        return Scripted.resumed

    return play


def test_a_job_that_was_broken_off_goes_on_from_its_checkpoint_which_is_gone_at_the_end(
    job, settings, tmp_path, script
):
    script("stop")
    with pytest.raises(Interrupted):
        make_it(job, settings)
    assert kept_files(tmp_path) == [f"{job_id(job)}.npz"]
    resumed = script("")
    make_it(job, settings)
    assert resumed == [8] and kept_files(tmp_path) == []


def test_a_checkpoint_that_does_not_fit_is_dropped_and_the_job_begun_anew(job, settings, tmp_path, script):
    Keeper(job_id(job), settings).tick(0.1, checkpoint)
    resumed = script("unfit")
    make_it(job, settings)
    assert resumed == [3, None] and kept_files(tmp_path) == []


def test_where_a_course_diverged_no_checkpoint_of_it_is_left(job, settings, tmp_path, script):
    resumed = script("diverge")
    with pytest.raises((SuspiciousResultError, DivergedError)):
        make_it(job, settings)
    assert resumed == [None, None], "the safer course begins at the start too"
    assert kept_files(tmp_path) == []
