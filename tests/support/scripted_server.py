"""A model server at a socket: it answers as each protocol's documentation says, and fails as it is told to.

It shares no code with the codecs. A vector is drawn from the hash of the text as the model would read it, prefix
included, so that a lost, swapped or wrongly prefixed text shows.
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .local_server import LocalServer
from .tiny_tokenizers import prefix

WIDTH = 768
PAGE = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


def hash_vector(text: str, width: int = WIDTH) -> NDArray[np.float32]:
    """Return the unit vector that stands for a text."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    vector = np.random.default_rng(seed).standard_normal(width)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


@dataclass
class Asked:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Reply:
    """What goes out: JSON values or bytes, and how it goes wrong on the way."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    delay: float = 0.0
    cut: bool = False
    """Half the body, then the end."""
    reset: bool = False
    """No answer; the connection is reset."""
    hang_up: bool = False
    """The connection is closed after the answer, without a word."""


Fault = Callable[["Asked", int], Reply | None]
"""Given a request and its number, returns what happens instead of an answer; None lets it through."""


def always(reply: Reply) -> Fault:
    """Answer every request so."""
    return lambda asked, number: replace(reply)


class ScriptedServer(LocalServer):
    """Listens on a free port of the loopback while in its ``with`` block."""

    def __init__(self, protocol: str, *, fault: Fault | None = None, **changed: Any) -> None:
        super().__init__()
        self.answer = Answerer(protocol, **changed)
        self.fault = fault
        self.asked: list[Asked] = []
        self._lock = threading.Lock()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            try:
                while asked := _read(stream):
                    with self._lock:
                        self.asked.append(asked)
                        number = len(self.asked)
                    reply = (self.fault and self.fault(asked, number)) or self.answer(asked)
                    if not _write(connection, reply):
                        return
            except (OSError, ValueError):  # the client is gone, perhaps in the middle of its request
                return


def _read(stream: Any) -> Asked | None:
    line = stream.readline().decode("latin-1").split()
    if len(line) != 3:
        return None
    headers: dict[str, str] = {}
    while header := stream.readline().decode("latin-1"):
        if not header.strip():
            break
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    else:
        return None  # the client is gone
    length = int(headers.get("content-length", 0))
    body = stream.read(length)
    if len(body) < length:
        return None
    return Asked(line[1], headers, json.loads(body) if body else None)


def _write(connection: socket.socket, reply: Reply) -> bool:
    """Send a reply; returns whether the connection stays open."""
    time.sleep(reply.delay)
    if reply.reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False
    body: bytes = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **reply.headers}
    head = f"HTTP/1.1 {reply.status} X\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    connection.sendall(head.encode() + b"\r\n" + (body[: len(body) // 2] if reply.cut else body))
    return not (reply.cut or reply.hang_up)


@dataclass
class Answerer:
    """Answers a request as a server of the protocol, all faults of its own off."""

    protocol: str
    name: str | None = None
    """The model's name in replies; by default the one asked for."""
    width: int = WIDTH
    backwards: bool = False
    """Items in reverse order, as far as they carry an index."""
    encoding: str | None = None
    """float or base64, whatever was asked."""
    most: int = 10**9
    """Texts a request may have."""
    most_status: int = 422
    longest: int = 10**9
    """Characters a text may have."""
    own_prefix: str = ""
    """A prefix it adds to every text."""
    ignores_role: bool = False
    cuts_at: int = 10**9
    """Words to which it cuts each text without a word about it, but for the tokens it counts."""
    more_tokens: int = 0
    """Tokens that it reads of each text beside those that are right."""
    headers: dict[str, str] = field(default_factory=dict[str, str])

    def __call__(self, asked: Asked) -> Reply:
        reply: Reply = getattr(self, f"_{self.protocol}")(asked.body)
        reply.headers = {**self.headers, **reply.headers}
        return reply

    def _limits(self, texts: list[str], truncate: object = False) -> str:
        if len(texts) > self.most:
            return f"batch size {len(texts)} > maximum allowed batch size {self.most}"
        if not truncate and any(len(text) > self.longest for text in texts):
            return f"Input text exceeds the model's limit of {self.longest} tokens"
        return ""

    def _count(self, texts: list[str]) -> int:
        """Tokens: twelve of a text, one for each word of a long one, and two more for a prefix of its own."""
        more = 2 * bool(self.own_prefix) + self.more_tokens
        words = [min(len(text.split()), self.cuts_at) for text in texts]
        return sum((count if count > 20 else 12) + more for count in words)

    def _vectors(self, texts: list[str], prefix: str = "") -> list[NDArray[np.float32]]:
        cut = [" ".join(text.split(" ")[: self.cuts_at]) for text in texts]
        return [hash_vector(self.own_prefix + prefix + text[: self.longest], self.width) for text in cut]

    def _items(self, vectors: list[NDArray[np.float32]], encoding: str) -> list[dict[str, Any]]:
        packed = (self.encoding or encoding) == "base64"
        rows: list[Any] = [_base64(vector) if packed else vector.tolist() for vector in vectors]
        items: list[dict[str, Any]] = [{"object": "embedding", "index": n, "embedding": r} for n, r in enumerate(rows)]
        return items[::-1] if self.backwards else items

    def _jina(self, body: Any) -> Reply:
        task, _, side = body["task"].partition(".")
        if problem := self._limits(body["input"], body["truncate"]):
            code = "INPUT_TOKEN_LIMIT_EXCEEDED" if "exceeds" in problem else "INPUT_INVALID"
            return Reply({"detail": {"message": problem, "request_id": "0", "code": code}}, 400)
        assert task in ("retrieval", "text-matching", "clustering", "classification") and body["normalized"] is True
        role = "query" if side == "query" and not self.ignores_role else "document"
        data = self._items(self._vectors(body["input"], prefix(task, role)), body["embedding_type"])
        usage = {"total_tokens": 11, "prompt_tokens": 11}
        return Reply({"model": self.name or body["model"], "object": "list", "usage": usage, "data": data})

    def _openai(self, body: Any) -> Reply:
        if problem := self._limits(body["input"], body.get("truncate_prompt_tokens")):
            return Reply({"error": {"message": problem, "type": "invalid_request_error", "code": None}}, 400)
        if unknown := body.keys() - {"model", "input", "encoding_format", "truncate_prompt_tokens"}:
            return Reply({"object": "error", "message": f"{unknown} is not supported", "code": 400}, 400)
        data = self._items(self._vectors(body["input"]), body["encoding_format"])
        tokens = self._count(body["input"])
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return Reply({"object": "list", "model": self.name or body["model"], "data": data, "usage": usage})

    def _tei(self, body: Any) -> Reply:
        if "" in body["inputs"]:
            return Reply({"error": "`inputs` cannot be empty", "error_type": "Empty"}, 400)
        if problem := self._limits(body["inputs"], body["truncate"]):
            return Reply({"error": problem, "error_type": "Validation"}, self.most_status)
        role = "document" if self.ignores_role else body.get("prompt_name")
        return Reply([v.tolist() for v in self._vectors(body["inputs"], prefix("retrieval", role) if role else "")])

    def _ollama(self, body: Any) -> Reply:
        if problem := self._limits(body["input"], body["truncate"]):
            return Reply({"error": problem}, 400)
        vectors = [v.tolist() for v in self._vectors(body["input"])]
        counted = self._count(body["input"])
        return Reply({"model": self.name or body["model"], "embeddings": vectors, "prompt_eval_count": counted})

    def _cohere(self, body: Any) -> Reply:
        if problem := self._limits(body["texts"], body["truncate"] == "END"):
            return Reply({"message": problem}, 400)
        role = body.get("input_type")
        vectors = self._vectors(body["texts"], prefix("retrieval", role) if role else "")
        return Reply({"id": "", "embeddings": {"float": [v.tolist() for v in vectors]}, "meta": {}})

    def _elasticsearch(self, body: Any) -> Reply:
        headers = {"X-Elastic-Product": "Elasticsearch"}
        if problem := self._limits(body["input"]):
            return Reply({"error": {"type": "status_exception", "reason": problem}, "status": 400}, 400, headers)
        role = {"search": "query", "ingest": "document"}[body["input_type"]]
        vectors = self._vectors(body["input"], prefix("retrieval", role))
        return Reply({"text_embedding": [{"embedding": v.tolist()} for v in vectors]}, headers=headers)


def _base64(vector: NDArray[np.float32]) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()
