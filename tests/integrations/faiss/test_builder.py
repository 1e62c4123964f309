"""The builder: every form of input, interruption, resumption, and what it refuses."""

from __future__ import annotations

import datetime
import decimal
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jinavec import Encoder, ModelProfile, Progress, Record, Role, Task
from jinavec.backends.base import Backend, Report
from jinavec.errors import ContractMismatch, EngineError, InvalidInput, InvalidRecord, InvalidType, InvalidVectors
from jinavec.extras import require
from jinavec.vectors import Float32, binarize
from jinavec_integrations.faiss import BinaryIndex, BinaryIndexBuilder, FaissOptions

from .child import CONTRACT
from .conftest import Start
from .test_index import clustered, contract

arrow: Any = require("pyarrow", "parquet")
parquet: Any = require("pyarrow.parquet", "parquet")

VECTORS = clustered(500, 64, 1)
IDS = [f"id {row}" for row in range(500)]


def check(index: BinaryIndex, ids: Sequence[str] = IDS) -> None:
    with index:
        assert index.count() == len(ids)
        np.testing.assert_array_equal(index.reconstruct(ids), binarize(VECTORS[: len(ids)]))
        for row in (0, 99, len(ids) - 1):
            assert index.search(VECTORS[row], 1)[0].record.id == ids[row]
        index.verify()


def forms(folder: Path) -> Iterator[Any]:
    yield VECTORS
    yield VECTORS.tolist()
    yield VECTORS.astype(np.float64)
    yield (VECTORS[start : start + 60] for start in range(0, 500, 60))
    VECTORS.tofile(folder / "vectors.f32")
    yield np.memmap(folder / "vectors.f32", np.float32, "r", shape=VECTORS.shape)


@pytest.mark.parametrize("number", range(5))
def test_vectors_in_any_form(tmp_path: Path, number: int) -> None:
    with BinaryIndexBuilder(tmp_path / "index", contract=contract(64)) as builder:
        assert builder.add_vectors(list(forms(tmp_path))[number], ids=IDS) == 500
        check(builder.finish())


def test_without_ids_vectors_are_numbered(tmp_path: Path) -> None:
    with BinaryIndexBuilder(tmp_path / "index", contract=contract(64)) as builder:
        builder.add_vectors(VECTORS[:200])
        builder.add_vectors(VECTORS[200:])
        check(builder.finish(), [str(row) for row in range(500)])


def test_vectors_given_again_on_resumption_are_there_once(tmp_path: Path) -> None:
    with BinaryIndexBuilder(tmp_path / "index", contract=contract(64)) as builder:
        builder.add_vectors(VECTORS[:300])
    with BinaryIndexBuilder(tmp_path / "index", contract=contract(64), resume=True) as builder:
        builder.add_vectors(VECTORS[:250])
        builder.add_vectors(VECTORS[250:])
        check(builder.finish(), [str(row) for row in range(500)])


def test_records_with_vectors(tmp_path: Path) -> None:
    builder = BinaryIndexBuilder(tmp_path / "index", contract=contract(64))
    builder.add((Record(id, f"text of {id}") for id in IDS[:300]), VECTORS[:300])
    builder.add([Record(id, f"text of {id}") for id in IDS[300:]], iter([VECTORS[300:400], VECTORS[400:]]))
    index = builder.finish()
    assert index.get("id 400") == Record("id 400", "text of id 400")
    check(index)


@pytest.mark.parametrize("records", [499, 501])
def test_as_many_vectors_as_records(tmp_path: Path, records: int) -> None:
    with BinaryIndexBuilder(tmp_path / "index", contract=contract(64)) as builder:
        with pytest.raises(InvalidInput, match="more"):
            builder.add([Record(str(row)) for row in range(records)], VECTORS)


