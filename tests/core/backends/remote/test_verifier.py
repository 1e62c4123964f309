"""The check of a server on first use, against servers whose vectors have v5's golden similarities."""

from __future__ import annotations

import re
import warnings
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.golden_server import FAULTS, PRECISIONS, TOKENS, GoldenServer, Reading, model_vector
from tests.support.remote_encoders import NANO
from tests.support.scripted_server import Asked, Reply, ScriptedServer, always, hash_vector

from jinavec import Encoder, ModelProfile, Role, Task
from jinavec.errors import InvalidInput, JinavecWarning, ModelError, ServerError
from jinavec.models import find_model
from jinavec.vectors import narrow

pytest.importorskip("httpx2")
pytest.importorskip("elasticsearch")

SMALL = "jina-embeddings-v5-text-small"
BY_CLIENT = ("ollama", "openai")
"""Where the client adds the prefix, and the server counts tokens."""
ALWAYS = ("elasticsearch", "jina")
"""Where the server always adds one."""
NAMED = {
    "the prefix is missing": {"": "prefix is missing"},
    "the prefix is there twice": {"": "prefix is there twice", **dict.fromkeys(ALWAYS, "not these weights")},
    "a prefix of its own": {"": "not these weights"} | dict.fromkeys(BY_CLIENT, "prefix is there twice"),
    "the prefixes are swapped": {"": "swapped"} | dict.fromkeys((*BY_CLIENT, *ALWAYS), "not these weights"),
    "EOS is missing": {"": "not these weights"} | dict.fromkeys(BY_CLIENT, "EOS.* is missing"),
    "EOS is there twice": {"": "not these weights"} | dict.fromkeys(BY_CLIENT, "EOS.* is there twice"),
    "the first token is pooled": {"": "first token is pooled"},
    "the padding is pooled": {"": "padding is pooled"},
    "the mean is pooled": {"": "not these weights, this task or this pooling: .* should be 0.5013"},
    "no causal mask without padding": {"": "equally long"},
    "out of order": {"": "changes with the other texts"},
    "cut": {"": "does not serve"},
}
"""What a refusal says: of every protocol, and of some."""


def load(server: GoldenServer, model: str = NANO, **given: Any) -> Encoder:
    """Load the encoder of a server; where nothing else is said, the two protocols that check less are to check all."""
    protocol = server.answer.protocol
    options = {"verify": True if protocol in ALWAYS else None, **given.pop("options", {})}
    if protocol == "elasticsearch" and "served_as" not in given:
        given["served_as"] = "mine"
    return Encoder.load(model, backend=protocol, url=server.url, options=options, **given)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_right_server_passes_once_a_process(protocol: str, precision: str) -> None:
    with GoldenServer(protocol, precision=precision) as server:
        with load(server, dimension=256) as encoder:
            given = encoder.encode_documents(["a"])
            asked = texts_of(server)[:-1]
        assert len(asked) <= 4 and sum(map(len, asked)) <= 16
        right = model_vector(find_model(NANO), Task.RETRIEVAL, "Document: a")
        np.testing.assert_allclose(given, narrow(right[None], 256), atol=1e-3)
        with load(server) as encoder:
            encoder.encode_queries(["a"])
        assert len(server.asked) == len(asked) + 2


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_server_is_refused_by_name(protocol: str, fault: str) -> None:
    more = TOKENS.get(fault, 0) if protocol in BY_CLIENT else 0
    change = FAULTS["a prefix of its own"] if fault == "the prefix is there twice" and more else FAULTS[fault]
    if fault == "the prefixes are swapped" and protocol in BY_CLIENT:
        return  # a server that only sees texts cannot do that
    said = NAMED[fault].get(protocol, NAMED[fault][""])
    with GoldenServer(protocol, change=change, more_tokens=more) as server, load(server) as encoder:
        for _ in range(2):
            with pytest.raises(ModelError, match=said):
                encoder.encode_documents(["a"])


def texts_of(server: GoldenServer) -> list[list[str]]:
    """Return the texts of each request."""
    return [next(body[name] for name in ("input", "inputs", "texts") if name in body) for body in bodies(server)]


def bodies(server: GoldenServer) -> list[dict[str, Any]]:
    return [request.body for request in server.asked]


