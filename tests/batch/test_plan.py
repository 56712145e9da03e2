"""The plan: what is refused, in which order jobs come, how they are shared out, what it costs."""

from __future__ import annotations

import dataclasses
import itertools
import math
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gluon_nst.batch.cost import cost_of
from gluon_nst.batch.plan import Plan
from gluon_nst.errors import OutputError, UsageError
from gluon_nst.jobs import Job, JobResult, job_id
from gluon_nst.recipe_files import load_recipe, tailor
from tests.limits import files_at_most

RECIPE = tailor(load_recipe(), size=64, steps=10)


def job(content="a.jpg", output=None, *, style="s.jpg", recipe=RECIPE, **more) -> Job:
    return Job(content, (style,), output or f"/out/{content}.png", recipe, **more)


def rows(*jobs, shape=(64, 64)):
    return [(each, shape, f"line {number}") for number, each in enumerate(jobs, 2)]


def ended(given: Job, status="succeeded", **more) -> JobResult:
    return JobResult(job_id(given), given.content, given.styles, given.output, status, **more)


@pytest.fixture
def plan() -> Iterator[Plan]:
    with Plan() as made:
        yield made


# ---- what is refused


def test_a_job_given_twice_is_refused_and_both_places_are_named(plan):
    with pytest.raises(UsageError) as caught:
        plan.add(rows(job("a.jpg"), job("b.jpg"), job("a.jpg", "/out/elsewhere.png")))
    assert str(caught.value) == "the same job is given twice: line 2 and line 4. Leave one out."


def test_an_input_named_twice_is_refused_by_its_one_name(plan):
    with pytest.raises(UsageError, match=r"given twice: /in/a.jpg \(twice\)"):
        plan.add([(job(), None, "/in/a.jpg"), (job(), None, "/in/a.jpg")])


def test_two_jobs_for_one_output_are_refused_and_both_places_are_named(plan):
    with pytest.raises(UsageError) as caught:
        plan.add(rows(job("a.jpg", "/out/x.png"), job("b.jpg", "/out/x.png")))
    assert "line 2 and line 3 would both be written to /out/x.png" in str(caught.value)


@pytest.mark.parametrize("other", ["/out/sub/../x.png", "/out//x.png", "/out/./x.png", "/out/sub/.././x.png"])
def test_another_spelling_of_an_output_is_the_same_output(plan, other):
    with pytest.raises(UsageError, match="would both be written"):
        plan.add(rows(job("a.jpg", "/out/x.png"), job("b.jpg", other)))


def test_the_same_content_in_another_style_or_recipe_is_another_job(plan):
    own = RECIPE.replace(style_weight=2)
    plan.add(
        rows(job(output="/1.png"), job(output="/2.png", style="t.jpg"), job(output="/3.png", recipe=own))
    )
    assert plan.counts() == {"to do": 3}


def test_many_clashes_are_counted_and_a_few_are_told(plan):
    doubled = [job(f"{number}.jpg") for number in range(30)] * 2
    with pytest.raises(UsageError) as caught:
        plan.add(rows(*doubled))
    lines = str(caught.value).splitlines()
    assert len(lines) == 6 and lines[-1] == "and 25 more."


def test_a_file_name_that_is_no_unicode_is_planned_like_any_other(plan):
    odd = job("/in/\udcff.jpg", "/out/\udcff.png")
    plan.add([(odd, (64, 64), odd.content), (job(), (64, 64), "b")])
    assert odd in [task.job for task in plan.tasks()]
    assert set(plan.folders()) == {"/out"}
    plan.note([ended(odd)])
    assert [row[1] for row in plan.done()] == ["/out/\udcff.png"]
    with pytest.raises(UsageError, match="both be written"):
        plan.add([(job("/in/c.jpg", "/out/\udcff.png"), None, "c")])


# ---- order


def test_the_work_of_a_job_is_its_steps_times_pixels_over_all_scales():
    recipe = RECIPE.replace(scales=2, min_size=16, size=64, steps=10, coarse_steps=20)
    assert cost_of(recipe, (64, 64)) == 10 * 64 * 64 + 20 * 32 * 32


@pytest.mark.parametrize("shape", [None, (5, 4000)])
def test_what_fails_at_once_counts_next_to_nothing(shape):
    assert cost_of(RECIPE, shape) == 1.0


shapes = st.sampled_from([None, (64, 64), (640, 640), (64, 48), (300, 64), (1000, 900)])


@settings(max_examples=25, deadline=None)
@given(
    chosen=st.lists(
        st.tuples(shapes, st.sampled_from(["s.jpg", "t.jpg"]), st.sampled_from([0, 256, 512])), max_size=25
    )
)
def test_recipes_go_one_by_one_long_jobs_first_and_a_style_stays_together(chosen):
    recipes = {size: RECIPE.replace(size=size) for size in (0, 256, 512)}
    with Plan() as made:
        made.add(
            (job(str(n), style=style, recipe=recipes[size]), shape, str(n))
            for n, (shape, style, size) in enumerate(chosen)
        )
        tasks = list(made.tasks())
    assert len(tasks) == len(chosen)
    runs = [tasks[n].job.recipe.size for n in range(len(tasks)) if n == 0 or not _same_recipe(tasks, n)]
    assert len(runs) == len(set(runs)), "jobs of one recipe are together"
    for size in set(runs):
        own = [task for task in tasks if task.job.recipe.size == size]
        lengths = [int(math.log2(task.cost)) for task in own]
        assert lengths == sorted(lengths, reverse=True)
        for length in set(lengths):
            styles = [task.job.styles for task, its in zip(own, lengths, strict=True) if its == length]
            assert sum(a != b for a, b in itertools.pairwise(styles)) <= 1


