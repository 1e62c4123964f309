"""Files by their suffixes: which reader, which compression."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import sys
import tempfile
import zlib
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from jinavec.errors import InvalidInput, InvalidRecord, brief
from jinavec.extras import require

FORMATS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".npy": "npy",
    ".faiss": "faiss",
    ".txt": "text",
    ".md": "markdown",
    ".markdown": "markdown",
}
TABLES = ("csv", "tsv")
TEXTS = ("text", "markdown")
BINARY = ("parquet", "npy", "faiss")
COMPRESSIONS = (".gz", ".zst")
_IN_MEMORY = 2**23  # bytes of a copy that are not worth a file
_SPOOLED = 2**30
"""Bytes that a compressed Parquet file may always have when it is decompressed to disk; beyond, ``_RATIO`` counts."""
_RATIO = 100
"""Times that such a file may grow when it is decompressed."""


class File(NamedTuple):
    """A file and how to read it."""

    path: Path
    format: str
    """A value of ``FORMATS``."""
    compression: str
    """One of ``COMPRESSIONS``, or empty."""


def find_file(name: str, *, allow_empty: bool = False) -> File:
    """Decide by the suffixes of a path how to read it, or by its first bytes if FAISS wrote it; ``~`` is expanded.

    Raises:
        InvalidInput: there is no such file, it is empty, or its suffix is unknown.
    """
    path = Path(os.path.expanduser(name))
    with reading(str(path)):
        size = path.stat().st_size
        format = format_of(path) or ("faiss" if _is_faiss(path) else None)
    if format is None:
        raise InvalidInput(
            f"cannot tell the format of {path}; known suffixes: {', '.join(FORMATS)}, each also with"
            f" {' or '.join(COMPRESSIONS)}; standard input (-) is JSON lines"
        )
    if path.is_file() and size == 0 and not allow_empty:
        raise InvalidInput(f"{path} is empty")
    return File(path, format, _compression(path))


def format_of(path: Path) -> str | None:
    """Return a value of ``FORMATS`` by the suffixes of a path, or None."""
    return FORMATS.get((path.with_suffix("") if _compression(path) else path).suffix.lower())


def _is_faiss(path: Path) -> bool:
    """Return whether a file is an index of FAISS, which users name as they like."""
    from jinavec_integrations.faiss.storage.foreign_file import faiss_file

    return faiss_file(path) is not None


def decompressed(file: File, raw: BinaryIO) -> BinaryIO:
    """Return the plain bytes of an open file; seekable for Parquet, which is read from its end."""
    if not file.compression:
        return raw
    compressed = gzip.GzipFile(fileobj=raw) if file.compression == ".gz" else _zstd_file(raw)
    stream = cast(BinaryIO, io.BufferedReader(compressed, 1 << 16))
    if file.format != "parquet":
        return stream
    return spooled(stream, max(_SPOOLED, _RATIO * file.path.stat().st_size), str(file.path))


def recoded(stream: BinaryIO, encoding: str, name: str) -> BinaryIO:
    """Return the text of a file as UTF-8.

    Raises:
        InvalidRecord: while it is read, if it is not text of that encoding.
    """
    return cast(BinaryIO, io.BufferedReader(_Recoded(stream, encoding, name), 1 << 16))


def check_encoding(encoding: str) -> None:
    """Refuse a name of no text encoding.

    Raises:
        InvalidInput: there is no such encoding, or none that is read piece by piece.
    """
    try:
        codecs.getincrementaldecoder(encoding)
        b"a".decode(encoding)
    except UnicodeError:  # one byte is not enough for it
        pass
    except (LookupError, ValueError) as error:
        raise InvalidInput(f"no text encoding {brief(encoding)}; such as latin-1, cp1252, utf-16, shift_jis") from error


def spooled(stream: BinaryIO, limit: int, name: str) -> BinaryIO:
    """Return a seekable copy of a file, in memory if it is small, else on disk; the caller closes it.

    Raises:
        InvalidInput: it has more than ``limit`` bytes.
    """
    with ExitStack() as stack:
        copy = stack.enter_context(tempfile.SpooledTemporaryFile(_IN_MEMORY))
        while block := stream.read(1 << 20):
            copy.write(block)
            if copy.tell() > limit:
                raise InvalidInput(f"{name} holds more than {limit:,} bytes: split it")
        copy.seek(0)
        stack.pop_all()  # complete
    return cast(BinaryIO, copy)


@contextmanager
def reading(name: str, compression: str = "") -> Generator[None]:
    """Translate what the operating system and the decompressors raise.

    Args:
        name: what messages call the file.
        compression: one of ``COMPRESSIONS``, or empty.

    Raises:
        InvalidInput: the file cannot be read; the message names it.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise InvalidInput(f"no such file or folder: {name}") from error
    except (OSError, EOFError, zlib.error, *_zstd_errors(compression)) as error:
        raise InvalidInput(f"cannot read {name}: {getattr(error, 'strerror', None) or error}") from error


def _compression(path: Path) -> str:
    return path.suffix.lower() if path.suffix.lower() in COMPRESSIONS else ""


def _zstd() -> Any:
    return require("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd", "zstd")


def _zstd_file(raw: BinaryIO) -> Any:
    zstd = _zstd()
    return zstd.ZstdFile(raw, options={zstd.DecompressionParameter.window_log_max: 31})  # as `zstd --long=31` writes


def _zstd_errors(compression: str) -> tuple[type[Exception], ...]:
    return (_zstd().ZstdError,) if compression == ".zst" else ()


class _Recoded(io.RawIOBase):
    def __init__(self, stream: BinaryIO, encoding: str, name: str) -> None:
        self._stream = stream
        self._encoding = encoding
        self._name = name
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._read = 0
        self._left = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left and not self._ended:
            block = self._stream.read(1 << 16)
            self._ended = not block
            try:
                self._left = self._decoder.decode(block, final=self._ended).encode()
            except UnicodeError as error:
                reason = error.reason if isinstance(error, UnicodeDecodeError) else error
                place = f"behind byte {self._read:,}"
                raise InvalidRecord(f"{self._name}: not {self._encoding}: {reason}, {place}") from error
            self._read += len(block)
        part, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)
