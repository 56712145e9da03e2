"""`gluon-nst scheduler`: whom it lets in, and how it ends."""

import signal
import time

import pytest

from gluon_nst.errors import UsageError
from gluon_nst.launch.exposure import check_exposure
from tests.batch.field import Running, records, wait_until, write_field
from tests.launch.launching import Command, address_of, client_of, listening, scheduler, workers

USAGE, RESUMABLE = 2, 75


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.8.9.1", "::1"])
def test_the_loopback_interface_needs_no_tls(host):
    check_exposure(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7"])
def test_other_interfaces_do(host):
    with pytest.raises(UsageError, match=r"Make certificates with `gluon-nst certificates DIR`"):
        check_exposure(host)


def test_the_command_refuses_to_be_an_open_door(tmp_path):
    with Command(tmp_path / "log", "scheduler", "--host", "0.0.0.0", "--port", 0) as opened:
        assert opened.end() == USAGE
    assert "gluon-nst certificates DIR" in opened.told()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--host", "127.0.0.1", "--interface", "lo"], "exclude each other"),
        (["--interface", "no-such0"], "--interface no-such0: "),
        (["--scheduler-file", "address.txt"], "must end in .json"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, words, why):
    with Command(tmp_path / "log", "scheduler", *words) as opened:
        assert opened.end() == USAGE
    assert why in opened.told()


def test_it_has_our_settings_listens_where_it_was_told_to_and_is_not_stopped_by_a_notice_to_workers(tmp_path):
    with scheduler(tmp_path, "--interface", "lo") as meeting:
        address = address_of(tmp_path)
        assert listening(meeting) == {"127.0.0.1"}
        meeting.signal(signal.SIGUSR2)
        with Command(tmp_path / "log", "scheduler", "--port", address.rpartition(":")[2]) as second:
            assert second.end() == USAGE
        assert "Give another --host or --port." in second.told()
        with client_of(tmp_path) as client:
            assert client.run_on_scheduler(settings) == (0, False, 20)
        meeting.signal(signal.SIGTERM)
        assert meeting.end() == 0
    assert meeting.told().splitlines()[0] == address
    assert not (tmp_path / "scheduler.json").exists()


def settings(dask_scheduler):
    import dask

    names = ("scheduler.work-stealing", "admin.low-level-log-length")
    return dask_scheduler.allowed_failures, *(dask.config.get(f"distributed.{name}") for name in names)


def test_told_to_stop_with_a_batch_it_hands_on_the_last_results(tmp_path):
    arguments = (*write_field(tmp_path, ["good"] * 40), "--scheduler", tmp_path / "scheduler.json")
    with scheduler(tmp_path) as meeting, workers(tmp_path, STAND_IN_SECONDS="0.3") as launched:
        launched.wait_for(" is ready: ")
        with Running(*arguments) as batch:
            wait_until(lambda: records(tmp_path / "out") >= 2)
            for each in (meeting, launched, batch):
                each.signal(signal.SIGTERM)
            code, told = batch.end()
            ended = time.monotonic()
        assert code == RESUMABLE, told
        assert launched.end() == 0
        assert meeting.end() == 0
        assert time.monotonic() - ended < 15, "it waits for nobody else"
    assert "waiting for what still runs" in meeting.told()
    assert "lost" not in told
    made = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert len(made) == records(tmp_path / "out"), "no picture of which the batch was not told"
