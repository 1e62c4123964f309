"""Handler: what happens to a request before and after its texts are embedded; it always ends in an answer."""

from __future__ import annotations

import asyncio
import logging
import math
import traceback
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from jinavec.tasks import Role
from jinavec.wire.messages import MODEL_HEADER, EmbedRequest, Reason, WireError
from jinavec_adapters.server.admission import Account, Pool, account_of
from jinavec_adapters.server.auth import ApiKeys, sent_keys
from jinavec_adapters.server.embedding import Embedding, decode, examine, refusal
from jinavec_adapters.server.json_scan import top_level_text
from jinavec_adapters.server.metrics import Metrics
from jinavec_adapters.server.protocols import Protocol
from jinavec_adapters.server.settings import ServerSettings

T = TypeVar("T")
log = logging.getLogger("jinavec.server")

_JSON = ("application/json", "application/x-www-form-urlencoded")
"""Kinds of JSON bodies; the second is what curl says of any body."""
CLIENT_LEFT = 499
"""The status that logs show where nobody was there to read one (nginx's)."""
SMALL = 64 * 1024
"""Bytes that are read or written in less time than a thread takes to start on them."""
VALUES = 100
"""JSON values that a text may come with, all that surrounds it included."""
VALUE = 4
"""Bytes of a body for each of its JSON values, at least, where any number of texts is taken; they take more."""
NUMBER = 16
"""Bytes that a number of an answer takes at most, as text or as float32."""


class Handler:
    """Handles requests: key, limits, body; and turns whatever goes wrong into the protocol's own error."""

    def __init__(self, settings: ServerSettings, keys: ApiKeys, embedding: Embedding, metrics: Metrics) -> None:
        self._settings = settings
        self._keys = keys
        self._embedding = embedding
        self._metrics = metrics
        self._known = Pool(settings.max_requests, settings.max_held)
        self._strangers = Pool(max(1, settings.max_requests // 4), settings.max_body)
        """Requests whose key is still in their body: all together, they hold no more than one body."""
        self._thread = ThreadPoolExecutor(1, "codec")

    def close(self) -> None:
        """Release the thread. Idempotent."""
        self._thread.shutdown()

    async def handle(self, request: Request, protocol: Protocol, bound: Role | None) -> Response:
        """Answer one request."""
        try:
            async with asyncio.timeout(self._settings.timeout):
                body = await self._body(request, protocol)
                most = VALUES * self._settings.max_inputs
                if not protocol.texts_bounded:
                    most = max(most, len(body) // VALUE)
                protocol, repeated = await self._off_loop(len(body), partial(examine, protocol, body, most))
                requests = await self._off_loop(len(body), partial(decode, protocol, body, repeated))
                del body
                return await self._answer(request, protocol, bound, requests)
        except (ClientDisconnect, _ClientLeft):
            self._metrics.left.inc()
            return Response(status_code=CLIENT_LEFT)
        except _ClientDawdles:
            seconds = f"{self._settings.receive_timeout:g} seconds"
            response = error_response(protocol, WireError(Reason.INVALID, f"the body did not come within {seconds}"))
            response.headers["Connection"] = "close"
            return response
        except TimeoutError:
            error = WireError(Reason.UNAVAILABLE, f"no answer within {self._settings.timeout:g} seconds", retry_after=5)
        except Exception as raised:
            error = refusal(raised)
            if error.reason in (Reason.INTERNAL, Reason.UNAVAILABLE):
                _log_failure(raised)
        try:
            return error_response(protocol, error)
        finally:
            del error  # its traceback holds this frame, and the body

    async def _body(self, request: Request, protocol: Protocol) -> bytes:
        """Return the body of whoever has a key. An ``Authorization`` decides alone, and before the body is read.

        Raises:
            WireError: no key that is ours, a body that is no JSON or too large, or a server that is full.
        """
        account, sent = account_of(request.scope), sent_keys(request.headers)
        if not protocol.key_field or "authorization" in request.headers:
            self._keys.check(sent)
        known = self._keys.know(sent)
        account.enter(self._known if known else self._strangers)
        _check_headers(request.headers)
        body = await self._read(request, account)
        if not known:
            token = await self._off_loop(len(body), partial(top_level_text, body, protocol.key_field))
            self._keys.check([*sent, token] if token else sent)
            account.enter(self._known)
        return body

    async def _read(self, request: Request, account: Account) -> bytes:
        """Read the body piece by piece, and no further than the limits.

        Raises:
            WireError: it is larger, or the server holds too many others.
            _ClientDawdles: it does not come.
        """
        body, most = bytearray(), self._settings.max_body
        try:
            async with asyncio.timeout(self._settings.receive_timeout):
                async for piece in request.stream():
                    if len(body) + len(piece) > most:
                        raise WireError(Reason.TOO_LARGE, f"the body exceeds {most} bytes; send fewer texts")
                    account.hold(len(piece))
                    body += piece
        except TimeoutError as error:
            raise _ClientDawdles from error
        return bytes(body)

    async def _answer(
        self, request: Request, protocol: Protocol, bound: Role | None, requests: Sequence[EmbedRequest]
    ) -> Response:
        note(request, protocol=protocol.name, texts=sum(len(one.texts) for one in requests))
        header = None if all(one.role for one in requests) else protocol.header_role(request.headers)
        resolved = self._embedding.resolve(protocol, requests, bound, header)
        room = NUMBER * sum(key.dimension for one in resolved for key, _ in one.texts)
        account = account_of(request.scope)
        account.hold(room)
        replies = await _while_present(request, self._embedding.embed(requests, resolved))
        content = await self._off_loop(room, partial(protocol.codec.encode_replies, replies))
        account.hold(len(content) - room)
        names = {one.served.name for one in resolved}
        headers = {MODEL_HEADER: names.pop()} if len(names) == 1 else None
        return Response(content, headers=headers, media_type="application/json")

    async def _off_loop(self, size: int, work: Callable[[], T]) -> T:
        """Return what work on so many bytes gives, without blocking the event loop where they are many."""
        if size <= SMALL:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


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


def _log_failure(error: Exception) -> None:
    """Log where it went wrong, but not the words, which may hold a text or a key."""
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    cause = error.__cause__
    log.error(
        "failed", extra={"error": type(error).__name__, "cause": type(cause).__name__ if cause else None, "at": frames}
    )
