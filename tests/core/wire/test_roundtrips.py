"""What one side writes, the other reads: requests, replies and errors of every protocol."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from jinavec import Role, Task
from jinavec.errors import InvalidInput
from jinavec.wire.codecs import CODECS
from jinavec.wire.messages import STATUS, EmbedReply, EmbedRequest, Encoding, Reason, WireError


@dataclass(frozen=True)
class Speech:
    """What a protocol can say."""

    meanings: tuple[tuple[Task | None, Role | None], ...] = ((None, None),)
    encodings: tuple[Encoding, ...] = ("float",)
    fields: tuple[str, ...] = ()
    reply: tuple[str, ...] = ()


_ROLES = ((None, None), (None, Role.QUERY), (None, Role.DOCUMENT))
_TASKS = ((Task.CLUSTERING, None), (Task.CLASSIFICATION, None))
_RETRIEVAL = ((Task.RETRIEVAL, Role.QUERY), (Task.RETRIEVAL, Role.DOCUMENT))
SPEECH = {
    "cohere": Speech(
        (*_ROLES, *_RETRIEVAL, *_TASKS),
        ("float", "base64", "int8", "binary", "ubinary"),
        ("model", "dimension", "truncate"),
        ("tokens",),
    ),
    "eis": Speech(_ROLES, fields=("model", "dimension"), reply=("tokens",)),
    "elasticsearch": Speech((*_ROLES, *_TASKS), ("float", "int8", "bits")),
    "jina": Speech(
        ((None, None), *_RETRIEVAL, *_TASKS, (Task.TEXT_MATCHING, None)),
        ("float", "base64", "binary", "ubinary"),
        ("model", "dimension", "truncate", "normalized"),
        ("model", "tokens"),
    ),
    "ollama": Speech(fields=("model", "dimension", "truncate"), reply=("model", "tokens")),
    "openai": Speech(_ROLES, ("float", "base64"), ("model", "dimension", "user"), ("model", "tokens")),
    "tei": Speech(_ROLES, fields=("dimension", "truncate", "normalized")),
}
_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "model": st.text(max_size=12),
    "dimension": st.none() | st.integers(1, 4096),
    "truncate": st.none() | st.booleans(),
    "normalized": st.none() | st.booleans(),
    "user": st.text(max_size=12),
}
_CHARACTERS = st.characters(exclude_categories=["Cs"])


@st.composite
def requests(draw: st.DrawFn, protocol: str, most: int = 5) -> EmbedRequest:
    speech = SPEECH[protocol]
    encodings: list[Encoding] = (
        ["float"] if protocol in ("eis", "elasticsearch", "ollama", "tei") else [*speech.encodings]
    )
    task, role = draw(st.sampled_from(speech.meanings))
    return EmbedRequest(
        texts=tuple(draw(st.lists(st.text(_CHARACTERS), min_size=1, max_size=most))),
        task=task,
        role=role,
        encoding=draw(st.sampled_from(encodings)),
        **{name: draw(_FIELDS[name]) for name in speech.fields},
    )


@st.composite
def answers(draw: st.DrawFn, protocol: str) -> tuple[EmbedRequest, EmbedReply]:
    speech = SPEECH[protocol]
    request = draw(requests(protocol))
    encoding = draw(st.sampled_from(speech.encodings))
    said: dict[str, Any] = {"model": st.text(max_size=9), "tokens": st.none() | st.integers(1, 10**6)}
    reply = EmbedReply(
        vectors=draw(vectors(len(request.texts), encoding)),
        encoding=encoding,
        **{name: draw(said[name]) for name in speech.reply},
    )
    return replace(request, encoding=encoding), reply


def vectors(rows: int, encoding: Encoding) -> st.SearchStrategy[Any]:
    shape = st.tuples(st.just(rows), st.integers(1, 9))
    if encoding in ("float", "base64"):
        return arrays.arrays(np.float32, shape, elements=st.floats(width=32, allow_nan=False, allow_infinity=False))
    return arrays.arrays(np.int8 if encoding == "int8" else np.uint8, shape)


@pytest.mark.parametrize("protocol", SPEECH)
@given(data=st.data())
def test_a_request_survives(protocol: str, data: st.DataObject) -> None:
    request = data.draw(requests(protocol))
    codec = CODECS[protocol]
    assert codec.decode_requests(codec.encode_requests([request])) == (request,)


@pytest.mark.parametrize("protocol", SPEECH)
@given(data=st.data())
def test_a_reply_survives_bit_for_bit(protocol: str, data: st.DataObject) -> None:
    request, reply = data.draw(answers(protocol))
    codec = CODECS[protocol]
    assert codec.decode_replies(codec.encode_replies([reply]), [request]) == (reply,)


@pytest.mark.parametrize("protocol", SPEECH)
def test_a_body_of_one_request_takes_no_second(protocol: str) -> None:
    codec, request = CODECS[protocol], EmbedRequest(texts=("a",))
    reply = EmbedReply(vectors=np.ones((1, 2), np.float32))
    for write in (lambda: codec.encode_requests([request] * 2), lambda: codec.encode_replies([reply] * 2)):
        with pytest.raises(InvalidInput, match=f"'{protocol}' holds one request, not 2"):
            write()


@given(given=st.lists(requests("jina", most=1), min_size=1), role=st.sampled_from(Role))
def test_qdrant_carries_mixed_requests_of_one_role(given: list[EmbedRequest], role: Role) -> None:
    """Qdrant has no field for encoding and normalisation."""
    mixed = tuple(replace(request, role=role, encoding="float", normalized=None) for request in given)
    codec = CODECS["qdrant"]
    assert codec.decode_requests(codec.encode_requests(mixed)) == mixed


@given(rows=st.lists(vectors(1, "float"), min_size=1, max_size=5), tokens=st.none() | st.integers(0, 99))
def test_qdrant_gives_each_text_its_own_width(rows: list[Any], tokens: int | None) -> None:
    asked = [EmbedRequest(texts=(f"text {n}",), role=Role.QUERY, model=f"m{n % 2}") for n in range(len(rows))]
    replies = [EmbedReply(vectors=row, model=one.model, tokens=tokens) for row, one in zip(rows, asked, strict=True)]
    codec = CODECS["qdrant"]
    read = codec.decode_replies(codec.encode_replies(replies), asked)
    assert read == tuple(EmbedReply(vectors=row, model=one.model) for row, one in zip(rows, asked, strict=True))


@given(message=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40))
def test_an_error_keeps_its_words_and_its_status(message: str) -> None:
    for (protocol, codec), reason in product(CODECS.items(), Reason):
        note(f"{protocol}, {reason}")
        status, body = codec.encode_error(WireError(reason, message))
        error = codec.decode_error(status, body)
        assert (error.message, error.status) == (message, status)
        assert codec.encode_error(error)[0] in (status, STATUS[error.reason])


@pytest.mark.parametrize("protocol", CODECS)
@pytest.mark.parametrize("reason", Reason)
def test_an_error_keeps_its_reason_where_the_protocol_tells_it_apart(protocol: str, reason: Reason) -> None:
    words = {
        Reason.TEXT_TOO_LONG: "`inputs` must have less than 512 tokens. Given: 600",
        Reason.TOO_LARGE: "batch size 64 > maximum allowed batch size 32",
    }
    codec = CODECS[protocol]
    status, body = codec.encode_error(WireError(reason, words.get(reason, "no")))
    lost = {("qdrant", Reason.NOT_FOUND): Reason.INVALID}
    assert codec.decode_error(status, body).reason == lost.get((protocol, reason), reason)


@pytest.mark.parametrize(
    ("protocol", "request_"),
    [
        ("openai", EmbedRequest(texts=("a",), task=Task.RETRIEVAL)),
        ("openai", EmbedRequest(texts=("a",), encoding="int8")),
        ("tei", EmbedRequest(texts=("a",), model="m")),
        ("tei", EmbedRequest(texts=("a",), encoding="base64")),
        ("ollama", EmbedRequest(texts=("a",), role=Role.QUERY)),
        ("eis", EmbedRequest(texts=("a",), task=Task.CLUSTERING)),
        ("elasticsearch", EmbedRequest(texts=("a",), dimension=64)),
        ("elasticsearch", EmbedRequest(texts=("a",), task=Task.TEXT_MATCHING)),
        ("cohere", EmbedRequest(texts=("a",), task=Task.TEXT_MATCHING)),
        ("cohere", EmbedRequest(texts=("a",), user="me")),
        ("jina", EmbedRequest(texts=("a",), task=Task.RETRIEVAL)),
        ("jina", EmbedRequest(texts=("a",), encoding="bits")),
    ],
    ids=str,
)
def test_nothing_a_protocol_cannot_say_is_dropped(protocol: str, request_: EmbedRequest) -> None:
    with pytest.raises(InvalidInput):
        CODECS[protocol].encode_requests([request_])


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
_NAMES = [
    *("input", "inputs", "texts", "model", "task", "role", "dimensions", "encoding_format", "embedding_type", "data"),
    *("truncate", "prompt_name", "input_type", "embedding_types", "usage_context", "inference", "options", "token"),
    *("embeddings", "text_embedding", "usage", "meta", "error", "detail", "message", "code", "content", "index"),
]
_WORDS = st.sampled_from(["search", "update", "query", "retrieval.query", "float", "END", "text"])
_LIKELY = st.recursive(
    _WORDS | _JSON, lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(_NAMES), inner), max_leaves=12
)


@settings(max_examples=200)
@given(body=st.binary() | _LIKELY)
def test_any_bytes_are_read_or_refused(body: Any) -> None:
    """A server and a client meet anything; what cannot be read is a WireError, never another."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    asked = EmbedRequest(texts=("a",), role=Role.QUERY)
    for protocol, codec in CODECS.items():
        note(protocol)
        reads: list[Callable[[], object]] = [
            partial(codec.decode_requests, raw),
            partial(codec.decode_replies, raw, [asked]),
        ]
        for read in reads:
            try:
                read()
            except WireError as error:
                assert error.reason is Reason.INVALID and error.message
        failure = codec.decode_error(500, raw)
        assert isinstance(failure, WireError) and failure.message and len(failure.message) <= 400
