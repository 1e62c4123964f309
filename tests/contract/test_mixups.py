"""Mix-ups of task, role, width, prefix, model, folder, address and encoder, each committed as a user would commit it.

Each ends in one of three ways: refused, by an error that names what differs; warned of; or harmless, the vector right.
What cannot be seen is listed in ``docs/mix-ups.md``. A new mix-up is a function with one of the three decorators.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("httpx2")
from tests.adapters.server.conftest import ROLES, Server, running
from tests.support.scripted_server import ScriptedServer
from tests.support.tiny_graphs import TinyGraph
from tests.support.tiny_models import TinyFamily
from tests.support.tiny_tokenizers import Kind, long_text, save_tokenizer, tiny_profile, write_json
from tests.support.two_roles import TWO_ROLES

from jinavec import Contract, Encoder, JinavecWarning, ModelProfile, Record, open_engine
from jinavec.backends.local.export import export_onnx
from jinavec.errors import (
    ContractMismatch,
    IndexDamaged,
    InvalidInput,
    JinavecError,
    ModelError,
    ServerError,
    TextTooLong,
    UnknownTask,
)
from jinavec.models import find_model
from jinavec_adapters.cli import main
from jinavec_integrations.elasticsearch.mapping import Layout, Meta
from jinavec_integrations.faiss import BinaryIndex

NANO = "jina-embeddings-v5-text-nano"
CAT, SHIP = "the cat sleeps on the stove", "ships anchor in the harbour"
RECORDS = [Record("a", CAT), Record("b", SHIP)]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
FAMILY = dataclasses.replace(find_model(NANO), width=64, dimensions=(64,), limit=64, appended=(401,), revisions={})
"""jinaai's nano, as narrow as the tiny graphs."""


@dataclass
class At:
    """What a mix-up may use."""

    path: Path
    fixture: Callable[[str], Any]
    capture: pytest.CaptureFixture[str]

    @property
    def target(self) -> str:
        """A FAISS index, not there yet."""
        return f"faiss:{self.path}/index"

    @property
    def two_tasks(self) -> Server:
        """``jinavec serve`` of the model "roles" for retrieval and clustering."""
        return self.fixture("two_tasks")

    @property
    def one_task(self) -> Server:
        """The same for retrieval, where a text without a role is a document."""
        return self.fixture("one_task")

    @property
    def roles(self) -> ModelProfile:
        return ModelProfile.from_toml(self.fixture("roles"))

    def family(self, kind: Kind) -> TinyFamily:
        """A tiny base repository and its merged siblings; needs torch."""
        return self.fixture("families")(kind)

    def run(self, *arguments: object) -> str:
        """Run the command line; what it says when it fails is raised."""
        code = main([str(argument) for argument in arguments])
        said = self.capture.readouterr()
        if code:
            raise JinavecError(said.err)
        return said.out

    def folder(self, name: str, kind: Kind = "nano", **how: Any) -> str:
        """Write a folder with a tiny graph."""
        return str(TinyGraph(kind).save(self.path / name, **how))


Commit = Callable[[At], None]
MIXUPS: list[Any] = []


@dataclass(frozen=True)
class Outcome:
    refused: type[Exception] | None = None
    warned: bool = False
    says: str = ""


def _mixup(outcome: Outcome, *marks: pytest.MarkDecorator) -> Callable[[Commit], Commit]:
    def add(commit: Commit) -> Commit:
        MIXUPS.append(pytest.param(commit, outcome, id=getattr(commit, "__name__", ""), marks=marks))
        return commit

    return add


def refused(error: type[Exception], says: str, *marks: pytest.MarkDecorator) -> Callable[[Commit], Commit]:
    return _mixup(Outcome(error, says=says), *marks)


def warned(says: str, *marks: pytest.MarkDecorator) -> Callable[[Commit], Commit]:
    return _mixup(Outcome(warned=True, says=says), *marks)


