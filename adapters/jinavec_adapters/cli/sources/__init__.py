"""What the command line reads: JSON lines, CSV, Parquet, NumPy and folders of text, as one stream of records."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from jinavec.errors import InvalidInput
from jinavec_adapters.cli.sources.alike import alike
from jinavec_adapters.cli.sources.delimited import read_delimited
from jinavec_adapters.cli.sources.duplicates import Distinct
from jinavec_adapters.cli.sources.fields import Fields, Item, Row
from jinavec_adapters.cli.sources.files import FORMATS, File, decompressed, find_file, reading
from jinavec_adapters.cli.sources.jsonl import read_jsonl
from jinavec_adapters.cli.sources.npy import read_vectors
from jinavec_adapters.cli.sources.parquet import read_parquet
from jinavec_adapters.cli.sources.passages import read_passages
from jinavec_adapters.cli.sources.rejects import Rejects
from jinavec_adapters.cli.sources.vectors_beside import vectors_beside

__all__ = ["STDIN", "Distinct", "Fields", "Item", "Rejects", "Sources", "alike", "vectors_beside"]

STDIN = "-"
_TEXTS = tuple(suffix for suffix, format in FORMATS.items() if format in ("text", "markdown"))


class Sources:
    """The records of files, folders and standard input, one after another, in bounded memory.

    Raises:
        InvalidInput: a source does not exist, is empty or of an unknown format; found before anything is read.
    """

    def __init__(self, names: Sequence[str], fields: Fields, rejects: Rejects) -> None:
        if names.count(STDIN) > 1:
            raise InvalidInput("standard input (-) can be read once only")
        if STDIN in names and sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison]
            raise InvalidInput("standard input (-) is closed")
        self._sources = [_find(name) for name in names]
        self._fields = fields
        self.rejects = rejects
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
            before, empty = self.rejects.count, True
            for item in self._read(source):
                empty = False
                yield item
            if empty and self.rejects.count == before:
                raise InvalidInput(f"{_name(source)} holds no record")

    def _read(self, source: File | Path | None) -> Iterator[Item]:
        if source is None:
            return self._standard_input()
        if isinstance(source, File):
            return self._file(source, source.path.name)
        return self._folder(source)

    def _standard_input(self) -> Iterator[Item]:
        with reading("standard input"):
            yield from self._items(read_jsonl(sys.stdin.buffer, "standard input", self.rejects))

    def _folder(self, folder: Path) -> Iterator[Item]:
        for path in _walk(folder):
            file = File(path, FORMATS[path.suffix.lower()], "")
            yield from self._file(file, path.relative_to(folder).as_posix())

    def _file(self, file: File, relative: str) -> Iterator[Item]:
        with reading(str(file.path), file.compression), open(file.path, "rb") as raw:
            self._tell = raw.tell if file.format != "parquet" else int
            with decompressed(file, raw) as stream:
                yield from self._parse(stream, file, relative)
            self._tell = int
        self._done += file.path.stat().st_size

    def _parse(self, stream: BinaryIO, file: File, relative: str) -> Iterator[Item]:
        name = str(file.path)
        if file.format in ("text", "markdown"):
            return read_passages(stream, name, self.rejects, relative, markdown=file.format == "markdown")
        if file.format == "jsonl":
            return self._items(read_jsonl(stream, name, self.rejects))
        if file.format == "parquet":
            return self._items(read_parquet(stream, name, self.rejects, self._fields))
        if file.format == "npy":
            return self._items(read_vectors(stream, name))
        delimiter = "\t" if file.format == "tsv" else ","
        return self._items(read_delimited(stream, name, self.rejects, self._fields, delimiter))

    def _items(self, rows: Iterator[Row]) -> Iterator[Item]:
        for row in rows:
            item = self._fields.item(row, self.rejects, self._rows)
            self._rows += 1
            if item is not None:
                yield item


def _find(name: str) -> File | Path | None:
    """Return a file, a folder, or None for standard input."""
    if name == STDIN:
        return None
    path = Path(name)
    return path if path.is_dir() else find_file(path)


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the text files below a folder, sorted; hidden names are left out, links to folders not followed."""
    with reading(str(folder)):
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    for path in paths:
        if path.is_dir():
            if not path.is_symlink():
                yield from _walk(path)
        elif path.suffix.lower() in _TEXTS:
            yield path


def _name(source: File | Path | None) -> str:
    if source is None:
        return "standard input"
    if isinstance(source, File):
        return str(source.path)
    return f"{source} (looked for {', '.join(_TEXTS)} files in it)"
