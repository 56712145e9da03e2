"""A build of MXNet for GPUs finds its libraries, or says which one is missing; other builds pay nothing.

The build is a stand-in of a few kilobytes, but the loader that searches, fails and finds is the system's;
`test_gpu_wheel` does the same with the real 4 GB.
"""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gluon_nst.backend import mx, nd, release_memory
from gluon_nst.cuda_libraries import LIBRARIES, library_file, missing_libraries
from gluon_nst.fusion import Compiler, driver_cuda, judge, read_compiler
from tests.stub_libraries import DRIVER, compile_library

ROOT = Path(__file__).resolve().parent.parent
CUBLAS, CUDNN = "nvidia/cublas/lib/libcublas.so.11", "nvidia/cudnn/lib/libcudnn.so.8"

MODULE = """
import ctypes, pathlib
ctypes.CDLL(str(pathlib.Path(__file__).with_name("libmxnet.so")))
"""
LOAD = """
from gluon_nst.cuda_build import prepare_cuda
prepare_cuda()
import mxnet
print("loaded")
"""
FAIL = """
from gluon_nst.errors import BackendError
try:
    import gluon_nst.backend
except BackendError as error:
    print(error)
"""
MAPPED = """
from gluon_nst.cuda_build import prepare_cuda
prepare_cuda()
print("/nvidia/" in open("/proc/self/maps").read())
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a folder of packages with an `mxnet` that needs cuDNN, which needs cuBLAS, and a driver."""
    site = tmp_path / "site"
    driver = compile_library(tmp_path / "driver" / "libcuda.so.1", DRIVER)
    cublas = compile_library(site / CUBLAS)
    cudnn = compile_library(site / CUDNN, needed=[cublas])
    compile_library(site / "mxnet" / "libmxnet.so", needed=[driver, cudnn])
    (site / "mxnet" / "__init__.py").write_text(MODULE)
    return site


def install(site: Path, *names: str) -> None:
    for name in names:
        (site / f"{name}-1.9.1.dist-info").mkdir()


def python(site: Path, code: str, *options: str, driver: bool = True) -> str:
    """Run code beside the packages in `site`; the loader knows of the driver only."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("LD_LIBRARY_PATH", "MXNET_USE_FUSION")
    }
    environment["PYTHONPATH"] = os.pathsep.join([str(site), str(ROOT)])
    if driver:
        environment["LD_LIBRARY_PATH"] = str(site.parent / "driver")
    done = subprocess.run(
        [sys.executable, *options, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# --- loading


def test_a_wheel_for_gpus_loads_without_a_library_path(site: Path) -> None:
    install(site, "mxnet_cu112")
    assert python(site, LOAD) == "loaded"


def test_without_the_preparation_it_would_not(site: Path) -> None:
    told = python(site, "try:\n import mxnet\nexcept OSError as error: print(error)")
    assert told.startswith("libcudnn.so.8: cannot open")


@pytest.mark.parametrize("name", [CUBLAS, CUDNN])
def test_a_missing_library_is_named_with_its_line(site: Path, name: str) -> None:
    install(site, "mxnet_cu112")
    (site / name).unlink()
    told = python(site, FAIL)
    assert told.startswith("MXNet cannot load a library: ")
    assert f"pip install '{LIBRARIES[Path(name).name]}'" in told
    assert CUDNN in told or "libcudnn.so.8" in told  # the one that the loader spoke of
    assert (LIBRARIES["libcudnn.so.8"] in told) == (name == CUDNN)  # it is here, where cuBLAS is not


def test_without_a_driver_that_is_said_and_both_ways_out(site: Path) -> None:
    install(site, "mxnet_cu112")
    told = python(site, FAIL, driver=False)
    assert "libcuda.so.1" in told and "no NVIDIA driver" in told
    assert "pip uninstall mxnet-cu112; then pip install 'gluon-nst[cpu]'" in told


@pytest.mark.parametrize(
    ("names", "mapped"), [(["mxnet_cu112"], "True"), (["mxnet"], "False"), ([], "False")]
)
def test_only_a_wheel_for_gpus_has_libraries_loaded(site: Path, names: list[str], mapped: str) -> None:
    install(site, *names)
    assert python(site, MAPPED) == mapped


def test_two_builds_over_one_another_are_refused(site: Path) -> None:
    install(site, "mxnet", "mxnet_cu112")
    told = python(site, FAIL)
    assert told.startswith("mxnet and mxnet-cu112 are installed and overwrite each other's files: ")
    assert "pip uninstall mxnet mxnet-cu112; then pip install 'gluon-nst[cu112]'" in told


def test_a_build_elsewhere_on_the_path_is_not_this_one(site: Path, tmp_path: Path) -> None:
    install(site, "mxnet")
    install_folder = tmp_path / "later"
    install_folder.mkdir()
    install(install_folder, "mxnet_cu112")
    code = f"import sys; sys.path.append({str(install_folder)!r}); {MAPPED}"
    assert python(site, code) == "False"


def test_a_build_whose_files_went_with_another_one_is_still_known(site: Path) -> None:
    install(site, "mxnet_cu112")
    (site / "mxnet" / "__init__.py").unlink()
    code = """from gluon_nst.cuda_build import missing_error
