"""What the command line reads: JSON lines, CSV, Parquet, NumPy, FAISS and folders of text, as one stream of records."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from jinavec.errors import InvalidInput, InvalidRecord
from jinavec.limits import TEXT_FILE
from jinavec_adapters.cli.sources.alike import alike
from jinavec_adapters.cli.sources.delimited import read_delimited
from jinavec_adapters.cli.sources.duplicates import Distinct
from jinavec_adapters.cli.sources.faiss import read_faiss
from jinavec_adapters.cli.sources.fields import Fields, Item, Row
from jinavec_adapters.cli.sources.files import (
    BINARY,
    FORMATS,
    TABLES,
    TEXTS,
    File,
    check_encoding,
    decompressed,
    find_file,
    format_of,
    reading,
    recoded,
    spooled,
)
from jinavec_adapters.cli.sources.jsonl import read_jsonl
from jinavec_adapters.cli.sources.npy import read_vectors
from jinavec_adapters.cli.sources.parquet import read_parquet
from jinavec_adapters.cli.sources.passages import check_text, read_passages
from jinavec_adapters.cli.sources.rejects import Rejects
from jinavec_adapters.cli.sources.texts import SUFFIXES, Scope, TextFile, is_read
from jinavec_adapters.cli.sources.vectors_beside import vectors_beside

__all__ = [
    "STDIN",
    "Distinct",
    "Fields",
    "Item",
    "Reading",
    "Rejects",
    "Scope",
    "Sources",
    "TextFile",
    "alike",
    "vectors_beside",
]

STDIN = "-"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How files are read."""

    encoding: str | None = None
    """Of text, CSV and JSON lines; None: UTF-8."""
    strings: bool = False
    """Whether the cells of CSV stay strings."""
    allow_blank: bool = False
    """Whether a folder's files of text may have no passage at all."""
    allow_missing: bool = False
    """Whether files and folders of text may be missing or empty."""


