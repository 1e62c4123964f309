from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from llama_index.core.storage.kvstore import SimpleKVStore

from jinavec import ModelProfile
from jinavec.errors import InvalidType
from jinavec_adapters.llama_index import JinaV5Embedding


def test_a_query_never_gets_the_vector_of_a_document(prompted: ModelProfile, embedded: list[str]) -> None:
    plain, cached = JinaV5Embedding(prompted), JinaV5Embedding(prompted, embeddings_cache=SimpleKVStore())
    for _ in range(2):
        assert cached.get_text_embedding("Paris") == plain.get_text_embedding("Paris")
        assert cached.get_query_embedding("Paris") == plain.get_query_embedding("Paris")
        assert cached.get_text_embedding_batch(["Paris"]) == plain.get_text_embedding_batch(["Paris"])
    assert (embedded.count("Document: Paris"), embedded.count("Query: Paris")) == (1 + 4, 1 + 2)


async def test_the_same_holds_for_async_calls(prompted: ModelProfile, embedded: list[str]) -> None:
    plain, cached = JinaV5Embedding(prompted), JinaV5Embedding(prompted, embeddings_cache=SimpleKVStore())
    for _ in range(2):
        assert await cached.aget_query_embedding("Paris") == plain.get_query_embedding("Paris")
        assert await cached.aget_text_embedding("Paris") == plain.get_text_embedding("Paris")
        assert await cached.aget_text_embedding_batch(["Paris"]) == plain.get_text_embedding_batch(["Paris"])
    assert (embedded.count("Document: Paris"), embedded.count("Query: Paris")) == (1 + 4, 1 + 2)


async def test_sync_and_async_share_the_cache(prompted: ModelProfile, embedded: list[str]) -> None:
    cached = JinaV5Embedding(prompted, embeddings_cache=SimpleKVStore())
    query = cached.get_query_embedding("Paris")
    assert await cached.aget_query_embedding("Paris") == query
    assert embedded == ["Query: Paris"]


def test_models_of_several_contracts_share_one_store(prompted: ModelProfile) -> None:
    store: Any = SimpleKVStore()
    changes: list[dict[str, Any]] = [{}, {"dimension": 64}, {"task": "text-matching"}]
    for change in changes:
        plain = JinaV5Embedding(prompted, **change)
        cached = JinaV5Embedding(prompted, **change, embeddings_cache=store)
        assert cached.get_query_embedding("Paris") == plain.get_query_embedding("Paris")
        assert cached.get_text_embedding_batch(["Paris", "Rome"]) == plain.get_text_embedding_batch(["Paris", "Rome"])
    assert len(store.get_all("embeddings")) == 9


def test_a_persisted_store_serves_a_new_model(prompted: ModelProfile, tmp_path: Path, embedded: list[str]) -> None:
    store = SimpleKVStore()
    first = JinaV5Embedding(prompted, embeddings_cache=store).get_query_embedding("Paris")
    store.persist(str(tmp_path / "cache.json"))
    store = SimpleKVStore.from_persist_path(str(tmp_path / "cache.json"))
    assert JinaV5Embedding(prompted, embeddings_cache=store).get_query_embedding("Paris") == first
    assert embedded == ["Query: Paris"]


async def test_entries_can_be_listed_and_forgotten(prompted: ModelProfile, embedded: list[str]) -> None:
    cached = JinaV5Embedding(prompted, embeddings_cache=SimpleKVStore())
    cached.get_text_embedding("Paris")
    cache = cached.embeddings_cache
    assert cache.get_all("embeddings") == await cache.aget_all("embeddings") != {}
    assert cache.delete("Paris", "embeddings")
    assert not await cache.adelete("Paris", "embeddings")
    cached.get_text_embedding("Paris")
    assert embedded == ["Document: Paris", "Document: Paris"]


def test_the_cache_is_not_saved_with_the_model(prompted: ModelProfile) -> None:
    cached = JinaV5Embedding(prompted, embeddings_cache=SimpleKVStore())
    assert cached.to_json() == JinaV5Embedding(prompted).to_json()


def test_another_kind_of_cache_is_refused(prompted: ModelProfile) -> None:
    with pytest.raises(InvalidType, match="BaseKVStore.*dict"):
        JinaV5Embedding(prompted, embeddings_cache={})
