"""Whoever has no key, on every route: what is sent costs no more than the limits say, and every connection ends."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from jinavec_adapters.server.http_limits import LARGEST_HEAD, LARGEST_REST
from jinavec_adapters.server.protocols import ROUTES

from .conftest import Server, running
from .test_abuse import connect, read_all

KEY = "the-right-key"
BODY = 8 * 2**20
"""Bytes of the largest body."""
MEMORY = 50 * 2**20
BUFFERS = 64 * 2**20
"""Bytes that the kernel may hold between two sockets of one machine."""
GOOD = {"input": ["a"], "model": "lexical"}
CONTENT = json.dumps(GOOD).encode()
CLOSE = b"Connection: close\r\n"
READ = ["/health", "/ready", "/metrics", "/v1/models", "/info", "/api/v2/authorizations", "/docs", "/openapi.json"]
ADDRESSES = [
    *(("POST", path) for path in ROUTES),
    *(("GET", path) for path in READ),
    ("POST", "/gone"),
    ("PUT", "/embed"),
]
AUTHORIZATIONS = {
    "none": b"",
    "wrong": b"Authorization: Bearer wrong\r\n",
    "right": f"Authorization: Bearer {KEY}\r\n".encode(),
}
OPEN = [("GET", "/health"), ("GET", "/ready"), ("POST", "/gone"), ("PUT", "/embed")]
"""Addresses that say the same to everybody."""

Sent = AsyncGenerator[bytes]


async def large() -> Sent:
    yield b"Content-Length: 1000000000\r\n\r\n"
    while True:
        yield b"a" * 65536


async def endless() -> Sent:
    yield b"Transfer-Encoding: chunked\r\n\r\n"
    while True:
        yield b"10000\r\n" + b"a" * 65536 + b"\r\n"


async def silent() -> Sent:
    yield b"Content-Length: 10\r\n\r\n"


async def dribbling() -> Sent:
    yield b"Content-Length: 1000000\r\n\r\n"
    while True:
        yield b"a"
        await asyncio.sleep(0.1)


async def trailing() -> Sent:
    yield b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
    while True:
        yield b"a: b\r\n" * 1000


async def one_trailer() -> Sent:
    yield b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\na: "
    while True:
        yield b"b" * 1000


async def dribbling_trailers() -> Sent:
    yield b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
    while True:
        yield b"a: b\r\n"
        await asyncio.sleep(0.1)


async def chunk_extension() -> Sent:
    yield b"Transfer-Encoding: chunked\r\n\r\n2;"
    while True:
        yield b"b" * 1000


async def many_headers() -> Sent:
    while True:
        yield b"a: b\r\n" * 1000


async def expecting() -> Sent:
    yield b"Expect: 100-continue\r\nContent-Length: 1000\r\n\r\n"


async def upgrading() -> Sent:
    yield b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: YQ==\r\n\r\n"
    while True:
        yield b"\x82\x7f" * 1000


async def empty_lines() -> Sent:
    yield b"Content-Length: 2\r\n\r\n{}"
    while True:
        yield b"\r\n"
        await asyncio.sleep(0.1)


async def pipelined() -> Sent:
    yield b"Content-Length: 2\r\n\r\n{}"
    while True:
        yield b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 1000


MANNERS: list[Callable[[], Sent]] = [
    large,
    endless,
    silent,
    dribbling,
    trailing,
    one_trailer,
    dribbling_trailers,
    chunk_extension,
    many_headers,
    expecting,
    upgrading,
    empty_lines,
    pipelined,
]
AROUND = (trailing, one_trailer, chunk_extension, many_headers)
"""What consists of heads, or of what counts as one."""


@pytest.fixture(scope="module")
def guarded() -> Generator[Server]:
    limits = ["receive_timeout=1", f"max_body={BODY}", f"max_held={BODY}"]
    flags = [flag for limit in limits for flag in ("--set", limit)]
    with running("--model", "lexical", *flags, JINAVEC_SERVE_API_KEYS=KEY) as server:
        yield server


async def attack(
    server: Server, method: str, path: str, headers: bytes, manner: Callable[[], Sent]
) -> tuple[int, bytes]:
    """Send until the server ends the connection; return the bytes sent and, up to a limit, those received."""
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    sent, received = 0, b""

    async def send() -> None:
        nonlocal sent
        with suppress(ConnectionError):
            writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\n".encode() + headers)
            async for piece in manner():
                writer.write(piece)
                await writer.drain()
                sent += len(piece)

    sending = asyncio.create_task(send())
    with suppress(ConnectionError):
        while piece := await reader.read(65536):
            received = (received + piece)[:65536]
    sending.cancel()
    with suppress(asyncio.CancelledError):
        await sending
    writer.close()
    return sent, received


def memory(server: Server, name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{server.process.pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads memory from /proc")
@pytest.mark.parametrize("manner", MANNERS, ids=lambda manner: manner.__name__)
async def test_every_route_is_bounded(guarded: Server, manner: Callable[[], Sent]) -> None:
    idle = memory(guarded, "VmRSS")
    Path(f"/proc/{guarded.process.pid}/clear_refs").write_text("5")  # the peak begins anew
    asked = [(*address, key) for address in ADDRESSES for key in AUTHORIZATIONS]
    attacks = [attack(guarded, method, path, AUTHORIZATIONS[key], manner) for method, path, key in asked]
    async with asyncio.timeout(120):
        ended = await asyncio.gather(*attacks)
    assert memory(guarded, "VmHWM") < idle + BODY + MEMORY
    most = LARGEST_HEAD if manner in AROUND else LARGEST_REST + BODY
    assert max(sent for sent, _ in ended) < most + BUFFERS
    for (method, path, key), (_, received) in zip(asked, ended, strict=True):
        if key == "wrong" and (method, path) not in OPEN and manner in (large, silent, dribbling, expecting):
            assert received.startswith(b"HTTP/1.1 401"), (path, received)
    assert guarded.post("/v1/embeddings", GOOD, headers={"Authorization": f"Bearer {KEY}"}).status_code == 200


def respond(server: Server, request: bytes) -> bytes:
    """Send a whole request, and return all that comes back until the connection ends."""
    with connect(server) as connection:
        connection.sendall(request)
        return read_all(connection)


def post(more: bytes = b"", *, host: bytes = b"Host: x\r\n", version: bytes = b"1.1") -> bytes:
    start = b"POST /v1/embeddings HTTP/" + version + b"\r\n" + host + AUTHORIZATIONS["right"]
    return start + more + b"Content-Length: %d\r\n\r\n" % len(CONTENT) + CONTENT


@pytest.mark.parametrize(
    "request_, status",
    [
        (post(CLOSE), b"200"),
        (post(CLOSE, host=b""), b"400"),
        (post(CLOSE, host=b"Host: x\r\nHost: y\r\n"), b"400"),
        (post(host=b"", version=b"1.0"), b"200"),
        (post(CLOSE).replace(b"/v1/embeddings", b"/v1/embeddings/"), b"404"),
        (post(b"Connection: Upgrade\r\nUpgrade: h2c\r\n") * 2, b"400"),
        (b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + post(), b"200"),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"400"),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n", b"404"),
        (b"HEAD /ready HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n", b"405"),
    ],
    ids=range(11),
)
def test_odd_requests(guarded: Server, request_: bytes, status: bytes) -> None:
    reply = respond(guarded, request_)
    assert reply.startswith(b"HTTP/1.1 " + status), reply
    assert b"location:" not in reply.lower() and reply.count(b"HTTP/1.1 ") == 1


def test_trailers_are_dropped_and_end_the_connection(guarded: Server) -> None:
    start = b"POST /qdrant/inference HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
    trailed = start + AUTHORIZATIONS["right"] + b"X-More: 1\r\n\r\n"
    replies = respond(guarded, trailed + post())  # no trailer is a key, nor the next request's header
    assert replies.startswith(b"HTTP/1.1 401") and replies.count(b"HTTP/1.1 ") == 1


def test_a_refused_connection_does_not_rest(guarded: Server) -> None:
    assert respond(guarded, post().replace(b"the-right-key", b"wrong")).startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize(
    "fields, status",
    [
        (f'"token": "{KEY}"', 200),
        (f'"token": "wrong", "token": "{KEY}"', 400),  # the last one counts, and then the body is refused
        (f'"token": "{KEY}", "token": "wrong"', 401),
        (f'"token": "{KEY}", "token": null', 401),
        (rf'"t\u006Fken": "\u{ord(KEY[0]):04x}{KEY[1:]}"', 200),
        (f'"options": {{"token": "{KEY}"}}', 401),
        (f'"options": ["token", "{KEY}"]', 401),
        (f'"other": "\\"token\\": \\"{KEY}\\""', 401),
        (f'"\\"token": "{KEY}"', 401),
        (f'"token": ["{KEY}"]', 401),
        ('"token": 1', 401),
        ('"token": ""', 401),
        ('"token": "\\ud800"', 401),
    ],
)
def test_the_key_in_a_body(guarded: Server, fields: str, status: int) -> None:
    start = '{"inputs": [{"data": "a", "model": "lexical"}], "inference": "update", '
    assert guarded.post("/qdrant/inference", f"{start}{fields}}}".encode()).status_code == status
    right, wrong = {"Authorization": f"Bearer {KEY}"}, {"Authorization": "Bearer wrong"}
    assert guarded.post("/qdrant/inference", f"{start}{fields}}}".encode(), headers=right).status_code in (200, 400)
    assert guarded.post("/qdrant/inference", f"{start}{fields}}}".encode(), headers=wrong).status_code == 401


def test_strangers_cannot_fill_the_server(guarded: Server) -> None:
    """They share the room of one body, and what they hold leaves that of the others free."""
    start = b"POST /qdrant/inference HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % BODY
    with connect(guarded) as first, connect(guarded) as second:
        first.sendall(start + b" " * (BODY - 1))
        second.sendall(start + b" " * (BODY - 1))
        assert b"429" in second.recv(20) + first.recv(20)
        assert guarded.post("/v1/embeddings", GOOD, headers={"Authorization": f"Bearer {KEY}"}).status_code == 200


def test_a_body_of_many_values_is_refused_before_they_are_built(guarded: Server) -> None:
    body = b'{"input": [' + b"{}," * (BODY // 4) + b'"a"]}'
    Path(f"/proc/{guarded.process.pid}/clear_refs").write_text("5")
    idle = memory(guarded, "VmRSS")
    reply = guarded.post("/v1/embeddings", body, headers={"Authorization": f"Bearer {KEY}"})
    assert reply.status_code == 413 and "JSON values" in reply.text
    assert memory(guarded, "VmHWM") < idle + 3 * BODY


def metric(server: Server, name: str) -> float:
    found = re.search(rf"^{name} (.*)$", server.get("/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_an_answer_that_is_not_read_counts_until_the_connection_is_cut(start: Any) -> None:
    with start("--model", "lexical", "--set", "receive_timeout=5", "--set", "max_requests=1") as own:
        body = json.dumps({"input": ["a"] * 2048, "model": "lexical"}).encode()
        with connect(own) as connection:
            connection.sendall(
                b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
            assert own.post("/v1/embeddings", GOOD).status_code == 429
            wait_for(lambda: metric(own, "jinavec_requests_under_way") == 0)
            with suppress(ConnectionError):
                assert len(read_all(connection)) < 2048 * 768 * 8
        assert own.post("/v1/embeddings", GOOD).status_code == 200


def test_connections_over_the_limit_are_closed_at_once(start: Any) -> None:
    with start("--model", "lexical", "--set", "max_connections=3") as own, ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(connect(own)).sendall(b"GET")
        assert respond(own, b"") == b""
        stack.close()
        wait_for(lambda: own_answers(own))


def own_answers(server: Server) -> bool:
    try:
        return server.get("/health").status_code == 200
    except httpx2.TransportError:
        return False
