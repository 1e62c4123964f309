"""ParquetFile: rows as plain JSON values, vectors as arrays; and one clear error for everything else."""

from __future__ import annotations

import datetime
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jinavec.errors import InvalidInput, InvalidRecord, InvalidVectors
from jinavec.extras import require
from jinavec.parquet import ParquetFile, plain_row

arrow: Any = require("pyarrow", "parquet")
parquet: Any = require("pyarrow.parquet", "parquet")

VECTORS = np.random.default_rng(1).standard_normal((50, 8)).astype(np.float32)


def as_parquet(columns: Mapping[str, Any], **options: Any) -> io.BytesIO:
    sink = io.BytesIO()
    parquet.write_table(arrow.table(dict(columns)), sink, **options)
    return sink


@pytest.mark.parametrize("rows", [1, 7, 50, 1000])
def test_rows_and_vectors_by_batches(rows: int) -> None:
    source = as_parquet({"id": range(50), "v": list(VECTORS)}, row_group_size=20)
    with ParquetFile(source, "a") as file:
        batches = list(file.batches("v", rows))
    assert all(len(values) <= rows for values, _ in batches)
    assert [value for values, _ in batches for value in values] == [{"id": row} for row in range(50)]
    np.testing.assert_array_equal(np.concatenate([vectors for _, vectors in batches if vectors is not None]), VECTORS)


def test_vectors_alone_have_empty_rows() -> None:
    with ParquetFile(as_parquet({"v": list(VECTORS)}), "a") as file:
        [(values, _)] = file.batches("v", 100)
    assert values == [{}] * 50


def test_a_column_of_json_is_read_as_values(tmp_path: Path) -> None:
    mark = {"ARROW:extension:name": "arrow.json", "ARROW:extension:metadata": ""}
    schema = arrow.schema([arrow.field("m", arrow.string(), metadata=mark), arrow.field("text", arrow.string())])
    table = arrow.table({"m": ['{"a": [1, null]}', None, '"x"'], "text": ["{}", "1", "x"]}, schema=schema)
    parquet.write_table(table, tmp_path / "a.parquet")
    with ParquetFile(tmp_path / "a.parquet", "a") as file:
        [(values, _)] = file.batches(None, 100)
    assert [value["m"] for value in values] == [{"a": [1, None]}, None, "x"]
    assert [value["text"] for value in values] == ["{}", "1", "x"]


def test_json_that_is_none() -> None:
    mark = {"ARROW:extension:name": "arrow.json", "ARROW:extension:metadata": ""}
    schema = arrow.schema([arrow.field("m", arrow.string(), metadata=mark)])
    sink = io.BytesIO()
    parquet.write_table(arrow.table({"m": ["{"]}, schema=schema), sink)
    with ParquetFile(sink, "a.parquet") as file, pytest.raises(InvalidInput, match="cannot read a.parquet as Parquet"):
        list(file.batches(None, 100))


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"v": list(VECTORS)}, "v"),
        ({"v": list(VECTORS), "bits": list(np.ones((50, 1), np.uint8))}, "v"),
        ({"bits": list(np.ones((50, 1), np.uint8)), "n": range(50)}, "bits"),
        ({"v": list(VECTORS), "w": list(VECTORS)}, None),
        ({"words": [["a"]] * 50}, None),
    ],
)
def test_the_one_column_of_vectors(columns: Mapping[str, Any], found: str | None) -> None:
    with ParquetFile(as_parquet(columns), "a") as file:
        assert file.vector_column() == found


def test_columns_are_required_by_name() -> None:
    with ParquetFile(as_parquet({"a": [1], "b": [2]}), "x.parquet") as file:
        file.require_columns("a", None, "b")
        with pytest.raises(InvalidInput, match=r"x.parquet: no column 'c'; it has: 'a', 'b' \(--flag\)"):
            file.require_columns("a", "c", hint=" (--flag)")


def test_errors() -> None:
    with pytest.raises(InvalidInput, match="cannot read x as Parquet"):
        ParquetFile(io.BytesIO(b"PAR1"), "x")
    twice = io.BytesIO()
    parquet.write_table(arrow.Table.from_arrays([arrow.array([1]), arrow.array([2])], names=["a", "a"]), twice)
    with pytest.raises(InvalidInput, match="x: two columns are named 'a'"):
        ParquetFile(twice, "x")
    with ParquetFile(as_parquet({"v": [[1.0], [1.0, 2.0]]}), "x") as file, pytest.raises(InvalidVectors):
        list(file.batches("v", 10))


@pytest.mark.parametrize("value", [b"x", datetime.timedelta(1), [b"x"], {"a": {"b": b"x"}}])
def test_what_json_does_not_have(value: object) -> None:
    with pytest.raises(InvalidRecord, match="which JSON does not have"):
        plain_row({"a": value})
