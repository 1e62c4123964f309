"""Live servers: ``jinavec serve`` as a process on a free port of the loopback."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

COMMAND = Path(sys.executable).with_name("jinavec")
ROLES = """
name = "roles"
width = 768
dimensions = [64, 128, 256, 512, 768]
backend = "lexical"
[prompts.retrieval]
query = "Query: "
document = "Document: "
[prompts.clustering]
query = "Document: "
document = "Document: "
"""
"""A model that knows roles, and whose vectors anybody can compute."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@dataclass
class Server:
    """A running server."""

    process: subprocess.Popen[bytes]
    url: str
    client: httpx2.Client
    lines: list[bytes] = field(default_factory=list[bytes])

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines if line.startswith(b"{")]

    def get(self, path: str, **how: Any) -> httpx2.Response:
        return self.client.get(path, **how)

    def post(self, path: str, body: object, **how: Any) -> httpx2.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post(path, content=content, **how)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(120)


@contextmanager
def running(*arguments: object, port: int | None = None, **environment: str) -> Generator[Server]:
    port = port or free_port()
    process = subprocess.Popen(
        [COMMAND, "serve", *map(str, arguments), "--port", str(port)],
        stderr=subprocess.PIPE,
        env=os.environ | environment,
    )
    url = f"http://127.0.0.1:{port}"
    client = httpx2.Client(base_url=url, timeout=60, limits=httpx2.Limits(max_keepalive_connections=0))
    server = Server(process, url, client)
    reader = threading.Thread(target=lambda: server.lines.extend(process.stderr or ()), daemon=True)
    reader.start()
    try:
        _wait_until_ready(server)
        yield server
    finally:
        process.kill()
        process.wait()
        reader.join()
        client.close()
        if process.stderr:
            process.stderr.close()


def _wait_until_ready(server: Server) -> None:
    while server.process.poll() is None:
        with suppress(httpx2.TransportError):
            if server.get("/ready", timeout=5).status_code == 200:
                return
        time.sleep(0.05)
    raise RuntimeError(b"".join(server.lines).decode())


@pytest.fixture(scope="session")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("profile") / "roles.toml"
    path.write_text(ROLES, "utf-8")
    return path


@pytest.fixture(scope="session")
def server(profile: Path) -> Generator[Server]:
    """The lexical model, which knows no roles, and one that does, for two tasks."""
    config = profile.with_name("server.toml")
    config.write_text(
        f'models = [{{name = "lexical"}}, {{name = "{profile}", tasks = ["retrieval", "clustering"]}}]\n'
        "max_inputs = 64\nmax_characters = 10000\nmax_body = 300000\n",
        "utf-8",
    )
    with running("--config", config) as server:
        yield server


Start = Callable[..., Any]


@pytest.fixture
def start() -> Start:
    """Start a server of the test's own."""
    return running


@pytest.fixture
def hang_up() -> Generator[None]:
    """Where the tests run under ``nohup``, what they start would ignore SIGHUP."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)
