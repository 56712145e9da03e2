"""What a worker does with a chunk: every job has its outcome, whatever happens to the others."""

from __future__ import annotations

import dataclasses
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gluon_nst.worker as worker
from gluon_nst import read_provenance
from gluon_nst.batch.outcomes import Kind
from gluon_nst.batch.settings import WorkSettings
from gluon_nst.errors import DivergedError, OutOfMemoryError
from gluon_nst.images.write import write_image
from gluon_nst.inputs import take_input
from gluon_nst.jobs import Job, job_id
from gluon_nst.listing import fingerprint
from gluon_nst.recipe_files import load_recipe, tailor
from gluon_nst.worker import departure, run_chunk, worker_name
from gluon_nst.worker.engine import compute
from tests.batch.field import write_photo, write_style
from tests.batch.stand_in import StandIn
from tests.limits import files_at_most
from tests.worker.installed import install

RECIPE = tailor(load_recipe(), size=32, steps=2)

pytestmark = pytest.mark.usefixtures("installed")


@pytest.fixture
def make_job(tmp_path):
    """Return a function that writes a photograph and gives its job."""
    style = write_style(tmp_path / "style.png")
    numbers = iter(range(1000))

    def make(mark="good", *, side=32, **more) -> Job:
        number = next(numbers)
        photo = tmp_path / f"p{number}.png"
        write_photo(photo, mark, number, side)
        given = Job(
            str(photo), (str(style),), str(tmp_path / "out" / f"p{number}.png"), RECIPE, parameters="0" * 64
        )
        return marked(dataclasses.replace(given, **more))

    return make


def marked(job: Job) -> Job:
    """Return the job with the fingerprints that its files have now."""
    return dataclasses.replace(job, fingerprints=tuple(map(fingerprint, (job.content, *job.styles))))


def run(*jobs, **settings):
    """Return the outcomes, in the order of the jobs."""
    told = {outcome.key: outcome for outcome in run_chunk(jobs, WorkSettings(**settings)).outcomes}
    assert told.keys() == {job_id(job) for job in jobs}
    return [told[job_id(job)] for job in jobs]


def run_one(job, **settings):
    (outcome,) = run(job, **settings)
    return outcome


# ---- done


def test_a_job_that_is_done_says_what_lies_on_the_disk(make_job):
    job = make_job()
    outcome = run_one(job)
    result, data = outcome.result, Path(job.output).read_bytes()
    assert outcome.kind is Kind.DONE and result.status == "succeeded"
    assert (result.job_id, result.content, result.styles) == (job_id(job), job.content, job.styles)
    assert (result.width, result.height, result.bytes) == (32, 32, len(data))
    assert result.worker == worker_name() and result.worker.endswith(f":{os.getpid()}")
    assert read_provenance(job.output)["job_id"] == job_id(job)
    assert dict(result.losses)["total"] == 0.5 and result.seconds > 0


def test_an_output_of_the_same_job_is_adopted_and_not_made_again(make_job):
    job = make_job()
    made = run_one(job).result
    before = Path(job.output).stat().st_mtime_ns
    adopted = run_one(job)
    assert adopted.kind is Kind.DONE and adopted.result.status == "skipped"
    assert adopted.result.notes == ("adopted: it was there already",)
    assert (adopted.result.sha256, adopted.result.bytes) == (made.sha256, made.bytes)
    assert Path(job.output).stat().st_mtime_ns == before


def test_a_photograph_that_was_only_touched_needs_no_new_picture(make_job):
    job = make_job()
    run_one(job)
    os.utime(job.content, (1, 1))
    touched = marked(job)
    assert job_id(touched) != job_id(job)
    assert run_one(touched).result.status == "skipped"


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": RECIPE.replace(style_weight=7)}, {"blend": (2.0,)}, {"parameters": "1" * 64},
        {"parameters": ""}, {"precision": "bfloat16"},
    ],
    ids=["recipe", "blend", "parameters", "unknown parameters", "precision"],
)  # fmt: skip
def test_a_picture_of_ours_that_another_setting_made_is_made_anew(make_job, change):
    job = make_job()
    run_one(job)
    other = dataclasses.replace(job, **change)
    assert run_one(other).result.status == "succeeded"
    assert read_provenance(job.output)["job_id"] == job_id(other)


