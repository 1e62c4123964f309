"""Files that somebody else made: whatever they claim, they cost little and end in one clear line."""

from __future__ import annotations

import gzip
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jinavec.errors import InvalidInput, InvalidRecord
from jinavec.extras import require
from jinavec.limits import DEPTH, LINE
from jinavec_adapters.cli.sources import Item, Reading, Rejects

Run = Callable[..., Any]
Read = Callable[..., list[Item]]
Give = Callable[[bytes], None]
FLAGS = ("--to", "faiss:index", "--model", "lexical", "--dimension", 64)
arrow: Any = require("pyarrow", "parquet")
parquet: Any = require("pyarrow.parquet", "parquet")


def compressed(path: Path, *parts: bytes) -> Path:
    with gzip.open(path, "wb", 1) as file:
        for part in parts:
            file.write(part)
    return path


def nested(depth: int) -> str:
    return "[" * depth + "1" + "]" * depth


def test_a_line_without_an_end(read: Read, tmp_path: Path) -> None:
    long = (b"x" * LINE, b"x" * LINE, b'"}\n')
    path = compressed(tmp_path / "a.jsonl.gz", b'{"text": "a"}\n{"text": "', *long, b'{"text": "b"}\n')
    with pytest.raises(InvalidRecord, match=r"a.jsonl.gz:2: longer than 16,777,216 bytes"):
        read(path)
    rejects = Rejects(skip=True)
    assert [item.record.text for item in read(path, rejects=rejects)] == ["a", "b"]
    assert rejects.count == 1


def test_a_line_of_just_the_limit(read: Read, tmp_path: Path) -> None:
    frame = b'{"text": "%b"}\n'
    for extra, fits in ((0, True), (1, False)):
        path = tmp_path / "a.jsonl"
        path.write_bytes(frame % (b"x" * (LINE + extra - len(frame) + 2)) + b'{"text": "after"}')
        assert [len(item.record.text) > 5 for item in read(path, rejects=Rejects(skip=True))] == [True] * fits + [False]


def test_standard_input_without_a_line_end(read: Read, give: Give) -> None:
    give(b"[" * (LINE + 1))
    with pytest.raises(InvalidRecord, match="standard input:1: longer than"):
        read("-")


@pytest.mark.parametrize(
    "parts, place",
    [
        ([b'id,text\n1,a\n2,"', *[(b"x" * 1023 + b"\n") * 2**10] * 17], "a.csv.gz:3: the row is longer than"),
        ([b"id,text\n1,a\n2", *[(b',"' + b"x" * 1020 + b'\n"') * 2**10] * 17], "a.csv.gz:3: the row is longer than"),
        ([b"id,text\n1,a\n2,", b"x" * (LINE + 1)], "a.csv.gz:3: the line is longer than"),
        ([b"text,", b"x" * (LINE + 1)], "a.csv.gz:1: the line is longer than"),
    ],
    ids=["open quote", "cells", "cell", "header"],
)
@pytest.mark.parametrize("strings", [False, True])
def test_a_csv_row_without_an_end(read: Read, tmp_path: Path, parts: list[bytes], place: str, strings: bool) -> None:
    path = compressed(tmp_path / "a.csv.gz", *parts)
    with pytest.raises(InvalidInput, match=place):
        read(path, rejects=Rejects(skip=True), how=Reading(strings=strings))


@pytest.mark.parametrize("depth", [DEPTH + 1, 700, 2000, 100_000])
@pytest.mark.parametrize("field", ["text", "id", "meta", "metadata"])
def test_nested_json(read: Read, tmp_path: Path, depth: int, field: str) -> None:
    path = tmp_path / "a.jsonl"
    deep = '{"text": "x", %s: %s}'.replace('"text": "x", ', "") if field == "text" else '{"text": "x", %s: %s}'
    value = f'{{"m": {nested(depth)}}}' if field == "metadata" else nested(depth)
    path.write_text('{"text": "a"}\n' + deep % (json.dumps(field), value) + "\n")
    with pytest.raises(InvalidRecord, match="a.jsonl:2: ") as caught:
        read(path)
    assert len(str(caught.value)) < 500
    assert len(read(path, rejects=Rejects(skip=True))) == 1


def test_the_depth_that_is_allowed(read: Read, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"text": "x", "m": {nested(DEPTH - 1)}}}')
    assert len(read(path)) == 1


def npy(header: str, claimed: int | None = None, rest: bytes = b"") -> bytes:
    length = len(header) if claimed is None else claimed
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", length) + header.encode() + rest


def shaped(shape: str, kind: str = "<f4") -> str:
    return f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n"


