"""A server at the socket that answers as Qdrant does: what is recorded of its shapes, and the failures asked for.

It keeps points in memory only so far as counting and retrieving them needs; it searches nothing.
"""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import unquote, urlsplit

Answer = tuple[int, dict[str, str], bytes]
JSON = {"Content-Type": "application/json"}


def ok(result: object) -> Answer:
    return 200, JSON, json.dumps({"result": result, "status": "ok", "time": 0.001}).encode()


def failed(status: int, message: str, **headers: str) -> Answer:
    body = json.dumps({"status": {"error": message}, "time": 0.001}).encode()
    return status, JSON | {name.replace("_", "-"): value for name, value in headers.items()}, body


class QdrantServer:
    """Start with ``with``; ``requests`` holds (method, path, query, headers, body) of each."""

    def __init__(self, version: str = "1.19.0", key: str | None = None) -> None:
        self.version, self.key = version, key
        self.collections: dict[str, dict[str, Any]] = {}
        self.points: dict[str, dict[Any, dict[str, Any]]] = {}
        self.indexes: dict[str, Any] = {}
        self.requests: list[tuple[str, str, str, dict[str, str], Any]] = []
        self.failures: deque[tuple[str, Answer]] = deque()
        """(pattern of METHOD PATH, answer): the next request that fits gets the answer."""
        self.lose = 0
        """How many points of an upsert are dropped silently."""
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fail(self, pattern: str, *answers: Answer) -> None:
        self.failures.extend((pattern, answer) for answer in answers)

    def sent(self, pattern: str) -> list[Any]:
        return [body for method, path, _, _, body in self.requests if re.search(pattern, f"{method} {path}")]

    def _answer(self, method: str, path: str, query: str, headers: dict[str, str], body: Any) -> Answer:
        with self._lock:
            self.requests.append((method, path, query, headers, body))
            if self.key is not None and headers.get("api-key") != self.key:
                return failed(401, f"Invalid API key {headers.get('api-key')}")
            for number, (pattern, answer) in enumerate(self.failures):
                if re.search(pattern, f"{method} {path}"):
                    del self.failures[number]
                    return answer
            if path == "/":
                return 200, JSON, json.dumps({"title": "qdrant", "version": self.version}).encode()
            name, _, rest = path.removeprefix("/collections/").partition("/")
            name = unquote(name)
            if method == "PUT" and not rest:
                self.collections[name], self.points[name] = body, {}
                return ok(True)
            if name not in self.collections:
                return failed(404, f"Not found: Collection `{name}` doesn't exist!")
            return self._routes(name)[f"{method} {rest}".strip()](body)

    def _routes(self, name: str) -> dict[str, Callable[[Any], Answer]]:
        points = self.points[name]

        def index(body: Any) -> Answer:
            self.indexes[body["field_name"]] = body["field_schema"]
            return ok({"operation_id": 1, "status": "completed"})

        def upsert(body: Any) -> Answer:
            if "points" in body:  # with Documents, which a server would embed
                return ok({"operation_id": 2, "status": "completed"})
            batch = body["batch"]
            for id, payload in list(zip(batch["ids"], batch["payloads"], strict=True))[self.lose :]:
                points[id] = {"id": id, "payload": payload, "vector": None}
            self.lose = 0
            return ok({"operation_id": 2, "status": "completed"})

        def update(body: Any) -> Answer:
            self.collections[name].setdefault("metadata", {}).update(body["metadata"])
            return ok(True)

        def drop(_: Any) -> Answer:
            del self.collections[name]
            return ok(True)

        def search(body: Any) -> Answer:
            hits = [point | {"version": 1, "score": 1.0000001} for point in list(points.values())[:1]]
            return ok([{"points": hits} for _ in body["searches"]])

        return {
            "GET": lambda _: ok(self._info(name)),
            "PATCH": update,
            "DELETE": drop,
            "PUT index": index,
            "PUT points": upsert,
            "POST points/count": lambda _: ok({"count": len(points)}),
            "POST points": lambda body: ok([points[id] for id in body["ids"] if id in points]),
            "POST points/query/batch": search,
        }

    def _info(self, name: str) -> dict[str, Any]:
        made = self.collections[name]
        hnsw = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000, "max_indexing_threads": 0, "on_disk": False}
        optimizer = {
            "deleted_threshold": 0.2,
            "vacuum_min_vector_number": 1000,
            "default_segment_number": 0,
            "flush_interval_sec": 5,
        }
        schema = {
            field: {"data_type": params["type"], "params": params, "points": 0}
            for field, params in self.indexes.items()
        }
        return {
            "status": "green",
            "optimizer_status": "ok",
            "indexed_vectors_count": 0,
            "points_count": len(self.points[name]),
            "segments_count": 2,
            "config": {
                "params": {"vectors": made["vectors"], "shard_number": 1, "replication_factor": 1},
                "hnsw_config": hnsw,
                "optimizer_config": optimizer,
                "wal_config": {"wal_capacity_mb": 32, "wal_segments_ahead": 0},
                "metadata": made.get("metadata"),
            },
            "payload_schema": schema,
        }

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _run(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                data = self.rfile.read(length)
                parts = urlsplit(self.path)
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = json.loads(data) if data else None
                status, extra, content = server._answer(self.command, parts.path, parts.query, headers, body)
                self.send_response(status)
                for name, value in (extra | {"Content-Length": str(len(content))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _run

            def log_message(self, format: str, *args: object) -> None:
                return

        return Handler
