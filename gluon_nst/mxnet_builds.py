"""Which builds of MXNet pip has installed, found without loading one, and the lines that install them."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

__all__ = [
    "CPU_LINE",
    "GPU_LINE",
    "clash",
    "clash_remedy",
    "cuda_wheel",
    "importable",
    "installed_builds",
    "reinstall_line",
]

CPU_LINE = "pip install 'gluon-nst[cpu]'"
GPU_LINE = "pip install 'gluon-nst[cu112]'"

# The folder in which pip keeps what it knows of a distribution: "mxnet_cu112-1.9.1.dist-info".
_RECORD = re.compile(r"(mxnet(?:_(?:cu\d+(?:mkl)?|mkl|native))?)-([^-]+)(?:-py[\d.]+)?\.(?:dist|egg)-info")


def importable() -> bool:
    """Return whether there is a module `mxnet`, whether or not it loads."""
    return _module_folder() is not None


def installed_builds() -> dict[str, str]:
    """Return the distributions that provide the module `mxnet`: name -> version.

    Returns
    -------
    dict
        Those beside the module that would be imported; none of them is its own build's, such as the one in
        NVIDIA's container may be. Without such a module: those that pip knows all the same.
    """
    module = _module_folder()
    folders = [Path(folder) for folder in sys.path] if module is None else [module]
    records = (_RECORD.fullmatch(entry.name) for folder in folders for entry in folder.glob("mxnet*-info"))
    return {record[1].replace("_", "-"): record[2] for record in records if record}


def cuda_wheel(names: Collection[str]) -> str:
    """Return the name of the MXNet wheel for GPUs; empty if there is none."""
    return next((name for name in sorted(names) if re.match(r"mxnet-cu\d", name)), "")


def clash(names: Collection[str]) -> str:
    """Return what is wrong with several builds in one folder; empty if there are not several."""
    if len(names) < 2:
        return ""
    return f"{' and '.join(sorted(names))} are installed and overwrite each other's files"


def clash_remedy(names: Collection[str]) -> str:
    """Return the lines that leave one build of several: that for GPUs, which was asked for besides."""
    line = GPU_LINE if cuda_wheel(names) else CPU_LINE
    return f"pip uninstall {' '.join(sorted(names))}; then {line}"


def reinstall_line(builds: Mapping[str, str]) -> str:
    """Return the line that brings the files of builds (name -> version) back, which pip takes for installed."""
    pins = " ".join(f"{name}=={version}" for name, version in sorted(builds.items()))
    return f"pip install --force-reinstall --no-deps {pins}"


def _module_folder() -> Path | None:
    """Return the folder that holds the package `mxnet`; None without one that has any code."""
    spec = importlib.util.find_spec("mxnet")
    return Path(spec.origin).parents[1] if spec is not None and spec.origin else None
