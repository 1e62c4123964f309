"""AsyncEmbeddingProvider in mcp-server-qdrant's own connector, on a local collection (``make test-mcp``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jinavec_adapters.qdrant import AsyncEmbeddingProvider

connector: Any = pytest.importorskip("mcp_server_qdrant.qdrant", reason="has an environment of its own: make test-mcp")
base: Any = pytest.importorskip("mcp_server_qdrant.embeddings.base")

TEXTS = ["the cat sleeps on the stove", "ships anchor in the harbour", "kittens drink milk in the morning"]


def _connector(folder: Path, provider: AsyncEmbeddingProvider) -> Any:
    return connector.QdrantConnector(None, None, "notes", provider, qdrant_local_path=str(folder))


async def test_stored_texts_are_found(tmp_path: Path) -> None:
    qdrant = _connector(tmp_path, AsyncEmbeddingProvider.load("lexical", dimension=256))
    for number, text in enumerate(TEXTS):
        await qdrant.store(connector.Entry(content=text, metadata={"number": number}))
    found = await qdrant.search("a sleeping cat on a stove", limit=1)
    assert [(entry.content, entry.metadata) for entry in found] == [(TEXTS[0], {"number": 0})]
    collection = await qdrant._client.get_collection("notes")
    assert {name: params.size for name, params in collection.config.params.vectors.items()} == {"lexical": 256}
    await qdrant._client.close()


def test_the_whole_surface_is_there() -> None:
    assert base.EmbeddingProvider.__abstractmethods__ <= set(dir(AsyncEmbeddingProvider))
