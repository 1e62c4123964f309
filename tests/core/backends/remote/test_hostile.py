"""Answers of hostile servers: each is one clear error, after no more was read than the vectors could take."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from tests.support.hostile_server import ATTACKS, ENDLESS, MEGABYTE, Attack, HostileServer, assert_harmless, once
from tests.support.remote_encoders import NANO, PROTOCOLS, TEXTS, load, wanted
from tests.support.scripted_server import Reply, ScriptedServer, always

from jinavec import Encoder
from jinavec.errors import JinavecWarning, ServerError

pytest.importorskip("httpx2")
pytest.importorskip("elasticsearch")


def refused(protocol: str, attack: Attack) -> tuple[str, HostileServer]:
    with HostileServer(attack) as server:
        with Encoder.load(NANO, backend=protocol, url=server.url, options={"deadline": 5}) as encoder:
            with pytest.raises(ServerError) as error:
                encoder.encode_documents(["a"])
    return str(error.value), server


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("protocol", ["openai", "elasticsearch"])
def test_an_attack_is_one_error(protocol: str, name: str) -> None:
    message, server = refused(protocol, ATTACKS[name])
    assert_harmless(message, ATTACKS[name], server)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("attack", [ENDLESS, ATTACKS["gzip"]], ids=["endless", "gzip"])
def test_no_more_is_read_than_was_asked_for(protocol: str, attack: Attack) -> None:
    message, server = refused(protocol, attack)
    assert "larger than" in message
    assert server.sent < 20 * MEGABYTE
    assert all(
        b"br" not in line for head in server.requests for line in head.lower().split(b"\r\n") if b"accept-enc" in line
    )


@pytest.mark.parametrize("wide", [{"encoding": "float"}, {}])
def test_honest_answers_are_read_whatever_they_are_packed_in(wide: dict[str, str]) -> None:
    """Indented, with the texts repeated, and compressed."""
    texts = [text * 50 for text in TEXTS]
    with ScriptedServer("openai") as server:

        def packed(asked: object, number: int) -> Reply:
            values = server.answer(server.asked[-1]).body | {"texts": server.asked[-1].body["input"]}
            return Reply(gzip.compress(json.dumps(values, indent=8).encode()), headers={"Content-Encoding": "gzip"})

        server.fault = packed
        with load(server, options={"batch": 100, "concurrency": 1, **wide}) as encoder:
            np.testing.assert_allclose(encoder.encode_documents(texts), wanted(texts), atol=1e-6)


def test_a_page_of_html_is_told_by_its_words() -> None:
    page = (
        b"<html><script>var a = '<b>no</b>'</script><h1>Bad <b>day</b></h1><style>p {}</style>"
        + b"<p>." * 9
        + b"<script>"
    )
    message, _ = refused("openai", Attack(once(page + b"<script>var b"), 500))
    assert "500: Bad day . ." in " ".join(message.split())
    assert "var" not in message


@pytest.mark.parametrize("protocol", ["openai", "elasticsearch"])
@pytest.mark.parametrize("name", ["SSL_CERT_FILE"])
def test_certificates_that_are_not_there(protocol: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "/not/there.pem")
    with Encoder.load(NANO, backend="openai", url="https://127.0.0.1:1") as encoder:
        with pytest.raises(ValueError, match=f"{name}=/not/there.pem"):
            encoder.encode_documents(["a"])


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, r"it redirects \(status 302\), but its answer has no header Location"),
        ({"Location": "http://me:pw@h/v1?key=secret"}, r"it redirects to http://h/v1\?\*\*\*; give that address"),
    ],
)
def test_redirects(headers: dict[str, str], said: str) -> None:
    with ScriptedServer("openai", fault=always(Reply(b"", 302, headers))) as server, load(server) as encoder:
        with pytest.raises(ServerError, match=said) as error:
            encoder.encode_documents(["a"])
    assert "secret" not in str(error.value)


def test_a_query_of_the_address_is_not_shown() -> None:
    """Proxies repeat the address in their errors."""
    fault = always(Reply({"error": "no route /v1/embeddings?key=secret-1"}, 404))
    with ScriptedServer("openai", fault=fault) as server, load(server, url=f"{server.url}/v1?key=secret-1") as encoder:
        with pytest.raises(ServerError) as error:
            encoder.encode_documents(["a"])
        assert server.asked[0].path == "/v1/embeddings?key=secret-1"
    assert "secret-1" not in f"{error.value} {error.value.said} {encoder!r} {encoder.backend!r} {encoder.settings!r}"


@pytest.mark.parametrize("backend", ["openai", "elasticsearch"])
def test_a_key_in_clear_text_is_warned_of(backend: str) -> None:
    for url in ("http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "https://h:1"):
        Encoder.load(NANO, backend=backend, url=url, api_key="sk-secret").close()
    Encoder.load(NANO, backend=backend, url="http://h:1").close()
    for url, key in (("http://h:1", "sk-secret"), ("http://me:sk-secret@h:1", None)):
        with pytest.warns(JinavecWarning, match="key for h is sent in clear text: use https://h") as caught:
            Encoder.load(NANO, backend=backend, url=url, api_key=key).close()
        assert "secret" not in str(caught[0].message)
