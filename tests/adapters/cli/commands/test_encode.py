"""jinavec encode: the vectors of Encoder.encode, in the three formats."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jinavec import Encoder
from jinavec.vectors import binarize, to_int8

Run = Callable[..., Any]
WriteJsonl = Callable[[str, Sequence[object]], Path]

TEXTS = ["one cat", "two dogs", "drei Katzen", "one cat", "四匹の犬"]


@pytest.fixture
def source(write_jsonl: WriteJsonl) -> Path:
    return write_jsonl("texts.jsonl", [{"id": n, "text": text} for n, text in enumerate(TEXTS)])


@pytest.fixture(scope="module")
def vectors() -> dict[str, Any]:
    rows = Encoder.load("lexical", dimension=128).encode(TEXTS, role="document")
    return {"float32": rows, "int8": to_int8(rows), "bits": binarize(rows)}


FLAGS = ("--model", "lexical", "--dimension", "128", "--role", "document")


@pytest.mark.parametrize("format, kind, width", [("float32", "<f4", 128), ("int8", "|i1", 128), ("bits", "|u1", 16)])
@pytest.mark.parametrize("size", [1, 2, 1000])
def test_npy(run: Run, source: Path, vectors: dict[str, Any], format: str, kind: str, width: int, size: int) -> None:
    done = run("encode", source, *FLAGS, "--format", format, "--out", "v.npy", "--batch-size", size)
    assert (done.code, done.out) == (0, "")
    assert "encoded 5 records (lexical, retrieval, 128 dimensions, document)" in done.err
    array = np.load("v.npy")
    assert (array.dtype.str, array.shape) == (kind, (5, width))
    np.testing.assert_array_equal(array, vectors[format])
    assert sorted(path.name for path in Path().iterdir()) == ["texts.jsonl", "v.npy", "v.npy.contract.json"]


@pytest.mark.parametrize("format", ["float32", "int8", "bits"])
@pytest.mark.parametrize("out", [(), ("--out", "v.jsonl")], ids=["stdout", "file"])
def test_json_lines(run: Run, source: Path, vectors: dict[str, Any], format: str, out: tuple[str, ...]) -> None:
    done = run("encode", source, *FLAGS, "--format", format, *out)
    lines = (Path("v.jsonl").read_text() if out else done.out).splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["id"] for row in rows] == ["0", "1", "2", "3", "4"]
    np.testing.assert_array_equal(np.array([row["vector"] for row in rows], vectors[format].dtype), vectors[format])


def test_the_role_decides_the_prefix(run: Run, source: Path, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(
        'name = "p"\nwidth = 64\nbackend = "lexical"\n[prompts.retrieval]\nquery = "ask: "\ndocument = "tell: "\n'
    )
    plain = Encoder.load("lexical", dimension=64)
    profiled = {role: f"{prefix}: " for role, prefix in [("query", "ask"), ("document", "tell")]}
    for role, prefix in profiled.items():
        assert run("encode", source, "--profile", "p.toml", "--role", role, "--out", "v.npy").code == 0
        expected = plain.encode([prefix + text for text in TEXTS], role="document")
        assert np.load("v.npy").shape == expected.shape
        assert not np.array_equal(np.load("v.npy"), plain.encode(TEXTS, role="document"))


def test_records_without_ids_get_the_digest_of_their_text(run: Run, write_jsonl: WriteJsonl) -> None:
    done = run("encode", write_jsonl("a.jsonl", [{"text": "x"}]), *FLAGS)
    assert json.loads(done.out)["id"] == hashlib.sha256(b"x").hexdigest()


def test_a_failed_run_leaves_the_file_that_was_there(run: Run, source: Path, write_jsonl: WriteJsonl) -> None:
    bad = write_jsonl("bad.jsonl", [{"text": "x"}, {"text": 5}])
    for name in ("v.npy", "v.jsonl"):
        Path(name).write_bytes(b"before")
        done = run("encode", bad, *FLAGS, "--out", name, "--batch-size", 1)
        assert (done.code, done.out) == (1, "")
        assert f"{bad}:2: the text must be a string, not 5" in done.err
        assert Path(name).read_bytes() == b"before"
    assert not [path for path in Path().iterdir() if path.name.endswith(".tmp")]
    assert run("encode", bad, *FLAGS, "--out", "v.npy", "--skip-bad").code == 0
    assert np.load("v.npy").shape == (1, 128)


@pytest.mark.parametrize("out", ["nowhere/v.npy", "folder.npy"])
def test_a_file_that_cannot_be_written(run: Run, source: Path, tmp_path: Path, out: str) -> None:
    (tmp_path / "folder.npy").mkdir()
    done = run("encode", source, *FLAGS, "--out", out)
    assert (done.code, done.out) == (1, "")
    assert f"cannot write {out}: " in done.err


@pytest.mark.parametrize(
    "flags, reason",
    [
        (("--model", "lexical"), "Missing option '--role'"),
        (("--role", "query"), "encode needs --model NAME or --profile FILE.toml"),
        ((*FLAGS, "--out", "v.txt"), "--out takes a file ending in .npy or .jsonl, not 'v.txt'"),
        ((*FLAGS, "--format", "int4"), "'int4' is not one of"),
        (("--model", "lexical", "--role", "passage"), "'passage' is not one of"),
    ],
)
def test_misuse(run: Run, source: Path, flags: tuple[str, ...], reason: str) -> None:
    done = run("encode", source, *flags)
    assert (done.code, done.out) == (2, "")
    assert reason in done.err
    assert done.err.count("\n") == 1


def test_bits_of_a_dimension_that_does_not_fill_bytes(run: Run, source: Path, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text('name = "p"\nwidth = 100\nbackend = "lexical"\n')
    done = run("encode", source, "--profile", "p.toml", "--role", "query", "--format", "bits")
    assert done.code == 2
    assert "multiple of 8, not 100" in done.err
