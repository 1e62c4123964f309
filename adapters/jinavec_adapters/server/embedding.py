"""Embedding: from the bytes of a request to the bytes of its reply, in any protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from jinavec.errors import InvalidInput, InvalidVectors, JinavecError, ServerError, TextTooLong
from jinavec.tasks import Role, Task, prompt
from jinavec.vectors import Float32
from jinavec.wire.fields import loads
from jinavec.wire.messages import EmbedReply, EmbedRequest, Reason, WireError
from jinavec_adapters.server.batching import Batcher, BatchKey, QueuedRequest
from jinavec_adapters.server.json_scan import outline
from jinavec_adapters.server.models import Models, Served
from jinavec_adapters.server.protocols import Protocol, dialect
from jinavec_adapters.server.roles import agreed, carried, knows_roles
from jinavec_adapters.server.settings import ServerSettings

DEEPEST = 64
"""Objects and arrays in one another that a body may have; no protocol needs ten."""


@dataclass(frozen=True)
class Embedding:
    """Embeds decoded requests through the batchers of the models."""

    models: Models
    settings: ServerSettings

    def resolve(
        self, protocol: Protocol, requests: Sequence[EmbedRequest], bound: Role | None, header: Role | None
    ) -> list[Resolved]:
        """Settle how the requests of one body are embedded.

        Args:
            protocol: the one they came in.
            requests: several only where one body holds several.
            bound: the role that the address binds.
            header: the role that a header names; it counts where the body names none.

        Raises:
            WireError: one of them is refused.
        """
        self._check_limits(protocol, requests)
        return [self._resolve(protocol, request, bound, header) for request in requests]

    async def embed(self, requests: Sequence[EmbedRequest], resolved: Sequence[Resolved]) -> list[EmbedReply]:
        """Embed the requests of one body, all of them or none.

        Raises:
            WireError: too many texts wait.
            JinavecError: the model failed.
        """
        parts = _merge(resolved)
        submitted: list[tuple[Batcher, QueuedRequest]] = []
        try:
            for (batcher, key), texts in parts.items():
                submitted.append((batcher, batcher.submit(key, list(texts))))
            await asyncio.gather(*(request.done for _, request in submitted))
        except (TextTooLong, ServerError) as error:
            _name_texts(error, [request for _, request in submitted], resolved)
            raise
        finally:
            for batcher, request in submitted:
                batcher.cancel(request)
        found = {
            key: dict(zip(texts, zip(part.vectors, part.counts, strict=True), strict=True))
            for (key, texts), (_, part) in zip(parts.items(), submitted, strict=True)
        }
        return [_reply(request, one, found) for request, one in zip(requests, resolved, strict=True)]

    def _check_limits(self, protocol: Protocol, requests: Sequence[EmbedRequest]) -> None:
        limits, count = self.settings, sum(len(request.texts) for request in requests)
        if protocol.texts_bounded and count > limits.max_inputs:
            raise WireError(
                Reason.TOO_LARGE, f"the request has {count} texts; at most {limits.max_inputs} texts are taken"
            )
        longest = max(len(text) for request in requests for text in request.texts)
        if longest > limits.max_characters:
            raise WireError(
                Reason.TEXT_TOO_LONG,
                f"the text of {longest} characters is too long: the limit is {limits.max_characters}",
            )

    def _resolve(self, protocol: Protocol, request: EmbedRequest, bound: Role | None, header: Role | None) -> Resolved:
        """Settle model, task, dimension and the role of each text.

        Raises:
            WireError: one of them is not served, not said, or contradictory.
        """
        served = self.models.find(request.model, request.task)
        if request.normalized is False:
            raise WireError(Reason.INVALID, '"normalize": false is not supported: vectors have unit length')
        try:
            dimension = served.profile.check_dimension(request.dimension)
        except InvalidInput as error:
            raise WireError(Reason.INVALID, str(error)) from error
        if request.encoding in ("binary", "ubinary", "bits") and dimension % 8:
            raise WireError(Reason.INVALID, f"bits need a dimension that is a multiple of 8, not {dimension}")
        overflow = self.settings.overflow if request.truncate is None else "truncate" if request.truncate else "error"
        role = agreed(bound, request.role) or header
        said = None if bound else _said(role, request.task, served)
        texts = [
            (said, text) if said else self._read(protocol, served, bound, number, text)
            for number, text in enumerate(request.texts)
        ]
        own = protocol.codec.server.applies_task and request.model  # there the request names the task apart
        return Resolved(
            served, own or served.name, [(BatchKey(role, dimension, overflow), text) for role, text in texts]
        )

    def _read(self, protocol: Protocol, served: Served, bound: Role | None, number: int, text: str) -> tuple[Role, str]:
        """Return role and text of a text whose request says no role; the encoder adds the prefix, so one is taken off.

        Whatever stands beside a text in its request, it gets the same vector.

        Raises:
            WireError: the text brings the prefix of another role than its address; or nothing says its role.
        """
        profile, task = served.profile, served.task
        own, bare = carried(text, task, profile)
        if bound and own and prompt(task, own, profile) != prompt(task, bound, profile):
            raise WireError(
                Reason.INVALID,
                f"text {number} begins with {prompt(task, own, profile)!r}, the prefix of a {own}, and this address"
                f" embeds each text as a {bound}: post it to the address of a {own}, or leave out the prefix",
            )
        role = bound or own or served.default_role
        if role is None and knows_roles(task, profile):
            raise WireError(
                Reason.INVALID,
                f"{profile.name} embeds queries and documents differently for {task}, and the request does not say"
                f" which text {number} is: {protocol.says_role}; or start the server with --default-role",
            )
        return role or Role.DOCUMENT, bare


def _said(role: Role | None, task: Task | None, served: Served) -> Role | None:
    """Return the role of texts whose request says all that decides their prefix: they bring none along."""
    if role is None and task is not None and not knows_roles(task, served.profile):
        return Role.DOCUMENT
    return role


@dataclass(frozen=True)
class Resolved:
    """What a request comes to: for each of its texts, how it is embedded."""

    served: Served
    name: str
    """Of the model, as the reply tells it."""
    texts: list[tuple[BatchKey, str]]


_Key = tuple[Batcher, BatchKey]


def _merge(resolved: Sequence[Resolved]) -> dict[_Key, dict[str, None]]:
    """Return the different texts of all requests by batcher and batch key."""
    parts: dict[_Key, dict[str, None]] = {}
    for one in resolved:
        for key, text in one.texts:
            parts.setdefault((one.served.batcher_of(text), key), {})[text] = None
    return parts


def _name_texts(
    error: TextTooLong | ServerError, submitted: Sequence[QueuedRequest], resolved: Sequence[Resolved]
) -> None:
    """Let an error name texts by where the client has them."""
    failed = next((one for one in submitted if one.done.done() and one.done.exception() is error), None)
    if failed is not None and error.positions:
        bad = {failed.texts[position] for position in error.positions}
        texts = [text for one in resolved for _, text in one.texts]
        error.positions = tuple(number for number, text in enumerate(texts) if text in bad)


def _reply(
    request: EmbedRequest, resolved: Resolved, found: dict[_Key, dict[str, tuple[Float32, int | None]]]
) -> EmbedReply:
    rows = [found[resolved.served.batcher_of(text), key][text] for key, text in resolved.texts]
    counts = [count for _, count in rows if count is not None]
    return EmbedReply.of(
        np.stack([vector for vector, _ in rows]),
        replace(request, model=resolved.name),
        tokens=sum(counts) if len(counts) == len(rows) else None,
    )


def refusal(error: Exception) -> WireError:
    """Return what a client is told about an error; what only the operator should know is left out."""
    match error:
        case WireError():
            return error
        case TextTooLong():
            return WireError(Reason.TEXT_TOO_LONG, str(error))
        case InvalidVectors():  # the model's, not the client's
            return WireError(Reason.INTERNAL, "the model gave no usable vector for this request")
        case InvalidInput():
            return WireError(Reason.INVALID, str(error))
        case ServerError(positions=[first, *_]):
            return WireError(Reason.INVALID, f"text {first}: the model's server refused it")
        case ServerError(status=429):
            return WireError(Reason.RATE_LIMITED, "the model's server is busy; try again later", retry_after=5)
        case ServerError():
            return WireError(Reason.UNAVAILABLE, "the model's server failed or refused", retry_after=5)
        case JinavecError():
            return WireError(Reason.INTERNAL, "the model failed on this request")
        case _:
            return WireError(Reason.INTERNAL, "the server failed on this request")


def examine(protocol: Protocol, body: bytes, most: int) -> tuple[Protocol, bool]:
    """Return the dialect of a body, and whether an object in it holds a field twice.

    Raises:
        WireError: no JSON, nested too deeply, or of more than ``most`` values.
    """
    measured = outline(body)
    if measured.depth > DEEPEST:
        raise WireError(Reason.INVALID, f"the body is nested {measured.depth} deep; at most {DEEPEST}")
    if measured.values > most:
        raise WireError(Reason.TOO_LARGE, f"the body has more than {most} JSON values; send fewer texts")
    values = loads(body)
    return dialect(protocol, values), _names(values) != measured.names


def decode(protocol: Protocol, body: bytes, repeated: bool) -> tuple[EmbedRequest, ...]:
    """Read a body that was examined; most protocols put one request into it.

    Raises:
        WireError: not such a request, or one that says something twice, of which every reader takes another one.
    """
    if repeated:
        raise WireError(Reason.INVALID, "a field of the body is there twice")
    return protocol.codec.decode_requests(body)


def _names(values: Any) -> int:
    """Count the fields of all objects; each of those that were repeated counts once."""
    if isinstance(values, dict):
        own = cast("dict[str, Any]", values)
        return len(own) + sum(map(_names, own.values()))
    return sum(map(_names, cast("list[Any]", values))) if isinstance(values, list) else 0
