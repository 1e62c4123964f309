"""The async methods: what they ask a server for is what their twins ask for, and they leave the event loop free."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tests.support.edge_server import QdrantServer, failed

from jinavec import Contract, Encoder, Ingested, ModelProfile, Record, open_engine
from jinavec.engine import Engine
from jinavec.errors import ContractMismatch, EngineError, IndexNotFound, InvalidFilter, InvalidInput, InvalidVectors
from jinavec.vectors import normalize

CONTRACT = Contract.of(ModelProfile(name="await", width=16))
RECORDS = [Record(f"id {n}", f"text {n}", {"n": n}) for n in range(20)]
VECTORS = normalize(np.random.default_rng(8).standard_normal((20, 16)))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[QdrantServer]:
    monkeypatch.delenv("QDRANT_API_KEY", raising=False)
    with QdrantServer() as server:
        yield server


@pytest.fixture
def index(server: QdrantServer) -> Iterator[Engine]:
    with open_engine(f"qdrant:{server.url}/notes", contract=CONTRACT) as index:
        index.add(RECORDS, VECTORS)
        yield index


def asked(server: QdrantServer) -> list[tuple[str, str, str, str]]:
    """Return the requests since the last time, as they were sent."""
    found = [
        (method, path, query, json.dumps(body, sort_keys=True)) for method, path, query, _, body in server.requests
    ]
    server.requests.clear()
    return found


def test_the_same_is_asked_and_answered(index: Engine, server: QdrantServer) -> None:
    async def run() -> list[Any]:
        return [
            await index.asearch(VECTORS[3], 5, {"n": {"lt": 9}}),
            await index.asearch_batch(VECTORS[:3], 2),
            await index.asearch_batch([]),
            await index.asearch(VECTORS[0], 10**9),
            await index.aget("id 7"),
            await index.aget(["id 9", "none", "id 2"]),
            await index.aget("none"),
        ]

    server.requests.clear()
    awaited = asyncio.run(run())
    requests = asked(server)
    twins = [
        index.search(VECTORS[3], 5, {"n": {"lt": 9}}),
        index.search_batch(VECTORS[:3], 2),
        index.search_batch([]),
        index.search(VECTORS[0], 10**9),
        index.get("id 7"),
        index.get(["id 9", "none", "id 2"]),
        index.get("none"),
    ]
    assert awaited == twins
    assert requests == asked(server)


def test_one_index_serves_several_loops_and_is_closed(index: Engine) -> None:
    async def run() -> None:
        found = await asyncio.gather(*(index.asearch(vector, 1) for vector in VECTORS))
        assert [hits[0].record for hits in found] == RECORDS

    asyncio.run(run())
    asyncio.run(run())

    async def close() -> None:
        await index.asearch(VECTORS[0], 1)
        await index.aclose()
        with pytest.raises(EngineError, match="is closed"):
            await index.asearch(VECTORS[0], 1)

    asyncio.run(close())


def test_texts_are_embedded(server: QdrantServer) -> None:
    async def run() -> None:
        with open_engine(f"qdrant:{server.url}/texts", encoder=Encoder.load("lexical", dimension=64)) as index:
            assert (await index.aingest(RECORDS)).added == 20
            assert (await index.asearch("text 7", 1)) == index.search("text 7", 1)
            assert (await index.asearch_batch(["text 7", "text 8"], 1)) == index.search_batch(["text 7", "text 8"], 1)

    asyncio.run(run())


def test_an_ingest_over_the_async_client_is_that_of_its_twin(server: QdrantServer) -> None:
    records = [Record(f"id {n}", f"text {n}", {"n": n}) for n in range(3000)]
    vectors = normalize(np.random.default_rng(5).standard_normal((3000, 16)))

    async def run(index: Engine) -> None:
        server.fail("PUT .*/points$", failed(503, "busy"), failed(408, "late"))
        assert await index.aingest(records[:2000], vectors[:2000]) == Ingested(2000, 0, 0)
        assert await index.aingest(records, vectors) == Ingested(1000, 2000, 0)
        server.fail("PUT .*/points$", failed(400, "nonsense"))
        with pytest.raises(EngineError, match="bad request: nonsense"):
            await index.aingest(records, vectors)
        assert await index.aget(["id 7", "id 2999"]) == [records[7], records[2999]]
        await index.aclose()

    for name in ("awaited", "waited"):
        with open_engine(f"qdrant:{server.url}/{name}", contract=CONTRACT) as index:
            if name == "awaited":
                asyncio.run(run(index))
            else:
                index.ingest(records, vectors)
    awaited, waited = (open_engine(f"qdrant:{server.url}/{name}") for name in ("awaited", "waited"))
    with awaited, waited:
        assert list(awaited.iterate(vectors=False)) == list(waited.iterate(vectors=False))
        assert awaited.search(vectors[5], 10) == waited.search(vectors[5], 10)


def test_failures_are_repeated_and_told(index: Engine, server: QdrantServer) -> None:
    async def run() -> None:
        server.fail("query/batch", failed(503, "busy"), failed(429, "slow down", Retry_After="0"), failed(408, "late"))
        assert (await index.asearch(VECTORS[3], 1))[0].record == RECORDS[3]
        server.fail("query/batch", failed(400, "nonsense"))
        with pytest.raises(EngineError, match="bad request: nonsense"):
            await index.asearch(VECTORS[0])
        server.fail("POST .*/points$", failed(404, "no collection"))
        with pytest.raises(IndexNotFound):
            await index.aget("id 1")
        with pytest.raises(InvalidInput):
            await index.asearch(VECTORS[0], 0)
        with pytest.raises(InvalidVectors):
            await index.asearch(VECTORS[0][:3])
        with pytest.raises(InvalidFilter):
            await index.asearch(VECTORS[0], filter={"n": None})
        with pytest.raises(InvalidInput, match="encoder"):
            await index.asearch("a text")

    asyncio.run(run())


def test_a_waiting_search_leaves_the_loop_free(index: Engine, server: QdrantServer) -> None:
    async def run() -> int:
        turns = 0
        search = asyncio.create_task(index.asearch(VECTORS[0]))
        while not search.done():
            turns += 1
            await asyncio.sleep(0)
        assert search.result()[0].record == RECORDS[0]
        return turns

    server.fail("query/batch", failed(503, "busy"))
    assert asyncio.run(run()) > 10


def test_an_alias_that_is_switched_is_an_error(server: QdrantServer) -> None:
    other = Contract.of(ModelProfile(name="other", width=16))
    for name, contract in (("a", CONTRACT), ("b", other)):
        with open_engine(f"qdrant:{server.url}/{name}", contract=contract) as made:
            made.add(RECORDS, VECTORS)
    server.aliases["live"] = "a"
    with open_engine(f"qdrant:{server.url}/live") as index:
        index.search(VECTORS[0])
        server.aliases["live"] = "b"
        asked(server)
        for use in (lambda: index.search(VECTORS[0]), lambda: asyncio.run(index.asearch(VECTORS[0]))):
            with pytest.raises(ContractMismatch, match="model: the index that was opened has 'await'"):
                use()
        with pytest.raises(ContractMismatch):
            index._store(RECORDS, VECTORS)  # pyright: ignore[reportPrivateUsage]  # as an ingest under way
    with open_engine(f"qdrant:{server.url}/b") as index:
        assert index.count() == 20
