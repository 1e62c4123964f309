"""jinavec export: what is written is what index reads back."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jinavec import Contract, Engine, Record, open_engine
from jinavec.extras import require
from jinavec.vectors import binarize, normalize

parquet: Any = require("pyarrow.parquet", "parquet")
Run = Callable[..., Any]
WriteJsonl = Callable[[str, Sequence[object]], Path]

ENCODER = ("--model", "lexical", "--dimension", 64)
VECTORS = normalize(np.random.default_rng(5).standard_normal((1200, 64)))
RECORDS = [
    Record("plain", "a text"),
    Record("ünï", "two\nlines 猫 \u2028", {"deep": {"er": [1, {"x": None}]}, "n": 1.5, "ok": True}),
    Record("names", "", {"id": 9, "text": "t", "vector": [1], "metadata": {"metadata": "m"}, "n": "a string here"}),
    *(Record(str(number), f"text {number}", {"even": number % 2 == 0}) for number in range(1197)),
]


def vectors_of(engine: Engine) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for page in engine.iterate(vectors=True):
        assert page.vectors is not None
        found |= {record.id: row for record, row in zip(page, page.vectors, strict=True)}
    return found


def records_of(engine: Engine) -> dict[str, Record]:
    return {record.id: record for page in engine.iterate() for record in page}


@pytest.fixture
def index() -> str:
    with open_engine("faiss:index", contract=Contract.of("lexical", dimension=64)) as engine:
        engine.add(RECORDS, VECTORS)
    return "faiss:index"


@pytest.fixture
def bits(run: Run) -> str:
    np.save("bits.npy", binarize(VECTORS[:50]))
    assert run("index", "bits.npy", "--to", "faiss:bits", *ENCODER).code == 0
    return "faiss:bits"


pytestmark = pytest.mark.usefixtures("run")  # each test in a folder of its own


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_round_trip(run: Run, index: str, name: str) -> None:
    done = run("export", index, name, "--vectors")
    assert (done.code, done.out) == (0, f"exported 1200 records from {index} to {name}\n")
    assert done.err == "jinavec: vectors: int8 (lexical, retrieval, 64 dimensions)\n"
    again = run("index", name, "--to", "faiss:again", *ENCODER, "--vector-field", "vector")
    assert again.code == 0, again.err
    with open_engine(index) as one, open_engine("faiss:again") as other:
        assert records_of(one) == records_of(other) == {record.id: record for record in RECORDS}
        exported, read = vectors_of(one), vectors_of(other)
        assert exported.keys() == read.keys()
        for id, row in exported.items():
            np.testing.assert_allclose(read[id], row, atol=1 / 127)
            np.testing.assert_array_equal(np.sign(read[id]), np.sign(row))


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_texts_are_embedded_again_without_vectors(run: Run, index: str, name: str) -> None:
    done = run("export", index, name)
    assert (done.code, done.err) == (0, "")
    assert run("index", name, "--to", "faiss:again", *ENCODER).code == 0
    with open_engine("faiss:again") as other:
        assert records_of(other) == {record.id: record for record in RECORDS}


def test_json_lines(run: Run, index: str) -> None:
    run("export", index, "out.jsonl", "--vectors")
    lines = {line["id"]: line for line in map(json.loads, Path("out.jsonl").read_bytes().split(b"\n")[:-1])}
    assert len(lines) == 1200
    assert list(lines["names"]) == ["id", "text", "metadata", "vector"]
    assert lines["names"]["metadata"] == RECORDS[2].metadata
    np.testing.assert_allclose(lines["names"]["vector"], VECTORS[2], atol=0.01)


def test_parquet_says_what_its_vectors_are(run: Run, index: str, bits: str) -> None:
    about: dict[str, Any] = {}
    for target, name in ((index, "int8.parquet"), (bits, "bits.parquet")):
        assert run("export", target, name, "--vectors").code == 0
        about[name] = json.loads(parquet.read_schema(name).metadata[b"jinavec"])
    assert about["int8.parquet"]["vectors"] == "int8"
    assert about["bits.parquet"]["vectors"] == "bits"
    assert Contract.from_json(about["int8.parquet"]["contract"]) == Contract.of("lexical", dimension=64)
    assert run("export", index, "none.parquet").code == 0
    assert json.loads(parquet.read_schema("none.parquet").metadata[b"jinavec"])["vectors"] is None
    assert parquet.read_schema("none.parquet").names == ["id", "text", "metadata"]


def test_bits_go_out_and_come_back_packed(run: Run, bits: str) -> None:
    run("export", bits, "out.parquet", "--vectors")
    assert run("index", "out.parquet", "--to", "faiss:again", *ENCODER, "--vector-field", "vector").code == 0
    with open_engine("faiss:again") as again:
        assert again.info()["vectors"] == "none"
        for id, row in vectors_of(again).items():
            np.testing.assert_array_equal(binarize(row[None])[0], binarize(VECTORS[int(id)][None])[0])


def test_filter(run: Run, index: str) -> None:
    assert run("export", index, "out.jsonl", "--filter", "even=true").out.startswith("exported 599 records")
    lines = map(json.loads, Path("out.jsonl").read_text("utf-8").splitlines())
    assert all(line["metadata"]["even"] is True for line in lines)


def test_a_file_that_exists_is_replaced_only_by_force(run: Run, index: str) -> None:
    Path("out.jsonl").write_text("before")
    refused = run("export", index, "out.jsonl")
    assert (refused.code, refused.out) == (1, "")
    assert "out.jsonl already exists; --force replaces it" in refused.err
    assert Path("out.jsonl").read_text() == "before"
    assert run("export", index, "out.jsonl", "--force").code == 0
    assert Path("out.jsonl").read_text().count("\n") == 1200


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_a_failure_leaves_the_file_that_was_there(
    run: Run, index: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    iterate = Engine.iterate

    def failing(self: Engine, *arguments: Any, **named: Any) -> Any:
        yield next(iterate(self, *arguments, **named))
        raise OSError("the disk is gone")

    Path(name).write_text("before")
    monkeypatch.setattr(Engine, "iterate", failing)
    done = run("export", index, name, "--force")
    assert (done.code, done.out) == (1, "")
    assert Path(name).read_text() == "before"
    assert not [path for path in Path().iterdir() if path.name.endswith(".tmp")]


def test_usage(run: Run, index: str) -> None:
    done = run("export", index, "out.csv")
    assert (done.code, "OUT must end in .jsonl or .parquet, not 'out.csv'" in done.err) == (2, True)
    assert run("export", index, "nowhere/out.jsonl").code == 1
