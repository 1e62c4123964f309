"""JinaV5Embeddings in the vector stores of others."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

pytest.importorskip("langchain_core", reason="needs the extra langchain")

from langchain_core.vectorstores import VectorStore
from tests.support.two_roles import TWO_ROLES

from jinavec_adapters.langchain import JinaV5Embeddings

TEXTS = ["the cat sleeps on the stove", "ships anchor in the harbour", "kittens drink milk", "the harbour at night"]
EMBEDDINGS = JinaV5Embeddings(model=TWO_ROLES, dimension=128)


def check(store: VectorStore, scale: Callable[[float], float] = float, close: float = 1e-5) -> None:
    """Add, search, and compare with the cosines of the vectors themselves."""
    store.add_texts(TEXTS, [{"number": number} for number in range(4)])
    query = "where is the harbour?"
    cosines = np.asarray(EMBEDDINGS.embed_documents(TEXTS)) @ EMBEDDINGS.embed_query(query)
    found = store.similarity_search_with_score(query, k=4)
    order = np.argsort(-cosines)
    assert [document.page_content for document, _ in found] == [TEXTS[number] for number in order]
    np.testing.assert_allclose([scale(score) for _, score in found], cosines[order], atol=close)


def from_elasticsearch(score: float) -> float:
    return 2 * score - 1  # it gives (1 + cosine) / 2


def test_qdrant() -> None:
    pytest.importorskip("langchain_qdrant", reason="needs langchain-qdrant")
    client: Any = import_module("qdrant_client").QdrantClient(":memory:")
    models: Any = import_module("qdrant_client.models")
    parameters = models.VectorParams(size=128, distance=models.Distance.COSINE)
    client.create_collection("tests", vectors_config=parameters)
    try:
        check(import_module("langchain_qdrant").QdrantVectorStore(client, "tests", EMBEDDINGS))
    finally:
        client.close()


@pytest.fixture
def elasticsearch_index() -> Iterator[tuple[str, str]]:
    url = os.environ.get("ELASTICSEARCH_URL")
    if not url:
        pytest.skip("needs a server at ELASTICSEARCH_URL")
    pytest.importorskip("langchain_elasticsearch", reason="needs langchain-elasticsearch")
    name = f"jinavec-tests-{uuid4().hex}"
    yield url, name
    with import_module("elasticsearch").Elasticsearch(url) as client:
        client.indices.delete(index=name, ignore_unavailable=True)


@pytest.mark.elasticsearch
def test_elasticsearch(elasticsearch_index: tuple[str, str]) -> None:
    url, name = elasticsearch_index
    library: Any = import_module("langchain_elasticsearch")
    store = library.ElasticsearchStore(es_url=url, index_name=name, embedding=EMBEDDINGS)
    try:
        check(store, from_elasticsearch, close=0.01)  # it keeps int8 by default
    finally:
        store.close()
