"""models.Document in qdrant-client gives the vectors of our Encoder, whatever the operation."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient, models
from tests.support.edge_server import QdrantServer
from tests.support.scripted_server import ScriptedServer, hash_vector

from jinavec import Encoder, ModelProfile, Role, Task
from jinavec.backends.base import Backend, Report
from jinavec.errors import InvalidDimension, InvalidInput, InvalidType, TextTooLong, UnknownTask
from jinavec.extras import installed
from jinavec.models import find_model
from jinavec.settings import Overflow
from jinavec.vectors import Float32
from jinavec_adapters.qdrant import register, vector_params

pytest.importorskip("fastembed")

V5 = "jinaai/jina-embeddings-v5-text-nano"


class Recorder(Backend):
    """Stands in for the weights: vectors by hash of the text, and a list of what was embedded."""

    name = "recorder"

    def __init__(self, width: int) -> None:
        self.width = width
        self.calls: list[tuple[list[str], Task, Role]] = []
        self.seconds = 0.0

    def embed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Float32:
        self.calls.append((list(texts), task, role))
        time.sleep(self.seconds)
        rows = [np.random.default_rng([*f"{task}{text}".encode()]).standard_normal(self.width) for text in texts]
        return np.asarray(rows, np.float32)

    @property
    def texts(self) -> list[str]:
        return [text for texts, _, _ in self.calls for text in texts]


@pytest.fixture
def recorder() -> Recorder:
    """The weights of v5 nano, for everybody who asks for them."""
    backend = Recorder(768)
    register(Encoder(V5, backend))
    return backend


@pytest.fixture
def client() -> Iterator[QdrantClient]:
    client = QdrantClient(":memory:")
    client.create_collection("c", vectors_config=vector_params(V5, {"dimensions": 256}))
    yield client
    client.close()


def document(text: str, model: str = V5, **options: Any) -> models.Document:
    return models.Document(text=text, model=model, options={"dimensions": 256, **options})


def expected(text: str, role: str, task: str = "retrieval", dimension: int = 256) -> Float32:
    return Encoder(V5, Recorder(768), task=task, dimension=dimension).encode([text], role=role)[0]


def stored(client: QdrantClient, id: int) -> Any:
    return client.retrieve("c", [id], with_vectors=True)[0].vector


def point(id: int, text: str, **options: Any) -> models.PointStruct:
    return models.PointStruct(id=id, vector=document(text, **options), payload={"text": text})


def test_upserts_are_documents_and_queries_are_queries(recorder: Recorder, client: QdrantClient) -> None:
    client.upsert("c", [point(1, "cat"), point(2, "dog")])
    np.testing.assert_allclose(stored(client, 1), expected("cat", "document"), atol=1e-6)
    assert recorder.texts == ["Document: cat", "Document: dog"]
    found = client.query_points("c", query=document("dog"), limit=2).points
    assert recorder.texts[2:] == ["Query: dog"]
    exact = expected("dog", "query") @ expected("dog", "document")
    assert {p.id: p.score for p in found}[2] == pytest.approx(exact, abs=1e-6)


def test_every_way_to_upload(recorder: Recorder, client: QdrantClient) -> None:
    client.upload_points("c", [point(1, "a"), point(2, "b")], wait=True)
    client.upload_collection("c", vectors=[document("c"), document("d")], ids=[3, 4], wait=True)
    client.upsert("c", models.Batch(ids=[5], vectors=[document("e")]))
    client.update_vectors("c", [models.PointVectors(id=1, vector=document("changed"))])
    upsert = models.UpsertOperation(upsert=models.PointsList(points=[point(6, "f")]))
    client.batch_update_points("c", [upsert])
    for id, text in enumerate(["changed", "b", "c", "d", "e", "f"], 1):
        np.testing.assert_allclose(stored(client, id), expected(text, "document"), atol=1e-6)
    assert all(text.startswith("Document: ") for text in recorder.texts)


def test_every_way_to_query(recorder: Recorder, client: QdrantClient) -> None:
    client.upsert("c", [point(1, "cat"), point(2, "dog")])
    recorder.calls.clear()
    client.query_points("c", query=document("a"), prefetch=[models.Prefetch(query=document("b"), limit=2)])
    client.query_batch_points("c", [models.QueryRequest(query=document("d")), models.QueryRequest(query=document("e"))])
    recommend = models.RecommendQuery(recommend=models.RecommendInput(positive=[document("g")], negative=[]))
    client.query_points("c", query=recommend)
    client.query_points_groups("c", group_by="text", query=document("h"))
    pair = models.ContextPair(positive=document("k"), negative=document("l"))
    client.query_points(
        "c", query=models.DiscoverQuery(discover=models.DiscoverInput(target=document("j"), context=pair))
    )
    client.query_points("c", query=models.InferenceObject(object="m", model=V5, options={"dimensions": 256}))
    assert sorted(set(recorder.texts)) == [f"Query: {letter}" for letter in "abdeghjklm"]


async def test_the_async_client(recorder: Recorder) -> None:
    client = AsyncQdrantClient(":memory:")
    await client.create_collection("c", vectors_config=vector_params(V5, {"mrl": 256}))
    await client.upsert("c", [point(1, "cat")])
    (found,) = (await client.query_points("c", query=document("cat"))).points
    assert found.score == pytest.approx(expected("cat", "query") @ expected("cat", "document"), abs=1e-6)
    await client.close()


def test_mrl_and_dimensions_mean_the_same(recorder: Recorder, client: QdrantClient) -> None:
    client.upsert("c", [models.PointStruct(id=1, vector=models.Document(text="a", model=V5, options={"mrl": 256}))])
    np.testing.assert_allclose(stored(client, 1), expected("a", "document"), atol=1e-6)
    both = models.Document(text="a", model=V5, options={"mrl": 256, "dimensions": 256})
    client.upsert("c", [models.PointStruct(id=2, vector=both)])
    with pytest.raises(InvalidInput, match="mean the same"):
        client.upsert("c", [point(3, "a", mrl=128)])


def test_a_full_and_a_short_vector_cost_one_inference(recorder: Recorder) -> None:
    client = QdrantClient(":memory:")
    sizes = {"full": 768, "small": 128}
    client.create_collection("c", vectors_config={name: vector_params(V5, {"mrl": n}) for name, n in sizes.items()})
    vector: dict[str, Any] = {
        name: models.Document(text="cat", model=V5, options={"mrl": n}) for name, n in sizes.items()
    }
    client.upsert("c", [models.PointStruct(id=1, vector=vector)])
    assert recorder.texts == ["Document: cat"]
    for name, size in sizes.items():
        np.testing.assert_allclose(stored(client, 1)[name], expected("cat", "document", dimension=size), atol=1e-6)


@pytest.mark.parametrize("task", ["retrieval", "retrieval.passage", "clustering", "text-matching", "classification"])
def test_tasks_of_documents(recorder: Recorder, client: QdrantClient, task: str) -> None:
    client.upsert("c", [point(1, "cat", task=task)])
    bare = task.partition(".")[0]
    np.testing.assert_allclose(stored(client, 1), expected("cat", "document", bare), atol=1e-6)
    assert recorder.calls == [(["Document: cat"], Task(bare), Role.DOCUMENT)]


def test_a_suffix_that_contradicts_the_operation_is_refused(recorder: Recorder, client: QdrantClient) -> None:
    with pytest.raises(UnknownTask, match=r"retrieval\.query"):
        client.upsert("c", [point(1, "cat", task="retrieval.query")])
    assert client.count("c").count == 0


def test_a_suffix_that_contradicts_a_query_is_refused(recorder: Recorder, client: QdrantClient) -> None:
    client.query_points("c", query=document("cat", task="retrieval.query"))
    with pytest.raises(UnknownTask, match=r"retrieval\.passage"):
        client.query_points("c", query=document("cat", task="retrieval.passage"))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"task": "separation"}, UnknownTask, "clustering"),
        ({"dimensions": 100}, InvalidDimension, "it offers: 32, 64"),
        ({"mrl": [64]}, InvalidDimension, "it offers: 32, 64"),
        ({"dimension": 256}, InvalidInput, "known: task, dimensions, mrl"),
    ],
)
def test_bad_options_name_the_remedy(
    recorder: Recorder, client: QdrantClient, options: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        client.upsert("c", [models.PointStruct(id=1, vector=models.Document(text="a", model=V5, options=options))])
    with pytest.raises(error, match=message):
        vector_params(V5, options)


def test_sizes_agree(client: QdrantClient) -> None:
    register()
    for name in (V5, "jinaai/jina-embeddings-v5-text-small", "lexical", "wordllama-256"):
        assert client.get_embedding_size(name) == find_model(name).width == vector_params(name).size
    assert vector_params(V5, {"mrl": 64}).size == vector_params(V5, {"dimensions": 64}).size == 64
    assert vector_params(V5, on_disk=True).on_disk is True
    assert vector_params(V5).distance == models.Distance.COSINE


def test_a_real_model_of_the_catalogue() -> None:
    register()
    register()
    client = QdrantClient(":memory:")
    client.create_collection("c", vectors_config=vector_params("lexical"))
    texts = ["the cat sleeps on the stove", "ships anchor in the harbour"]
    client.upsert(
        "c", [models.PointStruct(id=n, vector=models.Document(text=t, model="LEXICAL")) for n, t in enumerate(texts)]
    )
    np.testing.assert_allclose(stored(client, 0), Encoder.load("lexical").encode_documents(texts)[0], atol=1e-6)
    found = client.query_points("c", query=models.Document(text="sleeping cat", model="lexical"), limit=1).points
    assert found[0].id == 0


def test_a_model_of_ones_own() -> None:
    profile = ModelProfile(name="my-model", width=8, prompts={(Task.RETRIEVAL, Role.QUERY): "q: "})
    backend = Recorder(8)
    register(Encoder(profile, backend))
    client = QdrantClient(":memory:")
    client.create_collection("c", vectors_config=vector_params(profile))
    client.upsert("c", [models.PointStruct(id=1, vector=models.Document(text="x", model="my-model"))])
    client.query_points("c", query=models.Document(text="x", model="my-model"))
    assert backend.texts == ["x", "q: x"]
    with pytest.raises(InvalidType):
        register("my-model")  # pyright: ignore[reportArgumentType]


# what the client cannot do, and what to do instead


def test_threads_embed_with_the_encoder_and_give_vectors(recorder: Recorder, client: QdrantClient) -> None:
    client.upsert("c", [point(n, f"text {n}") for n in range(20)])
    encoder = Encoder(V5, recorder, dimension=256)
    start = threading.Barrier(8)

    def search(worker: int) -> list[float]:
        start.wait()
        found: list[float] = []
        for n in range(20):
            vector = encoder.encode_queries([f"text {n}"])[0]
            only = models.Filter(must=[models.HasIdCondition(has_id=[n])])
            found.append(client.query_points("c", query=vector.tolist(), query_filter=only).points[0].score)
        return found

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(search, range(8)))
    exact = [float(expected(f"text {n}", "query") @ expected(f"text {n}", "document")) for n in range(20)]
    for answer in answers:
        assert answer == pytest.approx(exact, abs=1e-5)


async def test_the_event_loop_goes_on_when_vectors_are_embedded_with_aencode(recorder: Recorder) -> None:
    recorder.seconds = 0.2
    encoder = Encoder(V5, recorder, dimension=256)
    client = AsyncQdrantClient(":memory:")
    await client.create_collection("c", vectors_config=vector_params(V5, {"mrl": 256}))
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    vector = (await encoder.aencode_queries(["a"]))[0]
    free = ticks
    await client.query_points("c", query=vector.tolist())
    ticking.cancel()
    await client.close()
    assert free > 0


def test_threads_may_also_embed_with_a_client_each(recorder: Recorder) -> None:
    start = threading.Barrier(8)

    def work(worker: int) -> list[Any]:
        client = QdrantClient(url=server.url, check_compatibility=False)
        start.wait()
        for n in range(10 * worker, 10 * worker + 10):
            client.upsert("c", [point(n, f"text {n}")], wait=True)
        stored = client.retrieve("c", list(range(10 * worker, 10 * worker + 10)), with_vectors=True)
        client.close()
        return stored

    with QdrantServer() as server:
        client = QdrantClient(url=server.url, check_compatibility=False)
        client.create_collection("c", vectors_config=vector_params(V5, {"dimensions": 256}))
        client.close()
        with ThreadPoolExecutor(8) as pool:
            points = [point for points in pool.map(work, range(8)) for point in points]
    assert len(points) == 80
    for found in points:
        np.testing.assert_allclose(found.vector, expected(f"text {found.id}", "document"), atol=1e-6)


WORKERS = """
import sys