def harmless(commit: Commit) -> Commit:
    return _mixup(Outcome())(commit)


def same(given: Any, expected: Any) -> None:
    np.testing.assert_allclose(np.asarray(given, np.float32), expected, atol=1e-6)


@pytest.fixture(scope="module")
def roles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("profile") / "roles.toml"
    path.write_text(ROLES, "utf-8")
    return path


@pytest.fixture(scope="module")
def two_tasks(roles: Path) -> Generator[Server]:
    with running("--model", roles, "--task", "retrieval", "--task", "clustering") as server:
        yield server


@pytest.fixture(scope="module")
def one_task(roles: Path) -> Generator[Server]:
    with running("--model", roles, "--task", "retrieval", "--default-role", "document") as server:
        yield server


# An index


def _index(at: At, model: str | ModelProfile = TWO_ROLES, **how: Any) -> Encoder:
    """Fill an index and return the encoder that did it."""
    encoder = Encoder.load(model, **how)
    with open_engine(at.target, encoder=encoder) as engine:
        engine.add(RECORDS)
    return encoder


@refused(ContractMismatch, "model: .*'two-roles'.*'lexical'")
def an_index_of_another_model_of_the_same_width(at: At) -> None:
    _index(at)
    open_engine(at.target, encoder=Encoder.load("lexical"))


@refused(ContractMismatch, "task: .*'retrieval'.*'clustering'")
def an_index_of_another_task(at: At) -> None:
    _index(at)
    open_engine(at.target, encoder=Encoder.load(TWO_ROLES, task="clustering"))


@refused(ContractMismatch, "dimension: .*768.*128")
def an_index_of_another_dimension(at: At) -> None:
    _index(at)
    open_engine(at.target, encoder=Encoder.load(TWO_ROLES, dimension=128))


@refused(ContractMismatch, "query_prefix: .*'Query: '.*'query: '")
def a_profile_of_the_same_name_with_another_prefix(at: At) -> None:
    _index(at)
    prompts: Any = {("retrieval", "query"): "query: ", ("retrieval", "document"): "Document: "}
    open_engine(at.target, encoder=Encoder.load(dataclasses.replace(TWO_ROLES, prompts=prompts)))


@refused(ContractMismatch, "pooling: .*'mean'.*'last'")
def a_profile_of_the_same_name_with_another_pooling(at: At) -> None:
    _index(at)
    open_engine(at.target, encoder=Encoder.load(dataclasses.replace(TWO_ROLES, pooling="last")))


@refused(ContractMismatch, "pooling: .*'mean'.*'cls'")
def the_merge_of_another_pooling(at: At) -> None:
    _index(at)
    other = Encoder.load(dataclasses.replace(TWO_ROLES, pooling="cls"))
    with open_engine(f"faiss:{at.path}/other", encoder=other) as engine, BinaryIndex.open(at.path / "index") as index:
        engine.add(RECORDS)
        index.merge(engine)


@warned("weights in .*/one, .* uses those in .*/two")
def a_profile_of_the_same_name_with_other_weights(at: At) -> None:
    one, two = (dataclasses.replace(tiny_profile("nano"), source=at.folder(name)) for name in ("one", "two"))
    _index(at, one, backend="onnx")
    open_engine(at.target, encoder=Encoder.load(two, backend="onnx")).close()


@warned("revision one .* uses two")
def other_revisions_of_the_weights(at: At) -> None:
    folder = at.folder("weights")
    _index(at, tiny_profile("nano"), backend="onnx", source=folder, revision="one")
    other = Encoder.load(tiny_profile("nano"), backend="onnx", source=folder, revision="two")
    open_engine(at.target, encoder=other).close()


