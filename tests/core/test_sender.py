from __future__ import annotations

import threading
import time

import pytest

from jinavec.sender import Sender


def test_results_are_reported_in_order_in_the_callers_thread() -> None:
    seen: list[int] = []
    threads: set[threading.Thread] = set()

    def done(number: int) -> None:
        seen.append(number)
        threads.add(threading.current_thread())

    def work(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return number

    with Sender(threads=4) as sender:
        for number in range(40):
            sender.submit(lambda number=number: work(number), done)
    assert seen == list(range(40))
    assert threads == {threading.current_thread()}


def test_the_next_batch_is_made_while_one_is_sent_and_few_wait() -> None:
    gate, begun, submitted = threading.Event(), threading.Event(), list[int]()

    def work() -> None:
        begun.set()
        gate.wait(30)

    def fill() -> None:
        with Sender() as sender:
            for number in range(5):
                sender.submit(work, lambda _: None)
                submitted.append(number)

    thread = threading.Thread(target=fill)
    thread.start()
    assert begun.wait(30)
    while len(submitted) < 2:
        time.sleep(0.001)
    time.sleep(0.05)
    assert submitted == [0, 1]  # one under way, one waiting; the third is held back
    gate.set()
    thread.join(30)
    assert submitted == list(range(5))


def test_a_failure_is_told_at_once_and_drops_what_has_not_begun() -> None:
    gate, seen, begun = threading.Event(), list[str](), list[str]()

    def work(name: str) -> str:
        begun.append(name)
        if name == "bad":
            gate.wait(30)
            raise OSError("gone")
        return name

    with pytest.raises(OSError, match="gone") as raised, Sender() as sender:
        sender.submit(lambda: work("good"), seen.append)
        sender.submit(lambda: work("bad"), seen.append)
        while begun != ["good", "bad"]:
            time.sleep(0.001)
        sender.check()  # nothing has failed so far
        gate.set()
        while True:  # as a callback does while the next batch is embedded
            sender.check()
            time.sleep(0.001)
    assert seen == ["good"]
    assert not getattr(raised.value, "__notes__", [])


def test_what_was_handed_over_is_finished_when_the_caller_fails() -> None:
    seen: list[int] = []

    def slow() -> int:
        time.sleep(0.05)
        return 1

    with pytest.raises(ValueError, match="mine"), Sender() as sender:
        sender.submit(slow, seen.append)
        sender.submit(slow, seen.append)
        raise ValueError("mine")
    assert seen == [1, 1]


def test_of_two_failures_neither_is_lost() -> None:
    def fails() -> None:
        time.sleep(0.05)
        raise OSError("theirs")

    with pytest.raises(ValueError, match="mine") as raised, Sender() as sender:
        sender.submit(fails, lambda _: None)
        raise ValueError("mine")
    assert "theirs" in raised.value.__notes__[0]
    with pytest.raises(OSError, match="theirs"), Sender() as sender:
        sender.submit(fails, lambda _: None)
