"""HttpTransport: one request over HTTP, and whatever goes wrong with it as a WireError."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit

from jinavec.backends.remote.options import RemoteOptions
from jinavec.backends.remote.retries import TIMEOUT, read_retry_after
from jinavec.errors import InvalidInput
from jinavec.extras import require
from jinavec.http_client import (
    ENCODINGS,
    ERROR_BYTES,
    BodyReader,
    BodyRefused,
    opening_client,
    shown_address,
    tls_context,
)
from jinavec.log import timed
from jinavec.wire.codec import Codec
from jinavec.wire.errors import error_in_reply
from jinavec.wire.fields import loads
from jinavec.wire.messages import MODEL_HEADER, EmbedReply, EmbedRequest, Reason, WireError

TLS_PREFIX = "JINAVEC_"
"""Of the environment variables that name files of certificates."""


@dataclass(frozen=True)
class Answer:
    """A reply, and who gave it."""

    reply: EmbedReply
    server: str = ""
    """The software that answered, where its headers tell: llama.cpp or TEI."""
    model: str = ""
    """The model and task that answered, where ``jinavec serve`` did: not every protocol's reply tells."""


class Transport(Protocol):
    """Sends one request and returns the answer; used on one event loop."""

    async def post(self, request: EmbedRequest, timeout: float) -> Answer:
        """Send a request.

        Raises:
            WireError: refused, unreachable, too slow, or answered outside the protocol.
        """
        ...


@dataclass(frozen=True)
class Address:
    """Where a server is, without secrets."""

    url: str = field(repr=False)
    """The whole address of the route."""
    host: str
    """Host and port, as messages and contracts show it."""
    query: str = field(repr=False)
    """What follows the question mark, which may hold a key."""
    user: tuple[str, str] | None = field(repr=False)
    """User name and password, where the address holds them."""


@dataclass(frozen=True)
class ServerAccess:
    """How a server is reached."""

    host: str
    """Its name in messages and contracts."""
    open: Callable[[], AbstractAsyncContextManager[Transport]]
    key_variable: str
    """The environment variable that may hold its key."""
    secrets: tuple[str, ...] = field(default=("",), repr=False)
    """The key (empty without one), user name and password, query: what no message may show."""
    route: str = ""
    """The path of its route, where it is not the protocol's own."""


