from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from tests.support.elasticsearch_server import elasticsearch_url, forget_index


@pytest.fixture
def target() -> Iterator[str]:
    """A place of its own on the server."""
    place = f"elasticsearch:{elasticsearch_url()}/test-{uuid4().hex}"
    yield place
    forget_index(place)
