"""The one module that says ``import mxnet``: what must be set before, what must be mended, what it can do.

Importing this module loads MXNet. Its faults that concern style transfer are closed here or named where
they are closed: ``features`` (train-mode pooling), ``gram`` (one-by-one convolutions).
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import types
import warnings
from collections.abc import Iterator
from typing import Any

import numpy

from gluon_nst.allocator import keep_large_blocks, map_large_blocks, return_free_blocks
from gluon_nst.bfloat16 import allow_amx
from gluon_nst.cuda_build import loading_error, missing_error, prepare_cuda
from gluon_nst.errors import BackendError, DeviceError, OutOfMemoryError, did_you_mean
from gluon_nst.machine import cpu_cores, cpu_quota, instruction_sets, usable_cores
from gluon_nst.primitives import at_work, drop_primitives

__all__ = [
    "FLOAT_TYPES",
    "as_float32",
    "cast_like",
    "context",
    "expect_new_shape",
    "free_gpu_memory",
    "gluon",
    "gpu_count",
    "is_float32",
    "mx",
    "nd",
    "release_memory",
    "settle_memory",
    "to_ndarray",
    "translate_errors",
    "version",
]


def _prepare_environment() -> None:
    """Set what MXNet reads once, when it is loaded; values of the user's own are kept."""
    keep_large_blocks()
    allow_amx()
    # MXNet takes half of the cores when nothing is set (it reckons with hyper-threads): 1.7 to 2 times slower.
    os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores(cpu_cores(), cpu_quota())))
    if "avx2" in instruction_sets():
        # Its OpenBLAS 0.3.13 takes newer CPUs for an SSE3 machine: matrix products 2 to 4.5 times slower.
        os.environ.setdefault("OPENBLAS_CORETYPE", "Haswell")
    # Operators take turns with four workspaces, each as large as the largest that was asked of it, though they run one
    # after the other. With one, a process at 1024x768 took 170 to 290 MB less, and steps as long as before.
    os.environ.setdefault("MXNET_CPU_TEMP_COPY", "1")
    # "lib mismatch" notes of cuDNN 8 minors, which are compatible.
    os.environ.setdefault("MXNET_CUDNN_LIB_CHECKING", "0")
    # cudnnFind costs seconds for each new shape, more than the hundred steps that a shape is used for.
    os.environ.setdefault("MXNET_CUDNN_AUTOTUNE_DEFAULT", "0")
    # Blocks of rounded sizes serve the next image size too; "Naive" reuses only what fits to the byte
    # (MXNet's env_var.md).
    os.environ.setdefault("MXNET_GPU_MEM_POOL_TYPE", "Round")


@contextlib.contextmanager
def _numpy_aliases() -> Iterator[None]:
    """Give numpy 1.24 and later the type names back that MXNet 1.9.1 looks up when it is imported."""
    types_of = {kind.__name__: kind for kind in (bool, int, float, object, str, complex)}
    missing = [name for name in types_of if name not in numpy.__dict__]
    for name in missing:
        setattr(numpy, name, types_of[name])
    try:
        yield
    finally:
        for name in missing:
            delattr(numpy, name)


@contextlib.contextmanager
def _distutils_versions() -> Iterator[None]:
    """Stand in for ``distutils.version``, gone from Python 3.12, while MXNet is imported.

    MXNet compares numpy's version with 1.x ones through it, which tuples of numbers do as well.
    """
    if importlib.util.find_spec("distutils") is not None:
        yield
        return

    class Version(tuple[int, ...]):
        def __new__(cls, text: str) -> Version:
            return super().__new__(cls, (int(part) for part in text.split(".")[:3] if part.isdigit()))

    module = types.ModuleType("distutils.version")
    module.__dict__.update(StrictVersion=Version, LooseVersion=Version)
    package = types.ModuleType("distutils")
    package.__dict__.update(version=module)
    stand_ins = {"distutils": package, "distutils.version": module}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name in stand_ins:
            sys.modules.pop(name, None)


def _import_mxnet() -> Any:
    _prepare_environment()
    prepare_cuda()
    try:
        with warnings.catch_warnings(), _numpy_aliases(), _distutils_versions():
            warnings.simplefilter("ignore")
            import mxnet
    except ModuleNotFoundError as error:
        if error.name != "mxnet":
            raise BackendError(
                f"MXNet needs the module {error.name!r}, which is missing: pip install {error.name}"
            ) from error
        raise missing_error() from error
    except OSError as error:
        raise loading_error(error) from error
    return mxnet


mx: Any = _import_mxnet()
nd: Any = mx.nd
gluon: Any = mx.gluon
autograd: Any = mx.autograd

