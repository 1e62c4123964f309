# LanceDB's own functions have few types.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("lancedb", reason="needs the extra lancedb")

import lancedb
from lancedb.embeddings import get_registry
from lancedb.pydantic import LanceModel, Vector
from tests.support.two_roles import TWO_ROLES

from jinavec import Encoder
from jinavec.errors import InvalidDimension, InvalidType, UnknownModel
from jinavec_adapters.lancedb import JinaV5EmbeddingFunction

CORE = Encoder.load(TWO_ROLES, dimension=64)
TEXTS = ["the cat sleeps on the stove", "ships in the harbour", "kittens drink milk"]
lance: Any = lancedb


def make(**arguments: Any) -> Any:
    entry: Any = get_registry().get("jinavec")
    assert entry is JinaV5EmbeddingFunction
    return entry.create(**{"model": TWO_ROLES.to_json(), "dimension": 64} | arguments)


def test_vectors_are_those_of_the_core_in_their_roles() -> None:
    function = make()
    documents, queries = CORE.encode_documents(TEXTS), CORE.encode_queries(TEXTS)
    assert (np.array(function.compute_source_embeddings_with_retry(TEXTS)) == documents).all()
    assert (np.array(function.compute_source_embeddings(lance.pydantic.pa.array(TEXTS))) == documents).all()
    assert (np.array(function.compute_query_embeddings_with_retry(TEXTS[0])) == queries[:1]).all()
    assert (documents != queries).any()
    assert function.ndims() == 64


@pytest.mark.parametrize("model", [TWO_ROLES.to_json(), TWO_ROLES, "lexical"], ids=["values", "profile", "name"])
def test_a_table_embeds_and_remembers(tmp_path: Path, model: Any) -> None:
    function = make(model=model)

    class Note(LanceModel):
        text: str = function.SourceField()
        vector: Vector(function.ndims()) = function.VectorField()  # pyright: ignore[reportInvalidTypeForm]

    table = lance.connect(tmp_path).create_table("notes", schema=Note)
    table.add([{"text": text} for text in TEXTS])
    again = lance.connect(tmp_path).open_table("notes")
    found = again.search("where does the cat sleep?").metric("cosine").limit(3).to_list()
    core = Encoder.load(TWO_ROLES if model != "lexical" else "lexical", dimension=64)
    cosines = core.encode_documents(TEXTS) @ core.encode_queries(["where does the cat sleep?"])[0]
    assert [row["text"] for row in found] == [TEXTS[number] for number in np.argsort(-cosines)]
    np.testing.assert_allclose([row["_distance"] for row in found], np.sort(1 - cosines), atol=1e-5)


def test_mistakes_are_refused_at_once() -> None:
    for arguments, error in (
        ({"model": "no-such-model"}, UnknownModel),
        ({"dimension": 63}, InvalidDimension),
        ({"dimensions": 64}, ValueError),
        ({"api_key": "s3cret"}, ValueError),
    ):
        with pytest.raises(error) as caught:
            make(**arguments)
        assert "s3cret" not in str(caught.value)
    with pytest.raises(InvalidType):
        make().compute_source_embeddings_with_retry(["a", None])


def test_a_key_is_a_variable_and_shows_nowhere() -> None:
    get_registry().set_var("test-key", "s3cret")
    function = make(api_key="$var:test-key")
    assert function.api_key == "s3cret"
    assert "s3cret" not in repr(function) + str(function) + str(function.safe_model_dump())


def test_an_address_is_written_without_its_password(tmp_path: Path) -> None:
    address = "http://me:s3cret@127.0.0.1:9"
    get_registry().set_var("test-address", address)
    for url, written in ((address, "http://127.0.0.1:9"), ("$var:test-address", "$var:test-address")):
        function = make(backend="jina", url=url)
        assert function.url == address and "s3cret" not in repr(function)

        class Note(LanceModel):
            text: str = function.SourceField()
            vector: Vector(function.ndims()) = function.VectorField()  # pyright: ignore[reportInvalidTypeForm]

        table = lance.connect(tmp_path).create_table("notes", schema=Note, mode="overwrite")
        metadata = str(table.schema.metadata)
        assert written in metadata and "s3cret" not in metadata
