"""elasticsearch-py's own VectorStore, end to end on a server, with our services and strategies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from tests.support.elasticsearch_server import client, elasticsearch_url, forget_index

from jinavec import Encoder, ModelProfile, open_engine
from jinavec.errors import ContractMismatch, EngineError, InvalidInput

pytest.importorskip("elasticsearch")
from elasticsearch import AsyncElasticsearch
from elasticsearch.helpers.vectorstore import AsyncVectorStore, VectorStore

from jinavec_adapters.elastic import (
    AsyncJinaEmbeddingService,
    AsyncJinaRetrievalStrategy,
    AsyncJinaVectorStore,
    JinaEmbeddingService,
    JinaRetrievalStrategy,
    JinaVectorStore,
)

pytestmark = pytest.mark.elasticsearch

TEXTS = [
    "the cat sleeps on the warm stove",
    "the cat sleeps on the stove",
    "ships anchor in the harbour",
    "the harbour is full of ships",
    "kittens drink milk in the morning",
]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.load("lexical", dimension=64)


@pytest.fixture
def index() -> Iterator[str]:
    elasticsearch_url()
    name = f"store-{uuid4().hex}"
    yield name
    forget_index(f"/{name}")


def ids(hits: list[dict[str, Any]]) -> list[str]:
    return [hit["_id"] for hit in hits]


def test_texts_are_stored_and_found(index: str, encoder: Encoder) -> None:
    service = JinaEmbeddingService(encoder)
    with client() as server:
        store = VectorStore(
            server,
            index=index,
            retrieval_strategy=JinaRetrievalStrategy(contract=service.contract),
            embedding_service=service,
        )
        store.add_texts(TEXTS, ids=list("abcde"), metadatas=[{"number": n} for n in range(5)])
        assert ids(store.search(query="where does the cat sleep on the stove?", k=2)) in (["a", "b"], ["b", "a"])
        assert ids(store.search(query="the cat", k=5, filter=[{"term": {"metadata.number": 3}}])) == ["d"]
        mapping = server.indices.get_mapping(index=index)[index]["mappings"]
        assert mapping["_meta"]["jinavec_contract"] == encoder.contract.sealed()
        assert mapping["properties"]["vector_field"]["index_options"]["type"] == "int8_hnsw"


def test_scores_are_those_of_the_exact_cosine(index: str, encoder: Encoder) -> None:
    with client() as server:
        store = VectorStore(
            server,
            index=index,
            retrieval_strategy=JinaRetrievalStrategy(),
            embedding_service=JinaEmbeddingService(encoder),
        )
        store.add_texts(TEXTS, ids=list("abcde"))
        hits = store.search(query="the harbour of ships", k=5)
    exact = encoder.encode_documents(TEXTS) @ encoder.encode_queries(["the harbour of ships"])[0]
    for hit in hits:
        assert 2 * hit["_score"] - 1 == pytest.approx(float(exact["abcde".index(hit["_id"])]), abs=1e-5)


def test_mmr_works_where_the_server_hides_vectors(index: str, encoder: Encoder) -> None:
    pytest.importorskip("simsimd")
    with client() as server:
        store = VectorStore(
            server,
            index=index,
            retrieval_strategy=JinaRetrievalStrategy(),
            embedding_service=JinaEmbeddingService(encoder),
        )
        store.add_texts(TEXTS, ids=list("abcde"))
        hits = store.max_marginal_relevance_search(
            query="the cat sleeps on the stove", vector_field="vector_field", k=2, num_candidates=5, lambda_mult=0.1
        )
    assert hits[0]["_id"] == "b"
    assert hits[1]["_id"] != "a"  # the nearest, but it says the same


async def test_the_async_store_does_the_same(index: str, encoder: Encoder) -> None:
    pytest.importorskip("aiohttp")
    async with AsyncElasticsearch(elasticsearch_url()) as server:
        store = AsyncVectorStore(
            server,
            index=index,
            retrieval_strategy=AsyncJinaRetrievalStrategy(storage="hnsw"),
            embedding_service=AsyncJinaEmbeddingService(encoder=encoder),
        )
        await store.add_texts(TEXTS, ids=list("abcde"))
        assert ids(await store.search(query="ships anchor in the harbour", k=1)) == ["c"]


# the stores that compare the contract


@pytest.fixture(scope="module")
def another() -> Encoder:
    """A model of the same dimension."""
    return Encoder.load(ModelProfile(name="another", width=64, backend="lexical"))


def test_an_index_of_another_contract_is_refused(index: str, encoder: Encoder, another: Encoder) -> None:
    with client() as server:
        store = JinaVectorStore(server, index=index, embedding_service=JinaEmbeddingService(encoder))
        store.add_texts(TEXTS, ids=list("abcde"))
        assert ids(store.search(query="ships anchor in the harbour", k=1)) == ["c"]
        hits = store.max_marginal_relevance_search(query="the cat", vector_field="vector_field", k=2, num_candidates=5)
        assert len(hits) == 2
        other = JinaVectorStore(server, index=index, embedding_service=JinaEmbeddingService(another))
        for use in (
            lambda: other.add_texts(TEXTS),
            lambda: other.add_texts(TEXTS, vectors=[[1.0] * 64] * 5),
            lambda: other.search(query="ships"),
            lambda: other.search(query_vector=[1.0] * 64),
            lambda: other.max_marginal_relevance_search(query="ships", vector_field="vector_field"),
        ):
            with pytest.raises(ContractMismatch, match="the index store-.* has 'lexical', the store has 'another'"):
                use()
        assert server.count(index=index)["count"] == 5


async def test_the_async_store_refuses_it_too(index: str, encoder: Encoder, another: Encoder) -> None:
    pytest.importorskip("aiohttp")
    async with AsyncElasticsearch(elasticsearch_url()) as server:
        store = AsyncJinaVectorStore(server, index=index, embedding_service=AsyncJinaEmbeddingService(encoder))
        await store.add_texts(TEXTS, ids=list("abcde"))
        assert ids(await store.search(query="ships anchor in the harbour", k=1)) == ["c"]
        other = AsyncJinaVectorStore(server, index=index, embedding_service=AsyncJinaEmbeddingService(another))
        with pytest.raises(ContractMismatch, match="another"):
            await other.add_texts(TEXTS)
        with pytest.raises(ContractMismatch, match="another"):
            await other.search(query="ships")


def test_an_index_without_a_contract_is_refused(index: str, encoder: Encoder) -> None:
    with client() as server:
        server.indices.create(index=index)
        store = JinaVectorStore(server, index=index, embedding_service=JinaEmbeddingService(encoder))
        with pytest.raises(EngineError, match="holds no contract"):
            store.add_texts(TEXTS)


def test_an_index_of_the_engine_is_known_by_its_contract(index: str, encoder: Encoder, another: Encoder) -> None:
    open_engine(f"elasticsearch:{elasticsearch_url()}/{index}", encoder=another).close()
    with client() as server:
        store = JinaVectorStore(server, index=index, embedding_service=JinaEmbeddingService(encoder))
        with pytest.raises(ContractMismatch, match="another"):
            store.search(query="x")


def test_a_store_needs_one_contract(encoder: Encoder, another: Encoder) -> None:
    with client() as server:
        service = JinaEmbeddingService(encoder)
        with pytest.raises(InvalidInput, match="needs a contract"):
            JinaVectorStore(server, index="i")
        with pytest.raises(InvalidInput, match="needs a contract"):
            JinaVectorStore(server, index="i", embedding_service=service, retrieval_strategy=JinaRetrievalStrategy())
        with pytest.raises(ContractMismatch, match="the strategy has 'another'"):
            strategy = JinaRetrievalStrategy(contract=another.contract)
            JinaVectorStore(server, index="i", embedding_service=service, retrieval_strategy=strategy)
