"""From facts about a machine to findings: what is well, what is worth knowing, what must be mended and how.

Pure functions; `gluon_nst.doctor` gathers the facts.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from gluon_nst.cuda_libraries import LIBRARIES, SYSTEM_LIBRARIES
from gluon_nst.gpu_driver import Driver, Gpu
from gluon_nst.machine import usable_cores

__all__ = [
    "Finding",
    "chip_finding",
    "cpu_finding",
    "dask_finding",
    "distribution_findings",
    "driver_finding",
    "library_findings",
    "memory_finding",
    "mxnet_finding",
    "numpy_finding",
    "python_finding",
    "scratch_finding",
    "threads_finding",
]

_CPU_LINE = "pip install 'gluon-nst[cpu]'"
_GPU_LINE = "pip install 'gluon-nst[cu112]'"
# The wheels mxnet-cu112 to cu117 1.9.1 hold machine code for sm_50, 60, 70, 80 and 86 (cuobjdump), which runs
# on every chip of the same major version, and no PTX, from which a driver could make code for later ones.
_WHEEL_MAJORS = (5, 6, 7, 8)
_NO_WHEEL = (
    "NVIDIA's own MXNet container (nvcr releases 24.05 and 24.06: MXNet 1.9.1, Python 3.10), or --device cpu"
)
# CUDA 11's programs run on every driver from 11.0 on (NVIDIA, "CUDA Compatibility", minor versions).
_OLDEST_CUDA = (11, 0)
# A 512x512 image: 3.1 KB per pixel and 0.5 GB for the process, as the stylizer reckons.
_LITTLE_MEMORY = 1.3e9
# Dask's workers, and uploads, keep their files there; a large photograph takes some hundred megabytes.
_LITTLE_SCRATCH = 1e9


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    topic
        What was looked at: "Python", "GPU", ...
    state
        "ok"; "note", worth knowing, but nothing is broken; "problem", gluon_nst cannot do its work so.
    text
        What was found, in one line.
    remedy
        What to do about it; empty if nothing.
    """

    topic: str
    state: str
    text: str
    remedy: str = ""


def python_finding(version: tuple[int, ...]) -> Finding:
    """Judge Python's version (major, minor, ...)."""
    text = ".".join(str(part) for part in version[:3])
    if (3, 10) <= version[:2] <= (3, 12):
        return Finding("Python", "ok", text)
    return Finding("Python", "problem", f"{text} is not supported", "use Python 3.10, 3.11 or 3.12")


def numpy_finding(version: str | None) -> Finding:
    """Judge numpy's version; None: not installed."""
    remedy = "pip install 'numpy>=1.23,<2'"
    if version is None:
        return Finding("numpy", "problem", "not installed", remedy)
    if int(version.split(".")[0]) >= 2:
        return Finding("numpy", "problem", f"{version}, with which MXNet does not load", remedy)
    return Finding("numpy", "ok", version)


def dask_finding(dask: str | None, distributed: str | None) -> Finding:
    """Judge the versions of dask and distributed, which are released together; None: not installed."""
    remedy = "pip install --upgrade dask distributed"
    absent = [name for name, version in (("dask", dask), ("distributed", distributed)) if version is None]
    if absent:
        text = f"{' and '.join(absent)} not installed: no batches over several workers"
        return Finding("Dask", "note", text, remedy)
    text = f"dask {dask}, distributed {distributed}"
    if dask != distributed:
        return Finding("Dask", "note", f"{text}: only the same versions are made for one another", remedy)
    return Finding("Dask", "ok", text)


def distribution_findings(installed: Mapping[str, str], importable: bool) -> tuple[Finding, ...]:
    """Judge the distributions of MXNet that are installed.

    Parameters
    ----------
    installed
        Name ("mxnet", "mxnet-cu112", ...) -> version.
    importable
        Whether there is a module `mxnet` at all.
    """
    names = sorted(installed)
    if len(names) > 1:
        text = f"{' and '.join(names)} are installed and overwrite each other's files"
        remedy = f"pip uninstall {' '.join(names)}; then {_line_for(names)}"
        return (Finding("MXNet", "problem", text, remedy),)
    if not names and importable:
        return (Finding("MXNet", "note", "a build of its own, which no Python package claims"),)
    if not names:
        return (Finding("MXNet", "problem", "not installed", f"{_CPU_LINE}, or with a GPU: {_GPU_LINE}"),)
    return (Finding("MXNet", "ok", f"{names[0]} {installed[names[0]]} is installed"),)


