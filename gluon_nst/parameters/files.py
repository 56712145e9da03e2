"""Read the parameters of other programs: .npz, .safetensors, Keras .h5, PyTorch .pth, Gluon .params.

The ending of the file's name says which. Nothing in a file is ever executed. What comes back are the arrays
by the names that the file gives them, and only vectors and 4-D arrays where the rest can be passed over:
`gluon_nst.parameters.names` knows what they mean. An .npz must use this package's own names.
"""

from __future__ import annotations

import contextlib
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gluon_nst.errors import ParametersError
from gluon_nst.parameters.ndarray_file import read_ndarrays
from gluon_nst.parameters.torch_file import read_torch

__all__ = ["FORMATS", "read_arrays"]

Arrays = dict[str, NDArray[Any]]

# What NumPy, safetensors and HDF5 raise on missing or damaged files, as seen with files damaged on purpose.
_DAMAGE = (
    OSError, ValueError, TypeError, LookupError, RuntimeError, EOFError, ArithmeticError, MemoryError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def read_arrays(path: Path) -> Arrays:
    """Return the arrays of a file of parameters by name, in PyTorch's order of axes (out, in, height, width).

    Raises
    ------
    ParametersError
        If the file is missing, damaged or of an unknown kind, or if the library that reads it is missing.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ParametersError(
            f"{path.name} is of an unknown kind ({path.suffix or 'no ending'}); "
            f"give one of {', '.join(FORMATS)}."
        )
    try:
        return reader(path)
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ParametersError(
            f"{path.name} cannot be read, is damaged or no {path.suffix} file ({reason}); fetch it again."
        ) from error


@contextlib.contextmanager
def _library(name: str, ending: str) -> Iterator[None]:
    """Say how to get an optional library if it is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ParametersError(
            f"Reading {ending} files needs {name}; run: pip install 'gluon-nst[import]'."
        ) from error


def _read_npz(path: Path) -> Arrays:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


def _read_safetensors(path: Path) -> Arrays:
    with _library("safetensors", ".safetensors"):
        from safetensors import SafetensorError, safe_open
    try:
        with safe_open(path, framework="numpy") as file:
            names = [name for name in file.keys() if len(file.get_slice(name).get_shape()) in (1, 4)]  # noqa: SIM118
            for name in names:
                _check_float(name, file.get_slice(name).get_dtype())
            return {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def _check_float(name: str, dtype: str) -> None:
    """NumPy has no bfloat16; safetensors' own complaint of it is of no help."""
    if dtype not in ("F16", "F32", "F64"):
        raise ValueError(f"{name} is {dtype}, not F16, F32 or F64")


# "block3_conv1/block3_conv1/kernel:0" and, in the files of 2016, "block3_conv1/block3_conv1_W_1:0".
_KERAS_LAYER = re.compile(r"block(\d)_conv(\d)")


def _read_keras(path: Path) -> Arrays:
    with _library("h5py", ".h5"):
        import h5py
    arrays: Arrays = {}

    def collect(name: str, item: Any) -> None:
        layer = _KERAS_LAYER.search(name)
        if layer and isinstance(item, h5py.Dataset) and not name.startswith("optimizer"):
            key = f"conv{layer[1]}_{layer[2]}.{'weight' if item.ndim == 4 else 'bias'}"
            arrays[key] = item[()].transpose(3, 2, 0, 1) if item.ndim == 4 else item[()]

    with h5py.File(path, "r") as file:
        file.visititems(collect)
    return arrays


_READERS: dict[str, Callable[[Path], Arrays]] = {
    ".params": read_ndarrays,
    ".npz": _read_npz,
    ".safetensors": _read_safetensors,
    ".h5": _read_keras,
    ".hdf5": _read_keras,
    ".pth": read_torch,
    ".pt": read_torch,
}

FORMATS = tuple(_READERS)
"""The endings of the files that can be read."""
