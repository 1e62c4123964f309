"""JinaV5Embeddings over the remote backend, against a real socket."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("langchain_core", reason="needs the extra langchain")
pytest.importorskip("httpx2", reason="needs the extra remote")
pytest.importorskip("orjson", reason="needs the extra remote")
pytest.importorskip("aiolimiter", reason="needs the extra remote")

from langchain_core.load import dumps, loads
from tests.support.remote_nano import KEY, TEXTS, expected
from tests.support.scripted_server import Asked, Reply, ScriptedServer, always

from jinavec.errors import ServerError
from jinavec_adapters.langchain import BinaryVectorStore, JinaV5Embeddings


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer("jina") as server:
        yield server


def connect(server: ScriptedServer, **fields: Any) -> JinaV5Embeddings:
    nano = {"model": "jina-embeddings-v5-text-nano", "dimension": 64, "backend": "jina"}
    options = {"verify": False, **fields.pop("options", {})}
    return JinaV5Embeddings(**{**nano, "url": server.url, "api_key": KEY, "options": options, **fields})


def test_roles_reach_the_server(server: ScriptedServer) -> None:
    embeddings = connect(server)
    np.testing.assert_allclose(embeddings.embed_documents(TEXTS), expected("Document: ", TEXTS), atol=1e-6)
    np.testing.assert_allclose([embeddings.embed_query(text) for text in TEXTS], expected("Query: ", TEXTS), atol=1e-6)
    assert [asked.body["task"] for asked in server.asked] == ["retrieval.passage", *["retrieval.query"] * 3]
    assert {asked.headers["authorization"] for asked in server.asked} == {f"Bearer {KEY}"}


def test_async_calls_share_the_connections_and_run_side_by_side(server: ScriptedServer) -> None:
    embeddings = connect(server)

    async def run() -> list[list[float]]:
        return await asyncio.gather(*(embeddings.aembed_query(text) for text in TEXTS * 5))

    assert asyncio.run(run()) == [embeddings.embed_query(text) for text in TEXTS * 5]
    assert asyncio.run(embeddings.aembed_documents(TEXTS)) == embeddings.embed_documents(TEXTS)
    assert server.connections <= 16


def test_the_event_loop_turns_while_the_server_thinks(server: ScriptedServer) -> None:
    """The server answers only when the loop has turned: on a blocked one it would never."""
    turned = threading.Event()

    def wait(asked: Asked, number: int) -> None:
        assert turned.wait(120), "the event loop stood still"

    server.fault = wait

    async def run() -> None:
        call = asyncio.ensure_future(connect(server).aembed_query("a"))
        while not server.asked:
            await asyncio.sleep(0)
        turned.set()
        await call

    asyncio.run(run())


def test_a_failure_is_tried_again(server: ScriptedServer) -> None:
    def busy(asked: Asked, number: int) -> Reply | None:
        return Reply({"detail": "busy"}, 503) if number == 1 else None

    server.fault = busy
    np.testing.assert_allclose(connect(server).embed_documents(TEXTS), expected("Document: ", TEXTS), atol=1e-6)
    assert len(server.asked) == 2


def test_a_refusal_reaches_the_caller_without_the_key(server: ScriptedServer) -> None:
    server.fault = always(Reply({"detail": f"wrong key {KEY[:6]}"}, 401))
    embeddings = connect(server)
    for call in (lambda: embeddings.embed_query("a"), lambda: asyncio.run(embeddings.aembed_documents(TEXTS))):
        with pytest.raises(ServerError, match="401") as caught:
            call()
        assert KEY not in str(caught.value) + repr(caught.value)


@pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
def test_address_is_written_and_key_and_password_are_not(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = server.url.replace("//", f"//me:{KEY}@")
    for embeddings in (connect(server), connect(server, url=address)):
        written = [embeddings.model_dump_json(), str(embeddings.model_dump()), dumps(embeddings)]
        assert all(server.url in text for text in written)
        assert not [text for text in [*written, repr(embeddings), str(embeddings)] if KEY in text]
        pickled = pickle.dumps(embeddings)
        assert KEY.encode() not in pickled
        assert copy.deepcopy(embeddings).embed_query("a") == embeddings.embed_query("a")
        monkeypatch.setenv("JINAVEC_API_KEY", "sk-of-the-environment")
        for again in (
            pickle.loads(pickled),
            loads(written[-1], allowed_objects=[JinaV5Embeddings], valid_namespaces=["jinavec_adapters"]),
            JinaV5Embeddings.model_validate_json(written[0]),
        ):
            assert again == embeddings
            assert again.embed_query("a") == embeddings.embed_query("a")
        monkeypatch.delenv("JINAVEC_API_KEY")
    assert json.loads(written[-1])["kwargs"]["url"] == server.url
    assert server.asked[-2].headers["authorization"] == "Bearer sk-of-the-environment"


def test_a_store_adds_and_searches_over_a_server(server: ScriptedServer, tmp_path: Path) -> None:
    with BinaryVectorStore(tmp_path / "index", embedding=connect(server)) as store:
        store.add_texts(TEXTS, ids=["a", "b", "c"])
        cosines = np.array(expected("Document: ", TEXTS)) @ expected("Query: ", ["a cat"])[0]
        found = asyncio.run(store.asimilarity_search_with_score("a cat", k=3))
        assert [document.page_content for document, _ in found] == [TEXTS[n] for n in np.argsort(-cosines)]
        np.testing.assert_allclose([score for _, score in found], np.sort(cosines)[::-1], atol=0.02)
