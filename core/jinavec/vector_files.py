"""Vectors in .npy files and in Arrow columns, read block by block; nothing is unpickled."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from jinavec.errors import InvalidInput, InvalidVectors
from jinavec.extras import require

_WIDEST = 2**16
"""Components; no model has so many, and a damaged header must not ask for more memory than a block has."""
_HEADER = 2**14
"""Bytes of an .npy header; NumPy refuses one of more than 10,000, but reads it first, whatever its length."""
_BLOCK = 2**24
"""Bytes of vectors read at a time, at most."""


def read_npy(stream: BinaryIO, name: str, rows: int) -> Iterator[NDArray[Any]]:
    """Yield an .npy array (n, width) of floats, int8 or packed bits as uint8, at most ``rows`` rows at a time.

    Nothing is unpickled, and no more is read than one block, whatever the header claims.

    Raises:
        InvalidVectors: an array of another shape, order or type.
        InvalidInput: not an .npy file, or a truncated one.
    """
    count, width, dtype = _header(stream, name)
    rows = min(rows, max(1, _BLOCK // (width * dtype.itemsize)))
    for start in range(0, count, rows):
        wanted = min(rows, count - start)
        content = stream.read(wanted * width * dtype.itemsize)
        if len(content) < wanted * width * dtype.itemsize:
            raise InvalidInput(f"{name} is truncated: its header says {count} vectors")
        yield np.frombuffer(content, dtype).reshape(wanted, width)


def _header(stream: BinaryIO, name: str) -> tuple[int, int, np.dtype[Any]]:
    try:
        is_first = npy.read_magic(stream) == (1, 0)
        length = stream.read(2 if is_first else 4)
        if int.from_bytes(length, "little") > _HEADER:
            raise ValueError(f"its header claims {int.from_bytes(length, 'little'):,} bytes, more than {_HEADER:,}")
        header = BytesIO(length + stream.read(int.from_bytes(length, "little")))
        read = npy.read_array_header_1_0 if is_first else npy.read_array_header_2_0
        shape, fortran, dtype = read(header)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:  # as ast.literal_eval raises
        reason = str(error)[:200] or "its header is nested too deeply"
        raise InvalidInput(f"cannot read {name} as .npy: {reason}") from error
    if len(shape) != 2 or not 1 <= shape[1] <= _WIDEST or shape[0] < 0:
        raise InvalidVectors(f"{name} holds an array of the shape {shape}; expected (vectors, width)")
    if fortran:
        raise InvalidVectors(f"{name} is in Fortran order; save np.ascontiguousarray of it")
    _check_type(dtype, name)
    return shape[0], shape[1], dtype


def list_matrix(column: Any, name: str) -> NDArray[Any]:
    """Return an Arrow array of lists of one length, or of binaries of a fixed size, as (n, width).

    Raises:
        InvalidVectors: no lists of numbers, lists of several lengths, or a null among them.
    """
    if column.null_count:
        raise InvalidVectors(f"column {name!r} has a null in place of a vector")
    if not holds_vectors(column.type):
        raise InvalidVectors(f"column {name!r} holds {column.type}; expected lists of floats, or bits as uint8")
    count = len(column)
    if require("pyarrow.types", "parquet").is_fixed_size_binary(column.type):  # packed bits
        width = column.type.byte_width
        first = column.offset * width
        return np.frombuffer(column.buffers()[1], np.uint8)[first : first + count * width].reshape(count, width)
    values = column.flatten()
    if values.null_count:
        raise InvalidVectors(f"column {name!r} has a null inside a vector")
    flat = values.to_numpy(zero_copy_only=False)
    width = len(flat) // count if count else 0
    if count and (np.asarray(column.value_lengths()) != width).any():
        raise InvalidVectors(f"column {name!r} has vectors of several lengths")
    _check_type(flat.dtype, f"column {name!r}")
    return flat.reshape(count, width)


def holds_vectors(kind: Any) -> bool:
    """Return whether an Arrow type can be that of vectors: lists of numbers, or binaries of a fixed size."""
    types = require("pyarrow.types", "parquet")
    if types.is_fixed_size_binary(kind):
        return True
    lists = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return lists and str(kind.value_type) in ("halffloat", "float", "double", "uint8", "int8")


def _check_type(dtype: np.dtype[Any], name: str) -> None:
    if dtype.kind != "f" and dtype.str[1:] not in ("u1", "i1"):
        raise InvalidVectors(f"{name} holds {dtype}; expected floats, int8, or packed bits as uint8")
