"""Long texts wait in a queue of their own: short ones pass them, and too many of them are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import httpx2
import numpy as np
import pytest

from jinavec import Encoder, ModelProfile, Role, Task
from jinavec.backends.base import Backend, Report
from jinavec.backends.local.lexical import LexicalBackend
from jinavec.errors import ModelError
from jinavec.vectors import Float32
from jinavec_adapters.server import Models, ServerSettings, create_app
from jinavec_adapters.server.batching import Batcher
from jinavec_adapters.server.metrics import Metrics
from jinavec_adapters.server.models import Served, Turns, long_batcher

ORACLE = Encoder("lexical", LexicalBackend(768))


def long_text(name: str) -> str:
    return f"{name} " + "word " * 1000  # 1,250 tokens or so


class Slow(Backend):
    """The lexical model with so many workers of 512 tokens, which embeds long texts only while its gate is open."""

    name = "slow"

    def __init__(self, workers: int = 2, tokens: int | None = 512) -> None:
        self.gate = asyncio.Event()
        self.started: list[list[str]] = []
        """The first word of each text, by call."""
        self._tokens = tokens and tokens * workers
        self._lexical = LexicalBackend(768)

    @property
    def batch_tokens(self) -> int | None:
        return self._tokens

    def embed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Float32:
        raise NotImplementedError

    async def aembed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Float32:
        self.started.append([text.split()[0] for text in texts])
        if any(len(text) > 4096 for text in texts):
            await self.gate.wait()
        if any("poison" in text for text in texts):
            raise ModelError("poison")
        return self._lexical.embed(texts, task=task, role=role, report=report)


def served(
    backend: Backend, turns: Turns | None = None, accelerator: str = "", profile: str | ModelProfile = "lexical"
) -> Served:
    encoder, metrics = Encoder(profile, backend), Metrics()
    batcher = Batcher(encoder, metrics, batch_tokens=None, queue_tokens=100_000, max_wait=0, concurrency=2)
    settings = ServerSettings.read(models=["lexical"], queue_long_tokens=2000)
    return Served(batcher, None, long_batcher(encoder, settings, metrics, {} if turns is None else turns, accelerator))


def client_of(*models: Served, **settings: Any) -> httpx2.AsyncClient:
    app = create_app(ServerSettings.read(models=["lexical"], **settings), Models(list(models)), Metrics())
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://server")


async def ask(client: httpx2.AsyncClient, *texts: str, model: str = "lexical") -> httpx2.Response:
    return await client.post("/v1/embeddings", json={"input": list(texts), "model": model})


def check(reply: httpx2.Response, *texts: str) -> None:
    assert reply.status_code == 200, reply.text
    vectors = np.array([item["embedding"] for item in reply.json()["data"]], np.float32)
    assert (vectors == ORACLE.encode_documents(texts)).all()


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0)


async def settle() -> None:
    for _ in range(1000):
        await asyncio.sleep(0)


async def two(client: httpx2.AsyncClient, backend: Slow) -> list[asyncio.Task[httpx2.Response]]:
    """Send two long texts: the one under work, and the one that fills the queue."""
    first = asyncio.create_task(ask(client, long_text("first")))
    await until(lambda: backend.started)
    second = asyncio.create_task(ask(client, long_text("second")))
    await settle()
    return [first, second]


async def test_short_texts_pass_long_ones_which_wait_and_then_are_refused() -> None:
    backend = Slow()
    async with client_of(served(backend)) as client:
        longs = await two(client, backend)
        for number in range(20):
            check(await ask(client, f"short {number}"), f"short {number}")
        refused = await ask(client, long_text("third"))
        assert refused.status_code == 503 and int(refused.headers["retry-after"]) >= 1
        assert ["second"] not in backend.started and ["third"] not in backend.started
        backend.gate.set()
        for name, reply in zip(("first", "second"), await asyncio.gather(*longs), strict=True):
            check(reply, long_text(name))
        check(await ask(client, long_text("fourth")), long_text("fourth"))


class InFront(Slow):
    """Has another backend for long work."""

    def __init__(self) -> None:
        super().__init__()
        self.behind = Slow()

    def background(self) -> Backend:
        return self.behind


@pytest.mark.parametrize("accelerator", ["", "cuda"])
async def test_a_processor_embeds_long_texts_in_the_background(accelerator: str) -> None:
    backend = InFront()
    backend.gate.set()
    backend.behind.gate.set()
    async with client_of(served(backend, accelerator=accelerator)) as client:
        check(await ask(client, "short", long_text("long")), "short", long_text("long"))
    started = (backend.started, backend.behind.started)
    assert started == (([["short"], ["long"]], []) if accelerator else ([["short"]], [["long"]]))


async def test_a_request_may_hold_both_and_its_vectors_keep_their_order() -> None:
    backend = Slow()
    texts = ["a", long_text("b"), "c", long_text("d"), "e", "a"]
    async with client_of(served(backend)) as client:
        asked = asyncio.create_task(ask(client, *texts))
        await until(lambda: ["b"] in backend.started)
        await settle()
        assert backend.started == [["a", "c", "e"], ["b"]]
        backend.gate.set()
        check(await asked, *texts)
    assert backend.started[2:] == [["d"]]


async def test_a_request_whose_long_texts_are_refused_leaves_nothing_behind() -> None:
    backend = Slow()
    async with client_of(served(backend)) as client:
        longs = await two(client, backend)
        assert (await ask(client, "short", long_text("third"))).status_code == 503
        backend.gate.set()
        assert [reply.status_code for reply in await asyncio.gather(*longs)] == [200, 200]
    assert backend.started == [["first"], ["second"]]


async def test_a_client_that_leaves_makes_room() -> None:
    backend = Slow()
    async with client_of(served(backend)) as client:
        running, waiting = await two(client, backend)
        waiting.cancel()
        await asyncio.wait([waiting])
        next_one = asyncio.create_task(ask(client, long_text("next")))
        await settle()
        running.cancel()  # the model goes on until it is done
        backend.gate.set()
        check(await next_one, long_text("next"))
    assert backend.started == [["first"], ["next"]]


async def test_long_texts_go_on_after_one_took_too_long() -> None:
    backend = Slow()
    model = served(backend)
    async with client_of(model, timeout=0.01) as hasty, client_of(model) as patient:
        late = await ask(hasty, long_text("late"))
        assert late.status_code == 503 and "retry-after" in late.headers
        asked = asyncio.create_task(ask(patient, long_text("next")))
        await settle()
        assert not asked.done()
        backend.gate.set()
        check(await asked, long_text("next"))


async def test_long_texts_go_on_after_one_failed() -> None:
    backend = Slow()
    backend.gate.set()
    async with client_of(served(backend)) as client:
        names = ("a", "poison", "b")
        replies = [await ask(client, long_text(name)) for name in names]
    assert [reply.status_code for reply in replies] == [200, 500, 200]


@pytest.mark.parametrize(("workers", "side_by_side"), [(1, 1), (2, 1), (3, 1), (4, 2), (16, 8)])
async def test_long_texts_take_half_of_the_workers(workers: int, side_by_side: int) -> None:
    backend = Slow(workers)
    async with client_of(served(backend)) as client:
        texts = [long_text(f"text{number}") for number in range(10)]
        asked = asyncio.create_task(ask(client, *texts))
        await until(lambda: len(backend.started) >= side_by_side)
        await settle()
        assert backend.started == [[f"text{number}"] for number in range(side_by_side)]
        backend.gate.set()
        check(await asked, *texts)


async def test_an_accelerator_takes_several_long_texts_in_one_batch() -> None:
    backend = Slow(1, 16_384)
    async with client_of(served(backend, accelerator="cuda")) as client:
        texts = [long_text(f"text{number}") for number in range(8)]
        asked = asyncio.create_task(ask(client, *texts))
        await until(lambda: backend.started)
        await settle()
        assert backend.started == [[f"text{number}" for number in range(6)]]  # half a batch: 8,192 tokens
        backend.gate.set()
        check(await asked, *texts)


@pytest.mark.parametrize("devices", [("", ""), ("", "cuda")])
async def test_models_take_turns_on_a_device(devices: tuple[str, str]) -> None:
    backends, turns = (Slow(), Slow()), Turns()
    other = ModelProfile(name="other", width=768, pooling="mean")
    models = [
        served(backend, turns, device, profile)
        for backend, device, profile in zip(backends, devices, ("lexical", other), strict=True)
    ]
    async with client_of(*models) as client:
        first = asyncio.create_task(ask(client, long_text("first")))
        await until(lambda: backends[0].started)
        second = asyncio.create_task(ask(client, long_text("second"), model="other"))
        await settle()
        assert bool(backends[1].started) == (devices[0] != devices[1])
        check(await ask(client, "short", model="other"), "short")
        for backend in backends:
            backend.gate.set()
        check(await first, long_text("first"))
        check(await second, long_text("second"))


@pytest.mark.parametrize(
    ("backend", "limit"), [(Slow(2), 512), (Slow(2, None), None)], ids=["truncated", "embedded elsewhere"]
)
async def test_texts_that_cost_no_more_than_others_wait_with_them(backend: Slow, limit: int | None) -> None:
    profile = ModelProfile(name="other", width=768, pooling="mean", limit=limit)
    async with client_of(served(backend, profile=profile), overflow="truncate") as client:
        asked = [asyncio.create_task(ask(client, long_text("first"), "short", model="other"))]
        await until(lambda: any("first" in call for call in backend.started))
        asked += [asyncio.create_task(ask(client, long_text(name), model="other")) for name in ("second", "third")]
        backend.gate.set()
        assert [reply.status_code for reply in await asyncio.gather(*asked)] == [200] * 3
