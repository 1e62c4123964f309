"""LangChain's own standard tests, none overridden."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langchain_tests", reason="needs the extra langchain and langchain-tests")

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_tests.integration_tests import (
    EmbeddingsIntegrationTests,
    RetrieversIntegrationTests,
    VectorStoreIntegrationTests,
)
from langchain_tests.unit_tests import EmbeddingsUnitTests

from jinavec_adapters.langchain import BinaryRetriever, BinaryVectorStore, JinaV5Embeddings

LEXICAL = {"model": "lexical", "dimension": 64}


class TestEmbeddingsUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[JinaV5Embeddings]:
        return JinaV5Embeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return LEXICAL


class TestEmbeddingsIntegration(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[JinaV5Embeddings]:
        return JinaV5Embeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return LEXICAL


class TestForeignEmbeddings(VectorStoreIntegrationTests):
    """With the suite's own embeddings: 6 wide, and not normalised."""

    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[BinaryVectorStore]:  # pyright: ignore[reportIncompatibleMethodOverride]
        with BinaryVectorStore(path=tmp_path / "index", embedding=self.get_embeddings()) as store:
            yield store


class TestTemporary(VectorStoreIntegrationTests):
    """Without a path."""

    @pytest.fixture
    def vectorstore(self) -> Iterator[BinaryVectorStore]:  # pyright: ignore[reportIncompatibleMethodOverride]
        yield BinaryVectorStore(embedding=self.get_embeddings())


class TestOwnEmbeddings(VectorStoreIntegrationTests):
    """With our own embeddings."""

    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[BinaryVectorStore]:  # pyright: ignore[reportIncompatibleMethodOverride]
        with BinaryVectorStore(path=tmp_path / "index", embedding=JinaV5Embeddings(**LEXICAL)) as store:
            yield store


class TestRetriever(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return BinaryRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        store = BinaryVectorStore(embedding=JinaV5Embeddings(**LEXICAL))
        store.add_documents([Document(page_content=f"text {number}") for number in range(8)])
        return {"vectorstore": store}

    @property
    def retriever_query_example(self) -> str:
        return "text 3"
