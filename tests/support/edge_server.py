"""Qdrant's REST interface over Qdrant's own engine, as far as jinavec speaks it; for tests.

There is no Qdrant server in any package index, but its engine is (qdrant-edge-py). What a request may hold is checked
by the models of the installed qdrant-client, so a request that a server would refuse is refused here too. Failures are
answered where a test asks for them.

As a command, it runs another one with ``QDRANT_URL`` set, under the strict mode of Qdrant Cloud:
python -m tests.support.edge_server COMMAND...
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, Self, cast
from urllib.parse import unquote, urlsplit

from pydantic import TypeAdapter, ValidationError
from qdrant_client import models

from .edge_engine import EdgeCollection
from .edge_strict import CLOUD, RateLimited, Refused, StrictMode

Answer = tuple[int, dict[str, str], bytes]
JSON = {"Content-Type": "application/json"}
DONE = {"operation_id": 1, "status": "completed"}


def ok(result: object) -> Answer:
    return 200, JSON, json.dumps({"result": result, "status": "ok", "time": 0.001}).encode()


def failed(status: int, message: str, **headers: str) -> Answer:
    body = json.dumps({"status": {"error": message}, "time": 0.001}).encode()
    return status, JSON | {name.replace("_", "-"): value for name, value in headers.items()}, body


class QdrantServer:
    """Start with ``with``; ``requests`` holds (method, path, query, headers, body) of each."""

    def __init__(
        self, version: str | None = None, key: str | None = None, strict: dict[str, Any] | None = None
    ) -> None:
        self.version, self.key = version or version_of("qdrant-client"), key
        self.collections: dict[str, dict[str, Any]] = {}
        """The request that made each one, with the metadata it has now."""
        self.strict = strict
        """The strict mode of new collections that are made without one."""
        self.indexes: dict[str, dict[str, Any]] = {}
        """The payload indexes of each collection."""
        self.aliases: dict[str, str] = {}
        self.status: dict[str, Any] = {"status": "green", "optimizer_status": "ok"}
        self.shard_keys: list[str] = []
        self.requests: list[tuple[str, str, str, dict[str, str], Any]] = []
        self.failures: deque[tuple[str, Answer]] = deque()
        """(pattern of METHOD PATH, answer): the next request that fits gets the answer."""
        self.lose = 0
        """How many points of an upsert are dropped silently."""
        self._modes: dict[str, StrictMode] = {}
        self._shards: dict[str, EdgeCollection] = {}
        self._folder = tempfile.TemporaryDirectory()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        with self._lock:
            for name in list(self._shards):
                self._drop(name)
        self._folder.cleanup()

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
            return self._route(self.aliases.get(name, name), f"{method} {rest}".strip(), body)

    def _route(self, name: str, route: str, body: Any) -> Answer:
        if name not in self.collections and route != "PUT":
            return ok(False) if route == "DELETE" else failed(404, f"Not found: Collection `{name}` doesn't exist!")
        if name in self.collections and route == "PUT":
            return failed(409, f"Wrong input: Collection `{name}` already exists!")
        if route not in ROUTES:
            return failed(404, f"no such route here: {route}")
        shape, do = ROUTES[route]
        try:
            if shape is not None:
                TypeAdapter(shape).validate_python(body)
            if name in self._modes:
                self._modes[name].check(route, body, self.collections[name], self.indexes[name])
            return ok(do(self, name, body))
        except Refused as error:
            return failed(400, f"Bad request: {error}")
        except RateLimited as error:
            return failed(429, str(error), Retry_After="0")
        except ValidationError as error:
            return failed(400, f"Format error in JSON body: {error}")
        except Exception as error:  # all that the engine raises
            return failed(400, f"Wrong input: {error}")

    def _create(self, name: str, body: Any) -> bool:
        self._shards[name] = EdgeCollection(Path(self._folder.name) / str(len(self.requests)), body)
        self.collections[name] = body
        self.indexes[name] = {}
        self._modes[name] = StrictMode(body.get("strict_mode_config") or self.strict)
        return True

    def _update(self, name: str, body: Any) -> bool:
        self.collections[name].setdefault("metadata", {}).update(body["metadata"])
        return True

    def _drop(self, name: str, _: Any = None) -> bool:
        del self.collections[name], self.indexes[name], self._modes[name]
        self._shards.pop(name).shard.close()
        return True

    def _shard(self, name: str, body: Any) -> bool:
        self.shard_keys.append(body["shard_key"])
        return True

    def _cluster(self, name: str, _: Any) -> object:
        shards = [
            {"shard_id": number, "shard_key": key, "points_count": 0, "state": "Active"}
            for number, key in enumerate(self.shard_keys)
        ]
        return {
            "peer_id": 1,
            "shard_count": len(shards),
            "local_shards": shards,
            "remote_shards": [],
            "shard_transfers": [],
        }

    def _index(self, name: str, body: Any) -> object:
        self.indexes[name][body["field_name"]] = body["field_schema"]
        self._shards[name].declare(body["field_name"], body["field_schema"]["type"])
        return DONE

    def _upsert(self, name: str, body: Any) -> object:
        points = _points(body["batch"]) if "batch" in body else body["points"]
        ready = [point for point in points if "text" not in point["vector"]]  # of a Document, only the request counts
        self._shards[name].upsert(ready[self.lose :])
        self.lose = 0
        return DONE

    def _operate(self, name: str, body: Any) -> object:
        for operation in body["operations"]:
            given = operation["set_payload"]
            self._shards[name].set_payload(given["points"], given["payload"])
        return [DONE] * len(body["operations"])

    def _delete(self, name: str, body: Any) -> object:
        self._shards[name].delete(body["points"])
        return DONE

    def _count(self, name: str, body: Any) -> object:
        return {"count": self._shards[name].count(body.get("filter"))}

    def _retrieve(self, name: str, body: Any) -> object:
        return self._shards[name].retrieve(body["ids"], body.get("with_payload", True), body.get("with_vector", False))

    def _scroll(self, name: str, body: Any) -> object:
        points, following = self._shards[name].scroll(body)
        return {"points": points, "next_page_offset": following}

    def _search(self, name: str, body: Any) -> object:
        return [{"points": hits} for hits in self._shards[name].query(body["searches"])]

    def _info(self, name: str, _: Any) -> Any:
        made, shard = self.collections[name], self._shards[name].shard.info()
        params = {key: made.get(key) or 1 for key in ("shard_number", "replication_factor", "write_consistency_factor")}
        hnsw = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000, "max_indexing_threads": 0}
        asked = cast("dict[str, int]", made.get("hnsw_config") or {})
        return {
            **self.status,
            "indexed_vectors_count": shard.indexed_vectors_count,
            "points_count": shard.points_count,
            "segments_count": shard.segments_count,
            "config": {
                "params": {"vectors": made["vectors"], "sharding_method": made.get("sharding_method"), **params},
                "hnsw_config": hnsw | asked,
                "optimizer_config": {
                    "deleted_threshold": 0.2,
                    "vacuum_min_vector_number": 1000,
                    "default_segment_number": 0,
                    "flush_interval_sec": 5,
                },
                "wal_config": {"wal_capacity_mb": 32, "wal_segments_ahead": 0},
                "quantization_config": made.get("quantization_config"),
                "metadata": made.get("metadata"),
                "strict_mode_config": self._modes[name].limits or None,
            },
            "payload_schema": {
                field: {"data_type": params["type"], "params": params, "points": 0}
                for field, params in self.indexes[name].items()
            },
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


ROUTES: dict[str, tuple[Any, Callable[[QdrantServer, str, Any], object]]] = {
    "GET": (None, QdrantServer._info),
    "PUT": (models.CreateCollection, QdrantServer._create),
    "PATCH": (models.UpdateCollection, QdrantServer._update),
    "DELETE": (None, QdrantServer._drop),
    "GET cluster": (None, QdrantServer._cluster),
    "PUT shards": (models.CreateShardingKey, QdrantServer._shard),
    "PUT index": (models.CreateFieldIndex, QdrantServer._index),
    "PUT points": (models.PointsBatch | models.PointsList, QdrantServer._upsert),
    "POST points": (models.PointRequest, QdrantServer._retrieve),
    "POST points/batch": (models.UpdateOperations, QdrantServer._operate),
    "POST points/count": (models.CountRequest, QdrantServer._count),
    "POST points/delete": (models.PointIdsList, QdrantServer._delete),
    "POST points/scroll": (models.ScrollRequest, QdrantServer._scroll),
    "POST points/query/batch": (models.QueryRequestBatch, QdrantServer._search),
}
"""What a request must look like, and what answers it."""


def _points(batch: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one object a point in place of one list a field."""
    vectors: Any = batch["vectors"]
    if isinstance(vectors, dict):
        columns = cast("dict[str, list[Any]]", vectors)
        vectors = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    payloads = batch.get("payloads") or [None] * len(vectors)
    return [
        {"id": id, "vector": vector, "payload": payload}
        for id, vector, payload in zip(batch["ids"], vectors, payloads, strict=True)
    ]


def main() -> int:
    if "QDRANT_URL" in os.environ:
        return subprocess.run(sys.argv[1:]).returncode
    with QdrantServer(strict=CLOUD) as server:
        return subprocess.run(sys.argv[1:], env={**os.environ, "QDRANT_URL": server.url}).returncode


if __name__ == "__main__":
    sys.exit(main())
