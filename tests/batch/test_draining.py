"""Signals to the command and to its workers: all that runs ends in order, and nothing is lost or doubled."""

import json
import signal

import psutil
import pytest
from distributed import Client

from tests.batch.field import (
    Cluster,
    Running,
    check_outputs,
    journal_of,
    output_names,
    records,
    run_batch,
    statuses,
    wait_until,
    workers_below,
    write_field,
)
from tests.batch.stand_in import SLOW_STEPS

STRANDED, RESUMABLE, AT_ONCE = 5, 75, 130
COUNT = 40
SLOWLY = {"STAND_IN_SECONDS": "0.1"}


def under_way(output, count=4):
    wait_until(lambda: records(output) >= count)


def all_done_once(output, count=COUNT):
    check_outputs(output, output_names(range(count)))
    assert statuses(output) == {"done": count}
    assert len(journal_of(output)) == count


def gone(processes, seconds=10):
    """Wait until processes are gone; return those that are not."""
    return psutil.wait_procs(processes, timeout=seconds)[1]


@pytest.mark.parametrize(
    ("number", "group"),
    [(signal.SIGINT, False), (signal.SIGTERM, False), (signal.SIGINT, True), (signal.SIGTERM, True)],
    ids=["SIGINT", "SIGTERM", "Ctrl-C in a terminal", "SIGTERM to all processes"],
)
def test_one_signal_ends_what_runs_and_the_same_command_does_the_rest(tmp_path, number, group):
    arguments = write_field(tmp_path, ["good"] * COUNT)
    with Running(*arguments, **SLOWLY) as batch:
        under_way(tmp_path / "out")
        processes = batch.children()
        batch.signal(number, group=group)
        code, told = batch.end()
    assert code == RESUMABLE, told
    assert f"{number.name}: stopping in order" in told
    assert "Run the same command again to go on." in told
    assert "Traceback" not in told
    assert gone(processes) == []
    done = records(tmp_path / "out")
    assert 4 <= done < COUNT
    check_outputs(tmp_path / "out", {path.name for path in (tmp_path / "out").glob("*.png")})
    again = run_batch(*arguments)
    assert again.returncode == 0, again.stderr
    all_done_once(tmp_path / "out")
    assert all(
        record["status"] == "succeeded" and record["attempts"] == 1 for record in journal_of(tmp_path / "out")
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_to_all_processes_while_the_workers_start_ends_in_order(tmp_path, number):
    with Running(*write_field(tmp_path, ["good"] * COUNT)) as batch:
        wait_until(batch.workers)
        processes = batch.children()
        batch.signal(number, group=True)
        code, told = batch.end()
    assert code == RESUMABLE, told
    assert "Traceback" not in told
    assert gone(processes) == []


def begun(folder):
    return list(folder.glob("began-*"))


def test_slow_pictures_are_broken_off_after_the_grace_and_go_on_from_there(tmp_path):
    arguments = (*write_field(tmp_path, ["slow"] * 4), "--grace", "1")
    with Running(*arguments, STAND_IN_BEGAN=str(tmp_path)) as batch:
        wait_until(lambda: len(begun(tmp_path)) == 2)
        batch.signal(signal.SIGTERM)
        code, told = batch.end(30)
    checkpoints = tmp_path / "out/.gluon-nst/checkpoints"
    assert code == RESUMABLE, told
    assert "Traceback" not in told
    assert records(tmp_path / "out") == 0
    assert len(list(checkpoints.iterdir())) >= 2
    again = run_batch(*arguments, STAND_IN_PACE="0")
    assert again.returncode == 0, again.stderr
    all_done_once(tmp_path / "out", 4)
    # A grace of a second is twenty steps; a busy machine takes fewer, but some.
    steps = sorted(record["steps"] for record in journal_of(tmp_path / "out"))
    assert SLOW_STEPS - 40 < steps[0] <= steps[1] < SLOW_STEPS - 4
    assert list(checkpoints.iterdir()) == []


def test_a_second_signal_stops_at_once_and_leaves_no_process_behind(tmp_path):
    with Running(*write_field(tmp_path, ["slow"] * 4), STAND_IN_BEGAN=str(tmp_path)) as batch:
        wait_until(lambda: len(begun(tmp_path)) == 2)
        processes = batch.children()
        batch.signal(signal.SIGINT)
        wait_until(lambda: state_of(tmp_path / "out") == "draining")
        batch.signal(signal.SIGINT)
        code, told = batch.end(10)
    assert code == AT_ONCE, told
    assert "Traceback" not in told
    assert gone(processes) == []


def test_what_supervisors_say_twice_is_one_request(tmp_path):
    arguments = (*write_field(tmp_path, ["slow"] * 4), "--grace", "2")
    with Running(*arguments, STAND_IN_BEGAN=str(tmp_path)) as batch:
        wait_until(lambda: len(begun(tmp_path)) == 2)
        batch.signal(signal.SIGUSR2)
        wait_until(lambda: state_of(tmp_path / "out") == "draining")
        batch.signal(signal.SIGTERM)
        batch.signal(signal.SIGUSR2)
        code, told = batch.end(30)
    assert code == RESUMABLE, told
    assert len(list((tmp_path / "out/.gluon-nst/checkpoints").iterdir())) >= 2


def state_of(output):
    status = output / ".gluon-nst/status.json"
    return json.loads(status.read_text())["state"] if status.exists() else ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2], ids=["SIGTERM", "SIGUSR2"])
