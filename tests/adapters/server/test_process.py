"""The process: SIGTERM, kill -9, clients that leave, and more load than it can bear."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from jinavec import Encoder

from .conftest import COMMAND, Server, free_port

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("JINAVEC_TORTURE", "5"))
"""Of load; ``make torture-server`` gives it five minutes."""


def texts_of(number: int, count: int) -> list[str]:
    return [f"request {number}, text {n}: the cat sleeps on the stove while ships anchor" for n in range(count)]


def metric(server: Server, name: str) -> float:
    found = re.search(rf"^{name}(?:{{.*}})? (.*)$", server.get("/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def wait_for(condition: Any, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.usefixtures("hang_up")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_end_finishes_what_was_accepted(start: Any, number: int) -> None:
    with start("--model", "lexical", "--set", "batch_tokens=100") as own, ThreadPoolExecutor(8) as threads:

        def ask(number: int) -> httpx2.Response:
            return own.post("/v1/embeddings", {"input": texts_of(number, 400), "model": "lexical"})

        answers = [threads.submit(ask, number) for number in range(8)]
        wait_for(lambda: metric(own, "jinavec_requests_under_way") == 8)
        assert own.stop(number) == 0
        for number, answer in enumerate(answers):
            reply = answer.result()
            assert reply.status_code == 200
            given = np.array([item["embedding"] for item in reply.json()["data"]], np.float32)
            assert (given == Encoder.load("lexical").encode_documents(texts_of(number, 400))).all()


def test_a_model_that_cannot_be_loaded_ends_the_start(start: Any, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="tokenizer|no model|there is no"):
        with start("--model", "jina-embeddings-v5-text-nano", "--backend", "onnx", "--source", tmp_path):
            pass


@pytest.mark.parametrize("workers", [1, 2])
def test_an_address_that_is_taken_ends_the_start(workers: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        command = [COMMAND, "serve", "--model", "lexical", "--port", str(port), "--workers", str(workers)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith(f"jinavec: error: cannot listen on 127.0.0.1:{port}: ")


def test_the_texts_of_a_client_that_left_are_dropped(start: Any) -> None:
    with start("--model", "lexical", "--set", "batch_tokens=100") as own:
        body = json.dumps({"input": texts_of(0, 2000), "model": "lexical"}).encode()
        host, port = own.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            head = f"POST /v1/embeddings HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            wait_for(lambda: metric(own, "jinavec_waiting_tokens") > 0)
        wait_for(lambda: metric(own, "jinavec_clients_left_total") == 1)
        assert metric(own, "jinavec_texts_total") < 2000
        assert own.post("/v1/embeddings", {"input": "a", "model": "lexical"}).status_code == 200


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory from /proc")
def test_too_much_load_is_refused_and_nothing_else_happens(start: Any) -> None:
    flags = ("--set", "queue_tokens=4000", "--set", "max_requests=48")
    with start("--model", "lexical", *flags) as own:
        seen, memory = asyncio.run(_overload(own, SECONDS))
        assert own.post("/v1/embeddings", {"input": "a", "model": "lexical"}).status_code == 200
    assert seen.keys() == {200, 429}
    assert memory[-1] < memory[len(memory) // 3] * 1.1 + 20_000  # KiB


async def _overload(server: Server, seconds: float) -> tuple[dict[int, int], list[int]]:
    seen: dict[int, int] = {}
    memory: list[int] = []
    encoder = Encoder.load("lexical", dimension=64)
    pool = [texts_of(number, 1 + number * 7 % 40) for number in range(24)]
    expected = [encoder.encode_documents(texts) for texts in pool]
    until = time.monotonic() + seconds

    async def ask(client: httpx2.AsyncClient, number: int) -> None:
        while time.monotonic() < until:
            number = (number + 5) % len(pool)
            body = {"input": pool[number], "model": "lexical", "dimensions": 64}
            reply = await client.post("/v1/embeddings", json=body)
            seen[reply.status_code] = seen.get(reply.status_code, 0) + 1
            if reply.status_code == 429:
                assert int(reply.headers["retry-after"]) >= 1
                assert reply.json()["error"]["type"] == "rate_limit_error"
                continue
            given = np.array([item["embedding"] for item in reply.json()["data"]], np.float32)
            assert (given == expected[number]).all()

    async def watch() -> None:
        while time.monotonic() < until:
            memory.append(_resident(server.process.pid))
            await asyncio.sleep(seconds / 30)

    limits = httpx2.Limits(max_connections=96, max_keepalive_connections=96)
    async with httpx2.AsyncClient(base_url=server.url, timeout=120, limits=limits) as client:
        await asyncio.gather(watch(), *(ask(client, number) for number in range(96)))
    return seen, memory


def _resident(pid: int) -> int:
    """Return resident memory in KiB."""
    return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0])


def test_clients_with_retries_lose_nothing_when_the_server_is_killed(start: Any) -> None:
    port, texts = free_port(), texts_of(0, 3000)
    options = {"batch": 20, "concurrency": 4}
    results: list[Any] = []
    with Encoder.load("lexical", backend="openai", url=f"http://127.0.0.1:{port}", options=options) as remote:
        with start("--model", "lexical", port=port) as own:
            remote.encode_documents(["a"])
            worker = threading.Thread(target=lambda: results.append(remote.encode_documents(texts)))
            worker.start()
            wait_for(lambda: metric(own, "jinavec_texts_total") > 200)
            own.process.send_signal(signal.SIGKILL)
            own.process.wait()
        with start("--model", "lexical", port=port):
            worker.join()
    assert np.abs(results[0] - Encoder.load("lexical").encode_documents(texts)).max() < 1e-6
