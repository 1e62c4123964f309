from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"  # both are read when haystack is imported
os.environ["HAYSTACK_DESERIALIZATION_ALLOWLIST"] = "jinavec_adapters.haystack.embedders"
pytest.importorskip("haystack", reason="needs the extra haystack")

from haystack import Document, Pipeline
from haystack.components.embedders.types import DocumentEmbedder, TextEmbedder
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.utils import Secret
from tests.support.two_roles import TWO_ROLES

from jinavec import Encoder, Task
from jinavec.errors import InvalidDimension, InvalidType, UnknownModel
from jinavec_adapters.haystack import JinaV5DocumentEmbedder, JinaV5TextEmbedder

CORE = Encoder.load(TWO_ROLES, dimension=64)
TEXTS = ["the cat sleeps on the stove", "ships in the harbour", ""]


def documents() -> list[Document]:
    return [Document(content=text, meta={"topic": f"topic {number}"}) for number, text in enumerate(TEXTS)]


@pytest.mark.filterwarnings("ignore:.*hold nothing to embed")
def test_vectors_are_those_of_the_core_in_their_roles() -> None:
    text: TextEmbedder = JinaV5TextEmbedder(TWO_ROLES, dimension=64)
    document: DocumentEmbedder = JinaV5DocumentEmbedder(TWO_ROLES, dimension=64)
    given = documents()
    wanted = CORE.encode_documents(TEXTS).tolist()
    assert [d.embedding for d in document.run(given)["documents"]] == wanted
    assert text.run(TEXTS[0])["embedding"] == CORE.encode_queries(TEXTS[:1])[0].tolist() != wanted[0]
    assert all(d.embedding is None for d in given)
    assert document.run([]) == {"documents": []}


def test_async_gives_the_same() -> None:
    text, document = JinaV5TextEmbedder(TWO_ROLES), JinaV5DocumentEmbedder(TWO_ROLES)
    given = documents()[:2]
    assert asyncio.run(text.run_async("a")) == text.run("a")
    assert asyncio.run(document.run_async(given)) == document.run(given)


def test_metadata_stands_before_the_content() -> None:
    embedder = JinaV5DocumentEmbedder(TWO_ROLES, dimension=64, meta_fields_to_embed=["topic", "no such field"])
    (embedded, *_) = embedder.run(documents()[:2])["documents"]
    assert embedded.embedding == CORE.encode_documents([f"topic 0\n{TEXTS[0]}"])[0].tolist()


@pytest.mark.parametrize("kind", [JinaV5TextEmbedder, JinaV5DocumentEmbedder])
@pytest.mark.parametrize("model", ["lexical", TWO_ROLES])
def test_a_pipeline_survives_its_file(kind: Any, model: Any) -> None:
    pipeline = Pipeline()
    pipeline.add_component("embedder", kind(model, task="clustering", dimension=64, overflow="error"))
    again = Pipeline.loads(pipeline.dumps())
    assert again.dumps() == pipeline.dumps()
    component: Any = again.get_component("embedder")
    assert component.contract == Encoder.load(model, task="clustering", dimension=64).contract


def test_a_key_is_written_as_the_name_of_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "s3cret")
    pipeline = Pipeline()
    pipeline.add_component("embedder", JinaV5TextEmbedder("lexical", api_key=Secret.from_env_var("TEST_KEY")))
    written = pipeline.dumps()
    assert "TEST_KEY" in written and "s3cret" not in written
    component: Any = Pipeline.loads(written).get_component("embedder")
    assert component.api_key.resolve_value() == "s3cret"


def test_an_address_is_written_without_its_password() -> None:
    address = "http://me:s3cret@127.0.0.1:9"
    pipeline = Pipeline()
    pipeline.add_component("embedder", JinaV5TextEmbedder("lexical", backend="jina", url=address))
    assert "http://127.0.0.1:9" in pipeline.dumps() and "s3cret" not in pipeline.dumps()


def test_folders_and_options_are_written_as_plain_values() -> None:
    options = {"threads": 2, "client": object()}
    embedder = JinaV5TextEmbedder("lexical", task=Task.CLUSTERING, source=Path("a") / "b", options=options)
    parameters: Any = embedder.to_dict()["init_parameters"]
    assert parameters["task"] == "clustering" and type(parameters["task"]) is str
    assert parameters["source"] == str(Path("a") / "b")
    assert parameters["options"] == {"threads": 2}


def test_weights_are_loaded_at_warm_up_and_mistakes_found_before() -> None:
    embedder = JinaV5TextEmbedder("jina-embeddings-v5-text-nano", source="no/such/folder", backend="onnx")
    with pytest.raises(Exception, match="no/such/folder"):
        embedder.warm_up()
    with pytest.raises(UnknownModel):
        JinaV5TextEmbedder("no-such-model")
    with pytest.raises(InvalidDimension):
        JinaV5DocumentEmbedder("lexical", dimension=63)
    with pytest.raises(TypeError, match="dimensions"):
        JinaV5DocumentEmbedder("lexical", dimensions=64)  # pyright: ignore[reportCallIssue]
    bad: Any = "one text"
    with pytest.raises(InvalidType):
        JinaV5DocumentEmbedder("lexical").run(bad)


def test_in_pipelines() -> None:
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    store.write_documents(JinaV5DocumentEmbedder("lexical").run(documents()[:2])["documents"])
    pipeline = Pipeline()
    pipeline.add_component("embedder", JinaV5TextEmbedder("lexical"))
    pipeline.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=1))
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    found: Any = pipeline.run({"embedder": {"text": "where does the cat sleep?"}})
    assert [document.content for document in found["retriever"]["documents"]] == TEXTS[:1]
