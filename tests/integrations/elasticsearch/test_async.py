"""The async methods, over an asynchronous client, on a server."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from jinavec import Contract, Encoder, Hit, ModelProfile, Record, open_engine
from jinavec.errors import ContractMismatch, EngineError, IndexNotFound, InvalidType
from jinavec.vectors import normalize

pytest.importorskip("elasticsearch")
import elasticsearch
from tests.support.elasticsearch_server import client, elasticsearch_url

from jinavec_integrations.elasticsearch import ElasticsearchIndex

pytestmark = pytest.mark.elasticsearch

CONTRACT = Contract.of(ModelProfile(name="async", width=64))
VECTORS = normalize(np.random.default_rng(3).standard_normal((3000, 64)))
RECORDS = [Record(f"r{n}", f"text {n}", {"n": n}) for n in range(3000)]


def opened(target: str, **options: Any) -> ElasticsearchIndex:
    engine = open_engine(target, contract=CONTRACT, options=options or None)
    assert isinstance(engine, ElasticsearchIndex)
    return engine


def check_same(found: list[list[Hit]], expected: list[list[Hit]]) -> None:
    """Compare hits; a server that merges its segments, or compiles its loops, meanwhile adds up in another order."""
    assert [[hit.record for hit in hits] for hits in found] == [[hit.record for hit in hits] for hits in expected]
    scores = [[hit.score for hits in answers for hit in hits] for answers in (found, expected)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)


@pytest.mark.parametrize("own", [False, True])
def test_what_async_methods_store_and_find_is_what_the_others_do(target: str, own: bool) -> None:
    async def use() -> None:
        theirs = elasticsearch.AsyncElasticsearch(elasticsearch_url()) if own else None
        engine = opened(target, storage="flat", async_client=theirs)
        assert await engine.aget("r1") is None
        ingested = await engine.aingest(RECORDS, VECTORS, batch_size=500)
        assert (ingested.added, engine.count()) == (3000, 3000)
        assert (await engine.aingest(RECORDS[:10], VECTORS[:10])).replaced == 10
        assert await engine.aget(["r2999", "none", "r0"]) == engine.get(["r2999", "none", "r0"])
        asked = [engine.asearch(VECTORS[n], 3, {"n": {"gte": n}}) for n in range(20)]
        found = await asyncio.gather(*asked)
        check_same(found, [engine.search(VECTORS[n], 3, {"n": {"gte": n}}) for n in range(20)])
        check_same(await engine.asearch_batch(VECTORS[:3], 2), engine.search_batch(VECTORS[:3], 2))
        await engine.aclose()
        if theirs is not None:
            assert (await theirs.info())["tagline"]  # it stays open
            await theirs.close()

    asyncio.run(use())


def test_async_methods_fail_as_the_others_do(target: str) -> None:
    async def use(engine: ElasticsearchIndex) -> None:
        with client() as server:
            server.indices.delete(index=target.rpartition("/")[2])
        with pytest.raises(IndexNotFound):
            await engine.asearch(VECTORS[0])
        open_engine(target, contract=Contract.of(ModelProfile(name="other", width=64))).close()
        for ask in (engine.asearch(VECTORS[0]), engine.aingest(RECORDS[:2], VECTORS[:2])):
            with pytest.raises(ContractMismatch):
                await ask
        await engine.aclose()
        with pytest.raises(EngineError, match="closed"):
            await engine.asearch(VECTORS[0])

    asyncio.run(use(opened(target)))


def test_texts_are_embedded_while_others_search(target: str) -> None:
    async def use() -> None:
        engine = open_engine(target, encoder=Encoder.load("lexical", dimension=64))
        assert (await engine.aingest(RECORDS[:300])).added == 300
        hits, unchanged = await asyncio.gather(engine.asearch("text 7", 1), engine.aingest(RECORDS[:300]))
        assert (hits[0].record.id, unchanged.unchanged) == ("r7", 300)
        await engine.aclose()

    asyncio.run(use())


def test_a_client_of_the_wrong_kind_is_refused(target: str) -> None:
    with client() as server, pytest.raises(InvalidType, match="async_client"):
        opened(target, async_client=server)
