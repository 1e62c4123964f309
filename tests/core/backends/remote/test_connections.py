"""Headers, a private authority and a client's certificate: one way for every protocol."""

from __future__ import annotations

import json
import socket
import ssl
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.certificates import demanding, make_pair, needs_openssl
from tests.support.remote_encoders import load, wanted
from tests.support.scripted_server import Reply, ScriptedServer, always

from jinavec.backends import OllamaOptions
from jinavec.errors import InvalidInput, ServerError

pytest.importorskip("httpx2")
pytest.importorskip("elasticsearch")


@pytest.mark.parametrize("as_mapping", [True, False])
def test_headers_are_sent_and_never_shown(protocol: str, as_mapping: bool) -> None:
    echo = Reply({"error": "no hush-hush here"}, 401, {"X-Elastic-Product": "Elasticsearch"})
    options: Any = {"headers": {"X-Gate": "hush-hush"}}
    with ScriptedServer(protocol, fault=always(echo)) as server:
        with load(server, options=options) as encoder:
            if not as_mapping:
                options = vars(encoder.backend)["options"]
        with load(server, options=options) as encoder:
            with pytest.raises(ServerError) as refusal:
                encoder.encode_documents(["a"])
            assert server.asked[0].headers["x-gate"] == "hush-hush"
            shown = (refusal.value, refusal.value.said, encoder, encoder.backend, encoder.settings, options)
            assert "hush" not in " ".join(map(repr, shown[:-1])) + "".join(traceback.format_exception(refusal.value))
            assert encoder.settings is not None
            assert "hush" not in json.dumps(encoder.settings.to_json())
    with pytest.raises(InvalidInput, match="headers") as raised:
        load(server, options={"headers": "hush"})
    assert "hush" not in str(raised.value)


class TlsServer(ScriptedServer):
    """Talks TLS."""

    def __init__(self, protocol: str, context: ssl.SSLContext) -> None:
        super().__init__(protocol)
        self.url = self.url.replace("http:", "https:")
        self._context = context

    def _serve(self, connection: socket.socket) -> None:
        try:
            wrapped = self._context.wrap_socket(connection, server_side=True)
        except OSError:
            connection.close()
            return
        super()._serve(wrapped)


@needs_openssl
def test_a_private_authority_and_a_client_certificate(
    protocol: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, theirs = make_pair(tmp_path / "client"), make_pair(tmp_path / "server")
    files = {"ca_certs": str(theirs[0]), "client_cert": str(own[0]), "client_key": str(own[1])}
    with TlsServer(protocol, demanding(theirs, own[0])) as server:
        with load(server, options=files) as encoder:
            np.testing.assert_allclose(encoder.encode_documents(["a"]), wanted(["a"]), atol=1e-6)
        for missing in ({}, {"ca_certs": files["ca_certs"]}):
            with load(server, options={**missing, "deadline": 1.0}) as encoder, pytest.raises(ServerError):
                encoder.encode_documents(["a"])
        for name, file in files.items():
            monkeypatch.setenv(f"JINAVEC_{name.upper()}", file)
        with load(server) as encoder:
            np.testing.assert_allclose(encoder.encode_documents(["a"]), wanted(["a"]), atol=1e-6)
        with pytest.raises(InvalidInput, match="client_cert=.*nothing"):
            load(server, options={"client_cert": str(tmp_path / "nothing")})


def test_ollama_is_told_how_to_run_the_model() -> None:
    with ScriptedServer("ollama") as server:
        with load(server, options=OllamaOptions(num_ctx=4096, keep_alive="10m")) as encoder:
            encoder.encode_documents(["a"])
        with load(server) as encoder:
            encoder.encode_documents(["a"])
        told, untold = (asked.body for asked in server.asked)
    assert (told["options"], told["keep_alive"]) == ({"num_ctx": 4096}, "10m")
    assert not untold.keys() & {"options", "keep_alive"}
    with pytest.raises(InvalidInput, match="num_ctx"):
        OllamaOptions(num_ctx=0)
