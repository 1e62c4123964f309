"""Session: what the calls of a backend share on its loop, and the one place where requests wait and are retried."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from jinavec.backends.remote.http import Answer, Transport
from jinavec.backends.remote.options import RemoteOptions
from jinavec.backends.remote.pace import Pace
from jinavec.backends.remote.retries import FEW, TIMEOUT, Gate, is_internal, is_passing, retrying
from jinavec.backends.remote.turns import Turns
from jinavec.wire.messages import EmbedRequest, Reason, WireError


@dataclass(frozen=True)
class Session:
    """A transport, and what guards it."""

    transport: Transport
    options: RemoteOptions
    gate: Gate
    pace: Pace
    turns: Turns
    """Who sends a request of a call holds one."""
    verifying: asyncio.Lock

    async def post(
        self,
        request: EmbedRequest,
        *,
        is_new: Callable[[], bool],
        has_more: Callable[[], bool] = lambda: False,
        patience: float | None = None,
    ) -> Answer:
        """Send one request, and again where that helps.

        Args:
            request: what to send.
            is_new: whether the server has never answered.
            has_more: whether its caller has another request to send.
            patience: seconds to wait for an answer, after which the caller will split the texts; None: it cannot, and
                the same request is sent again, too.

        Raises:
            WireError: refused, or failed once too often.
        """
        tokens = sum(len(text.encode()) for text in request.texts) // 3 + len(request.texts)
        await self.gate.passing(tokens)  # waiting for one's turn does not count against the deadline
        end = self.now() + max(self.options.deadline, patience or 0)

        async def attempt() -> Answer:
            seconds = min(patience or self.options.timeout, max(0.01, end - self.now()))
            sent = self.now()
            try:
                answer = await self.transport.post(request, seconds)
            except WireError as error:
                self._learn(error, sent)
                raise
            more = has_more() or self.turns.are_waited_for
            self.pace.answered(texts=len(request.texts), work=tokens, sent=sent, now=self.now(), more=more)
            return answer

        tries = FEW if len(request.texts) == 1 else FEW - 1  # more texts can still be tried in two halves

        def passes(error: WireError) -> bool:
            nonlocal tries
            if error.code == TIMEOUT:
                return patience is None
            if is_internal(error):
                tries -= 1
                return tries > 0 and not is_new()
            return is_passing(error)

        return await retrying(
            attempt,
            deadline=self.options.deadline,
            between=lambda: self.gate.passing(tokens),
            is_new=is_new,
            passes=passes,
        )

    def now(self) -> float:
        """Return the loop's time in seconds."""
        return asyncio.get_running_loop().time()

    def _learn(self, error: WireError, sent: float) -> None:
        if error.code == TIMEOUT:
            self.pace.timed_out(sent=sent, now=self.now())
        elif is_passing(error) or is_internal(error):
            overloaded = error.reason is Reason.RATE_LIMITED or error.retry_after is not None
            self.pace.failed(sent=sent, now=self.now(), overloaded=overloaded)


@asynccontextmanager
async def open_session(
    open: Callable[[], AbstractAsyncContextManager[Transport]], options: RemoteOptions, batch: int
) -> AsyncGenerator[Session]:
    """Open a transport, and make what guards it, on the running loop; a request has ``batch`` texts at most."""
    gate = Gate(options.requests_per_minute, options.tokens_per_minute)
    pace = Pace(batch=batch, concurrency=options.concurrency, timeout=min(options.timeout, options.deadline))
    async with open() as transport:
        yield Session(transport, options, gate, pace, Turns(pace), asyncio.Lock())