@harmless
def a_contract_from_before_pooling_was_recorded(at: At) -> None:
    values = Contract.of(TWO_ROLES).to_json()
    del values["pooling"], values["source"]
    open_engine(at.target, contract=Contract.from_json(values)).close()
    with open_engine(at.target, encoder=Encoder.load(TWO_ROLES)) as engine:
        engine.add(RECORDS)
        assert engine.search("cat", 1)[0].record.id == "a"


@refused(IndexDamaged, "checksum")
def an_edited_contract_in_a_faiss_index(at: At) -> None:
    _index(at)
    path = at.path / "index" / "manifest.json"
    path.write_text(path.read_text("utf-8").replace("two-roles", "other"), "utf-8")
    open_engine(at.target)


@refused(IndexDamaged, "was edited")
def an_edited_contract_in_a_qdrant_collection(at: At) -> None:
    qdrant = pytest.importorskip("qdrant_client")
    with open_engine(f"qdrant:{at.path}/folder/notes", encoder=Encoder.load("lexical")) as engine:
        engine.add(RECORDS)
    client = qdrant.QdrantClient(path=str(at.path / "folder"))
    metadata: Any = client.get_collection("notes").config.metadata
    metadata["jinavec"]["contract"]["model"] = "other"
    client.update_collection("notes", metadata=metadata)
    client.close()
    open_engine(f"qdrant:{at.path}/folder/notes")


@refused(IndexDamaged, "was edited")
def an_edited_contract_in_an_elasticsearch_index(at: At) -> None:
    meta = Meta(contract=Contract.of("lexical"), layout=Layout(storage="hnsw")).to_json()
    meta["jinavec"]["contract"]["model"] = "other"
    Meta.read("notes", {"_meta": meta})


@harmless
def int8_weights_add_to_an_index_of_float32_ones(at: At) -> None:
    """It is allowed, since both point the same way; info says so."""
    graph = TinyGraph("nano")
    folder = graph.save(at.path / "weights")
    graph.save_graph(folder / "onnx" / "model_int8.onnx")
    how: Any = {"backend": "onnx", "source": str(folder)}
    _index(at, tiny_profile("nano"), **how)
    _index(at, tiny_profile("nano"), **how, options={"file": "model_int8.onnx"})
    assert json.loads(at.run("info", at.target, "--json"))["contract"]["precision"] == "float32, int8"


@refused(JinavecError, "model: .*'two-roles'.*'lexical'")
def a_search_by_another_model(at: At) -> None:
    _index(at)
    at.run("search", at.target, "cat", "--model", "lexical")


# A file of vectors


def _vectors(at: At, *encode: object, index: tuple[object, ...] = ()) -> None:
    """Write vectors by ``jinavec encode``, and index them by others' words."""
    (at.path / "texts.jsonl").write_text("".join(json.dumps({"id": r.id, "text": r.text}) + "\n" for r in RECORDS))
    profile = at.fixture("roles")
    role = () if "--role" in encode else ("--role", "document")
    at.run("encode", at.path / "texts.jsonl", "--profile", profile, "--out", at.path / "v.npy", *role, *encode)
    model = () if "--model" in index else ("--profile", profile)
    at.run("index", at.path / "texts.jsonl", "--vectors", at.path / "v.npy", "--to", at.target, *model, *index)


@refused(JinavecError, "task: the index has 'retrieval', .*v.npy, as v.npy.contract.json says, has 'clustering'")
def vectors_of_another_task(at: At) -> None:
    _vectors(at, "--task", "clustering")


@refused(JinavecError, "model: the index has 'lexical', .* has 'roles'")
def vectors_of_another_model(at: At) -> None:
    _vectors(at, index=("--model", "lexical"))


@refused(JinavecError, "dimension: the index has 128, .* has 64")
def vectors_of_another_dimension(at: At) -> None:
    _vectors(at, "--dimension", 64, index=("--dimension", 128))


@refused(JinavecError, "holds vectors of queries")
def vectors_of_queries(at: At) -> None:
    _vectors(at, "--role", "query")


