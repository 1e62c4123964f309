"""Servers of every pace, at a socket: all texts are embedded, none is sent more than three times.

The slow ones are sixty times as fast as they are called, and so is the client's clock: its timeout is one second in
place of sixty, its deadline three seconds in place of 180.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest
from tests.support.model_checks import agree
from tests.support.paced_server import WIDTH, PacedServer
from tests.support.remote_encoders import load
from tests.support.scripted_server import Asked, Reply, ScriptedServer, hash_vector

from jinavec import Encoder
from jinavec.errors import ServerError

pytest.importorskip("httpx2")

SCALE = 60
SCALED = {"timeout": 60 / SCALE, "deadline": 180 / SCALE}
ORDERS = pytest.mark.parametrize("in_order", [True, False], ids=["in order", "side by side"])


def check(server: PacedServer, texts: int, **options: Any) -> None:
    given = [f"text {number}" for number in range(texts)]
    with server, load_narrow(server, **options) as encoder:
        vectors = encoder.encode_documents(given)
    agree(vectors, np.stack([hash_vector(f"Document: {text}", WIDTH) for text in given]))
    assert set(server.sends) == set(given)
    assert max(server.sends.values()) <= 3


def load_narrow(server: ScriptedServer, **options: Any) -> Encoder:
    return load(server, dimension=WIDTH, options={"narrow": "server", **options})


@pytest.mark.slow
@ORDERS
@pytest.mark.parametrize(("rate", "texts"), [(0.5, 100), (3, 960)])
def test_slow(rate: float, texts: int, in_order: bool) -> None:
    check(PacedServer(rate * SCALE, in_order=in_order), texts, **SCALED)


@ORDERS
@pytest.mark.parametrize("rate", [30 * SCALE, 3000])
def test_fast(rate: float, in_order: bool) -> None:
    server = PacedServer(rate, in_order=in_order)
    check(server, 2000)
    assert max(server.sends.values()) == 1


@ORDERS
@pytest.mark.parametrize("slow", [1, 3])
def test_what_slows_down(slow: float, in_order: bool) -> None:
    check(
        PacedServer(lambda done: (30 if done < 300 else slow) * SCALE, in_order=in_order),
        300 + int(20 * slow),
        **SCALED,
    )


@ORDERS
@pytest.mark.parametrize("status", [500, 502, 503])
def test_what_fails_every_fifth_request(status: int, in_order: bool) -> None:
    check(PacedServer(3000, in_order=in_order, fails=status), 960)


def test_slower_than_the_timeout() -> None:
    check(PacedServer(0.5 * SCALE, in_order=True), 40, **SCALED)


def test_what_was_learned_lasts() -> None:
    """The texts of a request stay as few as they were for the next call."""
    with PacedServer(0.5 * SCALE, in_order=True) as server, load_narrow(server, **SCALED) as encoder:
        encoder.encode_documents([f"text {number}" for number in range(40)])
        first = len(server.sizes)
        encoder.encode_documents([f"other text {number}" for number in range(16)])
        assert server.sizes[0] == 32
        assert max(server.sizes[first:]) <= 16


@pytest.mark.parametrize(("concurrency", "batch"), [(1, 32), (3, 5), (16, 1)])
def test_what_the_user_says_is_the_most(concurrency: int, batch: int) -> None:
    under_way, most, lock = 0, 0, threading.Lock()

    def fault(asked: Asked, number: int) -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.01)
        with lock:
            under_way -= 1

    with ScriptedServer("jina", width=WIDTH, fault=fault) as server:
        with load_narrow(server, concurrency=concurrency, batch=batch) as encoder:
            encoder.encode_documents([f"text {number}" for number in range(200)])
    assert most <= concurrency
    assert max(len(asked.body["input"]) for asked in server.asked) <= batch


@pytest.mark.parametrize("embeds", [0, 32])
def test_a_server_that_stops_is_given_up_with_the_options_to_change(embeds: int) -> None:
    def stopped(done: int) -> float:
        return 3000 if done < embeds else 0.001

    with PacedServer(stopped, in_order=False) as server, load_narrow(server, timeout=0.3, deadline=0.9) as encoder:
        with pytest.raises(ServerError, match=r"no answer within.*timeout.*concurrency.*batch.*of 100 texts"):
            encoder.encode_documents([f"text {number}" for number in range(100)])
        assert max(server.sends.values()) <= 3


def test_while_a_server_says_when_to_come_back_nothing_is_sent() -> None:
    times: list[float] = []

    def fault(asked: Asked, number: int) -> Reply | None:
        times.append(time.monotonic())
        return Reply({"detail": "slow down"}, 429, {"Retry-After": "1"}) if number == 2 else None

    with ScriptedServer("jina", width=WIDTH, fault=fault) as server:
        with load_narrow(server, batch=1, concurrency=2) as encoder:
            encoder.encode_documents([f"text {number}" for number in range(20)])
    after = [moment - times[1] for moment in times[2:]]
    assert sum(gap < 0.9 for gap in after) <= 2  # those that were on their way
