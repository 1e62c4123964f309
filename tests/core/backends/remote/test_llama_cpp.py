"""llama.cpp's own server, started as README says, against transformers: the same vectors, and honest refusals."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.support.llama_cpp import LlamaServer, readme_command
from tests.support.model_checks import agree, cosines, prefixed
from tests.support.tiny_models import TinyFamily
from tests.support.tiny_tokenizers import DIMENSIONS, SPECIAL, TEXTS, long_text, tiny_profile

from jinavec import Encoder, ModelProfile, Record, Task, open_engine
from jinavec.errors import InvalidInput, ModelError, ServerError, TextTooLong
from jinavec.golden import GoldenValues, Similarities

pytest.importorskip("httpx2")
pytestmark = pytest.mark.llama_cpp

Start = Callable[..., LlamaServer]
ACCENTS = ["cafe\u0301", "caf\u00e9", "\u212bngstro\u0308m", "\u0915\u093c\u0932\u092e \u0958", "\u1112\u1161\u11ab"]
"""Decomposed, composed, a sign for a letter, Hindi whose nukta letters stay apart, Hangul in parts."""


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Generator[Start]:
    """Starts a server once for each family and options; by default with those of README."""
    with ExitStack() as running:

        @cache
        def make(family: TinyFamily, *options: str) -> LlamaServer:
            file = tmp_path_factory.mktemp("gguf") / f"{family.kind}.gguf"
            given = list(options) or readme_command(family.kind)
            return running.enter_context(LlamaServer(family.merged("retrieval"), file, given))

        yield make


def load(family: TinyFamily, server: LlamaServer, *, profile: ModelProfile | None = None, **more: Any) -> Encoder:
    return Encoder.load(profile or tiny_profile(family.kind, limit=None), backend="openai", url=server.url, **more)


def test_agrees_with_transformers(family: TinyFamily, start: Start) -> None:
    texts = [*TEXTS, *ACCENTS, long_text(700), f"one {SPECIAL[family.kind][0]} two"]
    for role in ("query", "document"):
        for dimension in DIMENSIONS[:2]:
            with load(family, start(family), dimension=dimension) as encoder:
                wanted = family.vectors(prefixed("retrieval", role, texts), "retrieval", dimension=dimension)
                got = encoder.encode(texts, role=role)
                agree(got, wanted)  # its attention computes in half precision


def test_what_is_not_composed_here_is_read_otherwise_there(families: Any, start: Start) -> None:
    """The reason why the client does it, for small alone: llama.cpp's tokenizer does not."""
    small, nano = families("small"), families("nano")
    decomposed = ACCENTS[:1]
    plain = tiny_profile("small", normalizer="")
    with Encoder.load(plain, backend="openai", url=start(small).url) as encoder:
        right = small.vectors(prefixed("retrieval", "document", decomposed), "retrieval")
        assert cosines(encoder.encode_documents(decomposed), right)[0] < 0.99
    composed = tiny_profile("nano", normalizer="NFC")
    with Encoder.load(composed, backend="openai", url=start(nano).url) as encoder:
        right = nano.vectors(prefixed("retrieval", "document", decomposed), "retrieval")
        assert cosines(encoder.encode_documents(decomposed), right)[0] < 0.99


class TestVerify:
    """What transformers gives for the same weights is what is known of them: other weights and poolings are refused."""

    def test_right_vectors_pass(self, family: TinyFamily, start: Start) -> None:
        with load(family, start(family), profile=with_golden_values(family)) as encoder:
            encoder.encode_documents(["a"])
            verification = encoder.verify()
            assert not verification.warnings
            assert set(verification.proved) >= {"model", "task", "pooling"}

    @pytest.mark.parametrize("pooling", ["mean", "cls"])
    def test_another_pooling_is_refused(self, family: TinyFamily, start: Start, pooling: str) -> None:
        server = start(family, "--embedding", "--pooling", pooling, "-b", "8192", "-ub", "8192")
        with load(family, server, profile=with_golden_values(family)) as encoder:
            with pytest.raises(ModelError, match="pool"):
                encoder.encode_documents(["a"])

    def test_another_task_is_refused(self, family: TinyFamily, tmp_path: Path) -> None:
        weights = family.merged("clustering")
        with LlamaServer(weights, tmp_path / "other.gguf", readme_command(family.kind)) as server:
            with load(family, server, profile=with_golden_values(family)) as encoder:
                with pytest.raises(ModelError, match="task"):
                    encoder.encode_documents(["a"])


