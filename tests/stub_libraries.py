"""Small shared libraries, compiled where a test needs a driver or a CUDA library that this machine lacks."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

# What MXNet's wheel for CUDA 11.2 takes from libcuda (nm -D), and what the doctor asks, of a driver for
# CUDA 11.2 that sees no GPU.
DRIVER = r"""
#define NO_DEVICE 100
int cuInit(unsigned flags) { return NO_DEVICE; }
int cuDriverGetVersion(int *v) { *v = 11020; return 0; }
#define STUB(name) int name(void) { return NO_DEVICE; }
STUB(cuDeviceGet) STUB(cuDevicePrimaryCtxRetain) STUB(cuGetErrorString) STUB(cuGraphKernelNodeGetParams)
STUB(cuGraphNodeGetType) STUB(cuLaunchKernel) STUB(cuModuleGetFunction) STUB(cuModuleLoadData)
STUB(cuModuleLoadDataEx) STUB(cuModuleUnload)
"""


def compile_library(path: Path, source: str = "", needed: Sequence[Path] = ()) -> Path:
    """Compile C into a library whose soname is its file's name, and which needs others.

    Without a C compiler the test is skipped.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    path.parent.mkdir(parents=True, exist_ok=True)
    options = ["-shared", "-fPIC", f"-Wl,-soname,{path.name}", "-Wl,--no-as-needed"]
    # Needed by soname only: where they lie is for the loader to find.
    command = [compiler, *options, "-o", path, "-x", "c", "-", "-x", "none", *needed]
    subprocess.run(command, input=source, text=True, check=True, capture_output=True)
    return path
