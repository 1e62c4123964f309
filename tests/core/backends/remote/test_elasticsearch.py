"""The backend that asks through the official client of Elasticsearch."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.model_checks import agree
from tests.support.remote_encoders import NANO, TEXTS, load, wanted
from tests.support.scripted_server import WIDTH, Reply, ScriptedServer, always

from jinavec import Encoder, JinavecWarning
from jinavec.errors import InvalidInput

pytest.importorskip("httpx2")
pytest.importorskip("elasticsearch")


def test_a_client_of_ones_own() -> None:
    import elasticsearch

    with ScriptedServer("elasticsearch") as server, elasticsearch.Elasticsearch(server.url) as client:
        with Encoder.load(NANO, backend="elasticsearch", options={"client": client}) as encoder:
            agree(encoder.encode_documents(TEXTS), wanted(TEXTS))
            assert encoder.settings is not None
            assert "client" not in encoder.settings.to_json()["options"]
        client.perform_request(
            "POST",
            "/x",
            body={"input": ["a"], "input_type": "search"},
            headers={"content-type": "application/json", "accept": "application/json"},
        )  # still open


@pytest.mark.parametrize("given", [{}, {"url": "http://h:1", "options": {"cloud_id": "a:b"}}], ids=str)
def test_exactly_one_address(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="one of url"):
        Encoder.load(NANO, backend="elasticsearch", **given)


def test_an_asynchronous_client_is_refused() -> None:
    with pytest.raises(InvalidInput, match="synchronous"):
        Encoder.load(NANO, backend="elasticsearch", options={"client": object()})


def test_bytes_and_bits_are_worth_a_warning() -> None:
    for name, width in (("text_embedding_bytes", WIDTH), ("text_embedding_bits", WIDTH // 8)):
        reply = Reply({name: [{"embedding": [3] * width}]}, headers={"X-Elastic-Product": "Elasticsearch"})
        with ScriptedServer("elasticsearch", fault=always(reply)) as server:
            with load(server) as encoder, pytest.warns(JinavecWarning, match="less than float32"):
                assert encoder.encode_documents(["a"]).shape == (1, WIDTH)
