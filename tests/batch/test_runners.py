"""Batches on a Dask scheduler of someone else: reaching it, losing it, strange workers, and what goes over the wire."""

import json
import pickle
import signal

import pytest
from distributed import Client

from gluon_nst.batch.outcomes import ChunkReport, Kind, Outcome
from gluon_nst.batch.settings import WorkSettings
from gluon_nst.jobs import Job, JobResult, job_id
from gluon_nst.recipe_files import load_recipe
from tests.batch.field import (
    Cluster,
    Running,
    check_outputs,
    failed_names,
    free_port,
    journal_of,
    output_names,
    records,
    run_batch,
    statuses,
    wait_until,
    write_field,
)

SOME_FAILED, STRANDED, RESUMABLE = 1, 5, 75
KILOBYTE = 1024

# A worker that cannot load the program, as on a machine where it is not installed.
BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "gluon_nst":
            raise ModuleNotFoundError("No module named 'gluon_nst'")

sys.meta_path.insert(0, Blocker())
"""


def all_done(output, count):
    check_outputs(output, output_names(range(count)))
    assert statuses(output) == {"done": count}


# ---- a scheduler that is not there


@pytest.mark.parametrize("kind", ["address", "no file", "stale file"])
def test_a_scheduler_that_does_not_answer_is_said_and_no_work_is_lost(tmp_path, kind):
    address = f"tcp://127.0.0.1:{free_port()}"
    file = tmp_path / "scheduler.json"
    if kind == "stale file":
        file.write_text(json.dumps({"address": address}))
    where = address if kind == "address" else file
    patience = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "1s"}
    ended = run_batch(*write_field(tmp_path, ["good"]), "--scheduler", where, timeout=30, **patience)
    assert ended.returncode == STRANDED, ended.stderr
    assert f"ClusterError: no Dask scheduler answers at {where}: " in ended.stderr
    assert "Start one with `gluon-nst scheduler`" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert records(tmp_path / "out") == 0


# ---- one that is there


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("cluster"), STAND_IN_SECONDS="0.05") as cluster:
        yield cluster


def test_a_scheduler_file_will_do(tmp_path, cluster):
    file = tmp_path / "scheduler.json"
    file.write_text(json.dumps({"address": cluster.address}))
    ended = run_batch(*write_field(tmp_path, ["good"] * 10), "--scheduler", file)
    assert ended.returncode == 0, ended.stderr
    all_done(tmp_path / "out", 10)


def test_what_the_scheduler_knows_stays_small(tmp_path, cluster):
    known = []
    arguments = (*write_field(tmp_path, ["good"] * 200), "--scheduler", cluster.address)
    with Running(*arguments, STAND_IN_SECONDS="0.01") as batch, Client(cluster.address) as client:
        while batch.process.poll() is None:
            known.append(client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)))
        code, told = batch.end()
        left = client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))
    assert code == 0, told
    # Two chunks for each of two workers, and as many that are being fetched.
    assert 0 < max(known) <= 8
    assert left == 0


def test_a_worker_that_cannot_load_the_program_gets_no_work_and_is_reported(tmp_path, cluster):
    blocker = tmp_path / "blocker.py"
    blocker.write_text(BLOCKER)
    nanny = cluster.add_worker(5, DASK_DISTRIBUTED__WORKER__PRELOAD=str(blocker))
    with Client(cluster.address) as client:
        client.wait_for_workers(3, timeout=30)
    ended = run_batch(*write_field(tmp_path, ["good"] * 30), "--scheduler", cluster.address)
    nanny.send_signal(signal.SIGTERM)
    nanny.wait(20)
    assert ended.returncode == 0, ended.stderr
    all_done(tmp_path / "out", 30)
    assert "is unready: " in ended.stderr
    assert "gluon_nst" in ended.stderr.partition("is unready: ")[2]


def test_a_worker_without_nanny_that_hangs_is_given_up(tmp_path):
    """It cannot be ended from afar: a job that hangs costs one when it is found, and two that it hangs alone."""
    with Cluster(tmp_path, workers=0) as cluster:
        for number in range(4):
            cluster.add_worker(number, "--no-nanny")
        with Client(cluster.address) as client:
            client.wait_for_workers(4, timeout=30)
        marks = ["good"] * 4 + ["hang"] + ["good"] * 15
        arguments = (*write_field(tmp_path, marks), "--scheduler", cluster.address)
        ended = run_batch(*arguments, "--timeout", "1", timeout=60)
    assert ended.returncode == SOME_FAILED, ended.stderr
    assert failed_names(tmp_path / "out") == {"p004.png": "timeout"}
    check_outputs(tmp_path / "out", output_names(set(range(20)) - {4}))
    assert "Traceback" not in ended.stderr


def test_a_lost_scheduler_ends_the_batch_and_the_same_command_goes_on(tmp_path, cluster):
    """The last test of this cluster."""
    arguments = write_field(tmp_path, ["good"] * 60)
    with Running(*arguments, "--scheduler", cluster.address) as batch:
        wait_until(lambda: records(tmp_path / "out") >= 6)
        cluster.scheduler.kill()
        code, told = batch.end(20)
    assert code == RESUMABLE, told
    assert "the Dask scheduler is lost" in told
    assert "Run the same command again to go on." in told
    assert "Traceback" not in told
    again = run_batch(*arguments)
    assert again.returncode == 0, again.stderr
    all_done(tmp_path / "out", 60)
    assert len(journal_of(tmp_path / "out")) == 60


# ---- what goes over the wire


def test_chunks_and_reports_are_small():
    recipe = load_recipe()
    jobs = [
        Job(
            f"/collections/holidays/2024/photographs/{number:06}.jpg",
            ("/collections/styles/the-great-wave.jpg",),
            f"/collections/holidays/stylized/{number:06}__the-great-wave.jpg",
            recipe,
            fingerprints=("4194304-1700000000000000000",) * 2,
            parameters="0" * 64,
        )
        for number in range(64)
    ]
    results = [
        JobResult(
            job_id(job), job.content, job.styles, job.output, "succeeded",
            losses=(("content", 1.0), ("style", 2.0), ("tv", 3.0), ("total", 6.0)), sha256="0" * 64,
        )
        for job in jobs
    ]  # fmt: skip
    report = ChunkReport(tuple(Outcome(each.job_id, Kind.DONE, each) for each in results))
    assert len(pickle.dumps((jobs, WorkSettings()))) < 32 * KILOBYTE
    assert len(pickle.dumps(report)) < 64 * KILOBYTE