class Sources:
    """The records of files, folders and standard input, one after another, in bounded memory.

    Raises:
        InvalidInput: a source does not exist, is empty or of an unknown format; found before anything is read.
    """

    def __init__(self, names: Sequence[str], fields: Fields, rejects: Rejects, how: Reading | None = None) -> None:
        if names.count(STDIN) > 1:
            raise InvalidInput("standard input (-) can be read once only")
        if STDIN in names and sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison]
            raise InvalidInput("standard input (-) is closed")
        self._how = how or Reading()
        if self._how.encoding is not None:
            check_encoding(self._how.encoding)
        self._fields = fields
        self.rejects = rejects
        self.scopes: list[Scope] = []
        """What the folders and files of text among the sources cover."""
        self.others: list[str] = []
        """Names of the other sources, whose records do not say where they are from."""
        self.unread: set[TextFile] = set()
        """Files and folders that could not be read."""
        self.blank: set[TextFile] = set()
        """Files that were read and have no passage."""
        self._found = 0
        """Files of text come upon so far."""
        self._sources = [source for name in names if not isinstance(source := self._find(name), Scope)]
        self._rows = 0
        self._done = 0
        self._tell: Callable[[], int] = int

    @property
    def size(self) -> int | None:
        """Bytes of all sources as they lie on disk; None where that is not known beforehand."""
        files = [source for source in self._sources if isinstance(source, File)]
        return sum(file.path.stat().st_size for file in files) if len(files) == len(self._sources) else None

    @property
    def position(self) -> int:
        """Bytes read so far."""
        return self._done + self._tell()

    def __iter__(self) -> Iterator[Item]:
        """Yield each record with its place.

        Raises:
            InvalidRecord: a bad record, unless they are skipped.
            InvalidInput: a source that cannot be read, or holds no record.
            MissingExtra: the library for its format is not installed.
        """
        for source in self._sources:
            before, found, empty = self.rejects.count, self._found, True
            for item in self._read(source):
                empty = False
                yield item
            if empty and self.rejects.count == before and not self._may_be_empty(source, self._found - found):
                raise InvalidInput(f"{_name(source)} holds no record{self._remedy}")

    def _may_be_empty(self, source: File | Path | None, found: int) -> bool:
        is_text = isinstance(source, Path) or (source is not None and source.format in TEXTS)
        return is_text and (self._how.allow_missing or (self._how.allow_blank and found > 0))

    @property
    def _remedy(self) -> str:
        return "; --force removes the records that the index has of it" if self._how.allow_blank else ""

    def _find(self, name: str) -> File | Path | Scope | None:
        """Return a file, a folder, None for standard input; or a scope where there may be nothing, and is not."""
        if name == STDIN:
            self.others.append("standard input")
            return None
        path = Path(os.path.expanduser(name))
        if not path.exists() and self._how.allow_blank and format_of(path) in (None, *TEXTS):
            if not self._how.allow_missing:
                raise InvalidInput(f"no such file or folder: {name}{self._remedy}")
            self.scopes += [Scope.of(path, is_file=False), Scope.of(path, is_file=True)]
            return self.scopes[-1]
        source = path if path.is_dir() else find_file(name, allow_empty=self._how.allow_missing)
        if isinstance(source, Path) or source.format in TEXTS:
            self.scopes.append(Scope.of(path, is_file=isinstance(source, File)))
        else:
            self.others.append(name)
        return source

    def _read(self, source: File | Path | None) -> Iterator[Item]:
        if source is None:
            return self._standard_input()
        if isinstance(source, Path):
            return self._folder(source)
        if source.format in TEXTS:
            return self._text(source, TextFile(*Scope.of(source.path, is_file=True)))
        return self._file(source)

    def _standard_input(self) -> Iterator[Item]:
        name = "standard input"
        with reading(name):
            yield from self._items(read_jsonl(self._utf8(sys.stdin.buffer, name), name, self.rejects))

    def _folder(self, folder: Path) -> Iterator[Item]:
        root = Scope.of(folder, is_file=False).root
        waiting = [folder]
        while waiting:
            path = waiting.pop()
            place = TextFile(root, path.relative_to(folder).as_posix())
            try:
                if path.is_dir() or path.suffix.lower() not in SUFFIXES:  # the latter: a folder that is gone by now
                    waiting += _children(path)
                else:
                    yield from self._text(File(path, FORMATS[path.suffix.lower()], ""), place)
            except InvalidRecord:
                raise
            except InvalidInput as error:
                self.unread.add(place)
                self.rejects.whole(error)

    def _text(self, file: File, place: TextFile) -> Iterator[Item]:
        """Yield the passages of a file, after all of it was read and decoded: it is stored whole or not at all."""
        name, empty = str(file.path), True
        self._found += 1
        try:
            with self._opened(file) as stream:
                copy = spooled(stream, TEXT_FILE, name)
            with copy:
                check_text(copy, name)
                for item in read_passages(copy, name, place, markdown=file.format == "markdown"):
                    empty = False
                    yield item
        except InvalidRecord as error:
            self.unread.add(place)
            then = "nothing of this file is stored" if self.rejects.skip else "--skip-bad skips such files"
            self.rejects.whole(InvalidRecord(f"{error} ({then})"))
            return
        if empty:
            self.blank.add(place)

    def _file(self, file: File) -> Iterator[Item]:
        with self._opened(file) as stream:
            yield from self._items(self._rows_of(stream, file))

    @contextmanager
    def _opened(self, file: File) -> Generator[BinaryIO]:
        """Open a file and decompress it; what is text, as UTF-8."""
        name = str(file.path)
        with reading(name, file.compression), ExitStack() as stack:
            raw = stack.enter_context(open(file.path, "rb"))
            size = os.fstat(raw.fileno()).st_size
            self._tell = raw.tell if file.format != "parquet" else int
            stream = stack.enter_context(decompressed(file, raw))
            if file.format not in BINARY:
                stream = self._utf8(stream, name)
            reads_twice = file.format in TABLES and not self._how.strings
            if reads_twice and not (raw.seekable() and stream.seekable()):
                stream = stack.enter_context(spooled(stream, TEXT_FILE, name))
            yield stream
            self._tell = int
            self._done += size

    def _utf8(self, stream: BinaryIO, name: str) -> BinaryIO:
        return stream if self._how.encoding is None else recoded(stream, self._how.encoding, name)

    def _rows_of(self, stream: BinaryIO, file: File) -> Iterator[Row]:
        name = str(file.path)
        if file.format == "jsonl":
            return read_jsonl(stream, name, self.rejects)
        if file.format == "parquet":
            return read_parquet(stream, name, self.rejects, self._fields)
        if file.format == "npy":
            return read_vectors(stream, name)
        if file.format == "faiss":
            return read_faiss(file)
        delimiter = "\t" if file.format == "tsv" else ","
        return read_delimited(stream, name, self.rejects, self._fields, delimiter, strings=self._how.strings)

    def _items(self, rows: Iterator[Row]) -> Iterator[Item]:
        for row in rows:
            item = self._fields.item(row, self.rejects, self._rows)
            self._rows += 1
            if item is not None:
                yield item


def _children(folder: Path) -> list[Path]:
    """Return what is read of a folder, the last first: hidden names are left out, links to folders not followed."""
    with reading(str(folder)):
        paths = sorted(folder.iterdir(), reverse=True)
        return [path for path in paths if _is_wanted(path, PurePosixPath(path.name))]


def _is_wanted(path: Path, name: PurePosixPath) -> bool:
    if path.is_dir():
        return not path.is_symlink() and not path.name.startswith(".")
    return is_read(name) and (path.is_file() or not path.exists())  # what is no regular file may have no end


def _name(source: File | Path | None) -> str:
    if source is None:
        return "standard input"
    if isinstance(source, File):
        return str(source.path)
    return f"{source} (looked for {', '.join(SUFFIXES)} files in it)"