@pytest.mark.parametrize(("model", "task"), [(NANO, "retrieval"), (SMALL, "retrieval"), (SMALL, "text-matching")])
def test_published_values_prove_everything(protocol: str, model: str, task: str) -> None:
    profile = find_model(model)
    with (
        GoldenServer(protocol, profile=profile, serves=Task(task)) as server,
        load(server, model, task=task) as encoder,
    ):
        found = encoder.verify()
        assert (found.proved, found.unproved, found.warnings) == (("model", "task", "prefix", "pooling"), {}, ())
        assert found.deviation is not None and found.deviation < 0.001
        assert len(server.asked) <= 4 and sum(map(len, texts_of(server))) <= 16
        assert str(found).startswith("proved: model, task, prefix, pooling (similarities within 0.000")


@pytest.mark.parametrize("serves", [task for task in Task if task is not Task.RETRIEVAL])
def test_another_task_or_another_size_is_refused_with_the_numbers(protocol: str, serves: Task) -> None:
    with GoldenServer(protocol, serves=serves) as server, load(server) as encoder:
        with pytest.raises(ModelError, match="not these weights, this task or this pooling.*should be 0.5013  0.7914"):
            encoder.verify()


@pytest.mark.parametrize(("noise", "warns"), [(0.05, False), (0.25, True)])
def test_what_four_bits_change_is_said_with_the_number(protocol: str, noise: float, warns: bool) -> None:
    with (
        GoldenServer(protocol, noise=noise) as server,
        load(server) as encoder,
        warnings.catch_warnings(record=True) as w,
    ):
        warnings.simplefilter("always")
        encoder.encode_queries(["a"])
        assert [str(warning.message).partition(": ")[2][:34] for warning in w] == [
            "similarities are off by up to 0.03" for _ in range(warns)
        ]


def test_vectors_of_another_length_are_scaled_and_said(protocol: str) -> None:
    with GoldenServer(protocol, scale=7) as server, load(server) as encoder:
        with pytest.warns(JinavecWarning, match="not of unit length; they are scaled here"):
            given = encoder.encode_documents(["a"])
    np.testing.assert_allclose(given[0], model_vector(find_model(NANO), Task.RETRIEVAL, "Document: a"), atol=1e-6)


@pytest.mark.parametrize("counted", [-12, -3, -2, -1, 1, 30])
def test_a_right_server_may_count_tokens_in_its_own_way(counted: int) -> None:
    with GoldenServer("openai", more_tokens=counted) as server, load(server) as encoder:
        assert encoder.verify().proved == ("model", "task", "prefix", "pooling")


@pytest.mark.parametrize("protocol", ["tei", "cohere"])
@pytest.mark.parametrize("task", [Task.RETRIEVAL, Task.CLUSTERING])
def test_a_default_prompt_for_texts_that_name_none_is_no_fault(protocol: str, task: Task) -> None:
    def change(reading: Reading) -> list[Any]:
        default = "" if reading.prefix else "Document: "
        return [reading.vector(default + reading.prefix + text) for text in reading.texts]

    with GoldenServer(protocol, serves=task, change=change) as server, load(server, task=task) as encoder:
        assert ("prefix" in encoder.verify().proved) == (task is Task.RETRIEVAL)


class TestTasksWithoutPublishedValues:
    @pytest.mark.parametrize("task", [task for task in Task if task is not Task.RETRIEVAL])
    def test_retrieval_proves_the_model_where_it_can_be_asked_for(self, protocol: str, task: Task) -> None:
        serves = None if protocol == "jina" else task
        with GoldenServer(protocol, serves=serves) as server, load(server, task=task) as encoder:
            found = encoder.verify()
            assert len(server.asked) <= 4 and sum(map(len, texts_of(server))) <= 16
        if protocol == "jina":
            assert (found.proved, list(found.unproved)) == (("model", "prefix", "pooling"), ["task"])
        else:
            proved = () if protocol == "elasticsearch" else ("prefix",)
            assert (found.proved, found.deviation) == (proved, None)

    def test_a_task_that_is_ignored(self) -> None:
        with GoldenServer("jina", serves=Task.RETRIEVAL) as server, load(server, task="clustering") as encoder:
            with pytest.raises(ModelError, match="those for retrieval: the task is ignored"):
                encoder.verify()

    @pytest.mark.parametrize("fault", ["EOS is missing", "EOS is there twice", "the prefix is there twice", "cut"])
    def test_tokens_are_counted(self, fault: str) -> None:
        more = -5 if fault == "cut" else TOKENS[fault]
        with GoldenServer("openai", serves=Task.CLUSTERING, change=FAULTS[fault], more_tokens=more) as server:
            with load(server, task="clustering") as encoder, pytest.raises(ModelError, match="it read .* tokens"):
                encoder.encode_documents(["a"])


