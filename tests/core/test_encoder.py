from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import threading
import time
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from jinavec import Backend, Contract, Encoder, EncoderSettings, JinavecWarning, ModelProfile, Report, Role, Task
from jinavec.encoder import BACKENDS
from jinavec.errors import (
    InvalidDimension,
    InvalidInput,
    InvalidType,
    InvalidVectors,
    MissingExtra,
    TextTooLong,
    UnknownModel,
    UnknownTask,
)

WIDTH = 16
PROFILE = ModelProfile(
    name="hash",
    width=WIDTH,
    dimensions=(8, 16),
    prompts={(Task.RETRIEVAL, Role.QUERY): "Q: ", (Task.RETRIEVAL, Role.DOCUMENT): "D: "},
    backend="hash",
)
PREFIX = {"query": "Q: ", "document": "D: "}
Vectors = NDArray[Any]


def hash_vector(text: str) -> NDArray[np.float32]:
    """Distinct texts get independent vectors, and the same text always the same."""
    seed = list(hashlib.sha256(text.encode()).digest())
    return np.random.default_rng(seed).standard_normal(WIDTH).astype(np.float32)


class HashBackend(Backend):
    """A backend whose every vector can be computed again, and that remembers what it was asked."""

    name = "hash"

    def __init__(self, **attributes: Any) -> None:
        self.calls: list[tuple[list[str], Task, Role]] = []
        self.closed = 0
        vars(self).update(attributes)

    @classmethod
    def load(cls, settings: EncoderSettings, api_key: str | None) -> Self:
        return cls(loaded=settings, got_key=api_key == "sk-secret")

    def embed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Vectors:
        self.calls.append((list(texts), task, role))
        return np.stack([hash_vector(text) for text in texts])

    def close(self) -> None:
        self.closed += 1


class Answering(HashBackend):
    """Gives a prepared answer, made from the right one."""

    def __init__(self, change: Callable[[Vectors], Any]) -> None:
        super().__init__()
        self.change = change

    def embed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Any:
        return self.change(super().embed(texts, task=task, role=role))


class Reporting(HashBackend):
    """Tells the report something before it answers."""

    def __init__(self, tell: Callable[[Report, int], object]) -> None:
        super().__init__()
        self.tell = tell

    def embed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Vectors:
        assert report is not None
        self.tell(report, len(texts))
        return super().embed(texts, task=task, role=role)


def encoder_of(backend: Backend | None = None, **options: Any) -> Encoder:
    return Encoder(PROFILE, backend or HashBackend(), **options)


def expected(texts: list[str], role: str, dimension: int = WIDTH, prefix: str | None = None) -> NDArray[np.float64]:
    """Prefix, embed, slice, then renormalise: computed text by text in float64."""
    rows = [hash_vector((PREFIX[role] if prefix is None else prefix) + text)[:dimension] for text in texts]
    exact = np.array(rows, np.float64).reshape(len(texts), dimension)
    return exact / np.linalg.norm(exact, axis=1, keepdims=True)


def into(counts: list[tuple[int, int]]) -> Callable[[int, int], None]:
    return lambda done, total: counts.append((done, total))


# the vectors