def _same_recipe(tasks, n):
    return tasks[n].job.recipe == tasks[n - 1].job.recipe


def test_jobs_of_one_group_differ_in_their_content_only(plan):
    plan.add(rows(job("a.jpg"), job("b.jpg"), job("c.jpg", style="t.jpg")))
    plan.add([(job("d.jpg"), (64, 48), "d"), (job("e.jpg", recipe=RECIPE.replace(seed=1)), (64, 64), "e")])
    groups = {task.job.content: task.group for task in plan.tasks()}
    assert groups["a.jpg"] == groups["b.jpg"]
    assert len(set(groups.values())) == 4


def test_a_job_comes_back_as_it_was_given(plan):
    given = Job(
        "a.jpg", ("s.jpg", "t.jpg"), "/out/a.png", RECIPE, (2.0, 1.0), "x.params", "cpu", "float32",
        ("1-2", "3-4", ""), "f" * 64,
    )  # fmt: skip
    plan.add(rows(given))
    (task,) = plan.tasks()
    assert task.job == given and task.key == job_id(given) == job_id(task.job)


# ---- what was done before


def test_the_last_record_of_a_job_counts(plan):
    a, b, c = (job(name) for name in "abc")
    plan.add(rows(a, b, c))
    plan.note([ended(a, "failed"), ended(b), ended(a), ended(b, "timeout"), ended(job("gone"))])
    assert plan.counts() == {"succeeded": 1, "timeout": 1, "to do": 1}
    assert [task.key for task in plan.tasks()] == [job_id(c)]


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("none", set()), ("failed", {"failed", "timeout"}), ("poison", {"poison"}),
        ("all", {"failed", "timeout", "poison"}),
    ],
)  # fmt: skip
def test_retry_reopens_the_failures_that_are_meant_and_nothing_else(plan, what, expected):
    jobs = {status: job(status) for status in ("succeeded", "skipped", "failed", "timeout", "poison")}
    plan.add(rows(*jobs.values()))
    plan.note(ended(each, status) for status, each in jobs.items())
    plan.retry(what)
    assert {task.job.content for task in plan.tasks()} == expected


def test_jobs_can_be_reopened_while_the_done_ones_are_listed(plan):
    jobs = [job(str(number)) for number in range(2500)]
    plan.add(rows(*jobs))
    plan.note(map(ended, jobs))
    plan.reopen(key for key, *_ in plan.done())
    assert plan.counts() == {"to do": 2500}


def test_pace_and_size_are_those_of_the_pictures_made_before(plan):
    a, b, c = (job(name) for name in "abc")
    plan.add(rows(a, b, c))
    assert plan.pace_before() is None and plan.bytes_per_pixel_before() is None
    made = {"sha256": "f", "width": 64, "height": 64}
    plan.note([ended(a, seconds=2.0, bytes=4096, **made), ended(b, seconds=4.0, bytes=8192, **made)])
    plan.note([ended(c, "skipped", bytes=10**9, **made)])  # adopted: it took no time
    assert plan.pace_before() == pytest.approx(6 / (2 * cost_of(RECIPE, (64, 64))))
    assert plan.bytes_per_pixel_before() == 1.5


def test_groups_add_up_what_is_to_do_the_most_work_first(plan):
    small, large = [job(f"s{n}") for n in range(3)], [job("l1"), job("l2")]
    recipe = RECIPE.replace(size=0)
    plan.add(rows(*(dataclasses.replace(each, recipe=recipe) for each in small), shape=(32, 32)))
    plan.add(rows(*(dataclasses.replace(each, recipe=recipe) for each in large), shape=(320, 320)))
    first, second = plan.groups()
    assert (first.height, first.width, first.jobs) == (320, 320, 2)
    assert (second.height, second.width, second.jobs) == (32, 32, 3)
    assert plan.cost_to_do() == 2 * first.cost + 3 * second.cost
    assert plan.largest().job.content in ("l1", "l2")


def test_outputs_that_are_there_already_are_found(plan, tmp_path):
    (tmp_path / "a.png").touch()
    plan.add(rows(job("a", str(tmp_path / "a.png")), job("b", str(tmp_path / "b.png"))))
    assert list(plan.existing_outputs()) == [str(tmp_path / "a.png")]


def test_an_empty_plan_has_nothing_to_do(plan):
    assert plan.counts() == {} and plan.cost_to_do() == 0 and plan.largest() is None
    assert list(plan.tasks()) == list(plan.groups()) == list(plan.done()) == []


# ---- what it costs


def test_the_memory_of_a_plan_does_not_grow_with_its_jobs():
    peaks = [_peak(count) for count in (2_000, 20_000)]
    assert peaks[1] < peaks[0] + 2_000_000, "18,000 more jobs take 16 MB on the disk"


def _peak(count):
    tracemalloc.start()
    try:
        with Plan() as made:
            made.add(
                (job(f"/in/{n}.jpg", fingerprints=(f"{n}-1", "2-3")), (64 + n % 50, 64), f"/in/{n}.jpg")
                for n in range(count)
            )
            made.note(ended(task.job) for task in made.tasks() if task.key < "4")
            made.reopen(key for key, *_ in made.done())
            assert sum(1 for _ in made.tasks()) == count
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_full_disk_under_the_plan_is_said_and_where_it_is(plan):
    with files_at_most(200_000), pytest.raises(OutputError, match=r"gluon-nst-plan-.*TMPDIR"):
        plan.add(rows(*(job(f"{number:0100}") for number in range(5_000))))


def test_nothing_is_left_of_a_plan(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Plan() as made:
        made.add(rows(job()))
        assert list(Path(tmp_path).iterdir())
    assert list(Path(tmp_path).iterdir()) == []
