"""The engine in local mode: options, adoption, ingest, and collections of other tools."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from jinavec import Contract, Encoder, ModelProfile, Record, Role, Task, open_engine
from jinavec.backends.base import Backend, Report
from jinavec.errors import (
    ContractMismatch,
    EngineError,
    IndexDamaged,
    IndexLocked,
    IndexNotFound,
    InvalidDimension,
    InvalidInput,
    InvalidRecord,
    InvalidTarget,
    InvalidType,
)
from jinavec.ingest import Ingested, Progress
from jinavec.vectors import Float32, narrow, normalize
from jinavec_integrations.qdrant import QdrantIndex, QdrantOptions

PROFILE = ModelProfile(name="local", width=32, dimensions=(32, 8))
CONTRACT = Contract.of(PROFILE)
VECTORS = normalize(np.random.default_rng(2).standard_normal((50, 32)))
RECORDS = [Record(f"id {n}", f"text {n}", {"n": n, "topic": "ab"[n % 2]}) for n in range(50)]


class Counted(Backend):
    """Embeds by hash of the text and counts."""

    name = "counted"

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.fail_after = 10**9

    def embed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Float32:
        if len(self.texts) >= self.fail_after:
            raise ConnectionError("the model is gone")
        self.texts += texts
        rows = [np.random.default_rng([*text.encode()]).standard_normal(32) for text in texts]
        return np.asarray(rows, np.float32)


@pytest.fixture
def memory() -> str:
    return f"qdrant::memory:/{uuid.uuid4()}"


@pytest.fixture
def backend() -> Counted:
    return Counted()


@pytest.fixture
def encoder(backend: Counted) -> Encoder:
    return Encoder(PROFILE, backend)


def opened(target: str, encoder: Encoder | None = None, **options: Any) -> QdrantIndex:
    index = open_engine(target, contract=CONTRACT, encoder=encoder, options=QdrantOptions(**options))
    assert isinstance(index, QdrantIndex)
    return index


# targets and options


@pytest.mark.parametrize(
    "location",
    [
        "notes",
        "/notes",
        "http://host:6333",
        "ftp://host/notes",
        "DIR/a:b",
        "http://host:port/notes",
        "DIR/..",
        "http:///x",
    ],
)
def test_targets_that_cannot_be_read(location: str) -> None:
    with pytest.raises(InvalidTarget):
        open_engine(f"qdrant:{location}", contract=CONTRACT)


def test_a_password_in_a_url_is_refused_and_not_shown() -> None:
    with pytest.raises(InvalidTarget, match="QDRANT_API_KEY") as caught:
        open_engine("qdrant:http://me:secret@host:6333/notes", contract=CONTRACT)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"preset": "fast"},
        {"recall": 1.0},
        {"recall": True},
        {"batch_size": 0},
        {"parallel": 1.5},
        {"payload_indexes": "a"},
        {"payload_indexes": {"a": "text"}},
        {"payload_indexes": {"a.b": "keyword"}},
        {"tenant_field": "a b"},
        {"deadline": -1},
        {"client_key": "a"},
    ],
)
def test_bad_options(memory: str, options: Any) -> None:
    with pytest.raises(InvalidInput, match=next(iter(options))):
        open_engine(memory, contract=CONTRACT, options=options)


def test_the_preset_is_remembered(memory: str) -> None:
    opened(memory, preset="binary").close()
    with open_engine(memory) as index:
        assert index.info()["preset"] == "binary"
    opened(memory, recall=0.99).close()


@pytest.mark.parametrize("made", ["scalar", "binary"])
@pytest.mark.parametrize("other", [{"preset": "turbo"}, {"preset": "exact"}, {"matryoshka": 8}])
def test_an_option_that_contradicts_the_collection_is_refused(memory: str, made: Any, other: Any) -> None:
    opened(memory, preset=made).close()
    name, value = next(iter(other.items()))
    for contract in (CONTRACT, None):
        with pytest.raises(InvalidInput, match=f"was made with {name}=.*, not {value}"):
            open_engine(memory, contract=contract, options=QdrantOptions(**other))


def test_the_default_preset_is_scalar_and_may_be_said(memory: str) -> None:
    opened(memory).close()
    with opened(memory, preset="scalar") as index:
        assert index.info()["preset"] == "scalar"
    with pytest.raises(InvalidInput, match="preset=scalar, not binary"):
        opened(memory, preset="binary")


def test_opening_what_is_not_there_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(IndexNotFound, match="notes"):
        open_engine(f"qdrant:{tmp_path}/folder/notes")
    assert not (tmp_path / "folder").exists()


def test_two_collections_share_a_folder(tmp_path: Path) -> None:
    with opened(f"qdrant:{tmp_path}/one") as one, opened(f"qdrant:{tmp_path}/two") as two:
        one.add(RECORDS, VECTORS)
        assert (one.count(), two.count()) == (50, 0)
        with opened(f"qdrant:{tmp_path}/one") as again:
            assert again.count() == 50
        assert one.count() == 50


def test_another_process_is_told_that_the_folder_is_taken(tmp_path: Path) -> None:
    with opened(f"qdrant:{tmp_path}/notes"):
        code = f"from jinavec import open_engine; open_engine('qdrant:{tmp_path}/notes')"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert f"{IndexLocked.__name__}: {tmp_path}/notes: another process has the folder open" in done.stderr


@pytest.mark.parametrize("content", ["", "{", "[]", '{"collections": {"notes": 5}, "aliases": {}}'])
def test_a_damaged_folder(tmp_path: Path, content: str) -> None:
    (tmp_path / "meta.json").write_text(content)
    with pytest.raises(EngineError, match=str(tmp_path)):
        open_engine(f"qdrant:{tmp_path}/notes", contract=CONTRACT)


# Matryoshka


def test_a_matryoshka_collection(memory: str) -> None:
    with opened(memory, matryoshka=8) as index:
        index.add(RECORDS, VECTORS)
        hits = index.search(VECTORS[3], 5)
        assert hits[0].record == RECORDS[3]
        exact = {record.id: float(vector @ VECTORS[3]) for record, vector in zip(RECORDS, VECTORS, strict=True)}
        assert [hit.score for hit in hits] == pytest.approx([exact[hit.record.id] for hit in hits], abs=1e-5)
        assert len(index.search(VECTORS[3], 50, {"topic": "a"})) == 25
    with opened(memory) as index:
        assert index.info()["matryoshka"] == 8
        assert index.search(VECTORS[3], 5) == hits
    client = index._connection.client  # pyright: ignore[reportPrivateUsage]
    stored: Any = client.scroll(memory.rpartition("/")[2], limit=1, with_vectors=True)[0][0]
    full = f"jinavec-{CONTRACT.digest}"
    np.testing.assert_allclose(stored.vector[f"{full}-short"], narrow(np.array(stored.vector[full]), 8), atol=1e-6)


def test_a_short_vector_is_one_the_model_offers(memory: str) -> None:
    with pytest.raises(InvalidDimension, match="not shorter"):
        opened(memory, matryoshka=32)
    contract = Contract.of("jina-embeddings-v5-text-nano")
    with pytest.raises(InvalidDimension, match="it offers"):
        open_engine(memory, contract=contract, options=QdrantOptions(matryoshka=100))
    with pytest.raises(IndexNotFound):
        open_engine(memory)


# search


def test_several_queries_at_once(memory: str, encoder: Encoder) -> None:
    with open_engine(memory, encoder=encoder) as index:
        assert isinstance(index, QdrantIndex)
        index.add(RECORDS, VECTORS)
        assert index.search_batch(VECTORS[:3], 4, {"topic": "a"}) == [
            index.search(v, 4, {"topic": "a"}) for v in VECTORS[:3]
        ]
        assert index.search_batch(["x", "y"], 2) == [index.search("x", 2), index.search("y", 2)]
        assert index.search_batch([]) == []
        with pytest.raises(InvalidInput):
            index.search_batch(VECTORS[:3], 0)
        with pytest.raises(InvalidType, match="use search"):
            index.search_batch("a text")
        with pytest.raises(InvalidType, match="use search"):
            index.search_batch(None)  # pyright: ignore[reportArgumentType]


# ingest


def test_ingest_streams_and_resumes_without_embedding_again(memory: str, encoder: Encoder, backend: Counted) -> None:
    seen: list[Progress] = []
    with opened(memory, encoder) as index:
        backend.fail_after = 24
        with pytest.raises(ConnectionError) as caught:
            index.ingest(iter(RECORDS), batch_size=8)
        assert "run the same command again" in caught.value.__notes__[0]
        assert index.count() == 24
        backend.fail_after = 10**9
        done = index.ingest(iter(RECORDS), batch_size=8, progress=seen.append)
        assert done == Ingested(added=26, replaced=0, unchanged=24)
        assert len(backend.texts) == 50
        assert (seen[-1].done, seen[-1].total) == (50, 0)
        assert index.get([record.id for record in RECORDS]) == RECORDS
        changed = [*RECORDS[:-1], Record("id 49", "changed", {"n": 49, "topic": "b"})]
        assert index.ingest(changed) == Ingested(added=0, replaced=1, unchanged=49)
        assert index.ingest(RECORDS[:2], resume=False) == Ingested(added=0, replaced=2, unchanged=0)
        assert index.get("id 49") == changed[-1]


def test_of_a_repeated_id_the_last_counts(memory: str, encoder: Encoder) -> None:
    stream = [Record(f"id {n % 3}", f"text {n}") for n in range(30)]
    with opened(memory, encoder) as index:
        index.ingest(stream, batch_size=2)
        assert index.get(["id 0", "id 1", "id 2"]) == stream[-3:]
        assert index.count() == 3


def test_ingest_checks_what_it_gets(memory: str, encoder: Encoder) -> None:
    with opened(memory, encoder) as index:
        with pytest.raises(InvalidType):
            index.ingest(["text"])  # pyright: ignore[reportArgumentType]
        with pytest.raises(InvalidType):
            index.ingest(None)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ContractMismatch):
        open_engine(memory, encoder=Encoder(PROFILE, Counted(), dimension=8))
    with opened(memory) as index, pytest.raises(InvalidInput, match="encoder="):
        index.ingest(RECORDS)


@pytest.mark.slow
def test_a_killed_ingest_goes_on_where_it_was(tmp_path: Path) -> None:
    script = """