@given(st.lists(st.text(max_size=6), max_size=12), st.sampled_from(["query", "document"]), st.sampled_from([8, 16]))
def test_every_text_gets_its_own_vector_in_order(texts: list[str], role: str, dimension: int) -> None:
    vectors = encoder_of(dimension=dimension).encode(texts, role=role)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(texts), dimension)
    np.testing.assert_allclose(vectors, expected(texts, role, dimension), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_queries_and_documents_are_the_two_roles() -> None:
    encoder = encoder_of()
    np.testing.assert_array_equal(encoder.encode_queries(["a"]), encoder.encode(["a"], role=Role.QUERY))
    np.testing.assert_array_equal(encoder.encode_documents(["a"]), encoder.encode(["a"], role="document"))
    assert (encoder.encode_queries(["a"]) != encoder.encode_documents(["a"])).any()


def test_the_role_is_never_a_default() -> None:
    encode: Any = encoder_of().encode
    with pytest.raises(TypeError, match="role"):
        encode(["a"])
    for role in ("passage", None, ""):
        with pytest.raises(UnknownTask, match="query, document"):
            encode(["a"], role=role)
        with pytest.raises(UnknownTask, match="query, document"):
            encode([], role=role)


def test_the_backend_is_asked_once_with_the_task_and_the_role() -> None:
    backend = HashBackend()
    encoder_of(backend, task="clustering").encode_queries(["a", "b"])
    assert backend.calls == [(["a", "b"], Task.CLUSTERING, Role.QUERY)]


def test_the_backends_array_is_left_alone() -> None:
    answer = np.stack([hash_vector("a"), hash_vector("b")])
    before = answer.copy()
    for dimension in (8, 16):
        encoder_of(Answering(lambda _: answer), dimension=dimension).encode_queries(["a", "b"])[:] = 0
    np.testing.assert_array_equal(answer, before)


# prefixes


@pytest.mark.parametrize("role", ["query", "document"])
@pytest.mark.parametrize("text", ["cat", "", " ", "Q: cat", "D: cat", "Q: Q: cat", "Query: cat", "\n"])
def test_each_text_gets_exactly_one_prefix_whatever_it_begins_with(role: str, text: str) -> None:
    backend = HashBackend()
    encoder_of(backend).encode([text], role=role)
    assert backend.calls[0][0] == [PREFIX[role] + text]


@pytest.mark.parametrize("role", ["query", "document"])
def test_a_backend_that_adds_the_prompt_gets_bare_texts(role: str) -> None:
    backend = HashBackend(adds_prompt=True)
    vectors = encoder_of(backend).encode(["cat", "Q: cat"], role=role)
    assert backend.calls[0][0] == ["cat", "Q: cat"]
    np.testing.assert_allclose(vectors, expected(["cat", "Q: cat"], role, prefix=""), atol=1e-6)


@pytest.mark.parametrize(
    ("model", "role", "prefix"),
    [
        ("jina-embeddings-v5-text-nano-retrieval", "query", "Query: "),
        ("jina-embeddings-v5-text-nano-retrieval", "document", "Document: "),
        ("jina-embeddings-v5-text-nano-text-matching", "query", "Document: "),
        ("jina-embeddings-v5-text-small-clustering", "document", "Document: "),
        ("jina-embeddings-v5-text-small-classification", "query", "Document: "),
    ],
)
def test_the_v5_prefixes_reach_the_backend(registered: None, model: str, role: str, prefix: str) -> None:
    encoder = Encoder.load(model, backend="hash")
    with pytest.raises(InvalidVectors):
        encoder.encode(["cat"], role=role)
    assert encoder.backend.calls[0][0] == [prefix + "cat"]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


# what is given


@pytest.mark.parametrize("nothing", [[], (), iter([]), "".split()], ids=["list", "tuple", "iterator", "split"])
@pytest.mark.parametrize("dimension", [8, 16])
async def test_no_texts_cost_nothing(nothing: Any, dimension: int) -> None:
    backend = HashBackend()
    encoder = encoder_of(backend, dimension=dimension)
    calls: list[tuple[int, int]] = []
    for empty in (
        encoder.encode(nothing, role="query", progress=into(calls)),
        encoder.encode_documents(nothing),
        await encoder.aencode_queries(nothing),
    ):
        assert empty.shape == (0, dimension)
        assert empty.dtype == np.float32
    assert backend.calls == calls == []


def test_identical_texts_are_embedded_once() -> None:
    backend = HashBackend()
    texts = ["a", "b", "a", "c", "b", "a"]
    vectors = encoder_of(backend).encode_documents(texts)
    assert backend.calls[0][0] == ["D: a", "D: b", "D: c"]
    np.testing.assert_allclose(vectors, expected(texts, "document"), atol=1e-6)


def test_only_identical_texts_are_one() -> None:
    backend = HashBackend()
    texts = ["é", unicodedata.normalize("NFD", "é"), "a", "a ", "A", "ａ"]
    encoder_of(backend).encode_documents(texts)
    assert backend.calls[0][0] == ["D: " + text for text in texts]


def letters() -> Iterator[str]:
    yield from "abc"


@pytest.mark.parametrize(
    "texts",
    [letters, lambda: ("a", "b", "c"), lambda: np.array(["a", "b", "c"]), lambda: dict.fromkeys("abc").keys()],
    ids=["generator", "tuple", "array", "keys"],
)
def test_any_iterable_of_strings_works(texts: Callable[[], Any]) -> None:
    backend = HashBackend()
    np.testing.assert_allclose(
        encoder_of(backend).encode_queries(texts()), expected(["a", "b", "c"], "query"), atol=1e-6
    )
    assert all(type(text) is str for text in backend.calls[0][0])


@pytest.mark.parametrize(
    "texts", ["cat", "", b"cat", {"a": "cat"}, None, 3, hash_vector], ids=lambda texts: type(texts).__name__
)
@pytest.mark.parametrize("door", ["encode_queries", "encode_documents", "aencode_queries", "aencode_documents"])
async def test_what_is_no_list_of_strings_is_refused(texts: Any, door: str) -> None:
    backend = HashBackend()
    with pytest.raises(InvalidType, match=rf"not {type(texts).__name__}; for one text, give \[text\]"):
        answer = getattr(encoder_of(backend), door)(texts)
        await answer
    assert not backend.calls


@pytest.mark.parametrize("position", [0, 1, 5])
@pytest.mark.parametrize("bad", [None, 3, b"cat", ["cat"], float("nan")], ids=repr)
def test_what_is_no_string_is_named_by_position(position: int, bad: Any) -> None:
    backend = HashBackend()
    texts: list[Any] = ["a"] * 6
    texts[position] = bad
    with pytest.raises(InvalidType, match=rf"text {position} is {type(bad).__name__}"):
        encoder_of(backend).encode_documents(texts)
    assert not backend.calls


@pytest.mark.parametrize("bad", ["\ud800", "a\udfffb"])
def test_half_a_surrogate_pair_is_named_by_position(bad: str) -> None:
    with pytest.raises(InvalidInput, match="text 2 is not valid Unicode"):
        encoder_of().encode_documents(["a", "\U0001f600", bad])


def test_an_error_in_the_callers_generator_is_the_callers() -> None:
    def broken() -> Iterator[str]:
        yield "a"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        encoder_of().encode_documents(broken())


# what the backend answers

BAD_ANSWERS: dict[str, tuple[Callable[[Vectors], Any], str]] = {
    "one too few": (lambda x: x[:-1], r"\(2, 16\) for 3 texts"),
    "one too many": (lambda x: np.vstack([x, x[:1]]), r"\(4, 16\) for 3 texts"),
    "none": (lambda x: x[:0], r"\(0, 16\)"),
    "narrow": (lambda x: x[:, :8], r"\(3, 8\).*width 16"),
    "wide": (lambda x: np.hstack([x, x]), r"\(3, 32\).*width 16"),
    "flat": (lambda x: x.ravel(), r"\(48,\)"),
    "no array": (lambda x: x.tolist(), "shape None"),
    "nothing": (lambda _: None, "shape None"),
    "NaN": (lambda x: np.where(np.arange(3)[:, None] == 1, np.nan, x), "vector 1 holds NaN"),
    "infinity": (lambda x: np.where(np.arange(16) == 15, np.inf, x), "vector 0 holds NaN or infinity"),
    "zero": (lambda x: x * (np.arange(3) < 2)[:, None], "vector 2 is all zeros"),
    "texts": (lambda x: x.astype(str), "not an array of numbers"),
}


@pytest.mark.parametrize(("change", "message"), BAD_ANSWERS.values(), ids=BAD_ANSWERS.keys())
@pytest.mark.parametrize("dimension", [8, 16])
async def test_bad_answers_are_refused_naming_the_backend(
    change: Callable[[Vectors], Any], message: str, dimension: int
) -> None:
    encoder = encoder_of(Answering(change), dimension=dimension)
    with pytest.raises(InvalidVectors, match=message) as refusal:
        encoder.encode_documents(["a", "b", "c"])
    assert "backend hash" in str(refusal.value)
    with pytest.raises(InvalidVectors, match=message):
        await encoder.aencode_documents(["a", "b", "c"])


@pytest.mark.parametrize("kind", [np.float64, np.float16, ">f4"])
def test_other_floats_are_understood(kind: Any) -> None:
    vectors = encoder_of(Answering(lambda x: x.astype(kind))).encode_documents(["a", "b"])
    assert vectors.dtype == np.dtype(np.float32)
    np.testing.assert_allclose(vectors, expected(["a", "b"], "document"), atol=1e-3)


async def test_what_a_backend_raises_arrives_as_it_is() -> None:
    class Boom(Exception): ...

    def boom(_: Vectors) -> None:
        raise Boom

    encoder = encoder_of(Answering(boom))
    with pytest.raises(Boom):
        encoder.encode_documents(["a"])
    with pytest.raises(Boom):
        await encoder.aencode_documents(["a"])


# progress


@pytest.mark.parametrize("steps", [[], [3], [1, 1, 1], [2], [1, 2]], ids=str)
@pytest.mark.parametrize("texts", [["a", "b", "c"], ["a", "b", "a", "c", "c"]], ids=len)
async def test_progress_only_grows_and_ends_at_all(steps: list[int], texts: list[str]) -> None:
    def tell(report: Report, _: int) -> None:
        for step in steps:
            report.finished(step)

    encoder = encoder_of(Reporting(tell))
    sync: list[tuple[int, int]] = []
    twin: list[tuple[int, int]] = []
    encoder.encode_documents(texts, progress=into(sync))
    await encoder.aencode_documents(texts, progress=into(twin))
    assert sync == sorted(set(sync))
    assert {total for _, total in sync} == {len(texts)}
    assert sync[-1] == (len(texts), len(texts))
    assert twin == sync


def test_progress_from_several_threads_is_in_order() -> None:
    def tell(report: Report, texts: int) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(report.finished, [1] * texts))

    counts: list[int] = []

    def slow_for_odd_counts(done: int, _: int) -> None:
        time.sleep(0.002 * (done % 2))
        counts.append(done)

    encoder_of(Reporting(tell)).encode_documents(map(str, range(100)), progress=slow_for_odd_counts)
    assert counts == list(range(1, 101))


