"""Counts, speed, time left, and the list of workers."""

from __future__ import annotations

import json
import math

import pytest

from gluon_nst.batch.roster import Roster
from gluon_nst.batch.run_state import read_state
from gluon_nst.batch.tally import BatchProgress, Tally, WorkerLine
from gluon_nst.jobs import STATUSES, JobResult


def ended(status="succeeded") -> JobResult:
    return JobResult("k", "c", ("s",), "o", status)


def steady(
    tally: Tally, count: int, *, every: float, cost: float = 1.0, status="succeeded", start=0.0
) -> float:
    """Let a job end every so many seconds; return when the last one did."""
    for number in range(1, count + 1):
        tally.add(ended(status), cost, start + number * every)
    return start + count * every


def test_before_the_first_job_nothing_is_said_of_speed_and_end():
    tally = Tally({"succeeded": 5, "failed": 1}, 4, 4.0, 0.0)
    assert tally.counts == dict.fromkeys(STATUSES, 0) | {"succeeded": 5, "failed": 1}
    assert (tally.total, tally.failures) == (10, 0)
    assert tally.images_per_hour(100.0) == 0.0 and tally.eta(100.0) is None


@pytest.mark.parametrize("count", [1, 7, 200, 201, 1000])
def test_at_an_even_pace_speed_and_time_left_are_exact(count):
    tally = Tally({}, 2000, 2000 * 3.0, 0.0)
    now = steady(tally, count, every=2.0, cost=3.0)
    assert tally.images_per_hour(now) == pytest.approx(1800)
    assert tally.eta(now) == pytest.approx((2000 - count) * 2.0)


def test_speed_follows_the_last_jobs():
    tally = Tally({}, 5000, 5000.0, 0.0)
    slow_until = steady(tally, 300, every=10.0)
    now = steady(tally, 200, every=1.0, start=slow_until)
    assert tally.images_per_hour(now) == pytest.approx(3600)


def test_the_time_left_counts_work_and_not_jobs():
    tally = Tally({}, 3, 1.0 + 1.0 + 10.0, 0.0)
    now = steady(tally, 2, every=5.0)
    assert tally.eta(now) == pytest.approx(50.0)
    tally.add(ended(), 10.0, 60.0)
    assert tally.eta(60.0) == 0.0


def test_while_nothing_ends_speed_falls_and_the_time_left_grows():
    tally = Tally({}, 10, 10.0, 0.0)
    now = steady(tally, 2, every=1.0)
    assert tally.images_per_hour(now + 100) < tally.images_per_hour(now)
    assert tally.eta(now + 100) > tally.eta(now)


def test_jobs_that_ended_before_any_time_passed_give_numbers_all_the_same():
    tally = Tally({}, 2, 2.0, 5.0)
    tally.add(ended(), 1.0, 5.0)
    assert math.isfinite(tally.images_per_hour(5.0)) and math.isfinite(tally.eta(5.0))


@pytest.mark.parametrize(
    ("status", "failures"), [("succeeded", 0), ("skipped", 0), ("failed", 1), ("poison", 1), ("timeout", 1)]
)
def test_what_ended_badly_counts_as_a_failure_of_this_start(status, failures):
    tally = Tally({"failed": 9}, 1, 1.0, 0.0)
    tally.add(ended(status), 1.0, 1.0)
    assert tally.failures == failures
    assert tally.images_per_hour(1.0) == (3600 if status == "succeeded" else 0)


def progress(**fields) -> BatchProgress:
    return BatchProgress(
        **{
            "state": "running", "total": 10, "counts": {"succeeded": 3, "skipped": 2, "failed": 1, "poison": 1},
            "retried": 2, "in_flight": 1, "images_per_hour": 12.5, "eta_seconds": None, "started_at": 1.0,
            "updated_at": 2.0, "workers": (WorkerLine("w", "cpu", "retired", 3, 1, "it is broken"),), **fields,
        }
    )  # fmt: skip


def test_progress_adds_up_what_ended_and_what_ended_badly():
    assert (progress().finished_jobs, progress().failed_jobs) == (7, 2)


def test_the_status_file_tells_the_report_what_the_batch_told(tmp_path):
    (tmp_path / "status.json").write_text(json.dumps(progress().as_mapping(), allow_nan=False))
    state = read_state(tmp_path)
    assert (state.state, state.total, state.retried, state.in_flight) == ("running", 10, 2, 1)
    assert (state.images_per_hour, state.eta_seconds) == (12.5, None)
    (worker,) = state.workers
    assert (worker.name, worker.state, worker.done, worker.failed, worker.why) == (
        "w", "retired", 3, 1, "it is broken"
    )  # fmt: skip


# ---- workers


def by_name(roster: Roster) -> dict[str, WorkerLine]:
    return {line.name: line for line in roster.lines()}


def test_a_worker_is_counted_from_its_coming_on():
    roster = Roster()
    roster.come("a", "cpu")
    roster.count("a", well=True)
    roster.count("a", well=False)
    roster.count("nobody", well=True)
    assert roster.lines() == (WorkerLine("a", "cpu", "working", 1, 1),)


def test_a_retired_worker_stays_so_whatever_follows():
    roster = Roster()
    roster.come("a", "cpu")
    roster.state("a", "retired", "it failed its check")
    for state in ("working", "leaving", "killed"):
        roster.state("a", state, "later")
    roster.leave("a")
    assert (by_name(roster)["a"].state, by_name(roster)["a"].why) == ("retired", "it failed its check")


def test_of_those_that_left_the_last_fifty_are_remembered():
    roster = Roster()
    roster.come("stays", "cpu")
    for number in range(80):
        roster.come(f"w{number}", "cpu")
        roster.leave(f"w{number}")
    assert list(by_name(roster)) == ["stays", *(f"w{number}" for number in range(30, 80))]


def test_the_reasons_of_many_workers_are_told_once_each():
    roster = Roster()
    assert roster.reasons() == "None came."
    for number in range(20):
        roster.state(f"w{number}", "unready", "no parameters here" if number % 2 else "no device.")
    assert roster.reasons() == "no device. no parameters here."
