"""cluster/slurm on a real Slurm: the sbatch file, from a clean end to nodes that die, on the stand-in engine."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import psutil
import pytest
from distributed import Client

from gluon_nst.launch.security import security_of
from gluon_nst.launch.tls import Tls
from tests.batch.field import (
    check_outputs,
    journal_of,
    output_names,
    records,
    statuses,
    wait_until,
    write_field,
)
from tests.batch.stand_in import SLOW_STEPS
from tests.cluster.local_slurm import LocalSlurm, Size, missing
from tests.cluster.slurm_desk import COUNT, OVER, SLOWLY, Desk

pytestmark = pytest.mark.skipif(missing() != "", reason=missing())

NODE, GPU = "SLURMD_NODENAME", "CUDA_VISIBLE_DEVICES"


def workers_of(folder: Path, count: int) -> dict[int, tuple[str, str]]:
    """Ask the workers of the one job that runs for their process, node and GPU, once they are there."""
    (file,) = folder.glob(".gluon-nst-jobs/*/scheduler.json")
    with Client(
        scheduler_file=str(file), security=security_of(Tls.in_folder(file.with_name("tls")))
    ) as client:
        client.wait_for_workers(count, timeout=60)
        asked = [client.run(os.getpid), *(client.run(os.getenv, each) for each in (NODE, GPU))]
    return {asked[0][each]: (asked[1][each], asked[2][each]) for each in asked[0]}


def used(output: Path) -> set[int]:
    """Return the worker processes that a journal tells of."""
    return {int(record["worker"].rpartition(":")[2]) for record in journal_of(output)}


def test_two_nodes_of_two_gpus_do_a_folder(desk):
    job = desk.sbatch(*write_field(desk.folder, ["good"] * 2 * COUNT))
    desk.under_way()
    workers = workers_of(desk.folder, 4)
    assert sorted(workers.values()) == [("n1", "0"), ("n1", "1"), ("n2", "0"), ("n2", "1")]
    assert desk.end(job, "COMPLETED")["ExitCode"] == "0:0"
    assert used(desk.output) == workers.keys()
    desk.all_done_once(2 * COUNT)
    assert not (desk.folder / ".gluon-nst-jobs").exists()


def gives_way(desk):
    """Let a job be preempted in the middle, and finish."""
    job = desk.sbatch(*write_field(desk.folder, ["good"] * COUNT), options=("--nodes=1",))
    desk.under_way()
    urgent = desk.slurm.run(
        "sbatch",
        "--parsable",
        "-p",
        "urgent",
        "-N2",
        "--gpus-per-node=2",
        "--wrap=sleep 1",
        "--output=/dev/null",
    )
    desk.slurm.wait_for(job, "PENDING")
    assert 4 <= records(desk.output) < COUNT, desk.log()
    desk.slurm.wait_for(urgent.strip(), "COMPLETED")
    assert desk.end(job, "COMPLETED")["Restarts"] == "1"
    desk.all_done_once()


def test_a_job_that_gives_way_to_another_goes_on_after_it(desk):
    gives_way(desk)
    assert "requeued: all workers left" in desk.log()


@pytest.mark.full
def test_where_slurm_gives_notice_of_that_the_batch_stops_first(tmp_path, drivers):
    with LocalSlurm(Size(nodes=2, notice=True)) as slurm:
        desk = Desk(slurm, tmp_path, **SLOWLY, **drivers)
        gives_way(desk)
    assert "requeued: Slurm gave notice" in desk.log()


@pytest.mark.full
def test_a_job_whose_scheduler_dies_goes_back_into_the_queue(desk):
    job = desk.sbatch(*write_field(desk.folder, ["good"] * COUNT), options=("--nodes=1",))
    desk.under_way()
    for each in psutil.process_iter(["cmdline", "environ"]):
        if {"scheduler", "--port"} <= set(each.info["cmdline"] or ()) and each.info["environ"][
            "SLURM_JOB_ID"
        ] == job:
            each.kill()
    desk.slurm.wait_for(job, "PENDING")
    assert "requeued: the scheduler was lost" in desk.log()
    assert desk.end(job, "COMPLETED")["Restarts"] == "1"
    check_outputs(desk.output, output_names(range(COUNT)))


@pytest.mark.full
def test_a_job_whose_shell_alone_is_told_to_end_ends_in_order_for_good(desk):
    job = desk.sbatch(*write_field(desk.folder, ["good"] * COUNT), options=("--nodes=1",))
    desk.under_way()
    desk.slurm.run("scancel", "--batch", "--signal=TERM", job)
    assert desk.end(job, "FAILED")["ExitCode"] == "75:0"
    assert 4 <= records(desk.output) < COUNT
    check_outputs(desk.output, {path.name for path in desk.output.glob("*.png")})


@pytest.mark.full
def test_the_doctor_sees_the_workers_of_a_job(desk):
    job = desk.sbatch(*write_field(desk.folder, ["good"] * 2 * COUNT), options=("--nodes=1",))
    desk.under_way()
    place = f".gluon-nst-jobs/{job}-0"
    words = ("gluon-nst", "doctor", "--scheduler", f"{place}/scheduler.json", "--tls-dir", f"{place}/tls")
    told = desk.slurm.run("srun", "--jobid", job, "--overlap", *words, cwd=desk.folder, **desk.environment)
    assert "n1-gpu0" in told and "n1-gpu1" in told


@pytest.mark.full
def test_at_the_time_limit_a_job_goes_on_from_its_checkpoints(desk):
    desk.environment["STAND_IN_PACE"] = "0.07"  # 42 seconds for a picture: Slurm looks at the time every 30
    arguments = (*write_field(desk.folder, ["slow", "slow", "good"]), "--grace", "1")
    job = desk.sbatch(*arguments, options=("--nodes=1", "--signal=B:USR2@240"))
    desk.under_way(1)
    # It is given up to a minute early.
    desk.slurm.run("scontrol", "update", f"JobId={job}", "TimeLimit=4")
    desk.slurm.wait_for(job, "PENDING", *OVER)
    assert "SIGUSR2: stopping in order" in desk.log()
    desk.slurm.run("scontrol", "update", f"JobId={job}", "TimeLimit=20")
    assert desk.end(job, "COMPLETED")["Restarts"] == "1"
    desk.all_done_once(3)
    assert all(record["steps"] < SLOW_STEPS for record in journal_of(desk.output))


def test_a_job_cancelled_in_the_middle_is_finished_by_the_next(desk):
    arguments = write_field(desk.folder, ["good"] * COUNT)
    first = desk.sbatch(*arguments, options=("--nodes=1",))
    desk.under_way()
    desk.slurm.run("scancel", first)
    desk.end(first, "CANCELLED")
    wait_until(lambda: not desk.slurm.run("squeue", "-h").strip())
    assert 4 <= records(desk.output) < COUNT
    check_outputs(desk.output, {path.name for path in desk.output.glob("*.png")})
    second = desk.sbatch(*arguments, options=("--nodes=1",))
    assert desk.end(second, "COMPLETED")["Restarts"] == "0"
    desk.all_done_once()
    assert "Traceback" not in desk.log()


@pytest.mark.full
def test_an_array_does_a_part_in_each_element(desk):
    arguments = (*write_field(desk.folder, ["good"] * 8), "--shard", "%a/2")
    job = desk.sbatch(*arguments, options=("--array=1-2", "--nodes=1"))
    desk.end(f"{job}_1", "COMPLETED")
    desk.end(f"{job}_2", "COMPLETED")
    assert {path.name for path in desk.output.glob("*.png")} == output_names(range(8))


@pytest.mark.parametrize(
    "wrong",
    [pytest.param(["--set", "no=1"], marks=pytest.mark.full), ["--shard", "%a/2"]],
    ids=["usage", "no array"],
)
def test_a_batch_that_cannot_begin_is_not_tried_again(desk, wrong):
    job = desk.sbatch(*write_field(desk.folder, ["good"]), *wrong, options=("--nodes=1",))
    assert desk.end(job, "FAILED")["ExitCode"] == "2:0", desk.log()
    assert not (desk.folder / ".gluon-nst-jobs").exists()


def test_where_no_worker_can_work_the_job_says_so(desk):
    (desk.folder / "broken").write_text("all")
    (desk.folder / "manner").write_text("raise")
    desk.environment["STAND_IN_BROKEN"] = str(desk.folder)
    job = desk.sbatch(*write_field(desk.folder, ["good"]), options=("--nodes=1",))
    assert desk.end(job, "FAILED")["ExitCode"] == "5:0", desk.log()
    assert "n1-gpu0 cannot work: " in desk.log()


def test_the_others_go_on_when_a_node_dies(tmp_path, drivers):
    with LocalSlurm(Size(nodes=2)) as slurm:
        desk = Desk(slurm, tmp_path, **SLOWLY, **drivers, GLUON_NST_INTERFACE="lo")
        job = desk.sbatch(*write_field(tmp_path, ["good"] * COUNT), options=("--gpus-per-node=1",))
        desk.under_way()
        workers = workers_of(tmp_path, 2)
        slurm.slurmds["n2"].kill()
        kill_node("n2")
        assert desk.end(job, "COMPLETED")["Restarts"] == "0"
    check_outputs(desk.output, output_names(range(COUNT)))
    assert statuses(desk.output) == {"done": COUNT}
    survivors = {number for number, (node, _) in workers.items() if node == "n1"}
    last = sorted(journal_of(desk.output), key=lambda record: record["finished_at"])[-10:]
    assert {int(record["worker"].rpartition(":")[2]) for record in last} <= survivors


@pytest.mark.full
def test_a_job_begins_again_elsewhere_when_its_first_node_dies(tmp_path, drivers):
    with LocalSlurm(Size(nodes=2)) as slurm:
        desk = Desk(slurm, tmp_path, **SLOWLY, **drivers)
        job = desk.sbatch(*write_field(tmp_path, ["good"] * COUNT), options=("--nodes=1",))
        desk.under_way()
        slurm.slurmds["n1"].kill()
        kill_node("n1")
        assert desk.end(job, "COMPLETED")["Restarts"] == "1"
    check_outputs(desk.output, output_names(range(COUNT)))
    assert statuses(desk.output) == {"done": COUNT}


def kill_node(name: str) -> None:
    """End what runs on a node at once, as when its power fails: Slurm's own processes, then the job's."""
    there = [
        each for each in psutil.process_iter(["environ"]) if (each.info["environ"] or {}).get(NODE) == name
    ]
    parents = {parent for each in there for parent in each.parents() if parent.name() == "slurmstepd"}
    for each in (*parents, *there):
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()


def test_the_real_engine_works_under_it_without_gpus(slurm, tmp_path):
    desk = Desk(slurm, tmp_path)
    del desk.environment["DASK_DISTRIBUTED__WORKER__PRELOAD"]
    job = desk.sbatch(*write_field(tmp_path, ["good"] * 2), options=("--nodes=1", "--gpus-per-node=0"))
    desk.end(job, "COMPLETED")
    desk.all_done_once(2)