@pytest.mark.parametrize("bits", [False, True])
def test_parquet(tmp_path: Path, bits: bool) -> None:
    rows = binarize(VECTORS) if bits else VECTORS
    columns = {"key": IDS, "words": [f"text of {id}" for id in IDS], "n": range(500), "v": list(rows)}
    parquet.write_table(arrow.table(columns), tmp_path / "a.parquet", row_group_size=99)
    with BinaryIndexBuilder(tmp_path / "index", contract=contract(64)) as builder:
        assert builder.add_parquet(tmp_path / "a.parquet", vector="v", id="key", text="words") == 500
        index = builder.finish()
    assert index.get("id 400") == Record("id 400", "text of id 400", {"n": 400})
    assert index.info()["vectors"] == ("none" if bits else "int8")
    check(index)
    with BinaryIndexBuilder(tmp_path / "numbered", contract=contract(64)) as builder:
        parquet.write_table(arrow.table({"v": list(rows)}), tmp_path / "b.parquet")
        parquet.write_table(arrow.table({"v": list(rows[250:])}), tmp_path / "c.parquet")
        builder.add_vectors(rows[:250])
        assert builder.add_parquet(tmp_path / "c.parquet", vector="v") == 250
        check(builder.finish(), [str(row) for row in range(500)])


def test_parquet_values_are_stored_as_the_command_line_stores_them(tmp_path: Path) -> None:
    moment = datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.UTC)
    columns = {"key": ["a"], "v": [VECTORS[0]], "at": [moment], "price": [decimal.Decimal("1.25")], "x": [math.nan]}
    parquet.write_table(arrow.table(columns), tmp_path / "a.parquet")
    with BinaryIndexBuilder(tmp_path / "index", contract=contract(64)) as builder:
        builder.add_parquet(tmp_path / "a.parquet", vector="v", id="key")
        index = builder.finish()
    assert index.get("a") == Record("a", "", {"at": "2024-02-29T12:30:00+00:00", "price": 1.25, "x": None})


