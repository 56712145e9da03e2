"""The dispatcher, told event by event what happened."""

from __future__ import annotations

import math

import pytest

from gluon_nst.batch.dispatch import Dispatcher
from gluon_nst.batch.limits import Limits
from gluon_nst.batch.orders import Check, Kill, Retire, Send
from gluon_nst.batch.outcomes import Kind, Outcome
from gluon_nst.batch.standing import State, Task
from gluon_nst.jobs import JobResult
from tests.batch.simulation import FakeJob, Machine, Nature, Temper, World, task


def names(count):
    return [f"job-{number}" for number in range(count)]


def dispatcher(count, workers="a", *, pace=None, cost=1.0, total=None, **limits):
    tasks = (Task(name, "group", cost, None) for name in names(count))
    made = Dispatcher(tasks, Limits(**limits), total=total)
    for worker in workers:
        made.join(worker, 0.0, pace)
    return made


def sends(made, now=0.0):
    return [each for each in made.actions(now) if isinstance(each, Send)]


def keys(sent):
    return [[each.key for each in send.tasks] for send in sent]


def tell(made, send, kind, now=1.0, **more):
    outcomes = [Outcome(each.key, kind, *more.pop("result", ())) for each in send.tasks]
    made.report(send.worker, send.number, outcomes, now, **more)


def statuses(made):
    return {each.task.key: each.status for each in made.verdicts()}


def play(jobs, machines, **limits):
    """Run a world to its end and return its ledger."""
    world = World([task(number, job) for number, job in enumerate(jobs)], machines, Limits(**limits))
    world.run(until=1e5)
    return world.ledger


def ends(ledger):
    return {verdict.status for verdict in ledger.verdicts.values()}


# ---- how much


def test_without_a_pace_chunks_have_one_job_and_two_are_in_flight():
    assert keys(sends(dispatcher(9))) == [["job-0"], ["job-1"]]


def test_the_idle_get_work_before_anyone_gets_a_second_chunk():
    assert [send.worker for send in sends(dispatcher(9, "abc"))] == ["a", "b", "c", "a", "b", "c"]


def test_chunks_double_until_they_last_a_second():
    made = dispatcher(1000, pace=0.1, in_flight=1)
    lengths = []
    now = 0.0
    for _ in range(5):
        (send,) = sends(made, now)
        lengths.append(len(send.tasks))
        now += 0.1 * len(send.tasks)
        tell(made, send, Kind.DONE, now)
    assert lengths == [2, 4, 8, 10, 10]


def test_a_chunk_follows_the_pace_that_was_seen():
    made = dispatcher(1000, pace=0.1, in_flight=1, chunk_jobs=1000)
    (send,) = sends(made, 0.0)
    tell(made, send, Kind.DONE, 0.6)  # 0.3 s a job; half the news, half the old: 0.2
    (send,) = sends(made, 0.6)
    assert len(send.tasks) == 4  # at most double
    tell(made, send, Kind.DONE, 1.4)  # 0.2 s a job
    assert len(sends(made, 1.4)[0].tasks) == 5


def test_jobs_that_failed_say_nothing_of_the_pace():
    made = dispatcher(9, in_flight=1)
    tell(made, sends(made)[0], Kind.FAULT, now=0.001)
    assert made.workers["a"].pace is None


