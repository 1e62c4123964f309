"""The pace of a server: how many requests at once, of how many texts, against simulated servers without a clock."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jinavec.backends.remote.pace import Pace

BATCH, CONCURRENCY, TIMEOUT = 32, 16, 60.0


def simulate(pace: Pace, seconds: Callable[[int, float], float], *, in_order: bool, requests: int) -> float:
    """Send requests as the pace says; return the texts a second.

    Args:
        pace: what decides.
        seconds: how long the server works on so many texts at a time.
        in_order: whether it works on one request after the other.
        requests: how many.
    """
    now = free = 0.0
    under_way: list[tuple[float, int, int, float]] = []
    left, texts, number = requests, 0, count()
    while left or under_way:
        while left and len(under_way) < pace.width:
            left -= 1
            start = max(now, free) if in_order else now
            free = start + seconds(pace.batch, now)
            heapq.heappush(under_way, (free, next(number), pace.batch, now))
        now, _, size, sent = heapq.heappop(under_way)
        if now - sent > TIMEOUT:
            pace.timed_out(sent=sent, now=now)
        else:
            texts += size
            pace.answered(texts=size, work=size, sent=sent, now=now, more=left > 0)
        assert 1 <= pace.width <= CONCURRENCY
        assert 1 <= pace.batch <= BATCH
    return texts / now


def new() -> Pace:
    return Pace(batch=BATCH, concurrency=CONCURRENCY, timeout=TIMEOUT)


@pytest.mark.parametrize("rate", [0.5, 3, 30, 3000])
def test_a_server_that_works_in_order_gets_no_long_queue(rate: float) -> None:
    pace = new()
    assert simulate(pace, lambda texts, _: texts / rate, in_order=True, requests=100) > 0.9 * rate
    assert pace.width * pace.batch / rate <= max(0.75 * TIMEOUT, 4 * BATCH / rate)
    assert pace.width <= 8


@pytest.mark.parametrize("rate", [3, 30, 3000])
def test_a_server_that_works_side_by_side_gets_all_it_may(rate: float) -> None:
    pace = new()
    assert simulate(pace, lambda texts, _: texts / rate, in_order=False, requests=600) > 0.9 * CONCURRENCY * rate
    assert (pace.width, pace.batch) == (CONCURRENCY, BATCH)


def test_a_slow_server_that_works_side_by_side_gets_small_requests_many_at_once() -> None:
    pace = new()
    simulate(pace, lambda texts, _: texts / 0.5, in_order=False, requests=200)
    assert pace.width == CONCURRENCY
    assert pace.batch / 0.5 <= TIMEOUT / 2


def test_what_slows_down_gets_less_and_what_recovers_more() -> None:
    pace = new()
    simulate(pace, lambda texts, now: texts / (3000 if not 2 < now < 400 else 1), in_order=False, requests=2000)
    assert (pace.width, pace.batch) == (CONCURRENCY, BATCH)


@pytest.mark.parametrize("overloaded", [False, True])
def test_a_failure_begins_with_one_request_and_counts_once(overloaded: bool) -> None:
    pace = new()
    simulate(pace, lambda texts, _: texts / 3000, in_order=False, requests=100)
    for _ in range(CONCURRENCY):  # all that were under way
        pace.failed(sent=50.0, now=51.0, overloaded=overloaded)
    assert (pace.width, pace.batch) == (1, BATCH)
    pace.answered(texts=BATCH, work=BATCH, sent=51.0, now=51.1, more=True)
    assert pace.width > 1


def test_a_timeout_halves_both_and_counts_once() -> None:
    pace = new()
    simulate(pace, lambda texts, _: texts / 3000, in_order=False, requests=100)
    for _ in range(CONCURRENCY):
        pace.timed_out(sent=50.0, now=110.0)
    assert (pace.width, pace.batch, pace.is_stalled) == (1, BATCH // 2, True)
    for number in range(8):
        pace.answered(texts=16, work=16, sent=110.0 + number, now=115.0 + number, more=True)
        assert pace.width <= CONCURRENCY // 2
    assert not pace.is_stalled


def test_requests_one_by_one_tell_nothing_about_more_at_once() -> None:
    pace = new()
    for number in range(100):
        pace.answered(texts=1, work=1, sent=number, now=number + 0.1, more=False)
    assert (pace.width, pace.batch) == (1, BATCH)


events = st.tuples(
    st.sampled_from(["answered", "timed_out", "failed"]), st.floats(0, 70), st.floats(0, 70), st.integers(1, 32)
)


@given(st.lists(events, max_size=60), st.integers(1, 64), st.integers(1, 32), st.booleans())
def test_whatever_happens_the_bounds_hold(
    happens: list[tuple[str, float, float, int]], batch: int, concurrency: int, flag: bool
) -> None:
    pace, now = Pace(batch=batch, concurrency=concurrency, timeout=TIMEOUT), 0.0
    for what, passed, took, texts in happens:
        now += passed
        if what == "answered":
            pace.answered(texts=texts, work=texts, sent=now - took, now=now, more=flag)
        elif what == "timed_out":
            pace.timed_out(sent=now - took, now=now)
        else:
            pace.failed(sent=now - took, now=now, overloaded=flag)
        assert 1 <= pace.width <= concurrency
        assert 1 <= pace.batch <= batch
