"""RowFile: fixed-size rows after a header, appended by one writer and mapped by any number of readers."""

from __future__ import annotations

import io
import mmap
import os
import struct
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from jinavec.errors import IndexDamaged, InvalidDimension
from jinavec_integrations.faiss.disk import replace_file
from jinavec_integrations.faiss.generations import named

Rows = NDArray[np.int64]
"""Row numbers."""
_BLOCK = 65_536
"""Rows read at a time."""
_READERS = 16
"""Threads that read rows, where the system cannot be asked for pages."""
_WIDEST = 2**16
"""Dimensions."""


class RowFile(ABC):
    """A file of rows; how many of them count is said elsewhere, so that a crash while appending does no harm."""

    name: ClassVar[str]
    dtype: ClassVar[type[np.uint8 | np.int8]]
    start: ClassVar[int]
    """The bytes of the header."""
    fixed: ClassVar[int]
    """The bytes at its beginning that never change, and so can be checked."""
    picked: ClassVar[bool]
    """Whether rows are picked one by one: reading ahead would then cost the time of many more."""

    def __init__(self, folder: Path, width: int, generation: int = 0) -> None:
        """Work with the file in a folder; its rows have ``width`` bytes."""
        self.path = folder / named(self.name, generation)
        self.width = width
        self._map: tuple[mmap.mmap, NDArray[Any]] | None = None

    @abstractmethod
    def header(self, rows: int) -> bytes:
        """Return the header of a file with so many rows."""

    def create(self) -> None:
        """Write a file without rows."""
        replace_file(self.path, self.header(0))

    def check(self, rows: int) -> None:
        """Make sure that the file is what it should be and holds so many rows.

        Raises:
            IndexDamaged: it does not; the message names the sizes.
        """
        if not self.path.is_file():
            raise IndexDamaged(f"{self.path} is missing")
        with self.path.open("rb") as file:
            self._check_size(os.fstat(file.fileno()).st_size, rows)
            if file.read(self.fixed) != self.header(0)[: self.fixed]:
                raise IndexDamaged(f"{self.path} is damaged: its header is not that of rows of {self.width} bytes")

    def rows(self, count: int) -> NDArray[Any]:
        """Return the first rows (count, width) as a read-only view of the disk.

        Raises:
            IndexDamaged: the file has become too short.
        """
        current = self._map  # read once: another thread may replace it
        if current is None or len(current[1]) < count:
            current = self._open_map(count)
            if self._map is None or len(self._map[1]) < len(current[1]):
                self._map = current
        memory, rows = current
        self._check_size(memory.size(), count)  # touching a page beyond the end of a file would kill the process
        return rows[:count]

    def prefetch(self, rows: Rows) -> None:
        """Have the pages of these rows (ascending) read all at once: by a call of the system, else by many threads."""
        current = self._map
        if current is None:
            return
        if not hasattr(mmap, "MADV_WILLNEED"):
            with ThreadPoolExecutor(_READERS) as readers:
                list(readers.map(self.read, np.array_split(rows, _READERS)))
            return
        memory, mapped = current
        starts = self.start + rows[rows < len(mapped)] * self.width
        first, last = starts // mmap.PAGESIZE, (starts + self.width - 1) // mmap.PAGESIZE
        gaps = first[1:] > last[:-1] + 1
        begins, ends = first[np.append(True, gaps)[: len(first)]], last[np.append(gaps, True)[: len(last)]] + 1
        for begin, end in zip((begins * mmap.PAGESIZE).tolist(), (ends * mmap.PAGESIZE).tolist(), strict=True):
            memory.madvise(mmap.MADV_WILLNEED, begin, end - begin)

    def read(self, rows: Rows) -> NDArray[Any]:
        """Read rows (ascending) into memory, past the map, whose pages would count as memory of this process.

        Raises:
            IndexDamaged: the file is too short.
        """
        found = np.empty((len(rows), self.width), self.dtype)
        with self.path.open("rb", buffering=0) as file:
            for first, row, count in _runs(rows):
                file.seek(self._offset(row))
                wanted = memoryview(found[first : first + count].data).cast("B")
                while wanted:
                    got = file.readinto(wanted)
                    if not got:
                        raise IndexDamaged(f"{self.path} is truncated: row {row} is not there")
                    wanted = wanted[got:]
        return found

    def gather(self, rows: Rows) -> NDArray[Any]:
        """Read rows in any order; see ``read``."""
        sequence = np.argsort(rows)
        return in_sequence(self.read(rows[sequence]), sequence)

    def append(self, start: int, blocks: Iterable[NDArray[Any]]) -> int:
        """Write blocks of rows from row ``start`` on, over what a dead writer left there; flush them to the disk.

        Returns:
            The CRC-32 of what was written.
        """
        crc = 0
        with self.path.open("r+b", buffering=0) as file:
            rows = start
            for block in blocks:
                content = block.tobytes()
                crc = zlib.crc32(content, crc)
                _write(file, self._offset(rows), content)
                rows += len(block)
            _write(file, 0, self.header(rows))
            os.fsync(file.fileno())
        return crc

    def scatter(self, blocks: Iterable[tuple[int, NDArray[Any]]]) -> None:
        """Write blocks of rows, each from the row that comes with it; what flushes them is an ``append`` after it."""
        with self.path.open("r+b", buffering=0) as file:
            for row, block in blocks:
                _write(file, self._offset(row), block.tobytes())

    def checksum(self, start: int, count: int) -> int:
        """Return the CRC-32 of rows, read from the disk."""
        crc = 0
        for first in range(start, start + count, _BLOCK):
            block = self.read(np.arange(first, min(first + _BLOCK, start + count)))
            crc = zlib.crc32(block.tobytes(), crc)
        return crc

    def truncate(self, rows: int) -> None:
        """Cut the file after so many rows."""
        with self.path.open("r+b", buffering=0) as file:
            file.truncate(self._offset(rows))
            _write(file, 0, self.header(rows))

    def close(self) -> None:
        """Release the mapped file once it is no longer used. Idempotent."""
        self._map = None

    def _open_map(self, count: int) -> tuple[mmap.mmap, NDArray[Any]]:
        with self.path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            self._check_size(size, count)
            # With what a writer is just adding, at which nobody looks: other threads may need it a moment later.
            there = (size - self.start) // self.width
            memory = mmap.mmap(file.fileno(), self._offset(there), access=mmap.ACCESS_READ)
        if self.picked and hasattr(mmap, "MADV_RANDOM"):
            memory.madvise(mmap.MADV_RANDOM)
        return memory, np.frombuffer(memory, self.dtype)[self.start :].reshape(there, self.width)

    def _check_size(self, size: int, rows: int) -> None:
        if size < self._offset(rows):
            raise IndexDamaged(f"{self.path} is truncated: {size} bytes, {self._offset(rows)} are needed")

    def _offset(self, rows: int) -> int:
        return self.start + rows * self.width


