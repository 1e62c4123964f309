"""Folder: the directory of an index, held open, so that what is written never lands in another one.

A directory can be renamed away, rebuilt or restored while an index is open. Every file is therefore opened relative to
a descriptor of the directory, where the platform can: a write reaches the directory that was opened, or fails.
``check`` tells whether the path still leads there.
"""

from __future__ import annotations

import io
import os
import re
from contextlib import suppress
from pathlib import Path

from jinavec.errors import EngineError, InvalidTarget

MANIFEST = "manifest.json"
RECORDS = "records.sqlite"
WRITE_LOCK = "lock.sqlite"
COMPACTION_LOCK = "compaction.sqlite"
HOLDER = "lock.pid"
"""The process that holds, or last held, the write lock."""
GENERATION_FILES = (
    "codes.faiss",
    "vectors.int8",
    "centroids.float32",
    "offsets.int64",
    "order.int64",
    "places.int64",
)
"""Names of the first generation; a compaction writes every file anew: ``codes.1.faiss`` and so on."""
_GENERATION = re.compile(
    "|".join(
        rf"{re.escape(stem)}(?:\.([1-9]\d*))?\.{suffix}" for stem, suffix in (n.split(".") for n in GENERATION_FILES)
    )
)
_DESCRIPTORS = {os.open, os.stat, os.unlink, os.rename} <= os.supports_dir_fd
_REPLACED = "was replaced or removed after it was opened; reopen the index"


def locate(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path of an index folder.

    Raises:
        InvalidTarget: no path can be like this.
    """
    if "\0" in os.fspath(path):
        raise InvalidTarget(f"a path holds no NUL character: {path!r}")
    return Path(os.path.expanduser(path)).absolute()


def generation_name(name: str, generation: int) -> str:
    """Return the name of a file in a generation."""
    stem, suffix = name.split(".")
    return f"{stem}.{generation}.{suffix}" if generation else name


class Folder:
    """A directory that exists."""

    def __init__(self, path: Path) -> None:
        """Open the directory at an absolute path.

        Raises:
            OSError: there is none, or it cannot be read.
        """
        self.path = path
        self._address = str(path)
        self._directory: _Directory | None = _Directory(path)
        here = os.stat(path if self._directory.descriptor is None else self._directory.descriptor)
        self._identity = here.st_dev, here.st_ino
        self._database = self._inode(RECORDS)

    def __str__(self) -> str:
        return str(self.path)

    def remember_database(self) -> None:
        """Take the database that is there now as the one that was opened."""
        self._database = self._inode(RECORDS)

    def close(self) -> None:
        """Release the directory; what a thread is just doing in it, it does. Idempotent."""
        self._directory = None

    def check(self) -> None:
        """Make sure that the path still leads to the directory and the database that were opened.

        Raises:
            EngineError: it does not.
        """
        self.check_directory()
        if self._inode(RECORDS) != self._database:
            raise EngineError(f"{self} {_REPLACED}")

    def check_directory(self) -> None:
        """Make sure that the path still leads to the directory that was opened.

        Raises:
            EngineError: it does not.
        """
        try:
            here = os.stat(self._address)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise EngineError(f"{self} {_REPLACED}") from error
        if (here.st_dev, here.st_ino) != self._identity:
            raise EngineError(f"{self} {_REPLACED}")

    def open(self, name: str, mode: str = "rb") -> io.FileIO:
        """Open a file, unbuffered."""
        return io.FileIO(self._at(name), mode, opener=self._open)

    def stat(self, name: str) -> os.stat_result | None:
        """Return what the system knows of a file; None where there is none."""
        try:
            directory = self._opened()
            return os.stat(self._at(name), dir_fd=directory.descriptor)
        except FileNotFoundError:
            return None

    def size(self, name: str) -> int:
        """Return the bytes of a file; 0 where there is none."""
        found = self.stat(name)
        return 0 if found is None else found.st_size

    def changed(self, name: str) -> tuple[int, int] | None:
        """Return the inode of a file and when it was changed last; None where there is none."""
        found = self.stat(name)
        return None if found is None else (found.st_ino, found.st_mtime_ns)

    def names(self) -> list[str]:
        """Return the names of all files."""
        directory = self._opened()
        return sorted(os.listdir(self.path if directory.descriptor is None else directory.descriptor))

    def unlink(self, *names: str) -> None:
        """Remove those of the files that are there."""
        directory = self._opened()
        for name in names:
            with suppress(FileNotFoundError):
                os.unlink(self._at(name), dir_fd=directory.descriptor)

    def rename(self, source: str, target: str) -> None:
        """Give a file another name, in place of the file that has it."""
        here = self._opened()
        os.replace(self._at(source), self._at(target), src_dir_fd=here.descriptor, dst_dir_fd=here.descriptor)

    def replace_file(self, name: str, content: bytes) -> None:
        """Write a file so that a crash at any moment leaves the old one or the new one, whole."""
        draft = f"{name}.new"
        try:
            self.unlink(draft)  # a link that waits there must not lead the content elsewhere
            with self.open(draft, "xb") as file:
                write_all(file, content)
                os.fsync(file.fileno())
            self.rename(draft, name)
        except BaseException:
            with suppress(OSError):
                self.unlink(draft)
            raise
        self.sync()

    def sync(self) -> None:
        """Flush the names of the files to the disk, where the system has a call for that."""
        directory = self._opened()
        if directory.descriptor is not None:
            os.fsync(directory.descriptor)

    def generation_files(self, generation: int) -> list[str]:
        """Return the files of a generation that are there."""
        names = (generation_name(name, generation) for name in GENERATION_FILES)
        return [name for name in names if self.stat(name) is not None]

    def leftovers(self, generation: int) -> list[str]:
        """Return the files of all other generations, and drafts of files."""
        return [name for name in self.names() if _is_leftover(name, generation)]

    def _inode(self, name: str) -> int | None:
        found = self.stat(name)
        return None if found is None else found.st_ino

    def _at(self, name: str) -> str:
        return name if _DESCRIPTORS else str(self.path / name)

    def _open(self, name: str, flags: int) -> int:
        directory = self._opened()
        return os.open(name, flags, 0o666, dir_fd=directory.descriptor)

    def _opened(self) -> _Directory:
        """Return the directory, to be held for as long as its descriptor is used: another thread may close this."""
        directory = self._directory  # read once: another thread may close it
        if directory is None:
            raise EngineError(f"the index {self} is closed; open it again")
        return directory


class _Directory:
    """An open directory, closed when nobody holds it any more, never before: the number may be another's then."""

    descriptor: int | None = None

    def __init__(self, path: Path) -> None:
        if _DESCRIPTORS:
            self.descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)

    def __del__(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)


def write_all(file: io.FileIO, content: bytes | memoryview, offset: int | None = None) -> None:
    """Write all of a content, at an offset or where the file stands."""
    if offset is not None:
        file.seek(offset)
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]  # a disk that fills up takes a part first


def _is_leftover(name: str, generation: int) -> bool:
    found = _GENERATION.fullmatch(name)
    if found is None:
        return name.endswith(".new")
    return int(next((number for number in found.groups() if number), "0")) != generation