@harmless
def vectors_of_the_same_contract(at: At) -> None:
    _vectors(at)
    with open_engine(at.target) as engine:
        query = Encoder.load(at.roles).encode_queries(["cat"])[0]
        assert engine.search(query, 1)[0].record.id == "a"


# A folder of weights


def _snapshot(at: At, name: str) -> str:
    """Write a folder as the hub's cache has it, which ``snapshot_download`` returns."""
    return at.folder(f"models--jinaai--{name}/snapshots/{COMMIT}")


@refused(ModelError, "the task clustering, not those of .* for retrieval")
def a_snapshot_of_another_task(at: At) -> None:
    Encoder.load(tiny_profile("nano"), backend="onnx", source=_snapshot(at, f"{NANO}-clustering"))


@refused(ModelError, "the task clustering, not those of .* for retrieval")
def a_link_to_a_snapshot_of_another_task(at: At) -> None:
    (at.path / "mine").symlink_to(_snapshot(at, f"{NANO}-clustering"))
    Encoder.load(tiny_profile("nano"), backend="onnx", source=str(at.path / "mine"))


@refused(ModelError, "the task clustering, not those of .* for retrieval")
def a_folder_of_ones_own_name_whose_config_tells_another_task(at: At) -> None:
    folder = at.folder("mine")
    write_json(Path(folder) / "config.json", {"_name_or_path": f"jinaai/{NANO}-clustering"})
    Encoder.load(tiny_profile("nano"), backend="onnx", source=folder)


@warned("nothing names the task of these weights")
def a_folder_of_ones_own_name_that_tells_no_task(at: At) -> None:
    Encoder.load(FAMILY, backend="onnx", source=at.folder("mine"))


@refused(ModelError, "the model jina-embeddings-v5-text-small")
def a_folder_of_the_other_size(at: At) -> None:
    Encoder.load(FAMILY, backend="onnx", source=_snapshot(at, "jina-embeddings-v5-text-small-retrieval"))


@refused(ModelError, "width 32; tiny-nano has width 64")
def weights_of_another_width(at: At) -> None:
    folder = str(TinyGraph("nano", width=32).save(at.path / "narrow"))
    Encoder.load(tiny_profile("nano"), backend="onnx", source=folder)