def mxnet_finding(version: str, failure: str, installed: Mapping[str, str]) -> Finding:
    """Judge MXNet's first computation on the CPU.

    Parameters
    ----------
    version
        Its version, as it says itself.
    failure
        How it failed; empty if it did not.
    installed
        As for `distribution_findings`.
    """
    if not failure:
        return Finding("MXNet", "ok", f"{version} loads and computes on the CPU")
    # What the backend's message says of the doctor is for other readers.
    text = f"does not work: {failure.partition(' `gluon-nst doctor`')[0]}"
    return Finding("MXNet", "problem", text, _mxnet_remedy(failure, installed))


def _mxnet_remedy(failure: str, installed: Mapping[str, str]) -> str:
    if "SIGILL" in failure:  # seen when oneDNN is told of instructions that the kernel has not enabled
        return "unset DNNL_MAX_CPU_ISA and OPENBLAS_CORETYPE"
    if "cannot load a library" in failure and _cuda_wheel(installed):
        return "see what GPU and CUDA libraries say below"
    names = " ".join(f"{name}=={version}" for name, version in sorted(installed.items()))
    return f"pip install --force-reinstall --no-deps {names}" if len(installed) == 1 else ""


def cpu_finding(
    model: str, cores: int, quota: float | None, sets: Collection[str], precision: str
) -> Finding:
    """Tell the processor, the cores that may be used, and what its instruction sets are used for.

    Parameters
    ----------
    quota
        Cores' worth of time that the control group allows, None without a limit.
    precision
        In which features are computed; empty if MXNet could not tell.
    """
    limit = "" if quota is None else f", limited to {quota:g} by the control group"
    offers = f"offers {', '.join(sets)}" if sets else "offers none of avx2, avx512, amx_bf16"
    used = f"; features are computed in {precision}" if precision else ""
    return Finding("CPU", "ok", f"{model}, {_count(cores, 'core')} usable{limit}; {offers}{used}")


def threads_finding(setting: str, cores: int, quota: float | None) -> Finding:
    """Judge the number of threads, as OMP_NUM_THREADS says it, against the cores.

    MXNet with more threads than cores spends its time waiting; with fewer it leaves cores idle, which is
    right where several workers share the machine.
    """
    best = usable_cores(cores, quota)
    remedy = f"export OMP_NUM_THREADS={best}"
    first = setting.split(",")[0].strip()
    if not first.isdigit() or int(first) < 1:
        return Finding("threads", "note", f"OMP_NUM_THREADS is {setting!r}, no number of threads", remedy)
    threads = int(first)
    text = f"{_count(threads, 'thread')} of computation for {_count(best, 'core')}"
    if threads > best:
        return Finding("threads", "note", f"{text}: they wait for one another", remedy)
    if threads < best:
        return Finding("threads", "note", f"{text}: fine beside other workers, slow alone", remedy)
    return Finding("threads", "ok", text)


def memory_finding(available: int | None) -> Finding:
    """Judge the bytes of memory that are free; None: not known."""
    if available is None:
        return Finding("memory", "note", "how much is free cannot be told here")
    text = f"{available / 1e9:.1f} GB free"
    if available < _LITTLE_MEMORY:
        remedy = "free some memory, raise the limit of the container or job, or use a smaller --size"
        return Finding("memory", "note", f"{text}: too little for 512x512 pixels", remedy)
    return Finding("memory", "ok", text)


