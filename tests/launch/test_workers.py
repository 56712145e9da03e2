"""`gluon-nst workers` in real processes: who joins, who is reported, and how they leave."""

import json
import os
import signal
from pathlib import Path

import psutil
import pytest

import gluon_nst.launch.discovery as discovery
from gluon_nst.batch.local_cluster import local_client
from gluon_nst.launch.discovery import slots_of_batch
from tests.batch.field import (
    STAND_IN,
    Running,
    check_outputs,
    journal_of,
    output_names,
    records,
    run_batch,
    statuses,
    wait_until,
    write_field,
)
from tests.launch.launching import client_of, listening, scheduler, workers
from tests.stub_libraries import compile_library

USAGE, STRANDED = 2, 5
COUNT = 40
SLOWLY = {"STAND_IN_SECONDS": "0.05"}
DYING = str(Path(__file__).with_name("dying.py"))
READY = " is ready: "


@pytest.fixture(scope="module")
def meeting(tmp_path_factory):
    """A folder with the file of a scheduler that runs."""
    folder = tmp_path_factory.mktemp("meeting")
    with scheduler(folder):
        wait_until((folder / "scheduler.json").exists)
        yield folder


def at(folder):
    return "--scheduler", folder / "scheduler.json"


def gone(processes, seconds=10):
    return psutil.wait_procs(processes, timeout=seconds)[1] == []


def all_done_once(output, count=COUNT):
    check_outputs(output, output_names(range(count)))
    assert statuses(output) == {"done": count}
    assert [record["attempts"] for record in journal_of(output)] == [1] * count


# A driver with as many GPUs as STUB_GPUS says, of which it shows those that CUDA_VISIBLE_DEVICES names.
STUB_DRIVER = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int cuInit(unsigned flags) { return getenv("STUB_FAILS") ? 999 : 0; }
int cuDriverGetVersion(int *v) { *v = 11020; return 0; }
int cuDeviceGetCount(int *n) {
  const char *visible = getenv("CUDA_VISIBLE_DEVICES");
  *n = atoi(getenv("STUB_GPUS"));
  if (visible) { *n = *visible != 0; for (; *visible; visible++) *n += *visible == ','; }
  return 0;
}
int cuDeviceGet(int *d, int i) { *d = i; return 0; }
int cuDeviceGetName(char *s, int n, int d) { strncpy(s, "Stub", n); return 0; }
int cuDeviceGetAttribute(int *v, int a, int d) { *v = a == 75 ? 8 : 0; return 0; }
int cuDeviceTotalMem_v2(size_t *m, int d) { *m = 1ull << 30; return 0; }
int cuDeviceGetPCIBusId(char *s, int n, int d) { snprintf(s, n, "0000:%02X:00.0", 0xA0 + d); return 0; }
int cuGetErrorName(int e, const char **s) { *s = "CUDA_ERROR_UNKNOWN"; return 0; }
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """Environment in which a stub stands for NVIDIA's driver."""
    library = compile_library(tmp_path_factory.mktemp("driver") / "libcuda.so.1", STUB_DRIVER)
    return {"LD_LIBRARY_PATH": str(library.parent), "STUB_GPUS": "2"}


def test_every_gpu_gets_a_worker_of_its_own_and_a_batch_uses_all(tmp_path, meeting, driver):
    arguments = write_field(tmp_path, ["good"] * COUNT)
    with workers(meeting, **driver, **SLOWLY) as launched, client_of(meeting) as client:
        launched.wait_for(READY, 2)
        client.wait_for_workers(2, timeout=60)
        members = client.scheduler_info(n_workers=-1)["workers"].values()
        seen = client.run(os.getenv, "CUDA_VISIBLE_DEVICES")
        ended = run_batch(*arguments, *at(meeting))
        launched.signal(signal.SIGTERM)
        assert launched.end() == 0
    assert {member["name"].rpartition("-")[2] for member in members} == {"gpu0", "gpu1"}
    assert [(member["nthreads"], member["resources"]) for member in members] == [(2, {"GPU": 1})] * 2
    assert sorted(seen.values()) == ["0", "1"]
    assert ended.returncode == 0, ended.stderr
    all_done_once(tmp_path / "out")
    assert len({record["worker"] for record in journal_of(tmp_path / "out")}) == 2


def test_a_batch_alone_on_a_machine_uses_all_its_gpus(monkeypatch, driver):
    for name, value in driver.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(discovery, "installed_builds", lambda: {"mxnet-cu112": "1.9.1"})
    slots = slots_of_batch(None, "auto", jobs=9)
    with local_client(slots) as client:
        assert sorted(client.run(os.getenv, "CUDA_VISIBLE_DEVICES").values()) == ["0", "1"]
    assert slots_of_batch(1, "auto", jobs=9) == slots_of_batch(None, "auto", jobs=1) == slots[:1]
    assert [slot.device for slot in slots_of_batch(3, "cpu", jobs=9)] == ["cpu"] * 3
    one = slots_of_batch(None, "gpu:1", jobs=9)
    assert len(one) == 2 and not any("CUDA_VISIBLE_DEVICES" in slot.environment for slot in one)
    monkeypatch.setattr(discovery, "installed_builds", lambda: {"mxnet": "1.9.1"})
    assert [slot.device for slot in slots_of_batch(None, "auto", jobs=9)] == ["cpu"] * 2, "it cannot use them"