def test_a_callback_that_raises_stops_the_call() -> None:
    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encoder_of().encode_documents(["a"], progress=stop)


# texts that cannot be taken as they are


def cut(report: Report, _: int) -> None:
    report.too_long({0: 9}, 8)
    report.too_long({1: 30, 2: 12}, 8)


def blank(report: Report, _: int) -> None:
    report.blank += 2


DOORS: dict[str, Callable[[Encoder], Any]] = {
    "encode": lambda encoder: encoder.encode(["a"], role="query"),
    "encode_queries": lambda encoder: encoder.encode_queries(["a"]),
    "encode_documents": lambda encoder: encoder.encode_documents(["a"]),
    "aencode": lambda encoder: asyncio.run(encoder.aencode(["a"], role="query")),
}


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS.keys())
@pytest.mark.parametrize(
    ("tell", "message"), [(cut, r"3 of the texts exceed 8 tokens.*longest: 30"), (blank, "2 of the texts hold nothing")]
)
def test_a_call_warns_once_at_the_callers_line(
    door: Callable[[Encoder], Any], tell: Callable[[Report, int], object], message: str
) -> None:
    with pytest.warns(JinavecWarning, match=message) as caught:
        vectors = door(encoder_of(Reporting(tell)))
    assert vectors.shape == (1, WIDTH)
    assert len(caught) == 1
    if door is not DOORS["aencode"]:  # there, asyncio calls
        assert caught[0].filename == __file__


