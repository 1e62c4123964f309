"""Files by their suffixes: which reader, which compression."""

from __future__ import annotations

import gzip
import io
import shutil
import sys
import tempfile
import zlib
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from jinavec.errors import InvalidInput
from jinavec.extras import require

FORMATS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".npy": "npy",
    ".txt": "text",
    ".md": "markdown",
    ".markdown": "markdown",
}
COMPRESSIONS = (".gz", ".zst")


class File(NamedTuple):
    """A file and how to read it."""

    path: Path
    format: str
    """A value of ``FORMATS``."""
    compression: str
    """One of ``COMPRESSIONS``, or empty."""


def find_file(path: Path) -> File:
    """Decide by the suffixes of a path how to read it.

    Raises:
        InvalidInput: there is no such file, it is empty, or its suffix is unknown.
    """
    compression = path.suffix.lower() if path.suffix.lower() in COMPRESSIONS else ""
    suffix = (path.with_suffix("") if compression else path).suffix.lower()
    with reading(str(path)):
        size = path.stat().st_size
    if suffix not in FORMATS:
        raise InvalidInput(
            f"cannot tell the format of {path}; known suffixes: {', '.join(FORMATS)}, each also with"
            f" {' or '.join(COMPRESSIONS)}; standard input (-) is JSON lines"
        )
    if path.is_file() and size == 0:
        raise InvalidInput(f"{path} is empty")
    return File(path, FORMATS[suffix], compression)


def decompressed(file: File, raw: BinaryIO) -> BinaryIO:
    """Return the plain bytes of an open file; seekable for Parquet, which is read from its end."""
    if not file.compression:
        return raw
    compressed = gzip.GzipFile(fileobj=raw) if file.compression == ".gz" else _zstd_file(raw)
    stream = cast(BinaryIO, io.BufferedReader(compressed, 1 << 16))
    return _on_disk(stream) if file.format == "parquet" else stream


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


def _zstd() -> Any:
    return require("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd", "zstd")


def _zstd_file(raw: BinaryIO) -> Any:
    zstd = _zstd()
    return zstd.ZstdFile(raw, options={zstd.DecompressionParameter.window_log_max: 31})  # as `zstd --long=31` writes


def _zstd_errors(compression: str) -> tuple[type[Exception], ...]:
    return (_zstd().ZstdError,) if compression == ".zst" else ()


def _on_disk(stream: BinaryIO) -> BinaryIO:
    with ExitStack() as stack:
        copy = stack.enter_context(tempfile.TemporaryFile())
        with stream:
            shutil.copyfileobj(stream, copy, 1 << 20)
        copy.seek(0)
        stack.pop_all()  # complete: the caller closes it
    return cast(BinaryIO, copy)
