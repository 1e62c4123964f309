"""What Elasticsearch and its client report, translated into jinavec's own errors: once, here."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from jinavec.errors import (
    EngineError,
    IndexNotFound,
    InvalidFilter,
    InvalidInput,
    InvalidRecord,
    JinavecError,
    Unsupported,
    brief,
)
from jinavec.extras import require
from jinavec.http_client import BodyRefused, shown_address
from jinavec.ingest import without_values

_WORDS = 500
"""Characters of the server's own words that a message repeats."""


@dataclass(frozen=True)
class Fault:
    """A failure as the server describes it."""

    status: int
    kind: str
    """The server's name of the exception, such as index_not_found_exception; may be empty."""
    reason: str

    @classmethod
    def read(cls, status: int, body: object) -> Fault:
        """Read the body of an answer, or the error of one item of a bulk request."""
        error: Any = _member(body, "error") or body
        if not _is_object(error):
            return cls(status, "", _text(error)[:_WORDS])
        causes = _member(error, "root_cause")
        cause: Any = next(iter(cast("list[Any]", causes)), error) if isinstance(causes, list) else error
        reason = _text(_member(cause, "reason") or _member(error, "reason"))
        while (error := _member(error, "caused_by")) is not None:  # the innermost cause says most
            if (inner := _text(_member(error, "reason"))) not in reason:
                reason = f"{reason}: {inner}"
        return cls(status, _text(_member(cause, "type"))[:_WORDS], reason[:_WORDS])

    def __str__(self) -> str:
        return f"{self.status} {self.kind}: {self.reason}" if self.kind else f"{self.status}: {self.reason}"


def _text(value: object) -> str:
    return value if isinstance(value, str) else brief(value) if value else ""


def _is_object(value: object) -> bool:
    return isinstance(value, Mapping)


def _member(value: object, name: str) -> Any:
    return cast("Mapping[str, Any]", value).get(name) if _is_object(value) else None


@dataclass(frozen=True)
class _Rule:
    applies: Callable[[Fault], bool]
    error: type[JinavecError]
    remedy: str
    of_index: bool = False
    """Whether it is the index that takes nothing, whatever the document."""


def _about(*words: str) -> Callable[[Fault], bool]:
    return lambda fault: any(word in f"{fault.kind} {fault.reason}" for word in words)


def _status(*codes: int) -> Callable[[Fault], bool]:
    return lambda fault: fault.status in codes


_OTHER_MAPPING = "the mapping of the index does not fit; if it was changed, create a new index and ingest again"
_RULES = (
    _Rule(
        _about("index_not_found_exception"), IndexNotFound, "no such index; name a model to create it", of_index=True
    ),
    _Rule(
        _about("current license is non-compliant"),
        Unsupported,
        "the server's license has expired or does not cover this; renew it, or do without the feature",
        of_index=True,
    ),
    _Rule(
        _about("license has expired", "license is expired"), EngineError, "the server's license has expired; renew it"
    ),
    _Rule(_about("unknown retriever"), Unsupported, "this version of Elasticsearch does not have the retriever"),
    _Rule(
        _about("search_context_missing_exception"),
        EngineError,
        "the snapshot has expired, since too much time passed between two pages; go on with iterate(after=) and the"
        " cursor of the last page",
    ),
    _Rule(
        _about("flood-stage", "read-only-allow-delete"),
        EngineError,
        "the server's disk is full, so the index takes deletions only; free space, then set"
        " index.blocks.read_only_allow_delete to null",
        of_index=True,
    ),
    _Rule(
        _about("cluster_block_exception"),
        EngineError,
        "the index is blocked or read-only; set index.blocks.write and index.blocks.read_only to null",
        of_index=True,
    ),
    _Rule(
        _about("creates data streams only", "only write ops with an op_type of create are allowed in data streams"),
        InvalidInput,
        "the name belongs to a data stream, which replaces and deletes nothing; take another name",
        of_index=True,
    ),
    _Rule(_about("index_closed_exception"), EngineError, "the index is closed; open it again", of_index=True),
    _Rule(
        _about("media_type_header_exception"),
        EngineError,
        "client and server are of different major versions; install the elasticsearch package of the server's major"
        " version, or 8.19, which speaks with both",
    ),
    _Rule(
        _about("validation call to service", "Failed to validate the Cloud Connected Mode"),
        EngineError,
        "Elasticsearch could not embed a text through the service; can the node reach its address, and are its key and"
        " the model's name right?",
    ),
    _Rule(
        _about("Cloud connected mode is not configured"),
        EngineError,
        "the service elastic is not connected; set it up with connect (--connect) and its key in JINAVEC_API_KEY",
    ),
    _Rule(
        _about("no_shard_available_action_exception"),
        EngineError,
        "the server has only just started, or lacks a node; try again in a moment",
    ),
    _Rule(
        _status(401),
        EngineError,
        "no valid credentials; set ELASTICSEARCH_API_KEY, or ELASTICSEARCH_USERNAME and ELASTICSEARCH_PASSWORD",
        of_index=True,
    ),
    _Rule(
        _status(403),
        EngineError,
        "the credentials lack the privilege; on the index they need read, write, view_index_metadata and, to make it,"
        " create_index; to set up inference, manage_inference and manage_pipeline",
        of_index=True,
    ),
    _Rule(
        _status(413),
        InvalidRecord,
        "a document is larger than the server takes in a request (http.max_content_length); split its text",
    ),
    _Rule(
        _status(429),
        EngineError,
        "the server is overloaded or limits the rate; send less at a time, or later, and split very long texts",
    ),
    _Rule(
        _about("too_many_clauses", "too_many_nested_clauses", "maxClauseCount", "nested depth"),
        InvalidFilter,
        "the filter has more parts, or deeper ones, than the server takes",
    ),
    _Rule(
        _about("automaton is too large"),
        InvalidFilter,
        "a bound of a comparison is longer than this version orders by, about 800 bytes; shorten it",
    ),
    _Rule(_about("invalid_index_name_exception"), InvalidInput, "Elasticsearch does not take this name of an index"),
    _Rule(
        _about("StreamReadConstraints"),
        InvalidRecord,
        "a number, a string or the nesting of the metadata goes beyond what the server reads",
    ),
    _Rule(
        _about("has not been configured in mappings"),
        InvalidInput,
        "the server has no analyzer of this name; such as german or english belong to its module analysis-common",
    ),
    _Rule(_about("strict_dynamic_mapping_exception"), EngineError, _OTHER_MAPPING, of_index=True),
    _Rule(_about("document_parsing_exception", "mapper_parsing_exception"), EngineError, _OTHER_MAPPING),
    _Rule(
        _about("different number of dimensions", "differs from field dimensions"),
        EngineError,
        "the vectors have another dimension than the index",
        of_index=True,
    ),
    _Rule(_status(502, 503, 504), EngineError, "the server, or a proxy before it, is not available; try again"),
)
"""Most specific first."""


