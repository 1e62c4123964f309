"""Vectors as an .npy array or as JSON lines, written as they come."""

from __future__ import annotations

import json
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.lib import format as npy

from jinavec.errors import InvalidDimension
from jinavec.vectors import Float32, binarize, to_int8
from jinavec_adapters.cli.atomic_file import atomic_file
from jinavec_adapters.cli.usage import UsageError

Format = Literal["float32", "int8", "bits"]


class VectorWriter(ABC):
    """Takes vectors batch by batch."""

    def __init__(self, format: Format) -> None:
        self._format: Format = format

    def write(self, ids: Sequence[str], vectors: Float32) -> None:
        """Write float32 rows (n, dimension) in the writer's format."""
        self._write(ids, _converted(vectors, self._format))

    @abstractmethod
    def _write(self, ids: Sequence[str], rows: np.ndarray[Any, Any]) -> None: ...


@contextmanager
def vector_writer(out: str | None, format: Format, dimension: int) -> Generator[VectorWriter]:
    """Open a writer for a file, by its suffix, or for standard output as JSON lines.

    Raises:
        UsageError: a suffix other than .npy and .jsonl.
        InvalidDimension: bits of a dimension that is not a multiple of 8.
        JinavecError: the file cannot be written.
    """
    if format == "bits" and dimension % 8:
        raise InvalidDimension(f"bits need a dimension that is a multiple of 8, not {dimension}")
    if out is None:
        yield _Lines(sys.stdout.buffer, format)
        return
    path = Path(os.path.expanduser(out))
    if path.suffix not in (".npy", ".jsonl"):
        raise UsageError(f"--out takes a file ending in .npy or .jsonl, not {out!r}")
    with atomic_file(path) as file:
        if path.suffix == ".jsonl":
            yield _Lines(file, format)
        else:
            array = _Array(file, format, dimension)
            yield array
            array.finish()


class _Array(VectorWriter):
    """An .npy file of (n, width): float32, int8, or uint8 with eight dimensions a byte, the first one highest."""

    def __init__(self, file: BinaryIO, format: Format, dimension: int) -> None:
        super().__init__(format)
        self._file = file
        self._width = dimension // 8 if format == "bits" else dimension
        self._rows = 0
        self._header()

    def _write(self, ids: Sequence[str], rows: np.ndarray[Any, Any]) -> None:
        self._file.write(rows.tobytes())
        self._rows += len(rows)

    def finish(self) -> None:
        """Write the number of rows into the header: NumPy leaves room for it to grow."""
        self._file.seek(0)
        self._header()

    def _header(self) -> None:
        kind = np.dtype({"float32": "<f4", "int8": "i1", "bits": "u1"}[self._format])
        header: dict[str, Any] = {
            "descr": npy.dtype_to_descr(kind),
            "fortran_order": False,
            "shape": (self._rows, self._width),
        }
        npy.write_array_header_1_0(self._file, header)


class _Lines(VectorWriter):
    """JSON lines ``{"id": ..., "vector": [...]}``; bits are numbers from 0 to 255, eight dimensions each."""

    def __init__(self, file: BinaryIO, format: Format) -> None:
        super().__init__(format)
        self._file = file

    def _write(self, ids: Sequence[str], rows: np.ndarray[Any, Any]) -> None:
        for id, row in zip(ids, rows, strict=True):
            id_json = json.dumps(id, ensure_ascii=False)
            self._file.write(f'{{"id": {id_json}, "vector": {vector_json(row)}}}\n'.encode())


def vector_json(row: np.ndarray[Any, Any]) -> str:
    """Return a vector as a JSON array; nine digits give every float32 back exactly."""
    number = "{:.9g}" if row.dtype.kind == "f" else "{}"
    return f"[{', '.join(map(number.format, row.tolist()))}]"


def _converted(vectors: Float32, format: Format) -> np.ndarray[Any, Any]:
    if format == "float32":
        return vectors.astype("<f4", copy=False)
    return to_int8(vectors) if format == "int8" else binarize(vectors)
