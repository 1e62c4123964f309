"""Session: what the calls of a backend share on its loop, and the one place where requests wait and are retried."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from jinavec.backends.remote.http import Answer, Transport
from jinavec.backends.remote.options import RemoteOptions
from jinavec.backends.remote.retries import Gate, retrying
from jinavec.wire.messages import EmbedRequest


@dataclass(frozen=True)
class Session:
    """A transport, and what guards it."""

    transport: Transport
    options: RemoteOptions
    gate: Gate
    slots: asyncio.Semaphore
    """One for each request under way."""
    verifying: asyncio.Lock

    async def post(self, request: EmbedRequest, *, is_new: Callable[[], bool]) -> Answer:
        """Send one request when its turn comes, and again where that helps.

        Raises:
            WireError: refused, or failed once too often.
        """
        tokens = sum(len(text.encode()) for text in request.texts) // 3 + len(request.texts)
        async with self.slots:
            await self.gate.passing(tokens)  # waiting for one's turn does not count against the deadline
            now = asyncio.get_running_loop().time
            end = now() + self.options.deadline
            return await retrying(
                lambda: self.transport.post(request, min(self.options.timeout, max(0.01, end - now()))),
                deadline=self.options.deadline,
                between=lambda: self.gate.passing(tokens),
                is_new=is_new,
            )


@asynccontextmanager
async def open_session(
    open: Callable[[], AbstractAsyncContextManager[Transport]], options: RemoteOptions
) -> AsyncGenerator[Session]:
    """Open a transport, and make what guards it, on the running loop."""
    gate = Gate(options.requests_per_minute, options.tokens_per_minute)
    async with open() as transport:
        yield Session(transport, options, gate, asyncio.Semaphore(options.concurrency), asyncio.Lock())
