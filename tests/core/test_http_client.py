"""Bodies are read within their limits, whatever they are packed in."""

from __future__ import annotations

import gzip
import random
import zlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from jinavec.errors import InvalidInput
from jinavec.http_client import (
    BodyReader,
    BodyRefused,
    check_headers,
    opening_client,
    shown_address,
    tls_context,
    warn_of_clear_text,
)

BODY = random.Random(7).randbytes(5000) + bytes(95_000)
PACKED = {
    None: BODY,
    "identity": BODY,
    "gzip": gzip.compress(BODY),
    " GZIP ": gzip.compress(BODY),
    "deflate": zlib.compress(BODY),
}


@pytest.mark.parametrize("encoding", PACKED)
@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 20])
def test_a_body_in_pieces(encoding: str | None, size: int) -> None:
    packed = PACKED[encoding]
    pieces = [packed[start : start + size] for start in range(0, len(packed), size)]
    reader = BodyReader(len(BODY), encoding)
    assert b"".join(map(reader.feed, pieces)) == BODY
    assert not reader.is_full
    reader = BodyReader(len(BODY) - 1, encoding)
    with pytest.raises(BodyRefused, match="larger than 99,999 bytes"):
        for piece in pieces:
            reader.feed(piece)
    reader = BodyReader(6000, encoding, cuts=True)
    cut = bytearray()
    for piece in pieces:
        cut += reader.feed(piece)
        if reader.is_full:
            break
    assert cut == BODY[:6000]


def test_what_cannot_be_read() -> None:
    with pytest.raises(BodyRefused, match="compressed with 'br', which was not asked for"):
        BodyReader(10, "br")
    with pytest.raises(BodyRefused, match="cannot be inflated"):
        BodyReader(10, "gzip").feed(b"{}")
    with pytest.raises(BodyRefused, match="did not end within -1 seconds"):
        BodyReader(10, seconds=-1).feed(b"{}")


@pytest.mark.parametrize(
    ("begun", "more"),
    [
        (PACKED["gzip"], b"x" * 1000),
        (PACKED["gzip"] + b"x", PACKED["gzip"]),
        (gzip.compress(b"")[:10], b"\0\0\0\xff\xff" * 200),
        (b"\x1f\x8b\x08\x08" + bytes(6), b"name" * 250),
    ],
    ids=["behind the end", "another behind the end", "empty blocks", "a name in the head"],
)
def test_what_inflates_to_nothing_comes_to_an_end(begun: bytes, more: bytes) -> None:
    endless = [begun, *[more] * 1000]
    reader = BodyReader(len(BODY), "gzip")
    with pytest.raises(BodyRefused, match="larger than 100,000 bytes"):
        for piece in endless:
            reader.feed(piece)
    reader = BodyReader(len(BODY), "gzip", cuts=True)
    for piece in endless:
        reader.feed(piece)
        if reader.is_full:
            break
    assert reader.is_full


@pytest.mark.parametrize("host", ["127.example.invalid", "127.0.0.1.example.invalid", "localhost.invalid", "10.0.0.1"])
def test_a_key_in_clear_text_is_warned_of(host: str) -> None:
    with pytest.warns(UserWarning, match=f"the key for {host} is sent in clear text"):
        warn_of_clear_text(f"http://{host}:9200")


@pytest.mark.parametrize(
    "url", ["http://localhost", "http://127.1.2.3:1", "http://[::1]:1", "https://127.example.invalid"]
)
def test_a_key_that_stays_here_is_not(url: str, recwarn: pytest.WarningsRecorder) -> None:
    warn_of_clear_text(url)
    assert not recwarn.list


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://h/x", "http://h/x"),
        ("https://me:pw@h:1/x?key=pw#pw", "https://h:1/x?***"),
        ("/v1?a=pw", "/v1?***"),
        ("//me:pw@h/" + "x" * 900, "//h/" + "x" * 196),
    ],
)
def test_addresses_are_shown_without_secrets(url: str, shown: str) -> None:
    assert shown_address(url) == shown


def test_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "socks5://me:pw@h:1")
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", "/not/there")
    with pytest.raises(InvalidInput, match="SSL_CERT_FILE=/not/there.*HTTPS_PROXY=socks5://h:1"), opening_client():
        raise ImportError("no socks")


@dataclass(frozen=True)
class Files:
    ca_certs: str | None = None
    client_cert: str | None = None
    client_key: str | None = None


def test_files_of_certificates_are_named_by_options_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    assert tls_context(Files(), "X_") is None
    with pytest.raises(InvalidInput, match=r"ca_certs=.*junk.pem"):
        tls_context(Files(ca_certs=str(junk)))
    with pytest.raises(InvalidInput, match=r"client_key=.*client_cert"):
        tls_context(Files(client_key=str(junk)))
    monkeypatch.setenv("X_CA_CERTS", f"{tmp_path}/none.pem")
    with pytest.raises(InvalidInput, match=r"X_CA_CERTS=.*none.pem"):
        tls_context(Files(), "X_")
    assert tls_context(Files()) is None


@pytest.mark.parametrize("headers", [{"a b": "x"}, {"": "x"}, {"a": "hush\n"}, {"a": "ж"}])
def test_headers_that_no_request_carries_are_refused_unseen(headers: dict[str, str]) -> None:
    assert check_headers({"X-Key": "a b"}) == {"X-Key": "a b"}
    with pytest.raises(InvalidInput, match="header") as raised:
        check_headers(headers)
    assert "hush" not in str(raised.value)
