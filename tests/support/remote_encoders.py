"""Encoders of jina-embeddings-v5-text-nano through scripted servers, and the vectors they must give."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from jinavec import Encoder

from .scripted_server import WIDTH, ScriptedServer, hash_vector

NANO = "jina-embeddings-v5-text-nano"
PROTOCOLS = ("cohere", "elasticsearch", "jina", "ollama", "openai", "tei")
TEXTS = [f"text {n}" for n in range(100)]


def load(server: ScriptedServer, **given: Any) -> Encoder:
    """Load the encoder of a server; takes what Encoder.load takes."""
    how: dict[str, Any] = {"backend": server.answer.protocol, "url": server.url, **given}
    options: Any = given.get("options", {})  # not verified: its vectors are made of the text's hash
    how["options"] = {"verify": False, **options} if isinstance(options, dict) else replace(options, verify=False)
    return Encoder.load(NANO, **how)


def wanted(texts: list[str], prefix: str = "Document: ", dimension: int = WIDTH) -> Any:
    """Return the unit vectors (n, dimension) of texts with their prefix."""
    vectors = np.stack([hash_vector(prefix + text)[:dimension] for text in texts])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