def test_a_photograph_with_other_pixels_gets_a_new_picture(make_job):
    job = make_job()
    before = run_one(job).result
    write_photo(Path(job.content), "good", 12345)
    after = run_one(marked(job)).result
    assert after.status == "succeeded" and after.sha256 != before.sha256


def test_a_style_with_other_pixels_gets_a_new_picture(make_job, tmp_path):
    job = make_job()
    run_one(job)
    write_photo(tmp_path / "style.png", "good", 4321, side=48)
    assert run_one(marked(job)).result.status == "succeeded"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_a_picture_of_ours_that_was_cut_off_is_made_anew(make_job, tmp_path, suffix):
    job = make_job(side=200, output=str(tmp_path / f"x{suffix}"), recipe=tailor(RECIPE, size=200))
    whole = run_one(job).result
    data = Path(job.output).read_bytes()
    Path(job.output).write_bytes(data[: int(len(data) * 0.6)])
    again = run_one(job, existing="overwrite").result
    assert (again.status, again.sha256) == ("succeeded", whole.sha256)


def test_a_picture_of_ours_whose_record_makes_no_sense_is_made_anew(make_job):
    for record in ({"program": "gluon_nst"}, {"content": 3, "styles": [1]}, {"styles": None}):
        job = make_job()
        write_image(job.output, np.zeros((20, 20, 3), np.uint8), provenance=record)
        assert run_one(job).result.status == "succeeded"


@pytest.mark.parametrize("foreign", [b"a text", b"", None])
def test_a_file_that_is_not_ours_is_never_replaced_unless_that_is_asked_for(make_job, foreign):
    job = make_job()
    Path(job.output).parent.mkdir(exist_ok=True)
    if foreign is None:
        Image.new("RGB", (8, 8)).save(job.output)
    else:
        Path(job.output).write_bytes(foreign)
    before = Path(job.output).read_bytes()
    refused = run_one(job)
    assert refused.kind is Kind.FAULT and refused.result.error_type == "OutputError"
    assert "--existing overwrite" in refused.result.error
    assert Path(job.output).read_bytes() == before
    assert run_one(job, existing="overwrite").result.status == "succeeded"


def test_a_folder_in_the_place_of_an_output_is_said(make_job):
    job = make_job()
    Path(job.output).mkdir(parents=True)
    outcome = run_one(job)
    assert outcome.kind is Kind.FAULT and job.output in outcome.result.error


# ---- not done


def test_a_damaged_photograph_is_its_own_fault_and_stops_no_other(make_job):
    bad, good = make_job(), make_job()
    Path(bad.content).write_text("no picture")
    first, second = run(bad, good)
    assert first.kind is Kind.FAULT
    assert (first.result.status, first.result.error_type) == ("failed", "ImageReadError")
    assert bad.content in first.result.error
    assert second.result.status == "succeeded"
    assert not Path(bad.output).exists()


@pytest.mark.parametrize("what", ["content", "style"])
def test_a_missing_file_is_in_doubt_since_another_worker_may_see_it(make_job, tmp_path, what):
    job = make_job()
    Path(job.content if what == "content" else job.styles[0]).unlink()
    job = dataclasses.replace(job, fingerprints=())
    outcome = run_one(job)
    assert outcome.kind is Kind.DOUBT and outcome.result.error_type == "ImageReadError"


def test_an_output_of_no_known_kind_is_its_own_fault(make_job, tmp_path):
    assert run_one(make_job(output=str(tmp_path / "x.doc"))).kind is Kind.FAULT


def test_an_engine_that_fails_is_in_doubt(make_job):
    outcome = run_one(make_job("raise"))
    assert outcome.kind is Kind.DOUBT
    assert (outcome.result.error_type, outcome.result.error) == ("RuntimeError", "the device does not answer")


