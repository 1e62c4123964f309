"""Fixtures of the remote backends."""

from __future__ import annotations

import pytest
from tests.support.remote_encoders import PROTOCOLS


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> str:
    """Each protocol in turn."""
    return request.param


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the keys of whoever runs the tests."""
    for name in ("JINAVEC_API_KEY", "JINA_API_KEY", "OPENAI_API_KEY", "COHERE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