# Makes an NDArray of a dense numpy array. MXNet's own `nd.array` first looks for sparse ones through a name that
# SciPy has deprecated and will remove.
to_ndarray: Any = mx.ndarray.ndarray.array


FLOAT_TYPES: dict[str, Any] = {
    "float32": numpy.dtype("float32"),
    "bfloat16": numpy.dtype([("bfloat16", numpy.uint16)]),  # MXNet's name for it
}
"""Precision -> type of an NDArray."""


def is_float32(array: Any) -> bool:
    """Return whether an NDArray is float32."""
    return bool(array.dtype == FLOAT_TYPES["float32"])


def as_float32(array: Any) -> Any:
    """Return an NDArray as float32: itself, if it is."""
    return array if is_float32(array) else nd.amp_cast(array, dtype="float32")


def cast_like(array: Any, other: Any) -> Any:
    """Return an NDArray in the type of another one: itself, if it is of that type."""
    return array if array.dtype == other.dtype else nd.amp_cast(array, dtype=other.dtype)


def version() -> str:
    """Return MXNet's version."""
    return str(mx.__version__)


def gpu_count() -> int:
    """Return the number of GPUs that MXNet sees."""
    try:
        return int(mx.context.num_gpus())
    except mx.base.MXNetError:
        return 0


def release_memory(ctx: Any) -> None:
    """Give back the memory that MXNet, or malloc on a CPU, keeps of arrays that are gone.

    For the moment between two image sizes: what is kept serves the same sizes again, and other programs, and
    cuDNN's own workspace, cannot have it meanwhile.

    Parameters
    ----------
    ctx
        A context, as `context` returns it.
    """
    nd.waitall()
    if ctx.device_type == "gpu":
        ctx.empty_cache()
    else:
        return_free_blocks()


def expect_new_shape(ctx: Any) -> None:
    """Prepare a CPU's memory for images of another shape; `settle_memory` is to follow their first evaluation.

    What MXNet keeps for the shapes before is let go of: 13 ms, once a scale. Not where there are GPUs, whose threads
    would end as well.
    """
    if ctx.device_type == "cpu":
        nd.waitall()
        if not gpu_count():
            drop_primitives(mx.base._LIB)
        map_large_blocks()


def settle_memory(ctx: Any) -> None:
    """Keep, on a CPU, what one evaluation took and gave back: the next one takes the same."""
    if ctx.device_type == "cpu":
        nd.waitall()
        keep_large_blocks()


def free_gpu_memory(device: str) -> int | None:
    """Return the bytes of a GPU, "gpu:K", that are free; None if its driver does not tell."""
    try:
        return int(mx.context.gpu_memory_info(int(device.partition(":")[2] or 0))[0])
    except mx.base.MXNetError:
        return None


def device_name(device: str) -> str:
    """Return "cpu" or "gpu:K" for a device as a person writes it ("auto": the first GPU, else the CPU).

    Raises
    ------
    DeviceError
        If it is no device, or one that this machine does not have.
    """
    kind, colon, index = device.partition(":")
    if device == "auto":
        return "gpu:0" if gpu_count() else "cpu"
    if device == "cpu":
        return device
    if kind != "gpu" or (colon and not index.isdigit()):
        words = ("auto", "cpu", "gpu")
        raise DeviceError(
            f"there is no device {device!r}.{did_you_mean(kind, words)} Devices: auto, cpu, gpu:0, gpu:1, ..."
        )
    found = gpu_count()
    if int(index or 0) >= found:
        raise DeviceError(
            f"device {device!r} was asked for, but MXNet sees {found or 'no'} GPU{'s' * (found != 1)}. "
            "Use --device cpu; `gluon-nst doctor` tells why."
        )
    return f"gpu:{index or 0}"


def context(device: str) -> Any:
    """Return MXNet's context of a device."""
    kind, _, index = device_name(device).partition(":")
    return mx.gpu(int(index)) if kind == "gpu" else mx.cpu()


@contextlib.contextmanager
def translate_errors() -> Iterator[None]:
    """Turn MXNet's errors into ours; on the way, drain the engine, which would raise the same again later."""
    try:
        with at_work():
            yield
    except mx.base.MXNetError as error:
        with contextlib.suppress(mx.base.MXNetError):
            nd.waitall()
        text = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        if "alloc" in str(error).lower() or "out of memory" in str(error).lower():
            raise OutOfMemoryError(
                f"the device has no memory left for this image ({text}). Use a smaller --size or --max-memory."
            ) from error
        if "no kernel image" in str(error).lower():  # CUDA's words for a chip newer than the wheel
            raise DeviceError(
                "this MXNet has no code for this machine's GPU. Use --device cpu, or NVIDIA's container on Hopper "
                "and later; `gluon-nst doctor` says which it is."
            ) from error
        raise BackendError(f"MXNet failed: {text}") from error