def test_an_output_folder_that_cannot_be_written_is_in_doubt(make_job, tmp_path):
    (tmp_path / "file").touch()
    outcome = run_one(make_job(output=str(tmp_path / "file" / "x.png")))
    assert outcome.kind is Kind.DOUBT and outcome.result.error_type == "OutputError"


def test_a_full_disk_halts_and_leaves_no_half_picture(make_job, tmp_path, monkeypatch):
    import gluon_nst.storage as storage

    def full(path, data):
        raise OSError(28, "No space left on device")

    job = make_job()
    monkeypatch.setattr(storage, "_write_through", full)
    outcome = run_one(job)
    assert outcome.kind is Kind.HALT and "No space left" in outcome.result.error
    assert list((tmp_path / "out").iterdir()) == []


def test_storage_that_fails_for_a_while_is_tried_again(make_job, monkeypatch):
    pauses = []
    job = make_job()
    with files_at_most(10):  # EFBIG: a write that fails halfway, and may pass
        monkeypatch.setattr("gluon_nst.worker.saving.time.sleep", pauses.append)
        outcome = run_one(job)
    assert outcome.kind is Kind.PASSING and pauses[-2:] == [1.0, 4.0]
    assert run_one(job).result.status == "succeeded"


# ---- told to leave


def test_a_process_that_is_to_leave_begins_nothing_and_says_so(make_job):
    jobs = [make_job(), make_job()]
    departure.leave(0)
    report = run_chunk(jobs, WorkSettings())
    assert report.leaving
    assert [outcome.kind for outcome in report.outcomes] == [Kind.UNSTARTED] * 2
    assert not any(Path(job.output).exists() for job in jobs)


def test_a_recalled_run_begins_nothing_and_the_others_go_on(make_job):
    departure.recall("one")
    job = make_job()
    assert run_one(job, run="one").kind is Kind.UNSTARTED
    report = run_chunk([job], WorkSettings(run="two"))
    assert not report.leaving and report.outcomes[0].kind is Kind.DONE


def test_a_job_at_work_is_broken_off_and_handed_back(make_job, monkeypatch):
    begun = threading.Event()

    class Noticed(StandIn):
        def stylize(self, *given, tick, **more):
            begun.set()
            return super().stylize(*given, tick=tick, **more)

    install(monkeypatch, Noticed)
    slow, next_one = make_job("slow"), make_job()
    reports = []
    thread = threading.Thread(
        target=lambda: reports.append(run_chunk([slow, next_one], WorkSettings(run="r")))
    )
    thread.start()
    assert begun.wait(30)
    departure.recall("r", 0.0)
    thread.join(30)
    assert [outcome.kind for outcome in reports[0].outcomes] == [Kind.UNSTARTED] * 2
    assert not Path(slow.output).exists()


@pytest.mark.parametrize("count", [1, 2], ids=["one", "several together"])
def test_a_job_that_waits_for_its_turn_when_the_run_is_recalled_is_not_begun(make_job, monkeypatch, count):
    begun = []

    class Counted(StandIn):
        def stylize(self, contents, *given, **more):
            begun.append(len(contents))
            return super().stylize(contents, *given, **more)

    install(monkeypatch, Counted)
    turn, asked, read = threading.Event(), threading.Event(), threading.Semaphore(0)
    monkeypatch.setattr(
        worker, "take_input", lambda *given, **more: (take_input(*given, **more), read.release())[0]
    )
    busy = threading.Thread(target=lambda: compute(lambda: (asked.set(), turn.wait(30))))
    busy.start()
    assert asked.wait(30)
    jobs, reports = [make_job() for _ in range(count)], []
    thread = threading.Thread(
        target=lambda: reports.append(run_chunk(jobs, WorkSettings(run="r", together=count)))
    )
    thread.start()
    assert all(read.acquire(timeout=30) for _ in jobs), "they are past the first look at the recall"
    departure.recall("r", 1000.0)
    turn.set()
    thread.join(30)
    busy.join(30)
    assert [outcome.kind for outcome in reports[0].outcomes] == [Kind.UNSTARTED] * count
    assert begun == []


