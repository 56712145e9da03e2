"""The CUDA libraries that the mxnet-cu112 wheel needs and does not bring: where they are, and loading them."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from pathlib import Path

__all__ = [
    "LIBRARIES",
    "SYSTEM_LIBRARIES",
    "library_file",
    "library_remedy",
    "load_libraries",
    "missing_libraries",
    "soname_in",
]

# Read from the wheel's libmxnet.so (readelf -d, mxnet-cu112 1.9.1); libcusolver asks for libcusparse besides.
# The pins are late releases for CUDA 11 that keep these sonames: cuDNN must stay below 9, and nvrtc's soname
# is 11.2 up to CUDA 11.8. In this order they can be loaded one by one, each after those it needs itself.
# The extra `cu112` of this package brings the same.
LIBRARIES: dict[str, str] = {
    "libcudart.so.11.0": "nvidia-cuda-runtime-cu11==11.8.89",
    "libnvToolsExt.so.1": "nvidia-nvtx-cu11==11.8.86",
    "libnvrtc.so.11.2": "nvidia-cuda-nvrtc-cu11==11.8.89",
    "libcublasLt.so.11": "nvidia-cublas-cu11==11.11.3.6",
    "libcublas.so.11": "nvidia-cublas-cu11==11.11.3.6",
    "libcufft.so.10": "nvidia-cufft-cu11==10.9.0.58",
    "libcurand.so.10": "nvidia-curand-cu11==10.3.0.86",
    "libcusparse.so.11": "nvidia-cusparse-cu11==11.7.5.86",
    "libcusolver.so.11": "nvidia-cusolver-cu11==11.4.1.48",
    "libnccl.so.2": "nvidia-nccl-cu11==2.21.5",
    "libcudnn.so.8": "nvidia-cudnn-cu11==8.9.6.50",
}
"""Soname -> the package on the Python index that brings it."""

SYSTEM_LIBRARIES: dict[str, str] = {
    "libquadmath.so.0": "libquadmath0",
    "libgomp.so.1": "libgomp1",
    "libz.so.1": "zlib1g",
}
"""Soname -> the Debian and Ubuntu package that brings it."""


def library_file(soname: str) -> Path | None:
    """Return where a library of NVIDIA's Python packages lies, or None if it does not."""
    for folder in sys.path:
        found = sorted(Path(folder).glob(f"nvidia/*/lib/{soname}"))
        if found:
            return found[0]
    return None


def load_libraries() -> None:
    """Load what NVIDIA's Python packages bring, so that MXNet loads without LD_LIBRARY_PATH.

    The loader takes a library that the process has already, known by its soname, before it searches. What is
    not there, or does not load, is passed over: the loader may find it elsewhere, and if it does not, MXNet's
    import says so.
    """
    for soname in LIBRARIES:
        path = library_file(soname)
        if path is not None:
            with contextlib.suppress(OSError):
                ctypes.CDLL(str(path))


def missing_libraries() -> dict[str, str]:
    """Return soname -> the loader's words for each library that cannot be loaded.

    Tried are NVIDIA's Python packages first, then the places of the system's loader. What can be loaded is
    loaded into this process.
    """
    failures: dict[str, str] = {}
    for soname in (*SYSTEM_LIBRARIES, *LIBRARIES):
        try:
            ctypes.CDLL(str(library_file(soname) or soname))
        except OSError as error:
            # The culprit may be one that this library needs itself.
            failures.setdefault(soname_in(str(error)), str(error).partition(": ")[2])
    return failures


def soname_in(message: str) -> str:
    """Return the soname in a message of the loader: "libx.so.1: cannot open ...", or a path for the soname."""
    return Path(message.partition(":")[0]).name


def library_remedy(soname: str) -> str:
    """Return the line that installs a library; empty if it is none of those above."""
    if soname in LIBRARIES:
        return f"pip install '{LIBRARIES[soname]}'"
    return f"apt install {SYSTEM_LIBRARIES[soname]}" if soname in SYSTEM_LIBRARIES else ""
