"""TLS, and bodies too large to be read."""

from __future__ import annotations

import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.support.certificates import make_pair, needs_openssl

from .conftest import COMMAND, Server, free_port
from .test_limits import check


@needs_openssl
def test_tls(tmp_path: Path) -> None:
    certificate, key = make_pair(tmp_path)
    port = free_port()
    files = ["--tls-certificate", certificate, "--tls-key", key]
    command = [COMMAND, "serve", "--model", "lexical", "--port", str(port), *files]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        trusted = ssl.create_default_context(cafile=certificate)
        try:
            while True:
                try:
                    reply = httpx2.get(f"https://127.0.0.1:{port}/ready", verify=trusted)
                    break
                except httpx2.ConnectError:
                    assert process.poll() is None
                    time.sleep(0.05)
            assert reply.status_code == 200
        finally:
            process.terminate()
        assert process.wait() == 0


@needs_openssl
def test_a_tls_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (certificate, key), (_, foreign) = make_pair(tmp_path), make_pair(tmp_path / "other")
    text, locked, gone = tmp_path / "text", tmp_path / "locked", tmp_path / "gone"
    text.write_text("no PEM", "utf-8")
    subprocess.run(["openssl", "pkey", "-aes256", "-passout", "pass:p", "-in", key, "-out", locked], check=True)
    for files, named, words in [
        ((gone, key), gone, "No such file"),
        ((certificate, gone), gone, "No such file"),
        ((tmp_path, key), tmp_path, "directory"),
        ((text, key), text, "holds no PEM certificate"),
        ((key, key), key, "holds no PEM certificate"),
        ((certificate, text), text, "holds no PEM key"),
        ((certificate, certificate), certificate, "holds no PEM key"),
        ((certificate, foreign), foreign, "holds no PEM key"),
        ((certificate, locked), locked, "without a password"),
    ]:
        code, shown, said = check("--model", "lexical", "--tls-certificate", files[0], "--tls-key", files[1])
        assert (code, shown) == (2, None)
        assert f"{named} " in said.replace(":", " ") and words in said, said
    assert check("--model", "lexical", "--tls-certificate", certificate, "--tls-key", key)[0] == 0


@pytest.mark.parametrize("path", ["/v1/embeddings", "/qdrant/inference"])
def test_a_body_far_over_the_limit_gets_its_answer(server: Server, path: str) -> None:
    reply = server.post(path, b'{"input": "' + b"a" * 20_000_000 + b'"}')
    assert reply.status_code == (413 if path == "/v1/embeddings" else 400)


def pieces() -> Any:
    for _ in range(400):
        yield b"a" * 1000


def test_a_body_of_unknown_length_is_limited_too(server: Server) -> None:
    assert httpx2.post(f"{server.url}/v2/embed", content=pieces()).status_code == 413
