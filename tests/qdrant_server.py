"""Collections on a real Qdrant server, for tests with the marker qdrant."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from uuid import uuid4

import pytest


@contextmanager
def collection() -> Generator[str]:
    """Yield the target of a collection of its own, removed in the end; skips where QDRANT_URL is not set."""
    url = os.environ.get("QDRANT_URL")
    if not url:
        pytest.skip("QDRANT_URL is not set")
    from qdrant_client import QdrantClient

    name = f"jinavec-test-{uuid4()}"
    try:
        yield f"qdrant:{url}/{name}"
    finally:
        client = QdrantClient(url=url, api_key=os.environ.get("QDRANT_API_KEY"))
        client.delete_collection(name)
        client.close()
