"""JinaV5Embedding over the remote backend, against a real socket."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("httpx2", reason="needs the extra remote")
pytest.importorskip("orjson", reason="needs the extra remote")
pytest.importorskip("aiolimiter", reason="needs the extra remote")

from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery
from tests.support.remote_nano import KEY, TEXTS, expected
from tests.support.scripted_server import Asked, Reply, ScriptedServer, always

from jinavec.errors import ServerError
from jinavec_adapters.llama_index import BinaryVectorStore, JinaV5Embedding


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer("jina") as server:
        yield server


def connect(server: ScriptedServer, **fields: Any) -> JinaV5Embedding:
    fields = {"dimension": 64, "backend": "jina", "url": server.url, "api_key": KEY, **fields}
    fields["options"] = {"verify": False, **fields.get("options", {})}
    return JinaV5Embedding("jina-embeddings-v5-text-nano", **fields)


def test_roles_reach_the_server(server: ScriptedServer) -> None:
    model = connect(server)
    np.testing.assert_allclose(model.get_text_embedding_batch(TEXTS), expected("Document: ", TEXTS), atol=1e-6)
    np.testing.assert_allclose([model.get_query_embedding(t) for t in TEXTS], expected("Query: ", TEXTS), atol=1e-6)
    assert [asked.body["task"] for asked in server.asked] == ["retrieval.passage", *["retrieval.query"] * 3]
    assert {asked.headers["authorization"] for asked in server.asked} == {f"Bearer {KEY}"}


async def test_many_batches_at_once_keep_within_the_connections(server: ScriptedServer) -> None:
    """LlamaIndex starts all batches together."""
    model = connect(server, embed_batch_size=2, options={"concurrency": 4})
    texts = [f"text {number}" for number in range(60)]
    np.testing.assert_allclose(await model.aget_text_embedding_batch(texts), expected("Document: ", texts), atol=1e-6)
    assert server.connections <= 4


async def test_the_event_loop_turns_while_the_server_thinks(server: ScriptedServer) -> None:
    """The server answers only when the loop has turned: on a blocked one it would never."""
    turned = threading.Event()

    def wait(asked: Asked, number: int) -> None:
        assert turned.wait(120), "the event loop stood still"

    server.fault = wait
    call = asyncio.ensure_future(connect(server).aget_query_embedding("a"))
    while not server.asked:
        await asyncio.sleep(0)
    turned.set()
    await call


def test_a_failure_is_tried_again(server: ScriptedServer) -> None:
    def busy(asked: Asked, number: int) -> Reply | None:
        return Reply({"detail": "busy"}, 503) if number == 1 else None

    server.fault = busy
    np.testing.assert_allclose(
        connect(server).get_text_embedding_batch(TEXTS), expected("Document: ", TEXTS), atol=1e-6
    )
    assert len(server.asked) == 2


async def test_a_refusal_reaches_the_caller_without_the_key(server: ScriptedServer) -> None:
    server.fault = always(Reply({"detail": "wrong key"}, 401))
    model = connect(server)
    with pytest.raises(ServerError, match="401") as caught:
        await model.aget_text_embedding_batch(TEXTS)
    assert KEY not in str(caught.value) + repr(caught.value)


def test_round_trips_take_the_key_from_the_environment(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for address in (server.url, server.url.replace("//", f"//me:{KEY}@")):
        model = connect(server, url=address)
        pickled = pickle.dumps(model)
        assert KEY.encode() not in pickled
        assert KEY not in model.to_json() + repr(model) and server.url in model.to_json()
        vector = model.get_query_embedding("a")
        monkeypatch.setenv("JINAVEC_API_KEY", "sk-of-the-environment")
        for again in (pickle.loads(pickled), JinaV5Embedding.from_json(model.to_json())):
            assert again == model
            assert again.get_query_embedding("a") == vector
            assert server.asked[-1].headers["authorization"] == "Bearer sk-of-the-environment"
        monkeypatch.delenv("JINAVEC_API_KEY")


async def test_a_store_adds_and_searches_over_a_server(server: ScriptedServer, tmp_path: Path) -> None:
    model = connect(server)
    store = BinaryVectorStore(tmp_path / "index", embed_model=model)
    await store.async_add(await model.acall([TextNode(id_=text, text=text) for text in TEXTS]))
    query = VectorStoreQuery(query_embedding=await model.aget_query_embedding("a cat"), similarity_top_k=3)
    found = await store.aquery(query)
    cosines = np.array(expected("Document: ", TEXTS)) @ expected("Query: ", ["a cat"])[0]
    assert found.ids == [TEXTS[number] for number in np.argsort(-cosines)]
    store.close()
