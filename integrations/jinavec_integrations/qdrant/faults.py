"""What qdrant-client, its transport and its local storage raise, told in jinavec's own errors: once, here."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any, cast

from jinavec.errors import (
    EngineError,
    IndexDamaged,
    IndexLocked,
    IndexNotFound,
    InvalidFilter,
    InvalidInput,
    JinavecError,
)
from jinavec.extras import require

Translate = Callable[[str, Any], JinavecError]
_SAID = 300  # characters of a server's own words

STATUSES: dict[int, Translate] = {
    400: lambda where, said: EngineError(f"{where}: the request was refused: {said}"),
    401: lambda where, said: EngineError(f"{where}: the API key is missing or wrong; set QDRANT_API_KEY: {said}"),
    403: lambda where, said: EngineError(f"{where}: the API key does not allow this: {said}"),
    404: lambda where, said: IndexNotFound(f"there is no collection {where}: {said}"),
    409: lambda where, said: EngineError(f"{where} is there already: {said}"),
    413: lambda where, said: EngineError(f"{where}: the batch is too large for the server; lower batch_size: {said}"),
    429: lambda where, said: EngineError(f"{where}: too many requests, still after all retries: {said}"),
}
"""By status of a server's answer; every other status is one of the last line of ``table``."""


def table() -> list[tuple[type[Exception], Translate]]:
    """Return the translation of each foreign exception, the most specific first."""
    httpx = require("httpx", "qdrant")
    client = require("qdrant_client.http.exceptions", "qdrant")
    common = require("qdrant_client.common.client_exceptions", "qdrant")
    return [
        (client.UnexpectedResponse, _answered),
        (client.ResponseHandlingException, lambda where, error: _find(error.source)(where, error.source)),
        (client.ApiException, lambda where, error: EngineError(f"{where}: {error}")),
        (common.ResourceExhaustedResponse, lambda where, error: STATUSES[429](where, error)),
        (common.QdrantException, lambda where, error: EngineError(f"{where}: {error}")),
        (httpx.TimeoutException, lambda where, error: EngineError(f"{where}: no answer in time; raise timeout")),
        (httpx.ConnectError, lambda where, error: EngineError(f"{where}: the server cannot be reached: {error}")),
        (httpx.HTTPError, lambda where, error: EngineError(f"{where}: the connection failed: {error!r}")),
        (httpx.InvalidURL, lambda where, error: EngineError(f"{where}: {error}")),
        (sqlite3.OperationalError, lambda where, error: EngineError(f"{where}: {error}")),
        (sqlite3.Error, _damaged),
        (UnpicklingError, _damaged),
        (EOFError, _damaged),
        (OSError, lambda where, error: EngineError(f"{where}: {error}")),
        (RecursionError, lambda where, error: InvalidFilter("the filter is nested too deeply for Qdrant")),
        (RuntimeError, _local),
        (json.JSONDecodeError, _unreadable),
        (_validation_error(), lambda where, error: EngineError(f"{where}: not an answer of Qdrant: {_first(error)}")),
        (AssertionError, lambda where, error: EngineError(f"{where}: not an answer of Qdrant: {error}")),
        (KeyError, _damaged),  # of a meta.json
        (ValueError, _local),
    ]


def translate(error: Exception, where: str, undone: str = "") -> JinavecError | None:
    """Return the jinavec error in place of a foreign one; None where it is not known, or ours already.

    Args:
        error: what was raised.
        where: the server or folder, and the collection.
        undone: what did not happen, for the message.
    """
    if isinstance(error, JinavecError):
        return None
    found = next((translation for kind, translation in table() if isinstance(error, kind)), None)
    if found is None:
        return None
    told = found(where, error)
    return type(told)(f"{told}: {undone}") if undone else told


def temporary(error: Any) -> bool:
    """Return whether the same call may succeed later: too many requests, a server in trouble, no connection."""
    httpx = require("httpx", "qdrant")
    client = require("qdrant_client.http.exceptions", "qdrant")
    common = require("qdrant_client.common.client_exceptions", "qdrant")
    if isinstance(error, client.UnexpectedResponse):
        return bool(error.status_code == 429 or error.status_code >= 500)
    if isinstance(error, client.ResponseHandlingException):
        return isinstance(error.source, httpx.TransportError)
    if isinstance(error, common.ResourceExhaustedResponse):
        return True
    return isinstance(error, common.QdrantException) and "Retry-After" in str(
        error
    )  # 429 until a date, not for seconds


def wait_asked(error: BaseException | None) -> float | None:
    """Return how many seconds a server asked to wait."""
    return cast("float | None", getattr(error, "retry_after_s", None))


def _find(error: Exception) -> Translate:
    unknown: Translate = lambda where, error: EngineError(f"{where}: {error!r}")  # noqa: E731
    return next((translation for kind, translation in table() if isinstance(error, kind)), unknown)


def _answered(where: str, error: Any) -> JinavecError:
    status, said = error.status_code, _said(error.content)
    if status in STATUSES:
        return STATUSES[status](where, said)
    return EngineError(f"{where}: the server answered {status}: {said}")


def _said(content: bytes) -> str:
    """Return the message in a server's answer."""
    try:
        said = json.loads(content)["status"]["error"]
    except (ValueError, KeyError, TypeError):
        said = content.decode("utf-8", "replace")
    return " ".join(str(said).split())[:_SAID] or "no message"


def _local(where: str, error: Exception) -> JinavecError:
    """Tell apart what local mode says in words only."""
    text = str(error)
    if "already accessed by another instance" in text:
        return IndexLocked(f"{where}: another process has the folder open; use a Qdrant server for concurrent access")
    if "not found" in text:
        return IndexNotFound(f"there is no collection {where}: {text}")
    if isinstance(error, RuntimeError):
        return EngineError(f"{where}: {text}")
    return InvalidInput(f"{where}: {text}")


def _unreadable(where: str, error: Exception) -> JinavecError:
    """Tell an answer from a file: a server's place is a URL."""
    return EngineError(f"{where}: not an answer of Qdrant: {error}") if "://" in where else _damaged(where, error)


def _damaged(where: str, error: Exception) -> JinavecError:
    return IndexDamaged(f"{where} is damaged: {error!r}")


def _validation_error() -> type[Exception]:
    return cast("type[Exception]", require("pydantic", "qdrant").ValidationError)


def _first(error: Any) -> str:
    return "; ".join(str(problem.get("msg")) for problem in error.errors()[:1])
