"""Batching: merged, fair, bounded, cancelled; a bad text fails its own request only."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx2
import numpy as np
import pytest

from jinavec import Encoder, Role, Task
from jinavec.backends.base import Backend, Report
from jinavec.backends.local.lexical import LexicalBackend
from jinavec.errors import ModelError, ServerError, TextTooLong
from jinavec.vectors import Float32
from jinavec.wire.messages import Reason, WireError
from jinavec_adapters.server import Models, ServerSettings, create_app
from jinavec_adapters.server.batching import Batcher, BatchKey
from jinavec_adapters.server.metrics import Metrics
from jinavec_adapters.server.models import Served

KEY = BatchKey(Role.DOCUMENT, 64, "error")


class Gated(Backend):
    """The lexical model, which works only while its gate is open, and fails on the word poison."""

    name = "gated"

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.calls: list[list[str]] = []
        self._lexical = LexicalBackend(768)

    def embed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Float32:
        raise NotImplementedError

    async def aembed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Float32:
        self.calls.append(list(texts))
        await self.gate.wait()
        if "poison" in texts:
            raise ModelError("poison")
        if "outage" in texts:
            raise ServerError("gone", status=503)
        return self._lexical.embed(texts, task=task, role=role, report=report)


def batcher_over(backend: Backend, **limits: Any) -> Batcher:
    defaults: dict[str, Any] = {"batch_tokens": 100, "queue_tokens": 1000, "max_wait": 0.01, "concurrency": 1}
    return Batcher(Encoder("lexical", backend), Metrics(), **defaults | limits)


async def settle(turns: int = 10) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


async def test_nobody_waits_while_nothing_runs() -> None:
    backend = Gated()
    backend.gate.set()
    batcher = batcher_over(backend, max_wait=3600)
    vectors = await batcher.submit(KEY, ["a"]).done
    assert (vectors == Encoder("lexical", LexicalBackend(768), dimension=64).encode_documents(["a"])).all()


async def test_what_comes_meanwhile_goes_together() -> None:
    backend = Gated()
    batcher = batcher_over(backend)
    jobs = [batcher.submit(KEY, ["first"])]
    await settle()
    jobs += [batcher.submit(KEY, [f"text {n}", "shared"]) for n in range(5)]
    backend.gate.set()
    vectors = await asyncio.gather(*(job.done for job in jobs))
    assert backend.calls[0] == ["first"]
    assert len(backend.calls) == 2 and set(backend.calls[1]) == {*(f"text {n}" for n in range(5)), "shared"}
    expected = Encoder("lexical", LexicalBackend(768), dimension=64)
    assert all((got == expected.encode_documents(job.texts)).all() for job, got in zip(jobs, vectors, strict=True))


async def test_requests_of_every_protocol_go_together() -> None:
    backend = Gated()
    models = Models([Served(batcher_over(backend, batch_tokens=1000), None)])
    app = create_app(ServerSettings.read(models=["lexical"]), models, Metrics())
    eis = {"model": "lexical", "usage_context": "ingest"}
    bodies: dict[str, dict[str, Any]] = {
        "/v1/embeddings": {"input": "openai"},
        "/document/v1/embeddings": {"input": "jina", "task": "retrieval.passage"},
        "/document/embed": {"inputs": ["tei"]},
        "/v2/embed": {"texts": ["cohere"], "input_type": "search_document"},
        "/api/v1/embed/text/dense": {"input": ["eis"], **eis},
        "/api/v1/embed/dense": {"input": [{"content": [{"type": "text", "value": "content"}]}], **eis},
        "/qdrant/inference": {"inputs": [{"data": "qdrant", "model": "lexical"}], "inference": "update"},
    }
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://server") as client:
        first = asyncio.create_task(client.post("/embed", json={"inputs": "first"}))
        while not backend.calls:
            await asyncio.sleep(0)
        others = [asyncio.create_task(client.post(path, json=body)) for path, body in bodies.items()]
        await settle(1000)
        backend.gate.set()
        assert {reply.status_code for reply in await asyncio.gather(first, *others)} == {200}
    assert set(backend.calls[1]) == {"openai", "jina", "tei", "cohere", "eis", "content", "qdrant"}


async def test_a_second_batch_starts_when_the_wait_is_over() -> None:
    backend = Gated()
    batcher = batcher_over(backend, concurrency=2)
    jobs = [batcher.submit(KEY, ["first"])]
    await settle()
    jobs.append(batcher.submit(KEY, ["second"]))
    await settle()
    assert len(backend.calls) == 1
    while len(backend.calls) < 2:
        await asyncio.sleep(0.01)
    backend.gate.set()
    await asyncio.gather(*(job.done for job in jobs))


async def test_batches_keep_to_their_budget_and_a_small_request_passes_a_large_one() -> None:
    backend = Gated()
    batcher = batcher_over(backend, batch_tokens=10)
    large = batcher.submit(KEY, [f"l{n}" for n in range(100)])
    await settle()
    small = batcher.submit(KEY, ["small"])
    backend.gate.set()
    await small.done
    assert not large.done.done()
    assert any("small" in call for call in backend.calls[:3])
    await large.done
    assert max(map(len, backend.calls)) <= 10


async def test_roles_and_dimensions_share_a_batch_but_not_a_call() -> None:
    backend = Gated()
    backend.gate.set()
    batcher = batcher_over(backend)
    keys = [KEY, BatchKey(Role.QUERY, 64, "error"), BatchKey(Role.DOCUMENT, 128, "error"), KEY]
    jobs = [batcher.submit(key, ["a", str(n)]) for n, key in enumerate(keys)]
    vectors = await asyncio.gather(*(job.done for job in jobs))
    assert [v.shape for v in vectors] == [(2, 64), (2, 64), (2, 128), (2, 64)]
    assert len(backend.calls) == 3


async def test_a_poisoned_text_fails_its_own_request_only() -> None:
    backend = Gated()
    backend.gate.set()
    batcher = batcher_over(backend)
    jobs = [batcher.submit(KEY, [f"good {n}"]) for n in range(6)]
    bad = batcher.submit(KEY, ["fine", "poison"])
    results = await asyncio.gather(*(job.done for job in [*jobs, bad]), return_exceptions=True)
    assert all(isinstance(result, np.ndarray) for result in results[:-1])
    assert isinstance(results[-1], ModelError)


async def test_an_outage_is_not_asked_again_for_every_request() -> None:
    backend = Gated()
    backend.gate.set()
    batcher = batcher_over(backend)
    jobs = [batcher.submit(KEY, [text]) for text in ("a", "outage", "b")]
    results = await asyncio.gather(*(job.done for job in jobs), return_exceptions=True)
    assert all(isinstance(result, ServerError) for result in results)
    assert len(backend.calls) == 1


async def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    backend = Gated()
    batcher = batcher_over(backend, queue_tokens=20)
    running = batcher.submit(KEY, ["a"])
    await settle()
    waiting = batcher.submit(KEY, ["b" * 60])
    with pytest.raises(WireError) as refused:
        batcher.submit(KEY, ["c" * 60])
    assert refused.value.reason is Reason.RATE_LIMITED
    assert refused.value.retry_after and refused.value.retry_after >= 1
    batcher.cancel(waiting)
    again = batcher.submit(KEY, ["d" * 60])
    backend.gate.set()
    await asyncio.gather(running.done, again.done)


async def test_a_request_larger_than_the_queue_passes_when_nothing_waits() -> None:
    backend = Gated()
    backend.gate.set()
    assert (await batcher_over(backend, queue_tokens=5).submit(KEY, ["a" * 400]).done).shape == (1, 64)


async def test_texts_of_a_client_that_left_are_not_embedded() -> None:
    backend = Gated()
    batcher = batcher_over(backend)
    running = batcher.submit(KEY, ["a"])
    await settle()
    gone = batcher.submit(KEY, ["b", "c"])
    batcher.cancel(gone)
    stays = batcher.submit(KEY, ["d"])
    backend.gate.set()
    await asyncio.gather(running.done, stays.done)
    assert [text for call in backend.calls for text in call] == ["a", "d"]
    batcher.cancel(running)  # once more does no harm


class PanicException(BaseException):
    """As tokenizers raises one, of pyo3's."""


