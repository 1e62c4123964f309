"""Remote backends: what they make of replies, of another model, of long texts, and of many callers at once."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.support.model_checks import agree
from tests.support.remote_encoders import NANO, TEXTS, load, wanted
from tests.support.scripted_server import PAGE, WIDTH, Asked, Reply, ScriptedServer, always

from jinavec import Encoder, JinavecWarning
from jinavec.errors import InvalidInput, ModelError, ServerError, TextTooLong

pytest.importorskip("httpx2")
pytest.importorskip("elasticsearch")


def test_a_progress_callback_that_encodes_is_told_so(protocol: str) -> None:
    def encode_again(done: int, total: int) -> None:
        encoder.encode_queries(["a"])

    with ScriptedServer(protocol) as server, load(server) as encoder:
        with pytest.raises(InvalidInput, match="deadlock: do not call encode"):
            encoder.encode_documents(TEXTS, progress=encode_again)
        agree(encoder.encode_documents(TEXTS), wanted(TEXTS))


class TestOrderAndShape:
    @pytest.mark.parametrize("protocol", ["jina", "openai"])
    @pytest.mark.parametrize("encoding", ["float", "base64"])
    def test_replies_in_any_order_and_encoding(self, protocol: str, encoding: str) -> None:
        with ScriptedServer(protocol, backwards=True, encoding=encoding) as server:
            for asked in ("float", "base64"):
                with load(server, options={"encoding": asked}) as encoder:
                    agree(encoder.encode_documents(TEXTS), wanted(TEXTS))

    def test_another_width_is_another_model(self, protocol: str) -> None:
        with ScriptedServer(protocol, width=384) as server, load(server) as encoder:
            with pytest.raises(ModelError, match=r"384.*768"):
                encoder.encode_documents(TEXTS)

    @pytest.mark.parametrize("damage", ["few", "nan", "double", "html", "null"])
    def test_replies_that_cannot_be_used(self, damage: str) -> None:
        def fault(asked: Asked, number: int) -> Reply:
            data = [{"index": n, "embedding": [0.5] * WIDTH} for n, _ in enumerate(asked.body["input"])]
            match damage:
                case "few":
                    data = data[:-1]
                case "nan":
                    return Reply(json.dumps({"data": data}).replace("0.5", "NaN").encode())
                case "double":
                    data[1]["index"] = 0
                case "html":
                    return Reply(PAGE)
                case _:
                    return Reply(b"null")
            return Reply({"data": data})

        with ScriptedServer("openai", fault=fault) as server, load(server) as encoder:
            with pytest.raises(ServerError, match="127.0.0.1:.*0 of 100 texts"):
                encoder.encode_documents(TEXTS)

    def test_nothing_is_asked_before_the_first_text(self, protocol: str) -> None:
        with ScriptedServer(protocol) as server, load(server) as encoder:
            assert encoder.encode_documents([]).shape == (0, WIDTH)
            assert server.connections == 0


class TestIdentity:
    def test_another_name_is_an_error(self) -> None:
        for protocol in ("jina", "openai"):
            with ScriptedServer(protocol, name="bge-m3") as server, load(server) as encoder:
                with pytest.raises(ModelError, match="served_as='bge-m3'"):
                    encoder.encode_documents(["a"])

    @pytest.mark.parametrize(
        "served", [{"protocol": "ollama"}, {"protocol": "openai", "headers": {"Server": "llama.cpp"}}], ids=str
    )
    def test_a_file_or_tag_is_only_worth_a_warning(self, served: dict[str, Any]) -> None:
        with ScriptedServer(**served, name="v5-nano-Q8_0.gguf") as server, load(server) as encoder:
            with pytest.warns(JinavecWarning, match="v5-nano-Q8_0.gguf"):
                encoder.encode_documents(["a"])
            encoder.encode_documents(["a"])  # once

    @pytest.mark.parametrize("name", ["mine", f"jinaai/{NANO}", f"{NANO}-retrieval", f"jinaai/{NANO}-retrieval"])
    def test_names_of_the_same_model(self, name: str) -> None:
        with ScriptedServer("openai", name=name) as server:
            with load(server, served_as="mine" if name == "mine" else None) as encoder:
                encoder.encode_documents(["a"])

    def test_it_costs_no_request(self, protocol: str) -> None:
        with ScriptedServer(protocol) as server, load(server) as encoder:
            encoder.encode_documents(["a"])
            assert len(server.asked) == 1


class TestOverflow:
    LONG = "x" * 200

    def test_a_refusal_is_our_error(self, protocol: str) -> None:
        with ScriptedServer(protocol, longest=100) as server, load(server) as encoder:
            with pytest.raises(TextTooLong, match="exceeds the model's limit of 100 tokens"):
                encoder.encode_documents(["a", self.LONG])

    def test_truncation_is_the_servers(self, protocol: str) -> None:
        with ScriptedServer(protocol, longest=100) as server:
            if protocol == "elasticsearch":
                with pytest.raises(InvalidInput, match="overflow='error'"):
                    load(server, overflow="truncate")
                return
            with load(server, overflow="truncate") as encoder:
                assert encoder.encode_documents([self.LONG]).shape == (1, WIDTH)

    def test_llama_server_gets_its_advice(self) -> None:
        words = (
            "input (2055 tokens) is too large to process. increase the physical batch size (current batch size: 512)"
        )
        body = {"error": {"code": 500, "message": words, "type": "server_error"}}
        with ScriptedServer("openai", fault=always(Reply(body, 500))) as server, load(server) as encoder:
            with pytest.raises(TextTooLong, match="-ub 8192"):
                encoder.encode_documents(["a"])
            assert len(server.asked) == 1


class TestConcurrency:
    @pytest.fixture
    def slow(self) -> Iterator[ScriptedServer]:
        with ScriptedServer("openai") as server:

            def fault(asked: Asked, number: int) -> Reply:
                return replace(server.answer(asked), delay=0.2)

            server.fault = fault
            yield server

    def test_batches_run_side_by_side_over_kept_connections(self) -> None:
        """One request, then four, then eight, which later calls begin with: they are answered when all have come."""
        four, eight = threading.Barrier(4, timeout=120), threading.Barrier(8, timeout=120)

        def fault(asked: Asked, number: int) -> None:
            if number == 1:
                time.sleep(1)  # so that more at once are faster, whatever the machine does meanwhile
            else:
                (four if number <= 5 else eight).wait()

        with ScriptedServer("openai", fault=fault) as server:
            with load(server, options={"batch": 2, "concurrency": 8}) as encoder:
                agree(encoder.encode_documents(TEXTS[:42]), wanted(TEXTS[:42]))
                agree(encoder.encode_documents(TEXTS[42:58]), wanted(TEXTS[42:58]))
            assert server.connections <= 8

    def test_async_callers_share_them(self, slow: ScriptedServer) -> None:
        async def run(encoder: Encoder) -> list[Any]:
            return await asyncio.gather(*(encoder.aencode_documents([f"{n}"]) for n in range(20)))

        with load(slow, options={"concurrency": 20}) as encoder:
            rounds = [asyncio.run(run(encoder)) for _ in range(2)]  # on two event loops
            assert slow.connections <= 20
        for vectors in rounds:
            for n, got in enumerate(vectors):
                agree(got, wanted([f"{n}"]))

    def test_cancelling_stops_the_requests(self, slow: ScriptedServer) -> None:
        async def run(encoder: Encoder) -> None:
            task = asyncio.create_task(encoder.aencode_documents(TEXTS))
            while len(slow.asked) < 4:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        with load(slow, options={"batch": 1, "concurrency": 4}) as encoder:
            asyncio.run(run(encoder))
            time.sleep(1)
            assert len(slow.asked) < 50  # a hundred, had they gone on

    def test_closing_ends_what_runs(self, slow: ScriptedServer) -> None:
        encoder = load(slow, options={"batch": 1, "concurrency": 1})
        threading.Timer(0.3, encoder.close).start()
        with pytest.raises(ServerError, match="closed"):
            encoder.encode_documents(TEXTS)
        with pytest.raises(ServerError, match="closed"):
            encoder.encode_documents(TEXTS)

    def test_requests_a_minute(self) -> None:
        with ScriptedServer("openai") as server:
            with load(server, options={"batch": 1, "requests_per_minute": 600}) as encoder:
                start = time.monotonic()
                encoder.encode_documents(
                    TEXTS[:15]
                )  # ten at once are let through, five wait for their tenth of a second
                assert time.monotonic() - start > 0.4

    def test_tokens_a_minute(self) -> None:
        with ScriptedServer("openai") as server:
            with load(server, options={"batch": 1, "tokens_per_minute": 600}) as encoder:
                start = time.monotonic()
                encoder.encode_documents(["x" * 300])  # about 104 tokens, and 100 are let through at once
                assert time.monotonic() - start > 0.2
