"""Connections and bodies as no honest client sends them: each ends in a refusal, and the server goes on."""

from __future__ import annotations

import gzip
import json
import socket
import time
from collections.abc import Generator
from contextlib import suppress
from typing import Any

import pytest

from .conftest import Server, running

GOOD = {"input": ["a"], "model": "lexical"}
TWO_LENGTHS = b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}   "
LENGTH_AND_CHUNKS = b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"


@pytest.fixture(scope="module")
def impatient() -> Generator[Server]:
    with running("--model", "lexical", "--set", "receive_timeout=1") as server:
        yield server
        assert server.post("/v1/embeddings", GOOD).status_code == 200


def connect(server: Server) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def read_all(connection: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    received = b""
    with suppress(ConnectionError):
        while piece := connection.recv(65536):
            received += piece
    return received


def head(more: bytes = b"") -> bytes:
    return b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\n" + more


@pytest.mark.parametrize("begun", [b"", b"POST /v1/emb", head(b"X-Header: a")])
def test_a_head_that_does_not_come_ends_the_connection(impatient: Server, begun: bytes) -> None:
    with connect(impatient) as connection:
        connection.sendall(begun)
        assert read_all(connection) == b""


def test_a_head_that_comes_letter_by_letter_ends_the_connection(impatient: Server) -> None:
    with connect(impatient) as connection, pytest.raises(ConnectionError):
        connection.sendall(head(b"X-Header: "))
        while True:
            connection.sendall(b"a")
            time.sleep(0.05)


def test_a_head_after_a_request_must_come_in_time_too(impatient: Server) -> None:
    body = json.dumps(GOOD).encode()
    with connect(impatient) as connection:
        connection.sendall(head(b"Content-Length: %d\r\n\r\n" % len(body)) + body + head())
        received = read_all(connection)
    assert received.startswith(b"HTTP/1.1 200") and received.count(b"HTTP/1.1") == 1


def test_a_body_that_does_not_come_is_refused(impatient: Server) -> None:
    with connect(impatient) as connection:
        connection.sendall(head(b"Content-Length: 1000\r\n\r\n{"))
        received = read_all(connection)
    assert received.startswith(b"HTTP/1.1 400") and b"did not come" in received


def test_an_endless_head_ends_the_connection(server: Server) -> None:
    with connect(server) as connection, pytest.raises(ConnectionError):
        connection.sendall(head())
        while True:
            connection.sendall(b"X-Header: " + b"a" * 10_000 + b"\r\n")


def test_what_comes_before_a_head_does_not_count_as_one(server: Server) -> None:
    body = json.dumps({"input": ["a" * 4000] * 50, "model": "lexical", "dimensions": 64}).encode()
    request = head(b"Content-Length: %d\r\n\r\n" % len(body)) + body
    with connect(server) as connection:
        connection.sendall(request + head()[:10])
        connection.sendall(head(b"Connection: close\r\nContent-Length: 2\r\n\r\n")[10:] + b"{}")
        received = read_all(connection)
    assert received.count(b"HTTP/1.1 200") == 1 and received.count(b"HTTP/1.1 400") == 1


@pytest.mark.parametrize("more", [TWO_LENGTHS, LENGTH_AND_CHUNKS, b"Content-Length: -1\r\n\r\n", b"\x00: 1\r\n\r\n"])
def test_a_head_of_two_meanings_is_refused(server: Server, more: bytes) -> None:
    with connect(server) as connection:
        connection.sendall(head(more))
        assert read_all(connection).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    "body, words",
    [
        (b'{"input": ["\xff\xfe"]}', "not JSON"),
        (b'{"input": "a", "dimensions": NaN}', "not JSON"),
        (b'{"input": "a", "dimensions": 1e999}', ""),
        (b'{"input": "a", "dimensions": ' + b"9" * 5000 + b"}", ""),
        (b'{"input": "a", "dimensions": 64.0}', "whole number"),
        (b'{"input": "a", "dimensions": true}', "whole number"),
        (b'{"input": "\\ud800"}', ""),
        (b'{"input": "a", "input": "b"}', "twice"),
        (b'{"input": "a", "more": {"b": 1, "b": 2}}', "twice"),
        (b'{"input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", ""),
        (b'{"input": "a", "more": ' + b"[" * 1000 + b"]" * 1000 + b"}", ""),
        (b"", "not JSON"),
        (b"null", "JSON object"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (gzip.compress(b'{"input": "a"}'), "not JSON"),
    ],
    ids=range(15),
)
def test_a_body_that_is_no_honest_json_is_refused(server: Server, body: bytes, words: str) -> None:
    reply = server.post("/v1/embeddings", body)
    assert reply.status_code == 400, reply.text
    assert words in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/xml"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
    ids=str,
)
def test_a_body_that_says_it_is_no_plain_json_is_refused(server: Server, headers: dict[str, str]) -> None:
    assert server.post("/v1/embeddings", GOOD, headers=headers).status_code == 400
    for kind in (
        "application/json; charset=utf-8",
        "application/vnd.elasticsearch+json; compatible-with=9",
        "application/x-www-form-urlencoded",  # as curl says by itself
    ):
        assert server.post("/v1/embeddings", GOOD, headers={"Content-Type": kind}).status_code == 200


def test_what_bad_requests_hold_is_in_no_log(start: Any) -> None:
    with start("--model", "lexical", JINAVEC_SERVE_API_KEYS="right-key") as own:
        secret = {"Authorization": "Bearer hide-key", "X-Request-Id": "hide id"}
        bodies = [
            {"input": "hide-text", "dimensions": 3},
            b'{"input": "hide-text',
            {"input": [1], "model": "hide-model"},
        ]
        for key in ({}, secret, {"Authorization": "Bearer right-key"}):
            for body in bodies:
                for path in ("/v1/embeddings?hide=1", "/hide", "/embed", "/qdrant/inference", "/v2/embed"):
                    assert 400 <= own.post(path, body, headers=key).status_code < 500
        with connect(own) as connection:
            connection.sendall(b"hide-everything\r\n\r\n")
            assert b"hide" not in read_all(connection)
        assert own.stop() == 0
    printed = b"".join(own.lines).decode()
    assert "hide" not in printed and "right-key" not in printed
    assert len({line["request_id"] for line in own.log if line["logger"] == "jinavec.access"}) == 45