def test_what_is_visible_counts_and_a_driver_that_fails_is_told(tmp_path, meeting, driver):
    with (
        workers(meeting, **driver, CUDA_VISIBLE_DEVICES="GPU-8f3a") as launched,
        client_of(meeting) as client,
    ):
        launched.wait_for(READY)
        client.wait_for_workers(1, timeout=60)
        assert list(client.run(os.getenv, "CUDA_VISIBLE_DEVICES").values()) == ["GPU-8f3a"]
    with workers(meeting, **driver, STUB_FAILS="1") as launched:
        assert launched.end() == STRANDED
        assert (
            "the NVIDIA driver of this machine fails: cuInit failed with CUDA_ERROR_UNKNOWN."
            in launched.told()
        )


@pytest.mark.slow
def test_two_workers_on_the_cpu_with_the_real_engine(tmp_path):
    (tmp_path / "scheduler.json").write_text(
        json.dumps({"address": "tcp://127.0.0.1:9"})
    )  # one that is long gone
    arguments = write_field(tmp_path, ["good"] * 4)
    real = {"DASK_DISTRIBUTED__WORKER__PRELOAD": "[]"}
    with workers(tmp_path, "--workers", 2, **real) as launched:
        launched.wait_for("waiting for a scheduler")
        with scheduler(tmp_path, **real) as meeting:
            launched.wait_for(READY, 2)
            assert listening(launched, meeting) == {"127.0.0.1"}
            cores = [set(each.cpu_affinity()) for each in launched.workers()]
            ended = run_batch(*arguments, *at(tmp_path), "--size", "64", **real)
            meeting.signal(signal.SIGTERM)
            assert meeting.end() == 0
            assert launched.end() == 0
    assert not (tmp_path / "scheduler.json").exists()
    assert "is gone" in launched.told()
    assert "Traceback" not in launched.told() + meeting.told()
    assert ended.returncode == 0, ended.stderr
    all_done_once(tmp_path / "out", 4)
    available = os.sched_getaffinity(0)
    assert cores[0] | cores[1] == available
    assert len(available) < 2 or not cores[0] & cores[1]


@pytest.mark.parametrize(
    ("number", "group"), [(signal.SIGTERM, False), (signal.SIGUSR2, True)], ids=["to the command", "to all"]
)
def test_workers_that_are_told_to_leave_finish_what_they_run(tmp_path, meeting, number, group):
    arguments = write_field(tmp_path, ["good"] * COUNT)
    with workers(meeting, **SLOWLY) as first, workers(meeting, log="second.log", **SLOWLY) as second:
        first.wait_for(READY)
        second.wait_for(READY)
        with client_of(meeting) as client:
            client.wait_for_workers(2, timeout=60)  # one takes another name, since both are on this host
        with Running(*arguments, *at(meeting)) as batch:
            wait_until(lambda: records(tmp_path / "out") >= 6)
            processes = first.children()
            first.signal(number, group=group)
            assert first.end() == 0
            code, told = batch.end()
        assert second.process.poll() is None
    assert code == 0, told
    assert gone(processes)
    assert "stopping in order" in first.told()
    assert "Traceback" not in first.told() + second.told()
    all_done_once(tmp_path / "out")
    assert len({record["worker"] for record in journal_of(tmp_path / "out")}) == 2


def test_after_the_grace_of_the_workers_a_checkpoint_is_kept(tmp_path, meeting):
    arguments = (*write_field(tmp_path, ["slow"]), "--wait-for-workers", "1", "--grace", "60")
    with workers(meeting, "--grace", "0.5", STAND_IN_BEGAN=str(tmp_path)) as launched:
        launched.wait_for(READY)
        with Running(*arguments, *at(meeting)) as batch:
            wait_until(lambda: list(tmp_path.glob("began-*")))
            launched.signal(signal.SIGTERM)
            assert launched.end(10) == 0
            code, told = batch.end()
    assert code == STRANDED, told
    assert len(list((tmp_path / "out/.gluon-nst/checkpoints").iterdir())) == 1


def test_a_worker_that_dies_at_work_is_started_anew_and_one_that_is_restarted_comes_back(tmp_path, meeting):
    arguments = write_field(tmp_path, ["good"] * COUNT)
    with workers(meeting, **SLOWLY) as launched, client_of(meeting) as client:
        launched.wait_for(READY)
        client.wait_for_workers(1, timeout=60)
        with Running(*arguments, *at(meeting)) as batch:
            wait_until(lambda: records(tmp_path / "out") >= 6)
            (victim,) = launched.workers()
            victim.kill()
            code, told = batch.end()
        assert code == 0, told
        launched.wait_for(READY, 2)
        (address,) = client.scheduler_info(n_workers=-1)["workers"]
        assert client.restart_workers([address]) == {address: "OK"}
        launched.wait_for(READY, 3)
        launched.signal(signal.SIGINT)
        assert launched.end() == 0
    check_outputs(tmp_path / "out", output_names(range(COUNT)))


