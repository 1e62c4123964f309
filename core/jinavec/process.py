"""What belongs to this process alone: its processor, its memory, and values that do not survive a fork."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

BACKGROUND = 5
"""What is added to the niceness of threads that give way. On a core with one that does not, such a thread gets a
quarter (335 to 1,024): it goes on, if slowly, where every core is busy."""


def cores() -> int:
    """Return how many processor cores this process may use, which may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


async def in_thread(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in a worker thread; asyncio is imported here, since what is not async need not load it."""
    import asyncio

    return await asyncio.to_thread(function, *args, **kwargs)


def give_way() -> None:
    """Let this thread, and those that it starts, run when others of the process leave the processor to them.

    Only Linux has priorities of threads; elsewhere nothing happens.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + BACKGROUND)


def has_amx() -> bool:
    """Return whether the processor multiplies matrices of bfloat16 in units of their own (AMX): many times as fast."""
    about = Path("/proc/cpuinfo")
    return about.exists() and " amx_bf16" in about.read_text()


def free_memory(root: Path = Path("/")) -> int | None:
    """Return how many bytes of memory this process may still take; None where the system does not tell.

    Args:
        root: where the system's files ``proc`` and ``sys`` are.
    """
    meminfo = root / "proc/meminfo"
    if not meminfo.exists():
        return None
    free = 1024 * _fields(meminfo)["MemAvailable:"]
    group = root / "sys/fs/cgroup"  # of a container
    if not (group / "memory.max").exists() or (most := (group / "memory.max").read_text().strip()) == "max":
        return free
    taken = int((group / "memory.current").read_text()) - _fields(group / "memory.stat")["inactive_file"]
    return max(0, min(free, int(most) - taken))


def _fields(path: Path) -> dict[str, int]:
    return {name: int(value) for name, value, *_ in map(str.split, path.read_text().splitlines())}


class PerProcess(Generic[T]):
    """A value that each process makes for itself at first use.

    Threads, locks and connections of a process are useless in one that was forked from it.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
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
