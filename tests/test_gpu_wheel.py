"""The real wheel for GPUs, on a machine without one: 4 GB from the Python index, so only with ``-m full``.

MXNet's wheel needs a driver to be loaded at all. A stub of `libcuda.so.1` that knows of no GPU stands in for it,
known to the loader of the tests' own processes only; nothing is computed on a GPU here. GLUON_NST_CU112_PYTHON
may name a Python that has the extra `cu112` already, on which the tests run instead.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gluon_nst.cuda_libraries import LIBRARIES
from gluon_nst.fusion import driver_cuda
from tests.stub_libraries import DRIVER, compile_library

pytestmark = pytest.mark.full

ROOT = Path(__file__).resolve().parent.parent
MINUTE = 60.0


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a Python that has what the extra `cu112` brings."""
    named = os.environ.get("GLUON_NST_CU112_PYTHON")
    if named:
        yield Path(named)
        return
    folder = tmp_path_factory.mktemp("cu112")
    try:
        yield installed(folder)
    finally:
        shutil.rmtree(folder)  # 4 GB, which pytest would keep for three runs


def installed(folder: Path) -> Path:
    """Make an environment with the extra `cu112` in a folder, and return its Python."""
    if shutil.disk_usage(folder).free < 12e9:  # the wheels, and what they unpack to
        pytest.skip("no room for 12 GB")
    source, python = folder / "source", folder / "venv" / "bin" / "python"
    shutil.copytree(ROOT / "gluon_nst", source / "gluon_nst", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    command = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-cache-dir",
        "numpy==1.23.5",
        f"{source}[cu112]",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20 * MINUTE, check=False)
    if done.returncode:
        pytest.skip(f"the wheel is not to be had: {done.stderr.strip()[-200:]}")
    subprocess.run([python, "-m", "pip", "uninstall", "-q", "-y", "gluon-nst"], check=True)  # ours is tested
    return python


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_library(tmp_path_factory.mktemp("driver") / "libcuda.so.1", DRIVER).parent


def run(interpreter: Path, *arguments: str, driver: Path | str | None, before: Path | None = None) -> str:
    """Run a Python and return what it printed; the loader knows of the driver, if any, and of nothing else.

    Packages in the folder `before`, if any, come before those installed.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LD_", "MXNET_"))}
    folders = [ROOT] if before is None else [before, ROOT]
    environment = {**kept, "PYTHONPATH": os.pathsep.join(map(str, folders))}
    if driver is not None:
        environment["LD_LIBRARY_PATH"] = str(driver)
    done = subprocess.run(
        [interpreter, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=MINUTE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


FINDINGS = "import json; from gluon_nst.doctor import *; print(json.dumps(as_mapping(examine(['vgg16']))))"
ERROR = """
from gluon_nst.errors import BackendError
try:
    import gluon_nst.backend
except BackendError as error:
    print(error)
"""


def examine(interpreter: Path, driver: Path | None) -> dict[str, list[dict[str, str]]]:
    """Return the doctor's findings by their topics."""
    topics: dict[str, list[dict[str, str]]] = {}
    for finding in json.loads(run(interpreter, "-c", FINDINGS, driver=driver))["findings"]:
        topics.setdefault(finding["topic"], []).append(finding)
    return topics


@contextmanager
def without(interpreter: Path, soname: str) -> Iterator[None]:
    """Put a library of NVIDIA's packages aside."""
    where = f"from gluon_nst.cuda_libraries import *; print(library_file({soname!r}))"
    path = Path(run(interpreter, "-c", where, driver=None))
    aside = path.rename(path.with_name(f"{path.name}.aside"))
    try:
        yield
    finally:
        aside.rename(path)


SMALL_WORK = """
import os
from gluon_nst.backend import autograd, gpu_count, mx, nd, version
image, kernel, bias = nd.ones((1, 3, 8, 8)), nd.ones((4, 3, 3, 3)), nd.zeros(4)
image.attach_grad()
with autograd.record():
    total = nd.Convolution(image, kernel, bias, kernel=(3, 3), num_filter=4).sum()
total.backward()
print(version(), mx.runtime.Features().is_enabled("CUDA"), gpu_count(), os.environ["MXNET_USE_FUSION"])
print(total.asscalar(), image.grad.max().asscalar())
"""


