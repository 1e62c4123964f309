"""TLS, and bodies too large to be read."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from .conftest import COMMAND, Server, free_port


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_tls(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-keyout",
        key,
        "-out",
        certificate,
    ]
    subprocess.run([*make, "-keyout", key, "-out", certificate, *names], check=True, capture_output=True)
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


@pytest.mark.parametrize("path", ["/v1/embeddings", "/qdrant/inference"])
def test_a_body_far_over_the_limit_gets_its_answer(server: Server, path: str) -> None:
    reply = server.post(path, b'{"input": "' + b"a" * 20_000_000 + b'"}')
    assert reply.status_code == (413 if path == "/v1/embeddings" else 400)


def pieces() -> Any:
    for _ in range(400):
        yield b"a" * 1000


def test_a_body_of_unknown_length_is_limited_too(server: Server) -> None:
    assert httpx2.post(f"{server.url}/v2/embed", content=pieces()).status_code == 413
