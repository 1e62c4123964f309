"""The addresses of servers."""

from __future__ import annotations

import pytest
from tests.support.remote_encoders import NANO

from jinavec import Encoder
from jinavec.backends.remote.http import read_address
from jinavec.errors import InvalidInput, ServerError

pytest.importorskip("httpx2")
pytest.importorskip("elasticsearch")


@pytest.mark.parametrize(
    ("given", "path", "whole"),
    [
        ("http://h:1", "/v1/embeddings", "http://h:1/v1/embeddings"),
        ("http://h:1/", "/v1/embeddings", "http://h:1/v1/embeddings"),
        ("http://h:1/v1", "/v1/embeddings", "http://h:1/v1/embeddings"),
        ("http://h:1/v1/embeddings", "/v1/embeddings", "http://h:1/v1/embeddings"),
        ("http://h:1/embeddings", "/v1/embeddings", "http://h:1/embeddings"),
        ("http://h:1/query/v1", "/v1/embeddings", "http://h:1/query/v1/embeddings"),
        ("http://h:1/query", "/v1/embeddings", "http://h:1/query/v1/embeddings"),
        ("https://me:pw@h/x?a=b", "/embed", "https://h/x/embed?a=b"),
    ],
)
def test_an_address_is_completed(given: str, path: str, whole: str) -> None:
    assert read_address(given, path).url == whole


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://h", "http://", "http://h:port", "//me:pw@h"])
def test_what_is_no_address(url: str, protocol: str) -> None:
    with pytest.raises(InvalidInput, match="url") as refusal:
        Encoder.load(NANO, backend=protocol, url=url)
    assert "pw" not in str(refusal.value)


def test_an_address_that_no_request_can_have() -> None:
    with Encoder.load(NANO, backend="tei", url="http://127.0.0.1\x7f:1") as encoder:
        with pytest.raises(ServerError, match="the address cannot be used"):
            encoder.encode_documents(["a"])


def test_servers_without_a_vendor_need_one() -> None:
    with pytest.raises(InvalidInput, match="url="):
        Encoder.load(NANO, backend="tei")
