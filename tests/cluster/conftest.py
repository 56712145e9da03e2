"""What the tests of cluster/slurm have in common: one Slurm for all of them."""

from __future__ import annotations

import pytest

from tests.batch.field import wait_until
from tests.cluster.local_slurm import LocalSlurm, Size, missing
from tests.cluster.slurm_desk import GPUS, SLOWLY, Desk
from tests.stub_libraries import compile_library


@pytest.fixture(scope="session")
def drivers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("driver")
    compile_library(folder / "libcuda.so.1", GPUS)
    return {"LD_LIBRARY_PATH": str(folder)}


@pytest.fixture(scope="session")
def slurm():
    if why := missing():
        pytest.skip(why)
    with LocalSlurm(Size(nodes=2)) as slurm:
        yield slurm


@pytest.fixture
def desk(slurm, tmp_path, drivers):
    yield Desk(slurm, tmp_path, **SLOWLY, **drivers)
    slurm.run("scancel", "--user=root")
    wait_until(lambda: not slurm.run("squeue", "-h").strip())
