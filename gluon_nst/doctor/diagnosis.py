"""From facts about a machine to findings: what is well, what is worth knowing, what must be mended and how.

Pure functions; `gluon_nst.doctor` gathers the facts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from gluon_nst.machine import usable_cores
from gluon_nst.mxnet_builds import CPU_LINE, GPU_LINE, clash, clash_remedy, cuda_wheel, reinstall_line

__all__ = [
    "Finding",
    "cpu_finding",
    "dask_finding",
    "distribution_findings",
    "memory_finding",
    "mxnet_finding",
    "numpy_finding",
    "python_finding",
    "scratch_finding",
    "threads_finding",
]

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
        return (Finding("MXNet", "problem", clash(names), clash_remedy(names)),)
    if not names and importable:
        return (Finding("MXNet", "note", "a build of its own, which no Python package claims"),)
    if not names:
        return (Finding("MXNet", "problem", "not installed", f"{CPU_LINE}, or with a GPU: {GPU_LINE}"),)
    text = f"{names[0]} {installed[names[0]]}"
    if not importable:  # another build's removal takes the files of both with it
        text = f"{text} is installed, but its files are gone"
        return (Finding("MXNet", "problem", text, reinstall_line(installed)),)
    return (Finding("MXNet", "ok", f"{text} is installed"),)


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
    if "cannot load a library" in failure and cuda_wheel(installed):
        return "see what GPU and CUDA libraries say below"
    return reinstall_line(installed) if len(installed) == 1 else ""


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


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"
