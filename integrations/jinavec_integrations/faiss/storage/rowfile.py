"""RowFile: fixed-size rows after a header, appended by one writer and mapped by any number of readers."""

from __future__ import annotations

import io
import math
import mmap
import os
import stat
import struct
import threading
import weakref
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from jinavec.errors import EngineError, IndexDamaged, InvalidDimension
from jinavec_integrations.faiss.storage.folder import Folder, generation_name, write_all
from jinavec_integrations.faiss.types import Slots

BLOCK = 65_536
"""Rows read at a time."""
_READERS = 16
"""Threads that read rows, where the system cannot be asked for pages."""
_WIDEST = 2**16
"""Dimensions."""


class MappedFile:
    """A file of one generation, opened once and mapped; whoever has it open keeps it after it was removed.

    A page beyond the end of a file kills the process that touches it, so the size is compared before each use: a file
    that was cut is an error. (One that is cut during the use cannot be helped.)
    """

    def __init__(self, folder: Folder, name: str) -> None:
        """Open a file for reading.

        Raises:
            IndexDamaged: there is none.
        """
        self.folder = folder
        self.name = name
        found = folder.stat(name)
        if found is None or not stat.S_ISREG(found.st_mode):  # opening a pipe would wait for ever
            raise IndexDamaged(f"{self} is missing")
        self._file = folder.open(name)
        self._descriptor = self._file.fileno()
        weakref.finalize(self, self._file.close)
        self._lock = threading.Lock()
        self._map: tuple[mmap.mmap, int] | None = None

    def __str__(self) -> str:
        return str(self.folder.path / self.name)

    @property
    def status(self) -> os.stat_result:
        """What the system knows of the file now."""
        return os.fstat(self._file.fileno())

    @property
    def size(self) -> int:
        """The bytes of the file now."""
        return self.status.st_size

    def check_size(self, needed: int) -> None:
        """Make sure that the file has so many bytes.

        Raises:
            IndexDamaged: it has become too short; the message names the sizes.
        """
        if (size := os.fstat(self._descriptor).st_size) < needed:
            raise IndexDamaged(f"{self} is truncated: {size} bytes, {needed} are needed")

    def map(self, needed: int, *, is_picked: bool = False) -> mmap.mmap:
        """Return at least the first bytes of the file, mapped read-only.

        Args:
            needed: bytes.
            is_picked: whether rows are picked one by one: reading ahead would then cost the time of many more.

        Raises:
            IndexDamaged: the file is too short.
        """
        self.check_size(needed)
        current = self._map  # read once: another thread may replace it
        if current is None or current[1] < needed:
            # With what a writer is just adding, at which nobody looks: other threads may need it a moment later.
            size = self.size
            memory = mmap.mmap(self._file.fileno(), size, access=mmap.ACCESS_READ)
            if is_picked and hasattr(mmap, "MADV_RANDOM"):
                memory.madvise(mmap.MADV_RANDOM)
            self._map = current = memory, size
        return current[0]

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill a buffer with the bytes at an offset, without mapping them.

        Raises:
            IndexDamaged: the file ends before.
        """
        while buffer:
            got = self._read_some(buffer, offset)
            if not got:
                raise IndexDamaged(f"{self} is truncated: it ends at byte {offset}")
            buffer, offset = buffer[got:], offset + got

    def _read_some(self, buffer: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):  # moves no file position, which threads and forked processes share
            return os.preadv(self._file.fileno(), [buffer], offset)
        with self._lock:
            self._file.seek(offset)
            return self._file.readinto(buffer) or 0

    def close(self) -> None:
        """Release the map once it is no longer used. Idempotent."""
        self._map = None


class RowFile(MappedFile, ABC):
    """A file of rows; how many of them count is said elsewhere, so that a crash while appending does no harm."""

    stem: ClassVar[str]
    """The name in the first generation."""
    dtype: ClassVar[type[np.uint8 | np.int8]]
    start: ClassVar[int]
    """The bytes of the header."""
    fixed: ClassVar[int]
    """The bytes at its beginning that never change, and so can be checked."""
    picked: ClassVar[bool]
    """Whether searches pick rows one by one."""

    def __init__(self, folder: Folder, width: int, generation: int = 0) -> None:
        """Open the file of a generation; its rows have ``width`` bytes."""
        super().__init__(folder, generation_name(self.stem, generation))
        self.width = width

    @classmethod
    def create(cls, folder: Folder, width: int, generation: int = 0) -> Self:
        """Write a file without rows, and open it."""
        name = generation_name(cls.stem, generation)
        folder.replace_file(name, cls.make_header(width, 0))
        return cls(folder, width, generation)

    @staticmethod
    @abstractmethod
    def make_header(width: int, rows: int) -> bytes:
        """Return the header of a file with so many rows."""

    def check(self, rows: int) -> None:
        """Make sure that the file is what it should be and holds so many rows.

        Raises:
            IndexDamaged: it does not; the message names the sizes.
        """
        self.check_size(self.offset(rows))
        found = bytearray(self.fixed)
        self.read_into(memoryview(found), 0)
        if bytes(found) != self.make_header(self.width, 0)[: self.fixed]:
            raise IndexDamaged(f"{self} is damaged: its header is not that of rows of {self.width} bytes")

    def rows(self, count: int) -> NDArray[Any]:
        """Return the first rows (count, width) as a read-only view of the disk.

        Raises:
            IndexDamaged: the file has become too short.
        """
        memory = self.map(self.offset(count), is_picked=self.picked)
        return np.frombuffer(memory, self.dtype, count * self.width, self.start).reshape(count, self.width)

    def prefetch(self, rows: Slots) -> None:
        """Have the pages of these rows (ascending) read all at once: by a call of the system, else by many threads."""
        current = self._map
        if current is None:
            return
        if not hasattr(mmap, "MADV_WILLNEED"):
            with ThreadPoolExecutor(_READERS) as readers:
                list(readers.map(self.read, np.array_split(rows, _READERS)))
            return
        memory, size = current
        starts = self.start + rows * self.width
        starts = starts[starts + self.width <= size]
        first, last = starts // mmap.PAGESIZE, (starts + self.width - 1) // mmap.PAGESIZE
        gaps = first[1:] > last[:-1] + 1
        begins, ends = first[np.append(True, gaps)[: len(first)]], last[np.append(gaps, True)[: len(last)]] + 1
        for begin, end in zip((begins * mmap.PAGESIZE).tolist(), (ends * mmap.PAGESIZE).tolist(), strict=True):
            memory.madvise(mmap.MADV_WILLNEED, begin, end - begin)

    def read(self, rows: Slots) -> NDArray[Any]:
        """Read rows (ascending) into memory, past the map, whose pages would count as memory of this process.

        Raises:
            IndexDamaged: the file is too short.
        """
        found = np.empty((len(rows), self.width), self.dtype)
        for first, row, count in _runs(rows):
            self.read_into(memoryview(found[first : first + count].data).cast("B"), self.offset(row))
        return found

    def gather(self, rows: Slots) -> NDArray[Any]:
        """Read rows in any order; see ``read``."""
        sequence = np.argsort(rows)
        return in_sequence(self.read(rows[sequence]), sequence)

    def blocks(self, start: int, end: int) -> Iterator[NDArray[Any]]:
        """Read rows from ``start`` to before ``end``, some at a time."""
        for first in range(start, end, BLOCK):
            yield self.read(np.arange(first, min(first + BLOCK, end)))

    def append(self, start: int, blocks: Iterable[NDArray[Any]]) -> int:
        """Write blocks of rows from row ``start`` on, over what a dead writer left there; flush them to the disk.

        Returns:
            The CRC-32 of what was written.

        Raises:
            IndexDamaged: the rows before are not all there: a hole would be read as zeros.
            EngineError: another file has the name now.
        """
        crc = 0
        with self._open_to_write() as file:
            self.check_size(self.offset(start))
            rows = start
            for block in blocks:
                content = block.tobytes()
                crc = zlib.crc32(content, crc)
                write_all(file, content, self.offset(rows))
                rows += len(block)
            write_all(file, self.make_header(self.width, rows), 0)
            os.fsync(file.fileno())
        return crc

    def scatter(self, blocks: Iterable[tuple[int, NDArray[Any]]]) -> None:
        """Write blocks of rows, each from the row that comes with it; what flushes them is an ``append`` after it."""
        with self._open_to_write() as file:
            for row, block in blocks:
                write_all(file, block.tobytes(), self.offset(row))

    def checksum(self, start: int, count: int) -> int:
        """Return the CRC-32 of rows, read from the disk."""
        crc = 0
        for block in self.blocks(start, start + count):
            crc = zlib.crc32(block.tobytes(), crc)
        return crc

    def truncate(self, rows: int) -> None:
        """Cut the file after so many rows, if it is longer."""
        self.check_size(self.offset(rows))
        with self._open_to_write() as file:
            file.truncate(self.offset(rows))
            write_all(file, self.make_header(self.width, rows), 0)

    def offset(self, rows: int) -> int:
        """Return the bytes up to the end of so many rows."""
        return self.start + rows * self.width

    def _open_to_write(self) -> io.FileIO:
        file = self.folder.open(self.name, "r+b")
        if os.path.sameopenfile(file.fileno(), self._file.fileno()):
            return file
        file.close()
        raise EngineError(f"{self} was replaced after the index was opened; reopen the index")


class CodeFile(RowFile):
    """Packed sign bits, in a file that ``faiss.read_index_binary`` opens as an IndexBinaryFlat.

    The header is FAISS's own (impl/index_write.cpp): magic, dimension in bits, bytes a code, number of codes, trained,
    metric, and the bytes of all codes.
    """

    stem = "codes.faiss"
    dtype = np.uint8
    start = 33
    fixed = 12
    picked = False

    @staticmethod
    def make_header(width: int, rows: int) -> bytes:
        """Return FAISS's header."""
        return struct.pack("<4siiqBiQ", b"IBxF", width * 8, width, rows, 1, 1, rows * width)


