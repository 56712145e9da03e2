"""A broken worker costs a batch nothing but that worker; where all are broken, no job is blamed."""

import pytest

from tests.batch.field import (
    Running,
    check_outputs,
    failed_names,
    journal_of,
    output_names,
    records,
    run_batch,
    statuses,
    wait_until,
    write_field,
)

STRANDED, RESUMABLE = 5, 75
COUNT = 40
MANNERS = ["raise", "black"]
# Long enough that both workers get their share, whichever comes first.
SECONDS = "0.02"


@pytest.fixture
def breakage(tmp_path):
    folder = tmp_path / "breakage"
    folder.mkdir()
    return folder


def turn(breakage, manner):
    """Let the broken worker behave so from now on."""
    (breakage / "next").write_text(manner)
    (breakage / "next").replace(breakage / "manner")


def workers_used(output):
    return {record["worker"].rpartition(":")[2] for record in journal_of(output)}


def all_done(output):
    check_outputs(output, output_names(range(COUNT)))
    return statuses(output) == {"done": COUNT}


@pytest.mark.parametrize("manner", MANNERS)
def test_a_worker_that_is_broken_from_the_start_gets_no_work(tmp_path, breakage, manner):
    turn(breakage, manner)
    ended = run_batch(
        *write_field(tmp_path, ["good"] * COUNT), STAND_IN_BROKEN=str(breakage), STAND_IN_SECONDS=SECONDS
    )
    assert ended.returncode == 0, ended.stderr
    assert all_done(tmp_path / "out")
    assert (breakage / "broken").read_text() not in workers_used(tmp_path / "out")
    assert "is unready: " in ended.stderr
    assert {"raise": "the device does not answer", "black": "black"}[manner] in ended.stderr
    assert all(record["attempts"] == 1 for record in journal_of(tmp_path / "out"))


@pytest.mark.parametrize("manner", MANNERS)
def test_a_worker_that_breaks_in_the_middle_is_retired(tmp_path, breakage, manner):
    turn(breakage, "")
    arguments = write_field(tmp_path, ["good"] * COUNT)
    with Running(*arguments, STAND_IN_BROKEN=str(breakage), STAND_IN_SECONDS="0.05") as batch:
        wait_until(lambda: records(tmp_path / "out") >= 6)
        turn(breakage, manner)
        code, told = batch.end()
    assert code == 0, told
    assert all_done(tmp_path / "out")
    # A check that fails, or jobs that the other did meanwhile: whichever comes first.
    assert "is retired: it failed " in told


@pytest.mark.parametrize("manner", MANNERS)
def test_a_worker_that_is_broken_only_at_work_is_retired(tmp_path, breakage, manner):
    turn(breakage, f"{manner} at work")
    ended = run_batch(
        *write_field(tmp_path, ["good"] * COUNT), STAND_IN_BROKEN=str(breakage), STAND_IN_SECONDS=SECONDS
    )
    assert ended.returncode == 0, ended.stderr
    assert all_done(tmp_path / "out")
    assert "is retired: it failed 3 jobs that other workers then did" in ended.stderr


@pytest.mark.parametrize("manner", MANNERS)
def test_what_a_worker_broken_at_work_fails_before_the_other_is_ready_is_kept_for_that(
    tmp_path, breakage, manner
):
    turn(breakage, f"{manner} at work")
    ended = run_batch(
        *write_field(tmp_path, ["good"] * COUNT), STAND_IN_BROKEN=str(breakage), STAND_IN_SECONDS=SECONDS,
        STAND_IN_PROOF_SECONDS="2",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert all_done(tmp_path / "out")
    assert (breakage / "broken").read_text() not in workers_used(tmp_path / "out")


def test_where_no_worker_proves_ready_no_job_is_blamed(tmp_path, breakage):
    turn(breakage, "raise")
    (breakage / "broken").write_text("all")
    arguments = write_field(tmp_path, ["good"] * COUNT)
    ended = run_batch(*arguments, "--wait-for-workers", "1", STAND_IN_BROKEN=str(breakage))
    assert ended.returncode == STRANDED, ended.stderr
    assert "no worker can work. RuntimeError: the device does not answer." in ended.stderr
    assert records(tmp_path / "out") == 0


@pytest.mark.parametrize("manner", MANNERS)
def test_where_all_workers_break_no_job_is_blamed_and_sound_ones_do_the_rest(tmp_path, breakage, manner):
    turn(breakage, "")
    (breakage / "broken").write_text("all")
    arguments = (*write_field(tmp_path, ["good"] * COUNT), "--wait-for-workers", "1")
    with Running(*arguments, STAND_IN_BROKEN=str(breakage), STAND_IN_SECONDS="0.05") as batch:
        wait_until(lambda: records(tmp_path / "out") >= 6)
        turn(breakage, manner)
        code, told = batch.end()
    assert code == STRANDED, told
    assert "no worker can work. it failed its check: " in told
    assert set(statuses(tmp_path / "out")) == {"done"}
    again = run_batch(*arguments)
    assert again.returncode == 0, again.stderr
    assert all_done(tmp_path / "out")


def test_a_picture_that_fails_on_all_sound_workers_is_the_jobs_own_fault(tmp_path):
    marks = ["black", "raise", *["good"] * (COUNT - 2)]
    ended = run_batch(*write_field(tmp_path, marks))
    assert ended.returncode == 1, ended.stderr
    assert failed_names(tmp_path / "out") == {"p000.png": "failed", "p001.png": "failed"}
    assert "p001.png: RuntimeError: the device does not answer" in ended.stderr
    assert len(list((tmp_path / "out/.gluon-nst/rejected").iterdir())) == 1, (
        "the black one, kept to be looked at"
    )


def test_one_process_alone_does_a_batch(tmp_path):
    ended = run_batch(*write_field(tmp_path, ["good"] * COUNT), "--workers", "0")
    assert ended.returncode == 0, ended.stderr
    assert all_done(tmp_path / "out")


def test_one_process_alone_that_is_broken_ends(tmp_path, breakage):
    turn(breakage, "raise")
    arguments = write_field(tmp_path, ["good"] * COUNT)
    ended = run_batch(*arguments, "--workers", "0", "--wait-for-workers", "1", STAND_IN_BROKEN=str(breakage))
    assert ended.returncode == STRANDED, ended.stderr
    assert "the device does not answer" in ended.stderr
    assert records(tmp_path / "out") == 0


def test_one_process_alone_that_hangs_ends(tmp_path):
    arguments = write_field(tmp_path, ["good", "hang", "good"])
    ended = run_batch(*arguments, "--workers", "0", "--timeout", "1")
    assert ended.returncode == RESUMABLE, ended.stderr
    assert "--workers 1" in ended.stderr
    assert set(statuses(tmp_path / "out")) <= {"done"}
