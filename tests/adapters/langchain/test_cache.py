"""CacheBackedEmbeddings, used as the docstring of JinaV5Embeddings says."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

pytest.importorskip("langchain_classic", reason="needs langchain-classic")

from langchain_classic.embeddings import CacheBackedEmbeddings
from langchain_classic.storage import LocalFileStore
from langchain_core.stores import InMemoryByteStore
from tests.support.two_roles import TWO_ROLES

from jinavec import Encoder
from jinavec_adapters.langchain import BinaryVectorStore, JinaV5Embeddings

from .encoders import Watched


def cached(embeddings: JinaV5Embeddings, folder: Path) -> CacheBackedEmbeddings:
    return CacheBackedEmbeddings.from_bytes_store(
        embeddings,
        LocalFileStore(folder / "documents"),
        namespace=embeddings.cache_namespace,
        query_embedding_cache=LocalFileStore(folder / "queries"),
        key_encoder="sha256",
    )


def test_each_role_keeps_its_vectors(tmp_path: Path) -> None:
    backend = Watched()
    embeddings = JinaV5Embeddings.from_encoder(Encoder(TWO_ROLES, backend))
    cache = cached(embeddings, tmp_path)
    plain = JinaV5Embeddings(model=TWO_ROLES)
    for _ in range(2):
        assert cache.embed_documents(["Paris", "Rome"]) == plain.embed_documents(["Paris", "Rome"])
        assert cache.embed_query("Paris") == plain.embed_query("Paris")
        assert asyncio.run(cache.aembed_documents(["Paris"])) == plain.embed_documents(["Paris"])
        assert asyncio.run(cache.aembed_query("Paris")) == plain.embed_query("Paris")
    assert backend.seen == ["Document: Paris", "Document: Rome", "Query: Paris"]  # each once


def test_one_cache_serves_two_contracts(tmp_path: Path) -> None:
    for dimension in (64, 128, 64):
        embeddings = JinaV5Embeddings(model=TWO_ROLES, dimension=dimension)
        cache = cached(embeddings, tmp_path)
        assert cache.embed_documents(["Paris"]) == embeddings.embed_documents(["Paris"])
        assert cache.embed_query("Paris") == embeddings.embed_query("Paris")


def test_one_store_for_both_roles_is_the_trap_we_warn_of() -> None:
    embeddings = JinaV5Embeddings(model=TWO_ROLES)
    cache = CacheBackedEmbeddings.from_bytes_store(
        embeddings,
        InMemoryByteStore(),
        namespace=embeddings.cache_namespace,
        query_embedding_cache=True,
        key_encoder="sha256",
    )
    (document,) = cache.embed_documents(["Paris"])
    assert cache.embed_query("Paris") == document  # if this fails, LangChain has mended it: shorten our warning


def test_the_store_sees_our_contract_behind_the_cache(tmp_path: Path) -> None:
    embeddings = JinaV5Embeddings(model=TWO_ROLES, dimension=64)
    with BinaryVectorStore(path=tmp_path / "index", embedding=cached(embeddings, tmp_path)) as store:
        store.add_texts(["Paris", "Rome"])
        assert store.index is not None and store.index.contract == embeddings.contract
    with BinaryVectorStore(path=tmp_path / "index", embedding=embeddings) as store:
        assert [document.page_content for document in store.similarity_search("Rome", k=1)] == ["Rome"]
