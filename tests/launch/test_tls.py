"""A cluster that speaks TLS, and who is not let in: real scheduler, workers and batches on the stand-in engine."""

import dataclasses
import re
import shlex
import socket
import ssl
from pathlib import Path

import psutil
import pytest
from distributed import Client

from gluon_nst.batch.local_cluster import local_client
from gluon_nst.launch.certificates import make_certificates
from gluon_nst.launch.discovery import find_slots
from gluon_nst.launch.tls import FOLDER_VARIABLE, Tls
from tests.batch.field import (
    ROOT,
    Cluster,
    check_outputs,
    free_port,
    output_names,
    records,
    run_batch,
    write_field,
    write_photo,
    write_style,
)
from tests.launch.launching import Command, address_of, scheduler, workers

USAGE, STRANDED = 2, 5

# What stands for the network: the dashboard and Dask's pages of state are for this machine, 127.0.0.1, only.
OUTSIDE = "127.0.0.2"


@dataclasses.dataclass(frozen=True)
class Field:
    """A cluster with TLS."""

    address: str
    folder: Path
    commands: tuple[Command, ...]


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls") / "own"
    make_certificates(folder, 1)
    return Tls.in_folder(folder)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, tls):
    folder, files = tmp_path_factory.mktemp("cluster"), ("--tls-dir", tls.key.parent)
    with (
        scheduler(folder, "--host", OUTSIDE, *files) as serving,
        workers(folder, "--host", OUTSIDE, *files) as working,
    ):
        working.wait_for("is ready")
        yield Field(address_of(folder), folder, (serving, working))


def done_through(cluster, folder, *tls, **environment):
    """Run a batch there, and hold its outputs against the journal."""
    arguments = write_field(folder, ["good"] * 3)
    ended = run_batch(*arguments, "--scheduler", cluster.address, *tls, **environment)
    assert ended.returncode == 0, ended.stderr
    check_outputs(folder / "out", output_names(range(3)))


def refused(folder, scheduler, *tls, code, **environment):
    """Run a batch that is not let in; return what it said."""
    ended = run_batch(
        *write_field(folder, ["good"]), "--scheduler", scheduler, *tls, timeout=60, **environment
    )
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stderr
    assert records(folder / "out") == 0
    return ended.stderr


def test_a_batch_runs_through_tls(tmp_path, cluster, tls):
    done_through(cluster, tmp_path / "options", "--tls-dir", tls.key.parent)
    done_through(cluster, tmp_path / "environment", **{FOLDER_VARIABLE: str(tls.key.parent)})


def test_a_batch_runs_by_a_scheduler_file_and_three_files(tmp_path, cluster, tls):
    files = ("--tls-ca-file", tls.ca_file, "--tls-cert", tls.cert, "--tls-key", tls.key)
    ended = run_batch(
        *write_field(tmp_path, ["good"]), "--scheduler", cluster.folder / "scheduler.json", *files
    )
    assert ended.returncode == 0, ended.stderr


def test_every_port_that_others_reach_wants_a_certificate(cluster, tls):
    ports = listening(cluster.commands)
    assert len(ports) == 3, "of the scheduler, of a worker, and of its nanny"
    for port in ports:
        with pytest.raises(ssl.SSLError, match="certificate required"):
            call_without_certificate(port, tls)


def listening(commands):
    """Return the ports outside that commands and their children listen on."""
    processes = [
        each for command in commands for each in (psutil.Process(command.process.pid), *command.children())
    ]
    connections = [connection for process in processes for connection in process.net_connections("inet")]
    listeners = {each.laddr for each in connections if each.status == psutil.CONN_LISTEN}
    assert {each.ip for each in listeners} <= {OUTSIDE, "127.0.0.1"}
    return {each.port for each in listeners if each.ip == OUTSIDE}


def call_without_certificate(port, tls):
    """Call as one who knows the authority, but shows no certificate; wait for what is said to that."""
    context = ssl.create_default_context(cafile=tls.ca_file)
    context.check_hostname = False
    with (
        socket.create_connection((OUTSIDE, port)) as plain,
        context.wrap_socket(plain) as connection,
    ):
        connection.recv(1)


