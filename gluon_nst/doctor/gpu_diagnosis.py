"""From facts about GPUs to findings: the driver, each chip, and the CUDA libraries. Pure functions."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from gluon_nst.cuda_libraries import library_remedy
from gluon_nst.doctor.diagnosis import Finding
from gluon_nst.gpu_driver import Driver, Gpu
from gluon_nst.mxnet_builds import CPU_LINE, GPU_LINE, cuda_wheel

__all__ = ["chip_finding", "driver_finding", "fusion_finding", "library_findings", "wheel_has_code"]

# The wheels mxnet-cu112 to cu117 1.9.1 hold machine code for sm_50, 60, 70, 80 and 86 (cuobjdump), which runs
# on every chip of the same major version, and no PTX, from which a driver could make code for later ones.
_WHEEL_MAJORS = (5, 6, 7, 8)
_NO_WHEEL = (
    "NVIDIA's own MXNet container, 24.05 or 24.06 (MXNet 1.9.1 for Hopper, Python 3.10; docs/gpu.md), "
    "or --device cpu"
)
# Programs of CUDA 11.2 and 11.8 run on every driver from 11.0, which is 450.80, on (NVIDIA, "CUDA
# Compatibility", minor version compatibility). What NVRTC compiles asks for more: `fusion`.
_OLDEST_CUDA, _OLDEST_DRIVER = (11, 0), "450.80"


def driver_finding(driver: Driver | None, installed: Collection[str]) -> Finding:
    """Judge NVIDIA's driver, None without one, against the distributions of MXNet that are installed."""
    wheel = cuda_wheel(installed)
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
        remedy = f"install NVIDIA's driver {_OLDEST_DRIVER} or newer, or --device cpu"
        return Finding("GPU", "problem", f"{text}; {wheel} (CUDA 11) needs 11.0 or more", remedy)
    return Finding("GPU", "ok", text)


def _no_driver(wheel: str) -> Finding:
    if not wheel:
        return Finding("GPU", "note", "no NVIDIA driver; the CPU will be used")
    remedy = f"install NVIDIA's driver, or: pip uninstall {wheel}; then {CPU_LINE}"
    return Finding(
        "GPU", "problem", f"no NVIDIA driver (libcuda.so.1), without which {wheel} does not load", remedy
    )


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
    wheel = cuda_wheel(installed)
    if not wheel_has_code(gpu) and not own_build:
        remedy = _NO_WHEEL if major > _WHEEL_MAJORS[-1] else "--device cpu"
        text = f"{chip}: no MXNet wheel has code for it"
        return Finding("GPU", "problem" if wheel else "note", text, remedy)
    if wheel or own_build:
        return Finding("GPU", "ok", chip)
    uninstall = f"pip uninstall {' '.join(sorted(installed))}; then " if installed else ""
    return Finding("GPU", "note", f"{chip} lies idle: no MXNet for GPUs is here", f"{uninstall}{GPU_LINE}")


def wheel_has_code(gpu: Gpu) -> bool:
    """Return whether the wheels of MXNet 1.9.1 for CUDA 11 have code that runs on a GPU."""
    return gpu.capability[0] in _WHEEL_MAJORS


def library_findings(missing: Mapping[str, str]) -> tuple[Finding, ...]:
    """Judge the CUDA libraries, of which those in `missing` do not load (soname -> why): a finding for each."""
    if not missing:
        return (Finding("CUDA libraries", "ok", "all are here"),)
    return tuple(
        Finding("CUDA libraries", "problem", f"{soname} does not load: {why}", library_remedy(soname))
        for soname, why in missing.items()
    )


def fusion_finding(trouble: str, remedy: str, setting: str | None) -> Finding:
    """Judge whether MXNet may fuse element-wise operations.

    Parameters
    ----------
    trouble, remedy
        As `gluon_nst.fusion.fusion_trouble` returns them.
    setting
        What MXNET_USE_FUSION was set to by the user, None if it was not.
    """
    if not trouble:
        return Finding("fusion", "ok", "element-wise operations can be compiled for this GPU")
    if setting in (None, "0"):
        return Finding("fusion", "note", f"{trouble}; it is off (MXNET_USE_FUSION=0)", remedy)
    text = f"{trouble}, but MXNET_USE_FUSION={setting}: MXNet will end the process"
    return Finding("fusion", "problem", text, f"unset MXNET_USE_FUSION, or: {remedy}")
