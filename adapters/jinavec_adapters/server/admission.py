"""Admission: what requests may hold of the server, each until the last piece of its answer has been sent."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jinavec.wire.messages import Reason, WireError
from jinavec_adapters.server.metrics import Metrics

PIECE = 64 * 1024
"""Bytes of an answer that are written at once; the next ones wait until the client has taken these."""
_ACCOUNT = "jinavec.account"


@dataclass
class Pool:
    """The requests of one kind, and what they hold together."""

    most: int
    """Requests at once."""
    largest: int
    """Bytes at once."""
    requests: int = field(default=0, init=False)
    held: int = field(default=0, init=False)


class Account:
    """What one request holds, and of which pool."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._pool: Pool | None = None
        self._held = 0

    def enter(self, pool: Pool) -> None:
        """Count in a pool, instead of in the one before.

        Raises:
            WireError: it has too many requests, or has no room for what this one holds.
        """
        if pool is self._pool:
            return
        if pool.requests >= pool.most:
            raise _busy("too many requests are under way")
        held = self._held
        self.leave()
        self._pool = pool
        pool.requests += 1
        self._metrics.under_way.inc()
        self.hold(held)

    def hold(self, size: int) -> None:
        """Count as many bytes more, or fewer.

        Raises:
            WireError: this request alone, or together with the others, holds too much.
        """
        pool = self._pool
        assert pool is not None
        if size > 0 and self._held + size > pool.largest:
            raise WireError(
                Reason.TOO_LARGE,
                f"request and answer take {self._held + size} bytes, of {pool.largest} at most; send fewer texts",
            )
        if size > 0 and pool.held + size > pool.largest:
            raise _busy("too many bytes are under way")
        pool.held += size
        self._held += size

    def leave(self) -> None:
        """Hold nothing any more. Idempotent."""
        if self._pool is not None:
            self._pool.requests -= 1
            self._pool.held -= self._held
            self._metrics.under_way.dec()
        self._pool, self._held = None, 0


def account_of(scope: Scope) -> Account:
    """Return the account of a request."""
    return scope[_ACCOUNT]


class Admission:
    """ASGI middleware: opens an account for each request, sends its answer piece by piece, then closes the account."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""

        async def send_pieces(message: Message) -> None:
            body: bytes = message.get("body", b"")
            for start in range(0, len(body) - PIECE, PIECE):
                await send({**message, "body": body[start : start + PIECE], "more_body": True})
            if len(body) > PIECE:
                message = {**message, "body": body[(len(body) - 1) // PIECE * PIECE :]}
            await send(message)

        account = scope[_ACCOUNT] = Account(self._metrics)
        try:
            await self._app(scope, receive, send_pieces)
        finally:
            account.leave()


def _busy(message: str) -> WireError:
    return WireError(Reason.RATE_LIMITED, f"{message}; try again later", retry_after=1)
