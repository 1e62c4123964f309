from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import pytest

pytest.importorskip("langchain_core", reason="needs the extra langchain")

from pydantic import ValidationError
from tests.two_roles import TWO_ROLES

from jinavec import Contract, Encoder
from jinavec.errors import InvalidDimension, InvalidInput, InvalidType, JinavecError, UnknownModel, UnknownTask
from jinavec_adapters.langchain import JinaV5Embeddings

from .encoders import Watched, keeps_the_loop_free

TEXTS = ["the cat sleeps", "ships in the harbour", "the cat sleeps"]


def test_vectors_are_those_of_the_core_in_their_roles() -> None:
    embeddings = JinaV5Embeddings(model=TWO_ROLES, task="retrieval", dimension=128)
    core = Encoder.load(TWO_ROLES, task="retrieval", dimension=128)
    assert embeddings.embed_documents(TEXTS) == core.encode_documents(TEXTS).tolist()
    assert embeddings.embed_query(TEXTS[0]) == core.encode_queries(TEXTS[:1])[0].tolist()
    assert embeddings.embed_query(TEXTS[0]) != embeddings.embed_documents(TEXTS[:1])[0]
    assert asyncio.run(embeddings.aembed_documents(TEXTS)) == embeddings.embed_documents(TEXTS)
    assert asyncio.run(embeddings.aembed_query(TEXTS[0])) == embeddings.embed_query(TEXTS[0])
    np.testing.assert_allclose(np.linalg.norm(embeddings.embed_documents(TEXTS), axis=1), 1, atol=1e-6)


def test_prefixes_reach_the_backend() -> None:
    backend = Watched()
    embeddings = JinaV5Embeddings.from_encoder(Encoder(TWO_ROLES, backend))
    embeddings.embed_query("Query: a")
    embeddings.embed_documents(["Document: a\n b"])
    assert backend.seen == ["Query: Query: a", "Document: Document: a\n b"]


def test_nothing_costs_nothing() -> None:
    backend = Watched()
    embeddings = JinaV5Embeddings.from_encoder(Encoder(TWO_ROLES, backend))
    assert embeddings.embed_documents([]) == []
    assert asyncio.run(embeddings.aembed_documents([])) == []
    assert backend.seen == []


def test_async_leaves_the_event_loop_free() -> None:
    async def run(query: bool) -> None:
        backend = Watched()
        embeddings = JinaV5Embeddings.from_encoder(Encoder(TWO_ROLES, backend))
        call = embeddings.aembed_query("a") if query else embeddings.aembed_documents(["a"])
        await keeps_the_loop_free(backend, asyncio.ensure_future(call))

    asyncio.run(run(query=True))
    asyncio.run(run(query=False))


def test_progress_is_that_of_the_core() -> None:
    calls: list[tuple[int, int]] = []

    def note(done: int, total: int) -> None:
        calls.append((done, total))

    JinaV5Embeddings(model="lexical", progress=note).embed_documents(TEXTS)
    assert calls[-1] == (3, 3)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"model": "no-such-model"}, UnknownModel),
        ({"model": "lexical", "dimension": 63}, InvalidDimension),
        ({"model": "lexical", "task": "retrieval.query"}, UnknownTask),
        ({"model": "lexical", "backend": "no-such-backend"}, InvalidInput),
        ({"model": "lexical", "options": {"no_such_option": 1}}, InvalidInput),
        ({"model": "lexical", "dimensions": 64}, ValidationError),
        ({"model": "lexical", "overflow": "cut"}, ValidationError),
        ({"model": 3}, ValidationError),
        ({}, ValidationError),
    ],
)
def test_what_does_not_exist_is_refused(fields: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        JinaV5Embeddings(**fields)


def test_bad_texts_are_refused() -> None:
    embeddings: Any = JinaV5Embeddings(model="lexical")
    for texts in ("one text", ["a", 3], None):
        with pytest.raises(InvalidType):
            embeddings.embed_documents(texts)
    with pytest.raises(InvalidType):
        embeddings.embed_query(None)


def test_fields_cannot_change_under_the_encoder() -> None:
    embeddings: Any = JinaV5Embeddings(model="lexical", dimension=64)
    with pytest.raises(ValidationError, match="frozen"):
        embeddings.dimension = 128


def test_what_decides_the_vectors_is_public() -> None:
    fields = {"model": "lexical", "task": "clustering", "dimension": 64, "backend": "lexical", "overflow": "error"}
    dumped = JinaV5Embeddings(**fields).model_dump()
    assert dumped | fields == dumped
    assert {"source", "revision", "served_as", "options"} <= dumped.keys()
    assert JinaV5Embeddings(**dumped).contract == Contract.of("lexical", "clustering", 64)


def test_a_profile_survives_json() -> None:
    embeddings = JinaV5Embeddings(model=TWO_ROLES, dimension=64)
    again = JinaV5Embeddings.model_validate_json(embeddings.model_dump_json())
    assert again.contract == embeddings.contract
    assert again.embed_documents(TEXTS) == embeddings.embed_documents(TEXTS)


@pytest.mark.parametrize("fields", [{"api_key": "s3cret"}, {"url": "http://me:s3cret@localhost"}, {"apikey": "s3cret"}])
def test_secrets_show_nowhere(fields: dict[str, Any]) -> None:
    with pytest.raises((JinavecError, ValidationError)) as caught:  # lexical takes neither key nor address
        JinaV5Embeddings(model="lexical", **fields)
    assert "s3cret" not in str(caught.value) + repr(caught.value)
    if "apikey" not in fields:
        shown = JinaV5Embeddings.model_construct(model="lexical", **fields)
        assert "s3cret" not in repr(shown) + str(shown) + json.dumps(shown.model_dump(mode="json"))


def test_the_cache_namespace_changes_with_the_contract() -> None:
    variants = [
        {"model": "lexical"},
        {"model": "lexical", "dimension": 64},
        {"model": "lexical", "task": "clustering"},
        {"model": TWO_ROLES},
    ]
    names = [JinaV5Embeddings(**fields).cache_namespace for fields in variants]
    assert len(set(names)) == len(names)
    assert JinaV5Embeddings(model="lexical", dimension=768).cache_namespace == names[0]
    assert all(name.replace("-", "").isalnum() for name in names)