RAISED: list[BaseException] = [
    ModelError("poison"),
    PanicException("poison"),
    SystemExit(1),
    KeyboardInterrupt(),
    GeneratorExit(),
    asyncio.CancelledError(),
    StopIteration(),
    StopAsyncIteration(),
    MemoryError(),
    BaseExceptionGroup("poison", [PanicException()]),
]


class Poisonous(Backend):
    """The lexical model, which raises something at the word poison, in a thread or on the loop."""

    name = "poisonous"

    def __init__(self, raised: BaseException, threaded: bool) -> None:
        self._raised = raised
        self._threaded = threaded
        self._lexical = LexicalBackend(768)

    def embed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Float32:
        if "poison" in texts:
            raise self._raised
        return self._lexical.embed(texts, task=task, role=role, report=report)

    async def aembed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Float32:
        if self._threaded:
            return await super().aembed(texts, task=task, role=role, report=report)
        return self.embed(texts, task=task, role=role, report=report)


@pytest.mark.parametrize("threaded", [True, False])
@pytest.mark.parametrize("raised", RAISED, ids=lambda raised: type(raised).__name__)
async def test_a_poisoned_text_fails_alone_whatever_it_raises(raised: BaseException, threaded: bool) -> None:
    served = Served(batcher_over(Poisonous(raised, threaded), batch_tokens=1000), None)
    app = create_app(ServerSettings.read(models=["lexical"], timeout=3600), Models([served]), Metrics())
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://server") as client:
        texts = ["a", "b", "poison", "c", "d"]
        replies = await asyncio.gather(*(client.post("/embed", json={"inputs": text}) for text in texts))
        assert [reply.status_code for reply in replies] == [200, 200, 424, 200, 200]
        assert "poison" not in replies[2].text  # 424 is how TEI says that the model failed
        assert (await client.post("/embed", json={"inputs": "e"})).status_code == 200