class VectorFile(RowFile):
    """int8 vectors, each with a scale of its own. The header fills a page, so that rows of 1024 never cross one."""

    stem = "vectors.int8"
    dtype = np.int8
    start = 4096
    fixed = 4096
    picked = True

    @staticmethod
    def make_header(width: int, rows: int) -> bytes:
        """Return a page that says what follows it, whatever the number of rows."""
        return struct.pack("<16sq", b"jinavec int8 1\n", width).ljust(4096, b"\0")


class ArrayFile(MappedFile):
    """A file of plain values, little-endian and without a header: there is nothing in it to misread."""

    def __init__(self, folder: Folder, name: str, kind: type[np.int64 | np.float32], shape: tuple[int, ...]) -> None:
        """Open a file of an array.

        Raises:
            IndexDamaged: it is missing, or of another size than expected.
        """
        super().__init__(folder, name)
        self._dtype, self._shape = np.dtype(kind).newbyteorder("<"), shape
        self._bytes = math.prod(shape) * self._dtype.itemsize
        self.check()

    def check(self) -> None:
        """Make sure that the file has the size of the array.

        Raises:
            IndexDamaged: it has another one.
        """
        if (size := self.size) != self._bytes:
            raise IndexDamaged(f"{self} has {size} bytes, {self._bytes} are expected")

    def checksum(self) -> int:
        """Return the CRC-32 of the file."""
        return zlib.crc32(self.map(self._bytes)) if self._bytes else 0

    @property
    def values(self) -> NDArray[Any]:
        """The array, as a read-only view of the disk.

        Raises:
            IndexDamaged: the file has become too short.
        """
        if not self._bytes:
            return np.empty(self._shape, self._dtype)
        return np.frombuffer(self.map(self._bytes), self._dtype, math.prod(self._shape)).reshape(self._shape)


def in_sequence(block: NDArray[Any], sequence: Slots) -> NDArray[Any]:
    """Return rows in the order that they had before ``sequence`` sorted them."""
    found = np.empty_like(block)
    found[sequence] = block
    return found


def _runs(rows: Slots) -> Iterator[tuple[int, int, int]]:
    """Yield (index, row, count) of each run of consecutive rows."""
    starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
    counts = np.diff(starts, append=len(rows))
    yield from zip(starts.tolist(), rows[starts].tolist(), counts.tolist(), strict=True)


def code_width(dimension: int) -> int:
    """Return the bytes of a packed code; a dimension that is no multiple of 8 is filled up with zeros.

    Raises:
        InvalidDimension: more than any model has.
    """
    if dimension > _WIDEST:
        raise InvalidDimension(f"dimension {dimension} is more than the {_WIDEST} that an index holds")
    return (dimension + 7) // 8
