"""Records as JSON lines or Parquet, written page by page; the command ``index`` reads both."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from jinavec import Contract
from jinavec.engine import Precision
from jinavec.errors import InvalidInput
from jinavec.extras import require
from jinavec.records import Page
from jinavec.vectors import binarize
from jinavec_adapters.cli.atomic_file import atomic_file
from jinavec_adapters.cli.output import record_json
from jinavec_adapters.cli.usage import UsageError
from jinavec_adapters.cli.vector_writers import vector_json


class RecordWriter(ABC):
    """Takes records page by page."""

    @abstractmethod
    def write(self, page: Page) -> None:
        """Write the records of a page, and their vectors if it has them."""


@contextmanager
def record_writer(out: str, contract: Contract, vectors: Precision | None, *, replace: bool) -> Generator[RecordWriter]:
    """Open a writer for a file, by its suffix; the file gets its name when it is complete.

    Args:
        out: the file, ending in .jsonl or .parquet.
        contract: what the vectors were made under.
        vectors: how exact they are; None: none are written.
        replace: whether a file of that name is replaced.

    Raises:
        UsageError: another suffix.
        InvalidInput: the file exists, and is not to be replaced.
        JinavecError: the file cannot be written.
        MissingExtra: pyarrow is not installed.
    """
    path = Path(os.path.expanduser(out))
    if path.suffix not in (".jsonl", ".parquet"):
        raise UsageError(f"OUT must end in .jsonl or .parquet, not {out!r}")
    if path.exists() and not replace:
        raise InvalidInput(f"{out} already exists; --force replaces it")
    with atomic_file(path) as file:
        if path.suffix == ".jsonl":
            yield _Lines(file)
            return
        schema = _schema(contract, vectors)
        with require("pyarrow.parquet", "parquet").ParquetWriter(file, schema) as writer:
            yield _Table(writer, schema, packed=vectors == "bits")


class _Lines(RecordWriter):
    """JSON lines ``{"id": ..., "text": ..., "metadata": {...}, "vector": [...]}``."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, page: Page) -> None:
        for number, record in enumerate(page):
            line = json.dumps(record_json(record), ensure_ascii=False)
            if page.vectors is not None:
                line = f'{line[:-1]}, "vector": {vector_json(page.vectors[number])}}}'
            self._file.write(f"{line}\n".encode())


class _Table(RecordWriter):
    """Parquet by the schema below."""

    def __init__(self, writer: Any, schema: Any, *, packed: bool) -> None:
        self._writer = writer
        self._schema = schema
        self._packed = packed

    def write(self, page: Page) -> None:
        arrow: Any = require("pyarrow", "parquet")
        columns: list[Any] = [
            [record.id for record in page],
            [record.text for record in page],
            [record.metadata_json() for record in page],
        ]
        if page.vectors is not None:
            rows = binarize(page.vectors) if self._packed else page.vectors
            values = arrow.array(np.ascontiguousarray(rows).reshape(-1))
            columns.append(arrow.FixedSizeListArray.from_arrays(values, rows.shape[1]))
        self._writer.write_table(arrow.table(columns, schema=self._schema))


def _schema(contract: Contract, vectors: Precision | None) -> Any:
    """Return the columns id, text, metadata (JSON) and, if there are vectors, vector.

    A vector is a list of float32; or of uint8, eight dimensions each, where the index keeps nothing but bits. The
    file's metadata has, under the key ``jinavec``, a JSON object with the contract and the precision of the vectors.
    """
    arrow: Any = require("pyarrow", "parquet")
    json_mark = {"ARROW:extension:name": "arrow.json", "ARROW:extension:metadata": ""}  # so it is read back as objects
    columns = [
        arrow.field("id", arrow.string()),
        arrow.field("text", arrow.string()),
        arrow.field("metadata", arrow.string(), metadata=json_mark),
    ]
    if vectors == "bits":
        columns.append(arrow.field("vector", arrow.list_(arrow.uint8(), -(-contract.dimension // 8))))
    elif vectors is not None:
        columns.append(arrow.field("vector", arrow.list_(arrow.float32(), contract.dimension)))
    about = json.dumps({"contract": contract.sealed(), "vectors": vectors})
    return arrow.schema(columns, metadata={"jinavec": about})