import os, signal, sys
from jinavec import Encoder, Record, open_engine
from jinavec.models import find_model

folder, fatal = sys.argv[1], int(sys.argv[2])
encoder = Encoder.load("lexical", dimension=64)
backend, embed = encoder.backend, encoder.backend.embed

def counted(texts, **arguments):
    with open(f"{folder}/embedded", "a") as log:
        log.writelines(f"{text}\\n" for text in texts)
    if sum(1 for _ in open(f"{folder}/embedded")) > fatal:
        os.kill(os.getpid(), signal.SIGKILL)
    return embed(texts, **arguments)

backend.embed = counted
with open_engine(f"qdrant:{folder}/notes", encoder=encoder) as index:
    print(index.ingest((Record(f"id {n}", f"text {n}", {"n": n}) for n in range(100)), batch_size=10))
"""
    run = [sys.executable, "-c", script, str(tmp_path)]
    killed = subprocess.run([*run, "55"], capture_output=True, text=True, timeout=120)
    assert killed.returncode == -9, killed.stderr
    embedded = (tmp_path / "embedded").read_text().splitlines()
    with open_engine(f"qdrant:{tmp_path}/notes") as index:
        stored = index.count()
    assert 0 < stored <= len(embedded) == 60
    again = subprocess.run([*run, "1000"], capture_output=True, text=True, timeout=120)
    assert again.stdout == f"{Ingested(100 - stored, 0, stored)}\n", again.stderr
    embedded = (tmp_path / "embedded").read_text().splitlines()
    assert len(embedded) == 60 + 100 - stored
    with open_engine(f"qdrant:{tmp_path}/notes") as index:
        assert index.count() == len(set(embedded)) == 100


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), b"bytes", datetime(2024, 5, 1), {1, 2}, np.float32(1), "\ud800", {1: "a"}]
)
def test_metadata_that_is_not_json_is_refused_before_anything_is_stored(
    memory: str, encoder: Encoder, backend: Counted, value: Any
) -> None:
    with opened(memory, encoder) as index:
        with pytest.raises(InvalidRecord, match="bad"):
            index.add([RECORDS[0], Record("bad", "text", {"field": value})], VECTORS[:2])
        with pytest.raises(InvalidRecord, match="bad"):
            index.ingest([RECORDS[0], Record("bad", "text", {"field": [value]})])
        assert (index.count(), backend.texts) == (0, [])


# collections of others


@pytest.fixture
def foreign(tmp_path: Path) -> Iterator[str]:
    """A collection that another tool created, with points in the manner of several."""
    client = QdrantClient(path=str(tmp_path))
    client.create_collection("notes", vectors_config=models.VectorParams(size=32, distance=models.Distance.COSINE))
    payloads: list[dict[str, Any]] = [
        {"document": "one", "metadata": {"topic": "a"}},
        {"text": "two", "topic": "b"},
        {"page_content": "three"},
    ]
    ids: list[Any] = [7, "5f0c5d5d-6d5c-4c3f-9d0c-2b7f5b1c9a51", 8]
    client.upsert("notes", models.Batch(ids=ids, vectors=VECTORS[:3].tolist(), payloads=payloads))
    client.close()
    yield f"qdrant:{tmp_path}/notes"


def test_a_foreign_collection_is_refused(foreign: str) -> None:
    for contract in (None, CONTRACT):
        with pytest.raises(IndexDamaged, match="adopt=true" if contract else "not made by jinavec"):
            open_engine(foreign, contract=contract)
    for options in ({}, {"adopt": True}):
        with pytest.raises(ContractMismatch, match="has size 32, not 8"):
            open_engine(foreign, contract=Contract.of(PROFILE, dimension=8), options=options)
    with pytest.raises(IndexDamaged):
        open_engine(foreign)  # a refused adoption leaves no trace


def test_a_foreign_collection_can_be_adopted(foreign: str) -> None:
    opened(foreign, adopt=True).close()
    with open_engine(foreign) as index:
        assert index.contract == CONTRACT
        assert index.get("7") == Record("7", "one", {"topic": "a"})
        uuid_point = Record("5f0c5d5d-6d5c-4c3f-9d0c-2b7f5b1c9a51", "two", {"topic": "b"})
        assert [hit.record for hit in index.search(VECTORS[1], 5, {"topic": "b"})] == [uuid_point]
        assert index.add([Record("7", "newer"), Record("my id", "new")], VECTORS[:2]) == 2
        assert index.count() == 4
        assert index.get(["7", "my id"]) == [Record("7", "newer"), Record("my id", "new")]
        assert index.delete(["8", "my id"]) == 2
        assert index.count() == 2


def test_an_adopted_collection_is_searched_as_it_is_quantized(tmp_path: Path) -> None:
    client = QdrantClient(path=str(tmp_path))
    binary = models.BinaryQuantization(binary=models.BinaryQuantizationConfig())
    params = models.VectorParams(size=32, distance=models.Distance.COSINE, quantization_config=binary)
    client.create_collection("notes", vectors_config={"other": params})
    client.close()
    with opened(f"qdrant:{tmp_path}/notes", adopt=True) as index:
        assert index.info()["preset"] == "binary"
        index.add(RECORDS, VECTORS)
        assert index.search(VECTORS[4], 1)[0].record == RECORDS[4]


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        (models.VectorParams(size=32, distance=models.Distance.EUCLID), "compared by Euclid"),
        (models.VectorParams(size=16, distance=models.Distance.COSINE), "has size 16, not 32"),
        (
            models.VectorParams(
                size=32,
                distance=models.Distance.COSINE,
                multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
            ),
            "is a multivector",
        ),
        ({}, "no dense vector"),
    ],
)
def test_a_collection_of_the_wrong_kind(tmp_path: Path, vectors: Any, words: str) -> None:
    client = QdrantClient(path=str(tmp_path))
    client.create_collection("notes", vectors_config=vectors)
    client.close()
    with pytest.raises(ContractMismatch, match=words):
        opened(f"qdrant:{tmp_path}/notes", adopt=True)


@pytest.mark.parametrize("metadata", [{"jinavec": {}}, {"jinavec": 5}, {"jinavec": {"version": 1, "contract": {}}}])
def test_foreign_metadata(tmp_path: Path, metadata: Any) -> None:
    client = QdrantClient(path=str(tmp_path))
    params = models.VectorParams(size=32, distance=models.Distance.COSINE)
    client.create_collection("notes", vectors_config=params, metadata=metadata)
    client.close()
    with pytest.raises(IndexDamaged, match="metadata cannot be read"):
        open_engine(f"qdrant:{tmp_path}/notes", contract=CONTRACT)


def test_a_point_that_is_not_ours(tmp_path: Path) -> None:
    opened(f"qdrant:{tmp_path}/notes").close()
    client = QdrantClient(path=str(tmp_path))
    vectors = {f"jinavec-{CONTRACT.digest}": VECTORS[:1].tolist()}
    client.upsert("notes", models.Batch(ids=[1], vectors=vectors, payloads=[{"text": "x"}]))
    client.close()
    with open_engine(f"qdrant:{tmp_path}/notes") as index, pytest.raises(IndexDamaged, match="not written by jinavec"):
        index.search(VECTORS[0])


def test_an_id_that_collides(memory: str, encoder: Encoder) -> None:
    with opened(memory, encoder) as index:
        index.add(RECORDS[:1], VECTORS[:1])
        client = index._connection.client  # pyright: ignore[reportPrivateUsage]
        (point,), _ = client.scroll(index.location.collection, limit=1)
        client.set_payload(index.location.collection, {"jinavec": {"id": "another"}}, points=[point.id])
        with pytest.raises(IndexDamaged, match="holds record 'another'"):
            index.get("id 0")
        for change in (lambda: index.add(RECORDS[:2], VECTORS[:2]), lambda: index.delete(["id 1", "id 0"])):
            with pytest.raises(IndexDamaged, match="where record 'id 0' belongs, holds record 'another'; nothing was"):
                change()
        with pytest.raises(IndexDamaged, match="holds record 'another'"):
            index.ingest(RECORDS[:2])
        assert index.count() == 1


def test_what_the_other_tool_writes_later_is_a_record_too(foreign: str) -> None:
    opened(foreign, adopt=True).close()
    client = QdrantClient(path=foreign.removeprefix("qdrant:").removesuffix("/notes"))
    client.upsert("notes", models.Batch(ids=[9], vectors=VECTORS[8:9].tolist(), payloads=[{"text": "new", "n": 1}]))
    client.close()
    new = Record("9", "new", {"n": 1})
    with open_engine(foreign) as index:
        assert index.search(VECTORS[8], 1)[0].record == new
        assert index.get("9") == new
        assert index.count() == 4
        assert index.search(VECTORS[8], 1, {"n": 1}) == []
    with opened(foreign, adopt=True) as index:  # adopting again takes in what is new
        assert index.search(VECTORS[8], 1, {"n": 1})[0].record == new
        index.add([Record("9", "ours")], VECTORS[:1])
        assert index.get("9") == Record("9", "ours")
        assert index.delete("9") == 1


def test_numbers_come_back_exactly(memory: str) -> None:
    content = {"big": 2**80, "long": 0.1 + 0.2, "small": 1e-320, "nested": [{"x": 2**63}], "plain": 1.5}
    with opened(memory) as index:
        index.add([Record("a", "", content)], VECTORS[:1])
        assert index.get("a") == Record("a", "", content)
        assert index.search(VECTORS[0], 1, {"big": {"gt": 2**80 - 1}})