def test_parquet_that_cannot_be_read(tmp_path: Path) -> None:
    parquet.write_table(arrow.table({"id": [None], "v": [[1.0] * 64], "w": ["x"]}), tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    with BinaryIndexBuilder(tmp_path / "index", contract=contract(64)) as builder:
        for name, columns, error in (
            ("a.parquet", {"vector": "u"}, InvalidInput),
            ("a.parquet", {"vector": "w"}, InvalidVectors),
            ("a.parquet", {"vector": "v", "id": "id"}, InvalidRecord),
            ("b.parquet", {"vector": "v"}, InvalidInput),
            ("c.parquet", {"vector": "v"}, InvalidInput),
        ):
            with pytest.raises(error):
                builder.add_parquet(tmp_path / name, **columns)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak as Linux counts it")
@pytest.mark.parametrize("form", ["batches", "map", "parquet", "bits"])
def test_the_memory_is_that_of_a_batch(tmp_path: Path, start: Start, form: str) -> None:
    """200 MiB of vectors: far less comes to be in memory at once."""
    output, _ = start("build_large", tmp_path / "index", form).communicate()
    assert 0 < int(output) < 160 * 2**20


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
def test_killed_in_every_phase_nothing_acknowledged_is_encoded_again(tmp_path: Path, start: Start) -> None:
    folder, encoded = tmp_path / "index", tmp_path / "index.encoded"
    for kill in ("encoding", "storing", "training", "assigning", "moving codes", "moving vectors", "switching"):
        output, _ = start("build_texts", folder, kill).communicate()
        assert "done" not in output
        with BinaryIndex.open(folder, options={"nprobe": 10**6}) as index:
            assert index.count() >= int((["0", *output.split()])[-1])
            index.verify()
    assert start("build_texts", folder, "never").communicate()[0].endswith("done\n")
    seen = encoded.read_text().splitlines()
    assert len(set(seen)) == 3000
    twice = len(seen) - 3000
    assert twice <= 1024, "more than the one batch that was under way was encoded again"
    with BinaryIndex.open(folder) as index:
        assert (index.count(), index.info()["plan"]) == (3000, "12 lists, as asked")
        index.verify()


class Letters(Backend):
    name = "letters"

    def __init__(self) -> None:
        self.seen: list[str] = []

    def embed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Float32:
        self.seen += texts
        return np.array([np.random.default_rng(list(text.encode())).standard_normal(64) for text in texts], np.float32)


def test_texts_are_encoded_once_whatever_happens(tmp_path: Path) -> None:
    backend = Letters()
    encoder = Encoder(ModelProfile(name="letters", width=64), backend)
    records = [Record(str(row), f"text {row}") for row in range(3000)]

    def interrupted() -> Iterator[Record]:
        yield from records[:2500]
        raise KeyboardInterrupt

    with BinaryIndexBuilder(tmp_path / "index", contract=encoder.contract) as builder:
        with pytest.raises(KeyboardInterrupt):
            builder.add_texts(interrupted(), encoder)
    events: list[Progress] = []
    with BinaryIndexBuilder(
        tmp_path / "index",
        contract=encoder.contract,
        resume=True,
        progress=events.append,
        options={"nlist": 4},
    ) as builder:
        assert builder.add_texts(records, encoder) == 3000 - 2048
        with builder.finish() as index:
            assert index.count() == 3000
            assert index.get("2999") == records[2999]
            assert str(builder.plan) == index.info()["plan"] == "4 lists, as asked"
    assert len(backend.seen) == 3000
    moves = {f"{how} {what}" for how in ("moving", "ordering") for what in ("codes", "vectors")}
    assert {event.phase for event in events} == {"ingest", "training", "assigning"} | moves
    assert events[-1] == Progress("ordering vectors", 3000, 3000)
    counts = [event for event in events if event.phase == "ingest"]
    assert [event.done for event in counts] == sorted(event.done for event in counts)
    assert (counts[-1].done, counts[-1].embedded) == (3000, 3000)


def test_a_builder_begins_only_where_nothing_is(tmp_path: Path) -> None:
    BinaryIndex.create(tmp_path / "index", CONTRACT).close()
    with pytest.raises(EngineError, match="already holds an index"):
        BinaryIndexBuilder(tmp_path / "index", contract=CONTRACT)
    with pytest.raises(ContractMismatch):
        BinaryIndexBuilder(tmp_path / "index", contract=contract(64), resume=True)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(EngineError, match="not empty"):
        BinaryIndexBuilder(tmp_path, contract=CONTRACT)
    with pytest.raises(InvalidType):
        BinaryIndexBuilder(tmp_path / "new", contract="lexical")  # pyright: ignore[reportArgumentType]


def test_an_empty_build(tmp_path: Path) -> None:
    builder = BinaryIndexBuilder(tmp_path / "index", contract=CONTRACT)
    with builder.finish() as index:
        assert index.count() == 0
    with pytest.raises(EngineError, match="finished"):
        builder.add_vectors(np.ones((1, 12)))


@pytest.mark.parametrize(
    ("vectors", "error"),
    [
        (VECTORS[:, :8], InvalidVectors),
        (VECTORS[0], InvalidVectors),
        (np.full((2, 64), np.nan), InvalidVectors),
        (np.zeros((2, 64)), InvalidVectors),
        (binarize(VECTORS), InvalidInput),
        (np.ones((2, 8), np.int8), InvalidVectors),
        ("vectors", InvalidType),
        (3, InvalidType),
    ],
)
def test_what_cannot_be_stored(tmp_path: Path, vectors: Any, error: type[Exception]) -> None:
    with BinaryIndexBuilder(tmp_path / "index", contract=contract(64)) as builder:
        builder.add_vectors(VECTORS, IDS)
        with pytest.raises(error):
            builder.add_vectors(vectors)
        check(builder.finish())


@pytest.mark.parametrize("bits", [np.zeros((2, 3), np.uint8), np.full((2, 2), 255, np.uint8)])
def test_bits_of_another_width_or_beyond_the_dimension(tmp_path: Path, bits: Any) -> None:
    with BinaryIndexBuilder(tmp_path / "index", contract=CONTRACT) as builder:
        with pytest.raises(InvalidVectors):
            builder.add_vectors(bits)


@pytest.mark.parametrize("options", [{"nlist": 0}, {"plan": "round"}, {"nprobe": 1.5}, {"plan": "flat", "nlist": 3}])
def test_options_are_checked(tmp_path: Path, options: Any) -> None:
    with pytest.raises(InvalidInput):
        BinaryIndexBuilder(tmp_path / "index", contract=CONTRACT, options=options)


@pytest.mark.parametrize(
    "options",
    [{"plan": "x"}, {"vectors": 1}, {"seed": "1"}, {"seed": 2**31}, {"nlist": 2.5}, {"rescore": 2**31}]
    + [{"lock_timeout": -1}, {"lock_timeout": float("nan")}, {"candidates": True}],
)
def test_options_of_ones_own_are_checked(options: Any) -> None:
    (name,) = options
    with pytest.raises(InvalidInput, match=f"option {name} "):
        FaissOptions(**options)
