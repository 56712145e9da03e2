"""cluster/slurm/elastic.py: its job scripts, and workers that are jobs of a real queue."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys

import pytest

from tests.batch.field import (
    ROOT,
    batch_command,
    check_outputs,
    output_names,
    records,
    wait_until,
    write_field,
)
from tests.cluster.slurm_desk import COUNT

pytest.importorskip("dask_jobqueue")

ELASTIC = [sys.executable, str(ROOT / "cluster/slurm/elastic.py")]
HERE = ["--host", "127.0.0.1", "--cores", "1", "--memory", "1GiB"]
STRANDED, RESUMABLE = 5, 75


@pytest.mark.parametrize(
    ("system", "lines"),
    [
        (
            "slurm",
            ["#SBATCH -p gpu", "#SBATCH -t 01:30:00", "#SBATCH --gres=gpu:1", "#SBATCH --signal=B:USR2@180"],
        ),
        ("pbs", ["#PBS -q gpu", "#PBS -l walltime=01:30:00", "#PBS -l select=1:ncpus=4:ngpus=1:mem=8gb"]),
        (
            "lsf",
            ["#BSUB -q gpu", "#BSUB -W 01:30", '#BSUB -gpu "num=1"', "#BSUB -wa USR2 -wt 3", "#BSUB -n 4"],
        ),
    ],
)
def test_a_job_asks_for_a_gpu_and_a_notice_and_becomes_the_launcher(tmp_path, system, lines):
    words = [
        "--system",
        system,
        "--partition",
        "gpu",
        "--walltime",
        "01:30:00",
        "--prologue",
        "module load cuda",
    ]
    script = subprocess.run(
        [*ELASTIC, *words, "--print", "--", "photos"],
        cwd=tmp_path,
        text=True,
        capture_output=True,
        check=True,
    ).stdout.splitlines()
    assert set(lines) <= set(script)
    *_, before, last = script
    assert before == "module load cuda"
    notice = "timeout --signal=USR2 5220 " if system == "pbs" else ""
    assert last.startswith(f"exec {notice}{sys.executable} -m gluon_nst workers ")


def start(desk, photos, *options):
    """Start a batch on elastic workers, as jobs of the tests' Slurm."""
    words = batch_command(*write_field(desk.folder, ["good"] * photos))[4:]
    environment = {**desk.environment, "DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT": "1s"}
    return subprocess.Popen(
        [*ELASTIC, *HERE, *options, "--", *words],
        cwd=desk.folder,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def queued(desk, *options):
    return desk.slurm.run("squeue", "-h", "-o", "%A", *options).split()


def ended(desk, batch):
    """Wait for the end; return the exit code and what was told, once nothing is left of the jobs."""
    _, told = batch.communicate(timeout=180)
    wait_until(lambda: not queued(desk))
    assert not list(desk.folder.glob(".gluon-nst-jobs/tls-*"))
    assert "Traceback" not in told
    return batch.returncode, told


def test_a_job_that_is_lost_is_replaced(desk):
    with start(desk, COUNT // 2, "--jobs", "1") as batch:
        desk.under_way()
        (lost,) = queued(desk)
        desk.slurm.run("scancel", lost)
        code, told = ended(desk, batch)
    assert code == 0, told
    desk.all_done_once(COUNT // 2)
    assert desk.slurm.state(lost) == "CANCELLED"


@pytest.mark.full
def test_jobs_that_bring_no_worker_are_told(desk):
    (desk.folder / "broken").write_text("all")
    (desk.folder / "manner").write_text("raise")
    desk.environment["STAND_IN_BROKEN"] = str(desk.folder)
    with start(desk, 4, "--jobs", "1") as batch:
        code, told = ended(desk, batch)
    assert code == STRANDED, told
    assert "ended before its worker came" in told


@pytest.mark.full
def test_a_signal_ends_the_batch_in_order_and_its_jobs_with_it(desk):
    with start(desk, COUNT) as batch:
        desk.under_way()
        assert len(queued(desk)) == 2
        batch.send_signal(signal.SIGTERM)
        code, told = ended(desk, batch)
    assert code == RESUMABLE, told
    assert 4 <= records(desk.output) < COUNT
    check_outputs(desk.output, {path.name for path in desk.output.glob("*.png")})


@pytest.mark.full
@pytest.mark.skipif(
    not shutil.which("qsub"), reason="no qsub (apt-get install slurm-wlm-torque: PBS over Slurm)"
)
def test_qsub_is_another_door(desk):
    with start(desk, 8, "--system", "pbs", "--resources", "nodes=1:ppn=1", "--walltime", "00:20:00") as batch:
        code, told = ended(desk, batch)
    assert code == 0, told
    check_outputs(desk.output, output_names(range(8)))
