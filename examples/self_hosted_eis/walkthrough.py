"""What Elasticsearch asks of an Elastic Inference Service, call by call, of a running ``jinavec serve``.

python walkthrough.py http://127.0.0.1:8080 [KEY]
"""

from __future__ import annotations

import json
import sys
from typing import Any
from urllib.request import Request, urlopen

TEXTS = ["The cat sleeps on the stove.", "Ships anchor in the harbour."]
QUESTION = "where does the cat sleep?"


def main(url: str, key: str = "") -> None:
    """Discover the endpoints, embed documents and a question, and rank."""

    def ask(path: str, body: dict[str, Any] | None = None) -> Any:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        with urlopen(Request(url + path, json.dumps(body).encode() if body else None, headers)) as reply:
            return json.load(reply)

    endpoint = ask("/api/v2/authorizations")["inference_endpoints"][0]
    model = endpoint["model_name"]
    print(f"GET /api/v2/authorizations: {endpoint['id']}, {endpoint['configuration']['dimensions']} dimensions")

    path = "/api/v1/embed/text/dense"
    documents = ask(path, {"input": TEXTS, "model": model, "usage_context": "ingest"})["data"]
    (query,) = ask(path, {"input": [QUESTION], "model": model, "usage_context": "search"})["data"]
    print(f"POST {path}: {len(documents)} documents and a query")

    scores = [sum(a * b for a, b in zip(query, document, strict=True)) for document in documents]
    for score, text in sorted(zip(scores, TEXTS, strict=True), reverse=True):
        print(f"{score:.3f}  {text}")


if __name__ == "__main__":
    main(*sys.argv[1:])
