"""Calls: what is asked of the server, apart from how it is sent; by one client or the other, and again where it pays.

Whatever takes several requests is written once, as a generator: it yields calls and is sent their answers. ``drive``
runs it over the synchronous client, ``adrive`` over the asynchronous one.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import Any, TypeVar

from jinavec.extras import require
from jinavec.log import timed
from jinavec_integrations.elasticsearch.errors import reported

FIRST_WAIT, _LONGEST_WAIT = 0.5, 15.0
"""Seconds before something is sent again for the first time, and at most."""
_PASSING = (408, 429, 502, 503, 504)
"""Statuses that time mends."""


@dataclass(frozen=True)
class Call:
    """One request, by the name of the client's method."""

    method: str
    """Such as ``indices.refresh``."""
    arguments: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Of the client, for this request."""

    def on(self, client: Any) -> Any:
        """Send it with a client; an asynchronous one returns an awaitable."""
        return reduce(getattr, self.method.split("."), client.options(**self.options))(**self.arguments)

    def timed(self) -> AbstractContextManager[None]:
        """Log the call and how long it takes."""
        return timed("Elasticsearch: %s", self.method)


@dataclass(frozen=True)
class Wait:
    """A pause before the next request."""

    seconds: float


Result = TypeVar("Result")
Steps = Generator[Call | Wait, Any, Result]


def call(method: str, **arguments: Any) -> Steps[Any]:
    """Send one request and return its answer."""
    return (yield Call(method, arguments))


class Patience:
    """How long to try again: from the first failure on, with longer and longer pauses."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end: float | None = None
        self._wait = FIRST_WAIT

    def next_wait(self) -> float | None:
        """Return the pause before the next try; None where the time is up."""
        now = time.monotonic()
        self._end = now + self._seconds if self._end is None else self._end
        pause = self._wait * random.uniform(0.5, 1)
        self._wait = min(2 * self._wait, _LONGEST_WAIT)
        return pause if now + pause <= self._end else None


def is_passing(status: int) -> bool:
    """Return whether a request, or one of its items, may succeed a little later."""
    return status in _PASSING


def patient(steps: Steps[Result], seconds: float) -> Steps[Result]:
    """Take the same steps, but send again what fails for a reason that time mends.

    Those are an overloaded or unavailable server, and one that cannot be reached, such as while it is restarted.
    """
    move: Callable[[], Call | Wait] = partial(next, steps)
    while True:
        try:
            asked = move()
        except StopIteration as end:
            return end.value
        try:
            answer = yield from _tries(asked, seconds)
        except Exception as error:
            move = partial(steps.throw, error)
        except BaseException:
            steps.close()
            raise
        else:
            move = partial(steps.send, answer)


def _tries(asked: Call | Wait, seconds: float) -> Steps[Any]:
    if isinstance(asked, Wait):
        return (yield asked)
    library = require("elasticsearch", "elasticsearch")
    patience = Patience(seconds)
    while True:
        try:
            return (yield Call(asked.method, asked.arguments, {"max_retries": 0, **asked.options}))
        except library.ApiError as error:
            if not is_passing(error.meta.status) or (pause := patience.next_wait()) is None:
                raise
        except (library.ConnectionError, library.ConnectionTimeout) as error:
            if isinstance(error, library.SSLError) or (pause := patience.next_wait()) is None:
                raise
        yield Wait(pause)


def drive(send: Callable[[Call], Any], steps: Steps[Result], where: str) -> Result:
    """Take steps in this thread.

    Args:
        send: sends a call and returns its answer.
        steps: what is to be done.
        where: index and server, for messages.

    Raises:
        EngineError: whatever the client raised, and the steps did not handle.
    """
    with reported(where):
        move: Callable[[], Call | Wait] = partial(next, steps)
        while True:
            try:
                asked = move()
            except StopIteration as end:
                return end.value
            try:
                answer = time.sleep(asked.seconds) if isinstance(asked, Wait) else send(asked)
            except Exception as error:
                move = partial(steps.throw, error)
            else:
                move = partial(steps.send, answer)


def sender(client: Any) -> Callable[[Call], Any]:
    """Return what sends calls over a synchronous client."""

    def send(asked: Call) -> Any:
        with asked.timed():
            return asked.on(client)

    return send


def bridge(client: Any, loop: asyncio.AbstractEventLoop) -> Callable[[Call], Any]:
    """Return what sends calls from worker threads over an asynchronous client, in its event loop."""

    async def answer(asked: Call) -> Any:
        with asked.timed():
            return await asked.on(client)

    return lambda asked: asyncio.run_coroutine_threadsafe(answer(asked), loop).result()


async def adrive(client: Any, steps: Steps[Result], where: str) -> Result:
    """Take steps over an asynchronous client; what is computed between requests, a worker thread computes."""
    with reported(where):
        move: Callable[[], Call | Wait] = partial(next, steps)
        while True:
            asked = await asyncio.to_thread(_moved, move)
            if isinstance(asked, _End):
                return asked.value
            try:
                if isinstance(asked, Wait):
                    answer = await asyncio.sleep(asked.seconds)
                else:
                    with asked.timed():
                        answer = await asked.on(client)
            except Exception as error:
                move = partial(steps.throw, error)
            else:
                move = partial(steps.send, answer)


@dataclass(frozen=True)
class _End:
    value: Any


def _moved(move: Callable[[], Call | Wait]) -> Call | Wait | _End:
    try:
        return move()
    except StopIteration as end:  # which no future can hold
        return _End(end.value)
