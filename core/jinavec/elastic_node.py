"""A node of the official Elasticsearch client that reads no more of an answer than a limit."""

from __future__ import annotations

import base64
import json
from types import SimpleNamespace
from typing import Any

from jinavec.extras import require
from jinavec.http_client import ENCODINGS, ENGINE_SECONDS, ERROR_BYTES, BodyReader

_WORDS = 1000
"""Bytes that are kept of an error longer than any."""


def bounded_node(limit: int) -> type[Any]:
    """Return the class of a client's argument ``node_class``; its calls raise BodyRefused for a larger answer."""
    base: Any = require("elastic_transport", "elasticsearch").Urllib3HttpNode

    class BoundedNode(base):
        def __init__(self, config: Any) -> None:
            base.__init__(self, config)
            self.pool = _BoundedPool(self.pool, limit)

    return BoundedNode


class _BoundedPool:
    """What the node asks of urllib3's pool of connections."""

    def __init__(self, pool: Any, limit: int) -> None:
        self._pool = pool
        self._limit = limit

    def urlopen(self, *target: Any, headers: Any, **how: Any) -> SimpleNamespace:
        headers["accept-encoding"] = ENCODINGS
        response = self._pool.urlopen(*target, headers=headers, preload_content=False, decode_content=False, **how)
        is_error = response.status >= 300
        body = bytearray()
        try:
            limit = ERROR_BYTES if is_error else self._limit
            encoding = response.headers.get("content-encoding")
            reader = BodyReader(limit, encoding, cuts=is_error, seconds=ENGINE_SECONDS)
            for piece in response.stream(1 << 16, decode_content=False):
                body += reader.feed(piece)
                if reader.is_full:
                    break
        except BaseException:
            response.close()
            raise
        else:
            if reader.is_full:
                response.close()
        finally:
            response.release_conn()
        answered = {name.lower(): value for name, value in response.headers.items()}
        answered.pop("content-encoding", None)
        if is_error:
            body = _without_secrets(body, headers.get("authorization", ""))
        if reader.is_full:  # an error that is cut is no JSON any more, and would lose its status with it
            body = json.dumps({"error": body[:_WORDS].decode("utf-8", "replace")}).encode()
            answered["content-type"] = "application/json"
        return SimpleNamespace(status=response.status, headers=answered, data=bytes(body))

    def close(self) -> None:
        self._pool.close()


def _without_secrets(body: bytearray, authorization: str) -> bytearray:
    """Hide the key, or the password, from an error that repeats it."""
    kind, _, secret = authorization.partition(" ")
    secrets = [secret.encode()]
    if kind.lower() == "basic":
        secrets.append(base64.b64decode(secret).partition(b":")[2])
    for hidden in filter(None, secrets):
        body = body.replace(hidden, b"***")
    return body
