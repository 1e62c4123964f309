from __future__ import annotations

import asyncio
import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("langchain_core", reason="needs the extra langchain")

from langchain_core.load import dumpd, dumps, loads
from pydantic import ValidationError
from tests.support.tiny_graphs import TinyGraph
from tests.support.tiny_tokenizers import tiny_profile
from tests.support.two_roles import TWO_ROLES

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


# copies, equality, pickle, LangChain's own form


@pytest.fixture(params=["lexical", "wordllama-256", "onnx"])
def load(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Return the fields of a model of each kind that runs in this process."""
    if request.param == "wordllama-256":
        pytest.importorskip("wordllama", reason="needs the extra static")
    if request.param != "onnx":
        return {"model": request.param, "task": "retrieval", "dimension": 64}
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    pytest.importorskip("onnx")
    folder = TinyGraph("nano").save(tmp_path)
    return {"model": tiny_profile("nano"), "task": "retrieval", "backend": "onnx", "source": folder}


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, JinaV5Embeddings.model_copy])
def test_copies_are_equal_and_share_the_encoder(load: dict[str, Any], way: Any) -> None:
    embeddings = JinaV5Embeddings(**load)
    again = way(embeddings)
    assert again == embeddings and again.encoder is embeddings.encoder


def test_what_was_pickled_is_equal_and_loads_when_it_is_needed(load: dict[str, Any]) -> None:
    embeddings = JinaV5Embeddings(**load)
    vectors = embeddings.embed_documents(TEXTS)
    for again in (pickle.loads(pickle.dumps(embeddings)), pickle.loads(pickle.dumps(embeddings))):
        assert not again.__pydantic_private__["_encoder"]
        assert again == embeddings and hash(again) == hash(embeddings)
        assert not again.__pydantic_private__["_encoder"]
        assert again.embed_documents(TEXTS) == vectors
        assert again.contract == embeddings.contract
    again = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(embeddings))))
    assert asyncio.run(again.aembed_query(TEXTS[0])) == embeddings.embed_query(TEXTS[0])


@pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
def test_langchain_writes_and_reads_it(load: dict[str, Any]) -> None:
    embeddings = JinaV5Embeddings(**load)
    written = dumps(embeddings)
    assert json.loads(written) == dumpd(embeddings)
    again = loads(written, allowed_objects=[JinaV5Embeddings], valid_namespaces=["jinavec_adapters"])
    assert again == embeddings and dumps(again) == written
    assert again.embed_query(TEXTS[0]) == embeddings.embed_query(TEXTS[0])


def test_equal_are_those_that_are_loaded_alike() -> None:
    fields: dict[str, Any] = {"model": "lexical", "task": "clustering", "dimension": 64}
    embeddings = JinaV5Embeddings(**fields)
    assert embeddings == JinaV5Embeddings(**fields) and hash(embeddings) == hash(JinaV5Embeddings(**fields))
    assert len({embeddings, JinaV5Embeddings(**fields)}) == 1
    for change in ({"dimension": 128}, {"task": "retrieval"}, {"overflow": "error"}, {"model": TWO_ROLES}):
        assert embeddings != JinaV5Embeddings(**(fields | change))
    assert embeddings != "lexical"


def test_a_copy_with_other_fields_embeds_as_they_say() -> None:
    embeddings = JinaV5Embeddings(model="lexical", dimension=64)
    wider = embeddings.model_copy(update={"dimension": 128})
    assert wider.embed_query("a") == JinaV5Embeddings(model="lexical", dimension=128).embed_query("a")
    with pytest.raises(InvalidDimension):
        embeddings.model_copy(update={"dimension": 65})


def test_an_encoder_given_keeps_how_it_was_loaded() -> None:
    encoder = Encoder.load(TWO_ROLES, dimension=64, overflow="error")
    embeddings = JinaV5Embeddings.from_encoder(encoder)
    assert embeddings == JinaV5Embeddings.from_encoder(Encoder.load(TWO_ROLES, dimension=64, overflow="error"))
    assert pickle.loads(pickle.dumps(embeddings)).embed_query("a") == embeddings.embed_query("a")


@pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
def test_an_encoder_of_ones_own_cannot_be_loaded_again() -> None:
    encoder = Encoder(TWO_ROLES, Watched())
    embeddings = JinaV5Embeddings.from_encoder(encoder)
    with pytest.raises(InvalidType, match="pickled"):
        pickle.dumps(embeddings)
    with pytest.raises(InvalidType, match="changed"):
        embeddings.model_copy(update={"dimension": 64})
    assert json.loads(dumps(embeddings))["type"] == "not_implemented"
    assert copy.deepcopy(embeddings) == embeddings == JinaV5Embeddings.from_encoder(encoder)
    assert embeddings != JinaV5Embeddings.from_encoder(Encoder(TWO_ROLES, Watched()))
