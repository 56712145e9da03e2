"""Every exit code of `gluon-nst batch`, as its help tells them; 75, 5 and 130 in the tests of faults and signals."""

import pytest

from tests.batch.field import check_outputs, output_names, records, run_batch, write_field, write_photo

DONE, SOME_FAILED, USAGE, UNREADABLE, FAILURES = 0, 1, 2, 3, 4


def one_process(arguments, *more):
    return run_batch(*arguments, *more, "--workers", "0")


def test_0_all_is_done(tmp_path):
    arguments = write_field(tmp_path, ["good"] * 3)
    assert one_process(arguments).returncode == DONE
    again = one_process(arguments)
    assert again.returncode == DONE
    assert "nothing to do" in again.stdout


def test_1_some_failed_now_or_before(tmp_path):
    arguments = write_field(tmp_path, ["good"] * 3)
    (tmp_path / "photos/p001.png").write_bytes(b"no picture")
    assert one_process(arguments).returncode == SOME_FAILED
    assert one_process(arguments).returncode == SOME_FAILED
    check_outputs(tmp_path / "out", output_names((0, 2)))


@pytest.mark.parametrize(
    "wrong",
    [
        ("--existing", "sometimes"),
        ("--max-failures", "some"),
        ("--timeout", "0"),
        ("--shard", "3/2"),
    ],
    ids=" ".join,
)
def test_2_what_cannot_be_meant(tmp_path, wrong):
    ended = one_process(write_field(tmp_path, ["good"]), *wrong)
    assert ended.returncode == USAGE, ended.stderr
    assert wrong[1] in ended.stderr
    assert "Traceback" not in ended.stderr


def test_2_the_folder_of_another_run(tmp_path):
    arguments = write_field(tmp_path, ["good"])
    assert one_process(arguments).returncode == DONE
    ended = one_process(arguments, "--set", "style_weight=123")
    assert ended.returncode == USAGE
    assert "holds another run" in ended.stderr


@pytest.mark.parametrize("what", ["--style", "inputs"])
def test_3_what_cannot_be_read_before_the_start(tmp_path, what):
    photos, word, style, *rest = write_field(tmp_path, ["good"])
    if what == "--style":
        style.write_bytes(b"no picture")
    else:
        photos = tmp_path / "none"
    ended = one_process((photos, word, style, *rest))
    assert ended.returncode == UNREADABLE, ended.stderr
    assert records(tmp_path / "out") == 0


@pytest.mark.parametrize(("allowed", "failed"), [("2", 3), ("10%", 3), ("0", 1)])
def test_4_more_failures_than_allowed(tmp_path, allowed, failed):
    arguments = write_field(tmp_path, ["good"] * 20)
    for number in range(20):
        (tmp_path / f"photos/p{number:03}.png").write_bytes(b"no picture")
    ended = one_process(arguments, "--max-failures", allowed)
    assert ended.returncode == FAILURES, ended.stderr
    assert "jobs failed, more than the" in ended.stderr
    # What was in flight when the limit was passed may fail besides.
    assert failed <= records(tmp_path / "out") < 20


# ---- files in the way


@pytest.fixture
def in_the_way(tmp_path):
    arguments = write_field(tmp_path, ["good"] * 3)
    write_photo(tmp_path / "out/p001__style.png", "good", 99)
    return arguments


def test_a_strangers_file_fails_the_job_and_is_kept(tmp_path, in_the_way):
    stranger = (tmp_path / "out/p001__style.png").read_bytes()
    ended = one_process(in_the_way)
    assert ended.returncode == SOME_FAILED, ended.stderr
    assert "gluon_nst did not make it" in ended.stderr
    assert (tmp_path / "out/p001__style.png").read_bytes() == stranger
    assert records(tmp_path / "out") == 3


def test_a_strangers_file_is_replaced_where_that_is_asked_for(tmp_path, in_the_way):
    ended = one_process(in_the_way, "--existing", "overwrite")
    assert ended.returncode == DONE, ended.stderr
    check_outputs(tmp_path / "out", output_names(range(3)))


def test_2_any_file_in_the_way_is_refused_where_that_is_asked_for(tmp_path, in_the_way):
    ended = one_process(in_the_way, "--existing", "error")
    assert ended.returncode == USAGE, ended.stderr
    assert "p001__style.png" in ended.stderr
    assert records(tmp_path / "out") == 0