class CodeFile(RowFile):
    """Packed sign bits, in a file that ``faiss.read_index_binary`` opens as an IndexBinaryFlat.

    The header is FAISS's own (impl/index_write.cpp): magic, dimension in bits, bytes a code, number of codes, trained,
    metric, and the bytes of all codes.
    """

    name = "codes.faiss"
    dtype = np.uint8
    start = 33
    fixed = 12
    picked = False

    def header(self, rows: int) -> bytes:
        """Return FAISS's header."""
        return struct.pack("<4siiqBiQ", b"IBxF", self.width * 8, self.width, rows, 1, 1, rows * self.width)


class VectorFile(RowFile):
    """int8 vectors, each with a scale of its own. The header fills a page, so that rows of 1024 never cross one."""

    name = "vectors.int8"
    dtype = np.int8
    start = 4096
    fixed = 4096
    picked = True

    def header(self, rows: int) -> bytes:
        """Return a page that says what follows it."""
        return struct.pack("<16sq", b"jinavec int8 1\n", self.width).ljust(self.fixed, b"\0")


def in_sequence(block: NDArray[Any], sequence: Rows) -> NDArray[Any]:
    """Return rows in the order that they had before ``sequence`` sorted them."""
    found = np.empty_like(block)
    found[sequence] = block
    return found


def _runs(rows: Rows) -> Iterator[tuple[int, int, int]]:
    """Yield (index, row, count) of each run of consecutive rows."""
    starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
    counts = np.diff(starts, append=len(rows))
    yield from zip(starts.tolist(), rows[starts].tolist(), counts.tolist(), strict=True)


def _write(file: io.FileIO, offset: int, content: bytes) -> None:
    file.seek(offset)
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]  # a disk that fills up takes a part first


def code_width(dimension: int) -> int:
    """Return the bytes of a packed code; a dimension that is no multiple of 8 is filled up with zeros.

    Raises:
        InvalidDimension: more than any model has.
    """
    if dimension > _WIDEST:
        raise InvalidDimension(f"dimension {dimension} is more than the {_WIDEST} that an index holds")
    return (dimension + 7) // 8
