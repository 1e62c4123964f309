"""Keys, limits, errors and logs: what is refused, in whose words, and what is never said."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx2
import numpy as np
import pytest

from jinavec import Encoder
from jinavec.wire import cohere, eis, openai, qdrant, tei
from jinavec_adapters.cli import main
from jinavec_adapters.server import ServerSettings

from .conftest import COMMAND, Server, free_port

KEY, OTHER = "a-secret-key-of-ours", "another-secret-key"
BODIES: dict[str, tuple[Any, dict[str, Any]]] = {
    "/v1/embeddings": (openai, {"input": ["a"], "model": "lexical"}),
    "/embed": (tei, {"inputs": ["a"]}),
    "/v2/embed": (cohere, {"texts": ["a"], "model": "lexical"}),
    "/api/v1/embed/text/dense": (eis, {"input": ["a"], "model": "lexical"}),
    "/qdrant/inference": (qdrant, {"inputs": [{"data": "a", "model": "lexical"}], "inference": "update"}),
}
"""A good request to each protocol, and its codec."""
TEXTS = {"/embed": "inputs", "/v2/embed": "texts"}


def with_texts(path: str, texts: list[str]) -> dict[str, Any]:
    _, body = BODIES[path]
    if path == "/qdrant/inference":
        return body | {"inputs": [{"data": text, "model": "lexical"} for text in texts]}
    return body | {TEXTS.get(path, "input"): texts}


@pytest.mark.parametrize("path", BODIES)
def test_refusals_are_in_the_words_of_the_protocol(server: Server, path: str) -> None:
    codec, body = BODIES[path]
    bad = [
        (b"no json", "not JSON"),
        (b"[]", "must be a JSON object"),
        (b"{}", "missing"),
        (json.dumps(with_texts(path, ["a" * 10_001])).encode(), "too long"),
        (b'{"x": "' + b"a" * 300_000 + b'"}', "exceeds 300000 bytes"),
    ]
    if path != "/qdrant/inference":  # whose clients cannot send fewer
        bad.append((json.dumps(with_texts(path, ["a"] * 65)).encode(), "at most 64 texts"))
    if path != "/embed":  # which names no model
        bad.append((json.dumps(body | {"model": "gone", "inputs": [{"data": "a", "model": "gone"}]}).encode(), "serve"))
    for content, words in bad:
        reply = server.post(path, content)
        error = codec.CODEC.decode_error(reply.status_code, reply.content)
        assert 400 <= reply.status_code < 500, reply.text
        assert words in error.message
    assert server.post(path, body).status_code == 200


def test_statuses(server: Server) -> None:
    def status(path: str, body: object) -> int:
        return server.post(path, body).status_code

    for path in BODIES:
        assert status(path, with_texts(path, ["a"] * 65)) == (200 if path == "/qdrant/inference" else 413)
    assert status("/v1/embeddings", {"input": "a", "model": "gone"}) == 404
    assert status("/v1/embeddings", {"input": "a", "model": "gone", "task": "clustering"}) == 400
    assert status("/embed", {"inputs": []}) == 422
    assert status("/v1/embeddings", {"input": "a", "dimensions": 100}) == 400
    assert status("/v1/embeddings", {"input": [[1, 2]], "model": "lexical"}) == 400
    assert status("/embed", {"inputs": "a", "normalize": False}) == 422
    assert status("/v1/embeddings", {"input": "a", "model": "roles", "task": "text-matching"}) == 400


def test_an_upsert_of_any_number_of_documents_is_embedded_whole(server: Server) -> None:
    texts = [f"text {number}" for number in range(3000)]
    inputs = [{"data": text, "model": "lexical", "options": {"mrl": 64}} for text in texts]
    given = server.post("/qdrant/inference", {"inputs": inputs, "inference": "update"}).json()["embeddings"]
    expected = Encoder.load("lexical", dimension=64).encode_documents(texts)
    assert (np.array(given, np.float32) == expected).all()


def test_keys(start: Any, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"# ours\n\n{OTHER}\n \n  #commented-out\n", "utf-8-sig")
    flags = ("--model", "lexical", "--api-keys-file", tmp_path / "keys")
    with start(*flags, JINAVEC_SERVE_API_KEYS=f"{KEY},third") as own:
        for path, (codec, body) in BODIES.items():
            for wrong in ("wrong", "# ours", "#commented-out", "commented-out", "\ufeff".encode().decode("latin-1")):
                assert (
                    own.post(path, body, headers={"Authorization": f"Bearer {wrong}".encode("latin-1")}).status_code
                    == 401
                )
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {KEY}"}):
                reply = own.post(path, body, headers=headers)
                assert reply.status_code == 401 and reply.headers["www-authenticate"] == "Bearer"
                assert codec.CODEC.decode_error(401, reply.content).message
            for key in (KEY, OTHER, "third"):
                assert own.post(path, body, headers={"Authorization": f"Bearer {key}"}).status_code == 200
                assert own.post(path, body, headers={"jina-api-key": key}).status_code == 200
        for other in ("/v1/models", "/api/v2/authorizations", "/info", "/metrics"):
            assert own.get(other).status_code == 401
            assert own.get(other, headers={"Authorization": f"Bearer {KEY}"}).status_code == 200
        assert (own.get("/health").status_code, own.get("/ready").status_code) == (200, 200)
        assert own.get("/ready").json() == {"status": "ready"}
        assert own.get("/ready", headers={"Authorization": f"Bearer {KEY}"}).json()["models"][0]["id"] == "lexical"
        for told in ("/docs", "/openapi.json"):
            assert own.get(told).status_code == 401
            assert own.get(told, headers={"Authorization": f"Bearer {KEY}"}).status_code == 200
        path, body = "/qdrant/inference", BODIES["/qdrant/inference"][1]
        assert own.post(path, body | {"token": KEY}).status_code == 200
        assert own.post(path, body | {"token": "wrong"}).status_code == 401
        assert own.stop() == 0
    printed = b"".join(own.lines).decode()
    assert KEY not in printed and OTHER not in printed


def test_public_info(start: Any) -> None:
    with start("--model", "lexical", "--public-info", JINAVEC_SERVE_API_KEYS=KEY) as own:
        assert own.get("/ready").json()["models"][0]["id"] == "lexical"
        assert (own.get("/docs").status_code, own.get("/openapi.json").status_code) == (200, 200)
        assert own.get("/v1/models").status_code == 401


def test_a_file_of_comments_holds_no_key(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# one\n\n#two\n", "utf-8")
    code, _, said = check("--model", "lexical", "--api-keys-file", tmp_path / "keys")
    assert code == 2 and "there is no key in" in said


SECRETS = """
port = {port}
[[models]]
name = "lexical"
backend = "openai"
url = "{url}?access=hide-query#hide-fragment"
source = "https://hide-source@host/model?sig=hide-source-query"
[models.options]
batch = 7
"""


def test_secrets_of_a_model_are_in_no_log(server: Server, start: Any, tmp_path: Path) -> None:
    config, port = tmp_path / "server.toml", free_port()
    url = server.url.replace("//", "//hide-user:hide%2Dpassword@")
    config.write_text(SECRETS.format(port=port, url=url), "utf-8")
    code, shown, _ = check("--config", config)
    assert code == 0 and "hide" not in json.dumps(shown)
    assert (shown["models"][0]["url"], shown["models"][0]["options"]) == (server.url, {"batch": 7})
    config.write_text(SECRETS.format(port=port, url=url).split("source")[0], "utf-8")
    with start("--config", config, port=port) as own:
        assert own.post("/v1/embeddings", {"input": "a"}).status_code == 200
        assert own.stop() == 0
    printed = b"".join(own.lines).decode()
    assert "hide" not in printed and "(not shown)" in printed


@pytest.mark.parametrize("url", ["hide-user:hide-word@host:1", "ftp://hide-user:hide-word@host?a=hide-query"])
def test_an_address_that_is_refused_hides_its_secrets(tmp_path: Path, url: str) -> None:
    config = tmp_path / "server.toml"
    config.write_text(
        SECRETS.format(port=free_port(), url=url).replace("?access=hide-query#hide-fragment", ""), "utf-8"
    )
    code, shown, _ = check("--config", config)
    assert code == 0 and "hide" not in json.dumps(shown)
    ended = subprocess.run([COMMAND, "serve", "--config", config], capture_output=True, text=True, check=False)
    assert ended.returncode and "jinavec: error" in ended.stderr and "hide" not in ended.stdout + ended.stderr


def test_tables_of_models_in_the_environment_are_refused_unread() -> None:
    models = '[{"options": {"api_key": "hide-key"}, "name": "lexical"}]'
    code, _, said = check(JINAVEC_SERVE_MODELS=models)
    assert code == 2 and "--config" in said and "hide" not in said


def test_options_that_may_be_secret_are_not_shown(tmp_path: Path) -> None:
    config = tmp_path / "server.toml"
    more = 'api_key = "hide-key"\nheaders = {Authorization = "Bearer hide-header"}\npin = [12345]\nclient = "hide-it"\n'
    config.write_text(SECRETS.format(port=1, url="http://host") + more, "utf-8")
    code, shown, _ = check("--config", config)
    assert code == 0 and "hide" not in json.dumps(shown) and "12345" not in json.dumps(shown)
    settings = ServerSettings.read(config)
    assert "hide" not in repr(settings) and "12345" not in repr(settings)
    hidden = settings.redaction
    for text in ("hide-key", "hide-header", "hide-query", "hide-source", "hide-source-query", "12345"):
        assert text not in hidden(f"cannot use {text!r}") and text not in hidden(json.dumps({"a": [text]}))


def test_the_log_names_the_request_and_nothing_of_its_content(start: Any) -> None:
    with start("--model", "lexical") as own:
        own.post("/v1/embeddings", {"input": ["a text to hide"]}, headers={"X-Request-Id": "mine-1"})
        replies = [own.post("/v1/embeddings?key=hidden", {"input": ["x" * 5]}, headers={"X-Request-Id": "bad id!"})]
        replies.append(own.post("/v1/embeddings", {"input": ["a text to hide"], "dimensions": 3}))
        assert all(re.fullmatch("[0-9a-f]{32}", reply.headers["x-request-id"]) for reply in replies)
        assert own.stop() == 0
    requests = [line for line in own.log if line.get("logger") == "jinavec.access"]
    assert [(line["status"], line["route"]) for line in requests if "request_id" in line] == [
        (200, "/v1/embeddings"),
        (200, "/v1/embeddings"),
        (400, "/v1/embeddings"),
    ]
    assert requests[0]["request_id"] == "mine-1" and requests[0]["texts"] == 1
    assert "hid" not in b"".join(own.lines).decode()


def test_no_cross_origin_headers(server: Server) -> None:
    asked = {"Origin": "http://elsewhere", "Access-Control-Request-Method": "POST"}
    for reply in (
        httpx2.options(f"{server.url}/v1/embeddings", headers=asked),
        server.post("/v1/embeddings", {"input": "a"}, headers=asked),
    ):
        assert not [name for name in reply.headers if name.startswith("access-control")]


def check(*arguments: object, **environment: str) -> tuple[int, Any, str]:
    """Run ``jinavec serve --check`` in an environment and return its exit code, the settings and what it says."""
    out, err = io.StringIO(), io.StringIO()
    with patch.dict(os.environ, environment, clear=True), redirect_stdout(out), redirect_stderr(err):
        code = main(["serve", "--check", *map(str, arguments)])
    return code, json.loads(out.getvalue()) if out.getvalue() else None, err.getvalue()


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    config = tmp_path / "server.toml"
    config.write_text('models = ["lexical"]\nport = 1\nmax_inputs = 1\nmax_body = 1\napi_keys = ["hide-me"]\n', "utf-8")
    environment = {"JINAVEC_SERVE_PORT": "2", "JINAVEC_SERVE_MAX_INPUTS": "2", "JINAVEC_SERVE_API_KEYS": "hide-me,too"}
    code, shown, _ = check("--config", config, "--set", "max_inputs=3", **environment)
    assert code == 0
    assert (shown["max_body"], shown["port"], shown["max_inputs"]) == (1, 2, 3)
    assert shown["models"][0]["name"] == "lexical"
    assert "hide-me" not in json.dumps(shown) and shown["api_keys"] == "2 keys, not shown"


def test_a_table_for_each_model(tmp_path: Path) -> None:
    config = tmp_path / "server.toml"
    config.write_text(
        '[[models]]\nname = "lexical"\ntasks = ["clustering"]\n'
        '[[models]]\nname = "jina-embeddings-v5-text-nano"\nbackend = "jina"\nurl = "http://user:hide-me@host"\n',
        "utf-8",
    )
    code, shown, _ = check("--config", config)
    assert code == 0
    assert [model["tasks"] for model in shown["models"]] == [["clustering"], []]
    assert shown["models"][1]["url"] == "http://host"


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((), "models"),
        (("--model", "gone"), "unknown model 'gone'"),
        (("--model", "lexical", "--task", "gone"), "unknown task 'gone'"),
        (("--model", "lexical", "--host", "0.0.0.0"), "--no-auth"),
        (("--model", "lexical", "--set", "gone=1"), "max_inputs"),
        (("--model", "lexical", "--set", "max_inputs=0"), "greater than or equal to 1"),
        (("--model", "lexical", "--config", "gone.toml"), "gone.toml"),
        (("--model", "lexical", "--tls-key", "k"), "go together"),
        (("--model", "lexical", "--api-keys-file", "gone"), "cannot read"),
        (("--backend", "onnx"), "--model"),
    ],
)
def test_settings_that_cannot_be_meant(arguments: tuple[str, ...], words: str) -> None:
    code, shown, said = check(*arguments)
    assert (code, shown) == (2, None)
    assert words in said


@pytest.mark.parametrize("key", ["schlüssel-zum-hof", "hide\x7fme"])
def test_a_key_that_no_header_carries_is_refused_and_not_shown(tmp_path: Path, key: str) -> None:
    (tmp_path / "keys").write_text(f"good\n{key}\n", "utf-8")
    for code, shown, said in (
        check("--model", "lexical", "--api-keys-file", tmp_path / "keys"),
        check("--model", "lexical", JINAVEC_SERVE_API_KEYS=f"good,{key}"),
    ):
        assert (code, shown) == (2, None)
        assert "API key 2 of 2 cannot be sent in a header" in said and key not in said


def test_a_public_address_with_a_key_or_on_purpose() -> None:
    assert check("--model", "lexical", "--port", 0)[1]["port"] == 0
    public = ("--model", "lexical", "--host", "0.0.0.0")
    assert check(*public, "--no-auth")[0] == 0
    assert check(*public, JINAVEC_SERVE_API_KEYS="k")[0] == 0
    assert check(*public, "--no-auth", JINAVEC_SERVE_API_KEYS="k")[0] == 2
