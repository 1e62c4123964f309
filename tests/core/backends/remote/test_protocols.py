"""Remote backends against servers that behave as documented, and as they fail."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import numpy as np
import pytest
from tests.support.model_checks import agree
from tests.support.scripted_server import PAGE, WIDTH, Asked, Reply, ScriptedServer, always, hash_vector

from jinavec import Encoder, JinavecWarning
from jinavec.backends.remote.api_keys import find_key
from jinavec.backends.remote.http import read_address
from jinavec.backends.remote.retries import read_retry_after
from jinavec.errors import InvalidInput, ModelError, ServerError, TextTooLong, UnknownTask

pytest.importorskip("httpx2")
pytest.importorskip("elasticsearch")

NANO = "jina-embeddings-v5-text-nano"
PROTOCOLS = ("cohere", "elasticsearch", "jina", "ollama", "openai", "tei")
INDEXED = ("jina", "openai")
TEXTS = [f"text {n}" for n in range(100)]


def load(server: ScriptedServer, **given: Any) -> Encoder:
    how: dict[str, Any] = {"backend": server.answer.protocol, "url": server.url, **given}
    return Encoder.load(NANO, **how)


def wanted(texts: list[str], prefix: str = "Document: ", dimension: int = WIDTH) -> Any:
    vectors = np.stack([hash_vector(prefix + text)[:dimension] for text in texts])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JINAVEC_API_KEY", "JINA_API_KEY", "OPENAI_API_KEY", "COHERE_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_a_progress_callback_that_encodes_is_told_so(protocol: str) -> None:
    def encode_again(done: int, total: int) -> None:
        encoder.encode_queries(["a"])

    with ScriptedServer(protocol) as server, load(server) as encoder:
        with pytest.raises(InvalidInput, match="deadlock: do not call encode"):
            encoder.encode_documents(TEXTS, progress=encode_again)
        agree(encoder.encode_documents(TEXTS), wanted(TEXTS))


class TestPrefixes:
    def test_each_role_gets_its_prefix_exactly_once(self, protocol: str) -> None:
        with ScriptedServer(protocol) as server, load(server) as encoder:
            agree(encoder.encode_documents(TEXTS), wanted(TEXTS))
            agree(encoder.encode_queries(TEXTS), wanted(TEXTS, "Query: "))

    @pytest.mark.parametrize("task", ["text-matching", "clustering", "classification"])
    def test_the_other_tasks_use_the_prefix_for_documents(self, protocol: str, task: str) -> None:
        with ScriptedServer(protocol) as server, load(server, task=task, served_as="mine") as encoder:
            for role in ("query", "document"):
                agree(encoder.encode(TEXTS[:3], role=role), wanted(TEXTS[:3]))

    def test_elastics_own_endpoint_knows_no_other_task(self) -> None:
        with ScriptedServer("elasticsearch") as server, load(server, task="clustering") as encoder:
            with pytest.raises(UnknownTask, match="served_as"):
                encoder.encode_documents(["a"])
            assert not server.asked

    def test_narrowing_here_and_there_gives_the_same(self) -> None:
        with ScriptedServer("openai") as server, load(server, dimension=64) as encoder:
            agree(encoder.encode_documents(TEXTS), wanted(TEXTS, dimension=64))
            assert "dimensions" not in server.asked[0].body
        with ScriptedServer("tei", width=64) as server:
            with load(server, dimension=64, options={"narrow": "server"}) as encoder:
                assert encoder.encode_documents(["a"]).shape == (1, 64)
                assert server.asked[0].body["dimensions"] == 64

    def test_what_a_request_says(self) -> None:
        said: dict[str, Any] = {}
        for protocol in PROTOCOLS:
            with ScriptedServer(protocol) as server, load(server) as encoder:
                encoder.encode_queries(["a"])
                said[protocol] = (server.asked[0].path, server.asked[0].body)
        assert said == {
            "cohere": (
                "/v2/embed",
                {
                    "model": NANO,
                    "input_type": "query",
                    "texts": ["a"],
                    "embedding_types": ["float"],
                    "truncate": "NONE",
                },
            ),
            "elasticsearch": (
                f"/_inference/text_embedding/.{NANO}?timeout=60s",
                {"input": ["a"], "input_type": "search"},
            ),
            "jina": (
                "/v1/embeddings",
                {
                    "model": NANO,
                    "task": "retrieval.query",
                    "normalized": True,
                    "embedding_type": "base64",
                    "truncate": False,
                    "input": ["a"],
                },
            ),
            "ollama": ("/api/embed", {"model": NANO, "input": ["Query: a"], "truncate": False}),
            "openai": ("/v1/embeddings", {"model": NANO, "input": ["Query: a"], "encoding_format": "base64"}),
            "tei": ("/embed", {"inputs": ["a"], "prompt_name": "query", "normalize": True, "truncate": False}),
        }

    def test_a_merged_name_is_the_task_of_its_base_at_jina(self) -> None:
        with ScriptedServer("jina") as server:
            with Encoder.load(f"{NANO}-clustering", backend="jina", url=server.url) as encoder:
                encoder.encode_documents(["a"])
                assert (server.asked[0].body["model"], server.asked[0].body["task"]) == (NANO, "clustering")


class TestOrderAndShape:
    @pytest.mark.parametrize("protocol", INDEXED)
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


class TestVerify:
    def test_a_right_server_passes_once(self, protocol: str) -> None:
        with ScriptedServer(protocol) as server, load(server, options={"verify": True}) as encoder:
            agree(encoder.encode_documents(TEXTS[:3]), wanted(TEXTS[:3]))
            asked = len(server.asked)
            encoder.encode_documents(TEXTS[:3])
            assert 1 < asked <= 5 and len(server.asked) == asked + 1

    @pytest.mark.parametrize(
        "wrong",
        [
            {"protocol": "jina", "ignores_role": True},
            {"protocol": "tei", "ignores_role": True},
            {"protocol": "tei", "own_prefix": "x: ", "ignores_role": True},
            {"protocol": "openai", "own_prefix": "Document: "},
        ],
        ids=str,
    )
    def test_a_missing_or_doubled_prefix(self, wrong: dict[str, Any]) -> None:
        with ScriptedServer(**wrong) as server, load(server, options={"verify": True}) as encoder:
            for _ in range(2):
                with pytest.raises(ModelError, match="prefix"):
                    encoder.encode_documents(["a"])

    @pytest.mark.parametrize("pools", ["the padding", "the first token"])
    def test_a_server_that_pools_wrongly(self, pools: str) -> None:
        def fault(asked: Asked, number: int) -> Reply:
            texts = asked.body["input"]
            seen = ["" if pools == "the first token" else text + str(len(texts)) for text in texts]
            return Reply({"data": [{"index": n, "embedding": hash_vector(s).tolist()} for n, s in enumerate(seen)]})

        with ScriptedServer("openai", fault=fault) as server, load(server, options={"verify": True}) as encoder:
            with pytest.raises(ModelError, match="pool"):
                encoder.encode_documents(["a"])


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


class TestFaults:
    @pytest.mark.parametrize(
        "reply",
        [
            Reply(PAGE, 502),
            Reply(PAGE, 503),
            Reply(b"", 504),
            Reply({"error": "busy"}, 409),
            Reply({"error": "slow down"}, 429),
            Reply({"error": "slow down"}, 429, {"Retry-After": "0"}),
            Reply(reset=True),
            Reply(b'{"data": [', 200),
            Reply(b"[" * 1000, 200, cut=True),
        ],
        ids=["502", "503", "504", "409", "429", "429, retry after", "reset", "no JSON", "half a body"],
    )
    def test_what_passes_is_tried_again(self, protocol: str, reply: Reply) -> None:
        def fault(asked: Asked, number: int) -> Reply | None:
            return replace(reply) if number <= 2 else None

        with ScriptedServer(protocol, fault=fault) as server, load(server) as encoder:
            agree(encoder.encode_documents(TEXTS[:5]), wanted(TEXTS[:5]))
            assert len(server.asked) == 3

    def test_a_slow_first_byte(self, protocol: str) -> None:
        def fault(asked: Asked, number: int) -> Reply | None:
            return Reply(b"", delay=1.0) if number == 1 else None

        with ScriptedServer(protocol, fault=fault) as server, load(server, options={"timeout": 0.2}) as encoder:
            agree(encoder.encode_documents(["a"]), wanted(["a"]))

    def test_connections_that_close_without_a_word(self, protocol: str) -> None:
        with ScriptedServer(protocol) as server:

            def fault(asked: Asked, number: int) -> Reply:
                return replace(server.answer(asked), hang_up=True)

            server.fault = fault
            with load(server) as encoder:
                for n in range(5):
                    agree(encoder.encode_documents([f"{n}"]), wanted([f"{n}"]))

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 418, 422, 500, 501])
    def test_what_is_final_is_asked_once(self, protocol: str, status: int) -> None:
        def fault(asked: Asked, number: int) -> Reply:
            return Reply({"error": "the server's own words"}, status, {"X-Elastic-Product": "Elasticsearch"})

        with ScriptedServer(protocol, fault=fault) as server, load(server) as encoder:
            with pytest.raises(ServerError, match=rf"127.0.0.1:\d+ .*{status}.*the server's own words") as refusal:
                encoder.encode_documents(["a"])
            assert (refusal.value.status, refusal.value.done, len(server.asked)) == (status, 0, 1)

    def test_the_error_says_how_many_were_done(self) -> None:
        def fault(asked: Asked, number: int) -> Reply | None:
            return Reply({"detail": "no balance", "code": "AUTHZ_INSUFFICIENT_BALANCE"}, 403) if number == 3 else None

        with ScriptedServer("jina", fault=fault) as server:
            with load(server, options={"concurrency": 1, "batch": 10}) as encoder:
                with pytest.raises(ServerError, match=r"AUTHZ_INSUFFICIENT_BALANCE.*20 of 100 texts") as refusal:
                    encoder.encode_documents(TEXTS)
                assert refusal.value.done == 20

    def test_the_deadline_ends_it(self) -> None:
        with ScriptedServer("openai", fault=always(Reply(PAGE, 503))) as server:
            with load(server, options={"deadline": 0.5}) as encoder:
                start = time.monotonic()
                with pytest.raises(ServerError, match="503"):
                    encoder.encode_documents(["a"])
                assert time.monotonic() - start < 10
                assert len(server.asked) >= 1

    def test_a_wait_beyond_the_deadline_is_not_waited_for(self) -> None:
        late = {"Retry-After": formatdate(time.time() + 3600, usegmt=True)}
        with ScriptedServer("openai", fault=always(Reply(b"", 429, late))) as server, load(server) as encoder:
            with pytest.raises(ServerError, match="429"):
                encoder.encode_documents(["a"])
            assert len(server.asked) == 1

    @pytest.mark.parametrize("protocol", ["openai", "elasticsearch"])
    def test_nobody_there_is_said_soon(self, protocol: str) -> None:
        with ScriptedServer(protocol) as server:
            pass
        with load(server) as encoder, pytest.raises(ServerError, match=r"127.0.0.1:\d+ failed: no connection"):
            encoder.encode_documents(["a"])

    def test_an_answer_that_is_no_json_is_tried_again_whatever_went_wrong_before(self) -> None:
        faults = [Reply(PAGE, 502), Reply(PAGE, 503), Reply(PAGE), Reply(PAGE)]

        def fault(asked: Asked, number: int) -> Reply | None:
            return faults[number - 1] if number <= len(faults) else None

        with ScriptedServer("openai", fault=fault) as server, load(server) as encoder:
            agree(encoder.encode_documents(["a"]), wanted(["a"]))
        assert len(server.asked) == 5

    def test_a_redirect_is_not_followed(self) -> None:
        with ScriptedServer("openai", fault=always(Reply(b"", 307, {"Location": "http://stranger/"}))) as server:
            with load(server, api_key="key") as encoder, pytest.raises(ServerError, match="http://stranger/"):
                encoder.encode_documents(["a"])

    @pytest.mark.parametrize("status", [413, 422])
    def test_a_batch_refused_for_its_size_is_split(self, status: int) -> None:
        with ScriptedServer("tei", most=5, most_status=status) as server, load(server) as encoder:
            agree(encoder.encode_documents(TEXTS), wanted(TEXTS))

    def test_tei_gets_at_most_32_texts(self) -> None:
        with ScriptedServer("tei", most=32) as server, load(server) as encoder:
            encoder.encode_documents(TEXTS)
            assert [len(asked.body["inputs"]) for asked in server.asked if len(asked.body["inputs"]) > 32] == []
            assert len(server.asked) == 4

    def test_a_single_text_that_is_too_large_is_an_error(self) -> None:
        with ScriptedServer("openai", fault=always(Reply(PAGE, 413))) as server, load(server) as encoder:
            with pytest.raises(ServerError, match="413"):
                encoder.encode_documents(["a"])

    @pytest.mark.parametrize("protocol", ["jina", "tei"])
    def test_ten_thousand_texts_through_random_faults(self, protocol: str) -> None:
        """Nothing lost, nothing swapped, whatever happens to one request in twenty."""
        rng = random.Random(5)
        faults = [
            Reply(PAGE, 502),
            Reply(PAGE, 503),
            Reply(b"", 429, {"Retry-After": "0"}),
            Reply(reset=True),
            Reply(b"x" * 100, cut=True),
            Reply(hang_up=True, body=b"<html>"),
        ]

        def fault(asked: Asked, number: int) -> Reply | None:
            return replace(rng.choice(faults)) if rng.random() < 0.05 else None

        texts = [f"text {n}" for n in range(10_000)]
        with ScriptedServer(protocol, fault=fault, width=32) as server:
            with load(server, dimension=32, options={"narrow": "server", "batch": 16}) as encoder:
                vectors = encoder.encode_documents(texts)
        assert len(server.asked) > 10_000 // 16
        agree(vectors, np.stack([hash_vector(f"Document: {text}", 32) for text in texts]))


class TestKeys:
    def test_without_a_key_there_is_no_header(self, protocol: str) -> None:
        with ScriptedServer(protocol) as server, load(server) as encoder:
            encoder.encode_documents(["a"])
            assert "authorization" not in server.asked[0].headers

    def test_a_key_is_sent_and_never_shown(self, protocol: str) -> None:
        echo = Reply({"error": "bad key sk-secret"}, 401, {"X-Elastic-Product": "Elasticsearch"})
        with ScriptedServer(protocol, fault=always(echo)) as server:
            with load(server, api_key="sk-secret") as encoder:
                with pytest.raises(ServerError) as refusal:
                    encoder.encode_documents(["a"])
                kind = "ApiKey" if protocol == "elasticsearch" else "Bearer"
                assert server.asked[0].headers["authorization"] == f"{kind} sk-secret"
                assert encoder.settings is not None
                shown = (refusal.value, refusal.value.said, encoder, encoder.backend, encoder.settings)
                assert "sk-secret" not in " ".join(map(repr, shown)) + str(refusal.value)
                assert "sk-secret" not in json.dumps(encoder.settings.to_json())

    def test_user_and_password_in_the_address(self, protocol: str) -> None:
        with ScriptedServer(protocol) as server:
            url = server.url.replace("//", "//me:pw-secret@")
            with load(server, url=url) as encoder:
                encoder.encode_documents(["a"])
                assert server.asked[0].headers["authorization"] == "Basic bWU6cHctc2VjcmV0"
                assert "secret" not in repr(encoder.contract) + encoder.contract.host

    @pytest.mark.parametrize(
        ("url", "key"),
        [
            ("https://api.jina.ai/v1/embeddings", "jina"),
            ("https://api.openai.com", "openai"),
            ("https://API.cohere.com/v2", "cohere"),
            ("http://api.jina.ai/v1", "own"),
            ("https://api.jina.ai.example.org", "own"),
            ("https://example.org/api.jina.ai", "own"),
            ("https://api.jina.ai@example.org", "own"),
            ("http://localhost:8080", "own"),
        ],
    )
    def test_a_vendors_key_goes_to_the_vendor_only(self, url: str, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("jina", "openai", "cohere"):
            monkeypatch.setenv(f"{name.upper()}_API_KEY", name)
        monkeypatch.setenv("JINAVEC_API_KEY", "own")
        assert find_key(url, None) == key
        assert find_key(url, "given") == "given"
        monkeypatch.delenv("JINAVEC_API_KEY")
        assert find_key(url, None) == ("" if key == "own" else key)

    @pytest.mark.parametrize("key", ["a b", "a\r\nX: y", "schlüssel"])
    def test_a_key_no_header_can_carry(self, key: str) -> None:
        with pytest.raises(InvalidInput) as refusal:
            find_key("http://localhost", key)
        assert key not in str(refusal.value)


class TestAddresses:
    @pytest.mark.parametrize(
        ("given", "path", "whole"),
        [
            ("http://h:1", "/v1/embeddings", "http://h:1/v1/embeddings"),
            ("http://h:1/", "/v1/embeddings", "http://h:1/v1/embeddings"),
            ("http://h:1/v1", "/v1/embeddings", "http://h:1/v1/embeddings"),
            ("http://h:1/v1/embeddings", "/v1/embeddings", "http://h:1/v1/embeddings"),
            ("http://h:1/embeddings", "/v1/embeddings", "http://h:1/embeddings"),
            ("http://h:1/query/v1", "/v1/embeddings", "http://h:1/query/v1/embeddings"),
            ("http://h:1/query", "/v1/embeddings", "http://h:1/query/v1/embeddings"),
            ("https://me:pw@h/x?a=b", "/embed", "https://h/x/embed?a=b"),
        ],
    )
    def test_an_address_is_completed(self, given: str, path: str, whole: str) -> None:
        assert read_address(given, path).url == whole

    @pytest.mark.parametrize("url", ["localhost:8080", "ftp://h", "http://", "http://h:port", "//me:pw@h"])
    def test_what_is_no_address(self, url: str, protocol: str) -> None:
        with pytest.raises(InvalidInput, match="url") as refusal:
            Encoder.load(NANO, backend=protocol, url=url)
        assert "pw" not in str(refusal.value)

    def test_servers_without_a_vendor_need_one(self) -> None:
        with pytest.raises(InvalidInput, match="url="):
            Encoder.load(NANO, backend="tei")

    @pytest.mark.parametrize(
        "given",
        [
            {"source": "folder"},
            {"revision": "abc"},
            {"options": {"batch": 0}},
            {"options": {"timeout": -1}},
            {"options": {"requests_per_minute": 0}},
            {"options": {"encoding": "binary"}},
        ],
        ids=str,
    )
    def test_what_a_server_does_not_take(self, given: dict[str, Any]) -> None:
        with pytest.raises(InvalidInput, match=next(iter(given["options"] if "options" in given else given))):
            Encoder.load(NANO, backend="openai", url="http://localhost:1", **given)

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [("3", 3), ("0.5", 0.5), ("-1", 0), ("soon", None), ("", None), (None, None), ("nan", None)],
    )
    def test_retry_after(self, value: str | None, seconds: float | None) -> None:
        assert read_retry_after(value) == seconds

    def test_retry_after_a_date(self) -> None:
        assert 50 < (read_retry_after(formatdate(time.time() + 60, usegmt=True)) or 0) <= 60


class TestConcurrency:
    @pytest.fixture
    def slow(self) -> Iterator[ScriptedServer]:
        with ScriptedServer("openai") as server:

            def fault(asked: Asked, number: int) -> Reply:
                return replace(server.answer(asked), delay=0.2)

            server.fault = fault
            yield server

    def test_batches_run_side_by_side_over_kept_connections(self, slow: ScriptedServer) -> None:
        with load(slow, options={"batch": 2, "concurrency": 8}) as encoder:
            start = time.monotonic()
            for _ in range(2):
                agree(encoder.encode_documents(TEXTS[:32]), wanted(TEXTS[:32]))
            assert time.monotonic() - start < 16 * 2 * 0.2  # one after the other takes longer, on any machine
            assert slow.connections <= 8

    def test_async_callers_share_them(self, slow: ScriptedServer) -> None:
        async def run(encoder: Encoder) -> list[Any]:
            return await asyncio.gather(*(encoder.aencode_documents([f"{n}"]) for n in range(20)))

        with load(slow, options={"concurrency": 20}) as encoder:
            for _ in range(2):  # on two event loops
                for n, got in enumerate(asyncio.run(run(encoder))):
                    agree(got, wanted([f"{n}"]))
            assert slow.connections <= 20

    def test_cancelling_stops_the_requests(self, slow: ScriptedServer) -> None:
        async def run(encoder: Encoder) -> None:
            task = asyncio.create_task(encoder.aencode_documents(TEXTS))
            await asyncio.sleep(0.1)
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


class TestElasticsearchClient:
    def test_a_client_of_ones_own(self) -> None:
        import elasticsearch

        with ScriptedServer("elasticsearch") as server, elasticsearch.Elasticsearch(server.url) as client:
            with Encoder.load(NANO, backend="elasticsearch", options={"client": client}) as encoder:
                agree(encoder.encode_documents(TEXTS), wanted(TEXTS))
                assert encoder.settings is not None
                assert "client" not in encoder.settings.to_json()["options"]
            client.perform_request(
                "POST",
                "/x",
                body={"input": ["a"], "input_type": "search"},
                headers={"content-type": "application/json", "accept": "application/json"},
            )  # still open

    @pytest.mark.parametrize("given", [{}, {"url": "http://h:1", "options": {"cloud_id": "a:b"}}], ids=str)
    def test_exactly_one_address(self, given: dict[str, Any]) -> None:
        with pytest.raises(InvalidInput, match="one of url"):
            Encoder.load(NANO, backend="elasticsearch", **given)

    def test_an_asynchronous_client_is_refused(self) -> None:
        with pytest.raises(InvalidInput, match="synchronous"):
            Encoder.load(NANO, backend="elasticsearch", options={"client": object()})

    def test_bytes_and_bits_are_worth_a_warning(self) -> None:
        for name, width in (("text_embedding_bytes", WIDTH), ("text_embedding_bits", WIDTH // 8)):
            reply = Reply({name: [{"embedding": [3] * width}]}, headers={"X-Elastic-Product": "Elasticsearch"})
            with ScriptedServer("elasticsearch", fault=always(reply)) as server:
                with load(server) as encoder, pytest.warns(JinavecWarning, match="less than float32"):
                    assert encoder.encode_documents(["a"]).shape == (1, WIDTH)