def test_a_worker_that_is_told_to_leave_hands_back_what_it_has_not_begun(tmp_path, number):
    with Running(*write_field(tmp_path, ["good"] * COUNT), **SLOWLY) as batch:
        under_way(tmp_path / "out")
        first, second = batch.workers()
        first.send_signal(number)
        assert gone([first]) == []
        code, told = batch.end()
    assert code == 0, told
    assert "Traceback" not in told
    all_done_once(tmp_path / "out")
    assert all(record["attempts"] == 1 for record in journal_of(tmp_path / "out"))
    last = sorted(journal_of(tmp_path / "out"), key=lambda record: record["finished_at"])[-5:]
    assert {record["worker"].rpartition(":")[2] for record in last} == {str(second.pid)}


def test_where_all_workers_leave_and_none_comes_the_batch_says_so(tmp_path):
    arguments = (*write_field(tmp_path, ["good"] * COUNT), "--wait-for-workers", "2")
    with Running(*arguments, **SLOWLY) as batch:
        under_way(tmp_path / "out")
        for each in batch.workers():
            each.send_signal(signal.SIGUSR2)
        code, told = batch.end()
    assert code == STRANDED, told
    assert "no worker can work. All that came are gone. Run the same command again once one can." in told
    assert set(statuses(tmp_path / "out")) == {"done"}
    again = run_batch(*arguments)
    assert again.returncode == 0, again.stderr
    all_done_once(tmp_path / "out")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("cluster"), **SLOWLY) as cluster:
        yield cluster


def test_a_worker_that_joins_in_the_middle_gets_work(tmp_path, cluster):
    arguments = (*write_field(tmp_path, ["good"] * 3 * COUNT), "--scheduler", cluster.address)
    # Enough for a newcomer that takes long to start.
    with Running(*arguments) as batch:
        under_way(tmp_path / "out")
        nanny = cluster.add_worker(7)
        code, told = batch.end()
    assert code == 0, told
    all_done_once(tmp_path / "out", 3 * COUNT)
    (newcomer,) = workers_below(nanny.pid)
    used = [record["worker"].rpartition(":")[2] for record in journal_of(tmp_path / "out")]
    assert str(newcomer.pid) in used


def test_the_batch_goes_on_when_a_worker_comes_in_time(tmp_path, cluster):
    arguments = (*write_field(tmp_path, ["good"] * COUNT), "--scheduler", cluster.address)
    with Running(*arguments) as batch:
        under_way(tmp_path / "out")
        workers = cluster.worker_processes()
        for each in workers:
            each.send_signal(signal.SIGTERM)
        assert gone(workers) == []
        cluster.add_worker(8)
        code, told = batch.end()
    assert code == 0, told
    all_done_once(tmp_path / "out")
    assert all(record["attempts"] == 1 for record in journal_of(tmp_path / "out"))


def test_nobody_is_to_blame_when_dask_retires_a_worker(tmp_path, cluster):
    cluster.add_worker(9)
    arguments = (*write_field(tmp_path, ["good"] * COUNT), "--scheduler", cluster.address)
    with Running(*arguments) as batch, Client(cluster.address) as client:
        client.wait_for_workers(2)
        under_way(tmp_path / "out", 8)
        client.retire_workers([next(iter(client.scheduler_info()["workers"]))])
        code, told = batch.end()
    assert code == 0, told
    all_done_once(tmp_path / "out")
    assert all(record["attempts"] == 1 for record in journal_of(tmp_path / "out"))
