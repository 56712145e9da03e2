"""What NVIDIA's driver tells of the GPUs, through ``libcuda.so.1``, without MXNet or a CUDA toolkit.

Calling `read_driver` initializes the driver in this process, which a broken installation may not survive;
`gluon_nst.probe` can call it in a process of its own.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Driver", "Gpu", "describe_driver", "driver_from", "read_driver"]

# CUdevice_attribute of the CUDA driver API (cuda.h).
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76
# CUDA_ERROR_NO_DEVICE: the driver is well, but there is no GPU, or CUDA_VISIBLE_DEVICES hides it.
_NO_DEVICE = 100


@dataclass(frozen=True)
class Gpu:
    """One GPU: name, compute capability (major, minor), memory in bytes, and address on the PCI bus if known."""

    name: str
    capability: tuple[int, int]
    memory: int
    bus: str = ""


@dataclass(frozen=True)
class Driver:
    """The driver: the newest CUDA (major, minor) it can run, its GPUs, and what went wrong, if anything."""

    cuda: tuple[int, int]
    gpus: tuple[Gpu, ...]
    error: str = ""


class _DriverError(Exception):
    """A call of the driver that failed."""


def read_driver(library: str = "libcuda.so.1") -> Driver | None:
    """Ask the driver for its GPUs, in the order in which CUDA numbers them.

    Parameters
    ----------
    library
        Name or path of the driver's library.

    Returns
    -------
    Driver or None
        None if there is no such library. A library that does not do its work is told in `error`.
    """
    try:
        cuda = ctypes.CDLL(library)
    except OSError:
        return None
    try:
        return _ask(cuda)
    except (_DriverError, AttributeError) as error:  # AttributeError: a stand-in that lacks functions
        return Driver((0, 0), (), str(error))


def describe_driver() -> dict[str, Any] | None:
    """Return `read_driver()` as a mapping of plain values, to be sent as JSON."""
    driver = read_driver()
    if driver is None:
        return None
    return {"cuda": driver.cuda, "gpus": [asdict(gpu) for gpu in driver.gpus], "error": driver.error}


def driver_from(description: Mapping[str, Any]) -> Driver:
    """Return the driver that `describe_driver` described."""
    gpus = [Gpu(**{**gpu, "capability": _pair(gpu["capability"])}) for gpu in description["gpus"]]
    return Driver(_pair(description["cuda"]), tuple(gpus), description["error"])


def _pair(numbers: list[int]) -> tuple[int, int]:
    major, minor = numbers
    return major, minor


def _ask(cuda: ctypes.CDLL) -> Driver:
    version = _version(_number(cuda, "cuDriverGetVersion"))
    status = cuda.cuInit(0)
    if status == _NO_DEVICE:
        return Driver(version, ())
    _check(cuda, "cuInit", status)
    count = _number(cuda, "cuDeviceGetCount")
    return Driver(version, tuple(_gpu(cuda, index) for index in range(count)))


def _version(number: int) -> tuple[int, int]:
    """Split 12040 into (12, 4)."""
    return number // 1000, number % 1000 // 10


def _gpu(cuda: ctypes.CDLL, index: int) -> Gpu:
    device = _number(cuda, "cuDeviceGet", ctypes.c_int(index))
    name = ctypes.create_string_buffer(256)
    _check(cuda, "cuDeviceGetName", cuda.cuDeviceGetName(name, ctypes.c_int(len(name)), ctypes.c_int(device)))
    major, minor = (
        _number(cuda, "cuDeviceGetAttribute", ctypes.c_int(attribute), ctypes.c_int(device))
        for attribute in (_CAPABILITY_MAJOR, _CAPABILITY_MINOR)
    )
    memory = _number(cuda, "cuDeviceTotalMem_v2", ctypes.c_int(device), kind=ctypes.c_size_t)
    return Gpu(name.value.decode(errors="replace"), (major, minor), memory, _bus(cuda, device))


def _bus(cuda: ctypes.CDLL, device: int) -> str:
    """Return a GPU's address on the PCI bus, as "0000:3B:00.0"; empty if the driver does not tell."""
    address = ctypes.create_string_buffer(16)
    function = getattr(cuda, "cuDeviceGetPCIBusId", None)
    if function is None or function(address, ctypes.c_int(len(address)), ctypes.c_int(device)):
        return ""
    return address.value.decode()


def _number(cuda: ctypes.CDLL, function: str, *arguments: Any, kind: Callable[[], Any] = ctypes.c_int) -> int:
    """Call a function of the driver that writes one number through its first argument."""
    result = kind()
    _check(cuda, function, getattr(cuda, function)(ctypes.byref(result), *arguments))
    return int(result.value)


def _check(cuda: ctypes.CDLL, function: str, status: int) -> None:
    if status:
        name = ctypes.c_char_p()
        known = cuda.cuGetErrorName(ctypes.c_int(status), ctypes.byref(name)) == 0
        told = (name.value or b"").decode() if known else f"error {status}"
        raise _DriverError(f"{function} failed with {told}")