@pytest.mark.parametrize(
    "content",
    [
        npy(shaped("(1, 64)"), claimed=2**32 - 1),
        npy(" " * 100_000),
        npy(shaped("(-1, 64)")),
        npy(shaped("(1, -64)")),
        npy(shaped(f"({2**70}, 64)"), rest=b"\1" * 999),
        npy(shaped(f"(1, {2**60})")),
        npy(shaped("(1000000, 65536)", "<f16"), rest=b"\1" * 999),
        npy(shaped("(" * 900 + ")" * 900)),
        npy(shaped("-" * 9000 + "1")),
        npy(shaped("(1, 64)", "|O"), rest=b"\1" * 999),
        npy(shaped("(1, 64)", "|V2147483647"), rest=b"\1" * 999),
        b"\x93NUMPY\x02\x00",
    ],
    ids=range(12),
)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_an_npy_header_that_claims_anything(run: Run, content: bytes, suffix: str) -> None:
    Path(f"a.npy{suffix}").write_bytes(gzip.compress(content) if suffix else content)
    done = run("index", f"a.npy{suffix}", *FLAGS)
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert done.err.startswith("jinavec: error: ") and "a.npy" in done.err and "bug" not in done.err
    assert len(done.err) < 500
    assert not Path("index").exists()


DEEP = f'name = "x"\nwidth = 64\nbackend = "lexical"\nprompts.retrieval.query = {nested(5000)}'
PROFILES = {
    "deep": (DEEP, "nested deeper than 100 levels"),
    "less deep": (DEEP.replace(nested(5000), nested(150)), "nested deeper than 100 levels"),
    "dotted": ('name = "x"\nwidth = 64\n' + ".".join(["a"] * 5000) + " = 1", "more than 100 dots"),
    "large": ('name = "x"\n#' + "x" * 2**17, "larger than 65,536 bytes"),
    "not UTF-8": (b'name = "\xff"', "utf-8"),
}


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_without_bounds(run: Run, name: str) -> None:
    content, reason = PROFILES[name]
    Path("p.toml").write_bytes(content if isinstance(content, bytes) else content.encode())
    Path("a.jsonl").write_text('{"text": "x"}')
    done = run("index", "a.jsonl", "--to", "faiss:index", "--profile", "p.toml")
    assert (done.code, reason in done.err, done.err.count("\n")) == (2, True, 1)
    assert "cannot read the model profile 'p.toml'" in done.err
    done = run("serve", "--config", "p.toml", "--check")
    assert (done.code, reason in done.err, done.err.count("\n")) == (2, True, 1)


@pytest.mark.parametrize("name", ["/dev/zero", "pipe.toml"])
def test_a_profile_that_is_no_file(run: Run, name: str) -> None:
    os.mkfifo("pipe.toml")
    Path("a.jsonl").write_text('{"text": "x"}')
    done = run("index", "a.jsonl", "--to", "faiss:index", "--profile", name)
    assert (done.code, "not a regular file" in done.err) == (2, True)


def test_a_folder_with_a_pipe_and_of_great_depth(read: Read, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.md")
    folders = [str(tmp_path)]
    for _ in range(1100):  # more than Python's limit of recursion
        folders.append(f"{folders[-1]}/d")
        os.mkdir(folders[-1])
    (Path(folders[-1]) / "a.md").write_text("deep")
    assert [item.record.text for item in read(tmp_path)] == ["deep"]
    (Path(folders[-1]) / "a.md").unlink()
    for folder in reversed(folders[1:]):  # else pytest's own clean-up recurses
        os.rmdir(folder)


def test_a_text_larger_than_a_text_may_be(read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jinavec_adapters.cli.sources.TEXT_FILE", 2**20)
    path = compressed(tmp_path / "a.txt.gz", b"fine " * 10, b"\n" * 2**21)
    with pytest.raises(InvalidInput, match="a.txt.gz holds more than 1,048,576 bytes: split it"):
        read(path)


def test_parquet_with_nested_json_and_long_rows(read: Read, tmp_path: Path) -> None:
    mark = {"ARROW:extension:name": "arrow.json", "ARROW:extension:metadata": ""}
    schema = arrow.schema([arrow.field("text", arrow.string()), arrow.field("m", arrow.string(), metadata=mark)])
    deep = tmp_path / "deep.parquet"
    parquet.write_table(arrow.table({"text": ["a", "b"], "m": ["{}", nested(5000)]}, schema=schema), deep)
    with pytest.raises(InvalidInput, match="row 2, column 'm' is not JSON: nested deeper"):
        read(deep)
    long = tmp_path / "long.parquet"
    parquet.write_table(arrow.table({"text": ["x" * (LINE + 1)]}), long)
    with pytest.raises(InvalidInput, match="long.parquet: the rows behind row 0 have 16,777,.* bytes on average"):
        read(long)


def test_rows_of_parquet_that_share_a_long_text_are_few_at_a_time(tmp_path: Path) -> None:
    from jinavec.parquet import ParquetFile

    shared = arrow.DictionaryArray.from_arrays(arrow.array([0] * 500, arrow.int32()), arrow.array(["x" * 2**20]))
    parquet.write_table(arrow.table({"text": shared}), tmp_path / "a.parquet")
    with ParquetFile(tmp_path / "a.parquet", "a") as file:
        sizes = [len(rows) for rows, _ in file.batches(None, 1024)]
    assert sum(sizes) == 500
    assert max(sizes) <= 64