class TestWhenAServerIsAsked:
    @pytest.mark.parametrize("protocol", ["openai", "tei", "ollama", "cohere"])
    @pytest.mark.parametrize("task", ["retrieval", "clustering"])
    def test_by_default(self, protocol: str, task: str) -> None:
        with GoldenServer(protocol, change=FAULTS["the mean is pooled"]) as server:
            with load(server, task=task) as encoder:
                refused = pytest.raises(ModelError) if task == "retrieval" else nullcontext()
                with refused:
                    encoder.encode_documents(["a"])
                assert len(server.asked) > 1

    def test_never_where_it_is_turned_off_nor_through_elasticsearch(self, protocol: str) -> None:
        verify = None if protocol == "elasticsearch" else False
        with GoldenServer(protocol, change=FAULTS["the mean is pooled"]) as server:
            with load(server, options={"verify": verify}) as encoder:
                encoder.encode_documents(["a"])
            assert len(server.asked) == 1

    def test_never_of_a_model_without_golden_values(self) -> None:
        profile = ModelProfile(name="mine", width=768)
        with GoldenServer("openai") as server, Encoder.load(profile, backend="openai", url=server.url) as encoder:
            encoder.encode_documents(["a"])
            assert len(server.asked) == 1

    def test_at_full_width_where_the_server_cuts(self) -> None:
        with GoldenServer("tei") as server:
            how: dict[str, Any] = {"dimension": 256, "options": {"narrow": "server"}}
            with load(server, **how) as encoder, pytest.raises(ModelError, match="width 768"):
                encoder.encode_documents(["a"])  # this server does not cut
            assert [body.get("dimensions") for body in bodies(server)] == [None] * 4 + [256]

    @pytest.mark.parametrize("most", [1, 4])
    def test_a_server_that_takes_few_texts_at_once(self, protocol: str, most: int) -> None:
        if (protocol, most) == ("jina", 4):
            return  # its protocol has no word for it
        options = {"batch": 1} if most == 1 else {}
        verify = {"verify": True} if protocol in ALWAYS else {}
        with GoldenServer(protocol, most=most) as server, load(server, options=options | verify) as encoder:
            assert encoder.verify().proved == ("model", "task", "prefix", "pooling")
            assert max(map(len, texts_of(server))) <= max(most, 9)

    def test_a_failing_server_is_no_wrong_one(self) -> None:
        with GoldenServer("openai") as server:
            server.fault = always(Reply({"error": {"message": "out of memory"}}, 500))
            with load(server) as encoder, pytest.raises(ServerError, match="out of memory"):
                encoder.verify()


class TestThePrefixAtJina:
    """Away from the vendor's address two requests tell whether the server adds it."""

    @pytest.mark.parametrize("task", list(Task))
    def test_it_is_missing(self, task: Task) -> None:
        with GoldenServer("jina", serves=task, change=FAULTS["the prefix is missing"]) as server:
            with load(server, task=task, options={"verify": None}) as encoder:
                for _ in range(2):
                    with pytest.raises(ModelError, match="prefix is missing"):
                        encoder.encode_documents(["a"])
            assert len(server.asked) == 4

    @pytest.mark.parametrize("task", list(Task))
    def test_it_is_there(self, task: Task) -> None:
        with GoldenServer("jina", serves=None) as server:
            for number in range(2):
                with load(server, task=task, options={"verify": None}) as encoder:
                    encoder.encode_documents(["a"])
                assert len(server.asked) == 3 + number

    def test_a_server_of_one_task_refuses_to_be_asked_for_another(self) -> None:
        profile = replace(find_model(NANO), task=Task.CLUSTERING)
        with GoldenServer("jina", serves=None, profile=profile) as server:
            with load(server, task="clustering", options={"verify": None}) as encoder:
                encoder.encode_documents(["a"])

    @pytest.mark.parametrize("verify", [None, True])
    @pytest.mark.parametrize("task", ["retrieval", "text-matching"])
    def test_it_is_typed_and_added(self, verify: bool | None, task: str) -> None:
        options = {"verify": verify, "adds_prompt": False}
        with GoldenServer("jina", serves=None) as server, load(server, task=task, options=options) as encoder:
            if (task, verify) == ("text-matching", True):
                return  # one prefix for both roles, and no values that are known
            with pytest.raises(ModelError, match="prefix is there twice.*leave out adds_prompt=False"):
                encoder.encode_queries(["a"])

    def test_at_the_vendors_address_it_cannot_be_typed(self) -> None:
        with pytest.raises(InvalidInput, match="adds the prefix"):
            Encoder.load(NANO, backend="jina", options={"adds_prompt": False})