def test_it_loads_without_a_library_path_and_computes_on_the_cpu(interpreter: Path, driver: Path) -> None:
    build, numbers = run(interpreter, "-c", SMALL_WORK, driver=driver).splitlines()
    assert build == "1.9.1 True 0 0"  # no GPU; fusion is off: this driver cannot read what NVRTC 11.8 writes
    assert numbers == f"{4 * 36 * 27}.0 {4 * 9}.0"


def test_a_pair_is_stylized_on_the_cpu(interpreter: Path, driver: Path, tmp_path: Path) -> None:
    photo, style = ROOT / "data/photos/cat.jpg", ROOT / "data/styles/woodblock_waves.jpg"
    out = tmp_path / "out.png"
    arguments = ["-m", "gluon_nst", "stylize", photo, style, "-o", out, "--size", "64", "--steps", "2"]
    run(interpreter, *map(str, arguments), driver=driver)
    assert out.stat().st_size > 1000


OWN_BUILD = """
import os
from gluon_nst.mxnet_builds import installed_builds
from gluon_nst.backend import gpu_count, mx, nd
print(installed_builds(), mx.runtime.Features().is_enabled("CUDA"), os.environ.get("MXNET_USE_FUSION"))
"""


def test_a_build_of_its_own_with_the_systems_libraries_is_left_alone(
    interpreter: Path, driver: Path, tmp_path: Path
) -> None:
    """Run as in NVIDIA's container: pip knows of no MXNet, and the loader has all libraries already."""
    where = "import importlib.util; print(importlib.util.find_spec('mxnet').origin)"
    package = Path(run(interpreter, "-c", where, driver=None)).parent
    (tmp_path / "mxnet").symlink_to(package)
    libraries = [driver, *sorted(package.parent.glob("nvidia/*/lib"))]
    everything = os.pathsep.join(map(str, libraries))
    assert run(interpreter, "-c", OWN_BUILD, driver=everything, before=tmp_path) == "{} True None"


def test_the_doctor_sees_the_libraries_and_no_gpu(interpreter: Path, driver: Path) -> None:
    topics = examine(interpreter, driver)
    assert [finding["text"] for finding in topics["CUDA libraries"]] == ["all are here"]
    assert "shows no GPU" in topics["GPU"][0]["text"]
    assert [finding["state"] for finding in topics["MXNet"]] == ["ok", "ok"]


def test_without_a_driver_the_doctor_and_the_import_say_so(interpreter: Path) -> None:
    if driver_cuda() != (0, 0):
        pytest.skip("this machine has a driver")
    told = run(interpreter, "-c", ERROR, driver=None)
    assert "libcuda.so.1" in told and "no NVIDIA driver" in told
    topics = examine(interpreter, None)
    assert topics["GPU"][0]["text"].startswith("no NVIDIA driver (libcuda.so.1)")
    assert [finding["text"] for finding in topics["CUDA libraries"]] == ["all are here"]


@pytest.mark.parametrize("soname", ["libcudnn.so.8", "libcublas.so.11", "libnvrtc.so.11.2", "libnccl.so.2"])
def test_a_missing_library_is_named_by_both(interpreter: Path, driver: Path, soname: str) -> None:
    with without(interpreter, soname):
        told = run(interpreter, "-c", ERROR, driver=driver)
        (finding,) = examine(interpreter, driver)["CUDA libraries"]
    line = f"pip install '{LIBRARIES[soname]}'"
    assert soname in told and line in told
    assert finding["text"].startswith(f"{soname} does not load") and finding["remedy"] == line


COMPILE = """
import ctypes
from gluon_nst.cuda_libraries import library_file
nvrtc = ctypes.CDLL(str(library_file("libnvrtc.so.11.2")))
source = b'extern "C" __global__ void f(float *x) { x[threadIdx.x] += 1; }'
for architecture in (86, 89, 90, 100):
    program, option = ctypes.c_void_p(), f"--gpu-architecture=compute_{architecture}".encode()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, b"f.cu", 0, None, None)
    print(nvrtc.nvrtcCompileProgram(program, 1, (ctypes.c_char_p * 1)(option)))
"""


def test_its_compiler_knows_ada_and_no_blackwell(interpreter: Path) -> None:
    codes = run(interpreter, "-c", COMPILE, driver=None).split()
    assert codes == ["0", "0", "0", "5"]  # 5: NVRTC_ERROR_INVALID_OPTION