import jinavec_adapters.qdrant.registered
from jinavec_adapters.qdrant import vector_params
from qdrant_client import QdrantClient, models

if __name__ == "__main__":
    client = QdrantClient(url=sys.argv[1], check_compatibility=False)
    client.create_collection("c", vectors_config=vector_params("lexical"))
    documents = [models.Document(text=f"text number {n}", model="lexical") for n in range(40)]
    if sys.argv[2] == "points":
        points = [models.PointStruct(id=n, vector=document) for n, document in enumerate(documents)]
        client.upload_points("c", points, parallel=2, wait=True)
    else:
        client.upload_collection("c", vectors=documents, ids=range(40), parallel=2, wait=True)
    print(client.count("c").count)
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["points", "collection"])
def test_worker_processes_register_by_an_import(tmp_path: Path, way: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(WORKERS)
    with QdrantServer() as server:
        command = [sys.executable, str(script), server.url, way]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240)
        assert done.stdout.split() == ["40"], done.stderr
        client = QdrantClient(url=server.url, check_compatibility=False)
        points = client.retrieve("c", list(range(40)), with_vectors=True)
        client.close()
    texts = [f"text number {point.id}" for point in points]
    stored: Any = [point.vector for point in points]
    np.testing.assert_allclose(stored, Encoder.load("lexical").encode_documents(texts), atol=1e-6)


