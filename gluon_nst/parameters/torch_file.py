"""Read the tensors of a PyTorch state dict without PyTorch, and without running anything that the file says.

A ``.pth`` file is a pickle beside raw numbers, and a pickle is a program: it may call whatever it names. Here
it may name an ordered dictionary, a kind of storage, and the functions that make a tensor of a storage, and
it gets stand-ins of ours for them that only take notes and that it cannot alter. Any other name ends the
reading.

Two layouts are read. Since PyTorch 1.6: a ZIP archive of ``NAME/data.pkl`` and ``NAME/data/KEY``. Before:
five pickles in a row (magic number, protocol version, system, state dict, keys), then for each key its int64
length and its numbers. Source: ``torch/serialization.py`` of PyTorch.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gluon_nst.errors import ParametersError

__all__ = ["read_torch"]

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_MAX_PICKLE = 1 << 24  # bytes; the pickle of a VGG's state dict has some thousand
_DTYPES = {"FloatStorage": "<f4", "HalfStorage": "<f2", "DoubleStorage": "<f8"}
_DTYPES |= {"LongStorage": "<i8", "IntStorage": "<i4", "ByteStorage": "u1"}  # counters that are not wanted
# What unpickling and unzipping raise on damaged input, besides OSError.
_DAMAGE = (
    pickle.UnpicklingError, zipfile.BadZipFile, EOFError, AttributeError, LookupError, TypeError, ValueError,
    ArithmeticError, ImportError, RuntimeError, MemoryError, struct.error, zlib.error,
)  # fmt: skip


class _Storage(NamedTuple):
    """A note of numbers that lie elsewhere in the file."""

    dtype: str
    key: str
    length: int

    @property
    def size(self) -> int:
        return self.length * np.dtype(self.dtype).itemsize


class _Tensor(NamedTuple):
    """A note of a view of a storage; offset and stride count elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class _MakeTensor:
    """Stands in for PyTorch's functions that view a storage; a pickle can set nothing on it."""

    __slots__ = ()

    def __call__(
        self, storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any
    ) -> _Tensor:
        if not isinstance(storage, _Storage):
            raise pickle.UnpicklingError("a tensor without a storage")
        return _Tensor(storage, offset, shape, stride)


class _MakeParameter:
    """Stands in for PyTorch's function that marks a tensor as a parameter."""

    __slots__ = ()

    def __call__(self, tensor: _Tensor, *_: Any) -> _Tensor:
        return tensor


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _MakeTensor(),
    ("torch._utils", "_rebuild_tensor_v2"): _MakeTensor(),
    ("torch._utils", "_rebuild_parameter"): _MakeParameter(),
    **{("torch", name): dtype for name, dtype in _DTYPES.items()},
}


class _Unpickler(pickle._Unpickler):
    """Reads one pickle of a PyTorch file, giving it nothing but what `_ALLOWED` lists.

    This is the reader's version in Python. The one in C would, for a damaged byte that means "remember this
    as number 4000000000", fill the machine's memory with empty places.
    """

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which a state dict does not need")
        return _ALLOWED[module, name]

    def persistent_load(self, note: Any) -> _Storage:
        kind, dtype, key, _, length, *view = note
        if kind != "storage" or dtype not in _DTYPES.values() or any(part is not None for part in view):
            raise pickle.UnpicklingError(
                f"it refers to {str(kind)[:40]!r}, not to a whole storage of numbers"
            )
        return self.storages.setdefault(key, _Storage(dtype, str(key), int(length)))


def read_torch(path: Path) -> dict[str, NDArray[Any]]:
    """Return the vectors and the 4-D tensors of a PyTorch state dict by name.

    Matrices are passed over: VGG's hold the classifier, most of the file and of no use here.

    Raises
    ------
    ParametersError
        If the file is no state dict, is damaged, or asks for code to be run.
    """
    try:
        return _read_zip(path) if _is_zip(path) else _read_legacy(path)
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ParametersError(
            f"{path.name} is no PyTorch state dict that can be read safely: {reason}. "
            "Save `model.state_dict()` of a plain VGG, best as .safetensors."
        ) from error


def _is_zip(path: Path) -> bool:
    """Tell by the first bytes; `zipfile.is_zipfile` also looks for an archive at the end of other files."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _read_zip(path: Path) -> dict[str, NDArray[Any]]:
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError(f"the archive holds {len(pickles)} files data.pkl, not one")
        folder = pickles[0].removesuffix("/data.pkl")
        if f"{folder}/byteorder" in archive.namelist() and archive.read(f"{folder}/byteorder") != b"little":
            raise ValueError("its numbers are big-endian")
        state = _Unpickler(io.BytesIO(_member(archive, pickles[0], _MAX_PICKLE))).load()
        return {
            name: _view(tensor, _member(archive, f"{folder}/data/{tensor.storage.key}", tensor.storage.size))
            for name, tensor in _wanted(state)
        }


def _member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """Unpack one file, unless it claims to be larger than it should be."""
    size = archive.getinfo(name).file_size
    if size > limit:
        raise ValueError(f"{name} has {size} bytes, more than {limit}")
    return archive.read(name)


def _read_legacy(path: Path) -> dict[str, NDArray[Any]]:
    with path.open("rb") as file:
        if _Unpickler(file).load() != _LEGACY_MAGIC:
            raise ValueError("it begins with another magic number")
        _Unpickler(file).load()  # the protocol's version
        if not _Unpickler(file).load()["little_endian"]:
            raise ValueError("its numbers are big-endian")
        unpickler = _Unpickler(file)
        state = unpickler.load()
        keys = _Unpickler(file).load()
        start = file.tell()
    buffers = _legacy_buffers(path, start, [unpickler.storages[key] for key in keys])
    return {name: _view(tensor, buffers[tensor.storage.key]) for name, tensor in _wanted(state)}


def _legacy_buffers(path: Path, at: int, storages: list[_Storage]) -> dict[str, memoryview]:
    """Return each storage's bytes, as views of the mapped file."""
    data = np.memmap(path, np.uint8, mode="r").data
    buffers = {}
    for storage in storages:
        (length,) = struct.unpack_from("<q", data, at)
        if length != storage.length:
            raise ValueError(f"storage {storage.key} has {length} numbers, not {storage.length}")
        buffers[storage.key] = data[at + 8 : at + 8 + storage.size]
        at += 8 + storage.size
    return buffers


def _wanted(state: Any) -> Iterator[tuple[str, _Tensor]]:
    """Yield the named vectors and 4-D tensors of a state dict, or of a checkpoint that holds one."""
    if not isinstance(state, dict):
        raise ValueError(f"it holds a {type(state).__name__}, not a dictionary of tensors")
    if isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    for name, tensor in state.items():
        if isinstance(tensor, _Tensor) and len(tensor.shape) in (1, 4):
            yield str(name), tensor


def _view(tensor: _Tensor, buffer: bytes | memoryview) -> NDArray[Any]:
    """Return the numbers of a tensor; NumPy checks that they lie inside the buffer."""
    if len(buffer) != tensor.storage.size:
        raise ValueError(f"storage {tensor.storage.key} ends too early")
    dtype = np.dtype(tensor.storage.dtype)
    strides = [step * dtype.itemsize for step in tensor.stride]
    return np.ndarray(tensor.shape, dtype, buffer, tensor.offset * dtype.itemsize, strides)