def test_several_together_are_broken_off_too(make_job, monkeypatch):
    begun = threading.Event()

    class Noticed(StandIn):
        def stylize(self, *given, tick, **more):
            begun.set()
            return super().stylize(*given, tick=tick, **more)

    install(monkeypatch, Noticed)
    jobs, reports = [make_job("slow"), make_job("slow")], []
    thread = threading.Thread(
        target=lambda: reports.append(run_chunk(jobs, WorkSettings(run="r", together=2)))
    )
    thread.start()
    assert begun.wait(30)
    departure.recall("r", 0.0)
    thread.join(30)
    assert [outcome.kind for outcome in reports[0].outcomes] == [Kind.UNSTARTED] * 2


def test_a_second_recall_or_signal_gives_no_more_time_than_the_first():
    departure.recall("r", 0.0)
    departure.recall("r", 1000.0)
    assert departure.must_stop("r") and not departure.must_stop("q")
    departure.leave(0.0)
    departure.leave(1000.0)
    assert departure.must_stop("q") and departure.leaving()


# ---- several at once


class Counting(StandIn):
    """Takes note of how many pictures each pass has; a pass of more than `room` has no memory."""

    passes: list[int] = []
    room = 1000

    def stylize(self, contents, *given, **more):
        self.passes.append(len(contents))
        if len(contents) > self.room:
            raise OutOfMemoryError("no room")
        return super().stylize(contents, *given, **more)


@pytest.fixture
def counting(monkeypatch):
    monkeypatch.setattr(Counting, "passes", [])
    install(monkeypatch, Counting)
    return Counting


def test_jobs_of_one_shape_and_style_go_through_the_network_at_once(make_job, counting):
    jobs = [make_job() for _ in range(5)]
    assert {outcome.result.status for outcome in run(*jobs, together=4)} == {"succeeded"}
    assert counting.passes == [4, 1]
    assert len({Path(job.output).read_bytes() for job in jobs}) == 5


def test_together_gives_the_same_pictures_as_alone(make_job):
    jobs = [make_job() for _ in range(3)]
    together = [outcome.result.sha256 for outcome in run(*jobs, together=3)]
    for job in jobs:
        Path(job.output).unlink()
    assert [outcome.result.sha256 for outcome in run(*jobs)] == together


def test_what_differs_in_shape_recipe_or_style_is_kept_apart(make_job, counting, tmp_path):
    shutil.copy(tmp_path / "style.png", tmp_path / "other.png")
    jobs = [
        make_job(), make_job(), make_job(side=48), make_job(recipe=RECIPE.replace(seed=1)),
        make_job(styles=(str(tmp_path / "other.png"),)),
    ]  # fmt: skip
    assert {outcome.result.status for outcome in run(*jobs, together=8)} == {"succeeded"}
    assert sorted(counting.passes) == [1, 1, 1, 2]


def test_without_room_for_all_halves_are_tried(make_job, counting, monkeypatch):
    monkeypatch.setattr(counting, "room", 2)
    outcomes = run(*(make_job() for _ in range(8)), together=8)
    assert {outcome.result.status for outcome in outcomes} == {"succeeded"}
    assert counting.passes == [8, 4, 2, 2, 4, 2, 2]


@pytest.mark.parametrize("mark", ["raise", "black"])
def test_one_that_fails_among_several_fails_alone(make_job, mark):
    jobs = [make_job(), make_job(mark), make_job(), make_job()]
    kinds = [outcome.kind for outcome in run(*jobs, together=4)]
    assert kinds == [Kind.DONE, Kind.DOUBT, Kind.DONE, Kind.DONE]


def test_one_that_cannot_be_read_leaves_the_others_together(make_job, counting):
    jobs = [make_job() for _ in range(4)]
    Path(jobs[2].content).write_text("no picture")
    assert [outcome.kind for outcome in run(*jobs, together=4)].count(Kind.DONE) == 3
    assert counting.passes == [3]


# ---- results that are not good


