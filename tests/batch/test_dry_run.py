"""``gluon-nst batch --dry-run``: what it foretells, and that it touches nothing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from gluon_nst.batch.cost import cost_of
from gluon_nst.batch.journal import JOURNAL
from gluon_nst.cli import _run
from gluon_nst.memory_model import predicted_bytes
from gluon_nst.recipe_files import load_recipe, tailor
from tests.batch.field import write_photo, write_style
from tests.worker.installed import installed  # noqa: F401 - a fixture

RECIPE = tailor(load_recipe(), size=64, steps=2)

# The stand-in is tried at 192 pixels with four steps, and sleeps 2 ms.
TRIED = 192 * 192 * 4


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch, installed) -> Path:  # noqa: F811
    """A folder of seven photographs of two shapes, one of them damaged, and a style; the working directory."""
    for number in range(4):
        write_photo(tmp_path / "in" / f"small{number}.png", "good", number, side=48)
    for number in range(2):
        write_photo(tmp_path / "in" / f"large{number}.png", "good", 10 + number, side=200)
    (tmp_path / "in" / "broken.png").write_text("no picture")
    write_style(tmp_path / "style.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*more: object) -> list[str]:
    return [
        "batch", "in", "--style", "style.png", "-o", "out", "--size", "64", "--steps", "2", "--format", ".png",
        *map(str, more),
    ]  # fmt: skip


def plan(capsys, *more: object) -> dict:
    assert _run([*command("--dry-run", "--json", *more)]) == 0
    return json.loads(capsys.readouterr().out)


def batch(capsys) -> int:
    code = _run(command("--workers", 0, "--quiet"))
    capsys.readouterr()
    return code


def tree(folder: Path) -> dict[str, tuple[str, int]]:
    """Return path -> digest and time of change of everything below a folder."""
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "", path.stat().st_mtime_ns
        )
        for path in sorted(folder.rglob("*"))
    }  # fmt: skip


def test_it_tells_jobs_and_shapes_the_most_work_first(capsys):
    found = plan(capsys)
    assert (found["jobs"], found["to_do"], found["before"]) == (7, 7, {})
    shapes = [(each["content"], each["output"], each["jobs"]) for each in found["groups"]]
    assert shapes == [([48, 48], [64, 64], 4), ([200, 200], [64, 64], 2), (None, None, 1)]
    assert found["groups"][0]["cost"] == cost_of(RECIPE, (48, 48))
    assert found["run_directory"] == "out/.gluon-nst"


def test_memory_is_that_of_the_largest_picture_in_every_worker(capsys):
    one, four = (predicted_bytes(RECIPE, "auto", 64, 64, count, at_once=1) for count in (1, 4))
    assert plan(capsys)["memory_bytes"] == 2 * one
    assert plan(capsys, "--workers", 0)["memory_bytes"] == one
    assert plan(capsys, "--workers", 50)["memory_bytes"] == 7 * one, "there are no more workers than jobs"
    assert plan(capsys, "--together", 4)["memory_bytes"] == 2 * four
    # What is elsewhere may be GPUs, which take the most.
    most = predicted_bytes(RECIPE, "auto", 64, 64)
    assert plan(capsys, "--scheduler", "tcp://127.0.0.1:1")["memory_bytes"] == most > one
    assert plan(capsys, "--scheduler", "tcp://127.0.0.1:1", "--device", "cpu")["memory_bytes"] == one
    assert plan(capsys, "--device", "gpu:0")["memory_bytes"] == 2 * most
    assert plan(capsys, "--max-memory", "300MB")["memory_bytes"] == 2 * 300 * 10**6


@pytest.mark.parametrize(("suffix", "per_pixel"), [(".png", 2.49), (".jpg", 1.41)])
def test_output_is_pixels_times_what_such_files_take(capsys, suffix, per_pixel):
    assert plan(capsys, "--format", suffix)["output_bytes"] == round(6 * 64 * 64 * per_pixel)


def test_time_is_measured_by_a_short_try(capsys):
    cost = 6 * cost_of(RECIPE, (48, 48)) + 1
    assert 0.002 / TRIED * cost <= plan(capsys)["seconds"] < 60


def test_time_and_size_come_from_earlier_pictures_where_there_are_some(capsys, place):
    assert batch(capsys) == 1
    for path in (place / "out").glob("small*"):
        path.unlink()
    journal = [json.loads(line) for line in (place / "out" / ".gluon-nst" / JOURNAL).read_text().splitlines()]
    made = [each for each in journal if each["status"] == "succeeded"]
    found = plan(capsys, "--workers", 2)
    assert (found["to_do"], found["before"]) == (4, {"succeeded": 2, "failed": 1})
    pace = sum(each["seconds"] for each in made) / (6 * cost_of(RECIPE, (64, 64)))
    assert found["seconds"] == pytest.approx(pace * 4 * cost_of(RECIPE, (48, 48)) / 2)
    size = sum(each["bytes"] for each in made) / (6 * 64 * 64)
    assert found["output_bytes"] == round(size * 4 * 64 * 64)


def test_what_is_done_takes_no_time_and_no_room(capsys):
    batch(capsys)
    found = plan(capsys)
    assert (found["to_do"], found["seconds"], found["output_bytes"], found["groups"]) == (0, 0.0, 0, [])
    assert found["memory_bytes"] is None


def test_nothing_is_known_of_the_time_on_a_cluster_that_has_made_nothing(capsys):
    assert plan(capsys, "--scheduler", "tcp://127.0.0.1:1")["seconds"] is None
    assert _run(command("--dry-run", "--scheduler", "tcp://127.0.0.1:1")) == 0
    out = capsys.readouterr().out
    assert "time: not known for that cluster yet" in out and "GB in each worker" in out


def test_failed_jobs_are_to_do_only_if_they_are_to_be_tried_again(capsys):
    batch(capsys)
    assert plan(capsys, "--retry", "failed")["to_do"] == 1


@pytest.mark.parametrize("verify", [(), ("--verify",)])
def test_a_dry_run_changes_nothing_in_no_folder(capsys, place, verify):
    before = tree(place)
    plan(capsys)
    assert tree(place) == before, "not even the output folder is made"
    batch(capsys)
    (place / "out" / "small0__style.png").write_bytes(b"spoilt")
    (place / "out" / "small1__style.png").unlink()
    before = tree(place)
    assert plan(capsys, *verify)["to_do"] == 2
    assert tree(place) == before


def test_outputs_that_must_not_exist_are_refused_by_the_plan_already(capsys, place):
    (place / "out").mkdir()
    (place / "out" / "small0__style.png").touch()
    assert _run(command("--dry-run", "--existing", "error")) == 2
    assert "small0__style.png" in capsys.readouterr().err


def test_people_read_width_first_and_every_line_says_one_thing(capsys):
    assert _run(command("--dry-run")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        "7 jobs: 7 to do", "         4 of 48x48 -> 64x64", "         2 of 200x200 -> 64x64",
        "         1 of unreadable",
    ]  # fmt: skip
    assert len([line for line in lines if " -> " in line and "in/" in line]) == 3
    assert lines[-3].startswith("time: about ") and lines[-2] == "memory: about 0.9 GB"
    assert lines[-1] == "output: about 0.1 MB"


def test_many_shapes_are_counted_and_the_first_shown(capsys, place):
    for side in range(50, 65):
        write_photo(place / "in" / f"s{side}.png", "good", side, side=side)
    assert _run(command("--dry-run")) == 0
    assert "  and 8 more shapes" in capsys.readouterr().out


def test_a_name_that_is_no_unicode_can_be_shown(capsys, place):
    (place / "in").rename(place / "other")
    write_photo(place / "in" / "\udcff\x1b[2J.png", "good", 1, side=48)
    assert _run(command("--dry-run")) == 0
    assert r"\udcff\x1b[2J.png" in capsys.readouterr().out
    assert batch(capsys) == 0
    assert plan(capsys)["before"] == {"succeeded": 1}