def test_nothing_stays_when_the_command_is_killed(meeting):
    with workers(meeting, "--workers", 2) as launched:
        launched.wait_for(READY, 2)
        processes = launched.children()
        launched.signal(signal.SIGKILL)
        launched.end()
        assert len(processes) >= 2
        assert gone(processes)


def test_workers_end_when_the_scheduler_is_killed(tmp_path):
    with scheduler(tmp_path) as meeting, workers(tmp_path) as launched:
        launched.wait_for(READY)  # it is about to join, or has
        processes = launched.children()
        meeting.signal(signal.SIGKILL)
        assert launched.end(15) == 0
        assert gone(processes)
    assert "the scheduler at tcp://127.0.0.1:" in launched.told()
    assert "Traceback" not in launched.told()


def test_a_signal_while_a_worker_proves_itself_ends_it(tmp_path, meeting):
    (tmp_path / "manner").write_text("")
    with workers(meeting, STAND_IN_SECONDS="60", STAND_IN_BROKEN=str(tmp_path)) as launched:
        wait_until((tmp_path / "broken").exists)
        launched.signal(signal.SIGTERM)
        assert launched.end(10) == 0
    assert READY not in launched.told()
    assert "Traceback" not in launched.told()


@pytest.fixture
def breakage(tmp_path):
    (tmp_path / "manner").write_text("raise")
    return {"STAND_IN_BROKEN": str(tmp_path)}


def names_met(folder):
    """Return the names of all workers that ever joined."""
    with client_of(folder) as client:
        return list(client.run_on_scheduler(joined))


def joined(dask_scheduler):
    events = dask_scheduler.get_events("all")
    return [event["worker"] for _, event in events if event.get("action") == "add-worker"]


def test_a_worker_that_cannot_work_says_so_and_never_joins_while_the_others_do(tmp_path, breakage):
    with scheduler(tmp_path), workers(tmp_path, "--workers", 2, **breakage) as launched:
        launched.wait_for(READY)
        launched.wait_for("cannot work: RuntimeError: the device does not answer")
        wait_until(lambda: names_met(tmp_path))
        assert len(names_met(tmp_path)) == 1
        (tmp_path / "broken").write_text("all")
        with workers(tmp_path, "--workers", 2, log="second.log", **breakage) as second:
            assert second.end() == STRANDED
        assert second.told().count("cannot work: ") == 2
        assert len(names_met(tmp_path)) == 1
        launched.signal(signal.SIGTERM)
        assert launched.end() == 0


@pytest.mark.parametrize(("times", "code"), [(2, 0), (9, STRANDED)], ids=["twice", "always"])
def test_a_worker_that_dies_as_it_proves_itself_is_tried_three_times(tmp_path, meeting, times, code):
    (tmp_path / "left").write_text(str(times))
    preload = {"DASK_DISTRIBUTED__WORKER__PRELOAD": str([DYING, STAND_IN])}
    with workers(meeting, **preload, DYING=str(tmp_path / "left")) as launched:
        if code == 0:
            launched.wait_for(READY)
            launched.signal(signal.SIGTERM)
        assert launched.end() == code
    assert launched.told().count("its process died before it joined") == min(times, 3)
    assert ("is given up" in launched.told()) == bool(code)


def test_a_worker_that_holds_more_than_its_limit_is_started_anew(meeting):
    with workers(meeting, "--memory-limit", "40MB") as launched:
        launched.wait_for(READY, 2)
        launched.signal(signal.SIGTERM)
        assert launched.end() == 0


def test_temporary_files_go_where_they_are_told_to(tmp_path, meeting):
    with workers(meeting, "--scratch", tmp_path / "some" / "where") as launched, client_of(meeting) as client:
        launched.wait_for(READY)
        client.wait_for_workers(1, timeout=60)
        assert set(client.run(os.getenv, "TMPDIR").values()) == {str(tmp_path / "some" / "where")}
        launched.signal(signal.SIGTERM)
        assert launched.end() == 0
    assert not list((tmp_path / "some" / "where").rglob("worker-*"))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--memory-limit", "80%"], "'80%' is no size; write 8GB"),
        (["--scratch", "/dev/null/scratch"], "--scratch /dev/null/scratch cannot be made: Not a directory."),
        (["--host", "localhost", "--interface", "lo"], "exclude each other"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, words, why):
    with workers(tmp_path, *words) as launched:
        assert launched.end() == USAGE
    assert why in launched.told()


def test_a_scheduler_that_does_not_come_is_told(tmp_path):
    with workers(tmp_path, "--wait-for-scheduler", "0.5") as launched:
        assert launched.end() == STRANDED
    assert "no Dask scheduler answers at " in launched.told()
    assert "there is no such file. Start one with `gluon-nst scheduler`." in launched.told()
