"""Before MXNet is imported: what a build for GPUs needs; after it failed: what is missing and how to get it."""

from __future__ import annotations

import os

from gluon_nst.cuda_libraries import library_remedy, load_libraries, missing_libraries, soname_in
from gluon_nst.errors import BackendError
from gluon_nst.fusion import fusion_trouble
from gluon_nst.mxnet_builds import (
    CPU_LINE,
    GPU_LINE,
    clash,
    clash_remedy,
    cuda_wheel,
    installed_builds,
    reinstall_line,
)

__all__ = ["loading_error", "missing_error", "prepare_cuda"]

_DRIVER = "libcuda.so.1"


def prepare_cuda() -> None:
    """Give a wheel for GPUs what it does not bring; with any other build, look into one folder and be done.

    Raises
    ------
    BackendError
        If two builds lie over one another.
    """
    builds = installed_builds()
    if clash(builds):
        raise BackendError(f"{clash(builds)}: {clash_remedy(builds)}")
    if cuda_wheel(builds):
        load_libraries()
        if any(fusion_trouble()):
            os.environ.setdefault("MXNET_USE_FUSION", "0")


def loading_error(error: OSError) -> BackendError:
    """Return the error that says which library the loader did not find or take, and how to get it."""
    remedy = _remedy(soname_in(str(error)), cuda_wheel(installed_builds()))
    told = f"MXNet cannot load a library: {error}.{remedy}"
    return BackendError(f"{told} `gluon-nst doctor` tells what is missing and how to get it.")


def missing_error() -> BackendError:
    """Return the error that says how to get an MXNet, where there is none to import."""
    builds = installed_builds()
    if not builds:
        line = f"On a machine without a GPU: {CPU_LINE}; with one: {GPU_LINE}."
        return BackendError(f"MXNet is not installed. {line}")
    return BackendError(f"The files of {', '.join(sorted(builds))} are gone: {reinstall_line(builds)}")


def _remedy(soname: str, wheel: str) -> str:
    if soname == _DRIVER:
        instead = f", or: pip uninstall {wheel}; then {CPU_LINE}" if wheel else ""
        return f" There is no NVIDIA driver: install it{instead}."
    # The loader names one library, which may be here and lack another one itself.
    missing = missing_libraries() if wheel else [soname]
    lines = dict.fromkeys(filter(None, map(library_remedy, missing)))
    return f" What is missing comes with: {'; '.join(lines)}." if lines else ""
