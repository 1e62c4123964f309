"""What the tests of adapters ask of a scripted server that stands for jina-embeddings-v5-text-nano, and its answers."""

from __future__ import annotations

import numpy as np

from jinavec.vectors import narrow

from .scripted_server import hash_vector

KEY = "sk-not-to-be-seen"
TEXTS = ["the cat sleeps", "ships in the harbour", "Query: a cat"]


def expected(prefix: str, texts: list[str]) -> list[list[float]]:
    """Return the vectors (n, 64) of prefixed texts."""
    return narrow(np.stack([hash_vector(prefix + text) for text in texts]), 64).tolist()
