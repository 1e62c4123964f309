"""jinavec index with vectors that were made already: .npy, Parquet, JSON lines; floats and packed bits."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jinavec import Record, open_engine
from jinavec.extras import require
from jinavec.vectors import binarize, normalize, to_int8
from jinavec_integrations.faiss import BinaryIndex

arrow: Any = require("pyarrow", "parquet")
parquet: Any = require("pyarrow.parquet", "parquet")
Run = Callable[..., Any]
WriteJsonl = Callable[[str, Sequence[object]], Path]

VECTORS = normalize(np.random.default_rng(3).standard_normal((2500, 64)))
FLAGS = ("--to", "faiss:index", "--model", "lexical", "--dimension", 64)


def check(ids: Sequence[str], *, vectors: str = "int8") -> None:
    with open_engine("faiss:index") as index:
        assert isinstance(index, BinaryIndex)
        assert index.count() == len(ids)
        assert index.info()["vectors"] == vectors
        np.testing.assert_array_equal(index.reconstruct(ids), binarize(VECTORS[: len(ids)]))
        assert index.search(VECTORS[7], 1)[0].record.id == ids[7]
        index.verify()


def fixed(vectors: Any) -> Any:
    return arrow.FixedSizeListArray.from_arrays(arrow.array(vectors.reshape(-1)), vectors.shape[1])


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16, ">f4"])
def test_npy(run: Run, kind: Any) -> None:
    np.save("a.npy", VECTORS[:2000].astype(kind))
    np.save("b.npy", VECTORS[2000:].astype(kind))
    done = run("index", "a.npy", "b.npy", *FLAGS)
    assert (done.code, done.err) == (0, "jinavec: plan: flat, by size\n")
    assert done.out == "indexed 2500 records into faiss:index (lexical, retrieval, 64 dimensions)\n"
    check([str(row) for row in range(2500)])


def test_packed_bits_keep_no_int8_copy(run: Run) -> None:
    np.save("a.npy", binarize(VECTORS))
    assert run("index", "a.npy", *FLAGS).code == 0
    assert not list(Path("index").glob("*.int8"))
    check([str(row) for row in range(2500)], vectors="none")
    assert run("index", "a.npy", "--to", "faiss:index").code == 0  # the index knows its model by now
    refused = run("index", "a.npy", "--to", "faiss:other", "--model", "lexical", "--option", "vectors=int8")
    assert refused.code == 1 and "packed bits of 8" in refused.err
    refused = run("index", "a.npy", "--to", "qdrant:folder/x", "--model", "lexical", "--dimension", 64)
    assert (refused.code, "packed bits" in refused.err) == (2, True)


@pytest.mark.parametrize(
    "column",
    [
        fixed(VECTORS),
        arrow.array(list(VECTORS)),
        arrow.array(list(VECTORS.astype(np.float64)), arrow.large_list(arrow.float64())),
        fixed(binarize(VECTORS)),
        arrow.array([row.tobytes() for row in binarize(VECTORS)], arrow.binary(8)),
    ],
    ids=["fixed", "list", "large", "bits", "binary"],
)
def test_parquet(run: Run, column: Any) -> None:
    ids = [f"id {row}" for row in range(2500)]
    table = {"id": ids, "year": range(2500), "embedding": column}
    parquet.write_table(arrow.table(table), "a.parquet", row_group_size=700)
    assert run("index", "a.parquet", *FLAGS).code == 0
    bits = "uint8" in str(column.type) or "binary" in str(column.type)
    check(ids, vectors="none" if bits else "int8")
    found = run("search", "faiss:index", "x", "--filter", "year=77", "--json").lines
    assert [(hit["id"], hit["metadata"]) for hit in found] == [("id 77", {"year": 77})]


def test_parquet_with_texts_and_vectors(run: Run) -> None:
    table = {"body": [f"text {row}" for row in range(100)], "v": fixed(VECTORS[:100]), "key": range(100)}
    parquet.write_table(arrow.table(table), "a.parquet")
    flags = ("--id-field", "key", "--text-field", "body", "--vector-field", "v")
    assert run("index", "a.parquet", *FLAGS, *flags).code == 0
    check([str(row) for row in range(100)])
    with open_engine("faiss:index") as index:
        record = index.get("7")
        assert record is not None and (record.text, record.metadata) == ("text 7", {})
    again = run("index", "a.parquet", "--to", "faiss:index", *flags, "--resume")
    assert "indexed 100 records" in again.out and "100 replaced" in again.out  # given vectors are always stored


def test_what_encode_wrote_is_indexed(run: Run, write_jsonl: WriteJsonl) -> None:
    notes = write_jsonl("notes.jsonl", [{"id": str(row), "text": f"note {row} of many"} for row in range(30)])
    encoder = ("--model", "lexical", "--dimension", 64)
    run("index", notes, "--to", "faiss:texts", *encoder)
    run("encode", notes, "--role", "document", *encoder, "--out", "notes.npy")
    run("encode", notes, "--role", "document", *encoder, "--out", "lines.jsonl")
    for source, flags in (("notes.npy", ()), ("lines.jsonl", ("--vector-field", "vector"))):
        assert run("index", source, "--to", f"faiss:{source}.index", *encoder, *flags).code == 0
        with open_engine("faiss:texts") as texts, open_engine(f"faiss:{source}.index") as vectors:
            assert isinstance(texts, BinaryIndex) and isinstance(vectors, BinaryIndex)
            ids = [str(row) for row in range(30)]
            np.testing.assert_array_equal(texts.reconstruct(ids), vectors.reconstruct(ids))


def test_vectors_beside_their_records(run: Run, write_jsonl: WriteJsonl) -> None:
    """What encode wrote goes back to the records, those that it skipped and those of one id included."""
    texts = [{"id": str(row % 29), "text": f"note {row} of many", "row": row} for row in range(30)]
    notes = write_jsonl("notes.jsonl", [*texts[:4], {"id": "bad"}, *texts[4:]])
    encoder = ("--model", "lexical", "--dimension", 64)
    run("index", notes, "--to", "faiss:texts", *encoder, "--skip-bad")
    run("encode", notes, "--role", "document", *encoder, "--out", "notes.npy", "--skip-bad")
    done = run("index", notes, "--vectors", "notes.npy", "--to", "faiss:vectors", *encoder, "--skip-bad")
    assert done.code == 0, done.err
    with open_engine("faiss:texts") as one, open_engine("faiss:vectors") as other:
        assert isinstance(one, BinaryIndex) and isinstance(other, BinaryIndex)
        ids = [str(row) for row in range(29)]
        assert one.ids() == other.ids() == ids
        assert one.get(ids) == other.get(ids)
        np.testing.assert_array_equal(one.reconstruct(ids), other.reconstruct(ids))


@pytest.mark.parametrize(
    ("vectors", "reason"),
    [
        (lambda: save("v.npy", VECTORS[:2]), "v.npy holds 2 vectors, and there are more records: notes.jsonl:3"),
        (lambda: save("v.npy", VECTORS[:4]), "v.npy holds more vectors than the 3 records"),
        (lambda: save("v.npy", VECTORS[:3, :32]), "a vector of 32 float32; 64 are expected"),
        (lambda: "absent.npy", "no such file or folder: absent.npy"),
        (lambda: "notes.jsonl", "--vectors takes an .npy or .faiss file, not notes.jsonl"),
    ],
)
def test_vectors_that_are_not_the_records(
    run: Run, write_jsonl: WriteJsonl, vectors: Callable[[], str], reason: str
) -> None:
    write_jsonl("notes.jsonl", [{"id": id, "text": id} for id in "abc"])
    done = run("index", "notes.jsonl", *FLAGS, "--vectors", vectors(), "--batch-size", 1)
    assert (done.code, done.out) == (1, "") and reason in done.err
    assert not Path("index").exists()


def test_vectors_given_twice(run: Run) -> None:
    save("v.npy", VECTORS[:3])
    done = run("index", "v.npy", *FLAGS, "--vectors", "v.npy")
    assert done.code == 1 and "v.npy, row 1 has a vector already" in done.err
    done = run("index", "-", *FLAGS, "--vectors", "v.npy")
    assert done.code == 2 and "needs records from files" in done.err


def faiss_file(name: str, ids: list[int]) -> str:
    library: Any = import_module("faiss")
    index = library.IndexBinaryIDMap2(library.IndexBinaryFlat(64))
    index.add_with_ids(binarize(VECTORS[: len(ids)]), np.array(ids))
    library.write_index_binary(index, name)
    return name


def test_a_file_of_faiss(run: Run) -> None:
    """By its suffix, or its first bytes; ids are kept, and an index of the file itself is refused with the remedy."""
    for name in ("a.faiss", "a.index"):
        done = run("index", faiss_file(name, [7, 4]), "--to", f"faiss:of-{name}", *FLAGS[2:])
        assert done.code == 0 and done.out.startswith("indexed 2 records"), done.err
        with open_engine(f"faiss:of-{name}") as index:
            assert isinstance(index, BinaryIndex)
            np.testing.assert_array_equal(index.reconstruct(["7", "4"]), binarize(VECTORS[:2]))
    for command in (("search", "faiss:a.faiss", "a question"), ("info", "faiss:a.faiss")):
        done = run(*command)
        assert done.code == 1 and "a.faiss --to faiss:DIR --model MODEL" in done.err
    np.save("v.npy", VECTORS)
    Path("b.faiss").write_bytes(Path("v.npy").read_bytes())
    assert "b.faiss is not an index file of FAISS" in run("index", "b.faiss", *FLAGS).err
    Path("a.faiss.gz").write_bytes(gzip.compress(Path("a.faiss").read_bytes()))
    assert "decompress it first" in run("index", "a.faiss.gz", *FLAGS).err
    assert not Path("index").exists()


def test_a_file_of_faiss_beside_its_records(run: Run, write_jsonl: WriteJsonl) -> None:
    notes = write_jsonl("notes.jsonl", [{"id": id, "text": f"note {id}"} for id in (7, 4)])
    done = run("index", notes, "--vectors", faiss_file("a.faiss", [4, 7]), *FLAGS)
    assert done.code == 1 and "has the id '7', but its vector in a.faiss has '4'" in done.err
    assert not Path("index").exists()
    assert run("index", notes, "--vectors", faiss_file("a.faiss", [7, 4]), *FLAGS).code == 0
    with open_engine("faiss:index") as index:
        assert isinstance(index, BinaryIndex)
        assert index.get("4") == Record("4", "note 4")
        np.testing.assert_array_equal(index.reconstruct(["7", "4"]), binarize(VECTORS[:2]))
    plain = write_jsonl("plain.jsonl", [{"id": id, "text": f"note {id}"} for id in "xy"])
    done = run("index", plain, "--vectors", faiss_file("a.faiss", [0, 1]), "--to", "faiss:plain", *FLAGS[2:])
    assert done.code == 0, done.err


def test_a_dry_run_writes_nothing(run: Run) -> None:
    np.save("a.npy", VECTORS)
    assert run("index", "a.npy", *FLAGS, "--dry-run").out.startswith("would index 2500 records")
    assert not Path("index").exists()
    assert run("index", "a.npy", *FLAGS[:-1], 128, "--dry-run").code == 1


def save(name: str, content: Any) -> str:
    np.save(name, content, allow_pickle=True)
    return name


def table(name: str, **columns: Any) -> str:
    parquet.write_table(arrow.table(columns), name)
    return name


def lines(*vectors: Any) -> str:
    Path("a.jsonl").write_text("\n".join(json.dumps({"id": "x", "vector": vector}) for vector in vectors))
    return "a.jsonl"


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda: save("a.npy", VECTORS[:, :32]), "a vector of 32 float32; 64 are expected for 64 dimensions"),
        (lambda: save("a.npy", VECTORS[0]), "holds an array of the shape"),
        (lambda: save("a.npy", np.asfortranarray(VECTORS)), "Fortran"),
        (lambda: save("a.npy", np.array([[{}]])), "holds object"),
        (lambda: save("a.npy", np.ones((2, 64), np.int32)), "holds int32"),
        (lambda: save("a.npy", np.full((2, 64), np.nan)), "finite|NaN"),
        (lambda: save("a.npy", np.zeros((2, 64))), "zero"),
        (lambda: save("a.npy", np.ones((3, 8), np.int8)), "a vector of 8 int8"),
        (lambda: save("a.npy", np.ones((0, 64))), "holds no record"),
        (lambda: (Path("a.npy").write_bytes(b"\x93NUMPY"), "a.npy")[1], "as .npy"),
        (lambda: (Path("a.npy").write_bytes(b"nothing of the kind"), "a.npy")[1], "as .npy"),
        (lambda: (Path(save("a.npy", VECTORS)).write_bytes(Path("a.npy").read_bytes()[:999]), "a.npy")[1], "truncated"),
        (lambda: table("a.parquet", id=["a"], vector=[[1.0, 2.0]]), "a vector of 2"),
        (lambda: table("a.parquet", id=["a", "b"], vector=[[1.0, 2.0], [1.0]]), "several lengths"),
        (lambda: table("a.parquet", id=["a", "b"], vector=[[1.0, 2.0], None]), "null in place"),
        (lambda: table("a.parquet", id=["a"], vector=[[1.0, None]]), "null inside"),
        (lambda: table("a.parquet", id=["a"], vector=[["x"]]), "expected lists of floats"),
        (lambda: table("a.parquet", id=["a"], other=[[1.0]]), "no column 'vector'"),
        (lambda: table("a.parquet", text=["a"]), "no column 'vector'"),
        (lambda: lines("x"), "must be a list of numbers"),
        (lambda: lines([[1.0]]), "must be a list of numbers"),
        (lambda: lines(3), "must be a list of numbers"),
        (lambda: lines([0.5] * 63), "a vector of 63"),
    ],
)
def test_vectors_that_cannot_be_stored(run: Run, write: Callable[[], str], reason: str) -> None:
    done = run("index", write(), *FLAGS, "--vector-field", "vector")
    assert (done.code, done.out) == (1, "")
    assert len(done.err.splitlines()) == 1
    assert re.search(reason, done.err), done.err
    assert not Path("index").exists() or run("info", "faiss:index", "--json").lines[0]["records"] == 0


def test_vectors_need_the_model_that_made_them(run: Run) -> None:
    np.save("a.npy", VECTORS)
    done = run("index", "a.npy", "--to", "faiss:index")
    assert done.code == 2 and "which model made them" in done.err
    assert not Path("index").exists()
    done = run("encode", "a.npy", "--role", "document", "--model", "lexical")
    assert done.code == 1 and "there is nothing to encode" in done.err


def test_texts_and_vectors_in_one_batch(run: Run, write_jsonl: WriteJsonl) -> None:
    np.save("a.npy", VECTORS)
    done = run("index", write_jsonl("a.jsonl", [{"text": "a text"}]), "a.npy", *FLAGS)
    assert done.code == 1 and "one after the other" in done.err


def test_the_plan_is_printed_stored_shown_and_overridden(run: Run) -> None:
    np.save("a.npy", VECTORS)
    done = run("index", "a.npy", *FLAGS, "--option", "nlist=8", "--option", "seed=5")
    assert (done.code, done.err) == (0, "jinavec: plan: 8 lists, as asked\n")
    assert json.loads(Path("index/manifest.json").read_text())["plan"] == {"nlist": 8, "seed": 5, "asked": True}
    assert run("info", "faiss:index", "--json").lines[0]["plan"] == "8 lists, as asked"
    assert "8 lists, as asked" in run("info", "faiss:index").out
    with open_engine("faiss:index", options={"nprobe": 8}) as index:
        assert index.search(VECTORS[9], 1)[0].record.id == "9"


def test_another_engine_takes_floats_too(run: Run) -> None:
    np.save("a.npy", VECTORS[:50])
    target = "qdrant:folder/notes"
    done = run("index", "a.npy", "--to", target, "--model", "lexical", "--dimension", 64)
    assert done.code == 0, done.err
    with open_engine(target) as index:
        assert index.count() == 50
        assert index.search(VECTORS[7], 1)[0].record.id == "7"


def affine(rows: Any) -> Any:
    """As sentence-transformers' quantize_embeddings does: the range of each dimension becomes -128 ... 127."""
    low, high = rows.min(axis=0), rows.max(axis=0)
    return ((rows - low) / ((high - low) / 255) - 128).astype(np.int8)


@pytest.mark.parametrize("kind", ["npy", "parquet"])
def test_int8_is_taken_only_as_encode_writes_it(run: Run, kind: str) -> None:
    for name, rows, remedy in (
        ("scaled", to_int8(VECTORS), ""),
        ("moved", affine(VECTORS), "ask for floats"),
        ("signed", (binarize(VECTORS).astype(np.int16) - 128).astype(np.int8), "+ 128"),
        ("bytes", (affine(VECTORS).astype(np.int16) + 128).astype(np.uint8), "ask for floats"),
    ):
        file = f"{name}.{kind}"
        np.save(file, rows) if kind == "npy" else parquet.write_table(arrow.table({"v": fixed(rows)}), file)
        done = run("index", file, *FLAGS)
        assert (done.code, remedy in done.err) == (1 if remedy else 0, True)
        if not remedy:
            with open_engine("faiss:index") as index:
                assert (index.count(), index.search(VECTORS[7], 1)[0].record.id) == (2500, "7")
