"""One bad text among good ones: named by its position, the others embedded, whatever the server makes of it."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
from tests.support.list_engine import ListEngine
from tests.support.model_checks import agree
from tests.support.remote_encoders import PROTOCOLS, load, wanted
from tests.support.scripted_server import Asked, Reply, ScriptedServer, always

from jinavec import Record
from jinavec.errors import InvalidRecord, RecordsFailed, ServerError, TextTooLong

pytest.importorskip("httpx2")
pytest.importorskip("elasticsearch")

BAD = 123
TEXTS = [f"text {number}" if number != BAD else "bad" for number in range(200)]
GOOD = [number for number in range(200) if number != BAD]
ELASTIC = {"X-Elastic-Product": "Elasticsearch"}


def texts_of(asked: Asked) -> list[str]:
    return next(asked.body[name] for name in ("input", "inputs", "texts") if name in asked.body)


def has_bad(asked: Asked) -> bool:
    return any(text.endswith("bad") for text in texts_of(asked))


def too_long(server: ScriptedServer, asked: Asked) -> Reply:
    return Reply({"error": "Input text exceeds the model's limit of 100 tokens"}, 400, ELASTIC)


def refused(server: ScriptedServer, asked: Asked) -> Reply:
    return Reply({"error": "I do not like it"}, 422, ELASTIC)


def broken(server: ScriptedServer, asked: Asked) -> Reply:
    return Reply({"error": "assertion failed"}, 500, ELASTIC)


def null(server: ScriptedServer, asked: Asked) -> Reply:
    """Put null in place of the vector."""
    reply = server.answer(asked)
    rows = rows_of(reply)
    place = next(number for number, text in enumerate(texts_of(asked)) if text.endswith("bad"))
    rows[place] = rows[place] | {"embedding": None} if isinstance(rows[place], dict) else None
    return reply


def missing(server: ScriptedServer, asked: Asked) -> Reply:
    """Leave a vector out."""
    reply = server.answer(asked)
    del rows_of(reply)[0]
    return reply


def rows_of(reply: Reply) -> list[Any]:
    """Return the list of vectors in a reply."""
    body = reply.body
    if isinstance(body, list):
        return cast("list[Any]", body)
    rows: Any = next(body[name] for name in ("data", "embeddings", "text_embedding") if name in body)
    return cast("list[Any]", rows["float"] if isinstance(rows, dict) else rows)


Fault = Callable[[ScriptedServer, Asked], Reply]
FAULTS: list[Fault] = [too_long, refused, broken, null, missing]


def serving(protocol: str, fault: Fault) -> ScriptedServer:
    server = ScriptedServer(protocol)

    def answer(asked: Asked, number: int) -> Reply | None:
        return fault(server, asked) if has_bad(asked) else None

    server.fault = answer
    return server


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_bad_text_is_named_and_the_others_are_embedded(protocol: str, fault: Fault) -> None:
    reasons: dict[int, str] = {}
    with serving(protocol, fault) as server, load(server) as encoder:
        with pytest.raises((TextTooLong, ServerError), match=f"^text {BAD}: 127.0.0.1:") as error:
            encoder.encode_documents(TEXTS)
        assert error.value.positions == (BAD,)
        asked = len(server.asked)
        vectors = encoder.encode(TEXTS, role="document", refused=reasons.update)
    assert reasons.keys() == {BAD}
    agree(vectors[GOOD], wanted([TEXTS[number] for number in GOOD]))
    assert not vectors[BAD].any()
    batch = 16 if protocol == "elasticsearch" else 32
    tries = 7 if fault is broken else 0  # each part of a request once more
    assert len(server.asked) - asked <= -(-200 // batch) + 2 * 5 + 2 + tries


@pytest.mark.parametrize("fault", FAULTS)
def test_the_first_text_may_be_the_bad_one_and_come_twice(fault: Fault) -> None:
    texts = ["bad", "a", "bad", "b", "c"]
    with serving("openai", fault) as server, load(server) as encoder:
        with pytest.raises((TextTooLong, ServerError), match="^texts 0, 2: ") as error:
            encoder.encode_documents(texts)
    again = pickle.loads(pickle.dumps(error.value))
    assert (str(again), again.positions, type(again)) == (str(error.value), (0, 2), type(error.value))


@pytest.mark.parametrize("status", [400, 422, 500])
def test_a_server_that_refuses_everything_blames_no_text(status: int) -> None:
    reasons: dict[int, str] = {}
    with ScriptedServer("openai", fault=always(Reply({"error": "no"}, status))) as server, load(server) as encoder:
        with pytest.raises(ServerError) as error:
            encoder.encode(TEXTS, role="document", refused=reasons.update)
        assert len(server.asked) < 10
    assert error.value.positions == ()
    assert not reasons


@pytest.mark.parametrize("status", [401, 402, 403, 404, 405])
def test_what_no_text_can_be_the_reason_of_is_asked_once(status: int) -> None:
    with ScriptedServer("openai", fault=always(Reply({"error": "no"}, status))) as server, load(server) as encoder:
        with pytest.raises(ServerError, match=f"refused with status {status}: no"):
            encoder.encode_documents(TEXTS)
        assert len(server.asked) == 1


@pytest.mark.parametrize("fault", FAULTS)
def test_an_engine_names_the_record(fault: Fault) -> None:
    records = [Record(f"id-{number}", text) for number, text in enumerate(TEXTS)]
    with serving("tei", fault) as server, load(server) as encoder:
        engine = ListEngine(encoder.contract, encoder)
        with pytest.raises(InvalidRecord, match=f"id-{BAD}"):
            engine.add(records)
        assert engine.count() == 0
        reasons: dict[str, str] = {}
        done = engine.ingest(records, batch_size=50, on_refused=reasons.__setitem__)
        assert (done.added, done.refused_count, list(reasons)) == (199, 1, [f"id-{BAD}"])
        assert engine.count() == 199
        with pytest.raises(RecordsFailed, match=f"'id-{BAD}': 127.0.0.1"):
            engine.ingest(records)


class TestErrorsInReplies:
    """A status of 200 with an error in place of vectors."""

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    @pytest.mark.parametrize(
        "said",
        [
            {"error": "Model is overloaded, please try again later"},
            {"error": {"message": "rate limit reached", "type": "requests"}},
            {"error": {"message": "sorry", "code": 503}},
            {"message": "sorry", "status": 429},
        ],
        ids=str,
    )
    def test_overload_is_tried_again(self, protocol: str, said: dict[str, Any]) -> None:
        def fault(asked: Asked, number: int) -> Reply | None:
            return Reply(said, headers=ELASTIC) if number <= 2 else None

        with ScriptedServer(protocol, fault=fault) as server, load(server) as encoder:
            agree(encoder.encode_documents(["a"]), wanted(["a"]))
            assert len(server.asked) == 3

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_anything_else_is_told_in_the_servers_words(self, protocol: str) -> None:
        said = always(Reply({"error": {"message": "no such adapter: 7"}}, headers=ELASTIC))
        with ScriptedServer(protocol, fault=said) as server, load(server) as encoder:
            with pytest.raises(ServerError, match=r"failed: no such adapter: 7"):
                encoder.encode_documents(["a", "b"])
            assert len(server.asked) == 1


def test_a_text_that_never_ends_is_sent_three_times_and_named() -> None:
    sends: Counter[str] = Counter()

    def fault(asked: Asked, number: int) -> Reply | None:
        sends.update(texts_of(asked))
        return Reply(b"", delay=3) if has_bad(asked) else None

    reasons: dict[int, str] = {}
    with ScriptedServer("openai", fault=fault) as server:
        with load(server, options={"timeout": 0.5, "deadline": 60}) as encoder:
            vectors = encoder.encode(TEXTS, role="document", refused=reasons.update)
    assert reasons.keys() == {BAD}
    assert "no answer within" in reasons[BAD]
    assert max(sends.values()) == 3
    np.testing.assert_allclose(vectors[GOOD], wanted([TEXTS[number] for number in GOOD]), atol=1e-6)