from gluon_nst.mxnet_builds import importable
print(importable(), missing_error())"""
    told = python(site, code, "-S")  # -S: without this Python's own mxnet
    line = "pip install --force-reinstall --no-deps mxnet-cu112==1.9.1"
    assert told == f"False The files of mxnet-cu112 are gone: {line}"


# --- looking


def test_the_extra_brings_what_is_looked_for() -> None:
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    lines = settings["options.extras_require"]["cu112"].replace(" ", "").split()
    assert lines[0] == "mxnet-cu112==1.9.1"
    assert set(lines[1:]) == set(LIBRARIES.values())


def test_a_library_that_lies_there_but_does_not_load_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    before = missing_libraries()
    if "libcufft.so.10" not in before:
        pytest.skip("this machine has cuFFT")
    path = tmp_path / "nvidia" / "cufft" / "lib" / "libcufft.so.10"
    path.parent.mkdir(parents=True)
    path.touch()
    assert library_file("libcufft.so.10") == path
    assert missing_libraries() == before | {"libcufft.so.10": "file too short"}
    path.unlink()
    compile_library(path)
    assert missing_libraries() == {
        soname: why for soname, why in before.items() if soname != "libcufft.so.10"
    }


# --- fusion

# NVRTC of CUDA 11.7 and its like: it knows no Ada.
OLDER_NVRTC = r"""
int nvrtcVersion(int *major, int *minor) { *major = 11; *minor = 7; return 0; }
int nvrtcGetNumSupportedArchs(int *count) { *count = 2; return 0; }
int nvrtcGetSupportedArchs(int *numbers) { numbers[0] = 80; numbers[1] = 86; return 0; }
"""
NVRTC_118 = Compiler((11, 8), (80, 86, 89, 90))


def test_the_compiler_and_the_driver_are_asked_through_their_c_interfaces(tmp_path: Path) -> None:
    older = compile_library(tmp_path / "libnvrtc.so.11.2", OLDER_NVRTC)
    assert read_compiler(str(older)) == Compiler((11, 7), (80, 86))
    assert driver_cuda(str(compile_library(tmp_path / "libcuda.so.1", DRIVER))) == (11, 2)
    assert read_compiler("libno_such_library.so.1") is None
    assert driver_cuda("libno_such_library.so.1") == (0, 0)
    empty = str(compile_library(tmp_path / "libempty.so.1"))
    assert (read_compiler(empty), driver_cuda(empty)) == (None, (0, 0))


@pytest.mark.parametrize(
    ("compiler", "driver", "trouble", "remedy"),
    [
        (NVRTC_118, (11, 8), "", ""),
        (NVRTC_118, (12, 4), "", ""),
        (Compiler((11, 7), (80, 86)), (12, 4), "no chip of compute capability 8.9", "nvrtc-cu11==11.8.89"),
        (NVRTC_118, (11, 2), "for CUDA 11.2, cannot read", "a driver for CUDA 11.8"),
        (None, (12, 4), "missing", "nvrtc-cu11==11.8.89"),
    ],
)
def test_fusion_needs_a_compiler_that_knows_the_chip_and_a_driver_that_reads_it(
    compiler: Compiler | None, driver: tuple[int, int], trouble: str, remedy: str
) -> None:
    found = judge(compiler, driver, [(8, 9)])
    assert trouble in found[0] and remedy in found[1]
    assert all(found) == bool(trouble)


def test_only_the_chips_that_are_here_count() -> None:
    assert judge(Compiler((11, 7), (80, 86)), (12, 4), [(8, 6), (8, 0)]) == ("", "")


SETTING = f"{LOAD}\nimport os; print(os.environ.get('MXNET_USE_FUSION'))"


def test_fusion_is_off_where_it_would_end_the_process(site: Path) -> None:
    install(site, "mxnet_cu112")
    nvrtc = site / "nvidia" / "cuda_nvrtc" / "lib" / "libnvrtc.so.11.2"
    compile_library(nvrtc, OLDER_NVRTC)
    assert python(site, SETTING).split() == ["loaded", "0"]
    knows_ada = OLDER_NVRTC.replace("*minor = 7", "*minor = 2").replace("numbers[1] = 86", "numbers[1] = 89")
    compile_library(nvrtc, knows_ada)
    assert python(site, SETTING).split() == ["loaded", "None"]


# --- memory


def test_memory_is_given_back_on_a_gpu_alone() -> None:
    class Card:
        device_type, emptied = "gpu", 0

        def empty_cache(self) -> None:
            self.emptied += 1

    card, kept = Card(), nd.ones(3)
    release_memory(card)
    release_memory(mx.cpu())
    assert card.emptied == 1
    assert kept.sum().asscalar() == 3
