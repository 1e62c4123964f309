"""VectorRows: given vectors, read in step with their records."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jinavec.errors import InvalidType, InvalidVectors

_READ = 4096
"""Rows of an array or a memory map that are read at a time."""


class VectorRows:
    """Takes vectors (n, width) a few rows at a time, from an array, a memory map, or an iterable of rows or blocks."""

    def __init__(self, vectors: ArrayLike | Iterable[ArrayLike]) -> None:
        """Read nothing yet.

        Raises:
            InvalidType: neither an array nor an iterable.
            InvalidVectors: an array that is not (n, width).
        """
        self._blocks = read_blocks(vectors)
        self._block: NDArray[Any] | None = None
        """What is left of the block that was read last."""
        self._taken = 0

    def take(self, count: int) -> NDArray[Any]:
        """Return the next rows, (count, width).

        Raises:
            InvalidVectors: there are fewer; or rows of another width or type than those before.
        """
        parts: list[NDArray[Any]] = []
        missing = count
        while missing:
            if self._block is None or not len(self._block):
                self._block = self._next_block(count - missing)
            part, self._block = self._block[:missing], self._block[missing:]
            parts.append(part)
            missing -= len(part)
        self._taken += count
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _next_block(self, ahead: int) -> NDArray[Any]:
        block, before = next(self._blocks, None), self._block
        if block is None:
            raise InvalidVectors(f"there are {self._taken + ahead} vectors, and more records than that")
        if before is not None and (block.dtype, block.shape[1]) != (before.dtype, before.shape[1]):
            raise InvalidVectors(
                f"vectors change from {_kind(before)} to {_kind(block)} behind row {self._taken + ahead}"
            )
        return block

    def check_end(self) -> None:
        """Make sure that there are no more vectors than records.

        Raises:
            InvalidVectors: there are more.
        """
        left = self._block is not None and len(self._block)
        if left or any(len(block) for block in self._blocks):
            raise InvalidVectors(f"there are more vectors than records: only {self._taken} records, which are stored")


def read_blocks(vectors: ArrayLike | Iterable[ArrayLike]) -> Iterator[NDArray[Any]]:
    """Return an iterator over vectors as blocks (n, width), of at most 4096 rows; a memory map is read block by block.

    Raises:
        InvalidType: neither an array nor an iterable.
        InvalidVectors: an array that is not (n, width).
    """
    if isinstance(vectors, np.ndarray) or hasattr(vectors, "__array__"):
        return _cut(_matrix(np.asanyarray(vectors)))
    if isinstance(vectors, (list, tuple)):
        given = cast("list[Any]", vectors)
        return _cut(_matrix(np.asarray(given))) if given and np.ndim(given[0]) == 1 else _each(given)
    if isinstance(vectors, Iterable) and not isinstance(vectors, (str, bytes)):
        return _each(cast("Iterable[ArrayLike]", vectors))
    raise InvalidType(f"vectors must be an array or an iterable of arrays, not {type(vectors).__name__}")


def _each(blocks: Iterable[ArrayLike]) -> Iterator[NDArray[Any]]:
    """Yield rows (width,) and blocks (n, width) as blocks; many rows in a row as one."""
    for block in blocks:
        array = np.asanyarray(block)
        yield from _cut(_matrix(array[None] if array.ndim == 1 else array))


def _matrix(array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim != 2 and array.size:
        raise InvalidVectors(f"vectors have the shape {array.shape}; expected (n, width)")
    return array if array.ndim == 2 else array.reshape(0, 0)


def _cut(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    for start in range(0, len(array), _READ):
        if not isinstance(array, np.memmap):
            yield array[start : start + _READ]
            continue
        yield np.array(array[start : start + _READ])
        _drop_pages(array)


def _drop_pages(array: np.memmap[Any, Any]) -> None:
    """Give back the pages of a memory map that were read, else a file of any size would fill the memory."""
    memory: mmap.mmap | None = getattr(array, "_mmap", None)  # NumPy's only name for it
    if memory is not None and array.mode in ("r", "r+") and hasattr(mmap, "MADV_DONTNEED"):
        memory.madvise(mmap.MADV_DONTNEED)


def _kind(array: NDArray[Any]) -> str:
    return f"{array.dtype} of width {array.shape[1]}"
