"""What is tried again, how often and for how long, and what is final."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from email.utils import formatdate

import numpy as np
import pytest
from tests.support.model_checks import agree
from tests.support.remote_encoders import TEXTS, load, wanted
from tests.support.scripted_server import PAGE, Asked, Reply, ScriptedServer, always, hash_vector

from jinavec.backends.remote.retries import read_retry_after
from jinavec.errors import ServerError

pytest.importorskip("httpx2")
pytest.importorskip("elasticsearch")


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
                with pytest.raises(ServerError, match="503|no answer within"):  # the deadline may cut the last try
                    encoder.encode_documents(["a"])
                assert time.monotonic() - start < 60
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
    def test_thousands_of_texts_through_random_faults(self, protocol: str) -> None:
        """Nothing lost, nothing swapped, whatever happens to one request in ten."""
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
            return replace(rng.choice(faults)) if rng.random() < 0.1 else None

        texts = [f"text {n}" for n in range(3000)]
        with ScriptedServer(protocol, fault=fault, width=32) as server:
            with load(server, dimension=32, options={"narrow": "server", "batch": 16}) as encoder:
                vectors = encoder.encode_documents(texts)
        assert len(server.asked) > 3000 // 16
        agree(vectors, np.stack([hash_vector(f"Document: {text}", 32) for text in texts]))


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("value", "seconds"),
        [("3", 3), ("0.5", 0.5), ("-1", 0), ("soon", None), ("", None), (None, None), ("nan", None)],
    )
    def test_retry_after(self, value: str | None, seconds: float | None) -> None:
        assert read_retry_after(value) == seconds

    def test_retry_after_a_date(self) -> None:
        assert 50 < (read_retry_after(formatdate(time.time() + 60, usegmt=True)) or 0) <= 60