def read_address(url: str, path: str) -> Address:
    """Read the address of a server and complete it to its route.

    ``http://host``, ``http://host/v1`` and ``http://host/v1/embeddings`` are the same.

    Raises:
        InvalidInput: no http or https address; the message does not show user names and passwords.
    """
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        parts.port  # noqa: B018  refuses what is no port
    except ValueError as error:
        raise InvalidInput(f"url is no address: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidInput(f"url must be like http://host:port or https://host, not {host or parts.path!r}")
    user = (parts.username or "", parts.password or "") if "@" in parts.netloc else None
    return Address(urlunsplit((parts.scheme, host, _route(parts.path, path), parts.query, "")), host, parts.query, user)


def _route(given: str, path: str) -> str:
    have, wanted = [part for part in given.split("/") if part], path.strip("/").split("/")
    if have and have[-1] == wanted[-1]:
        return "/" + "/".join(have)
    overlap = next(size for size in range(len(wanted), -1, -1) if have[len(have) - size :] == wanted[:size])
    return "/" + "/".join([*have, *wanted[overlap:]])


class HttpTransport:
    """Speaks a codec's protocol over connections that are kept open."""

    def __init__(self, client: Any, codec: Codec, url: str, width: int) -> None:
        self._client = client
        self._codec = codec
        self._url = url
        self._shown = shown_address(url)
        self._width = width
        self._reading = asyncio.Lock()

    @staticmethod
    @asynccontextmanager
    async def open(
        codec: Codec, address: Address, key: str, options: RemoteOptions, width: int
    ) -> AsyncGenerator[HttpTransport]:
        """Open a client; a key wins over the address's user name and password."""
        connections, tls = options.concurrency, tls_context(options, TLS_PREFIX)
        httpx = require("httpx2", "remote")
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "jinavec"}
        headers["Accept-Encoding"] = ENCODINGS
        if key:
            headers["Authorization"] = f"Bearer {key}"
        sent = httpx.Headers(headers)
        sent.update(options.headers)
        with opening_client():
            client = httpx.AsyncClient(
                headers=sent,
                **({} if tls is None else {"verify": tls}),
                auth=None if key or address.user is None else httpx.BasicAuth(*address.user),
                limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
                timeout=None,  # one limit for the whole answer, below
            )
        async with client:
            yield HttpTransport(client, codec, address.url, width)

    async def post(self, request: EmbedRequest, timeout: float) -> Answer:
        """Send a request."""
        httpx = require("httpx2", "remote")
        try:
            async with asyncio.timeout(timeout):
                with timed("POST %s: %d texts", self._shown, len(request.texts)):
                    answer, body = await self._exchange(request)
        except TimeoutError as error:
            raise late(timeout) from error
        except (httpx.ConnectError, httpx.ProxyError) as error:
            raise WireError(Reason.UNAVAILABLE, f"no connection: {_words(error)}", code="no_connection") from error
        except ssl.SSLError as error:  # a server says only after the handshake that it wants a certificate
            raise WireError(Reason.UNAVAILABLE, f"TLS was refused: {_words(error)}", code="no_connection") from error
        except httpx.TransportError as error:
            raise WireError(Reason.UNAVAILABLE, f"the connection broke: {_words(error)}") from error
        except httpx.InvalidURL as error:
            raise WireError(Reason.INVALID, f"the address cannot be used: {_words(error)}") from error
        except httpx.RequestError as error:
            raise WireError(Reason.INVALID, f"the answer cannot be read: {_words(error)}") from error
        except BodyRefused as error:
            raise WireError(Reason.INVALID, str(error)) from error
        if answer.status_code == 200:
            async with self._reading:  # of replies that arrive together one is read at a turn of the loop, and the
                # next requests go out in between
                return self._read(body, request, answer.headers)
        raise self._refusal(answer, body)

    async def _exchange(self, request: EmbedRequest) -> tuple[Any, bytes]:
        """Send a request; of an answer no more is read, and inflated, than its vectors can take."""
        sent = self._codec.encode_requests([request])
        async with self._client.stream("POST", self._url, content=sent) as answer:
            succeeded = answer.status_code == 200
            limit = largest_reply(request, self._width) if succeeded else ERROR_BYTES
            reader = BodyReader(limit, answer.headers.get("content-encoding"), cuts=not succeeded)
            body = bytearray()
            async for piece in answer.aiter_raw():
                body += reader.feed(piece)
                if reader.is_full:
                    break
            return answer, bytes(body)

    def _read(self, body: bytes, request: EmbedRequest, headers: Mapping[str, str]) -> Answer:
        try:
            (reply,) = self._codec.decode_replies(body, [request])
        except WireError as error:
            error.status = 200
            raise (_said_instead(body) or error) from error
        return Answer(reply, _server(headers), headers.get(MODEL_HEADER, ""))

    def _refusal(self, answer: Any, body: bytes) -> WireError:
        error = self._codec.decode_error(answer.status_code, body)
        error.retry_after = read_retry_after(answer.headers.get("retry-after"))
        error.server = _server(answer.headers)
        if answer.status_code in _REDIRECTS:
            place = answer.headers.get("location")
            error.message = (
                f"it redirects to {shown_address(place)}; give that address"
                if place
                else f"it redirects (status {answer.status_code}), but its answer has no header Location"
            )
        return error


def _said_instead(body: bytes) -> WireError | None:
    """Read the server's own words from a reply that holds an error and no vectors."""
    try:
        return error_in_reply(loads(body))
    except WireError:
        return None


def late(timeout: float) -> WireError:
    """Return the error for an answer that did not come in time."""
    return WireError(Reason.UNAVAILABLE, f"no answer within {timeout:.3g} seconds", code=TIMEOUT)


_REDIRECTS = (301, 302, 303, 307, 308)


def largest_reply(request: EmbedRequest, width: int) -> int:
    """Return more bytes than any reply to a request has, its vectors as indented JSON and its texts repeated."""
    texts = sum(len(text.encode("utf-8", "replace")) for text in request.texts)
    return (1 << 20) + 64 * width * len(request.texts) + 6 * texts


def _server(headers: Mapping[str, str]) -> str:
    if "llama.cpp" in headers.get("server", ""):
        return "llama.cpp"
    return "TEI" if "x-compute-type" in headers else ""


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
