"""`gluon-nst doctor --scheduler`: what it says of facts, and of real workers that differ in every way."""

import json
import shutil
import signal
import subprocess
import sys
import time

import pytest
from distributed import Client

from gluon_nst import __version__
from gluon_nst.doctor.cluster import examine_cluster
from gluon_nst.doctor.cluster_diagnosis import Side, WorkerFacts, cluster_findings
from tests.batch.field import STAND_IN, Cluster, environment
from tests.batch.test_runners import BLOCKER

VERSIONS = {
    "gluon_nst": "1.0",
    "mxnet": "1.9.1",
    "numpy": "1.26.4",
    "pillow": "12.0",
    "python": "3.11.7",
    "dask": "2",
}
HERE = Side("here", VERSIONS, "a" * 64)
SCHEDULER = Side("tcp://node0:8786", {"python": "3.11.7", "dask": "2"})


def worker(name="node1-cpu0", **facts):
    sound = {
        "host": name.partition("-")[0], "threads": 2, "versions": VERSIONS, "device": "cpu", "kind": "EPYC",
        "precision": "float32", "memory": 8 * 10**9, "parameters": "a" * 64,
    }  # fmt: skip
    return WorkerFacts(name, **{**sound, **facts})


def judged(*workers, state=None, scheduler=SCHEDULER):
    """Return topic -> texts of the findings in a state."""
    findings = cluster_findings(HERE, scheduler, workers)
    told = {}
    for each in findings:
        if state in (None, each.state):
            told.setdefault(each.topic, []).append(each.text)
    return told


# ---- facts


def test_a_large_cluster_stays_readable():
    names = [f"node{node}-gpu{gpu}" for node in range(100) for gpu in range(5)]
    workers = [
        worker(name, device="gpu:0", kind="A100", memory=(100 + number) * 10**9)
        for number, name in enumerate(names)
    ]
    findings = cluster_findings(HERE, SCHEDULER, workers)
    assert [each.state for each in findings] == ["ok"] * 4
    assert findings[1].text == (
        "500 workers on 100 hosts (node0-gpu0, node0-gpu1, node0-gpu2, node0-gpu3 and 496 more): gpu:0 (A100) in "
        "float32, 2 threads, 100.0 to 599.0 GB of memory free"
    )


def test_names_are_in_the_order_in_which_a_person_counts():
    texts = judged(worker("node10-cpu0"), worker("node9-cpu0"))["workers"]
    assert texts[0].startswith("node9-cpu0, node10-cpu0: cpu")


@pytest.mark.parametrize("name", ["gluon_nst", "mxnet", "numpy", "pillow"])
def test_versions_that_change_pictures_are_a_problem(name):
    problems = judged(
        worker("a"), worker("b", versions={**VERSIONS, name: "0.9"}), worker("c"), state="problem"
    )
    assert problems == {name: [f"pictures would differ: {VERSIONS[name]} here, a, c; 0.9 b"]}


@pytest.mark.parametrize("name", ["python", "dask"])
def test_versions_that_only_carry_them_are_a_note_the_schedulers_too(name):
    scheduler = Side("tcp://node0:8786", {**SCHEDULER.versions, name: "0.9"})
    told = judged(worker("a"), scheduler=scheduler, state="note")
    assert told == {
        name: [
            f"{VERSIONS[name]} here, a; 0.9 the scheduler: pictures are the same, but Dask is made for the same "
            "everywhere"
        ]
    }
    assert judged(worker("a"), scheduler=scheduler, state="problem") == {}


def test_where_the_client_has_no_mxnet_the_workers_are_held_against_one_another():
    client = Side("here", {name: version for name, version in VERSIONS.items() if name != "mxnet"}, "a" * 64)
    older = worker("b", versions={**VERSIONS, "mxnet": "1.8.0"})
    findings = cluster_findings(client, SCHEDULER, [worker("a"), older])
    assert [each.text for each in findings if each.state == "problem"] == [
        "pictures would differ: 1.9.1 a; 1.8.0 b"
    ]
    assert not [
        each for each in cluster_findings(client, SCHEDULER, [worker("a")]) if each.state == "problem"
    ]


def test_other_parameters_are_a_problem():
    problems = judged(worker("a"), worker("b", parameters="b" * 64), state="problem")
    assert problems == {"parameters": ["b: sha256 bbbbbbbbbbbb..., not aaaaaaaaaaaa... as here"]}


def test_kinds_of_device_and_precisions_are_a_note():
    assert judged(worker("a"), worker("b"), state="note") == {}
    for other in ({"kind": "A100", "device": "gpu:0"}, {"precision": "bfloat16"}):
        assert list(judged(worker("a"), worker("b", **other), state="note")) == ["devices"]


def test_what_some_cannot_read_is_told_with_their_names():
    what = "reads /data"
    workers = [worker("a", storage={what: ""}), worker("b", storage={what: "PermissionError: x"})]
    assert judged(*workers, state="problem") == {what: ["b: PermissionError: x"]}
    assert judged(*workers, state="ok")[what] == ["a can"]


def test_a_cluster_without_workers_is_a_problem():
    assert judged(state="problem") == {"workers": ["none is there"]}


# ---- real ones


