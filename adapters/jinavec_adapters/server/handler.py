"""Handler: what happens to a request before and after its texts are embedded; it always ends in an answer."""

from __future__ import annotations

import asyncio
import logging
import math
import traceback
from collections.abc import Awaitable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from jinavec.tasks import Role
from jinavec.wire.messages import Reason, WireError
from jinavec_adapters.server.auth import ApiKeys, sent_keys
from jinavec_adapters.server.embedding import Embedding, decode, refusal
from jinavec_adapters.server.metrics import Metrics
from jinavec_adapters.server.protocols import Protocol, dialect
from jinavec_adapters.server.settings import ServerSettings

T = TypeVar("T")
log = logging.getLogger("jinavec.server")

_JSON = ("application/json", "application/x-www-form-urlencoded")
"""Kinds of JSON bodies; the second is what curl says of any body."""
CLIENT_LEFT = 499
"""The status that logs show where nobody was there to read one (nginx's)."""


@dataclass
class Handler:
    """Handles requests: key, limits, body; and turns whatever goes wrong into the protocol's own error."""

    settings: ServerSettings
    keys: ApiKeys
    embedding: Embedding
    metrics: Metrics
    _requests: int = field(default=0, init=False)
    _held: int = field(default=0, init=False)

    async def handle(self, request: Request, protocol: Protocol, bound: Role | None) -> Response:
        """Answer one request."""
        body = bytearray()
        try:
            with self._admitted(body):
                async with asyncio.timeout(self.settings.timeout):
                    if not protocol.key_in_body:
                        self.keys.check(sent_keys(request.headers))
                    _check_headers(request.headers)
                    await self._read(request, body)
                    content = bytes(body)
                    protocol = dialect(protocol, content)
                    return await self._answer(request, protocol, bound, content)
        except (ClientDisconnect, _ClientLeft):
            self.metrics.left.inc()
            return Response(status_code=CLIENT_LEFT)
        except _ClientDawdles:
            seconds = f"{self.settings.receive_timeout:g} seconds"
            response = error_response(protocol, WireError(Reason.INVALID, f"the body did not come within {seconds}"))
            response.headers["Connection"] = "close"
            return response
        except TimeoutError:
            error = WireError(Reason.UNAVAILABLE, f"no answer within {self.settings.timeout:g} seconds", retry_after=5)
        except Exception as raised:
            error = refusal(raised)
            if error.reason in (Reason.INTERNAL, Reason.UNAVAILABLE):
                _log_failure(raised)
        return error_response(protocol, error)

    async def _answer(self, request: Request, protocol: Protocol, bound: Role | None, body: bytes) -> Response:
        requests = decode(protocol, body)
        if protocol.key_in_body:
            self.keys.check([*sent_keys(request.headers), *filter(None, {one.user for one in requests})])
        note(request, protocol=protocol.name, texts=sum(len(one.texts) for one in requests))
        header = None if all(one.role for one in requests) else protocol.header_role(request.headers)
        replies = await _while_present(request, self.embedding.answer(protocol, requests, bound, header))
        return Response(protocol.codec.encode_replies(replies), media_type="application/json")

    @contextmanager
    def _admitted(self, body: bytearray) -> Generator[None]:
        if self._requests >= self.settings.max_requests:
            raise _busy("too many requests are under way")
        self._requests += 1
        self.metrics.under_way.set(self._requests)
        try:
            yield
        finally:
            self._requests -= 1
            self.metrics.under_way.set(self._requests)
            self._held -= len(body)

    async def _read(self, request: Request, body: bytearray) -> None:
        """Read the body piece by piece, and no further than the limits.

        Raises:
            WireError: it is larger, or the server holds too many others.
            _ClientDawdles: it does not come.
        """
        try:
            async with asyncio.timeout(self.settings.receive_timeout):
                async for piece in request.stream():
                    self._take(piece, body)
        except TimeoutError as error:
            raise _ClientDawdles from error

    def _take(self, piece: bytes, body: bytearray) -> None:
        if len(body) + len(piece) > self.settings.max_body:
            raise WireError(Reason.TOO_LARGE, f"the body exceeds {self.settings.max_body} bytes; send fewer texts")
        if self._held + len(piece) > self.settings.max_held:
            raise _busy("too many bytes are under way")
        body += piece
        self._held += len(piece)


def error_response(protocol: Protocol, error: WireError) -> Response:
    """Write an error as the protocol does."""
    status, body = protocol.codec.encode_error(error)
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(body, status, headers, "application/json")


def note(request: Request, **values: Any) -> None:
    """Add what the log shall say about a request."""
    request.scope.setdefault("jinavec.notes", {}).update(values)


class _ClientLeft(Exception):
    """Nobody waits for the answer any more."""


class _ClientDawdles(Exception):
    """The body of a request does not come."""


async def _while_present(request: Request, work: Awaitable[T]) -> T:
    """Return what the work gives; cancel it when the client leaves.

    Raises:
        _ClientLeft: it did.
    """
    task = asyncio.ensure_future(work)
    leaving = asyncio.create_task(_leaving(request))
    try:
        await asyncio.wait((task, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise _ClientLeft
        return task.result()
    finally:
        for one in (task, leaving):
            if not one.done():
                one.cancel()
                with suppress(asyncio.CancelledError):
                    await one


async def _leaving(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _check_headers(headers: Headers) -> None:
    """Refuse a body that says it is no plain JSON.

    Raises:
        WireError: it does.
    """
    kind = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind not in _JSON and not (kind.startswith("application/") and kind.endswith("+json")):
        raise WireError(Reason.INVALID, "the body must be JSON: send Content-Type: application/json")
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise WireError(Reason.INVALID, "a compressed body is not read here: send no Content-Encoding")


def _busy(message: str) -> WireError:
    return WireError(Reason.RATE_LIMITED, f"{message}; try again later", retry_after=1)


def _log_failure(error: Exception) -> None:
    """Log where it went wrong, but not the words, which may hold a text or a key."""
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    cause = error.__cause__
    log.error(
        "failed", extra={"error": type(error).__name__, "cause": type(cause).__name__ if cause else None, "at": frames}
    )
