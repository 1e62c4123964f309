"""The threads that searches share."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

from jinavec.process import PerProcess, cores


def pool() -> ThreadPoolExecutor:
    """Return this process's threads, one for each core."""
    return _POOL.get()


def faiss_alone() -> None:
    """Let FAISS use no more threads than the calling one, for which alone this holds."""
    import_module("faiss").omp_set_num_threads(1)


def _in_child() -> None:
    """Let FAISS work alone after a fork: the threads that OpenMP had for this one are gone, and it would wait for them.

    Other threads of the child are new, and get their own.
    """
    if "faiss" in sys.modules:
        faiss_alone()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)

_POOL = PerProcess(lambda: ThreadPoolExecutor(cores(), "jinavec-faiss"))
