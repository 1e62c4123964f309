from __future__ import annotations

import inspect

import numpy as np
import pytest

from jinavec import Encoder
from jinavec.errors import InvalidType
from jinavec_adapters.qdrant import AsyncEmbeddingProvider

SURFACE = {"embed_documents": True, "embed_query": True, "get_vector_name": False, "get_vector_size": False}


async def test_it_embeds_documents_and_queries_as_such() -> None:
    provider = AsyncEmbeddingProvider.load("lexical", dimension=128)
    encoder = Encoder.load("lexical", dimension=128)
    documents = ["a cat", "a dog"]
    np.testing.assert_allclose(await provider.embed_documents(documents), encoder.encode_documents(documents))
    np.testing.assert_allclose(await provider.embed_query("a cat"), encoder.encode_queries(["a cat"])[0])
    assert (provider.get_vector_name(), provider.get_vector_size()) == ("lexical", 128)
    assert await provider.embed_documents([]) == []


def test_the_surface_is_that_of_mcp_server_qdrant() -> None:
    for name, is_async in SURFACE.items():
        assert inspect.iscoroutinefunction(getattr(AsyncEmbeddingProvider, name)) is is_async


def test_the_vector_name_can_be_chosen() -> None:
    assert AsyncEmbeddingProvider(Encoder.load("lexical"), vector_name="mine").get_vector_name() == "mine"
    with pytest.raises(InvalidType, match="load"):
        AsyncEmbeddingProvider("lexical")  # pyright: ignore[reportArgumentType]


def test_it_takes_the_arguments_of_the_encoder() -> None:
    provider = AsyncEmbeddingProvider.load("lexical", task="clustering", overflow="error", vector_name="mine")
    assert provider.encoder.settings == Encoder.load("lexical", task="clustering", overflow="error").settings
    with pytest.raises(TypeError, match="'dimensions'"):
        AsyncEmbeddingProvider.load("lexical", dimensions=64)  # pyright: ignore[reportCallIssue]
