"""Errors of qdrant-client, its transport and its local storage, told as jinavec's own.

There is a table for each thing that is done: a call to a server, a call in local mode, the opening of a local folder.
What a table does not list is no failure of Qdrant but a bug, and leaves with its own type.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Mapping
from pickle import UnpicklingError
from typing import Any

from jinavec.errors import EngineError, IndexDamaged, IndexLocked, IndexNotFound, JinavecError
from jinavec.extras import require
from jinavec.http_client import shown_address

Translate = Callable[[str, Any], JinavecError | None]
"""Takes where it happened and the error; returns ours, or None for a bug."""
Table = Mapping[type[Exception], Translate]
"""The most specific kind first."""
_LONGEST = 300  # characters of a server's message


class RequestTooLarge(EngineError):
    """A body of more bytes than a server takes."""


class NotAllowed(EngineError):
    """What the key has no right to."""


class NoSuchVector(EngineError):
    """A vector's name that the collection does not have, as it has another contract."""


_REMEDIES = {
    "Index required but not found": "name the field in payload_indexes when the collection is made",
    "maximum number of payload ind": "name fewer payload_indexes (max_payload_index_count)",
    "Filter condition limit": "name the fields in payload_indexes, which makes filters shorter (filter_max_conditions)",
    "Condition size limit": "give 'in' fewer values (condition_max_size)",
    "global vector indexing is disabled": "take another preset than 'exact' (search_allow_exact)",
    "Exact search disabled": "take another preset than 'exact' (search_allow_exact)",
    '"upsert limit"': "lower the option batch_size (upsert_max_batchsize)",
    '"search batch size"': "upgrade qdrant-client, as this one does not know the limit (search_max_batchsize)",
    '"timeout"': "lower the option timeout (max_timeout)",
    "Max vector storage size": "delete records, or raise max_collection_vector_size_bytes",
    "Max payload storage size": "delete records, or raise max_collection_payload_size_bytes",
    "Max points count": "delete records, or raise max_points_count",
}
"""What helps against a limit of a collection's strict mode, by the words that tell it."""
_TOO_LARGE = re.compile(r"larger than allowed|payload.{0,20}too large|reached size limit", re.IGNORECASE)

STATUSES: dict[int, Translate] = {
    400: lambda where, message: _bad_request(where, message),
    401: lambda where, message: EngineError(f"{where}: the API key is missing or wrong; set QDRANT_API_KEY: {message}"),
    403: lambda where, message: _forbidden(where, message),
    404: lambda where, message: _not_found(where, message),
    409: lambda where, message: EngineError(f"{where} already exists: {message}"),
    413: lambda where, message: RequestTooLarge(f"{where}: the server takes no request of this length: {message}"),
    429: lambda where, message: EngineError(f"{where}: too many requests, still after all retries: {message}"),
}
"""By status of a server's answer; every other one is told with its number."""


def server_errors() -> Table:
    """Return what a call to a server raises."""
    httpx = require("httpx", "qdrant")
    client = require("qdrant_client.http.exceptions", "qdrant")
    common = require("qdrant_client.common.client_exceptions", "qdrant")
    return {
        client.UnexpectedResponse: _status,
        client.ResponseHandlingException: _source,
        client.ApiException: _plain,
        common.ResourceExhaustedResponse: lambda where, error: STATUSES[429](where, str(error)),
        common.QdrantException: _plain,
        httpx.TimeoutException: lambda where, _: EngineError(f"{where}: no answer in time; raise timeout"),
        httpx.ConnectError: lambda where, error: EngineError(f"{where}: the server cannot be reached: {error}"),
        httpx.DecodingError: _plain,
        httpx.HTTPError: lambda where, error: EngineError(f"{where}: the connection failed: {error!r}"),
        httpx.InvalidURL: _plain,
        json.JSONDecodeError: _not_qdrant,
        require("grpc", "qdrant").RpcError: _grpc,
        ValueError: _value_in_answer,
        RecursionError: lambda where, _: _not_qdrant(where, "it is nested too deeply"),
        AssertionError: _not_qdrant,  # the client asserts that an answer has a result
    }


def local_errors() -> Table:
    """Return what a call in local mode raises."""
    return {
        require("pydantic", "qdrant").ValidationError: _damaged,  # a point whose payload is no object
        sqlite3.OperationalError: _plain,
        sqlite3.Error: _damaged,
        OSError: _plain,
        RuntimeError: _local,
        ValueError: _local,
    }


def folder_errors() -> Table:
    """Return what the opening of a local folder raises: local mode decodes its files without looking at their shape."""
    decoding = (AttributeError, EOFError, ImportError, LookupError, TypeError, UnpicklingError)
    unreadable: Table = dict.fromkeys(decoding, _damaged)
    return {**unreadable, **local_errors(), ValueError: _value_in_folder}


def translate(table: Table, where: str, error: Exception) -> JinavecError | None:
    """Return jinavec's error in place of a foreign one; None where the table does not know it."""
    own = next((own for kind, own in table.items() if isinstance(error, kind)), None)
    return None if own is None else own(where, error)


