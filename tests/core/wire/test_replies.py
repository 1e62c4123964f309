"""Replies that must never be stored: the wrong count, order, width or numbers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from jinavec.errors import InvalidInput, InvalidVectors
from jinavec.vectors import normalize
from jinavec.wire import cohere, elasticsearch, jina, ollama, openai, tei
from jinavec.wire.messages import EmbedReply, EmbedRequest, Encoding, WireError

ASKED = EmbedRequest(texts=("a", "b", "c"))


def data(*indices: object) -> bytes:
    return json.dumps({"data": [{"index": n, "embedding": [float(str(n)), 1]} for n in indices]}).encode()


@pytest.mark.parametrize("codec", [jina, openai])
def test_order_is_that_of_the_index(codec: Any) -> None:
    reply = codec.decode_reply(data(2, 0, 1), ASKED)
    assert reply.vectors[:, 0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("codec", [jina, openai])
def test_without_any_index_the_order_is_that_of_the_reply(codec: Any) -> None:
    body = json.dumps({"data": [{"embedding": [n]} for n in (5, 6, 7)]}).encode()
    assert codec.decode_reply(body, ASKED).vectors[:, 0].tolist() == [5, 6, 7]


@pytest.mark.parametrize("codec", [jina, openai])
@pytest.mark.parametrize("indices", [(0, 1, 1), (0, 1, 3), (1, 2, 3), (-1, 0, 1), (0, 1), (0, 1, 2, 3)])
def test_a_missing_or_doubled_index_is_an_error(codec: Any, indices: tuple[object, ...]) -> None:
    with pytest.raises(WireError, match="indices|vectors for 3 texts"):
        codec.decode_reply(data(*indices), ASKED)


@pytest.mark.parametrize("codec", [jina, openai])
def test_an_index_on_some_is_an_error(codec: Any) -> None:
    body = b'{"data": [{"index": 0, "embedding": [1]}, {"embedding": [1]}, {"index": 2, "embedding": [1]}]}'
    with pytest.raises(WireError, match="indices"):
        codec.decode_reply(body, ASKED)


BAD_ROWS = {
    "too few": "[[1, 2], [3, 4]]",
    "too many": "[[1], [2], [3], [4]]",
    "ragged": "[[1, 2], [3, 4], [5]]",
    "not a number": "[[1, NaN], [1, 2], [1, 2]]",
    "infinite as float32": "[[1, 1e300], [1, 2], [1, 2]]",
    "null inside": "[[1, null], [1, 2], [1, 2]]",
    "null": "[[1, 2], null, [1, 2]]",
    "a string inside": '[[1, "2"], [1, 2], [1, 2]]',
    "empty": "[[], [], []]",
    "nothing": "null",
    "floats and base64": '[[1, 2], "AACAPw==", [1, 2]]',
    "half a float in base64": '["AACA", "AACA", "AACA"]',
    "not base64": '["?", "?", "?"]',
    "nested": "[[[1]], [[2]], [[3]]]",
}


@pytest.mark.parametrize("rows", BAD_ROWS.values(), ids=BAD_ROWS.keys())
@pytest.mark.parametrize("protocol", ["cohere", "elasticsearch", "jina", "ollama", "openai", "tei"])
def test_rows_that_are_no_vectors_for_the_texts(protocol: str, rows: str) -> None:
    bodies: dict[str, tuple[Any, str]] = {
        "cohere": (cohere, f'{{"embeddings": {{"float": {rows}}}}}'),
        "elasticsearch": (elasticsearch, f'{{"text_embedding": {_items(rows)}}}'),
        "jina": (jina, f'{{"data": {_items(rows)}}}'),
        "ollama": (ollama, f'{{"embeddings": {rows}}}'),
        "openai": (openai, f'{{"data": {_items(rows)}}}'),
        "tei": (tei, rows),
    }
    codec, body = bodies[protocol]
    with pytest.raises(WireError):
        codec.decode_reply(body.encode(), ASKED)


def _items(rows: str) -> str:
    """Write rows as items of an object each, without parsing NaN away."""
    if rows == "null":
        return rows
    return "[" + ", ".join(f'{{"embedding": {json.dumps(row)}}}' for row in json.loads(rows)) + "]"


@pytest.mark.parametrize("codec", [jina, openai])
@pytest.mark.parametrize(("asked", "given"), [("float", "base64"), ("base64", "float")])
def test_floats_and_base64_stand_in_for_each_other(codec: Any, asked: Encoding, given: Encoding) -> None:
    vectors = np.array([[0.25, -0.5, 1.0]] * 3, np.float32)
    body = codec.encode_reply(EmbedReply(vectors=vectors, encoding=given))
    reply = codec.decode_reply(body, EmbedRequest(texts=ASKED.texts, encoding=asked))
    assert (reply.vectors == vectors).all()


@pytest.mark.parametrize("encoding", ["float", "base64", "int8", "binary", "ubinary", "bits"])
def test_a_reply_packs_what_was_asked_for(encoding: Encoding) -> None:
    rng = np.random.default_rng(7)
    vectors = normalize(rng.standard_normal((4, 64)))
    reply = EmbedReply.of(vectors, EmbedRequest(texts=("a",) * 4, encoding=encoding, model="m"), tokens=9)
    assert (reply.encoding, reply.model, reply.tokens) == (encoding, "m", 9)
    cosine = (normalize(reply.floats) * vectors).sum(axis=1)
    assert cosine.min() > (0.999 if encoding in ("float", "base64", "int8") else 0.6)
    assert ((reply.floats > 0) == (vectors > 0)).mean() > 0.97


def test_a_reply_checks_its_own_vectors() -> None:
    with pytest.raises(InvalidVectors):
        EmbedReply(vectors=np.zeros((2, 3)))
    with pytest.raises(InvalidVectors):
        EmbedReply(vectors=np.zeros(3, np.float32))
    with pytest.raises(InvalidInput):
        EmbedReply(vectors=np.zeros((2, 3), np.float32), encoding="hex")  # pyright: ignore[reportArgumentType]
