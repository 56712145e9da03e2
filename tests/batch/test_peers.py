"""Workers whose pictures would differ are refused: real ones, that claim other versions."""

import pytest
from distributed import Client

from gluon_nst import __version__
from gluon_nst.batch.peers import Peers
from gluon_nst.versions import installed_versions, same_release
from tests.batch.field import STAND_IN, Cluster, check_outputs, output_names, run_batch, write_field

STRANDED = 5
CLAIMS = {
    "gluon_nst": "import gluon_nst._version as v\nv.__version__ = '0.0.9'\n",
    "mxnet": "import gluon_nst.versions as v\nv.installed_builds = lambda: {'mxnet': '0.0.9'}\n",
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Workers that come from other installations, and no sound one."""
    folder = tmp_path_factory.mktemp("cluster")
    with Cluster(folder, workers=0) as cluster:
        for number, (name, code) in enumerate(CLAIMS.items()):
            preload = folder / f"claims_{name}.py"
            preload.write_text(code)
            cluster.add_worker(number, DASK_DISTRIBUTED__WORKER__PRELOAD=f"['{preload}', '{STAND_IN}']")
        with Client(cluster.address) as client:
            client.wait_for_workers(len(CLAIMS), timeout=60)
        yield cluster


def test_they_get_no_work_and_both_versions_are_said(tmp_path, cluster):
    options = ("--scheduler", cluster.address, "--wait-for-workers", "1")
    ended = run_batch(*write_field(tmp_path, ["good"] * 5), *options)
    assert ended.returncode == STRANDED, ended.stderr
    assert (
        f"it has gluon_nst 0.0.9, not {__version__} as the batch has: its pictures would differ."
        in ended.stderr
    )
    assert "it has mxnet 0.0.9, not 1.9.1 as the batch has: its pictures would differ." in ended.stderr
    assert not list((tmp_path / "out").glob("*.png"))


def test_a_sound_worker_beside_them_does_it_all(tmp_path, cluster):
    cluster.add_worker(9)
    ended = run_batch(*write_field(tmp_path, ["good"] * 20), "--scheduler", cluster.address)
    assert ended.returncode == 0, ended.stderr
    check_outputs(tmp_path / "out", output_names(range(20)))


def test_where_only_workers_have_mxnet_the_first_decides():
    peers = Peers({"gluon_nst": "1.0"})
    assert peers.fault_of({"gluon_nst": "1.0", "mxnet": "1.9.1"}) == ""
    assert "mxnet 1.8.0, not 1.9.1" in peers.fault_of({"gluon_nst": "1.0", "mxnet": "1.8.0"})
    assert peers.fault_of({"gluon_nst": "1.0", "mxnet": "1.9.1"}) == ""


def test_all_that_differs_is_said():
    fault = Peers({"gluon_nst": "1.0", "mxnet": "1.9.1"}).fault_of({"gluon_nst": "1.1", "mxnet": "1.8"})
    assert "gluon_nst 1.1, not 1.0" in fault
    assert "mxnet 1.8, not 1.9.1" in fault


def test_builds_of_one_release_are_the_same():
    assert same_release("1.9.1", "1.9.1+cu112")
    assert same_release("1.9.1.post0", "1.9.1")
    assert not same_release("1.9.1", "1.9.2")
    assert not same_release("1.9.1", "1.9.1.dev3")


def test_what_is_installed_is_known_without_loading_it():
    from gluon_nst import backend

    assert installed_versions()["mxnet"] == backend.version()
    assert installed_versions()["gluon_nst"] == __version__
