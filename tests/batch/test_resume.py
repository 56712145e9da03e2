"""The same command again: what was done and is still there is skipped, the rest is made, and nothing is lost."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections import Counter
from pathlib import Path

import pytest

from gluon_nst import storage
from gluon_nst.batch.collect import BatchRequest, collect_jobs
from gluon_nst.batch.exports import write_results
from gluon_nst.batch.journal import JOURNAL, Journal
from gluon_nst.batch.plan import Plan
from gluon_nst.batch.resume import take_stock
from gluon_nst.batch.run import RunOptions, begin_run
from gluon_nst.batch.runner import SerialRunner
from gluon_nst.errors import OutputError, UsageError
from gluon_nst.jobs import Job, JobResult, job_id, result_record
from gluon_nst.recipe_files import load_recipe, tailor
from tests.batch.field import journal_of, write_photo, write_style
from tests.worker.installed import installed  # noqa: F401 - a fixture

RECIPE = tailor(load_recipe(), size=32, steps=2)


# ---- taking stock


def done_job(folder: Path, name: str, data: bytes = b"picture", status: str = "succeeded"):
    """Write an output, if it succeeded, and return its job with its record."""
    job = Job(f"/in/{name}", ("/s.png",), str(folder / "out" / f"{name}.png"), RECIPE)
    if status in ("succeeded", "skipped"):
        storage.write_bytes(job.output, data)
    size, digest = len(data), hashlib.sha256(data).hexdigest()
    return job, JobResult(job_id(job), job.content, job.styles, job.output, status, bytes=size, sha256=digest)


def stock(run: Path, pairs, *, retry="none", verify=False, existing="skip", **more) -> set[str]:
    """Write the journal, take stock, and return the contents that are left to do."""
    run.mkdir(exist_ok=True)
    with Journal(run / JOURNAL) as journal:
        journal.append([result_record(result) for _, result in pairs])
    with Plan() as plan:
        plan.add((job, (32, 32), job.content) for job, _ in pairs)
        take_stock(plan, run, retry=retry, verify=verify, existing=existing, **more)
        return {Path(task.job.content).name for task in plan.tasks()}


def test_what_is_done_and_still_there_is_not_done_again(tmp_path):
    pairs = [done_job(tmp_path, "a"), done_job(tmp_path, "b", status="skipped")]
    assert stock(tmp_path / "run", pairs) == set()
    assert stock(tmp_path / "run", pairs, verify=True) == set()


def test_an_output_that_is_gone_is_made_again(tmp_path):
    pairs = [done_job(tmp_path, name) for name in "abc"]
    Path(pairs[1][0].output).unlink()
    assert stock(tmp_path / "run", pairs) == {"b"}
    for job, _ in pairs:
        Path(job.output).unlink(missing_ok=True)
    (tmp_path / "out").rmdir()
    (tmp_path / "out").touch()
    assert stock(tmp_path / "run", pairs) == {"a", "b", "c"}


def test_an_output_of_another_length_is_made_again_and_what_was_there_is_kept(tmp_path):
    pairs = [done_job(tmp_path, name) for name in "ab"]
    job = pairs[0][0]
    Path(job.output).write_bytes(b"somebody's own")
    assert stock(tmp_path / "run", pairs) == {"a"}
    assert not Path(job.output).exists()
    assert (tmp_path / "run" / "replaced" / f"{job_id(job)}.png").read_bytes() == b"somebody's own"


def test_verify_finds_a_flipped_byte_and_without_it_nobody_looks(tmp_path):
    pairs = [done_job(tmp_path, name) for name in "ab"]
    job = pairs[1][0]
    Path(job.output).write_bytes(b"pictura")
    assert stock(tmp_path / "run", pairs) == set()
    assert stock(tmp_path / "run", pairs, verify=True) == {"b"}
    assert (tmp_path / "run" / "replaced" / f"{job_id(job)}.png").read_bytes() == b"pictura"
    assert not Path(job.output).exists()


@pytest.mark.parametrize("verify", [False, True])
def test_looking_only_tells_the_same_and_changes_no_file(tmp_path, verify):
    pairs = [done_job(tmp_path, name) for name in "abc"]
    Path(pairs[0][0].output).write_bytes(b"longer than before")
    Path(pairs[1][0].output).write_bytes(b"pictura")
    run = tmp_path / "run"
    expected = {"a", "b"} if verify else {"a"}
    assert stock(run, pairs, verify=verify, look_only=True) == expected
    assert Path(pairs[0][0].output).read_bytes() == b"longer than before"
    assert [path.name for path in run.iterdir()] == [JOURNAL]
    assert stock(run, pairs, verify=verify) == expected


def test_an_output_that_nobody_may_clear_away_ends_the_start(tmp_path):
    pairs = [done_job(tmp_path, "a")]
    Path(pairs[0][0].output).write_bytes(b"longer than before")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "replaced").touch()
    with pytest.raises(OutputError, match=r"cannot write .*replaced"):
        stock(tmp_path / "run", pairs)
    assert Path(pairs[0][0].output).read_bytes() == b"longer than before"


@pytest.mark.parametrize(
    ("retry", "expected"),
    [("none", set()), ("failed", {"failed", "timeout"}), ("poison", {"poison"}),
     ("all", {"failed", "timeout", "poison"})],
)  # fmt: skip
def test_what_failed_is_tried_again_only_if_asked_for(tmp_path, retry, expected):
    pairs = [done_job(tmp_path, s, status=s) for s in ("succeeded", "failed", "timeout", "poison")]
    assert stock(tmp_path / "run", pairs, retry=retry) == expected


def test_a_record_of_a_job_that_is_no_more_in_the_batch_is_passed_over(tmp_path):
    gone, kept = done_job(tmp_path, "gone"), done_job(tmp_path, "kept")
    Path(gone[0].output).unlink()
    run = tmp_path / "run"
    stock(run, [gone, kept])
    with Plan() as plan:
        plan.add([(kept[0], (32, 32), "kept")])
        take_stock(plan, run, retry="all", verify=True, existing="error")
        assert plan.counts() == {"succeeded": 1}


def test_existing_error_refuses_what_is_there_and_in_no_record(tmp_path):
    recorded = done_job(tmp_path, "recorded")
    strangers = [done_job(tmp_path, f"s{number}", status="succeeded") for number in range(7)]
    run = tmp_path / "run"
    assert stock(run, [recorded], existing="error") == set()
    with Plan() as plan, pytest.raises(UsageError, match="--existing error") as caught:
        plan.add((job, None, job.content) for job, _ in [recorded, *strangers])
        take_stock(plan, run, retry="none", verify=False, existing="error")
    lines = str(caught.value).splitlines()
    assert len([line for line in lines if line.startswith(f"  {tmp_path}")]) == 5 and "  ..." in lines
    assert recorded[0].output not in str(caught.value)


@pytest.mark.parametrize("wrong", [{"retry": "fail"}, {"existing": "keep"}])
def test_a_setting_of_no_known_value_is_refused(tmp_path, wrong):
    with pytest.raises(UsageError, match="it takes"):
        stock(tmp_path / "run", [done_job(tmp_path, "a")], **wrong)


def test_outputs_at_a_url_are_looked_for_too(tmp_path):
    job = Job("/in/a", ("/s.png",), "memory://gluon_nst_resume/a.png", RECIPE)
    result = JobResult(job_id(job), job.content, job.styles, job.output, "succeeded", bytes=1, sha256="f")
    storage.write_bytes(job.output, b"x")
    assert stock(tmp_path / "run", [(job, result)]) == set()
    assert stock(tmp_path / "run", [(job, result)], verify=True) == {"a"}
    assert not storage.exists(job.output)


# ---- whole runs, in this process, with the stand-in engine


@pytest.fixture
def place(tmp_path, installed):  # noqa: F811
    for number, mark in enumerate(["good", "good", "good", "raise"]):
        write_photo(tmp_path / "in" / f"p{number}.png", mark, number)
    write_style(tmp_path / "style.png")
    return tmp_path


def batch(place: Path, **options) -> Counter:
    """Run a batch as the command does; return how many jobs ended how in this start."""
    request = BatchRequest(
        (str(place / "in"),), (str(place / "style.png"),), str(place / "out"), RECIPE, suffix=".png",
        parameters="0" * 64,
    )  # fmt: skip
    seen: Counter = Counter()
    with Plan() as plan:
        plan.add(collect_jobs(request))
        run_options = RunOptions(**options)
        with begin_run(plan, place / "out" / ".gluon-nst", {"n": 1}, run_options, base=RECIPE) as run:
            runner = SerialRunner()
            seen.update(result.status for result in run.results(runner))
            runner.close()
    return seen


def output(place: Path, number: int) -> Path:
    return place / "out" / f"p{number}__style.png"


def test_the_same_batch_again_does_nothing(place):
    assert batch(place) == {"succeeded": 3, "failed": 1}
    before = {path: path.stat().st_mtime_ns for path in (place / "out").glob("*.png")}
    assert batch(place) == {}
    assert {path: path.stat().st_mtime_ns for path in (place / "out").glob("*.png")} == before
    assert len(journal_of(place / "out")) == 4


def test_an_output_deleted_between_two_runs_is_made_again_the_same(place):
    batch(place)
    before = output(place, 1).read_bytes()
    output(place, 1).unlink()
    assert batch(place) == {"succeeded": 1}
    assert output(place, 1).read_bytes() == before


@pytest.mark.parametrize("spoil", [lambda data: data[:-20], lambda data: data + b"x"], ids=["cut", "longer"])
def test_an_output_of_another_size_is_made_again_and_not_adopted(place, spoil):
    batch(place)
    before = output(place, 1).read_bytes()
    output(place, 1).write_bytes(spoil(before))
    assert batch(place) == {"succeeded": 1}
    assert output(place, 1).read_bytes() == before
    (kept,) = (place / "out" / ".gluon-nst" / "replaced").iterdir()
    assert kept.read_bytes() == spoil(before)


def test_verify_makes_a_spoilt_output_again(place):
    batch(place)
    before = output(place, 2).read_bytes()
    spoilt = before[:-30] + bytes([before[-30] ^ 1]) + before[-29:]
    output(place, 2).write_bytes(spoilt)
    assert batch(place) == {}
    assert batch(place, verify=True) == {"succeeded": 1}
    assert output(place, 2).read_bytes() == before


def test_outputs_of_a_run_whose_journal_is_lost_are_adopted_without_computing(place):
    batch(place)
    (place / "out" / ".gluon-nst" / JOURNAL).unlink()
    assert batch(place) == {"skipped": 3, "failed": 1}


def test_a_touched_photograph_is_adopted_and_a_changed_one_made_anew(place):
    batch(place)
    before = output(place, 0).read_bytes()
    os.utime(place / "in" / "p0.png", (1, 1))
    write_photo(place / "in" / "p1.png", "good", 77)
    assert batch(place) == {"skipped": 1, "succeeded": 1}
    assert output(place, 0).read_bytes() == before
    assert batch(place) == {}, "and from then on it is done"


def test_a_photograph_taken_away_is_no_more_part_of_the_batch(place):
    batch(place)
    (place / "in" / "p0.png").unlink()
    assert batch(place) == {}
    assert output(place, 0).exists()


def test_a_failed_job_is_tried_again_when_asked_and_can_then_succeed(place):
    batch(place)
    assert batch(place, retry="failed") == {"failed": 1}
    write_photo(place / "in" / "p3.png", "good", 3)
    assert batch(place) == {"succeeded": 1}, "other pixels are another job"


def test_a_journal_cut_off_in_its_last_line_costs_no_more_than_a_look(place):
    batch(place)
    journal = place / "out" / ".gluon-nst" / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    last_good = max(n for n, line in enumerate(lines) if b'"succeeded"' in line)
    others = [line for n, line in enumerate(lines) if n != last_good]
    journal.write_bytes(b"".join(others) + lines[last_good][:-25])
    assert batch(place) == {"skipped": 1}
    assert len(journal_of(place / "out")) == 4


# ---- a recipe of its own


@pytest.mark.parametrize(
    "own",
    [
        {"size": 48}, {"shape": [40, 56]}, {"size": 48, "shape": [40, 56]}, {"steps": 8}, {"coarse_steps": 3},
        {"steps": 8, "coarse_steps": RECIPE.coarse_steps}, {"init": "uniform", "init_range": [0.0, 0.5]},
        {"style_layers": {"relu1_1": 2.0, "relu3_1": 0.5}}, {"gram": "raw", "style_fit": "stretch"},
        {"size": 0}, {"original_colors": True, "learning_rate": 0.005},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize(
    "base", [RECIPE, RECIPE.replace(shape=[20, 24], coarse_steps=9)], ids=["free", "shape"]
)
def test_failed_csv_gives_the_same_recipes_as_the_run_it_comes_from(tmp_path, installed, base, own):  # noqa: F811
    write_photo(tmp_path / "p.png", "raise", 1)
    style = write_style(tmp_path / "s.png")
    given = Job(str(tmp_path / "p.png"), (str(style),), str(tmp_path / "out" / "p.png"), base.replace(**own))
    run = tmp_path / "out" / ".gluon-nst"
    with Plan() as plan:
        plan.add([(given, (32, 32), "p")])
        with begin_run(plan, run, {}, base=base) as started:
            runner = SerialRunner()
            assert [result.status for result in started.results(runner)] == ["failed"]
            runner.close()
    write_results(run)
    request = BatchRequest((), (), str(tmp_path / "out"), base, manifest=str(run / "failed.csv"))
    (again,) = collect_jobs(request)
    assert again.job.recipe == given.recipe
    assert dataclasses.replace(again.job, fingerprints=()) == given