def with_golden_values(family: TinyFamily) -> ModelProfile:
    query, documents = TEXTS[0], [*TEXTS[1:3], TEXTS[9]]
    texts = [*prefixed("retrieval", "query", [query]), *prefixed("retrieval", "document", documents)]
    first, *others = family.vectors(texts, "retrieval")
    cosines = tuple(float(first @ other) for other in others)
    known = Similarities(query=query, documents=tuple(documents), cosines=cosines)
    return tiny_profile(family.kind, limit=None, golden=GoldenValues(similarities={Task.RETRIEVAL: known}))


class TestLimits:
    def test_the_batch_of_nano(self, families: Any, start: Start) -> None:
        """Its attention sees both sides, so a text must fit in one batch: 512 tokens, unless told otherwise."""
        nano = families("nano")
        with load(nano, start(nano)) as encoder, pytest.raises(TextTooLong, match="-ub 8192"):
            encoder.encode_documents(["short", long_text(9000)])
        with load(nano, start(nano, "--embedding", "--pooling", "last")) as encoder:
            with pytest.raises(TextTooLong, match="-ub 8192"):
                encoder.encode_documents([long_text(600)])

    def test_the_context_of_small(self, families: Any, start: Start) -> None:
        small = families("small")
        with load(small, start(small)) as encoder:
            with pytest.raises(TextTooLong, match="32768 tokens.*split the text") as error:
                encoder.encode_documents([long_text(33000)])
        assert "overflow=" not in str(error.value)

    def test_truncation_is_not_to_be_had(self, family: TinyFamily, start: Start) -> None:
        with load(family, start(family), overflow="truncate") as encoder:
            with pytest.raises(InvalidInput, match="llama.cpp, which never truncates"):
                encoder.encode_documents(["short"])


@pytest.mark.parametrize(("backend", "route"), [("tei", "/embed"), ("cohere", "/v2/embed"), ("ollama", "/api/embed")])
def test_another_protocol_is_told_by_its_route(families: Any, start: Start, backend: str, route: str) -> None:
    url = start(families("nano")).url
    with Encoder.load(tiny_profile("nano"), backend=backend, url=url) as encoder:
        with pytest.raises(ServerError, match=f"no route POST {route}: does this server speak '{backend}'"):
            encoder.encode_documents(["a"])


def test_a_kill_in_the_middle_leaves_whole_records(families: Any, tmp_path: Path) -> None:
    """Nothing half is stored, and the same call goes on where it stopped."""
    nano = families("nano")
    records = [Record(f"r{n}", f"text {n} about the cat on the roof") for n in range(300)]
    options = {"batch": 4, "concurrency": 1, "deadline": 1.0}
    command, profile = readme_command("nano"), tiny_profile("nano")
    server = LlamaServer(nano.merged("retrieval"), tmp_path / "nano.gguf", command)
    with server, Encoder.load(profile, backend="openai", url=server.url, options=options) as encoder:

        def kill(done: int, total: int) -> None:
            server.kill()

        with pytest.raises(ServerError, match=r"127.0.0.1:\d+ failed: no connection.*of 300 texts were done before"):
            encoder.encode_documents([record.text for record in records], progress=kill)
        with open_engine(f"faiss:{tmp_path / 'index'}", encoder=encoder) as index:
            with pytest.raises(ServerError, match="no connection"):
                index.ingest(records)
            assert index.count() == 0
    with LlamaServer(nano.merged("retrieval"), tmp_path / "nano.gguf", command) as server:
        with Encoder.load(profile, backend="openai", url=server.url) as encoder:
            with open_engine(f"faiss:{tmp_path / 'index'}", encoder=encoder) as index:
                index.ingest(records)
                assert index.count() == 300
                assert index.search(records[7].text, k=1)[0].record.id == "r7"
