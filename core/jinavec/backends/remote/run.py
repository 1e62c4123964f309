"""Call: one call of a remote backend, its batches side by side on the loop; Session: what they share there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jinavec.backends.base import Report
from jinavec.backends.remote.http import Answer, Transport
from jinavec.backends.remote.retries import Gate, retrying
from jinavec.backends.remote.self_test import verify
from jinavec.errors import warn
from jinavec.tasks import Role, Task
from jinavec.vectors import Float32
from jinavec.wire.messages import EmbedReply, EmbedRequest, Reason, WireError

if TYPE_CHECKING:
    from jinavec.backends.remote.protocols import RemoteBackend, RemoteOptions


@dataclass(frozen=True)
class Session:
    """What the calls of a backend share on its loop."""

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


class Carried(Exception):
    """Takes what a callback of the caller's raised, KeyboardInterrupt too, off the loop unharmed."""

    def __init__(self, original: BaseException) -> None:
        super().__init__()
        self.original = original


class Call:
    """One call of embed: its texts, its vectors, and what is to be said at its end."""

    def __init__(self, backend: RemoteBackend, texts: Sequence[str], task: Task, role: Role, report: Report) -> None:
        self.backend = backend
        self.texts = texts
        self.task = task
        self.role = role
        self.report = report
        self.done = 0
        self._vectors = np.empty((len(texts), backend.narrowed or backend.profile.width), np.float32)
        self._notes: list[str] = []
        self._ask = backend.ask(task, role)

    async def run(self, session: Session) -> None:
        """Embed the batches, so many at once; the first failure stops the others."""
        if not self.backend.verified:
            async with session.verifying:
                if not self.backend.verified:
                    await verify(self, session)
                    self.backend.verified = True
        size = self.backend.options.batch or self.backend.traits.batch
        batches = [range(start, min(start + size, len(self.texts))) for start in range(0, len(self.texts), size)]
        waiting = iter(batches)

        async def work() -> None:
            for rows in waiting:
                await self._embed(session, rows)

        workers = [asyncio.create_task(work()) for _ in range(min(self.backend.options.concurrency, len(batches)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def send(self, session: Session, texts: Sequence[str], ask: dict[str, Any] | None = None) -> EmbedReply:
        """Embed texts by one request.

        Raises:
            WireError: refused, or failed once too often.
            ModelError: another model answered.
        """
        request = self.backend.request(texts, self._ask if ask is None else ask, self.report.overflow)
        answer = await session.post(request, is_new=lambda: not self.backend.known)
        self.backend.check(answer, self.task, self._notes)
        return answer.reply

    def finish(self) -> Float32:
        """Say what is to be said, in the caller's thread, and return the vectors."""
        for note in self._notes:
            warn(note)
        return self._vectors

    async def _embed(self, session: Session, rows: range) -> None:
        """Embed some rows; a batch that is too large in two halves."""
        try:
            reply = await self.send(session, self.texts[rows.start : rows.stop])
        except WireError as error:
            if error.reason is not Reason.TOO_LARGE or len(rows) == 1:
                raise
            half = len(rows) // 2
            await self._embed(session, rows[:half])
            await self._embed(session, rows[half:])
            return
        self._vectors[rows.start : rows.stop] = reply.floats
        self.done += len(rows)
        try:
            self.report.finished(len(rows))
        except BaseException as error:
            raise Carried(error) from error
