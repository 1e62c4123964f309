"""When another try makes sense, how long to wait before it, and how fast requests may follow each other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from jinavec.errors import InvalidInput
from jinavec.extras import require
from jinavec.wire.messages import Reason, WireError

T = TypeVar("T")
AGAIN = (Reason.RATE_LIMITED, Reason.UNAVAILABLE, Reason.BUSY)
"""429; 502, 503, 504, no connection, no answer in time; 409. No other 4xx."""
TIMEOUT = "timeout"
"""The code of an answer that did not come in time."""
FIRST, LONGEST = 0.25, 20.0
"""Seconds: the first wait is random up to the one, and doubles up to the other."""
FEW = 3
"""Tries that end in a fault which may well be permanent: nobody there on first contact, an answer that is no JSON, a
server that was well before and failed by itself (500)."""


def read_retry_after(value: str | None) -> float | None:
    """Read a ``Retry-After`` header, in seconds or as a date; None where there is none that can be read."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError):
            return None
    return max(0.0, seconds) if seconds == seconds else None


async def retrying(
    attempt: Callable[[], Awaitable[T]],
    *,
    deadline: float,
    between: Callable[[], Awaitable[None]],
    is_new: Callable[[], bool],
    passes: Callable[[WireError], bool],
) -> T:
    """Await an attempt until it succeeds, fails for good, or the next would start after the deadline.

    Args:
        attempt: raises WireError when it fails.
        deadline: seconds from now.
        between: awaited before each further attempt.
        is_new: whether the server has never answered, so that no connection may mean that nobody is there.
        passes: whether an error may pass.
    """
    tenacity = require("tenacity", "remote")
    jitter = tenacity.wait_random_exponential(multiplier=FIRST, max=LONGEST)

    def wait(state: Any) -> float:
        """Wait as long as the server says, and a random while longer, so that not all come back at once."""
        return (state.outcome.exception().retry_after or 0.0) + jitter(state)

    doubtful = 0

    def is_last(state: Any) -> bool:
        nonlocal doubtful
        error = state.outcome.exception()
        doubtful += error.code == "not_json" or (error.code == "no_connection" and is_new())
        return doubtful >= FEW

    def may_pass(error: BaseException) -> bool:
        return isinstance(error, WireError) and passes(error)

    async def before_sleep(_: Any) -> None:
        await between()

    async def once() -> T:  # the library looks whether it is given a coroutine function
        return await attempt()

    tries = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(may_pass),
        wait=wait,
        stop=tenacity.stop_any(tenacity.stop_before_delay(deadline), is_last),
        before_sleep=before_sleep,
        sleep=asyncio.sleep,
        reraise=True,
    )
    return await tries(once)


def is_passing(error: WireError) -> bool:
    """Return whether the same request may succeed later, whatever its texts are."""
    return error.reason in AGAIN or error.code == "not_json"


def is_internal(error: WireError) -> bool:
    """Return whether a server failed by itself; 501 says that it always will."""
    return error.reason is Reason.INTERNAL and error.status != 501


class Gate:
    """Lets so many requests, and so many tokens, through a minute; made on the loop that uses it.

    Requests are spaced over the minute, since servers count in shorter windows too.
    """

    def __init__(self, requests_per_minute: float | None, tokens_per_minute: float | None) -> None:
        self._requests = _limiter(requests_per_minute, 1)
        self._tokens = _limiter(tokens_per_minute, 10)

    async def passing(self, tokens: int) -> None:
        """Wait until one request of so many tokens may be sent."""
        if self._requests is not None:
            await self._requests.acquire()
        while self._tokens is not None and tokens > 0:
            part = min(tokens, self._tokens.max_rate)
            await self._tokens.acquire(part)
            tokens -= part


def _limiter(per_minute: float | None, seconds: float) -> Any:
    """Return a leaky bucket that holds what is due in some seconds, and one at least."""
    if per_minute is None:
        return None
    if per_minute <= 0:
        raise InvalidInput(f"a limit per minute must be more than 0, not {per_minute}")
    held = max(1.0, per_minute / 60 * seconds)
    return require("aiolimiter", "remote").AsyncLimiter(held, 60 * held / per_minute)