def test_the_next_call_warns_again_and_a_clean_one_never() -> None:
    encoder = encoder_of(
        Reporting(lambda report, texts: texts > 1 and report.too_long(dict.fromkeys(range(texts), 9), 8))
    )
    for texts in (["a", "b"], ["c", "d", "e"]):
        with pytest.warns(JinavecWarning, match=f"{len(texts)} of the texts"):
            encoder.encode_documents(texts)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.encode_documents(["a"])


def test_long_texts_can_be_refused_instead() -> None:
    encoder = encoder_of(Reporting(cut), overflow="error")
    with pytest.raises(TextTooLong, match=r"1 of the texts exceed.* 8 tokens.*longest: 9.*overflow='truncate'"):
        encoder.encode_documents(["a"])


def test_texts_at_the_limit_are_not_too_long() -> None:
    encoder_of(Reporting(lambda report, _: report.too_long({}, 8)), overflow="error").encode_documents(["a"])


@pytest.mark.parametrize("overflow", ["", "raise", "Truncate", True])
def test_overflow_is_one_of_two_words(overflow: Any) -> None:
    with pytest.raises(InvalidInput, match="'truncate' or 'error'"):
        encoder_of(overflow=overflow)
    with pytest.raises(InvalidInput, match="'truncate' or 'error'"):
        Encoder.load("lexical", overflow=overflow)


