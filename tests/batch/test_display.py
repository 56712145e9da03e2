"""What a person sees of a batch: lines in a log, a panel on a terminal, the summary, JSON."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from gluon_nst.batch.exports import write_results
from gluon_nst.batch.journal import JOURNAL, Journal
from gluon_nst.batch.plan import Plan
from gluon_nst.batch.run import BatchRun, begin_run
from gluon_nst.batch.tally import BatchProgress, WorkerLine
from gluon_nst.cli import batch_display
from gluon_nst.cli.batch_display import Display, LiveDisplay, duration, make_display, printable, progress_line
from gluon_nst.jobs import Job, JobResult, job_id, result_record
from gluon_nst.recipe_files import load_recipe

PROGRESS = BatchProgress(
    state="running", total=12_000, counts={"succeeded": 1500, "skipped": 0, "failed": 2, "poison": 1, "timeout": 0},
    retried=4, in_flight=3, images_per_hour=1234.4, eta_seconds=3 * 3600 + 300, started_at=0.0, updated_at=0.0,
    workers=(
        WorkerLine("node1:7", "gpu:0", "working", 900, 1), WorkerLine("node2:8", "gpu:0", "checking", 600),
        WorkerLine("node3:9", "cpu", "gone", 3), WorkerLine("node4:1", "cpu", "retired", 0, 2, "it failed its check"),
    ),
)  # fmt: skip


def failure(**fields) -> JobResult:
    given = {"error_type": "ImageReadError", "error": "it is empty", **fields}
    return JobResult("k", "/in/a.jpg", ("/s.jpg",), "/out/a.jpg", "failed", **given)


@contextlib.contextmanager
def run_with(folder: Path, *statuses: str, to_do: int = 0) -> Iterator[BatchRun]:
    """Yield a run whose journal says this, as it is before it starts."""
    recipe = load_recipe()
    jobs = [Job(f"/in/{n}", ("/s",), str(folder / f"{n}.png"), recipe) for n in range(len(statuses) + to_do)]
    with Journal(folder / JOURNAL) as journal:
        for job, status in zip(jobs, statuses, strict=False):
            result = JobResult(job_id(job), job.content, job.styles, job.output, status)
            if status in ("succeeded", "skipped"):
                Path(job.output).touch()
            journal.append([result_record(result)])
    (folder / "run.json").write_text('{"identity": {}}')
    with Plan() as plan:
        plan.add((job, (32, 32), job.content) for job in jobs)
        with begin_run(plan, folder, {}) as run:
            yield run


@pytest.fixture
def run(tmp_path) -> Iterator[BatchRun]:
    with run_with(tmp_path, "succeeded", "skipped", "failed", "poison", to_do=3) as begun:
        yield begun


# ---- text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (42.4, "42 s"), (89.4, "89 s"), (90, "2 min"), (150, "2 min"), (59.4 * 60, "59 min"),
        (59.6 * 60, "1 h 00 min"), (3 * 3600 + 300, "3 h 05 min"), (47 * 3600 + 59 * 60, "47 h 59 min"),
        (48 * 3600, "2 d 0 h"), (100 * 3600, "4 d 4 h"),
    ],
)  # fmt: skip
def test_a_time_span_is_said_as_people_say_it(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("Zoë 雪 {x}.jpg", "Zoë 雪 {x}.jpg"), ("a\x1b[2Jb", r"a\x1b[2Jb"), ("\udcff.jpg", r"\udcff.jpg"),
        ("a\rb\x07", r"a\rb\x07"), ("two\nlines", "two\nlines"), ("\u202egnp.jpg", r"\u202egnp.jpg"),
    ],
)  # fmt: skip
def test_what_would_harm_a_terminal_is_spelled_out(given, shown):
    assert printable(given) == shown


def test_the_state_of_a_batch_fits_in_a_line():
    assert progress_line(PROGRESS) == (
        "1,503/12,000, 3 failed, 4 retried, 1,234 images/h, ETA 3 h 05 min, 2 workers"
    )


def test_what_is_not_known_or_none_is_left_out_of_the_line():
    bare = dataclasses.replace(
        PROGRESS, counts={"succeeded": 1, "skipped": 2}, retried=0, images_per_hour=0.0, eta_seconds=None,
        workers=PROGRESS.workers[:1],
    )  # fmt: skip
    assert progress_line(bare) == "3/12,000, 2 there before, 1 worker"


# ---- lines


def test_a_failure_is_one_line_as_it_happens_even_when_all_else_is_quiet(capsys):
    display = Display(quiet=True)
    display.say("hello")
    display.show(dataclasses.replace(failure(), status="succeeded"))
    display.show(dataclasses.replace(failure(), status="skipped"))
    display.show(failure(error="it is\nempty \x1b[31m"))
    display.show(failure(error_type="WorkerDied"))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        r"FAILED /in/a.jpg: ImageReadError: it is empty \x1b[31m", "FAILED /in/a.jpg: WorkerDied: it is empty"
    ]  # fmt: skip


def test_progress_is_a_line_now_and_then(capsys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(batch_display.time, "monotonic", lambda: clock[0])
    display = Display()
    for second in range(0, 41, 2):
        clock[0] = float(second)
        display.observe(dataclasses.replace(PROGRESS, workers=()))
    assert (
        capsys.readouterr().err.splitlines() == [progress_line(dataclasses.replace(PROGRESS, workers=()))] * 4
    )


def test_why_a_worker_gets_no_work_is_said_once(capsys):
    display = Display()
    for _ in range(3):
        display.observe(PROGRESS)
    assert capsys.readouterr().err.splitlines() == ["worker node4:1 is retired: it failed its check"]


def test_a_long_plan_gives_signs_of_life(capsys, monkeypatch):
    monkeypatch.setattr(batch_display, "_COUNTED", 1000)
    assert list(Display().counted(range(2500))) == list(range(2500))
    assert capsys.readouterr().err.splitlines() == ["planning: 1,000 jobs", "planning: 2,000 jobs"]


def test_the_beginning_says_what_lies_ahead_and_what_lies_behind(run, capsys, tmp_path):
    Display().begin(run)
    assert capsys.readouterr().err == (
        f"3 to do; 2 done before; 2 failed before (see --retry); journal in {tmp_path}\n"
    )


# ---- the end


def test_the_end_counts_every_kind_and_says_where_the_failures_are(run, capsys, tmp_path):
    run.message = "stopped early. Run the same command again to go on."
    Display().conclude(run, 75)
    out, err = capsys.readouterr()
    assert err == "stopped early. Run the same command again to go on.\n"
    assert out.splitlines() == [
        "2 done (1 were there before), 1 failed, 1 poison, 3 left",
        f"those that failed: {tmp_path / 'failed.csv'}",
    ]


def test_where_all_is_done_the_end_says_so(tmp_path, capsys):
    with run_with(tmp_path, "succeeded", "succeeded") as run:
        Display().conclude(run, 0)
    assert capsys.readouterr() == ("nothing to do\n2 done, 0 failed\n", "")


def test_the_summary_in_json_is_all_there_is_on_standard_output(run, capsys, tmp_path):
    display = make_display(quiet=False, as_json=True)
    display.begin(run)
    display.observe(PROGRESS)
    run.message = "stopped"
    write_results(tmp_path)
    display.conclude(run, 75)
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["counts"] == {"succeeded": 1, "skipped": 1, "failed": 1, "poison": 1, "timeout": 0}
    assert (found["exit_code"], found["total"], found["left"], found["message"]) == (75, 7, 3, "stopped")
    assert found["run_directory"] == str(tmp_path)
    assert Path(found["results"]).is_file() and Path(found["failed"]).is_file()
    assert err.splitlines() == ["worker node4:1 is retired: it failed its check"]


# ---- the live panel


def rendered(progress: BatchProgress) -> list[str]:
    console = Console(record=True, width=100, file=io.StringIO(), force_terminal=True)
    console.print(batch_display._panel(progress))
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_the_panel_shows_a_bar_the_line_and_the_workers_that_are_there():
    bar, line, *workers = rendered(PROGRESS)
    assert set(bar) <= set("━╸╺ ")
    assert line == f"running: {progress_line(PROGRESS)}"
    assert [row.split() for row in workers] == [
        ["node1:7", "gpu:0", "working", "900", "done,", "1", "failed"],
        ["node2:8", "gpu:0", "checking", "600", "done"],
        ["node4:1", "cpu", "retired", "0", "done,", "2", "failed"],
    ]


@pytest.mark.parametrize(("done", "length"), [(0, 0), (6_000, 50), (12_000, 100)])
def test_the_bar_is_as_long_as_the_batch_is_done(done, length):
    console = Console(width=100, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    panel = batch_display._panel(dataclasses.replace(PROGRESS, counts={"succeeded": done}))
    segments = console.render_lines(panel.renderables[0])[0]
    styles = [segment.style for segment in segments for _ in segment.text]
    background = console.get_style("bar.back")
    assert sum(style is not None and style.color != background.color for style in styles) == length


def test_many_workers_are_counted_and_the_first_shown():
    many = tuple(WorkerLine(f"w{number}", "cpu") for number in range(30))
    lines = rendered(dataclasses.replace(PROGRESS, workers=many))
    assert len(lines) == 2 + 8 + 1 and lines[-1] == "and 22 more"


def test_a_name_with_markup_is_shown_as_it_is():
    odd = dataclasses.replace(PROGRESS, workers=(WorkerLine("[red]w[/red]", "[b]cpu", "working"),))
    assert rendered(odd)[2].split()[:2] == ["[red]w[/red]", "[b]cpu"]


def test_an_empty_batch_can_be_shown():
    assert rendered(dataclasses.replace(PROGRESS, total=0, counts={}, workers=()))[1].startswith(
        "running: 0/0"
    )


def everything(leader: int) -> str:
    """Return all that was written to a terminal whose other end is closed."""
    shown = b""
    with contextlib.suppress(OSError), os.fdopen(leader, "rb", buffering=0) as file:
        while data := file.read(4096):
            shown += data
    return shown.decode()


def test_on_a_terminal_the_panel_stays_at_the_foot_and_failures_go_above_it(monkeypatch):
    leader, follower = os.openpty()
    with os.fdopen(follower, "w") as terminal, monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", terminal)
        patched.setenv("TERM", "xterm")
        display = make_display(quiet=False, as_json=False)
        assert isinstance(display, LiveDisplay)
        assert not isinstance(make_display(quiet=True, as_json=False), LiveDisplay)
        with display:
            display.observe(PROGRESS)
            display.show(failure(error="[red]it is empty[/red] \x1b[2J"))
            display.observe(PROGRESS)
    shown = everything(leader)
    assert r"FAILED /in/a.jpg: ImageReadError: [red]it is empty[/red] \x1b[2J" in shown
    assert shown.count("running: ") >= 2 + 1, "drawn at each look, and again below the failure"
    assert shown.index("running: ") < shown.index("FAILED") < shown.rindex("running: ")
    assert "\x1b[?25l" in shown and shown.rindex("\x1b[?25h") > shown.rindex("running"), "the cursor is back"