@pytest.mark.parametrize("role", ["query", "document"])
@pytest.mark.parametrize(
    ("backend", "rest"),
    [("openai", ""), ("openai", "/"), ("openai", "/v1"), ("openai", "/v1/embeddings"), ("tei", ""), ("tei", "/embed")],
)
def test_an_address_that_is_bound_to_a_role(backend: str, rest: str, role: str) -> None:
    url = f"http://user:secret@127.0.0.1:1/models/{role}{rest}"
    free = f"http://127.0.0.1:1/models{rest.rstrip('/')}"
    with pytest.raises(InvalidInput, match=f"bound to the role {role}.* use url='{free}'") as raised:
        Encoder.load(NANO, backend=backend, url=url)
    assert "secret" not in str(raised.value)
    Encoder.load(NANO, backend=backend, url=url, options={"verify": False}).close()
    Encoder.load(NANO, backend=backend, url=f"http://127.0.0.1:1/{role}/models{rest}").close()


@pytest.mark.parametrize("appended", [None, (5,)])
def test_a_doubled_prefix_is_found_for_any_profile_by_the_tokens_of_a_text_and_its_double(
    appended: tuple[int, ...] | None,
) -> None:
    prompts = {(Task.RETRIEVAL, Role.QUERY): "q: ", (Task.RETRIEVAL, Role.DOCUMENT): "d: "}
    profile = ModelProfile(name="mine", width=768, prompts=prompts, appended=appended)
    for added in ("", "passage follows: "):

        def count(asked: Asked, number: int, added: str = added) -> Reply:
            texts: list[str] = asked.body["input"]
            data = [{"index": n, "embedding": hash_vector(added + text).tolist()} for n, text in enumerate(texts)]
            tokens = sum(len(re.findall(r"\w+|[^\w\s]", added + text)) + 1 for text in texts)
            return Reply({"data": data, "model": "mine", "usage": {"prompt_tokens": tokens}})

        with ScriptedServer("openai", fault=count) as server:
            with Encoder.load(profile, backend="openai", url=server.url, options={"verify": True}) as encoder:
                if not added:
                    encoder.encode_queries(["a"])
                    assert encoder.verify().proved == ("prefix",)
                    continue
                with pytest.raises(ModelError, match="prefix is there twice"):
                    encoder.encode_queries(["a"])


@pytest.mark.parametrize("backend", ["openai", "tei"])
def test_values_of_ones_own(backend: str, tmp_path: Path) -> None:
    """Recorded from a server that is trusted, they refuse another one."""
    plain = ModelProfile(name="mine", width=768, prompts=find_model(NANO).prompts)
    with ScriptedServer(backend) as trusted, Encoder.load(plain, backend=backend, url=trusted.url) as encoder:
        recorded = encoder.record_golden()
    path = tmp_path / "mine.toml"
    prompts = '[prompts.retrieval]\nquery = "Query: "\ndocument = "Document: "\n'
    path.write_text(f'name = "mine"\nwidth = 768\n{prompts}{recorded.to_toml()}', "utf-8")
    profile = ModelProfile.from_toml(path)
    assert profile.golden == recorded
    with ScriptedServer(backend) as right, Encoder.load(profile, backend=backend, url=right.url) as encoder:
        encoder.encode_queries(["a"])
        assert len(right.asked) > 2 and encoder.verify().deviation == pytest.approx(0, abs=1e-4)
    with GoldenServer(backend) as wrong, Encoder.load(profile, backend=backend, url=wrong.url) as encoder:
        with pytest.raises(ModelError, match="not these weights"):
            encoder.encode_queries(["a"])
