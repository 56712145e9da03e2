"""Read and write MXNet's ``.params`` files with NumPy alone.

A ``.params`` file is a dictionary of arrays as `mxnet.nd.save` writes it, little-endian throughout::

    file    uint64 0x112 | uint64 0 | uint64 count, arrays | uint64 count, names
    name    uint64 length | bytes
    array   uint32 0xF993FAC9 | int32 storage, 0 for dense | int32 ndim | int64 x ndim | context | type | data
    context int32 device type | int32 device id
    type    int32

Older files lack the storage field (0xF993FAC8), or begin the array with ndim and give the sides as uint32;
NumPy-shape files begin it with 0xF993FACA. All four are read, the one drawn above is written. Source: the
functions NDArray::Save, NDArray::Load and NDArray::LegacyLoad of MXNet 1.9.1, ``src/ndarray/ndarray.cc``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gluon_nst.errors import ParametersError

__all__ = ["parse_ndarrays", "read_ndarrays", "serialize_ndarrays"]

_FILE_MAGIC = 0x112
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_MAX_NDIM = 32  # NumPy's own limit; a larger number means that the bytes are something else
# mshadow's type flags, 3rdparty/mshadow/mshadow/base.h. bfloat16 (12) has no NumPy type.
_DTYPES = {0: "<f4", 1: "<f8", 2: "<f2", 3: "u1", 4: "<i4", 5: "i1", 6: "<i8", 7: "?"}
_FLAGS = {np.dtype(name): flag for flag, name in _DTYPES.items()}


def read_ndarrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a ``.params`` file by name, as read-only views of the mapped file.

    Raises
    ------
    ParametersError
        If the file cannot be opened, is damaged, or is no ``.params`` file.
    """
    try:
        data = np.memmap(path, np.uint8, mode="r")
    except (OSError, ValueError) as error:  # an empty file is a ValueError
        raise ParametersError(f"Cannot read the parameters {path}: {error}.") from error
    return parse_ndarrays(data.data, path.name)


def parse_ndarrays(data: memoryview, name: str) -> dict[str, NDArray[Any]]:
    """Return the arrays that `data`, the content of a ``.params`` file, holds; views, not copies.

    `name` is only for the messages. Arrays without a name get "0", "1", ...

    Raises
    ------
    ParametersError
        If the content is damaged or no dictionary of arrays.
    """
    reader = _Reader(data, name)
    if reader.number("Q") != _FILE_MAGIC:
        raise ParametersError(f"{name} is no MXNet .params file; use `weights import` for another format.")
    reader.number("Q")
    arrays = reader.many(reader.array)
    names = reader.many(reader.text) or [str(i) for i in range(len(arrays))]
    if len(names) != len(arrays):
        raise reader.damaged(f"{len(arrays)} arrays but {len(names)} names")
    return dict(zip(names, arrays, strict=True))


def serialize_ndarrays(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the bytes that `mxnet.nd.save` writes for `arrays`, in the same order."""
    parts = [struct.pack("<QQQ", _FILE_MAGIC, 0, len(arrays))]
    for array in arrays.values():
        flag = _FLAGS[array.dtype]
        parts.append(struct.pack(f"<Iii{array.ndim}q", _V2, 0, array.ndim, *array.shape))
        parts += [struct.pack("<iii", 1, 0, flag), array.tobytes()]  # context: cpu(0)
    parts.append(struct.pack("<Q", len(arrays)))
    for name in map(str.encode, arrays):
        parts += [struct.pack("<Q", len(name)), name]
    return b"".join(parts)


class _Reader:
    """A position in the bytes of a file; every read is checked against their end."""

    def __init__(self, data: memoryview, name: str) -> None:
        self._data, self._name, self._at = data, name, 0

    def damaged(self, why: str) -> ParametersError:
        return ParametersError(f"{self._name} is damaged ({why} at byte {self._at}); fetch it again.")

    def take(self, size: int) -> memoryview:
        if not 0 <= size <= len(self._data) - self._at:
            raise self.damaged("it ends too early")
        self._at += size
        return self._data[self._at - size : self._at]

    def numbers(self, code: str) -> tuple[int, ...]:
        return struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))

    def number(self, code: str) -> int:
        return self.numbers(code)[0]

    def many(self, read: Callable[[], Any]) -> list[Any]:
        return [read() for _ in range(self.number("Q"))]

    def text(self) -> str:
        return bytes(self.take(self.number("Q"))).decode("utf-8", "replace")

    def array(self) -> NDArray[Any]:
        shape = self._shape()
        *_, flag = self.numbers("iii")
        if flag not in _DTYPES:
            raise self.damaged(f"unknown element type {flag}")
        dtype = np.dtype(_DTYPES[flag])
        raw = self.take(dtype.itemsize * int(np.prod(shape, dtype=object)))
        return np.frombuffer(raw, dtype).reshape(shape)

    def _shape(self) -> tuple[int, ...]:
        magic = self.number("I")
        if magic in (_V2, _V3) and self.number("i") != 0:
            raise self.damaged("a sparse array")
        ndim, side = (self.number("i"), "q") if magic in (_V1, _V2, _V3) else (magic, "I")
        if not 0 < ndim <= _MAX_NDIM:
            raise self.damaged(f"an array of {ndim} dimensions")
        shape = self.numbers(f"{ndim}{side}")
        if min(shape) < 0:
            raise self.damaged(f"an array of shape {shape}")
        return shape
