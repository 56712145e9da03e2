"""The dispatcher under random schedules: nothing lost, nothing doubled, nobody blamed for another's deed."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gluon_nst.batch.limits import Limits
from gluon_nst.batch.outcomes import Kind
from tests.batch.simulation import FakeJob, Machine, Nature, Temper, Trouble, World, task

# A batch of these tests must end within it: twenty jobs at most, each ended by an overrun twice at worst.
UNTIL = 50_000.0

schedules = settings(
    max_examples=500,
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)

FOR_GOOD = 1000  # storage fails at a job oftener than anyone tries
SECONDS = (0.01, 0.3, 2.0, 40.0)

jobs = st.builds(
    FakeJob,
    nature=st.sampled_from([*[Nature.GOOD] * 6, *Nature]),
    seconds=st.sampled_from(SECONDS),
    passing=st.sampled_from([0, 0, 0, 1, 2, FOR_GOOD]),
)
good_jobs = st.builds(FakeJob, seconds=st.sampled_from(SECONDS))
troubles = st.builds(
    Trouble,
    kind=st.sampled_from(["die", "hang", "leave", "vanish"]),
    after=st.floats(0.0, 30.0),
)
limits = st.builds(
    Limits,
    in_flight=st.integers(1, 3),
    chunk_seconds=st.sampled_from([0.5, 5.0, 100.0]),
    chunk_jobs=st.integers(1, 8),
    prefetch_seconds=st.sampled_from([1.0, 30.0]),
    strikes=st.integers(1, 4),
    refuted=st.integers(1, 4),
    timeout=st.just(500.0),
    least_timeout=st.just(500.0),
)


def machines(tempers: list[Temper], *, most_troubles: int = 3) -> st.SearchStrategy[Machine]:
    return st.builds(
        Machine,
        joins=st.floats(0.0, 20.0),
        slowness=st.sampled_from([0.5, 1.0, 8.0]),
        temper=st.sampled_from(tempers),
        troubles=st.lists(troubles, max_size=most_troubles).map(tuple),
        check_seconds=st.sampled_from([0.005, 0.5, 20.0]),
        latency=st.sampled_from([0.01, 0.3]),
        pace=st.sampled_from([None, 1.0]),
    )


SOUND = machines([Temper.SOUND])
# A sly worker passes its check: where it is believed, nobody could know better.
HONEST = machines([Temper.SOUND, Temper.SOUND, Temper.BROKEN, Temper.CUT_OFF, Temper.MUTE])
# One trouble at most: a job that was alone at two deaths from outside may be called poison.
FAILING = machines([Temper.BROKEN, Temper.CUT_OFF, Temper.SLY], most_troubles=1)


def a_batch(jobs: list[FakeJob], groups: list[str]):
    return [
        task(number, job, group=group) for number, (job, group) in enumerate(zip(jobs, groups, strict=False))
    ]


def batches(of: st.SearchStrategy[FakeJob]) -> st.SearchStrategy[list]:
    count = 20
    groups = st.lists(st.sampled_from("aab"), min_size=count, max_size=count)
    return st.builds(a_batch, st.lists(of, max_size=count), groups)


def allowed_ends(world: World, key: str) -> set[str]:
    """Return what may become of a job, by what it is and by what happened to it in the world."""
    job, ledger = world.ledger.tasks[key].job, world.ledger
    nature = job.nature
    if job.passing == FOR_GOOD and nature not in (Nature.POISON, Nature.HANGING):
        ends = {"failed"}
    else:
        ends = {
            Nature.GOOD: {"done"},
            Nature.FAULTY: {"failed"},
            Nature.POISON: {"poison"},
            Nature.HANGING: {"timeout"},
            Nature.DOUBTFUL: {"failed"},
        }[nature]
    if job.passing and tries_were_used_up_elsewhere(world):
        ends = ends | {"failed"}
    if ledger.deaths_alone[key] >= ledger.limits.kills:
        ends = ends | {"poison"}
    if ledger.kills_alone[key] >= ledger.limits.overruns:
        ends = ends | {"timeout"}
    return ends


def tries_were_used_up_elsewhere(world: World) -> bool:
    """Whether a sound worker may have been left with too few tries at storage: they count over all workers."""
    return any(each.machine.temper is Temper.CUT_OFF for each in world.workers.values())


def hold_against_the_rules(world: World) -> None:
    ledger = world.ledger
    assert ledger.verdicts.keys() == ledger.tasks.keys(), "a job is lost"
    for key, verdict in ledger.verdicts.items():
        assert verdict.status in allowed_ends(world, key)
        if verdict.status == "poison":
            assert ledger.deaths_alone[key] >= ledger.limits.kills
        if verdict.status == "timeout":
            assert ledger.kills_alone[key] >= ledger.limits.overruns
        assert ledger.told[key, Kind.FAULT] <= 1, "a fault of the job's own was tried again"
        assert begun_at_most(world, key), f"{key} was begun {verdict.attempts} times"


def begun_at_most(world: World, key: str) -> bool:
    """Whether a job was begun no oftener than its losses explain.

    Once; once more for each death or kill that took it; and for each failure in doubt or of storage. Two words
    in doubt are needed, and two more for each worker that was gone before it could be believed; each may take
    as many tries as storage is given.
    """
    ledger = world.ledger
    told = sum(ledger.told[key, kind] for kind in (Kind.PASSING, Kind.DOUBT))
    assert told <= ledger.limits.passes * 2 * (1 + ledger.ended)
    return ledger.verdicts[key].attempts <= 1 + ledger.lost[key] + told


@schedules
@given(batches(jobs), st.lists(SOUND, max_size=3), SOUND, limits, st.booleans())
def test_every_job_of_any_kind_gets_its_one_right_verdict(tasks, others, sound, limits, counted):
    world = World(tasks, [sound, *others], limits, total=len(tasks) if counted else None)
    world.run(until=UNTIL)
    hold_against_the_rules(world)
    assert world.ledger.retired == []


@schedules
@given(batches(jobs), st.lists(HONEST, max_size=4), SOUND, limits, st.booleans())
def test_broken_workers_change_no_verdict(tasks, others, sound, limits, counted):
    world = World(tasks, [sound, *others], limits, total=len(tasks) if counted else None)
    world.run(until=UNTIL)
    hold_against_the_rules(world)
    if not tries_were_used_up_elsewhere(world):
        retired = {world.workers[name].machine.temper for name in world.ledger.retired}
        assert Temper.SOUND not in retired


@schedules
@given(batches(good_jobs), st.lists(FAILING, max_size=1), limits)
def test_one_worker_that_fails_every_job_spoils_none_of_them(tasks, others, limits):
    world = World(tasks, [Machine(), *others], limits)
    world.run(until=UNTIL)
    assert {verdict.status for verdict in world.ledger.verdicts.values()} <= {"done"}
    assert world.ledger.verdicts.keys() == world.ledger.tasks.keys()


@schedules
@given(batches(jobs), st.lists(HONEST, max_size=3), SOUND, limits, st.floats(0.0, 60.0))
def test_after_a_stop_nothing_is_sent_and_what_is_in_flight_comes_back(tasks, others, sound, limits, stop_at):
    world = World(tasks, [sound, *others], limits, stop_at=stop_at)
    world.run(until=UNTIL)
    for key, verdict in world.ledger.verdicts.items():
        assert verdict.status in allowed_ends(world, key)
    assert world.dispatcher.in_flight == 0


@schedules
@given(batches(good_jobs), st.lists(machines([Temper.SOUND], most_troubles=0), max_size=3), limits)
def test_without_trouble_every_job_is_computed_once(tasks, others, limits):
    world = World(tasks, [Machine(), *others], limits)
    world.run(until=UNTIL)
    assert world.computed == {each.key: 1 for each in tasks}
    assert world.dispatcher.retries == 0


@schedules
@given(st.lists(good_jobs, min_size=1, max_size=20), st.integers(1, 4), limits)
def test_the_makespan_is_that_of_a_list_schedule(jobs, workers, limits):
    # Graham's bound for any schedule that leaves no worker idle holds for chunks as for jobs: the last chunk
    # begins when the work before it is shared out. One chunk more may wait behind the one at work.
    tasks = [task(number, job) for number, job in enumerate(jobs)]
    limits = dataclasses.replace(limits, chunk_jobs=1)
    world = World(tasks, [Machine(pace=1.0)] * workers, limits, total=len(tasks))
    world.run(until=UNTIL)
    total, longest = sum(job.seconds for job in jobs), max(job.seconds for job in jobs)
    trips = 0.1 * len(jobs)
    assert world.now <= total / workers + limits.in_flight * longest + trips


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_a_long_collection_on_sound_workers_takes_its_share_of_time(workers):
    tasks = [task(number, FakeJob(seconds=0.05)) for number in range(4000)]
    world = World(tasks, [Machine()] * workers, Limits(), total=len(tasks))
    world.run(until=UNTIL)
    assert world.now == pytest.approx(4000 * 0.05 / workers, rel=0.05)
