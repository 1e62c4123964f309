"""The check of a server on first use."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.model_checks import agree
from tests.support.remote_encoders import TEXTS, load, wanted
from tests.support.scripted_server import Asked, Reply, ScriptedServer, hash_vector

from jinavec.errors import ModelError

pytest.importorskip("httpx2")
pytest.importorskip("elasticsearch")


def test_a_right_server_passes_once(protocol: str) -> None:
    with ScriptedServer(protocol) as server, load(server, options={"verify": True}) as encoder:
        agree(encoder.encode_documents(TEXTS[:3]), wanted(TEXTS[:3]))
        asked = len(server.asked)
        encoder.encode_documents(TEXTS[:3])
        assert 1 < asked <= 5 and len(server.asked) == asked + 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"protocol": "jina", "ignores_role": True},
        {"protocol": "tei", "ignores_role": True},
        {"protocol": "tei", "own_prefix": "x: ", "ignores_role": True},
        {"protocol": "openai", "own_prefix": "Document: "},
    ],
    ids=str,
)
def test_a_missing_or_doubled_prefix(wrong: dict[str, Any]) -> None:
    with ScriptedServer(**wrong) as server, load(server, options={"verify": True}) as encoder:
        for _ in range(2):
            with pytest.raises(ModelError, match="prefix"):
                encoder.encode_documents(["a"])


@pytest.mark.parametrize("pools", ["the padding", "the first token"])
def test_a_server_that_pools_wrongly(pools: str) -> None:
    def fault(asked: Asked, number: int) -> Reply:
        texts = asked.body["input"]
        seen = ["" if pools == "the first token" else text + str(len(texts)) for text in texts]
        return Reply({"data": [{"index": n, "embedding": hash_vector(s).tolist()} for n, s in enumerate(seen)]})

    with ScriptedServer("openai", fault=fault) as server, load(server, options={"verify": True}) as encoder:
        with pytest.raises(ModelError, match="pool"):
            encoder.encode_documents(["a"])
