"""Collections on a real Qdrant server, for tests with the marker qdrant."""

from __future__ import annotations

import os
from uuid import uuid4

import pytest


def new_collection() -> str:
    """Return the target of a collection that is not there yet; skips where QDRANT_URL is not set."""
    if url := os.environ.get("QDRANT_URL"):
        return f"qdrant:{url}/jinavec-test-{uuid4()}"
    pytest.skip("QDRANT_URL is not set")


def forget(target: str) -> None:
    """Delete the collection of a target."""
    from qdrant_client import QdrantClient

    url, _, name = target.removeprefix("qdrant:").rpartition("/")
    client = QdrantClient(url=url, api_key=os.environ.get("QDRANT_API_KEY"))
    client.delete_collection(name)
    client.close()
