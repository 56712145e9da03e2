"""The run directory: one batch at a time, one identity, and what a new run does with the old one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gluon_nst.batch import run_lock
from gluon_nst.batch.journal import JOURNAL
from gluon_nst.batch.run_directory import (
    default_run_directory,
    file_digest,
    identity_changes,
    open_run,
)
from gluon_nst.batch.run_lock import RunLock
from gluon_nst.errors import OutputError, RunHeldError, RunMismatchError
from tests.limits import files_at_most

IDENTITY = {"version": "1", "recipe": {"size": 512, "shape": []}, "shard": None, "inputs": ["a", "b"]}

HOLD = """
import pathlib, sys, time
from gluon_nst.batch.run_lock import RunLock
from gluon_nst.errors import RunHeldError
def hold():
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        lock = RunLock(pathlib.Path(sys.argv[1]))
    except RunHeldError as error:
        print("refused", error, flush=True)
        return
    print("held", flush=True)
    sys.stdin.readline()
    lock.release()
for _ in range(int(sys.argv[2])):
    hold()
"""


class Holder:
    """Another process that takes the lock when told to."""

    def __init__(self, directory: Path, times: int = 1) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(directory), str(times)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.pid = self.process.pid
        self.expect_ready()

    def expect_ready(self) -> None:
        assert self.process.stdout.readline() == "ready\n"

    def tell(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        return self.process.stdout.readline()

    def take(self) -> str:
        self.tell()
        return self.hear()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def holders(tmp_path):
    made = []

    def make(times=1):
        made.append(Holder(tmp_path, times))
        return made[-1]

    yield make
    for each in made:
        each.kill()


# ---- the lock


def test_a_second_process_is_refused_and_told_who_holds_it(tmp_path, holders):
    holder = holders()
    assert holder.take() == "held\n"
    with pytest.raises(RunHeldError) as caught:
        RunLock(tmp_path)
    told = str(caught.value)
    assert f"{tmp_path} is in use: process {holder.pid} on {os.uname().nodename}" in told
    assert "started by" in told and time.strftime("%Y-") in told and "?" not in told


def test_a_lock_that_is_released_can_be_taken(tmp_path):
    for _ in range(2):
        RunLock(tmp_path).release()
    with open_run(tmp_path, IDENTITY), pytest.raises(RunHeldError), open_run(tmp_path, IDENTITY):
        pass
    with open_run(tmp_path, IDENTITY):
        pass


def test_a_killed_holder_leaves_no_lock_behind(tmp_path, holders):
    holder = holders()
    assert holder.take() == "held\n"
    holder.process.send_signal(signal.SIGKILL)
    holder.process.wait()
    RunLock(tmp_path).release()


def test_of_two_that_start_at_once_one_is_refused(tmp_path, holders):
    rounds = 20
    pair = [holders(rounds), holders(rounds)]
    for number in range(rounds):
        for each in pair:
            each.tell()
        told = [each.hear().split()[0] for each in pair]
        assert sorted(told) == ["held", "refused"]
        pair[told.index("held")].tell()
        if number < rounds - 1:
            for each in pair:
                each.expect_ready()


def _leave_lock(folder: Path, age: float, host: str = "other") -> None:
    holder = {"host": host, "pid": 77, "user": "ann", "since": "2024-01-01 10:00:00"}
    (folder / "lock").write_text(json.dumps(holder))
    os.utime(folder / "lock", (time.time() - age,) * 2)


def test_a_holder_on_another_host_that_lately_gave_a_sign_of_life_is_respected(tmp_path):
    _leave_lock(tmp_path, age=30)
    with pytest.raises(RunHeldError, match=r"process 77 on other, started by ann .* 60 seconds after it"):
        RunLock(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["lock"]


def test_a_holder_on_another_host_that_is_silent_for_long_is_dead(tmp_path):
    _leave_lock(tmp_path, age=90)
    lock = RunLock(tmp_path)
    assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
    lock.release()


def test_where_files_cannot_be_locked_the_heartbeat_has_to_do(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(run_lock.fcntl, "flock", unsupported)
    first = RunLock(tmp_path)
    with pytest.raises(RunHeldError, match=f"process {os.getpid()}"):
        RunLock(tmp_path)
    first.release()
    RunLock(tmp_path).release()
    _leave_lock(tmp_path, age=90, host=os.uname().nodename)
    RunLock(tmp_path).release()


def test_the_heart_beats_while_its_process_is_busy_and_stops_at_the_release(tmp_path, monkeypatch):
    monkeypatch.setattr(run_lock, "HEARTBEAT", 0.01)
    lock = RunLock(tmp_path)
    os.utime(tmp_path / "lock", (0, 0))
    deadline = time.monotonic() + 30
    while (tmp_path / "lock").stat().st_mtime == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (tmp_path / "lock").stat().st_mtime > 0
    lock.release()
    assert not any(thread.name == "run-lock" for thread in threading.enumerate())


@pytest.mark.parametrize("left", ["", "{", "[1]", '"x"', '{"pid": 1}'])
def test_whatever_is_left_in_a_lock_that_nobody_holds_does_no_harm(tmp_path, left):
    (tmp_path / "lock").write_text(left)
    os.utime(tmp_path / "lock", (0, 0))
    RunLock(tmp_path).release()


def test_a_lock_that_cannot_be_written_is_said(tmp_path):
    with pytest.raises(OutputError, match="cannot write the lock"):
        RunLock(tmp_path / "none")
    with files_at_most(0), pytest.raises(OutputError, match="cannot write the lock"):
        RunLock(tmp_path)
    RunLock(tmp_path).release()


# ---- the identity


def test_the_same_identity_goes_on_with_the_run(tmp_path):
    run = tmp_path / "deep" / "run"
    with open_run(run, IDENTITY) as begun:
        assert not begun.resumed and begun.path == run
        begun.journal.append([{"n": 1}])
    with open_run(run, {**IDENTITY, "inputs": ("a", "b")}) as again:
        assert again.resumed
        again.journal.append([{"n": 2}])
    assert (run / JOURNAL).read_text() == '{"n": 1}\n{"n": 2}\n'


def test_another_identity_is_refused_and_every_difference_is_named(tmp_path):
    with open_run(tmp_path, IDENTITY):
        pass
    other = {**IDENTITY, "recipe": {"size": 256, "shape": []}, "shard": [1, 2]}
    with pytest.raises(RunMismatchError) as caught, open_run(tmp_path, other):
        pass
    lines = str(caught.value).splitlines()
    assert lines[:3] == [
        f"{tmp_path} holds another run:", "  recipe.size was 512, is 256", "  shard was absent, is [1, 2]"
    ]  # fmt: skip
    assert "--new-run" in lines[3] and len(lines) == 4
    with open_run(tmp_path, IDENTITY) as kept:
        assert kept.resumed, "a refusal changes nothing"


def test_many_and_long_differences_stay_readable(tmp_path):
    with open_run(tmp_path, {f"k{n:02}": n for n in range(30)} | {"long": "x"}):
        pass
    with pytest.raises(RunMismatchError) as caught, open_run(tmp_path, {"long": "y" * 500}):
        pass
    assert "and 19 more" in str(caught.value)
    assert max(map(len, str(caught.value).splitlines()[:-1])) < 140


def test_differences_are_found_at_any_depth():
    before = {"a": {"b": 1, "c": 2}, "d": None, "e": "x"}
    now = {"a": {"b": 1, "c": 3}, "d": {"path": "p"}, "e": "x", "f": True}
    assert identity_changes(before, now) == [
        "a.c was 2, is 3", 'd.path was absent, is "p"', "f was absent, is true"
    ]  # fmt: skip
    assert identity_changes(before, before) == []


def test_a_new_run_keeps_the_journals_of_the_old_ones(tmp_path):
    for number in range(3):
        with open_run(tmp_path, {"n": number}, new_run=True) as run:
            assert not run.resumed
            run.journal.append([{"n": number}])
    found = {path.name: path.read_text() for path in tmp_path.glob("journal*")}
    assert found == {"journal-1.jsonl": '{"n": 0}\n', "journal-2.jsonl": '{"n": 1}\n', JOURNAL: '{"n": 2}\n'}
    runs = {path.name: json.loads(path.read_text())["identity"]["n"] for path in tmp_path.glob("run*.json")}
    assert runs == {"run-1.json": 0, "run-2.json": 1, "run.json": 2}


def test_a_journal_that_a_kill_left_without_its_run_is_no_part_of_the_next_and_is_kept(tmp_path):
    (tmp_path / "journal-4.jsonl").write_text("old\n")
    (tmp_path / JOURNAL).write_text('{"n": 1}\n')
    with open_run(tmp_path, IDENTITY) as run:
        assert not run.resumed
    assert (tmp_path / JOURNAL).read_text() == ""
    assert (tmp_path / "journal-5.jsonl").read_text() == '{"n": 1}\n'
    assert (tmp_path / "journal-4.jsonl").read_text() == "old\n"


@pytest.mark.parametrize(
    "damaged", [b"", b"{", b"\xff", b"[]", b"{}", b'{"identity": 3}', b'{"identity": null}']
)
def test_a_run_that_cannot_be_told_is_refused_until_a_new_one_is_asked_for(tmp_path, damaged):
    (tmp_path / "run.json").write_bytes(damaged)
    untold = pytest.raises(RunMismatchError, match=r"nobody knows what run this is.*--new-run")
    with untold, open_run(tmp_path, IDENTITY):
        pass
    with open_run(tmp_path, IDENTITY, new_run=True):
        pass
    assert (tmp_path / "run-1.json").read_bytes() == damaged


def test_a_run_directory_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").touch()
    for wrong in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(OutputError, match="cannot make the run directory"), open_run(wrong, IDENTITY):
            pass


def test_a_full_disk_at_the_beginning_is_said_and_frees_the_lock(tmp_path):
    said = pytest.raises(OutputError, match="cannot write")
    with files_at_most(150), said, open_run(tmp_path, {"long": "x" * 1000}):
        pass
    with open_run(tmp_path, IDENTITY) as run:
        assert not run.resumed


# ---- where it is, and how far


def test_the_status_is_replaced_as_a_whole_and_a_full_disk_does_not_stop_the_run(tmp_path):
    with open_run(tmp_path, IDENTITY) as run:
        run.write_status({"state": "running", "n": 1})
        with files_at_most(5):
            run.write_status({"state": "running", "n": 2})
        assert json.loads((tmp_path / "status.json").read_text())["n"] == 1
        run.write_status({"state": "finished", "n": 3})
    assert json.loads((tmp_path / "status.json").read_text()) == {"state": "finished", "n": 3}
    assert not list(tmp_path.glob(".*"))


def test_the_run_of_a_folder_is_in_it_and_that_of_a_url_beside_the_caller():
    assert default_run_directory("out") == Path("out/.gluon-nst")
    assert default_run_directory("out", (2, 8)) == Path("out/.gluon-nst/shard-2-of-8")
    one, two = (default_run_directory(f"s3://bucket/{name}") for name in ("a b", "a-b"))
    assert one != two and len(one.parts) == 1 and one.name.startswith(".gluon-nst-s3-bucket-a-b-")
    assert len(default_run_directory("s3://bucket/" + "x" * 400).name) < 100


def test_the_digest_of_a_file_is_its_sha256(tmp_path):
    (tmp_path / "m.csv").write_bytes(b"abc")
    # The test vector of FIPS 180-2, appendix B.1.
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_digest(str(tmp_path / "m.csv")) == known
    assert file_digest("-") == ""
