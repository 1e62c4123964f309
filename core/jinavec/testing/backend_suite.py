"""BackendSuite: what every encoder promises, whatever its backend, as tests that a backend of one's own inherits."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jinavec import Backend, Contract, Encoder, EncoderSettings, JinavecWarning, Report, Role, Task
from jinavec.errors import InvalidDimension, InvalidInput, InvalidType, UnknownTask
from jinavec.vectors import Float32, narrow

TEXTS = [
    "A cat sleeps on the warm roof.",
    "which planet is red",
    "one",
    "light travels in a vacuum",
    "A cat sleeps on the warm roof.",
    "the rain falls on the other houses of the street while the cat sleeps",
]
Load = Callable[..., Encoder]
_WORDS = "the cat sleeps on a warm roof while rain falls and light travels from one red planet to another".split()
CLOSE = 1e-5
"""The most that a cosine may differ from 1 where two computations must agree."""


class BackendSuite:
    """The promises of ``Encoder`` over a backend; the module of a subclass gives the fixture ``load``.

    ::

        @pytest.fixture(scope="module")
        def load() -> Callable[..., Encoder]:
            return partial(Encoder.load, PROFILE, backend="mine")

        class TestMine(BackendSuite):
            pass
    """

    remote: ClassVar[Sequence[str]] = ()
    """Names of backends that ask a server."""

    @pytest.fixture(scope="module")
    @classmethod
    def encoder(cls, load: Load) -> Iterator[Encoder]:
        """Yield one encoder of full width."""
        with load() as encoder:
            yield encoder

    # vectors

    def test_shape_type_and_length(self, encoder: Encoder) -> None:
        for role in Role:
            vectors = encoder.encode(TEXTS, role=role)
            assert vectors.dtype == np.float32
            assert vectors.shape == (len(TEXTS), encoder.profile.width)
            assert np.isfinite(vectors).all()
            np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)

    def test_nothing_costs_nothing(self, encoder: Encoder) -> None:
        nothing: list[str] = []
        for texts in (nothing, tuple(nothing), iter(nothing)):
            assert encoder.encode(texts, role="query").shape == (0, encoder.dimension)
        assert asyncio.run(encoder.aencode([], role="query")).shape == (0, encoder.dimension)

    def test_order_is_kept(self, encoder: Encoder) -> None:
        vectors = encoder.encode_documents(TEXTS)
        agree(encoder.encode_documents(TEXTS[::-1]), vectors[::-1])
        for number, text in enumerate(TEXTS):
            agree(encoder.encode_documents([text]), vectors[number : number + 1])

    def test_different_texts_differ(self, encoder: Encoder) -> None:
        vectors = encoder.encode_documents(list(dict.fromkeys(TEXTS)))
        similarity = vectors @ vectors.T - 2 * np.eye(len(vectors))
        assert similarity.max() < 0.999

    def test_equal_texts_get_equal_vectors(self, encoder: Encoder) -> None:
        vectors = encoder.encode_documents(TEXTS)
        assert (vectors[0] == vectors[4]).all()

    def test_the_same_call_gives_the_same_vectors(self, encoder: Encoder) -> None:
        agree(encoder.encode_documents(TEXTS), encoder.encode_documents(TEXTS))

    @settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(texts=st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=8))
    def test_any_unicode_is_a_unit_vector_whatever_stands_beside_it(self, encoder: Encoder, texts: list[str]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", JinavecWarning)  # blank texts, where a backend finds nothing in them
            vectors = encoder.encode_queries(texts)
            np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
            agree(encoder.encode_queries(texts[:1]), vectors[:1])

    def test_empty_and_blank_texts(self, encoder: Encoder) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            vectors = encoder.encode_documents(["", " ", "a cat", "\n\t "])
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
        assert len(caught) <= 1 and all(warning.category is JinavecWarning for warning in caught)
        if encoder.backend.name in ("lexical", "static"):
            assert len(caught) == 1
            assert (vectors[0] == vectors[1]).all() and (vectors[0] == vectors[3]).all()

    # dimensions

    def test_every_dimension_is_the_start_of_the_full_width(self, load: Load, encoder: Encoder) -> None:
        full = encoder.encode_documents(TEXTS)
        for dimension in encoder.profile.dimensions:
            narrowed = load(dimension=dimension).encode_documents(TEXTS)
            assert narrowed.shape == (len(TEXTS), dimension)
            agree(narrowed, narrow(full, dimension))

    def test_another_dimension_is_refused(self, load: Load, encoder: Encoder) -> None:
        for dimension in (1, 24, encoder.profile.width + 8, 0, -64):
            with pytest.raises(InvalidDimension, match=str(min(encoder.profile.dimensions))):
                load(dimension=dimension)

    # roles

    def test_role_is_required(self, encoder: Encoder) -> None:
        call: Any = encoder.encode
        with pytest.raises(TypeError):
            call(TEXTS)

    def test_unknown_role(self, encoder: Encoder) -> None:
        with pytest.raises(UnknownTask, match="query, document"):
            encoder.encode(TEXTS, role="passage")

    def test_short_names_are_the_same(self, encoder: Encoder) -> None:
        agree(encoder.encode_queries(TEXTS), encoder.encode(TEXTS, role="query"))
        agree(encoder.encode_documents(TEXTS), encoder.encode(TEXTS, role=Role.DOCUMENT))

    def test_prefix_is_what_the_contract_says(self, encoder: Encoder) -> None:
        """Two roles differ exactly when their prefixes do, and the backend sees the prefix as part of the text."""
        query, document = encoder.contract.query_prefix, encoder.contract.document_prefix
        similarity = _cosines(encoder.encode_queries(["a cat"]), encoder.encode_documents(["a cat"]))[0]
        assert (similarity > 1 - 1e-6) == (query == document)
        text = "a cat" if encoder.backend.adds_prompt else f"{query}a cat"
        raw = encoder.backend.embed([text], task=encoder.task, role=Role.QUERY)
        agree(encoder.encode_queries(["a cat"]), narrow(raw, encoder.dimension))

    # input

    @pytest.mark.parametrize("texts", ["one text", b"bytes", 3, None, {"a": 1}, ["a", 3], ["a", None], [["a"]], [b"a"]])
    def test_what_is_not_a_list_of_strings_is_refused(self, encoder: Encoder, texts: Any) -> None:
        with pytest.raises(InvalidType):
            encoder.encode(texts, role="document")

    def test_half_a_surrogate_pair_is_refused(self, encoder: Encoder) -> None:
        with pytest.raises(InvalidInput, match="text 1"):
            encoder.encode(["a", "\ud800"], role="document")

    def test_any_iterable_works(self, encoder: Encoder) -> None:
        wanted = encoder.encode_documents(TEXTS)
        for texts in ((text for text in TEXTS), tuple(TEXTS), iter(TEXTS), np.array(TEXTS)):
            agree(encoder.encode_documents(texts), wanted)

    def test_the_list_is_left_alone(self, encoder: Encoder) -> None:
        texts = list(TEXTS)
        encoder.encode_queries(texts)
        assert texts == TEXTS

    def test_identical_texts_are_embedded_once(self, encoder: Encoder) -> None:
        counting = _Counting(encoder.backend)
        prefix = "" if counting.adds_prompt else encoder.contract.document_prefix
        vectors = Encoder(encoder.profile, counting).encode_documents(TEXTS * 10)
        assert sorted(counting.seen) == sorted(prefix + text for text in set(TEXTS))
        agree(vectors, np.tile(encoder.encode_documents(TEXTS), (10, 1)))

    # progress

    def test_grows_and_ends_at_all(self, encoder: Encoder) -> None:
        for texts in (TEXTS, ["one"], [f"{i} {long_text(i % 30)}" for i in range(200)], TEXTS * 20):
            seen = _Seen()
            encoder.encode_documents(texts, progress=seen)
            assert seen.calls[-1] == (len(texts), len(texts))

    def test_in_async_too(self, encoder: Encoder) -> None:
        seen = _Seen()
        asyncio.run(encoder.aencode_documents(TEXTS, progress=seen))
        assert seen.calls[-1] == (len(TEXTS), len(TEXTS))

    def test_an_error_in_the_callback_reaches_the_caller(self, encoder: Encoder) -> None:
        def stop(done: int, total: int) -> None:
            raise KeyboardInterrupt(f"{done} of {total}")

        with pytest.raises(KeyboardInterrupt):
            encoder.encode_documents([f"{i} {long_text(i % 30)}" for i in range(200)], progress=stop)
        agree(encoder.encode_documents(TEXTS), encoder.encode_documents(TEXTS))

    # async

    def test_twins_give_the_same(self, encoder: Encoder) -> None:
        async def run() -> list[Any]:
            return [
                await encoder.aencode(TEXTS, role="query"),
                await encoder.aencode_queries(TEXTS),
                await encoder.aencode_documents(TEXTS),
            ]

        query, query_too, document = asyncio.run(run())
        agree(query, encoder.encode_queries(TEXTS))
        agree(query_too, encoder.encode_queries(TEXTS))
        agree(document, encoder.encode_documents(TEXTS))

    def test_the_event_loop_keeps_running(self, encoder: Encoder) -> None:
        """The backend works outside the loop's thread, so that a loop callback can let it go on."""
        loop_thread = threading.get_ident()
        threads = set[int]()

        def note(done: int, total: int) -> None:
            threads.add(threading.get_ident())

        asyncio.run(encoder.aencode_documents([f"{i} cat" for i in range(50)], progress=note))
        assert threads - {loop_thread}

    def test_refusals_are_the_same(self, encoder: Encoder) -> None:
        with pytest.raises(InvalidType):
            asyncio.run(encoder.aencode("one text", role="query"))

    # threads

    def test_many_threads_give_what_one_gives(self, encoder: Encoder) -> None:
        pieces = [[f"{i} {j} {long_text((i + j) % 20)}" for j in range(6)] for i in range(16)]
        wanted = [encoder.encode_documents(piece) for piece in pieces]
        with ThreadPoolExecutor(8) as pool:
            for got, alone in zip(pool.map(encoder.encode_documents, pieces), wanted, strict=True):
                agree(got, alone)

    # contract

    def test_says_who_made_the_vectors(self, load: Load, encoder: Encoder) -> None:
        contract = encoder.contract
        assert contract == Contract.of(encoder.profile)
        assert contract.backend == encoder.backend.name
        assert contract.precision and contract.normalized
        assert bool(contract.host) == (encoder.backend.name in self.remote)
        assert load(dimension=min(encoder.profile.dimensions)).contract.dimension == min(encoder.profile.dimensions)

    def test_settings_survive_json(self, load: Load, encoder: Encoder) -> None:
        small = load(dimension=min(encoder.profile.dimensions))
        assert small.settings is not None
        values = json.loads(json.dumps(small.settings.to_json()))
        with Encoder.from_settings(EncoderSettings.from_json(values)) as again:
            assert again.contract == small.contract
            agree(again.encode_documents(TEXTS), small.encode_documents(TEXTS))

    def test_unknown_option(self, load: Load) -> None:
        with pytest.raises(InvalidInput, match="'no_such_option'"):
            load(options={"no_such_option": 1})

    @pytest.mark.parametrize(
        "server", [{"url": "http://localhost:1"}, {"api_key": "key"}, {"served_as": "name"}], ids=str
    )
    def test_a_backend_in_this_process_takes_no_server(
        self, load: Load, encoder: Encoder, server: dict[str, str]
    ) -> None:
        if encoder.backend.name in self.remote:
            load(**server).close()
            return
        with pytest.raises(InvalidInput, match=next(iter(server))):
            load(**server)

    def test_unknown_overflow(self, load: Load) -> None:
        with pytest.raises(InvalidInput, match="truncate"):
            load(overflow="cut")

    def test_closing_twice_is_harmless(self, load: Load, encoder: Encoder) -> None:
        assert encoder.settings is not None
        with Encoder.from_settings(encoder.settings) as other:
            other.encode_queries(["a"])
        other.close()

    # fresh process

    def test_vectors_do_not_depend_on_the_process(self, encoder: Encoder, tmp_path: Path) -> None:
        """Another hash seed, another process: an index written today is searched tomorrow."""
        assert encoder.settings is not None
        script = """
import json, sys
import numpy as np
from jinavec import Encoder, EncoderSettings
encoder = Encoder.from_settings(EncoderSettings.from_json(json.loads(sys.argv[1])))
np.save(sys.argv[2], encoder.encode_documents(json.loads(sys.argv[3])))
"""
        out = tmp_path / "vectors.npy"
        given = [json.dumps(encoder.settings.to_json()), str(out), json.dumps(TEXTS)]
        done = subprocess.run(
            [sys.executable, "-c", script, *given],
            env=os.environ | {"PYTHONHASHSEED": "12345"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        agree(np.load(out), encoder.encode_documents(TEXTS))


def agree(got: Float32, wanted: Float32) -> None:
    """Check for unit vectors of the same directions, row by row."""
    assert got.dtype == np.float32
    assert got.shape == wanted.shape
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)
    assert (1 - _cosines(got, wanted)).max(initial=0) <= CLOSE


def _cosines(a: Float32, b: Float32) -> Any:
    left, right = a.astype(np.float64), b.astype(np.float64)
    return (left * right).sum(axis=1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)


def long_text(words: int) -> str:
    """Return a text of so many words."""
    return " ".join((_WORDS * (words // len(_WORDS) + 1))[:words])


class _Seen:
    """A progress callback that keeps what it was told, and checks that it only ever grows."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def __call__(self, done: int, total: int) -> None:
        assert not self.calls or (self.calls[-1][0] <= done and self.calls[-1][1] == total)
        self.calls.append((done, total))


class _Counting(Backend):
    """A backend of one's own that passes on to another and keeps the texts it was given."""

    name = "counting"

    def __init__(self, inner: Backend) -> None:
        self.inner = inner
        self.adds_prompt = inner.adds_prompt
        self.overflow = inner.overflow
        self.seen: list[str] = []

    def embed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Any:
        self.seen += texts
        return self.inner.embed(texts, task=task, role=role, report=report)
