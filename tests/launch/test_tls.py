"""A cluster that speaks TLS, and who is not let in: real scheduler, workers and batches on the stand-in engine."""

import json
import socket
import ssl

import pytest
from distributed import Client

from gluon_nst.batch.local_cluster import local_client
from gluon_nst.launch.certificates import make_certificates
from gluon_nst.launch.tls import FOLDER_VARIABLE, Tls
from tests.batch.field import Cluster, check_outputs, output_names, records, run_batch, write_field

USAGE, STRANDED = 2, 5


def configuration(tls):
    """Return Dask's own settings for a scheduler and workers with those files, as environment variables."""
    roles = ("CLIENT", "SCHEDULER", "WORKER")
    files = {
        f"DASK_DISTRIBUTED__COMM__TLS__{role}__{name}": str(path)
        for role in roles
        for name, path in (("CERT", tls.cert), ("KEY", tls.key))
    }
    return {"DASK_DISTRIBUTED__COMM__TLS__CA_FILE": str(tls.ca_file), **files}


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls") / "own"
    make_certificates(folder, 1)
    return Tls.in_folder(folder)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, tls):
    with Cluster(tmp_path_factory.mktemp("cluster"), 1, "tls", **configuration(tls)) as cluster:
        yield cluster


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
    file = tmp_path / "scheduler.json"
    file.write_text(json.dumps({"address": cluster.address}))
    files = ("--tls-ca-file", tls.ca_file, "--tls-cert", tls.cert, "--tls-key", tls.key)
    ended = run_batch(*write_field(tmp_path, ["good"]), "--scheduler", file, *files)
    assert ended.returncode == 0, ended.stderr


def test_who_has_no_right_certificate_is_not_let_in_and_the_scheduler_goes_on(tmp_path, cluster, tls):
    make_certificates(tmp_path / "tls", 1)
    told = refused(tmp_path, cluster.address, "--tls-dir", tmp_path / "tls", code=STRANDED)
    assert f"its certificate does not hold under {tmp_path / 'tls/ca.pem'}" in told
    told = refused(tmp_path, cluster.address.replace("tls:", "tcp:"), code=STRANDED)
    assert "as one does that speaks only TLS; give its files by --tls-dir" in told
    with pytest.raises(ssl.SSLError, match="certificate required"):
        call_without_certificate(cluster.address, tls)
    done_through(cluster, tmp_path / "after", "--tls-dir", tls.key.parent)


def call_without_certificate(address, tls):
    """Call the scheduler as one who knows its authority, but shows no certificate; wait for what it says."""
    context = ssl.create_default_context(cafile=tls.ca_file)
    context.check_hostname = False
    host, port = address.removeprefix("tls://").split(":")
    with (
        socket.create_connection((host, int(port))) as plain,
        context.wrap_socket(plain) as connection,
    ):
        connection.recv(1)


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
    with local_client(1, tls) as client:
        address = client.scheduler.address
        assert address.startswith("tls://")
        assert client.submit(sum, (1, 2)).result(timeout=30) == 3
        with pytest.raises(OSError, match=r"closed|reset|timed out"):
            Client(address.replace("tls:", "tcp:"), timeout=5)
        assert client.submit(sum, (2, 2)).result(timeout=30) == 4