def temporary(error: Any) -> bool:
    """Return whether the same call may succeed later: too many requests, a server in trouble, no connection."""
    httpx = require("httpx", "qdrant")
    client = require("qdrant_client.http.exceptions", "qdrant")
    common = require("qdrant_client.common.client_exceptions", "qdrant")
    if isinstance(error, client.UnexpectedResponse):
        return bool(error.status_code in (408, 429) or error.status_code >= 500)
    if isinstance(error, client.ResponseHandlingException):
        return isinstance(error.source, httpx.TransportError)
    if isinstance(error, common.ResourceExhaustedResponse):
        return True
    if isinstance(error, require("grpc", "qdrant").RpcError):
        return _code(error) in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED")
    # a Retry-After that is a date: the client reads numbers only
    return isinstance(error, common.QdrantException) and "Retry-After" in str(error)


def is_own_fault(error: Any) -> bool:
    """Return whether a server failed by a fault of its own, such as a full disk, and not because it is busy or away."""
    client = require("qdrant_client.http.exceptions", "qdrant")
    return isinstance(error, client.UnexpectedResponse) and error.status_code == 500


def retry_after(error: Any) -> float | None:
    """Return how many seconds a server asked to wait."""
    common = require("qdrant_client.common.client_exceptions", "qdrant")
    return float(error.retry_after_s) if isinstance(error, common.ResourceExhaustedResponse) else None


def _plain(where: str, error: Exception) -> JinavecError:
    return EngineError(f"{where}: {error}")


def _damaged(where: str, error: Exception) -> JinavecError:
    return IndexDamaged(f"{where} is damaged: {error!r}")


def _code(error: Any) -> str:
    return error.code().name if hasattr(error, "code") else ""


_AS_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
}
"""Codes of gRPC, as the statuses that mean the same."""


def _grpc(where: str, error: Any) -> JinavecError | None:
    code, message = _code(error), " ".join(str(error.details() if hasattr(error, "details") else error).split())
    if code in _AS_STATUS:
        return STATUSES[_AS_STATUS[code]](where, message[:_LONGEST])
    if code == "UNAVAILABLE":
        return EngineError(f"{where}: the server cannot be reached: {code}: {message[:_LONGEST]}")
    return EngineError(f"{where}: the server answered {code}: {message[:_LONGEST]}")


def _status(where: str, error: Any) -> JinavecError | None:
    status, message = error.status_code, _message(error.content)
    if 300 <= status < 400:
        place = error.headers.get("location", "")
        return EngineError(
            f"{where}: the server redirects ({status}) to {shown_address(place) or 'nowhere'}; open that address, as"
            " redirects are not followed"
        )
    if status in STATUSES:
        return STATUSES[status](where, message)
    return EngineError(f"{where}: the server answered {status}: {message}")


def _bad_request(where: str, message: str) -> JinavecError:
    if _TOO_LARGE.search(message):
        return STATUSES[413](where, message) or EngineError(message)
    if "vector name" in message:
        return NoSuchVector(f"{where}: the collection has other vectors by now: {message}")
    remedy = next((f"; {remedy}" for words, remedy in _REMEDIES.items() if words in message), "")
    return EngineError(f"{where}: bad request: {message}{remedy}")


def _forbidden(where: str, message: str) -> JinavecError:
    if "locked" in message.lower():
        return EngineError(f"{where}: the server takes no writes for now: {message}")
    return NotAllowed(f"{where}: the API key does not allow this: {message}")


def _not_found(where: str, message: str) -> JinavecError:
    if "shard key" in message.lower():
        return EngineError(f"{where}: the collection has no such shard: {message}")
    return IndexNotFound(f"there is no collection {where}: {message}")


def _message(content: bytes) -> str:
    """Return what a server says in an answer, which may come from anything on the way to it."""
    try:
        message = json.loads(content)["status"]["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        message = content.decode("utf-8", "replace")
    return " ".join(str(message).split())[:_LONGEST] or "(empty response)"


def _source(where: str, error: Any) -> JinavecError | None:
    """Tell what the client wraps: an error of the transport, or an answer of another shape."""
    source = error.source
    if isinstance(source, require("pydantic", "qdrant").ValidationError):
        return _not_qdrant(where, "; ".join(problem["msg"] for problem in source.errors()[:1]))
    return translate(server_errors(), where, source) or EngineError(f"{where}: {source!r}")


def _not_qdrant(where: str, problem: object) -> JinavecError:
    return EngineError(f"{where}: not an answer of Qdrant: {problem}")


def _value_in_answer(where: str, error: Exception) -> JinavecError | None:
    """Tell a number that Python does not read; other values that are refused are arguments, so the bug is ours."""
    return _not_qdrant(where, "it holds a number of too many digits") if "digits" in str(error) else None


def _local(where: str, error: Exception) -> JinavecError | None:
    """Tell apart what local mode says in words only; other words are about arguments, so the bug is ours."""
    text = str(error)
    if "already accessed by another instance" in text:
        return IndexLocked(f"{where}: another process has the folder open; use a Qdrant server for concurrent access")
    if text.startswith("Collection") and text.endswith("not found"):
        return IndexNotFound(f"there is no collection {where}: {text}")
    if "already exists" in text or "instance is closed" in text or "legacy dbm" in text:
        return EngineError(f"{where}: {text}")
    return None


def _value_in_folder(where: str, error: Exception) -> JinavecError:
    return _local(where, error) or _damaged(where, error)
