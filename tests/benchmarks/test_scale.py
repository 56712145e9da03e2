"""The measurements of scale run, and tell figures that can be."""

from __future__ import annotations

import pytest

from benchmarks import scale


def rows(capsys: pytest.CaptureFixture[str]) -> list[list[float]]:
    """Return the numbers of the table that was printed."""
    lines = capsys.readouterr().out.splitlines()[2:]
    return [
        [float(cell.strip(" %").replace(",", "") or 0) for cell in line.strip("|").split("|")]
        for line in lines
    ]


def test_more_workers_take_the_dispatcher_longer(capsys: pytest.CaptureFixture[str]) -> None:
    scale.main(["dispatch", "100", "1000"])
    found = {(int(workers), int(together)): ms for workers, together, ms, _ in rows(capsys)}
    assert len(found) == 6
    assert 0 < found[100, 1] < found[1000, 1]


def test_the_journal_is_read_as_it_was_written(capsys: pytest.CaptureFixture[str]) -> None:
    scale.main(["journal", "300"])
    ((jobs, size, alone, together, read),) = rows(capsys)
    assert jobs == 300
    assert 300 < size < 3000
    assert alone > 0 and together > 0 and read > 0


def test_the_files_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    scale.main(["files", "20"])
    ((count, written, looked),) = rows(capsys)
    assert count == 20
    assert written > 0 and looked > 0


def test_a_shard_is_planned(capsys: pytest.CaptureFixture[str]) -> None:
    scale.main(["plan", "30"])
    lines = [line.split("|") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [line[2].strip() for line in lines] == ["all", "1 of 10"]
    assert float(lines[0][4]) > 0


def test_a_real_scheduler_serves_workers_that_only_wait(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scale, "IDLE_SECONDS", 0.5)
    monkeypatch.setattr(scale, "RATE", 4.0)  # jobs of a second, which go one by one
    scale.main(["cluster", "4"])
    ((count, joined, _, per_job, memory, *_, share),) = rows(capsys)
    assert count == 4
    assert joined > 0 and per_job > 0 and memory > 10
    assert 0 < share <= 100
