# Chroma's own functions have few types.
# pyright: reportUnknownVariableType=false
from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("chromadb", reason="needs the extra chroma")

import chromadb
from chromadb.config import Settings
from chromadb.utils.embedding_functions import config_to_embedding_function
from tests.support.two_roles import TWO_ROLES

from jinavec import Encoder
from jinavec.errors import ContractMismatch, InvalidDimension, InvalidInput
from jinavec_adapters.chroma import JinaV5EmbeddingFunction

CORE = Encoder.load(TWO_ROLES, dimension=64)
TEXTS = ["the cat sleeps on the stove", "ships in the harbour", "kittens drink milk"]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Any]:
    yield chromadb.PersistentClient(str(tmp_path), settings=Settings(anonymized_telemetry=False))


def test_vectors_are_those_of_the_core_in_their_roles() -> None:
    function = JinaV5EmbeddingFunction(TWO_ROLES, dimension=64)
    documents, queries = np.array(function(TEXTS)), np.array(function.embed_query(TEXTS))
    assert (documents == CORE.encode_documents(TEXTS)).all()
    assert (queries == CORE.encode_queries(TEXTS)).all()
    assert (documents != queries).any()


def test_a_collection_asks_in_the_role_of_a_query(client: Any) -> None:
    collection = client.create_collection("notes", embedding_function=JinaV5EmbeddingFunction(TWO_ROLES, dimension=64))
    collection.add(ids=["a", "b", "c"], documents=TEXTS)
    found = collection.query(query_texts=["where does the cat sleep?"], n_results=3)
    cosines = CORE.encode_documents(TEXTS) @ CORE.encode_queries(["where does the cat sleep?"])[0]
    assert found["ids"][0] == ["abc"[number] for number in np.argsort(-cosines)]
    np.testing.assert_allclose(found["distances"][0], np.sort(1 - cosines), atol=1e-5)


def test_a_collection_remembers_its_function(client: Any) -> None:
    made = client.create_collection("notes", embedding_function=JinaV5EmbeddingFunction(TWO_ROLES, dimension=64))
    made.add(ids=["a", "b", "c"], documents=TEXTS)
    again = client.get_collection("notes")
    assert again.query(query_texts=["ships"], n_results=1)["ids"] == [["b"]]
    assert len(again.get(ids=["a"], include=["embeddings"])["embeddings"][0]) == 64


def test_the_configuration_is_json_and_loads_the_same() -> None:
    function = JinaV5EmbeddingFunction("lexical", task="clustering", dimension=64)
    config = json.loads(json.dumps(function.get_config()))
    again = config_to_embedding_function({"name": "jinavec", "config": config})
    assert isinstance(again, JinaV5EmbeddingFunction)
    assert again.get_config() == config
    assert not function.is_legacy()
    with pytest.raises(InvalidInput):
        JinaV5EmbeddingFunction.validate_config({"model": "lexical"})
    JinaV5EmbeddingFunction.validate_config(config)


def test_another_contract_is_refused() -> None:
    old, new = JinaV5EmbeddingFunction("lexical", dimension=64), JinaV5EmbeddingFunction("lexical", dimension=128)
    with pytest.raises(ContractMismatch, match="64"):
        old.validate_config_update(old.get_config(), new.get_config())
    old.validate_config_update(old.get_config(), old.get_config())


def test_mistakes_are_refused() -> None:
    with pytest.raises(InvalidDimension):
        JinaV5EmbeddingFunction("lexical", dimension=63)
    with pytest.raises(TypeError, match="dimensions"):
        JinaV5EmbeddingFunction("lexical", dimensions=64)  # pyright: ignore[reportCallIssue]
    with pytest.raises(InvalidInput, match="dimension cannot be chosen again"):
        JinaV5EmbeddingFunction(CORE, dimension=64)
    with pytest.raises(InvalidInput, match=r"Encoder\.load"):
        JinaV5EmbeddingFunction(Encoder(TWO_ROLES, CORE.backend)).get_config()


def test_a_collection_is_not_opened_with_another_model(client: Any) -> None:
    made = client.create_collection("notes", embedding_function=JinaV5EmbeddingFunction(TWO_ROLES, dimension=64))
    made.add(ids=["a"], documents=TEXTS[:1])
    for other in (
        JinaV5EmbeddingFunction("lexical", dimension=64),
        JinaV5EmbeddingFunction(TWO_ROLES, dimension=128),
        JinaV5EmbeddingFunction(replace(TWO_ROLES, name="other"), dimension=64),
        JinaV5EmbeddingFunction("lexical", task="clustering", dimension=64),
    ):
        for opened in (client.get_collection, client.get_or_create_collection):
            with pytest.raises(
                ValueError, match=f"new: jinavec-.* vs persisted: jinavec-{TWO_ROLES.name}-retrieval-64"
            ):
                opened("notes", embedding_function=other)
    same = JinaV5EmbeddingFunction(Encoder.load(TWO_ROLES, dimension=64))
    assert client.get_or_create_collection("notes", embedding_function=same).count() == 1


def test_a_collection_of_0_1_still_opens(client: Any) -> None:
    """It is stored under the name that every model had."""
    function = JinaV5EmbeddingFunction("lexical", dimension=64)
    vars(function)["name"] = lambda: "jinavec"
    client.create_collection("notes", embedding_function=function).add(ids=["a", "b", "c"], documents=TEXTS)
    assert client.get_collection("notes").query(query_texts=["ships"], n_results=1)["ids"] == [["b"]]
    for opened in (client.get_collection, client.get_or_create_collection):
        again = opened("notes", embedding_function=JinaV5EmbeddingFunction("lexical", dimension=64))
        assert again.query(query_texts=["ships"], n_results=1)["ids"] == [["b"]]


def test_a_new_process_finds_the_function_of_a_collection(tmp_path: Path) -> None:
    code = "import chromadb, jinavec_adapters.chroma; c = chromadb.PersistentClient(PATH); "
    made = "f = jinavec_adapters.chroma.JinaV5EmbeddingFunction('lexical', dimension=64); "
    added = "c.create_collection('notes', embedding_function=f).add(ids=['a', 'b'], documents=['the cat', 'a ship'])"
    found = "print(c.get_collection('notes').query(query_texts=['ship'], n_results=1)['ids'])"
    for script, said in ((code + made + added, ""), (code + found, "[['b']]\n")):
        command = [sys.executable, "-c", script.replace("PATH", repr(str(tmp_path)))]
        assert subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout == said