def _pooling(folder: str, mode: str) -> None:
    modules = [{"idx": 0, "name": "0", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]
    write_json(Path(folder) / "modules.json", modules)
    (Path(folder) / "1_Pooling").mkdir()
    write_json(Path(folder) / "1_Pooling" / "config.json", {f"pooling_mode_{mode}": True})


@refused(ModelError, "pools by 'mean', but the profile of tiny-nano says 'last'")
def a_folder_that_pools_otherwise_than_the_profile(at: At) -> None:
    folder = at.folder("mean", outputs=("last_hidden_state",))
    _pooling(folder, "mean_tokens")
    Encoder.load(tiny_profile("nano"), backend="onnx", source=folder)


@refused(ModelError, "pools by 'mean', but the profile of tiny-nano says 'last'")
def a_graph_that_pools_by_itself_otherwise_than_the_profile(at: At) -> None:
    folder = at.folder("mean")
    _pooling(folder, "mean_tokens")
    Encoder.load(tiny_profile("nano"), backend="onnx", source=folder)


@warned("may be the wrong one: it does not append the EOS")
def a_tokenizer_without_its_eos_and_a_profile_that_says_nothing(at: At) -> None:
    folder = at.folder("mine")
    save_tokenizer(Path(folder), "nano", appends=False)
    Encoder.load(tiny_profile("nano", appended=None), backend="onnx", source=folder)


@refused(ModelError, "should end with the special tokens")
def a_tokenizer_without_its_eos(at: At) -> None:
    folder = at.folder("mine")
    save_tokenizer(Path(folder), "nano", appends=False)
    Encoder.load(tiny_profile("nano"), backend="onnx", source=folder)


@warned("does not give '<.begin_of_text.>' the id 400")
def the_tokenizer_of_another_model_beside_its_own_config(at: At) -> None:
    folder = at.folder("mine")
    other = at.folder("other", "small")
    (Path(folder) / "tokenizer.json").write_bytes((Path(other) / "tokenizer.json").read_bytes())
    Encoder.load(tiny_profile("nano", appended=None), backend="onnx", source=folder)


@warned("has '<.im_start.>' for the id 401, which is the EOS of config.json")
def the_tokenizer_files_of_another_model(at: At) -> None:
    folder = at.folder("mine")
    write_json(Path(folder) / "config.json", {"eos_token_id": 401, "vocab_size": 405})
    save_tokenizer(Path(folder), "small")
    Encoder.load(tiny_profile("nano", appended=None), backend="onnx", source=folder)


@harmless
def padding_on_the_left(at: At) -> None:
    graph = TinyGraph("nano")
    folder = graph.save(at.path / "mine", side="left")
    texts = ["Document: one", f"Document: {long_text(20)}"]
    with Encoder.load(tiny_profile("nano"), backend="onnx", source=str(folder)) as encoder:
        same(
            encoder.encode_documents([text.removeprefix("Document: ") for text in texts]), graph.vectors(folder, texts)
        )


def _without_adapters(at: At, kind: Kind = "nano") -> str:
    """Copy a base repository as other tools download it: without its folder adapters."""
    folder = at.path / "base"
    folder.mkdir()
    for path in at.family(kind).base.iterdir():
        if path.is_file():
            (folder / path.name).symlink_to(path)
    return str(folder)


@refused(ModelError, "base repository without its folder adapters", pytest.mark.torch)
def a_base_repository_without_adapters(at: At) -> None:
    Encoder.load(tiny_profile("nano"), backend="torch", source=_without_adapters(at))


@refused(ModelError, "base repository without its folder adapters", pytest.mark.torch)
def the_export_of_a_base_repository_without_adapters(at: At) -> None:
    export_onnx(tiny_profile("small"), out=at.path / "out", source=_without_adapters(at, "small"))


@refused(ModelError, "no adapter for clustering", pytest.mark.torch)
def a_base_repository_without_the_adapter_of_the_task(at: At) -> None:
    folder = Path(_without_adapters(at))
    (folder / "adapters").mkdir()
    (folder / "adapters" / "retrieval").symlink_to(at.family("nano").base / "adapters" / "retrieval")
    Encoder.load(tiny_profile("nano"), backend="torch", source=str(folder), task="clustering")


@refused(UnknownTask, "retrieval", pytest.mark.torch)
def merged_weights_asked_for_another_task(at: At) -> None:
    folder = str(at.family("nano").merged("retrieval"))
    backend = Encoder.load(tiny_profile("nano"), backend="torch", source=folder).backend
    Encoder(tiny_profile("nano"), backend, task="clustering").encode_documents([CAT])


# A server, asked by our client


def _remote(at: At, server: Server, backend: str, **how: Any) -> Any:
    with Encoder.load(how.pop("model", at.roles), backend=backend, url=server.url, **how) as encoder:
        return encoder.encode_queries([CAT])


@harmless
def a_server_of_two_tasks_asked_for_the_second(at: At) -> None:
    expected = Encoder.load(at.roles, task="clustering").encode_queries([CAT])
    for backend in ("openai", "cohere"):
        same(_remote(at, at.two_tasks, backend, task="clustering"), expected)


@refused(ModelError, "serves 'roles-retrieval'|says that it serves 'roles-retrieval'")
def a_protocol_without_model_names_asked_for_the_second_task(at: At) -> None:
    _remote(at, at.two_tasks, "tei", task="clustering")


@refused(ModelError, "says that it serves 'roles-retrieval'")
def a_server_of_another_task_by_tei(at: At) -> None:
    _remote(at, at.one_task, "tei", task="clustering")


@refused(ModelError, "says that it serves 'roles-retrieval'")
def a_server_of_another_task_by_openai(at: At) -> None:
    _remote(at, at.one_task, "openai", task="clustering")


@refused(ServerError, "does not serve that model; it serves: roles")
def a_server_of_another_model_by_its_name(at: At) -> None:
    _remote(at, at.one_task, "openai", model=TWO_ROLES)


@refused(ModelError, "says that it serves 'roles-retrieval'")
def a_server_of_another_model_of_the_same_width(at: At) -> None:
    _remote(at, at.one_task, "tei", model=TWO_ROLES)


@refused(InvalidInput, "is a name of the task clustering")
def a_served_name_of_another_task(at: At) -> None:
    Encoder.load(NANO, backend="openai", url="http://localhost:1", served_as=f"jinaai/{NANO}-clustering")


@refused(InvalidInput, "is a name of the model jina-embeddings-v5-text-small")
def a_served_name_of_the_other_size(at: At) -> None:
    Encoder.load(
        NANO, backend="ollama", url="http://localhost:1", served_as="hf.co/jinaai/v5-small-retrieval-GGUF:Q8_0"
    )


@refused(ModelError, "serves the task clustering")
def a_file_of_another_task_behind_llama_cpp(at: At) -> None:
    with ScriptedServer("openai", name="v5-nano-clustering-Q8_0.gguf", headers={"Server": "llama.cpp"}) as server:
        Encoder.load(NANO, backend="openai", url=server.url).encode_queries([CAT])


@refused(UnknownTask, "load another one for clustering")
def a_servers_encoder_used_for_another_task(at: At) -> None:
    backend = Encoder.load(NANO, backend="openai", url="http://localhost:1").backend
    Encoder(NANO, backend, task="clustering").encode_documents([CAT])


@harmless
def texts_that_begin_with_a_prefix_by_themselves(at: At) -> None:
    """Our clients say the role, or add the prefix: what a text begins with is part of it."""
    texts = ["Query: a", "Document: a", "Query: Document: a"]
    encoder = Encoder.load(at.roles)
    for backend in ("jina", "openai", "tei", "cohere"):
        with Encoder.load(at.roles, backend=backend, url=at.one_task.url) as remote:
            same(remote.encode_queries(texts), encoder.encode_queries(texts))
            same(remote.encode_documents(texts), encoder.encode_documents(texts))


# A server, asked by anybody


def _post(server: Server, path: str, *texts: str, field: str = "input", **more: Any) -> Any:
    """Post texts and return their vectors; a refusal is raised."""
    reply = server.post(path, {field: list(texts), "model": "roles-retrieval", **more})
    if reply.status_code != 200:
        raise ServerError(reply.text)
    values = reply.json()
    if not hasattr(values, "keys"):  # TEI answers with the bare vectors
        return values
    return values["embeddings"]["float"] if "embeddings" in values else [item["embedding"] for item in values["data"]]


@refused(ServerError, "served for several tasks.*roles-retrieval, roles-clustering")
def a_name_that_means_two_tasks(at: At) -> None:
    _post(at.two_tasks, "/query/v1/embeddings", CAT, model="roles")


@harmless
def a_query_prefix_typed_at_the_address_of_queries(at: At) -> None:
    expected = Encoder.load(at.roles).encode_queries(["a", "a"])
    for path, field in (("/query/v1/embeddings", "input"), ("/query/embed", "inputs")):
        same(_post(at.one_task, path, "Query: a", "a", field=field), expected)


@refused(ServerError, "text 1 begins with 'Document: ', the prefix of a document")
def a_document_prefix_typed_at_the_address_of_queries(at: At) -> None:
    _post(at.one_task, "/query/v1/embeddings", "a", "Document: b")


@refused(ServerError, "text 0 begins with 'Query: ', the prefix of a query")
def a_query_prefix_typed_at_the_address_of_documents(at: At) -> None:
    _post(at.one_task, "/document/embed", "Query: b", field="inputs")


@harmless
def a_prefixed_text_beside_others(at: At) -> None:
    """Each gets the vector that it gets alone."""
    encoder = Encoder.load(at.roles)
    expected = [encoder.encode_queries(["a"])[0], *encoder.encode_documents(["b", "c"])]
    for path, field in (("/v1/embeddings", "input"), ("/embed", "inputs"), ("/v2/embed", "texts")):
        texts = ("Query: a", "Document: b", "c")
        same(_post(at.one_task, path, *texts, field=field), expected)
        same([_post(at.one_task, path, text, field=field)[0] for text in texts], expected)


@refused(ServerError, "does not say which text 1 is")
def a_text_without_role_beside_one_with_a_prefix(at: At) -> None:
    _post(at.two_tasks, "/v1/embeddings", "Query: a", "b")


@refused(ServerError, "query in one place and document in another")
def an_address_and_a_field_of_two_roles(at: At) -> None:
    _post(at.one_task, "/query/v1/embeddings", "a", input_type="document")


@refused(ServerError, "has no dimension 100")
def a_dimension_that_the_model_was_not_trained_for(at: At) -> None:
    _post(at.one_task, "/query/v1/embeddings", "a", dimensions=100)


# Encoders registered for Qdrant's Documents


def _document(text: str, model: str = "two-roles", **options: Any) -> Any:
    from qdrant_client import models

    return models.Document(text=text, model=model, options=options or None)


def _stored(*encoders: Encoder, text: str = CAT, model: str = "two-roles", **options: Any) -> list[Any]:
    """Register each encoder, upsert a text through one client, and return the vectors."""
    pytest.importorskip("fastembed")
    from qdrant_client import QdrantClient, models

    from jinavec_adapters.qdrant import register, vector_params

    client, vectors = QdrantClient(":memory:"), list[Any]()
    for number, encoder in enumerate(encoders):
        register(encoder)
        client.create_collection(str(number), vectors_config=vector_params(model, options or None))
        point = models.PointStruct(id=1, vector=_document(text, model, **options))
        client.upsert(str(number), [point])
        vectors.append(client.retrieve(str(number), [1], with_vectors=True)[0].vector)
    client.close()
    return vectors


@harmless
def a_registered_encoder_of_a_dimension(at: At) -> None:
    encoder = Encoder.load(TWO_ROLES, dimension=64)
    same(_stored(encoder)[0], encoder.encode_documents([CAT])[0])


@harmless
def a_registered_encoder_of_a_task(at: At) -> None:
    encoder = Encoder.load(TWO_ROLES, task="clustering")
    same(_stored(encoder)[0], encoder.encode_documents([CAT])[0])


@harmless
def an_encoder_registered_after_the_client_embedded(at: At) -> None:
    first, second = Encoder.load(TWO_ROLES), Encoder.load(TWO_ROLES, dimension=64)
    vectors = _stored(first, second)
    same(vectors[0], first.encode_documents([CAT])[0])
    same(vectors[1], second.encode_documents([CAT])[0])


@refused(TextTooLong, "exceed the model's 64 tokens")
def a_registered_encoder_that_refuses_long_texts(at: At) -> None:
    how: Any = {"backend": "onnx", "source": at.folder("weights"), "overflow": "error"}
    _stored(Encoder.load(tiny_profile("nano"), **how), text=long_text(200), model="tiny-nano")


@refused(UnknownTask, "")
def a_document_of_another_task_than_the_registered_weights(at: At) -> None:
    encoder = Encoder.load(tiny_profile("nano"), backend="onnx", source=at.folder("weights"))
    _stored(encoder, model="tiny-nano", task="clustering")


@refused(UnknownTask, "query")
def a_stored_document_with_the_task_of_queries(at: At) -> None:
    _stored(Encoder.load(TWO_ROLES), task="retrieval.query")


# Frameworks


def _nodes(model: Any) -> list[Any]:
    from llama_index.core.schema import TextNode

    nodes = [TextNode(text=text, id_=name, metadata={"page": 3}) for name, text in (("a", CAT), ("b", SHIP))]
    embeddings = model.get_text_embedding_batch([node.get_content("embed") for node in nodes])  # pyright: ignore[reportArgumentType]
    for node, embedding in zip(nodes, embeddings, strict=True):
        node.embedding = embedding
    return nodes


def _llama(model: Any, **how: Any) -> Any:
    pytest.importorskip("llama_index.core")
    from jinavec_adapters.llama_index import JinaV5Embedding

    return JinaV5Embedding(model, **how)


def _llama_store(at: At, model: Any) -> Any:
    from jinavec_adapters.llama_index import BinaryVectorStore

    return BinaryVectorStore(at.path / "store", embed_model=model)


@refused(ContractMismatch, "not what the store's model 'two-roles' gives")
def a_llama_index_store_of_one_model_in_an_index_of_another(at: At) -> None:
    from llama_index.core import Document, StorageContext, VectorStoreIndex

    storage = StorageContext.from_defaults(vector_store=_llama_store(at, _llama(TWO_ROLES)))
    VectorStoreIndex.from_documents([Document(text=CAT)], storage, embed_model=_llama("lexical"))


@refused(ContractMismatch, "not what the store's model 'two-roles' gives")
def the_same_without_blocking_the_event_loop(at: At) -> None:
    store = _llama_store(at, _llama(TWO_ROLES))
    asyncio.run(store.async_add(_nodes(_llama(TWO_ROLES, task="clustering"))))


@harmless
def a_llama_index_store_and_index_of_one_model(at: At) -> None:
    from llama_index.core.storage.kvstore import SimpleKVStore

    cache = SimpleKVStore()  # which both models share
    model, other = (_llama(TWO_ROLES, task=task, embeddings_cache=cache) for task in ("retrieval", "clustering"))
    other.get_text_embedding(CAT)
    store = _llama_store(at, model)
    nodes = _nodes(model)
    store.add(nodes)
    same([node.embedding for node in nodes], model.encoder.encode_documents([n.get_content("embed") for n in nodes]))


@refused(ContractMismatch, "model: .*'Other/one'.*'Other/two'")
def a_langchain_store_of_another_foreign_model(at: At) -> None:
    pytest.importorskip("langchain_core")
    from langchain_core.embeddings import DeterministicFakeEmbedding

    from jinavec_adapters.langchain import BinaryVectorStore

    class Other(DeterministicFakeEmbedding):
        model: str = ""

    for name in ("one", "two"):
        with BinaryVectorStore(path=str(at.path / "store"), embedding=Other(size=64, model=name)) as store:
            store.add_texts([CAT])


@refused(ValueError, "jinavec")
def a_chroma_collection_of_another_task(at: At) -> None:
    chromadb: Any = pytest.importorskip("chromadb")
    from jinavec_adapters.chroma import JinaV5EmbeddingFunction

    client = chromadb.EphemeralClient()
    for task in ("retrieval", "clustering"):
        client.get_or_create_collection("mixup", embedding_function=JinaV5EmbeddingFunction(TWO_ROLES, task=task))


@pytest.mark.parametrize("commit, outcome", MIXUPS)
def test_mixup(
    commit: Commit,
    outcome: Outcome,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    capfd: pytest.CaptureFixture[str],
) -> None:
    at = At(tmp_path, request.getfixturevalue, capfd)
    if outcome.refused:
        with pytest.raises(outcome.refused, match=f"(?s){outcome.says}"):
            commit(at)
    elif outcome.warned:
        with pytest.warns(JinavecWarning, match=f"(?s){outcome.says}"):
            commit(at)
    else:
        commit(at)
