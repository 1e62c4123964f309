from __future__ import annotations

import inspect
from typing import Any

import pytest

from jinavec import Contract, Encoder, Role
from jinavec.errors import InvalidDimension, InvalidInput

pytest.importorskip("elasticsearch")
from elasticsearch.helpers.vectorstore import (
    AsyncEmbeddingService,
    AsyncRetrievalStrategy,
    EmbeddingService,
    RetrievalStrategy,
)

from jinavec_adapters.elastic import (
    AsyncJinaEmbeddingService,
    AsyncJinaRetrievalStrategy,
    JinaEmbeddingService,
    JinaRetrievalStrategy,
)

FIELDS = {"text_field": "words", "vector_field": "v"}
VECTOR = [1.0] * 64


def ask(strategy: JinaRetrievalStrategy, **changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"query": "cats", "query_vector": VECTOR, "k": 4, "num_candidates": 50, "filter": []}
    return strategy.es_query(**FIELDS, **(given | changes))


def test_the_roles_are_right_and_the_vectors_are_lists_of_floats() -> None:
    encoder = Encoder.load("lexical", dimension=64)
    service = JinaEmbeddingService("lexical", dimension=64)
    documents, query = service.embed_documents(["a cat", "a dog"]), service.embed_query("a cat")
    assert documents == encoder.encode(["a cat", "a dog"], role=Role.DOCUMENT).tolist()
    assert query == encoder.encode(["a cat"], role=Role.QUERY)[0].tolist()
    assert type(documents) is list and type(documents[0]) is list and type(documents[0][0]) is type(query[0]) is float
    assert service.embed_documents([]) == []
    assert service.dimension == len(query)


async def test_the_async_service_gives_the_same() -> None:
    encoder = Encoder.load("lexical", dimension=64)
    one, other = JinaEmbeddingService(encoder), AsyncJinaEmbeddingService(encoder)
    assert await other.embed_documents(["a", "b"]) == one.embed_documents(["a", "b"])
    assert await other.embed_query("a") == one.embed_query("a")


def test_services_need_one_model() -> None:
    with pytest.raises(InvalidInput, match="model"):
        JinaEmbeddingService()
    with pytest.raises(InvalidInput, match="encoder is given"):
        JinaEmbeddingService(Encoder.load("lexical"), dimension=64)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (JinaEmbeddingService, EmbeddingService),
        (AsyncJinaEmbeddingService, AsyncEmbeddingService),
        (JinaRetrievalStrategy, RetrievalStrategy),
        (AsyncJinaRetrievalStrategy, AsyncRetrievalStrategy),
    ],
)
def test_signatures_are_those_of_the_client(ours: type, theirs: type) -> None:
    assert issubclass(ours, theirs)
    for name in ("embed_documents", "embed_query", "es_query", "es_mappings_settings", "needs_inference"):
        if hasattr(theirs, name):
            wanted, got = getattr(theirs, name), getattr(ours, name)
            assert list(inspect.signature(got).parameters) == list(inspect.signature(wanted).parameters)
            assert inspect.iscoroutinefunction(got) == inspect.iscoroutinefunction(wanted)


def test_the_mapping_is_explicit() -> None:
    mapping, settings = JinaRetrievalStrategy(storage="int8_hnsw").es_mappings_settings(**FIELDS, num_dimensions=32)
    assert settings == {}
    assert mapping == {
        "properties": {
            "words": {"type": "text"},
            "v": {
                "type": "dense_vector",
                "dims": 32,
                "element_type": "float",
                "index": True,
                "similarity": "cosine",
                "index_options": {
                    "type": "int8_hnsw",
                    "m": 16,
                    "ef_construction": 100,
                    "rescore_vector": {"oversample": 2.0},
                },
            },
        }
    }


def test_a_query_is_a_knn_section() -> None:
    strategy = JinaRetrievalStrategy(source_vectors=False)
    knn = {"field": "v", "query_vector": VECTOR, "k": 4, "num_candidates": 50, "rescore_vector": {"oversample": 2.0}}
    assert ask(strategy) == {"knn": knn}
    assert ask(strategy, filter=[{"term": {"a": 1}}]) == {"knn": {**knn, "filter": [{"term": {"a": 1}}]}}
    assert ask(JinaRetrievalStrategy(source_vectors=True))["source_exclude_vectors"] is False
    assert ask(JinaRetrievalStrategy(storage="hnsw", source_vectors=False))["knn"].keys() == knn.keys() - {
        "rescore_vector"
    }


@pytest.mark.parametrize("hybrid", ["rrf", "linear"])
def test_a_hybrid_query_is_a_retriever(hybrid: Any) -> None:
    asked = ask(JinaRetrievalStrategy(hybrid=hybrid, source_vectors=False), filter=[{"term": {"a": 1}}])
    (kind,) = asked["retriever"]
    inner = asked["retriever"][kind]["retrievers"]
    inner = [part.get("retriever", part) for part in inner]
    assert kind == hybrid
    words = {"bool": {"must": [{"match": {"words": "cats"}}], "filter": [{"term": {"a": 1}}]}}
    assert inner[0] == {"standard": {"query": words}}
    assert inner[1]["knn"]["filter"] == [{"term": {"a": 1}}]


def test_what_cannot_work_is_refused() -> None:
    contract = Contract.of("lexical", dimension=64)
    with pytest.raises(InvalidInput, match="floats"):
        JinaRetrievalStrategy(storage="bit")
    with pytest.raises(InvalidInput, match="rrf"):
        JinaRetrievalStrategy(hybrid="sum")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidInput, match="vector"):
        ask(JinaRetrievalStrategy(), query_vector=None)
    with pytest.raises(InvalidInput, match="text"):
        ask(JinaRetrievalStrategy(hybrid="rrf"), query=None)
    with pytest.raises(InvalidDimension, match="not known"):
        JinaRetrievalStrategy().es_mappings_settings(**FIELDS, num_dimensions=None)
    with pytest.raises(InvalidDimension, match="64"):
        JinaRetrievalStrategy(contract=contract).es_mappings_settings(**FIELDS, num_dimensions=32)
    with pytest.raises(InvalidDimension, match="64"):
        ask(JinaRetrievalStrategy(contract=contract), query_vector=[1.0])
