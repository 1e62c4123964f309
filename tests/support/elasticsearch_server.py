"""The Elasticsearch server that marked tests run against: where it is, and how to leave it as it was."""

from __future__ import annotations

import os
import warnings
from typing import Any

import pytest


def elasticsearch_url() -> str:
    """Return the server's address; skips where there is none."""
    if url := os.environ.get("ELASTICSEARCH_URL"):
        pytest.importorskip("elasticsearch")
        return url.rstrip("/")
    pytest.skip("ELASTICSEARCH_URL names no server")


def client() -> Any:
    """Return a client of one's own, as a user makes it."""
    from elasticsearch import Elasticsearch

    return Elasticsearch(elasticsearch_url())


def forget_index(target: str) -> None:
    """Delete the index of a target."""
    with client() as server, warnings.catch_warnings():
        server.options(ignore_status=404).indices.delete(index=target.rpartition("/")[2])
