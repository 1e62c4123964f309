"""A bug of ours in the client leaves with its own type at once: it is no failure of the server's."""

from __future__ import annotations

import pytest
from tests.support.scripted_server import Reply, ScriptedServer, always

from jinavec import Encoder

pytest.importorskip("httpx2")


class Planted(TypeError):
    """The bug."""


@pytest.mark.parametrize(
    "function",
    [
        "wire.openai.in_order",
        "wire.openai.dumps",
        "wire.rows.from_base64",
        "backends.remote.http._server",
        "backends.remote.backend._plain_name",
    ],
)
async def test_a_bug_keeps_its_type_and_is_not_retried(monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    def bug(*_: object, **__: object) -> None:
        raise Planted

    with ScriptedServer("openai") as server:
        with Encoder.load(
            "jina-embeddings-v5-text-nano", backend="openai", url=server.url, options={"verify": False}
        ) as encoder:
            monkeypatch.setattr(f"jinavec.{function}", bug)
            with pytest.raises(Planted):
                encoder.encode_documents(["a"])
            with pytest.raises(Planted):
                await encoder.aencode_documents(["a"])
            assert len(server.asked) <= 2


def test_a_bug_where_a_refusal_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: object) -> None:
        raise Planted

    with ScriptedServer("openai", fault=always(Reply({"error": "no"}, 400))) as server:
        with Encoder.load(
            "jina-embeddings-v5-text-nano", backend="openai", url=server.url, options={"verify": False}
        ) as encoder:
            monkeypatch.setattr("jinavec.wire.errors._reason", bug)
            with pytest.raises(Planted):
                encoder.encode_documents(["a"])
            assert len(server.asked) == 1
