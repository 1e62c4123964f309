"""serve: loads the models, then listens until it is told to stop; in one process or in several."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import sys
import warnings
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from jinavec.errors import JinavecError, ModelError, ServerError
from jinavec_adapters.server.app import create_app
from jinavec_adapters.server.http_limits import LimitedConnection
from jinavec_adapters.server.metrics import SHARED, Metrics
from jinavec_adapters.server.middleware import request_id
from jinavec_adapters.server.models import Models
from jinavec_adapters.server.redaction import Redaction
from jinavec_adapters.server.settings import ServerSettings

KEEP_ALIVE = 75
"""Seconds a connection may rest; Elasticsearch keeps its own for 60."""
STARTING = 120
"""Seconds in which a worker that loads a model may be deaf to its supervisor."""
_HANDED = "JINAVEC_SERVE_HANDED_ON"
_M_MMAP_THRESHOLD, _LARGE_BLOCK = -3, 2**20
"""glibc's name of the option in ``malloc.h``; bytes."""
_FAILURE = "failure"
"""The file of the shared folder in which a worker says why it cannot start."""


def serve(settings: ServerSettings) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP; shuts down gracefully: accepted requests are answered first.

    Raises:
        JinavecError: a model cannot be loaded, or the address cannot be had; nothing listens then.
    """
    _log_as_json(settings.redaction)
    _end_on_hangup()
    _give_memory_back()
    try:
        _require_address(settings)
        if settings.workers > 1:
            _serve_by_workers(settings)
            return
        app = _load(settings)
        signal.signal(signal.SIGTERM, _exit_with_0)
        uvicorn.run(app, **_listening(settings))
    except Exception as error:
        error.args = tuple(settings.redaction(arg) if isinstance(arg, str) else arg for arg in error.args)
        raise


def _require_address(settings: ServerSettings) -> None:
    """Make sure that the address can be had, before minutes go into loading models."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        socket.create_server((settings.host, settings.port), family=family).close()
    except OSError as error:
        raise ServerError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}; choose another with --host or --port"
        ) from error


def _load(settings: ServerSettings) -> FastAPI:
    metrics = Metrics()
    return create_app(settings, Models.load(settings, metrics), metrics)


def _listening(settings: ServerSettings) -> dict[str, Any]:
    return {
        "host": settings.host,
        "port": settings.port,
        "http": partial(LimitedConnection, patience=settings.receive_timeout, most=settings.max_connections),
        "ws": "none",
        "ssl_certfile": settings.tls_certificate,
        "ssl_keyfile": settings.tls_key,
        "access_log": False,
        "log_config": None,
        "server_header": False,
        "timeout_keep_alive": KEEP_ALIVE,
        "timeout_graceful_shutdown": settings.shutdown_timeout,
    }


def _serve_by_workers(settings: ServerSettings) -> None:
    """Let uvicorn's supervisor start the workers, and start those again that die."""
    with TemporaryDirectory(prefix="jinavec-serve-") as folder:
        os.environ[SHARED] = folder
        os.environ[_HANDED] = settings.hand_on()
        config = uvicorn.Config(
            f"{__name__}:load_worker",
            factory=True,
            workers=settings.workers,
            timeout_worker_healthcheck=STARTING,
            **_listening(settings),
        )
        _Supervisor(config, [config.bind_socket()]).run()
        failure = Path(folder, _FAILURE)
        if failure.exists():
            raise ModelError(failure.read_text("utf-8"))


def load_worker() -> FastAPI:
    """Return the application of one worker, which was handed its settings by the environment."""
    settings = ServerSettings.taken_over(os.environ[_HANDED])
    _log_as_json(settings.redaction)
    _end_on_hangup()
    _give_memory_back()
    try:
        return _load(settings)
    except Exception as error:
        reason = str(error) if isinstance(error, JinavecError) else f"{type(error).__name__}: {error}"
        Path(os.environ[SHARED], _FAILURE).write_text(settings.redaction(reason), "utf-8")
        sys.exit(STARTUP_FAILURE)  # the supervisor tries no other


def _exit_with_0(number: int, frame: FrameType | None) -> None:
    """Take the signal that uvicorn, having finished, raises once more: the process ends with 0."""


class _Supervisor(Multiprocess):
    """Uvicorn's, which would start all workers again on SIGHUP."""

    def handle_hup(self) -> None:
        """End gracefully."""
        self.handle_term()


def _end_on_hangup() -> None:
    """Let SIGHUP do what SIGTERM does, unless it is ignored, as ``nohup`` wants it."""
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda number, frame: signal.raise_signal(signal.SIGTERM))


def _give_memory_back() -> None:
    """Let glibc map every large block by itself, which returns it when it is freed.

    By default its threshold grows up to 32 MiB with the blocks that are freed, so that bodies stay in the heap.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)


class _Formatter(JsonFormatter):
    """Writes no secret of the settings, whoever logs it."""

    redaction: Redaction

    def format(self, record: logging.LogRecord) -> str:
        """Return a line."""
        return self.redaction(super().format(record))


def _log_as_json(redaction: Redaction) -> None:
    """Log one JSON object a line to standard error, each with the id of its request."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = _Formatter(
        "{asctime}{levelname}{name}{message}",
        style="{",
        rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        reserved_attrs=[*RESERVED_ATTRS, "color_message"],
    )
    formatter.redaction = redaction
    handler.setFormatter(formatter)
    handler.addFilter(_add_request_id)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    warnings.simplefilter("default")  # each place once, not each request


def _add_request_id(record: logging.LogRecord) -> bool:
    if id := request_id.get():
        record.request_id = id
    return True