def scratch_finding(folder: str, free: int | None) -> Finding:
    """Judge the free bytes of the folder for temporary files; None: it cannot be used."""
    remedy = "set TMPDIR to a folder with room"
    if free is None:
        return Finding("temporary files", "problem", f"{folder} cannot be written to", remedy)
    text = f"{free / 1e9:.1f} GB free in {folder}"
    if free < _LITTLE_SCRATCH:
        return Finding("temporary files", "note", text, remedy)
    return Finding("temporary files", "ok", text)


def driver_finding(driver: Driver | None, installed: Collection[str]) -> Finding:
    """Judge NVIDIA's driver, None without one, against the distributions of MXNet that are installed."""
    wheel = _cuda_wheel(installed)
    if driver is None:
        return _no_driver(wheel)
    if driver.error:
        remedy = "mend or reinstall NVIDIA's driver; `nvidia-smi` must work"
        text = f"NVIDIA's driver does not work: {driver.error}"
        return Finding("GPU", "problem" if wheel else "note", text, remedy)
    text = f"NVIDIA's driver runs CUDA up to {driver.cuda[0]}.{driver.cuda[1]}"
    if not driver.gpus:
        remedy = "see that CUDA_VISIBLE_DEVICES hides none, and that the job or container was given one"
        return Finding("GPU", "note", f"{text}, but shows no GPU; the CPU will be used", remedy)
    if wheel and driver.cuda < _OLDEST_CUDA:
        return Finding("GPU", "problem", f"{text}; {wheel} needs 11.0", "install a newer NVIDIA driver")
    return Finding("GPU", "ok", text)


def _no_driver(wheel: str) -> Finding:
    if not wheel:
        return Finding("GPU", "note", "no NVIDIA driver; the CPU will be used")
    remedy = f"install NVIDIA's driver, or: pip uninstall {wheel}; then {_CPU_LINE}"
    return Finding("GPU", "problem", f"no NVIDIA driver, without which {wheel} does not load", remedy)


def chip_finding(gpu: Gpu, installed: Collection[str], own_build: bool = False) -> Finding:
    """Judge whether the MXNet that is installed can compute on a GPU.

    Parameters
    ----------
    gpu
        The GPU.
    installed
        Names of the distributions of MXNet.
    own_build
        Whether MXNet is built for GPUs without being one of the wheels, as in NVIDIA's container; which
        chips such a build has code for only a computation can show.
    """
    major, minor = gpu.capability
    chip = f"{gpu.name} (compute capability {major}.{minor}, {gpu.memory / 1e9:.0f} GB)"
    wheel = _cuda_wheel(installed)
    if major not in _WHEEL_MAJORS and not own_build:
        remedy = _NO_WHEEL if major > _WHEEL_MAJORS[-1] else "--device cpu"
        text = f"{chip}: no MXNet wheel has code for it"
        return Finding("GPU", "problem" if wheel else "note", text, remedy)
    if wheel or own_build:
        return Finding("GPU", "ok", chip)
    uninstall = f"pip uninstall {' '.join(sorted(installed))}; then " if installed else ""
    return Finding("GPU", "note", f"{chip} lies idle: this MXNet is for CPUs only", f"{uninstall}{_GPU_LINE}")


def library_findings(missing: Collection[str]) -> tuple[Finding, ...]:
    """Judge the CUDA libraries, of which the sonames in `missing` were not found: one finding for each."""
    if not missing:
        return (Finding("CUDA libraries", "ok", "all are here"),)
    return tuple(
        Finding("CUDA libraries", "problem", f"{soname} is missing", _library_line(soname))
        for soname in missing
    )


def _library_line(soname: str) -> str:
    if soname in SYSTEM_LIBRARIES:
        return f"apt install {SYSTEM_LIBRARIES[soname]}"
    return f"pip install '{LIBRARIES[soname]}'"


def _cuda_wheel(installed: Collection[str]) -> str:
    """Return the name of the MXNet wheel for GPUs; empty if there is none."""
    return next((name for name in sorted(installed) if re.match(r"mxnet-cu\d", name)), "")


def _line_for(names: Collection[str]) -> str:
    return _GPU_LINE if _cuda_wheel(names) else _CPU_LINE


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"
