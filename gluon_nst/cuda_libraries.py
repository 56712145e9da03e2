"""The CUDA libraries that the mxnet-cu112 wheel needs and does not bring, and whether they are here."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

__all__ = ["LIBRARIES", "SYSTEM_LIBRARIES", "library_file", "missing_libraries"]

# Read from the wheel's libmxnet.so (readelf -d, mxnet-cu112 1.9.1); libcusolver asks for libcusparse besides.
# The pins are late releases for CUDA 11 that keep these sonames: cuDNN must stay below 9, and nvrtc's soname
# is 11.2 up to CUDA 11.8. In this order they can be loaded one by one, each after those it needs itself.
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


def missing_libraries() -> list[str]:
    """Return the sonames that neither NVIDIA's Python packages nor the system's loader has.

    Those that the loader finds are loaded into this process on the way.
    """
    sonames = (*LIBRARIES, *SYSTEM_LIBRARIES)
    return [soname for soname in sonames if library_file(soname) is None and not _loads(soname)]


def _loads(soname: str) -> bool:
    try:
        ctypes.CDLL(soname)
    except OSError:
        return False
    return True