# async and threads


async def test_the_async_twins_give_the_same() -> None:
    encoder = encoder_of(dimension=8)
    texts = ["a", "b", "a"]
    np.testing.assert_array_equal(await encoder.aencode(texts, role="query"), encoder.encode(texts, role="query"))
    np.testing.assert_array_equal(await encoder.aencode_queries(texts), encoder.encode_queries(texts))
    np.testing.assert_array_equal(await encoder.aencode_documents(texts), encoder.encode_documents(texts))


async def test_the_event_loop_goes_on_while_a_backend_works() -> None:
    loop_went_on = threading.Event()

    def wait(report: Report, texts: int) -> None:
        assert loop_went_on.wait(120), "the event loop was blocked"

    encoder = encoder_of(Reporting(wait))
    working = asyncio.create_task(encoder.aencode_documents(["a"]))
    await asyncio.sleep(0.01)
    assert not working.done()
    loop_went_on.set()
    np.testing.assert_allclose(await working, expected(["a"], "document"), atol=1e-6)


async def test_many_async_calls_at_once_do_not_mix() -> None:
    encoder = encoder_of()
    batches = [[f"{batch} {number}" for number in range(batch % 7)] for batch in range(50)]
    answers = await asyncio.gather(*(encoder.aencode_documents(batch) for batch in batches))
    for batch, vectors in zip(batches, answers, strict=True):
        np.testing.assert_allclose(vectors, expected(batch, "document"), atol=1e-6)


def test_many_threads_at_once_do_not_mix() -> None:
    encoder = encoder_of(dimension=8)

    def work(batch: int) -> None:
        role = "query" if batch % 2 else "document"
        texts = [f"{batch} {number % 3}" for number in range(batch % 7)]
        done: list[int] = []
        vectors = encoder.encode(texts, role=role, progress=lambda count, _: done.append(count))
        np.testing.assert_allclose(vectors, expected(texts, role, 8), atol=1e-6)
        assert done[-1:] == ([len(texts)] if texts else [])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(200)))


# the contract, and how an encoder is made


def test_the_contract_is_that_of_the_model_and_records_the_backend() -> None:
    backend = HashBackend(precision="int8", revision="abc", host="https://host")
    contract = encoder_of(backend, task="clustering", dimension=8).contract
    assert contract == Contract.of(PROFILE, "clustering", 8)
    assert (contract.precision, contract.revision, contract.backend, contract.host) == (
        *("int8", "abc", "hash", "https://host"),
    )


def test_what_the_model_does_not_offer_is_refused() -> None:
    with pytest.raises(InvalidDimension, match="8, 16"):
        encoder_of(dimension=12)
    with pytest.raises(UnknownTask, match="clustering"):
        encoder_of(task="separation")


def test_a_catalogue_name_will_do_for_a_backend_of_ones_own() -> None:
    assert Encoder("lexical", HashBackend()).contract == Contract.of("lexical")
    with pytest.raises(UnknownModel):
        Encoder("no-such-model", HashBackend())