class Wild(StandIn):
    """Gives black pictures, or diverges, unless it is asked for float32 and a lower rate."""

    manner = "black"
    asked: list[tuple[float, str]] = []

    def __init__(self, recipe, *, precision, **options):
        super().__init__(recipe)
        self._precision = precision

    def stylize(self, *given, **more):
        self.asked.append((self.recipe.learning_rate, self._precision))
        safe = self.recipe.learning_rate < RECIPE.learning_rate and self._precision == "float32"
        done = super().stylize(*given, **more)
        if not safe and self.manner == "diverge":
            raise DivergedError("the loss is no number at step 7")
        for each in done:
            each.pixels *= safe
        return done


@pytest.mark.parametrize(("manner", "why"), [("black", "black"), ("diverge", "no number at step 7")])
def test_a_suspicious_result_is_made_once_more_with_a_safer_setting(make_job, monkeypatch, manner, why):
    monkeypatch.setattr(Wild, "manner", manner)
    monkeypatch.setattr(Wild, "asked", [])
    install(monkeypatch, Wild)
    job = make_job()
    result = run_one(job).result
    assert result.status == "succeeded"
    assert len(result.notes) == 1 and "made with a lower rate, in float32" in result.notes[0]
    assert why in result.notes[0]
    assert Wild.asked == [(RECIPE.learning_rate, "auto"), (RECIPE.learning_rate / 4, "float32")]
    made = read_provenance(job.output)
    assert made["recipe"]["learning_rate"] == RECIPE.learning_rate / 4, "the file says what made it"
    assert run_one(job).result.status == "skipped"


def test_one_that_stays_suspicious_fails_with_the_reason_and_the_picture_is_kept_aside(make_job, tmp_path):
    job = make_job("black")
    outcome = run_one(job, state=str(tmp_path / "run"))
    result = outcome.result
    assert outcome.kind is Kind.DOUBT, "a worker that gives black pictures only must not condemn its jobs"
    assert (result.status, result.error_type) == ("failed", "SuspiciousResultError")
    assert result.error.count("the picture is black") == 2 and "with a lower rate, in float32" in result.error
    assert result.aside == str(tmp_path / "run" / "rejected" / f"{job_id(job)}.png")
    with Image.open(result.aside) as aside:
        assert np.asarray(aside).max() == 0
    assert not Path(job.output).exists()
    assert run_one(job).result.aside == ""


def test_the_warm_stylizer_is_kept_until_a_job_needs_another(make_job, monkeypatch):
    made = []

    class Made(StandIn):
        def __init__(self, recipe, **options):
            super().__init__(recipe)
            made.append((recipe.seed, options["weights"], options["parameters"][:1]))

    install(monkeypatch, Made)
    other = RECIPE.replace(seed=1)
    run(
        make_job(),
        make_job(),
        make_job(recipe=other),
        make_job(recipe=other, parameters="1" * 64),
        make_job(),
    )
    assert made == [(0, "bundled", "0"), (1, "bundled", "0"), (1, "bundled", "1"), (0, "bundled", "0")]


# ---- the memory


class Cramped(StandIn):
    """Finds no memory for a picture until it may take less; takes note of what it may take."""

    asked: list[str] = []

    def __init__(self, recipe, *, max_memory="", **options):
        super().__init__(recipe, **options)
        self.max_memory = max_memory

    def fits_whole(self, height, width, count):
        return count == 1

    def stylize(self, *given, **more):
        self.asked.append(self.max_memory)
        if self.max_memory == "80%":
            raise OutOfMemoryError("no room")
        return super().stylize(*given, **more)


def test_a_picture_that_finds_no_memory_is_made_in_smaller_tiles(make_job, monkeypatch):
    monkeypatch.setattr(Cramped, "asked", [])
    install(monkeypatch, Cramped)
    assert run_one(make_job(), max_memory="80%").result.status == "succeeded"
    assert Cramped.asked == ["80%", "45%"]


def test_pictures_that_are_foreseen_not_to_fit_together_are_not_tried_together(make_job, monkeypatch):
    monkeypatch.setattr(Cramped, "asked", [])
    install(monkeypatch, Cramped)
    outcomes = run(make_job(), make_job(), together=2, max_memory="50%")
    assert {outcome.result.status for outcome in outcomes} == {"succeeded"}
    assert Cramped.asked == ["50%", "50%"]
