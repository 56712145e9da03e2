"""The doctor: facts, judgments, and what it says of this machine, of a bare one, and of a deadly MXNet."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gluon_nst import machine
from gluon_nst.cuda_libraries import LIBRARIES, SYSTEM_LIBRARIES
from gluon_nst.doctor import as_mapping, examine, usable
from gluon_nst.doctor.diagnosis import (
    Finding,
    cpu_finding,
    dask_finding,
    distribution_findings,
    memory_finding,
    mxnet_finding,
    numpy_finding,
    python_finding,
    scratch_finding,
    threads_finding,
)
from gluon_nst.doctor.gpu_diagnosis import chip_finding, driver_finding, fusion_finding, library_findings
from gluon_nst.gpu_driver import Driver, Gpu, describe_driver, driver_from, read_driver
from gluon_nst.probe import call_apart

ROOT = Path(__file__).resolve().parent.parent
H200 = Gpu("NVIDIA H200", (9, 0), 150_000_000_000)
A100 = Gpu("NVIDIA A100-SXM4-40GB", (8, 0), 42_000_000_000)
KEPLER = Gpu("Tesla K80", (3, 7), 12_000_000_000)
CPU_WHEEL, GPU_WHEEL = {"mxnet": "1.9.1"}, {"mxnet-cu112": "1.9.1"}


# --- software


@pytest.mark.parametrize(
    ("version", "state"),
    [((3, 9, 18), "problem"), ((3, 10, 0), "ok"), ((3, 12, 9), "ok"), ((3, 13, 0), "problem")],
)
def test_python_is_supported_from_3_10_to_3_12(version: tuple[int, ...], state: str) -> None:
    assert python_finding(version).state == state


@pytest.mark.parametrize(("version", "state"), [(None, "problem"), ("1.26.4", "ok"), ("2.0.1", "problem")])
def test_numpy_must_be_there_and_below_2(version: str | None, state: str) -> None:
    finding = numpy_finding(version)
    assert finding.state == state
    assert ("<2" in finding.remedy) == (state == "problem")


@pytest.mark.parametrize(
    ("dask", "distributed", "state"),
    [("2024.8.0", "2024.8.0", "ok"), ("2024.8.0", "2024.7.1", "note"), ("2024.8.0", None, "note")],
)
def test_dask_and_distributed_belong_together(dask: str, distributed: str | None, state: str) -> None:
    assert dask_finding(dask, distributed).state == state


def test_without_mxnet_the_pip_line_is_given() -> None:
    (finding,) = distribution_findings({}, importable=False)
    assert finding.state == "problem"
    assert "pip install 'gluon-nst[cpu]'" in finding.remedy


def test_two_mxnets_are_named_and_mended() -> None:
    (finding,) = distribution_findings(CPU_WHEEL | GPU_WHEEL, importable=True)
    assert finding.state == "problem"
    assert "mxnet and mxnet-cu112" in finding.text
    assert "pip uninstall mxnet mxnet-cu112" in finding.remedy
    assert "gluon-nst[cu112]" in finding.remedy  # the one that was wanted besides the plain one


def test_a_build_whose_files_are_gone_is_to_be_installed_again() -> None:
    (finding,) = distribution_findings(GPU_WHEEL, importable=False)
    assert (finding.state, finding.remedy[:28]) == ("problem", "pip install --force-reinstal")
    assert finding.remedy.endswith(" mxnet-cu112==1.9.1")


def test_one_mxnet_or_a_build_of_its_own_is_well() -> None:
    assert distribution_findings(GPU_WHEEL, importable=True)[0].state == "ok"
    assert distribution_findings({}, importable=True)[0].state == "note"


def test_a_failed_computation_is_a_problem_with_a_remedy_of_its_kind() -> None:
    assert mxnet_finding("1.9.1", "", CPU_WHEEL).state == "ok"
    killed = mxnet_finding("", "killed by SIGILL (Illegal instruction)", CPU_WHEEL)
    assert (killed.state, killed.remedy) == ("problem", "unset DNNL_MAX_CPU_ISA and OPENBLAS_CORETYPE")
    library = mxnet_finding("", "MXNet cannot load a library: libcudnn.so.8: cannot open", GPU_WHEEL)
    assert "CUDA libraries" in library.remedy
    assert mxnet_finding("", "killed by SIGSEGV", CPU_WHEEL).remedy.endswith("mxnet==1.9.1")


# --- processor, memory, folders


def test_the_cpu_is_told_with_its_limit() -> None:
    text = cpu_finding("Model X", 8, 2.5, ("avx2", "avx512"), "float32").text
    assert text == (
        "Model X, 8 cores usable, limited to 2.5 by the control group; offers avx2, avx512; "
        "features are computed in float32"
    )


@pytest.mark.parametrize(
    ("setting", "quota", "state", "best"),
    [
        ("8", None, "ok", 8), ("8", 2.5, "note", 3), ("3", 2.5, "ok", 3), ("1", None, "note", 8),
        ("8,2", None, "ok", 8), ("many", None, "note", 8), ("0", None, "note", 8),
    ],
)  # fmt: skip
def test_threads_are_held_against_the_cores(setting: str, quota: float | None, state: str, best: int) -> None:
    finding = threads_finding(setting, 8, quota)
    assert finding.state == state
    assert finding.remedy == ("" if state == "ok" else f"export OMP_NUM_THREADS={best}")


def test_little_memory_and_little_scratch_are_noted() -> None:
    assert [memory_finding(free).state for free in (16 * 10**9, 10**9, None)] == ["ok", "note", "note"]
    states = [scratch_finding("/tmp", free).state for free in (10**10, 10**8, None)]
    assert states == ["ok", "note", "problem"]


def _tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_quota_of_version_2_holds_from_any_group_above(tmp_path: Path) -> None:
    root = _tree(
        tmp_path,
        {
            "proc/self/cgroup": "0::/slurm/job_7/step_0\n",
            "sys/fs/cgroup/slurm/cpu.max": "400000 100000\n",
            "sys/fs/cgroup/slurm/job_7/cpu.max": "150000 100000\n",
            "sys/fs/cgroup/slurm/job_7/step_0/cpu.max": "max 100000\n",
        },
    )
    assert machine.cpu_quota(root) == 1.5


def test_a_quota_of_version_1_inside_a_container(tmp_path: Path) -> None:
    # The path is the host's; inside the container, the mount's top is the container's own group.
    root = _tree(
        tmp_path,
        {
            "proc/self/cgroup": "4:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
    )
    assert machine.cpu_quota(root) == 3.0
    (root / "sys/fs/cgroup/cpu/cpu.cfs_quota_us").write_text("-1\n")
    assert machine.cpu_quota(root) is None


def test_memory_is_the_least_of_what_the_machine_and_the_groups_leave(tmp_path: Path) -> None:
    root = _tree(
        tmp_path,
        {
            "proc/meminfo": "MemTotal: 9000 kB\nMemFree: 10 kB\nMemAvailable: 8000 kB\n",
            "proc/self/cgroup": "0::/job\n",
            "sys/fs/cgroup/job/memory.max": "5000000\n",
            "sys/fs/cgroup/job/memory.current": "4000000\n",
            "sys/fs/cgroup/job/memory.stat": "anon 1\nactive_file 5\ninactive_file 500000\n",
        },
    )
    assert machine.available_memory(root) == 1_500_000
    (root / "sys/fs/cgroup/job/memory.max").write_text("max\n")
    assert machine.available_memory(root) == 8000 * 1024


def test_processors_are_read_by_name_and_flags(tmp_path: Path) -> None:
    info = "processor : 0\nmodel name : Some CPU: 3 GHz\nflags : fpu avx2 amx_bf16 avx512f_not\n"
    root = _tree(tmp_path, {"proc/cpuinfo": info})
    assert machine.cpu_model(root) == "Some CPU: 3 GHz"
    assert machine.instruction_sets(root) == ("avx2", "amx_bf16")


def test_a_system_without_proc_is_no_failure(tmp_path: Path) -> None:
    assert machine.cpu_quota(tmp_path) is None
    assert machine.available_memory(tmp_path) is None
    assert machine.instruction_sets(tmp_path) == ()
    assert machine.cpu_model(tmp_path)


def test_usable_cores_are_the_quota_rounded_up() -> None:
    cases = [(8, None), (8, 2.5), (8, 0.2), (2, 16.0)]
    assert [machine.usable_cores(*case) for case in cases] == [8, 3, 1, 2]


def test_this_machine_has_memory_and_a_core() -> None:
    memory = machine.available_memory()
    assert memory is not None and 10**7 < memory < 10**14
    assert 1 <= machine.cpu_cores() <= (os.cpu_count() or 1)


# --- GPUs


def test_a_wheel_runs_on_ampere_but_not_on_hopper() -> None:
    assert chip_finding(A100, GPU_WHEEL).state == "ok"
    hopper = chip_finding(H200, GPU_WHEEL)
    assert hopper.state == "problem"
    assert "NVIDIA H200 (compute capability 9.0, 150 GB)" in hopper.text
    assert "24.06" in hopper.remedy and "--device cpu" in hopper.remedy
    assert chip_finding(KEPLER, GPU_WHEEL).state == "problem"


def test_a_gpu_beside_a_cpu_build_is_noted_and_only_a_usable_one_recommended() -> None:
    ampere, hopper = chip_finding(A100, CPU_WHEEL), chip_finding(H200, CPU_WHEEL)
    assert (ampere.state, hopper.state) == ("note", "note")
    assert ampere.remedy == "pip uninstall mxnet; then pip install 'gluon-nst[cu112]'"
    assert "cu112" not in hopper.remedy


def test_a_build_of_its_own_is_not_judged_by_the_wheels() -> None:
    assert chip_finding(H200, {}, own_build=True).state == "ok"


@pytest.mark.parametrize(
    ("driver", "with_cpu_wheel", "with_gpu_wheel"),
    [
        (None, "note", "problem"),
        (Driver((0, 0), (), "cuInit failed with CUDA_ERROR_UNKNOWN"), "note", "problem"),
        (Driver((12, 4), ()), "note", "note"),
        (Driver((10, 2), (A100,)), "ok", "problem"),
        (Driver((11, 0), (A100,)), "ok", "ok"),
    ],
)
def test_the_driver_matters_to_the_gpu_wheel(
    driver: Driver | None, with_cpu_wheel: str, with_gpu_wheel: str
) -> None:
    assert driver_finding(driver, CPU_WHEEL).state == with_cpu_wheel
    assert driver_finding(driver, GPU_WHEEL).state == with_gpu_wheel


def test_each_missing_library_has_its_line() -> None:
    assert [finding.state for finding in library_findings({})] == ["ok"]
    cudnn, quadmath = library_findings(
        {"libcudnn.so.8": "file too short", "libquadmath.so.0": "no such file"}
    )
    assert cudnn.text == "libcudnn.so.8 does not load: file too short"
    assert (cudnn.state, cudnn.remedy) == ("problem", "pip install 'nvidia-cudnn-cu11==8.9.6.50'")
    assert quadmath.remedy == "apt install libquadmath0"
    assert all(library_findings({soname: ""})[0].remedy for soname in (*LIBRARIES, *SYSTEM_LIBRARIES))


@pytest.mark.parametrize(
    ("trouble", "setting", "state"),
    [("", None, "ok"), ("", "1", "ok"), ("why", None, "note"), ("why", "0", "note"), ("why", "1", "problem")],
)
def test_fusion_that_would_fail_is_off_unless_it_was_asked_for(
    trouble: str, setting: str | None, state: str
) -> None:
    assert fusion_finding(trouble, "do this", setting).state == state


# libcuda with an A100 and an H200, whose calls answer as the CUDA driver API's documentation says.
_STUB = r"""
#include <stddef.h>
#include <string.h>
int cuInit(unsigned flags) { return INIT; }
int cuDriverGetVersion(int *v) { *v = 12040; return 0; }
int cuDeviceGetCount(int *n) { *n = 2; return 0; }
int cuDeviceGet(int *d, int i) { *d = i + 40; return 0; }
int cuDeviceGetName(char *s, int n, int d) { strncpy(s, d == 40 ? "A100" : "H200", n); return 0; }
int cuDeviceGetAttribute(int *v, int a, int d) {
  if (a == 75) *v = d == 40 ? 8 : 9; else if (a == 76) *v = 0; else return 1;
  return 0;
}
int cuDeviceTotalMem_v2(size_t *m, int d) { *m = d == 40 ? 42ull << 30 : 141ull << 30; return 0; }
int cuGetErrorName(int e, const char **s) { *s = "CUDA_ERROR_SOMETHING"; return 0; }
"""


def _stub_driver(folder: Path, init: int) -> str:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    source, library = folder / "stub.c", folder / "libcuda_stub.so"
    source.write_text(_STUB)
    subprocess.run([compiler, "-shared", "-fPIC", f"-DINIT={init}", "-o", library, source], check=True)
    return str(library)


def test_the_driver_is_read_through_its_c_interface(tmp_path: Path) -> None:
    driver = read_driver(_stub_driver(tmp_path, init=0))
    assert driver == Driver((12, 4), (Gpu("A100", (8, 0), 42 << 30), Gpu("H200", (9, 0), 141 << 30)))


def test_a_driver_without_a_gpu_is_no_error_and_any_other_failure_is(tmp_path: Path) -> None:
    assert read_driver(_stub_driver(tmp_path, init=100)) == Driver((12, 4), ())
    (tmp_path / "broken").mkdir()
    broken = read_driver(_stub_driver(tmp_path / "broken", init=999))
    assert broken is not None and broken.error == "cuInit failed with CUDA_ERROR_SOMETHING"


def test_a_library_that_is_no_driver_is_told_and_none_is_none() -> None:
    if sys.platform != "linux":
        pytest.skip("needs libc.so.6")
    assert read_driver("libno_such_library.so.1") is None
    wrong = read_driver("libc.so.6")
    assert wrong is not None and "cuDriverGetVersion" in wrong.error


@pytest.mark.gpu
def test_the_driver_of_this_machine_agrees_with_nvidia_smi() -> None:
    description = describe_driver()
    if description is None or not description["gpus"]:
        pytest.skip("no NVIDIA GPU")
    query = ["nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader"]
    lines = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip().splitlines()
    gpus = driver_from(description).gpus
    said = {f"{gpu.name}, {gpu.capability[0]}.{gpu.capability[1]}" for gpu in gpus}
    assert said <= set(lines)
    assert all(gpu.memory > 10**9 for gpu in gpus)


# --- calls in a process of their own


def test_an_answer_comes_back() -> None:
    reply = call_apart("json:loads", '{"a": [1, null]}')
    assert (reply.answer, reply.failure) == ({"a": [1, None]}, "")


def test_death_by_a_signal_is_told_by_its_name() -> None:
    reply = call_apart("signal:raise_signal", int(signal.SIGILL))
    assert reply.answer is None
    assert reply.failure.startswith("killed by SIGILL (")
    assert call_apart("os:abort").failure.startswith("killed by SIGABRT (")


def test_other_ends_are_told_too() -> None:
    assert call_apart("os:_exit", 3).failure == "ended with status 3: nothing was said"
    assert call_apart("sys:exit", "good-bye").failure == "ended with status 1: good-bye"
    assert call_apart("json:loads", "{").failure.startswith("JSONDecodeError: ")
    assert call_apart("no_such_module:f").failure == "ModuleNotFoundError: No module named 'no_such_module'"
    assert call_apart("time:sleep", 60, timeout=0.2).failure == "no answer within 0.2 seconds"


def test_our_own_errors_are_told_by_their_message_alone() -> None:
    failure = call_apart("gluon_nst.doctor.mxnet_check:compute_on", ["gpu:99"]).failure
    assert failure.startswith("device 'gpu:99' was asked for")


# --- the whole


@pytest.fixture(scope="module")
def findings() -> tuple[Finding, ...]:
    return examine()


def test_this_machine_is_usable(findings: tuple[Finding, ...]) -> None:
    assert [finding for finding in findings if finding.state == "problem"] == []
    assert usable(findings)
    topics = {finding.topic for finding in findings}
    expected = {"gluon_nst", "Python", "numpy", "Dask", "MXNet", "CPU", "threads", "memory", "GPU"}
    assert topics >= expected | {"parameters of vgg19", "parameters of vgg16", "temporary files"}


def test_the_versions_are_those_installed(findings: tuple[Finding, ...]) -> None:
    told = " ".join(finding.text for finding in findings)
    for name in ("numpy", "dask", "distributed", "gluon-nst"):
        assert importlib.metadata.version(name) in told
    assert any(finding.topic == "MXNet" and "computes on the CPU" in finding.text for finding in findings)


def test_one_problem_makes_it_unusable_and_the_mapping_is_json() -> None:
    note, problem = Finding("GPU", "note", "none"), Finding("numpy", "problem", "2.0", "older")
    assert usable([note]) and not usable([note, problem])
    assert json.loads(json.dumps(as_mapping([note, problem]))) == {
        "usable": False,
        "findings": [
            {"topic": "GPU", "state": "note", "text": "none", "remedy": ""},
            {"topic": "numpy", "state": "problem", "text": "2.0", "remedy": "older"},
        ],
    }


def _examine_elsewhere(*options: str, path: str) -> list[dict[str, str]]:
    """Run the doctor in another Python and return its findings."""
    code = (
        "import json, sys; from gluon_nst.doctor import as_mapping, examine; "
        "found = as_mapping(examine(['vgg16'])); assert 'mxnet' not in sys.modules; print(json.dumps(found))"
    )
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, *options, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    findings: list[dict[str, str]] = json.loads(done.stdout)["findings"]
    return findings


def test_a_bare_python_is_examined_all_the_same() -> None:
    findings = _examine_elsewhere("-S", path=str(ROOT))  # -S: without any installed package
    problems = {each["topic"]: each for each in findings if each["state"] == "problem"}
    assert set(problems) == {"numpy", "MXNet", "parameters of vgg16"}
    assert problems["MXNet"]["text"] == "not installed"
    assert "numpy" in problems["parameters of vgg16"]["text"]


def test_an_mxnet_that_kills_its_process_is_told_by_the_signal(tmp_path: Path) -> None:
    deadly = "import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n"
    _tree(tmp_path, {"mxnet/__init__.py": deadly})
    findings = _examine_elsewhere(path=os.pathsep.join([str(tmp_path), str(ROOT)]))
    (problem,) = [each for each in findings if each["state"] == "problem"]
    assert problem["topic"] == "MXNet"
    assert "killed by SIGILL" in problem["text"]