def test_an_encoder_closes_its_backend() -> None:
    backend = HashBackend()
    with encoder_of(backend) as encoder:
        assert encoder.backend is backend
        assert not backend.closed
    assert backend.closed == 1


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the backend of this file into the table, beside the built-in ones and as their stand-in."""
    here = f"{__name__}:HashBackend"
    table = MappingProxyType({**BACKENDS, "hash": here, "onnx": here, "torch": here})
    monkeypatch.setattr("jinavec.encoder.BACKENDS", table)


def test_load_fills_in_the_defaults(registered: None) -> None:
    encoder = Encoder.load(PROFILE)
    assert encoder.settings == EncoderSettings(profile=PROFILE, task=Task.RETRIEVAL, dimension=16, backend="hash")
    assert encoder.contract == Contract.of(PROFILE)
    np.testing.assert_allclose(encoder.encode_queries(["a"]), expected(["a"], "query"), atol=1e-6)


def test_load_takes_the_task_of_a_merged_name(registered: None) -> None:
    encoder = Encoder.load("jinaai/jina-embeddings-v5-text-small-clustering", backend="hash", dimension=64)
    assert (encoder.task, encoder.dimension) == (Task.CLUSTERING, 64)
    assert encoder.contract == Contract.of("jina-embeddings-v5-text-small", "clustering", 64)
    with pytest.raises(UnknownTask, match="'clustering' only"):
        Encoder.load("jina-embeddings-v5-text-small-clustering", task="retrieval", backend="hash")


def test_what_load_is_told_reaches_the_backend_and_survives_json(registered: None) -> None:
    encoder = Encoder.load(
        PROFILE,
        task="text-matching",
        dimension=8,
        source="folder/of/weights",
        revision="abc",
        overflow="error",
        url="https://host/v1",
        served_as="other",
        options={"threads": 2},
    )
    settings = encoder.settings
    assert settings is not None
    assert vars(encoder.backend)["loaded"] == settings
    again = Encoder.from_settings(EncoderSettings.from_json(json.loads(json.dumps(settings.to_json()))))
    assert again.settings == settings
    assert again.contract == encoder.contract
    assert again.overflow == "error"


def test_settings_without_a_backend_remember_the_one_that_was_chosen() -> None:
    settings = Encoder.load("lexical").settings
    assert settings is not None
    assert Encoder.from_settings(replace(settings, backend="")).settings == settings


def test_load_takes_folders_and_what_was_left_out(registered: None) -> None:
    encoder = Encoder.load(PROFILE, source=Path("a") / "b", revision=None, url=None, served_as=None)
    assert encoder.settings is not None
    assert encoder.settings.source == str(Path("a") / "b")
    assert replace(encoder.settings, source="") == Encoder.load(PROFILE).settings


def test_load_refuses_what_does_not_exist(registered: None) -> None:
    with pytest.raises(UnknownModel, match="lexical"):
        Encoder.load("no-such-model")
    with pytest.raises(InvalidInput, match="unknown backend 'cuda'; known: .*lexical"):
        Encoder.load(PROFILE, backend="cuda")
    with pytest.raises(InvalidDimension, match="32, 64, 128, 256, 512, 768"):
        Encoder.load("jina-embeddings-v5-text-nano", dimension=1024, backend="hash")
    with pytest.raises(InvalidInput, match="options"):
        Encoder.load(PROFILE, options="threads=2")
    with pytest.raises(TypeError, match="'dimensions'.*model, task, dimension, backend, .*api_key"):
        Encoder.load(PROFILE, dimensions=8)  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize(
    ("present", "chosen"), [({"onnxruntime", "torch"}, "onnx"), ({"onnxruntime"}, "onnx"), ({"torch"}, "torch")]
)
def test_v5_runs_on_whichever_runtime_is_installed(
    registered: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, present: set[str], chosen: str
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for module in ("onnxruntime", "torch"):
        if module in present:
            (tmp_path / f"{module}.py").touch()
            monkeypatch.delitem(sys.modules, module, raising=False)
        else:
            monkeypatch.setitem(sys.modules, module, None)
    encoder = Encoder.load("jina-embeddings-v5-text-nano")
    assert encoder.settings is not None
    assert encoder.settings.backend == chosen


def test_v5_without_a_runtime_names_both_pip_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("onnxruntime", "torch"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=r"pip install .*onnxruntime.* or: pip install .*torch>"):
        Encoder.load("jina-embeddings-v5-text-nano")


def test_a_key_is_shown_nowhere(registered: None) -> None:
    encoder = Encoder.load(PROFILE, url="https://user:pass@word@host/v1", api_key="sk-secret")
    settings = encoder.settings
    assert settings is not None
    assert vars(encoder.backend)["got_key"]
    shown = [repr(encoder), repr(settings), str(vars(encoder)), json.dumps(settings.to_json())]
    shown += [json.dumps(encoder.contract.to_json()), repr(encoder.contract)]
    for text in shown:
        assert "secret" not in text
        assert "user" not in text
        assert "word" not in text


def test_repr_says_what_it_is() -> None:
    assert repr(encoder_of(dimension=8)) == "Encoder('hash', task='retrieval', dimension=8, backend='hash')"