def doctor(*arguments, code, **more):
    """Run the command; return what it says of findings, as JSON if that is asked for."""
    ended = subprocess.run(
        [sys.executable, "-m", "gluon_nst", "doctor", *map(str, arguments)],
        capture_output=True, text=True, timeout=120, env=environment(**more), check=False,
    )  # fmt: skip
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    return json.loads(ended.stdout) if "--json" in arguments else ended.stdout + ended.stderr


def wait_for(cluster, count):
    with Client(cluster.address) as client:
        client.wait_for_workers(count, timeout=60)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("cluster"), 0) as cluster:
        yield cluster


def test_no_scheduler_and_no_worker_exit_5(cluster):
    assert "none is there" in doctor("--scheduler", cluster.address, code=5)
    patience = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "1s"}
    assert "no Dask scheduler answers" in doctor("--scheduler", "none.json", code=5, **patience)


def test_paths_are_asked_of_clusters_only():
    assert "give --scheduler too" in doctor("--reads", "/data", code=2)


def test_a_folder_that_is_not_there_is_not_made(cluster, tmp_path):
    told = doctor("--scheduler", cluster.address, "--writes", tmp_path / "none", code=2)
    assert f"there is no folder {tmp_path / 'none'} to write to" in told
    assert not list(tmp_path.iterdir())


def test_a_sound_cluster_exits_0_and_its_folders_are_left_as_they_were(cluster, tmp_path):
    for number in range(2):
        cluster.add_worker(number, "--name", f"node1-cpu{number}")
    wait_for(cluster, 2)
    (tmp_path / "photo.jpg").write_bytes(b"x")
    paths = ("--reads", tmp_path, "--reads", tmp_path / "photo.jpg", "--writes", tmp_path)
    told = doctor("--scheduler", cluster.address, *paths, code=0)
    assert "node1-cpu0, node1-cpu1: cpu" in told
    assert f"the same everywhere: gluon_nst {__version__}, mxnet 1.9.1, numpy" in told
    for what in (f"reads {tmp_path}", f"reads {tmp_path / 'photo.jpg'}", f"writes {tmp_path}"):
        assert f"ok       {what} " in told
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_every_difference_is_told_of_the_worker_that_has_it(cluster, tmp_path):
    preloads = {
        "older": ("import gluon_nst._version as v\nv.__version__ = '0.0.9'\n", STAND_IN),
        "bare": (BLOCKER,),
    }
    for number, (name, (code, *more)) in enumerate(preloads.items()):
        (tmp_path / f"{name}.py").write_text(code)
        preload = str([str(tmp_path / f"{name}.py"), *more])
        cluster.add_worker(10 + number, "--name", name, DASK_DISTRIBUTED__WORKER__PRELOAD=preload)
    wait_for(cluster, 4)
    report = doctor("--scheduler", cluster.address, "--reads", tmp_path / "none", "--json", code=1)
    problems = {each["topic"]: each["text"] for each in report["findings"] if each["state"] == "problem"}
    assert problems["gluon_nst"] == (
        f"pictures would differ: {__version__} here, node1-cpu0, node1-cpu1; 0.0.9 older"
    )
    assert problems["workers"].startswith("bare: ModuleNotFoundError(\"No module named 'gluon_nst'")
    assert problems[f"reads {tmp_path / 'none'}"].startswith(
        "node1-cpu0, node1-cpu1, older: FileNotFoundError: "
    )
    bare = next(each for each in report["workers"] if each["name"] == "bare")
    assert bare["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert not report["usable"]


def test_a_worker_that_has_another_folder_there_is_told(cluster, tmp_path):
    """As where a shared folder is not mounted on one machine, and its local one is written to instead."""
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "--mount", "true"], check=False).returncode != 0:
        pytest.skip("no mount namespace can be made here")
    (tmp_path / "photo.jpg").write_bytes(b"x")
    start = (
        f"mount -t tmpfs tmpfs {tmp_path} && exec {sys.executable} -m dask worker {cluster.address} --name apart "
        "--no-nanny --no-dashboard --host 127.0.0.1 --memory-limit 0"
    )
    apart = subprocess.Popen(
        [unshare, "--mount", "sh", "-c", start], env=environment(), stderr=subprocess.DEVNULL
    )
    try:
        wait_for(cluster, 5)
        report = doctor(
            "--scheduler", cluster.address, "--reads", tmp_path / "photo.jpg", "--writes", tmp_path, "--json", code=1
        )  # fmt: skip
    finally:
        apart.terminate()
        apart.wait(20)
    told = next(each["storage"] for each in report["workers"] if each["name"] == "apart")
    assert told[f"reads {tmp_path / 'photo.jpg'}"].startswith("FileNotFoundError")
    assert "it is another than the doctor's" in told[f"writes {tmp_path}"]
    others = [each["storage"] for each in report["workers"] if each["name"].startswith("node1")]
    assert others == [dict.fromkeys(told, "")] * 2


def test_a_worker_that_hangs_keeps_nobody_waiting(cluster):
    """The last test of this cluster."""
    hanging = cluster.worker_processes()[0]
    hanging.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    with Client(cluster.address) as client:
        report = examine_cluster(client, patience=2)
    assert time.monotonic() - began < 30
    faults = [each.fault for each in report.workers if "does not answer" in each.fault]
    assert len(faults) == 1
    assert sum(not each.fault for each in report.workers) == 2