async def test_a_batch_that_is_cancelled_ends_its_requests() -> None:
    backend = Gated()
    batcher = batcher_over(backend)
    jobs = [batcher.submit(KEY, ["a"]), batcher.submit(KEY, ["b"])]
    await settle()
    (running,) = [task for task in asyncio.all_tasks() if "Batcher._run" in repr(task)]
    running.cancel()
    results = await asyncio.gather(*(job.done for job in jobs), return_exceptions=True)
    assert all(isinstance(result, ModelError) for result in results)


@pytest.mark.parametrize("raised", [TextTooLong, ServerError])
async def test_a_refused_text_is_named_by_its_place_in_the_request(raised: type[TextTooLong | ServerError]) -> None:
    """However the batch was made: repeated texts are embedded once, and other requests come before."""

    class Refusing(Gated):
        async def aembed(
            self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None
        ) -> Float32:
            if "poison" in texts:
                raise raised("I do not like it", positions=[list(texts).index("poison")])
            return self._lexical.embed(texts, task=task, role=role, report=report)

    models = Models([Served(batcher_over(Refusing(), batch_tokens=1000), None)])
    app = create_app(ServerSettings.read(models=["lexical"]), models, Metrics())
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://server") as client:
        good, bad = await asyncio.gather(
            client.post("/embed", json={"inputs": ["one", "two"]}),
            client.post("/embed", json={"inputs": ["a", "a", "b", "poison"]}),
        )
    assert (good.status_code, bad.status_code) == (200, 422)
    assert bad.json()["error"].startswith("text 3: ")