def test_towards_the_end_of_a_known_number_chunks_become_small():
    made = dispatcher(64, "ab", pace=1e-3, total=64, in_flight=1)
    lengths = []
    while found := sends(made):
        for send in found:
            lengths.append(len(send.tasks))
            tell(made, send, Kind.DONE, 0.0)
    assert sum(lengths) == 64
    assert lengths[-2:] == [1, 1]
    # No chunk is more than half of one worker's share of what was left, rounded up; its first job is out by then.
    left = [64 - sum(lengths[:index]) for index in range(len(lengths))]
    assert all(length <= max(1, -(-rest // 4)) for length, rest in zip(lengths, left, strict=True))


def test_a_chunk_holds_jobs_of_one_group():
    tasks = [task(number, group=group) for number, group in enumerate("aabba")]
    made = Dispatcher(iter(tasks), Limits(chunk_seconds=100.0))
    made.join("w", 0.0, 1e-6)
    made.workers["w"].largest = 64
    assert keys(sends(made)) == [["job-0", "job-1"], ["job-2", "job-3"]]


def test_a_long_job_is_not_sent_ahead_of_its_time():
    assert len(sends(dispatcher(9, pace=31.0))) == 1
    assert len(sends(dispatcher(9, pace=29.0))) == 2


# ---- how long


@pytest.mark.parametrize(
    ("timeout", "jobs", "pace", "seconds"),
    [
        (None, 2, None, math.inf),  # nobody knows
        (None, 2, 1.0, 600.0),  # 20 times 10 s is less than the least
        (None, 2, 100.0, 20_000.0),  # 20 times 10 units of 100 s
        (50.0, 1, 1.0, 50.0),
        (50.0, 2, None, 100.0),
        (50.0, 2, 1.0, 150.0),  # one overrun, and the rest as foreseen: no more than 100 s
        (5000.0, 2, 1.0, 5200.0),  # one overrun, and 200 s
        (math.inf, 2, 1.0, math.inf),
    ],
)
def test_the_seconds_allowed(timeout, jobs, pace, seconds):
    assert Limits(timeout=timeout).seconds_allowed(jobs, 10.0, pace) == seconds


def test_a_worker_that_overruns_is_killed_once_and_its_jobs_are_suspect():
    made = dispatcher(3, "a", timeout=10.0)
    sends(made)
    assert [each for each in made.actions(20.0) if isinstance(each, Kill)] == []
    assert [each.worker for each in made.actions(20.1) if isinstance(each, Kill)] == ["a"]
    assert made.actions(30.0) == []
    made.leave("a")
    made.join("b", 31.0)
    assert keys(sends(made, 31.0)) == [["job-0"]]  # alone, though two chunks may be in flight


def test_a_job_that_overruns_twice_alone_is_given_up():
    ledger = play([FakeJob(Nature.HANGING), FakeJob()], [Machine()], timeout=10.0)
    assert {key: each.status for key, each in ledger.verdicts.items()} == {
        "job-0": "timeout",
        "job-1": "done",
    }


# ---- who is to blame


def test_a_job_that_kills_two_workers_alone_is_poison_and_its_neighbors_are_not():
    made = dispatcher(2)
    assert keys(sends(made)) == [["job-0"], ["job-1"]]
    made.leave("a")  # with both: neither is blamed
    for worker in "bc":
        made.join(worker, 0.0)
        assert keys(sends(made)) == [["job-0" if worker == "b" else "job-1"]]
        made.leave(worker)
    assert statuses(made) == {}  # each killed one worker alone
    made.join("d", 0.0)
    assert keys(sends(made)) == [["job-0"]]
    made.leave("d")
    (verdict,) = made.verdicts()
    assert (verdict.task.key, verdict.status, verdict.attempts) == ("job-0", "poison", 3)


def test_nobody_is_to_blame_when_a_worker_leaves_in_order():
    made = dispatcher(1)
    for worker in "bcde":
        sends(made)
        made.leave(next(iter(made.workers)), expected=True)
        made.join(worker, 0.0)
    (send,) = sends(made)
    tell(made, send, Kind.DONE)
    (verdict,) = made.verdicts()
    assert (verdict.status, verdict.attempts) == ("done", 1)


def test_a_fault_of_the_jobs_own_is_not_tried_again():
    ledger = play([FakeJob(Nature.FAULTY)], [Machine(), Machine()])
    assert ends(ledger) == {"failed"}
    assert ledger.sent == {"job-0": 1}


def test_with_one_of_two_workers_broken_all_is_done():
    ledger = play([FakeJob()] * 200, [Machine(), Machine(temper=Temper.BROKEN)])
    assert ends(ledger) == {"done"}
    assert ledger.retired == ["1.0"]


def test_a_worker_that_fails_what_others_do_is_retired_though_it_passes_its_checks():
    ledger = play([FakeJob()] * 200, [Machine(), Machine(temper=Temper.SLY)])
    assert ends(ledger) == {"done"}
    assert ledger.retired == ["1.0"]


def test_where_the_only_worker_is_broken_no_job_is_called_failed():
    made = dispatcher(50)
    for _ in range(100):
        for send in sends(made):
            tell(made, send, Kind.DOUBT)
        made.checked("a", 2.0, sound=False, why="black picture")
    assert made.verdicts() == []
    assert made.usable == []
    assert not made.finished
    assert made.workers["a"].why == "it failed its check: black picture"


def test_a_recipe_that_fails_everywhere_fails_with_few_checks_on_one_worker():
    ledger = play([FakeJob(Nature.DOUBTFUL)] * 100, [Machine()])
    assert ends(ledger) == {"failed"}
    assert len(ledger.verdicts) == 100
    # The strikes allowed double: 3, 6, ... 96 are 189, and 100 jobs have no more; one check settles the rest.
    assert ledger.checks <= 7
    assert ledger.retired == []


def test_storage_that_fails_in_passing_is_tried_again_after_a_pause():
    made = dispatcher(1)
    tell(made, sends(made, 0.0)[0], Kind.PASSING, now=1.0)
    assert sends(made, 1.9) == []
    (send,) = sends(made, 2.0)
    tell(made, send, Kind.PASSING, now=3.0)
    assert sends(made, 4.9) == []
    tell(made, sends(made, 5.0)[0], Kind.DONE, now=6.0)
    assert statuses(made) == {"job-0": "done"}
    assert made.retries == 2


# ---- the end


def test_after_a_stop_nothing_is_sent_and_what_is_in_flight_may_end():
    made = dispatcher(9)
    first, second = sends(made)
    made.stop()
    tell(made, first, Kind.DONE)
    assert made.actions(1.0) == []
    assert not made.finished
    tell(made, second, Kind.DONE)
    assert made.finished
    assert statuses(made) == {"job-0": "done", "job-1": "done"}


def test_a_full_disk_stops_everything_and_says_why():
    made = dispatcher(9)
    first, second = sends(made)
    result = JobResult("job-0", "", (), "", "failed", error="no space left on /out")
    made.report("a", first.number, [Outcome("job-0", Kind.HALT, result)], 1.0)
    assert made.halted == "no space left on /out"
    assert made.actions(1.0) == []
    tell(made, second, Kind.DONE)
    assert made.finished
    assert statuses(made) == {"job-1": "done"}  # nothing is said of job-0: it is to be run another time


def test_a_chunk_that_never_arrived_is_sent_again_first_and_does_not_count():
    made = dispatcher(3, "ab", in_flight=1)
    first, _ = sends(made)
    made.leave("a")
    made.release("b", 2)
    assert keys(sends(made)) == [["job-0"]]  # the suspect of a's death; it is alone at b
    made.join("c", 0.0)
    (send,) = sends(made)
    assert keys([send]) == [["job-1"]]
    tell(made, send, Kind.DONE)
    (verdict,) = made.verdicts()
    assert verdict.attempts == 1
    made.release("c", send.number)  # it came back before
    tell(made, first, Kind.DONE)
    assert made.verdicts() == []


def test_a_late_report_is_ignored():
    made = dispatcher(1)
    (send,) = sends(made)
    made.leave("a")
    tell(made, send, Kind.DONE)
    made.join("b", 0.0)
    tell(made, send, Kind.DONE)
    assert made.verdicts() == []
    tell(made, sends(made)[0], Kind.DONE)
    assert statuses(made) == {"job-0": "done"}


def test_what_a_leaving_worker_did_not_begin_goes_to_another_and_it_gets_no_more():
    made = dispatcher(3, "ab", in_flight=1)
    first, _ = sends(made)
    made.report("a", first.number, [], 1.0, leaving=True)
    assert sends(made) == []
    assert made.usable == ["b"]
    made.leave("a", expected=True)
    made.join("c", 1.0)
    assert keys(sends(made)) == [["job-0"]]


def test_an_empty_batch_is_finished_at_once():
    made = dispatcher(0)
    assert made.actions(0.0) == []
    assert made.finished


def test_tasks_are_drawn_only_as_they_are_sent():
    drawn, sent = [], 0
    made = Dispatcher(drawn.append(number) or task(number) for number in range(10**9))
    made.join("a", 0.0)
    for _ in range(100):
        for send in sends(made):
            sent += len(send.tasks)
            tell(made, send, Kind.DONE)
    assert len(drawn) == sent


def test_a_check_is_asked_for_once_and_retirement_is_told_once():
    made = dispatcher(9, in_flight=3)
    for send in sends(made):
        tell(made, send, Kind.DOUBT)
    assert made.actions(1.0) == [Check("a")]
    made.checked("a", 2.0, sound=False, why="black picture")
    made.checked("a", 2.0, sound=False, why="black picture")
    assert made.actions(2.0) == [Retire("a", "it failed its check: black picture")]


# ---- found by random schedules


@pytest.mark.parametrize("back", ["release", "not begun", "doubt", "passing", "leave"])
def test_a_suspect_stays_alone_however_it_comes_back(back):
    made = dispatcher(4, "ab", in_flight=1, pace=1e-3)
    _, second = sends(made)
    made.leave("a")
    tell(made, second, Kind.DONE, now=0.0)
    (suspect,) = sends(made)
    assert keys([suspect]) == [["job-0"]]
    if back == "release":
        made.release("b", suspect.number)
    elif back == "leave":
        made.leave("b", expected=True)
    else:
        kind = {"not begun": Kind.UNSTARTED, "doubt": Kind.DOUBT, "passing": Kind.PASSING}[back]
        tell(made, suspect, kind)
    made.join("c", 9.0, 1e-3)
    assert ["job-0"] in keys(sends(made, 9.0))


def test_a_retired_worker_that_still_reports_keeps_no_job_from_the_others():
    made = dispatcher(3, in_flight=3, strikes=9, refuted=1)
    for send in sends(made):
        tell(made, send, Kind.DOUBT)
    first, second, _ = sends(made)  # the same: there is no other worker
    made.release("a", first.number)
    made.join("b", 1.0)
    tell(made, sends(made)[0], Kind.DONE)  # what a had failed at
    assert made.usable == ["b"]
    tell(made, second, Kind.DOUBT)
    assert keys(sends(made)) == [["job-1"]]


@pytest.mark.parametrize("broken", [2, 3, 5])
def test_broken_workers_that_agree_are_not_believed(broken):
    ledger = play([FakeJob()] * 300, [Machine(), *[Machine(temper=Temper.BROKEN)] * broken])
    assert ends(ledger) == {"done"}
    assert len(ledger.retired) == broken


def test_two_workers_are_believed_at_once_if_one_has_done_a_job_since():
    made = dispatcher(3, "ab", in_flight=1)
    doubted, at_b = sends(made)
    tell(made, doubted, Kind.DOUBT)
    (other,) = sends(made)  # a may not have it again
    assert keys([other]) == [["job-2"]]
    tell(made, other, Kind.DONE)
    tell(made, at_b, Kind.DONE)
    (again,) = sends(made)
    assert (again.worker, keys([again])) == ("b", [["job-0"]])
    tell(made, again, Kind.DOUBT)
    assert statuses(made) == {"job-0": "failed", "job-1": "done", "job-2": "done"}


def test_a_picture_that_was_there_before_proves_nothing_of_the_worker_that_found_it():
    made = dispatcher(3, in_flight=1)
    found = (JobResult("", "", (), "", "skipped"),)
    tell(made, sends(made)[0], Kind.DOUBT)
    tell(made, sends(made)[0], Kind.DOUBT)  # the same: there is no other worker
    tell(made, sends(made)[0], Kind.DONE, result=found)
    assert statuses(made) == {"job-1": "done"}
    assert made.workers["a"].strikes == {"job-0"}


def test_with_storage_lost_at_one_of_two_workers_all_is_done():
    ledger = play([FakeJob()] * 200, [Machine(), Machine(temper=Temper.CUT_OFF)])
    assert ends(ledger) == {"done"}
    assert ledger.retired == ["1.0"]


def test_storage_that_fails_everywhere_and_for_good_fails_the_job():
    ledger = play([FakeJob(passing=1000), FakeJob(), FakeJob()], [Machine(), Machine()])
    assert ledger.verdicts["job-0"].status == "failed"
    assert ledger.verdicts["job-0"].attempts <= 2 * Limits().passes


def test_tries_used_up_by_a_worker_without_storage_do_not_count_against_the_job():
    ledger = play([FakeJob(passing=2)], [Machine(temper=Temper.CUT_OFF), Machine(joins=2.5)])
    assert ends(ledger) == {"done"}


def test_what_was_computed_before_a_failure_and_told_after_it_lends_it_no_weight():
    made = dispatcher(4, "ab")
    first, second, third, _ = sends(made)
    assert (first.worker, third.worker, second.worker) == ("a", "a", "b")
    tell(made, third, Kind.DOUBT)  # broken by now: it fails at once, while the other picture is being written
    tell(made, first, Kind.DONE)
    tell(made, second, Kind.DONE)
    (again,) = [send for send in sends(made) if send.worker == "b"]
    assert keys([again]) == [["job-2"]]
    tell(made, again, Kind.DOUBT)
    assert statuses(made) == {"job-0": "done", "job-1": "done"}, "two broken workers agree on every job"


def test_what_the_only_worker_failed_is_kept_for_one_that_is_coming():
    made = dispatcher(1)
    tell(made, sends(made)[0], Kind.DOUBT)
    assert made.actions(1.0, expecting=True) == []
    assert not made.finished
    made.join("b", 2.0)
    (send,) = sends(made)
    assert send.worker == "b"
    tell(made, send, Kind.DONE)
    assert statuses(made) == {"job-0": "done"}


def test_what_the_only_worker_failed_is_tried_again_there_once_none_is_coming():
    made = dispatcher(1)
    tell(made, sends(made)[0], Kind.DOUBT)
    assert made.actions(1.0, expecting=True) == []
    assert keys(sends(made)) == [["job-0"]]


def test_a_worker_that_never_answers_its_check_is_killed():
    made = dispatcher(1)
    tell(made, sends(made, 0.0)[0], Kind.DOUBT, now=1.0)
    tell(made, sends(made, 1.0)[0], Kind.DOUBT, now=2.0)
    assert made.actions(3.0) == [Check("a")]
    assert made.actions(603.0) == []
    (kill,) = made.actions(603.1)
    assert kill == Kill("a", "nothing came back from it for 600 seconds")


def test_the_death_of_a_leaving_worker_blames_no_job():
    made = dispatcher(1)
    for worker in "bcd":
        sends(made)
        before = next(iter(made.workers))
        made.depart(before)  # it is given notice, and killed before its long job ends
        made.leave(before)
        made.join(worker, 0.0)
    tell(made, sends(made)[0], Kind.DONE)
    assert statuses(made) == {"job-0": "done"}


def test_workers_that_fail_now_and_then_are_not_all_retired_in_a_long_night():
    made = dispatcher(3000, "ab", in_flight=1)
    number = 0
    while not made.finished:
        for send in sends(made):
            number += 1
            tell(made, send, Kind.DOUBT if number % 100 == 0 else Kind.DONE)
        assert made.usable == ["a", "b"]
    assert set(statuses(made).values()) == {"done"}


def test_a_worker_that_joins_under_a_name_that_is_held_has_died_before():
    made = dispatcher(2, pace=1.0)
    sends(made)
    made.join("a", 5.0)
    assert keys(sends(made, 5.0)) == [["job-0"]]  # alone, as after a death


def test_a_suspect_that_a_worker_may_not_have_keeps_it_from_no_other():
    made = dispatcher(2, "ab", in_flight=1)
    sends(made)
    made.leave("a")
    made.leave("b")
    made.join("c", 0.0)
    tell(made, sends(made)[0], Kind.DOUBT)  # job-0
    made.join("d", 0.0)
    for send in sends(made):  # job-1 to c, job-0 to d
        made.release(send.worker, send.number)
    made.workers["d"].state = State.CHECKING
    assert keys(sends(made)) == [["job-1"]]


def test_a_job_is_not_carried_for_ever_from_one_mute_worker_to_the_next():
    made = dispatcher(1, "a", strikes=2)
    (first,) = sends(made)
    tell(made, first, Kind.DOUBT)
    made.join("mute", 1.0)  # fails at it too, never answers a check, and comes back under other names
    (second,) = sends(made, 1.0)
    assert second.worker == "mute"
    tell(made, second, Kind.DOUBT, 2.0)
    assert made.actions(2.0) == [Check("a"), Check("mute")], "who failed at it before is asked as well"
    made.checked("a", 3.0, sound=True)
    assert statuses(made) == {"job-0": "failed"}
    assert made.finished
