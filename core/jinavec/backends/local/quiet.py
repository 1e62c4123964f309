"""Quiet: while a library loads, downloads or exports, it does not chatter; what matters is raised."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Generator
from contextlib import contextmanager

_HUSHED = threading.RLock()
"""Levels and filters belong to the whole process: of two threads at once, one would keep what the other had set."""
_LIBRARIES = r"(torch|transformers|peft|onnx|onnxscript|onnxruntime)(\.|$)"


@contextmanager
def quiet(logger: str) -> Generator[None]:
    """Keep a library's logger to errors and hide its warnings; those of jinavec are heard, in every thread."""
    log = logging.getLogger(logger)
    with _HUSHED, warnings.catch_warnings():
        for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", category)
        warnings.filterwarnings("ignore", module=_LIBRARIES)
        level = log.level
        log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            log.setLevel(level)