def test_who_has_no_right_certificate_is_not_let_in_and_the_scheduler_goes_on(tmp_path, cluster, tls):
    make_certificates(tmp_path / "tls", 1)
    told = refused(tmp_path, cluster.address, "--tls-dir", tmp_path / "tls", code=STRANDED)
    assert f"its certificate does not hold under {tmp_path / 'tls/ca.pem'}" in told
    told = refused(tmp_path, cluster.address.replace("tls:", "tcp:"), code=STRANDED)
    assert "as one does that speaks only TLS; give its files by --tls-dir" in told
    done_through(cluster, tmp_path / "after", "--tls-dir", tls.key.parent)


def test_no_worker_joins_with_other_certificates(tmp_path, cluster):
    make_certificates(tmp_path / "tls", 1)
    options = ("--tls-dir", tmp_path / "tls", "--wait-for-scheduler", 2)
    with workers(cluster.folder, *options, log="stranger.log") as stranger:
        assert stranger.end() == STRANDED
        assert "Traceback" not in stranger.told()
        assert "its certificate does not hold under" in stranger.told()


def test_files_that_cannot_serve_are_told_before_the_start(tmp_path, cluster, tls):
    make_certificates(tmp_path / "old", -1 / 100)  # days
    assert "certificate has expired" in refused(
        tmp_path, cluster.address, "--tls-dir", tmp_path / "old", code=USAGE
    )
    assert "give its TLS files" in refused(tmp_path, cluster.address, code=USAGE)
    plain = cluster.address.replace("tls:", "tcp:")
    told = refused(tmp_path, plain, "--tls-dir", tls.key.parent, code=USAGE)
    assert "with them only tls:// is spoken" in told


def test_a_scheduler_without_tls_is_not_spoken_to(tmp_path, tls):
    with Cluster(tmp_path, 0) as cluster:
        with Client(cluster.address, timeout=30):
            pass  # it is up
        address = cluster.address.replace("tcp:", "tls:")
        told = refused(tmp_path, address, "--tls-dir", tls.key.parent, code=STRANDED)
    assert "it speaks no TLS" in told


def test_workers_of_this_machine_speak_tls_where_there_are_files(tls):
    with local_client(find_slots(1, "cpu"), tls) as client:
        address = client.scheduler.address
        assert address.startswith("tls://")
        assert client.submit(sum, (1, 2)).result(timeout=30) == 3
        with pytest.raises(OSError, match=r"closed|reset|timed out"):
            Client(address.replace("tls:", "tcp:"), timeout=5)
        assert client.submit(sum, (2, 2)).result(timeout=30) == 4


def test_the_commands_of_the_page_work_as_they_stand_there(tmp_path, monkeypatch):
    page = (ROOT / "cluster" / "security.md").read_text()
    lines = [line.split("#")[0] for line in re.search(r"```text\n(.*?)```", page, re.DOTALL)[1].splitlines()]
    port = free_port()
    certificates, serve, work, *rest = (
        shlex.split(line.replace("node1:8786", f"{OUTSIDE}:{port}").replace("node1", OUTSIDE))[1:]
        for line in lines
    )
    write_photo(tmp_path / "photos/photo.png", "good", 1)
    write_style(tmp_path / "painting.jpg")
    (tmp_path / "stylized").mkdir()
    monkeypatch.chdir(tmp_path)
    with Command(tmp_path / "certificates.log", *certificates) as making:
        assert making.end() == 0, making.told()
    with (
        Command(tmp_path / "scheduler.log", *serve, "--port", port),
        Command(tmp_path / "workers.log", *work) as working,
    ):
        working.wait_for("is ready")
        for number, words in enumerate(rest):
            with Command(tmp_path / f"{number}.log", *words) as running:
                assert running.end() == 0, running.told()
    assert (tmp_path / "stylized/photo__painting.jpg").exists()
