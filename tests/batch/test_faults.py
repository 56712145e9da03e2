"""Storage that is full, read-only or gone, files that vanish, journals that are damaged, and jobs that hang."""

import contextlib
import json
import os
import subprocess

import pytest

from tests.batch.field import (
    Running,
    check_outputs,
    failed_names,
    journal_of,
    output_names,
    records,
    run_batch,
    statuses,
    wait_until,
    write_field,
)

SOME_FAILED, USAGE, UNREADABLE, FAILURES, STRANDED, RESUMABLE = 1, 2, 3, 4, 5, 75


def all_done(output, numbers):
    numbers = list(numbers)
    check_outputs(output, output_names(numbers))
    assert statuses(output)["done"] == len(numbers)


@contextlib.contextmanager
def small_disk(folder, options):
    """Mount a small file system; skip the test where that is not allowed."""
    folder.mkdir(exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


# ---- storage


def fill(disk, leave):
    """Fill a disk but for so many bytes."""
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize
    (disk / "ballast").write_bytes(bytes(free - leave))


def test_a_full_disk_stops_the_run_and_after_making_room_it_goes_on(tmp_path):
    arguments = write_field(tmp_path, ["good"] * 40)
    run = ("--run-dir", tmp_path / "run")
    with small_disk(tmp_path / "out", "size=4m") as output:
        fill(output, 10 * 4096)
        ended = run_batch(*arguments, *run)
        assert ended.returncode == RESUMABLE, ended.stderr
        assert "No space left on device" in ended.stderr
        assert "Make room and run the same command again." in ended.stderr
        assert "FAILED" not in ended.stderr
        made = {path.name for path in output.glob("*.png")}
        assert 0 < len(made) <= 10
        assert {path.name for path in output.iterdir()} == made | {"ballast"}, "nothing half-written is left"
        (output / "ballast").unlink()
        again = run_batch(*arguments, *run)
        assert again.returncode == 0, again.stderr
        assert "40 done" in again.stdout
        assert {path.name for path in output.iterdir()} == output_names(range(40))


def test_a_full_disk_under_the_journal_stops_the_run_and_loses_nothing(tmp_path):
    arguments = write_field(tmp_path, ["good"] * 40)
    with small_disk(tmp_path / "disk", "size=4m") as disk:
        run = ("--run-dir", disk / "run")
        fill(disk, 5 * 4096)
        ended = run_batch(*arguments, *run)
        assert ended.returncode == RESUMABLE, ended.stderr
        assert "No space left on device" in ended.stderr
        assert "the same command goes on" in ended.stderr
        assert "Traceback" not in ended.stderr
        (disk / "ballast").unlink()
        again = run_batch(*arguments, *run)
        assert again.returncode == 0, again.stderr
        assert "40 done" in again.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} == output_names(range(40))


def test_a_read_only_output_folder_is_refused_before_the_start(tmp_path):
    arguments = write_field(tmp_path, ["good"])
    with small_disk(tmp_path / "out", "ro"):
        ended = run_batch(*arguments)
        assert ended.returncode == USAGE, ended.stderr
        assert "OutputError: cannot write" in ended.stderr
        assert "Read-only file system" in ended.stderr
        elsewhere = run_batch(*arguments, "--run-dir", tmp_path / "run")
        assert elsewhere.returncode == USAGE, elsewhere.stderr
        assert not (tmp_path / "run").exists()


def test_an_output_folder_below_a_file_is_refused_before_the_start(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    ended = run_batch(*write_field(tmp_path, ["good"])[:-1], tmp_path / "file" / "deep" / "out")
    assert ended.returncode == USAGE, ended.stderr
    assert f"{tmp_path / 'file'} is not a directory" in ended.stderr


@pytest.mark.parametrize("workers", ["0", "1", "2"])
def test_a_photograph_that_vanishes_fails_alone(tmp_path, workers):
    arguments = write_field(tmp_path, ["good"] * 12)
    with Running(*arguments, "--workers", workers, STAND_IN_SECONDS="0.2") as batch:
        wait_until(lambda: (tmp_path / "out/.gluon-nst/journal.jsonl").exists())
        (tmp_path / "photos/p011.png").unlink()
        code, told = batch.end()
    assert code == SOME_FAILED, told
    assert failed_names(tmp_path / "out") == {"p011.png": "failed"}
    assert "p011.png: ImageReadError: " in told
    all_done(tmp_path / "out", range(11))


# ---- what a run left


def test_an_output_that_was_deleted_is_made_again(tmp_path):
    arguments = write_field(tmp_path, ["good"] * 10)
    assert run_batch(*arguments).returncode == 0
    (tmp_path / "out/p004__style.png").unlink()
    (tmp_path / "out/p005__style.png").write_bytes(b"cut off")
    again = run_batch(*arguments, "--existing", "overwrite")
    assert again.returncode == 0, again.stderr
    assert "2 to do; 8 done before" in again.stderr
    assert records(tmp_path / "out") == 12
    all_done(tmp_path / "out", range(10))
    nothing = run_batch(*arguments)
    assert nothing.returncode == 0
    assert "nothing to do" in nothing.stdout


def test_a_damaged_journal_costs_no_picture(tmp_path):
    arguments = write_field(tmp_path, ["good"] * 10)
    assert run_batch(*arguments).returncode == 0
    journal = tmp_path / "out/.gluon-nst/journal.jsonl"
    first, second, *others, last = journal.read_text().splitlines(keepends=True)
    made_at = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.png")}
    journal.write_text("".join([first, '{"job_id": garb\x00age}\n', *others, last[: len(last) // 2]]))
    again = run_batch(*arguments)
    assert again.returncode == 0, again.stderr
    assert "10 done (2 were there before), 0 failed" in again.stdout
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.png")} == made_at
    lines = journal.read_text().splitlines(keepends=True)
    assert lines[: len(others) + 2] == [first, lines[1], *others]
    adopted = {line["job_id"] for line in map(parsed, lines[-2:])}
    assert adopted == {parsed(second)["job_id"], parsed(last)["job_id"]}


def parsed(line):
    return json.loads(line)


def test_a_second_batch_on_the_same_folder_is_refused_and_the_first_goes_on(tmp_path):
    arguments = write_field(tmp_path, ["good"] * 30)
    with Running(*arguments, STAND_IN_SECONDS="0.1") as batch:
        wait_until(lambda: records(tmp_path / "out") >= 2)
        second = run_batch(*arguments)
        assert second.returncode == USAGE, second.stderr
        assert f"is in use: process {batch.process.pid} on " in second.stderr
        code, told = batch.end()
    assert code == 0, told
    all_done(tmp_path / "out", range(30))
    assert len(journal_of(tmp_path / "out")) == 30


# ---- jobs that hang


def test_a_job_that_hangs_is_ended_and_named(tmp_path):
    marks = ["good"] * 20
    marks[3] = "hang"
    ended = run_batch(*write_field(tmp_path, marks), "--timeout", "2")
    assert ended.returncode == SOME_FAILED, ended.stderr
    assert failed_names(tmp_path / "out") == {"p003.png": "timeout"}
    assert "is killed: nothing came back from it for" in ended.stderr
    assert "See --timeout" in ended.stderr
    all_done(tmp_path / "out", [each for each in range(20) if each != 3])
