"""What belongs to this process alone: its processor cores, and values that do not survive a fork."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


def cores() -> int:
    """Return how many processor cores this process may use, which may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class PerProcess(Generic[T]):
    """A value that each process makes for itself at first use.

    Threads, locks and connections of a process are useless in one that was forked from it.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = Lock()
        self._held: tuple[int, T] | None = None

    def get(self) -> T:
        """Return the value of this process; it is made once, whatever the number of threads that ask."""
        held = self._held
        if held is None or held[0] != os.getpid():
            with self._lock:
                held = self._held  # another thread may have made it meanwhile
                if held is None or held[0] != os.getpid():
                    held = self._held = os.getpid(), self._make()
        return held[1]

    def take(self) -> T | None:
        """Return the value of this process, and forget it; None where this process made none."""
        with self._lock:
            held, self._held = self._held, None
        return held[1] if held is not None and held[0] == os.getpid() else None
