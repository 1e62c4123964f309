"""The library's log: requests, batches and their time, at the level DEBUG of the logger ``jinavec``.

No text, key or address with a password goes into it. ``jinavec --verbose`` shows it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from contextlib import contextmanager

LOGGER = logging.getLogger("jinavec")


@contextmanager
def timed(what: str, *values: object) -> Generator[None]:
    """Log what was done and how long it took, or that it failed.

    Args:
        what: a format string of logging.
        values: what it takes.
    """
    if not LOGGER.isEnabledFor(logging.DEBUG):
        yield
        return
    started, end = time.perf_counter(), "failed after"
    try:
        yield
        end = "took"
    finally:
        LOGGER.debug(f"{what} {end} %.3f s", *values, time.perf_counter() - started)