def refused(error: object, status: int, where: str) -> JinavecError:
    """Return the error for one item of a request for many."""
    return translate(Fault.read(status, error), where)


def translate(fault: Fault, where: str) -> JinavecError:
    """Return the error for what the server said."""
    for rule in _RULES:
        if rule.applies(fault):
            return rule.error(f"{where}: {rule.remedy} ({fault})")
    return EngineError(f"{where}: Elasticsearch refused the request ({fault})")


def reason(fault: Fault) -> str:
    """Return why one item of a bulk request failed, with the remedy where there is one."""
    return next((f"{rule.remedy} ({fault})" for rule in _RULES if rule.applies(fault)), str(fault))


def are_of_index(faults: Sequence[Fault]) -> bool:
    """Return whether an index that refuses all documents of a batch so would refuse any other, too.

    It is blocked, closed, or of another mapping; or it has the same words about very many.
    """
    if all(next((rule.of_index for rule in _RULES if rule.applies(fault)), False) for fault in faults):
        return True
    return len(faults) >= _MANY and len({without_values(str(fault)) for fault in faults}) == 1


_MANY = 100


@contextmanager
def reported(where: str) -> Generator[None]:
    """Raise jinavec's own error in place of the client's.

    Args:
        where: index and server, for the message.

    Raises:
        IndexNotFound: no such index.
        EngineError, InvalidInput: any other failure.
    """
    library = require("elasticsearch", "elasticsearch")
    try:
        yield
    except BodyRefused as error:
        raise EngineError(f"{where}: {error}") from error
    except library.UnsupportedProductError as error:
        raise EngineError(f"{where}: the server is not Elasticsearch: {error}") from error
    except library.ApiError as error:
        if 300 <= error.meta.status < 400:
            place = shown_address(error.meta.headers.get("location") or "") or "an address that it does not name"
            raise EngineError(
                f"{where}: the server redirects to {place} (status {error.meta.status}); give that address"
            ) from error
        raise translate(Fault.read(error.meta.status, error.body), where) from error
    except library.SSLError as error:
        raise EngineError(
            f"{where}: TLS was refused; name the certificate of the server's authority in ELASTICSEARCH_CA_CERTS"
            f" ({error.message})"
        ) from error
    except library.ConnectionTimeout as error:
        raise EngineError(f"{where}: no answer in time; try again, or with less at a time ({error.message})") from error
    except library.ConnectionError as error:
        raise EngineError(f"{where}: cannot be reached; is the server running there? ({error.message})") from error
    except library.SerializationError as error:
        raise EngineError(
            f"{where}: a request or an answer could not be read as JSON: {error.message[:_WORDS]}"
        ) from error
    except library.TransportError as error:
        raise EngineError(f"{where}: {error}") from error
