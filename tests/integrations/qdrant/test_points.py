"""Records read page by page, and what is asked of a server for them: in local mode, and over Qdrant's engine."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models
from tests.support.edge_server import QdrantServer, failed

from jinavec import Contract, Encoder, ModelProfile, Record, Role, Task, open_engine
from jinavec.backends.base import Backend, Report
from jinavec.engine import Engine
from jinavec.errors import EngineError, InvalidFilter, InvalidInput
from jinavec.ingest import Ingested
from jinavec.vectors import Float32, normalize

PROFILE = ModelProfile(name="points", width=16, dimensions=(16, 8))
CONTRACT = Contract.of(PROFILE)
RECORDS = [Record(f"id {n}", f"text {n}", {"n": n, "even": n % 2 == 0}) for n in range(50)]
VECTORS = normalize(np.random.default_rng(4).standard_normal((50, 16)))
BY_ID = {record.id: record for record in RECORDS}
UPSERT = r"PUT .*/points$"


class Hashed(Backend):
    """Embeds by hash of the text, fast."""

    name = "hashed"

    def embed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Float32:
        seeds = np.asarray([[hash((text, n)) % 997 + 1 for n in range(16)] for text in texts], np.float32)
        return normalize(seeds)


ENCODER = Encoder(PROFILE, Hashed())


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[QdrantServer]:
    monkeypatch.delenv("QDRANT_API_KEY", raising=False)
    with QdrantServer() as server:
        yield server


@pytest.fixture(params=["local", "server"])
def target(request: pytest.FixtureRequest, server: QdrantServer) -> str:
    place = server.url if request.param == "server" else ":memory:"
    return f"qdrant:{place}/{uuid.uuid4()}"


@pytest.fixture
def full(target: str) -> Iterator[Engine]:
    with open_engine(target, contract=CONTRACT) as index:
        index.add(RECORDS, VECTORS)
        yield index


@pytest.mark.parametrize("size", [1, 7, 49, 50, 51, 1000])
def test_pages_hold_every_record_once(full: Engine, size: int) -> None:
    pages = list(full.iterate(size))
    assert [len(page) for page in pages[:-1]] == [size] * (len(pages) - 1)
    assert sorted(record.id for page in pages for record in page) == sorted(BY_ID)
    assert all(record == BY_ID[record.id] for page in pages for record in page)


def test_another_process_goes_on_behind_any_page(full: Engine, target: str) -> None:
    order = [record.id for page in full.iterate() for record in page]
    for number, page in enumerate(full.iterate(10), 1):
        with open_engine(target) as again:
            rest = [record.id for page in again.iterate(7, after=page.cursor) for record in page]
        assert rest == order[10 * number :]


def test_what_others_write_meanwhile_repeats_and_hides_nothing(full: Engine, target: str) -> None:
    seen: list[str] = []
    with open_engine(target) as other:
        for page in full.iterate(5):
            seen += [record.id for record in page]
            other.delete([page.records[-1].id, page.records[0].id])  # the first of which the next page begins behind
            other.add([Record(f"new {len(seen)}"), Record("id 49", "newer")], VECTORS[:2])
    assert len(seen) == len(set(seen))
    assert set(BY_ID) <= set(seen)


def test_vectors_come_as_they_are_stored(full: Engine) -> None:
    for page in full.iterate(20, vectors=True):
        assert page.vectors is not None
        assert page.vectors.dtype == np.float32
        expected = [VECTORS[record.metadata["n"]] for record in page]
        np.testing.assert_allclose(page.vectors, expected, atol=1e-6)
    assert all(page.vectors is None for page in full.iterate(20))


def test_of_a_matryoshka_collection_the_full_vectors(target: str) -> None:
    with open_engine(target, contract=CONTRACT, options={"matryoshka": 8}) as index:
        index.add(RECORDS, VECTORS)
        (page,) = index.iterate(vectors=True)
    assert page.vectors is not None
    np.testing.assert_allclose(page.vectors, [VECTORS[record.metadata["n"]] for record in page], atol=1e-6)


def test_a_filter_selects_records(full: Engine) -> None:
    found = [
        record.metadata["n"] for page in full.iterate(4, filter={"even": True, "n": {"gte": 20}}) for record in page
    ]
    assert sorted(found) == list(range(20, 50, 2))
    assert list(full.iterate(filter={"n": 99})) == []
    assert full.delete(filter={"n": {"lt": 20}}) == 20
    assert full.count() == 30


@pytest.mark.parametrize("cursor", ["", "id 1", "-1", str(2**64), "x" * 1000])
def test_a_cursor_of_another_engine_is_refused_at_once(full: Engine, cursor: str) -> None:
    with pytest.raises(InvalidInput, match="not the cursor"):
        full.iterate(after=cursor)


def test_a_filter_that_cannot_be_asked_is_refused_at_once(full: Engine) -> None:
    with pytest.raises(InvalidFilter, match="96 bytes"):
        full.iterate(filter={"n": {"gt": "x" * 97}})


def test_an_adopted_collection_with_ids_of_both_kinds(server: QdrantServer) -> None:
    ids: list[Any] = [7, 2**64 - 1, "5f0c5d5d-6d5c-4c3f-9d0c-2b7f5b1c9a51", 0]
    client = QdrantClient(url=server.url, check_compatibility=False)
    params = models.VectorParams(size=16, distance=models.Distance.COSINE)
    client.create_collection("notes", {"theirs": params})
    batch = models.Batch(ids=ids, vectors={"theirs": VECTORS[:4].tolist()}, payloads=[{"text": str(id)} for id in ids])
    client.upsert("notes", batch)
    target = f"qdrant:{server.url}/notes"
    with open_engine(target, contract=CONTRACT, options={"adopt": True}) as index:
        index.add([Record("mine")], VECTORS[4:5])
        pages = list(index.iterate(1, vectors=True))
        assert sorted(page.records[0].id for page in pages) == sorted([*map(str, ids), "mine"])
        (vectors,) = [page.vectors for page in pages if page.records[0].id == "7"]
        assert vectors is not None
        np.testing.assert_allclose(vectors, VECTORS[:1], atol=1e-6)
        for number, page in enumerate(pages, 1):
            assert list(index.iterate(1, after=page.cursor)) == pages[number:]
        client.upsert("notes", models.Batch(ids=[1], vectors={"theirs": VECTORS[:1].tolist()}))
        assert {record.id for page in index.iterate() for record in page} == {*map(str, ids), "mine", "1"}
    client.close()


# what is asked of a server


def many(count: int) -> Iterator[Record]:
    return (Record(f"id {n}", f"text {n}", {"n": n}) for n in range(count))


def beside_upserts(server: QdrantServer) -> list[str]:
    lines = [f"{method} {path}" for method, path, *_ in server.requests]
    return [line for line in lines if not (line.startswith("PUT") and line.endswith("/points"))]


@pytest.mark.slow
def test_requests_of_ten_thousand_records(server: QdrantServer) -> None:
    target = f"qdrant:{server.url}/notes"
    with open_engine(target, encoder=ENCODER) as index:
        assert index.ingest(many(10_240)) == Ingested(added=10_240, replaced=0, unchanged=0)
    assert sum(len(body["batch"]["ids"]) for body in server.sent(UPSERT)) == 10_240
    indexes = [line for line in beside_upserts(server) if line.endswith("/index")]
    assert len(beside_upserts(server)) - len(indexes) <= 14
    assert not [body for body in server.sent("POST .*/points$") if body["with_payload"]]  # what a new index holds
    server.requests.clear()
    with open_engine(target, encoder=ENCODER) as index:
        assert index.ingest(many(10_240)) == Ingested(added=0, replaced=0, unchanged=10_240)
    assert not server.sent(UPSERT)
    assert len(beside_upserts(server)) <= 14 + 2 * 10.24


@pytest.mark.parametrize("resume", [True, False])
def test_an_existing_index_is_asked_at_most_twice_for_a_thousand_records(server: QdrantServer, resume: bool) -> None:
    target = f"qdrant:{server.url}/notes"
    with open_engine(target, encoder=ENCODER) as index:
        index.ingest(many(500))
        server.requests.clear()
        done = index.ingest(many(2000), resume=resume)
    assert done == (Ingested(1500, 0, 500) if resume else Ingested(1500, 500, 0))
    assert len(server.sent("POST .*/points$")) <= 4 + 1  # and one that reads back what was stored


def test_two_ingests_into_one_collection_at_once(target: str) -> None:
    streams = [RECORDS[:40], RECORDS[10:]]
    open_engine(target, encoder=ENCODER).close()

    def fill(records: list[Record]) -> int:
        with open_engine(target, encoder=ENCODER) as index:
            done = index.ingest(records, batch_size=3)
        assert done.refused_count == 0
        return done.stored + done.unchanged

    with ThreadPoolExecutor() as pool:
        assert list(pool.map(fill, streams)) == [40, 40]
    with open_engine(target) as index:
        assert index.count() == 50
        assert index.get(list(BY_ID)) == RECORDS


def test_two_clients_that_create_one_collection_at_once(target: str) -> None:
    def fill(number: int) -> int:
        with open_engine(target, encoder=ENCODER) as index:
            return index.ingest(RECORDS[number::4]).added

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(fill, range(4))) == 50
    with open_engine(target) as index:
        assert index.get(list(BY_ID)) == RECORDS


def test_a_server_in_trouble_is_asked_no_more(server: QdrantServer) -> None:
    with open_engine(f"qdrant:{server.url}/notes", encoder=ENCODER, options={"deadline": 0, "parallel": 1}) as index:
        server.fail("PUT .*/points$", failed(500, "disk is full"))
        with pytest.raises(EngineError, match="disk is full") as caught:
            index.ingest(RECORDS)
    assert server.requests[-1][:2] == ("PUT", "/collections/notes/points")
    assert "run the same command again" in caught.value.__notes__[0]
