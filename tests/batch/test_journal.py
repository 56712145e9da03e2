"""The journal: whole lines or none, on the disk before anybody is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gluon_nst.batch.journal import JOURNAL, Journal
from gluon_nst.batch.last_records import iterate_records
from gluon_nst.errors import OutputError
from tests.batch.runs import record
from tests.limits import files_at_most


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / JOURNAL


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_what_is_appended_can_be_read_back_in_order(path):
    records = [record(1), record(2, "failed", error="é \udcff \n x"), record(3)]
    with Journal(path) as journal:
        journal.append(records[:2])
        journal.append([])
        journal.append(records[2:])
    assert lines(path) == json.loads(json.dumps(records))
    assert [each.result.job_id for each in iterate_records(path.parent)] == [r["job_id"] for r in records]
    assert next(iter(list(iterate_records(path.parent))[1:])).result.error == "é \udcff \n x"


def test_a_journal_is_added_to_and_never_begun_anew(path):
    for number in range(3):
        with Journal(path) as journal:
            journal.append([{"n": number}])
    assert lines(path) == [{"n": 0}, {"n": 1}, {"n": 2}]


@pytest.mark.parametrize(
    "torn", [b'{"n": 1', b"x", b"\0" * 5000, b'{"n": "' + b"y" * 200_000], ids=["half", "x", "zeros", "long"]
)
@pytest.mark.parametrize("whole", [b"", b'{"n": 0}\n', b'{"n": 0}\n' * 20_000], ids=["none", "one", "many"])
def test_a_last_line_that_is_cut_off_is_taken_away_at_opening(path, whole, torn):
    path.write_bytes(whole + torn)
    with Journal(path) as journal:
        assert path.read_bytes() == whole
        journal.append([{"n": 1}])
    assert path.read_bytes() == whole + b'{"n": 1}\n'


def test_a_full_disk_leaves_no_half_record_and_the_journal_goes_on_after_it(path):
    with Journal(path) as journal:
        journal.append([record(1)])
        before = path.read_bytes()
        with files_at_most(len(before) + 100), pytest.raises(OutputError, match=f"cannot write .*{JOURNAL}"):
            journal.append([record(2), record(3)])
        assert path.read_bytes() == before
        journal.append([record(4)])
    assert [each["job_id"] for each in lines(path)] == [record(1)["job_id"], record(4)["job_id"]]


def test_a_half_line_that_cannot_be_taken_away_spoils_no_other(path, monkeypatch):
    def broken(*_):
        raise OSError(5, "Input/output error")

    with Journal(path) as journal:
        with monkeypatch.context() as patched, files_at_most(10), pytest.raises(OutputError):
            patched.setattr(os, "ftruncate", broken)
            journal.append([record(1)])
        assert path.stat().st_size == 10
        journal.append([record(2)])
        journal.append([record(3)])
    assert [each.result.job_id[-1] for each in iterate_records(path.parent)] == ["2", "3"]


def test_a_disk_that_fails_to_settle_takes_no_record(path, monkeypatch):
    with Journal(path) as journal:
        with monkeypatch.context() as patched, pytest.raises(OutputError, match="Input/output"):
            patched.setattr(os, "fsync", _fail)
            journal.append([record(1)])
        assert path.read_bytes() == b""


def _fail(_):
    raise OSError(5, "Input/output error")


def test_append_returns_once_the_disk_has_all_of_it_with_one_wait(path, monkeypatch):
    waits = []
    real = os.fsync

    def counted(file):
        waits.append((Path(f"/proc/self/fd/{file}").resolve(), path.read_bytes().count(b"\n")))
        real(file)

    monkeypatch.setattr(os, "fsync", counted)
    with Journal(path) as journal:
        assert waits == [(path.parent.resolve(), 0)], "its name is on the disk from the beginning"
        journal.append([record(number) for number in range(50)])
        assert waits[1:] == [(path.resolve(), 50)]
        journal.append([])
        assert len(waits) == 2


def test_what_was_appended_outlives_a_kill(path):
    code = (
        "import os, signal, sys, pathlib; from gluon_nst.batch.journal import Journal;"
        "j = Journal(pathlib.Path(sys.argv[1])); j.append([{'n': 1}, {'n': 2}]);"
        "os.write(j._file, b'{\"n\": 3'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    with Journal(path):
        assert lines(path) == [{"n": 1}, {"n": 2}]


def test_a_journal_that_cannot_be_opened_is_said(tmp_path):
    (tmp_path / "folder").mkdir()
    for wrong in (tmp_path / "folder", tmp_path / "none" / JOURNAL):
        with pytest.raises(OutputError, match="cannot write the journal"):
            Journal(wrong)


def test_a_number_that_is_none_is_refused(path):
    with Journal(path) as journal, pytest.raises(ValueError, match="JSON"):
        journal.append([{"n": float("nan")}])
    assert path.read_bytes() == b""
