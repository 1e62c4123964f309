"""What a Qdrant server asks of its inference address, call by call, of a running ``jinavec serve``.

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
    """Embed an upsert and a query in two widths each, as for a two-stage search, and rank."""

    def ask(path: str, body: object | None = None) -> Any:
        headers = {"Content-Type": "application/json"} | ({"jinavec-api-key": key} if key else {})
        with urlopen(Request(url + path, json.dumps(body).encode() if body else None, headers)) as reply:
            return json.load(reply)

    model = ask("/v1/models")["data"][0]["id"]

    def embed(texts: list[str], inference: str) -> list[list[float]]:
        inputs = [
            {"data": text, "data_type": "text", "model": model, "options": {"mrl": width}}
            for width in (64, 256)
            for text in texts
        ]
        return ask("/qdrant/inference", {"inputs": inputs, "inference": inference, "token": None})["embeddings"]

    documents, (small, large) = embed(TEXTS, "update"), embed([QUESTION], "search")
    print(f"POST /qdrant/inference: vectors of {len(small)} and of {len(large)} dimensions in one request")
    scores = [sum(a * b for a, b in zip(large, document, strict=True)) for document in documents[len(TEXTS) :]]
    for score, text in sorted(zip(scores, TEXTS, strict=True), reverse=True):
        print(f"{score:.3f}  {text}")


if __name__ == "__main__":
    main(*sys.argv[1:])