@pytest.mark.skipif(not installed("httpx2"), reason="needs the extra remote")
class TestAServersEncoder:
    """What a registered encoder said about its server holds for Documents too."""

    @pytest.mark.parametrize("overflow", ["error", "truncate"])
    def test_long_texts_are_refused_or_truncated_as_the_encoder_says(
        self, client: QdrantClient, overflow: Overflow
    ) -> None:
        with ScriptedServer("tei", longest=100) as server:
            how: dict[str, Any] = {"overflow": overflow, "options": {"verify": False}}
            with Encoder.load(V5, backend="tei", url=server.url, **how) as encoder:
                register(encoder)
                client.upsert("c", [point(1, "cat")])
                assert server.asked[0].body["truncate"] is (overflow == "truncate")
                if overflow == "error":
                    with pytest.raises(TextTooLong):
                        client.upsert("c", [point(1, "x" * 101)])

    def test_vectors_that_the_server_truncates(self, client: QdrantClient) -> None:
        with ScriptedServer("tei", width=256) as server:
            how: dict[str, Any] = {"dimension": 256, "options": {"narrow": "server", "verify": False}}
            with Encoder.load(V5, backend="tei", url=server.url, **how) as encoder:
                register(encoder)
                client.upsert("c", [point(1, "cat")])
                np.testing.assert_allclose(stored(client, 1), hash_vector("Document: cat", 256), atol=1e-6)
                assert server.asked[0].body["dimensions"] == 256
                with pytest.raises(InvalidDimension, match="256 dimensions, which cannot give 512"):
                    client.upsert("c", [point(1, "cat", dimensions=512)])
