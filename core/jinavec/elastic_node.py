"""A node of the official Elasticsearch client that reads no more of an answer than a limit."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from jinavec.extras import require
from jinavec.http_client import ENCODINGS, ENGINE_SECONDS, ERROR_BYTES, BodyReader

_WORDS = 1000
"""Bytes that are kept of an error longer than any."""


def bounded_node(limit: int, secrets: Sequence[str] = ()) -> type[Any]:
    """Return the class of a client's argument ``node_class``; its calls raise BodyRefused for a larger answer.

    Args:
        limit: bytes of an answer.
        secrets: what no error shows, beside the key or password.
    """
    base: Any = require("elastic_transport", "elasticsearch").Urllib3HttpNode

    class BoundedNode(base):
        def __init__(self, config: Any) -> None:
            base.__init__(self, config)
            self.pool = _BoundedPool(self.pool, limit, secrets)

    return BoundedNode


class _BoundedPool:
    """What the node asks of urllib3's pool of connections."""

    def __init__(self, pool: Any, limit: int, secrets: Sequence[str]) -> None:
        self._pool = pool
        self._limit = limit
        self._secrets = secrets

    def urlopen(self, *target: Any, headers: Any, **how: Any) -> SimpleNamespace:
        headers["accept-encoding"] = ENCODINGS
        response = self._pool.urlopen(*target, headers=headers, preload_content=False, decode_content=False, **how)
        try:
            body = _Body(response.status, response.headers, self._limit)
            for piece in response.stream(1 << 16, decode_content=False):
                if body.feed(piece):
                    break
        except BaseException:
            response.close()
            raise
        else:
            if body.reader.is_full:
                response.close()
        finally:
            response.release_conn()
        return body.answer(_hidden(headers, self._secrets))

    def close(self) -> None:
        self._pool.close()


class _Body:
    """Reads the body of one answer, and no more of it than a limit."""

    def __init__(self, status: int, headers: Mapping[str, str], limit: int) -> None:
        self._status = status
        self._headers = {name.lower(): value for name, value in headers.items()}
        self._is_error = status >= 300
        encoding = self._headers.pop("content-encoding", None)
        limit = ERROR_BYTES if self._is_error else limit
        self.reader = BodyReader(limit, encoding, cuts=self._is_error, seconds=ENGINE_SECONDS)
        self._body = bytearray()

    def feed(self, piece: bytes) -> bool:
        """Take a piece; return whether that is enough."""
        self._body += self.reader.feed(piece)
        return self.reader.is_full

    def answer(self, secrets: Sequence[bytes]) -> SimpleNamespace:
        """Return what the node makes of the answer, without secrets that an error repeats."""
        body, headers = self._body, self._headers
        if self._is_error:
            for secret in secrets:
                body = body.replace(secret, b"***")
        if self.reader.is_full:  # an error that is cut is no JSON any more, and would lose its status with it
            body = json.dumps({"error": body[:_WORDS].decode("utf-8", "replace")}).encode()
            headers["content-type"] = "application/json"
        return SimpleNamespace(status=self._status, headers=headers, data=bytes(body))


def _hidden(headers: Mapping[str, str], secrets: Sequence[str]) -> list[bytes]:
    """Return the key, or the password, of a request, and other secrets."""
    kind, _, secret = headers.get("authorization", "").partition(" ")
    found = [secret.encode(), *(secret.encode() for secret in secrets)]
    if kind.lower() == "basic":
        found.append(base64.b64decode(secret).partition(b":")[2])
    return [secret for secret in found if secret]


def bounded_async_node(limit: int, secrets: Sequence[str] = ()) -> type[Any]:
    """Return ``bounded_node`` for asynchronous clients."""
    base: Any = require("elastic_transport", "elasticsearch").AiohttpHttpNode

    class BoundedNode(base):
        async def perform_request(self, *request: Any, **more: Any) -> Any:
            if self.session is None:
                self._create_aiohttp_session()
                self.session = _BoundedSession(self.session, limit, secrets)
            return await base.perform_request(self, *request, **more)

        def drop(self) -> None:
            """Close the connections where their event loop has ended."""
            if self.session is not None:
                self.session.drop()
                self.session = None

    return BoundedNode


class _BoundedSession:
    """What the node asks of aiohttp's session."""

    def __init__(self, session: Any, limit: int, secrets: Sequence[str]) -> None:
        self._session = session
        self._limit = limit
        self._secrets = secrets

    @asynccontextmanager
    async def request(self, *target: Any, headers: Any, **how: Any) -> AsyncGenerator[SimpleNamespace]:
        headers["accept-encoding"] = "identity"  # aiohttp itself inflates, and knows no limit
        async with self._session.request(*target, headers=headers, allow_redirects=False, **how) as response:
            shown = {name: value for name, value in response.headers.items() if name.lower() != "content-encoding"}
            body = _Body(response.status, shown, self._limit)
            async for piece in response.content.iter_chunked(1 << 16):
                if body.feed(piece):
                    break
            answer = body.answer(_hidden(headers, self._secrets))

            async def read() -> bytes:
                return answer.data

            yield SimpleNamespace(status=answer.status, headers=answer.headers, read=read, release=_nothing)

    async def close(self) -> None:
        await self._session.close()

    def drop(self) -> None:
        self._session.connector.close()
        self._session.detach()


async def _nothing() -> None:
    """Release what is read already."""
