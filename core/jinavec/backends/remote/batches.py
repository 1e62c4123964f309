"""Batches: the texts of one call, in requests side by side; a batch that is too large is sent in two halves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import numpy as np

from jinavec.backends.base import Report
from jinavec.wire.messages import EmbedReply, Reason, WireError

Send = Callable[[Sequence[str]], Awaitable[EmbedReply]]
"""Embeds texts by one request."""


class CallbackFailed(Exception):
    """Takes what a callback of the caller's raised, KeyboardInterrupt too, off the loop unharmed."""

    def __init__(self, original: BaseException) -> None:
        super().__init__()
        self.original = original


class Batches:
    """The texts of one call, and their vectors as they arrive."""

    def __init__(self, texts: Sequence[str], width: int, report: Report) -> None:
        self.texts = texts
        self.vectors = np.empty((len(texts), width), np.float32)
        self.done = 0
        """Texts whose vectors have arrived."""
        self._report = report

    async def embed(self, send: Send, *, size: int, concurrency: int) -> None:
        """Embed batches of some size, so many at once; the first failure stops the others."""
        count = len(self.texts)
        batches = [range(start, min(start + size, count)) for start in range(0, count, size)]
        waiting = iter(batches)

        async def work() -> None:
            for rows in waiting:
                await self._embed(send, rows)

        workers = [asyncio.create_task(work()) for _ in range(min(concurrency, len(batches)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _embed(self, send: Send, rows: range) -> None:
        try:
            reply = await send(self.texts[rows.start : rows.stop])
        except WireError as error:
            if error.reason is not Reason.TOO_LARGE or len(rows) == 1:
                raise
            half = len(rows) // 2
            await self._embed(send, rows[:half])
            await self._embed(send, rows[half:])
            return
        self.vectors[rows.start : rows.stop] = reply.floats
        self.done += len(rows)
        try:
            self._report.finished(len(rows))
        except BaseException as error:
            raise CallbackFailed(error) from error
