"""Batches: the texts of one call, in requests side by side; a request that fails as a whole is sent in two halves."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import numpy as np

from jinavec.backends.base import Report
from jinavec.backends.remote.retries import TIMEOUT, is_internal
from jinavec.backends.remote.session import Session
from jinavec.errors import ServerError, TextTooLong
from jinavec.wire.messages import EmbedReply, Reason, WireError

Send = Callable[[Sequence[str], float], Awaitable[EmbedReply]]
"""Embeds texts by one request, which waits so many seconds for its answer."""
Explain = Callable[[WireError, Sequence[int]], TextTooLong | ServerError]
"""Returns a failure in our own words, given the positions of the texts to blame."""
TRIES = 3
"""How often the same text may run into a timeout; the last time it is sent alone."""
OF_TEXTS = (400, 413, 422)
"""Statuses of refusals for which one of the texts may be the reason."""


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
        self._left = deque([range(len(texts))] if texts else [])
        self._timeouts = np.zeros(len(texts), np.uint8)
        self._suspects: list[tuple[int, WireError]] = []
        self._report = report

    @property
    def has_more(self) -> bool:
        """Whether texts wait to be sent."""
        return bool(self._left)

    async def embed(self, send: Send, session: Session, *, explain: Explain, is_known: Callable[[], bool]) -> None:
        """Embed all texts, as many at once as the session's pace allows; the first failure stops the others.

        Args:
            send: embeds some of the texts.
            session: what its requests go through.
            explain: puts a failure in our own words.
            is_known: whether the server has embedded any text before.

        Raises:
            TextTooLong, ServerError: a text was refused, and the report does not take that.
            WireError: a request failed.
        """
        run = _Run(self, session, send, explain, is_known)
        try:
            await run.all()
        except BaseExceptionGroup as group:  # the first of the requests that failed
            first = group.exceptions[0]
            raise first from first.__cause__
        if self._suspects:
            raise self._suspects[0][1]

    def take(self, size: int) -> range:
        """Return the next texts, as many as may go into a request; some wait."""
        rows = self._left.popleft()
        if self._timeouts[rows.start : rows.start + size].max() >= TRIES - 1:
            size = 1
        if len(rows) > size:
            self._left.appendleft(rows[size:])
        return rows[:size]

    def put_back(self, *parts: range) -> None:
        """Take back texts that are to be sent again, each part by itself."""
        self._left.extendleft(part for part in reversed(parts) if part)

    def count_timeout(self, rows: range) -> bool:
        """Count a timeout of texts; return whether they may be sent again."""
        counts = self._timeouts[rows.start : rows.stop]
        counts += 1
        return bool(counts.max() < TRIES) or len(rows) > 1

    def store(self, rows: range, reply: EmbedReply) -> None:
        """Take the vectors of texts."""
        self.vectors[rows.start : rows.stop] = reply.floats
        self.done += len(rows)
        self._tell(len(rows))

    def suspect(self, row: int, error: WireError) -> None:
        """Note that a text was refused by itself."""
        self._suspects.append((row, error))

    def judge(self, explain: Explain, *, is_known: bool) -> None:
        """Blame the texts that were refused by themselves, once others were embedded.

        A server that refuses two texts and has embedded none may refuse all, for a reason of its own.

        Raises:
            TextTooLong, ServerError: texts are to blame, and the report does not take that.
            WireError: no text is to blame.
        """
        accepts = self.done > 0 or (is_known and len(self.texts) == 1)
        blamed = [one for one in self._suspects if accepts or one[1].reason is Reason.TEXT_TOO_LONG]
        self._suspects = [one for one in self._suspects if one not in blamed]
        for row, error in blamed:
            self.vectors[row] = 0
            self._report.refuse(explain(error, [row]))
            self._tell(1)
        if len(self._suspects) > 1:
            raise self._suspects[0][1]

    def _tell(self, texts: int) -> None:
        try:
            self._report.finished(texts)
        except BaseException as error:
            raise CallbackFailed(error) from error


class _Run:
    """One run through the texts of a call."""

    def __init__(
        self, batches: Batches, session: Session, send: Send, explain: Explain, is_known: Callable[[], bool]
    ) -> None:
        self._batches = batches
        self._session = session
        self._send = send
        self._explain = explain
        self._is_known = is_known
        self._started = session.now()
        self._under_way = 0
        self._changed = asyncio.Event()

    async def all(self) -> None:
        """Send requests as their turns come, until no text is left."""
        async with asyncio.TaskGroup() as group:
            while True:
                if self._batches.has_more:
                    await self._session.turns.take()
                    rows = self._batches.take(self._session.pace.batch)
                    self._under_way += 1
                    group.create_task(self._one(rows)).add_done_callback(self._ended)
                elif self._under_way:
                    self._changed.clear()
                    await self._changed.wait()
                else:
                    return

    def _ended(self, _: asyncio.Task[None]) -> None:
        self._session.turns.give_back()
        self._under_way -= 1
        self._changed.set()

    async def _one(self, rows: range) -> None:
        try:
            reply = await self._send(self._batches.texts[rows.start : rows.stop], self._patience())
        except WireError as error:
            self._failed(rows, error)
        else:
            self._batches.store(rows, reply)
        self._batches.judge(self._explain, is_known=self._is_known())

    def _patience(self) -> float:
        """Return how long to wait: after a timeout, until it is certain that the server does nothing at all."""
        options = self._session.options
        rest = options.deadline - self._silence() if self._session.pace.is_stalled else 0
        return max(min(options.timeout, options.deadline), rest)

    def _silence(self) -> float:
        return self._session.now() - max(self._started, self._session.pace.answered_at)

    def _failed(self, rows: range, error: WireError) -> None:
        """See what can be done about a request that failed.

        Raises:
            WireError: nothing.
        """
        if error.code == TIMEOUT:
            if self._silence() > 0.9 * self._session.options.deadline:
                raise error
            if self._batches.count_timeout(rows):
                self._batches.put_back(rows)
            else:
                self._batches.suspect(rows.start, error)
        elif error.positions:
            start = rows.start
            for position in error.positions:
                self._batches.suspect(rows[position], error)
                self._batches.put_back(range(start, rows[position]))
                start = rows[position] + 1
            self._batches.put_back(range(start, rows.stop))
        elif not _may_be_a_text(error):
            raise error
        elif len(rows) > 1:
            half = len(rows) // 2
            self._batches.put_back(rows[:half], rows[half:])
        else:
            self._batches.suspect(rows.start, error)


def _may_be_a_text(error: WireError) -> bool:
    """Return whether one of the texts may be the reason of a refusal, or their number."""
    if error.reason in (Reason.TEXT_TOO_LONG, Reason.TOO_LARGE) or error.code == "missing_vectors":
        return True
    return is_internal(error) or (error.reason is Reason.INVALID and error.status in OF_TEXTS)
