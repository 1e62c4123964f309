"""Qdrant's inference protocol: what a Qdrant server posts to the address of its ``inference`` setting (1.12 to 1.19).

One body holds inputs of mixed models, tasks and dimensions, so here a request is a tuple of requests of one text each,
and a reply a tuple of replies. ``inference`` (search or update) carries the role of them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinavec.errors import InvalidInput
from jinavec.tasks import Role, Task, task_name
from jinavec.wire.codec import Codec
from jinavec.wire.errors import read_error
from jinavec.wire.fields import Fields, dumps, loads, said, spelling
from jinavec.wire.jina import TASKS
from jinavec.wire.messages import STATUS, EmbedReply, EmbedRequest, Reason, ServerTraits, WireError
from jinavec.wire.rows import read_rows, write_rows

_ROLES: Mapping[str, Role] = {"search": Role.QUERY, "update": Role.DOCUMENT}
_TASKS: Mapping[str, tuple[Task, Role | None]] = {**TASKS, "retrieval": (Task.RETRIEVAL, None)}
_OPTIONS = ("task", "dimensions", "mrl", "truncate")
_STATUS = {**STATUS, Reason.NOT_FOUND: 400, Reason.TOO_LARGE: 400}
"""Qdrant shows its client the words of a 400 alone."""


def encode_requests(requests: Sequence[EmbedRequest]) -> bytes:
    """Write requests of one text each, all of one role.

    Raises:
        InvalidInput: several texts in one, or several roles.
    """
    roles = {request.role for request in requests}
    if len(roles) != 1 or None in roles:
        raise InvalidInput("one body of Qdrant's carries texts of one role, query or document")
    role = requests[0].role or Role.DOCUMENT
    users = {request.user for request in requests}
    if len(users) != 1:
        raise InvalidInput("one body of Qdrant's comes from one user")
    inputs = [_write_input(request) for request in requests]
    return dumps({"inputs": inputs, "inference": spelling(_ROLES, role), "token": requests[0].user or None})


def decode_requests(body: bytes) -> tuple[EmbedRequest, ...]:
    """Read a request: one EmbedRequest of one text for each input, in their order.

    The option ``mrl`` is another name of ``dimensions``; ``token`` becomes the user.

    Raises:
        WireError: not such a request, data that is no text, or a task that contradicts ``inference``.
    """
    fields = Fields(loads(body))
    role = fields.choice("inference", _ROLES)
    if role is None:
        raise WireError(Reason.INVALID, "the field 'inference' is missing: search or update")
    inputs = fields.items("inputs")
    if not inputs:
        raise WireError(Reason.INVALID, "the field 'inputs' is missing or empty: the texts to embed")
    user = fields.text("token") or ""
    return tuple(_read_input(Fields(item, "an input"), role, user) for item in inputs)


def encode_replies(replies: Sequence[EmbedReply]) -> bytes:
    """Write replies of one vector each; the tokens of each model are added up."""
    tokens: dict[str, int] = {}
    for reply in replies:
        if reply.tokens is not None:
            tokens[reply.model] = tokens.get(reply.model, 0) + reply.tokens
    usage = {"models": {model: {"tokens": count} for model, count in tokens.items()}} if tokens else None
    return dumps({"embeddings": [row for reply in replies for row in write_rows(reply)], "usage": usage})


def decode_replies(body: bytes, requests: Sequence[EmbedRequest]) -> tuple[EmbedReply, ...]:
    """Read the reply to requests; what each text cost is not told apart.

    Raises:
        WireError: not one vector per request.
    """
    rows = Fields(loads(body), "the reply").items("embeddings") or []
    if len(rows) != len(requests):
        raise WireError(Reason.INVALID, f"the reply has {len(rows)} vectors for {len(requests)} texts")
    return tuple(
        EmbedReply(vectors=read_rows([row], request, "float")[0], model=request.model)
        for row, request in zip(rows, requests, strict=True)
    )


def encode_error(error: WireError) -> tuple[int, bytes]:
    """Return status and body."""
    return _STATUS[error.reason], dumps({"error": error.message})


def _write_input(request: EmbedRequest) -> dict[str, Any]:
    request.check_carried("Qdrant", "model", "task", "role", "dimension", "truncate", "user")
    if len(request.texts) != 1:
        raise InvalidInput(f"an input of Qdrant's is one text, not {len(request.texts)}")
    task = None if request.task is None else task_name(request.task, request.role or Role.DOCUMENT)
    options = said(task=task, dimensions=request.dimension, truncate=request.truncate)
    return {"data": request.texts[0], "data_type": "text", "model": request.model, "options": options or None}


def _read_input(fields: Fields, role: Role, user: str) -> EmbedRequest:
    text = fields.values.get("data")
    if fields.values.get("data_type") not in (None, "text") or not isinstance(text, str):
        raise WireError(Reason.INVALID, "an input is no text; this server embeds texts only")
    options = Fields(fields.table("options") or {}, "options")
    if unknown := [name for name in options.values if name not in _OPTIONS and not name.endswith("-api-key")]:
        raise WireError(Reason.INVALID, f"unknown option {unknown[0]!r}; known: {', '.join(_OPTIONS)}")
    task, implied = options.choice("task", _TASKS) or (None, None)
    if implied not in (None, role):
        raise WireError(Reason.INVALID, f"the option task embeds a {implied}, but inference embeds a {role}")
    return EmbedRequest(
        texts=(text,),
        model=fields.text("model") or "",
        task=task,
        role=role,
        dimension=_dimension(options),
        truncate=options.flag("truncate"),
        user=user,
    )


def _dimension(options: Fields) -> int | None:
    dimensions, mrl = options.count("dimensions"), options.count("mrl")
    if dimensions is not None and mrl is not None and dimensions != mrl:
        raise WireError(Reason.INVALID, f"the options dimensions ({dimensions}) and mrl ({mrl}) contradict each other")
    return dimensions if mrl is None else mrl


CODEC = Codec(
    name="qdrant",
    server=ServerTraits(path="", adds_prompt=True, applies_task=True, narrows=True),
    encode_requests=encode_requests,
    decode_requests=decode_requests,
    encode_replies=encode_replies,
    decode_replies=decode_replies,
    encode_error=encode_error,
    decode_error=read_error,
)
