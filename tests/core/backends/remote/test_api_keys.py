"""Which key goes to which server, and that none is ever shown."""

from __future__ import annotations

import json
import traceback

import pytest
from tests.support.remote_encoders import load
from tests.support.scripted_server import Reply, ScriptedServer, always

from jinavec.backends.remote.api_keys import find_key
from jinavec.errors import InvalidInput, ServerError

pytest.importorskip("httpx2")
pytest.importorskip("elasticsearch")


def test_without_a_key_there_is_no_header(protocol: str) -> None:
    with ScriptedServer(protocol) as server, load(server) as encoder:
        encoder.encode_documents(["a"])
        assert "authorization" not in server.asked[0].headers


def test_a_key_is_sent_and_never_shown(protocol: str) -> None:
    echo = Reply({"error": "bad key sk-secret"}, 401, {"X-Elastic-Product": "Elasticsearch"})
    with ScriptedServer(protocol, fault=always(echo)) as server:
        with load(server, api_key="sk-secret") as encoder:
            with pytest.raises(ServerError) as refusal:
                encoder.encode_documents(["a"])
            kind = "ApiKey" if protocol == "elasticsearch" else "Bearer"
            assert server.asked[0].headers["authorization"] == f"{kind} sk-secret"
            assert encoder.settings is not None
            shown = (refusal.value, refusal.value.said, encoder, encoder.backend, encoder.settings)
            assert "sk-secret" not in " ".join(map(repr, shown)) + "".join(traceback.format_exception(refusal.value))
            assert "sk-secret" not in json.dumps(encoder.settings.to_json())


def test_user_and_password_in_the_address(protocol: str) -> None:
    with ScriptedServer(protocol) as server:
        url = server.url.replace("//", "//me:pw-secret@")
        with load(server, url=url) as encoder:
            encoder.encode_documents(["a"])
            assert server.asked[0].headers["authorization"] == "Basic bWU6cHctc2VjcmV0"
            assert "secret" not in repr(encoder.contract) + encoder.contract.host


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("https://api.jina.ai/v1/embeddings", "jina"),
        ("https://api.openai.com", "openai"),
        ("https://API.cohere.com/v2", "cohere"),
        ("http://api.jina.ai/v1", "own"),
        ("https://api.jina.ai.example.org", "own"),
        ("https://example.org/api.jina.ai", "own"),
        ("https://api.jina.ai@example.org", "own"),
        ("http://localhost:8080", "own"),
    ],
)
def test_a_vendors_key_goes_to_the_vendor_only(url: str, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("jina", "openai", "cohere"):
        monkeypatch.setenv(f"{name.upper()}_API_KEY", name)
    monkeypatch.setenv("JINAVEC_API_KEY", "own")
    assert find_key(url, None) == key
    assert find_key(url, "given") == "given"
    monkeypatch.delenv("JINAVEC_API_KEY")
    assert find_key(url, None) == ("" if key == "own" else key)


@pytest.mark.parametrize("key", ["a b", "a\r\nX: y", "schlüssel"])
def test_a_key_no_header_can_carry(key: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        find_key("http://localhost", key)
    assert key not in str(refusal.value)
