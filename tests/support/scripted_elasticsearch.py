"""A server at the socket that answers as a test says; for what no real node at hand can be made to do."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Asked:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.body.splitlines()]


Answer = tuple[int, Any]
ROOT = {"name": "n", "cluster_name": "c", "version": {"number": "9.5.2", "build_flavor": "default"}, "tagline": "x"}


@dataclass
class Script:
    """Answers by (method, path without the query); everything asked is kept."""

    answers: dict[tuple[str, str], Callable[[Asked], Answer] | Answer] = field(default_factory=dict[Any, Any])
    asked: list[Asked] = field(default_factory=list[Asked])
    product: str = "Elasticsearch"
    url: str = ""
    is_down: bool = False
    """Whether connections end without an answer."""

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        found = self.answers.get((asked.method, asked.path.partition("?")[0]), _unknown(asked))
        return found(asked) if callable(found) else found

    def paths(self) -> list[str]:
        return [f"{asked.method} {asked.path.partition('?')[0]}" for asked in self.asked]


def _unknown(asked: Asked) -> Answer:
    reason = {"type": "index_not_found_exception", "reason": f"no such thing {asked.path}"}
    return 404, {"error": {"root_cause": [reason], **reason}, "status": 404}


def refusal(status: int, kind: str, reason: str) -> Answer:
    cause = {"type": kind, "reason": reason}
    return status, {"error": {"root_cause": [cause], **cause}, "status": status}


class Bulk:
    """A bulk route that rejects documents as a test says."""

    def __init__(self, refuse: Callable[[str], Answer | None] = lambda id: None) -> None:
        self.refuse = refuse
        self.stored: dict[str, Any] = {}
        self.lock = threading.Lock()

    def __call__(self, asked: Asked) -> Answer:
        lines, items = asked.lines, list[Any]()
        with self.lock:
            for action, source in zip(lines[::2], lines[1::2], strict=True):
                id = action["index"]["_id"]
                refused = self.refuse(id)
                if refused is None:
                    self.stored[id] = source
                    items.append({"index": {"_id": id, "status": 201}})
                else:
                    status, body = refused
                    items.append({"index": {"_id": id, "status": status, "error": body["error"]}})
        return 200, {"items": items, "errors": True}


def nothing_found(asked: Asked) -> Answer:
    """A look-up of ids in an index that has none of them."""
    return 200, {"docs": [{"_id": id, "found": False} for id in asked.lines[0]["ids"]]}


@contextmanager
def scripted(port: int = 0, **given: Any) -> Generator[Script]:
    script = Script(**given)
    script.answers = {("GET", "/"): (200, ROOT), **script.answers}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            status, answer = script.answer(Asked(self.command, self.path, dict(self.headers), body))
            if script.is_down:
                self.close_connection = True
                return
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "text/html" if content.startswith(b"<") else "application/json")
            self.send_header("content-length", str(len(content)))
            if script.product:
                self.send_header("X-Elastic-Product", script.product)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_one

        def log_message(self, *_: Any) -> None: ...  # pyright: ignore[reportIncompatibleMethodOverride]

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    script.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
