"""What the HTTP clients of backends and engines share: answers are bounded, and faults of the environment are named."""

from __future__ import annotations

import ipaddress
import os
import re
import time
import zlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from jinavec.errors import InvalidInput, brief, warn
from jinavec.settings import without_user

if TYPE_CHECKING:
    import ssl

ENCODINGS = "gzip, deflate"
"""What an answer may be compressed with: the header ``Accept-Encoding``."""
ERROR_BYTES = 1 << 16
"""What is read of an answer that is no success; the rest says nothing more."""
ENGINE_BYTES = 1 << 28
"""The largest answer of an engine, whose records may have texts of any length."""
ENGINE_SECONDS = 600.0
"""The longest time that it may take to arrive; each piece of it has the client's own limit."""
_AROUND = 1 << 16
"""Bytes that a compressed body may have beyond what it inflates to: its head, and blocks that hold nothing."""
_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")


class BodyRefused(ValueError):
    """A body that is larger than any answer to what was asked, or that cannot be inflated."""


class BodyReader:
    """Inflates a body piece by piece, and never more of it than a limit."""

    def __init__(self, limit: int, encoding: str | None = None, *, cuts: bool = False, seconds: float = inf) -> None:
        """Read a body of some content encoding.

        Args:
            limit: bytes of the inflated body.
            encoding: the header ``Content-Encoding``.
            cuts: end the body at the limit, in place of refusing it.
            seconds: from now, for the whole body.

        Raises:
            BodyRefused: an encoding that nobody asked for.
        """
        self._limit = self._left = limit
        self._room = limit + _AROUND
        self._cuts = cuts
        self._seconds = seconds
        self._end = time.monotonic() + seconds
        name = (encoding or "identity").strip().lower()
        if name not in ("identity", "gzip", "deflate"):
            raise BodyRefused(f"the answer is compressed with {name[:40]!r}, which was not asked for")
        self._inflater = None if name == "identity" else zlib.decompressobj(47)  # the header tells gzip from zlib

    @property
    def is_full(self) -> bool:
        """Whether the limit was passed: the rest need not be read."""
        return self._left < 0

    def feed(self, piece: bytes) -> bytes:
        """Return what a piece of the body inflates to.

        Raises:
            BodyRefused: the body is larger than the limit, takes too long, or is not compressed as it says.
        """
        if time.monotonic() > self._end:
            raise BodyRefused(f"the answer did not end within {self._seconds:g} seconds")
        try:
            data = piece if self._inflater is None else self._inflater.decompress(piece, max(1, self._left + 1))
        except zlib.error as error:
            raise BodyRefused(f"the answer cannot be inflated: {error}") from error
        left = self._left
        self._left -= len(data)
        self._room -= len(piece)
        if self._inflater is not None and (self._inflater.unused_data or self._room < 0):
            self._left = -1  # whatever follows, none of it is the answer's
        if self.is_full and not self._cuts:
            raise BodyRefused(f"the answer is larger than {self._limit:,} bytes, more than was asked for")
        return data[: max(0, left)]


def checked_key(key: str) -> str:
    """Return a key without the line break at its end that files and shells leave there.

    Raises:
        InvalidInput: no header can carry it; the message does not show it.
    """
    key = key.strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise InvalidInput("the API key holds a space, a line break or a character outside ASCII")
    return key


def warn_of_clear_text(url: str) -> None:
    """Warn that a key goes over plain HTTP to another machine, where anybody on the way can read it."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "http" and not _is_loopback(host):
        warn(f"the key for {host} is sent in clear text: use https://{host}, or a tunnel to localhost")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, which may begin like an address: 127.0.0.1.example
        return host == "localhost"


def shown_address(url: str) -> str:
    """Return an address for messages: without user name, password and query, which may hold a key."""
    address, question, _ = without_user(url).partition("?")
    return f"{address[:200]}?***" if question else address[:200]


@contextmanager
def opening_client() -> Generator[None]:
    """Say which variables of the environment a client was made with, when it cannot be made.

    Raises:
        InvalidInput: names the variables that decide certificates and proxies, and their values.
    """
    try:
        yield
    except (OSError, ImportError, ValueError) as error:
        given = {name: os.environ.get(name) or os.environ.get(name.lower()) for name in _VARIABLES}
        shown = ", ".join(f"{name}={without_user(value)}" for name, value in given.items() if value)
        raise InvalidInput(f"no HTTP client can be made ({error}); look at {shown or 'its options'}") from error


class CertificateFiles(Protocol):
    """Options that name files of certificates."""

    @property
    def ca_certs(self) -> str | None:
        """Those of a private authority."""
        ...

    @property
    def client_cert(self) -> str | None:
        """The one that shows who the client is."""
        ...

    @property
    def client_key(self) -> str | None:
        """Its key, where that is in another file."""
        ...


def tls_context(options: CertificateFiles, prefix: str = "") -> ssl.SSLContext | None:
    """Return how connections are secured; None where that is by the certificates of the system, which is the default.

    Args:
        options: name the files.
        prefix: of the environment variables that name them where no option does, such as ``ELASTICSEARCH_`` of
            ELASTICSEARCH_CA_CERTS, ELASTICSEARCH_CLIENT_CERT and ELASTICSEARCH_CLIENT_KEY; empty: there are none.

    Raises:
        InvalidInput: a file holds none, or there is a key and no certificate; names option or variable, and file.
    """
    files: dict[str, str] = {}
    shown: list[str] = []
    for name in ("ca_certs", "client_cert", "client_key"):
        variable = f"{prefix}{name.upper()}"
        given: str | None = getattr(options, name)
        if file := given or (os.environ.get(variable) if prefix else None):
            files[name] = file
            shown.append(f"{name if given else variable}={file}")
    if "client_key" in files and "client_cert" not in files:
        raise InvalidInput(f"{shown[-1]}: a key needs the certificate that it belongs to (client_cert)")
    if not files:
        return None
    import ssl  # here: who needs no certificates need not load it

    try:
        context = ssl.create_default_context(cafile=files.get("ca_certs"))
        if certificate := files.get("client_cert"):
            context.load_cert_chain(certificate, files.get("client_key"))
    except OSError as error:
        raise InvalidInput(f"no certificates can be read from {', '.join(shown)}: {error}") from error
    return context


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers that a request can carry.

    Raises:
        InvalidInput: one that is none; the message does not show its value.
    """
    for name, value in headers.items():
        if not (isinstance(name, str) and _TOKEN.fullmatch(name)):
            raise InvalidInput(f"no header is named {brief(name)}")
        if not (isinstance(value, str) and value.isascii() and value.isprintable()):
            raise InvalidInput(f"the value of the header {name} is no line of ASCII characters")
    return dict(headers)


_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
