"""A Qdrant server at the socket: keeps points in a list, and leaves their texts to the address of its inference."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import numpy as np


class FakeQdrant(ThreadingHTTPServer):
    """Answers what qdrant-client asks for one collection."""

    def __init__(self, inference: str, token: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.inference, self.token = inference, token
        self.points: list[tuple[Any, list[float]]] = []
        self.size = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def embed(self, documents: list[dict[str, Any]], inference: str) -> list[list[float]]:
        """Post texts as Qdrant 1.19 does."""
        inputs = [{"data": one["text"], "data_type": "text", **_without_text(one)} for one in documents]
        body = {"inputs": inputs, "inference": inference, "token": self.token}
        vectors = httpx2.post(self.inference, json=body).raise_for_status().json()["embeddings"]
        assert {len(vector) for vector in vectors} == {self.size}
        return vectors

    def answer(self, path: str, body: Any) -> Any:
        if path.endswith("/query"):
            (query,) = self.embed([body["query"]["nearest"]], "search")
            scores = [float(np.dot(vector, query)) for _, vector in self.points]
            best = sorted(zip(scores, self.points, strict=True), key=lambda pair: -pair[0])[: body["limit"]]
            return {"points": [{"id": id, "version": 0, "score": score} for score, (id, _) in best]}
        if path.partition("?")[0].endswith("/points"):
            vectors = self.embed([point["vector"] for point in body["points"]], "update")
            self.points += zip([point["id"] for point in body["points"]], vectors, strict=True)
            return {"operation_id": 0, "status": "completed"}
        self.size = body["vectors"]["size"]
        return True


def _without_text(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "text"}


class _Handler(BaseHTTPRequestHandler):
    server: FakeQdrant  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        self._say({"title": "qdrant - vector search engine", "version": "1.19.0"})

    def do_PUT(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self._say({"result": self.server.answer(self.path, body), "status": "ok", "time": 0.0})

    do_POST = do_PUT

    def _say(self, values: object) -> None:
        content = json.dumps(values).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None: ...


@contextmanager
def fake_qdrant(inference: str, token: str) -> Generator[FakeQdrant]:
    with FakeQdrant(inference, token) as qdrant:
        threading.Thread(target=qdrant.serve_forever, daemon=True).start()
        yield qdrant
        qdrant.shutdown()
