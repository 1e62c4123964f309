"""The torch backend against transformers itself: each text alone, unpadded, the adapter folded in by hand."""

from __future__ import annotations

import asyncio
import builtins
import gc
import importlib
import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.model_checks import (
    CLOSE,
    Seen,
    agree,
    cosines,
    fill_hub_cache,
    prefixed,
    refused,
    save_odd_tokenizer_settings,
    spoil,
)
from tests.support.tiny_models import LAYERS, REMOTE_CODE_RAN, TinyFamily
from tests.support.tiny_tokenizers import (
    API_TASKS,
    DIMENSIONS,
    KINDS,
    LIMIT,
    TASKS,
    TEXTS,
    WIDTH,
    Kind,
    long_text,
    prefix,
    save_tokenizer,
    tiny_profile,
    token_ids,
    write_json,
)

from jinavec import Encoder, JinavecError, JinavecWarning, ModelProfile, Task
from jinavec.backends.local.torch import TorchBackend
from jinavec.errors import InvalidInput, ModelError, TextTooLong, UnknownTask

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),  # peft asks transformers for it
]

LAYOUTS = ("base", "merged")


def load(family: TinyFamily, layout: str = "base", task: str = "retrieval", **more: Any) -> Encoder:
    source = family.base if layout == "base" else family.merged(task)
    given: dict[str, Any] = {"task": task, "backend": "torch", "source": str(source)}
    return Encoder.load(more.pop("profile", tiny_profile(family.kind)), **given | more)


@cache
def load_once(family: TinyFamily) -> Encoder:
    """One encoder for all examples of a property."""
    return load(family)


def embedding_tables(torch: Any) -> set[int]:
    """Return where in memory the embedding tables are that are alive now."""
    gc.collect()
    return {thing.weight.data_ptr() for thing in gc.get_objects() if type(thing) is torch.nn.Embedding}


def copy(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target


class TestAgreesWithTransformers:
    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize(("task", "role"), API_TASKS, ids=str)
    def test_every_task_and_dimension(self, family: TinyFamily, layout: str, task: str, role: str) -> None:
        for dimension in DIMENSIONS:
            encoder = load(family, layout, task, dimension=dimension)
            wanted = family.vectors(prefixed(task, role), task, dimension=dimension)
            agree(encoder.encode(TEXTS, role=role), wanted)

    @pytest.mark.parametrize("task", TASKS)
    def test_fixtures_agree_with_sentence_transformers_and_peft(self, family: TinyFamily, task: str) -> None:
        """The oracle itself: merging by hand, merging as sentence-transformers reads it, and peft are one."""
        sentence_transformers = pytest.importorskip("sentence_transformers")
        peft = pytest.importorskip("peft")
        reader = sentence_transformers.SentenceTransformer(str(family.merged(task)), device="cpu")
        for role in ("query", "document"):
            wanted = family.vectors([f"{role.title()}: {text}" for text in TEXTS], task)
            agree(reader.encode(TEXTS, prompt_name=role, show_progress_bar=False), wanted)
        adapted = peft.PeftModel.from_pretrained(
            family.backbone(family.weights), str(family.base / "adapters" / task), adapter_name=task
        )
        wanted = family.vectors(prefixed(task, "document"), task)
        agree(family.vectors(prefixed(task, "document"), task, oracle=adapted.eval()), wanted)

    @pytest.mark.parametrize(("task", "role"), API_TASKS, ids=str)
    def test_sentence_transformers_at_every_dimension(self, family: TinyFamily, task: str, role: str) -> None:
        sentence_transformers = pytest.importorskip("sentence_transformers")
        reader = sentence_transformers.SentenceTransformer(str(family.merged(task)), device="cpu")
        prompt = prefix(task, role).removesuffix(": ").lower()
        for dimension in DIMENSIONS:
            wanted = reader.encode(
                TEXTS, prompt_name=prompt, truncate_dim=dimension, normalize_embeddings=True, show_progress_bar=False
            )
            agree(load(family, "merged", task, dimension=dimension).encode(TEXTS, role=role), wanted)

    def test_base_equals_its_merged_siblings(self, family: TinyFamily) -> None:
        for task in TASKS:
            base, merged = load(family, "base", task), load(family, "merged", task)
            agree(base.encode_documents(TEXTS), merged.encode_documents(TEXTS))
            assert base.contract == merged.contract

    def test_tasks_differ(self, family: TinyFamily) -> None:
        """Otherwise the tests of tasks could not fail."""
        vectors = [load(family, "base", task).encode_documents(TEXTS) for task in TASKS]
        for i, left in enumerate(vectors):
            for right in vectors[i + 1 :]:
                assert cosines(left, right).max() < 0.99

    def test_bfloat16_files_are_computed_in_float32(self, family: TinyFamily, tmp_path: Path) -> None:
        folder = family.save_merged(tmp_path / "half", "retrieval", dtype="bfloat16")
        rounded = {
            name: weight.to(family.torch.bfloat16).to(family.torch.float32)
            for name, weight in family.fold("retrieval").items()
        }
        encoder = load(family, source=str(folder))
        oracle = family.backbone(rounded)
        agree(
            encoder.encode_queries(TEXTS),
            family.vectors(prefixed("retrieval", "query"), "retrieval", oracle=oracle),
        )
        assert encoder.contract.precision == "float32"

    def test_weights_saved_from_a_language_model_carry_a_prefix(self, family: TinyFamily, tmp_path: Path) -> None:
        folder = copy(family.base, tmp_path / "base")
        family.save_tensors(folder / "model.safetensors", {f"model.{n}": w for n, w in family.weights.items()})
        encoder = load(family, source=str(folder))
        agree(encoder.encode_queries(TEXTS), family.vectors(prefixed("retrieval", "query"), "retrieval"))


class TestPrefix:
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_is_added_exactly_once(self, family: TinyFamily, layout: str) -> None:
        encoder = load(family, layout)
        for text in ("Query: a", "Document: a", "Query: Query: a", "a", " a", "Document:", "query: a"):
            query, document = encoder.encode_queries([text]), encoder.encode_documents([text])
            agree(query, family.vectors([f"Query: {text}"], "retrieval"))
            agree(document, family.vectors([f"Document: {text}"], "retrieval"))
            assert cosines(query, family.vectors([f"Query: Query: {text}"], "retrieval"))[0] < 1 - 1e-4
            assert cosines(query, family.vectors([text or " "], "retrieval"))[0] < 1 - 1e-4

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_profile_decides_not_the_repository(self, family: TinyFamily, layout: str) -> None:
        """config_sentence_transformers.json names prompts and a default one; a profile without prompts has none."""
        encoder = load(family, layout, profile=tiny_profile(family.kind, prompts={}))
        texts = [text for text in TEXTS if text]
        agree(encoder.encode_documents(texts), family.vectors(texts, "retrieval"))

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_whitespace_survives(self, family: TinyFamily, layout: str) -> None:
        texts = ["  a", "a  ", "\n", "\ta\n\n", " "]
        agree(
            load(family, layout).encode_queries(texts),
            family.vectors(prefixed("retrieval", "query", texts), "retrieval"),
        )


class TestRemoteCode:
    def test_is_never_executed(self, family: TinyFamily) -> None:
        for task in TASKS:
            load(family, "base", task).encode_documents(TEXTS)
            load(family, "merged", task).encode_documents(TEXTS)
        assert not hasattr(builtins, REMOTE_CODE_RAN)

    def test_nor_when_asked_through_options(self, family: TinyFamily) -> None:
        with pytest.raises(InvalidInput) as error:
            load(family, options={"trust_remote_code": True})
        refused(error, "trust_remote_code")
        assert not hasattr(builtins, REMOTE_CODE_RAN)

    def test_nothing_asks_the_network_for_a_folder(self, families: Callable[[Kind], TinyFamily]) -> None:
        """A fresh process without HF_HUB_OFFLINE, where any connection and any executed remote code is recorded."""
        script = f"""
import builtins, json, socket, sys
calls = []
def refuse(*args, **more):
    calls.append(repr(args))
    raise OSError("no network in this test")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
from jinavec import Encoder, ModelProfile
for profile, source in json.loads(sys.argv[1]):
    encoder = Encoder.load(ModelProfile.from_json(profile), backend="torch", source=source)
    assert encoder.encode(["a"], role="query").shape == (1, {WIDTH})
assert not calls, calls
assert not hasattr(builtins, {REMOTE_CODE_RAN!r})
"""
        given = [
            (tiny_profile(kind).to_json(), str(folder))
            for kind in KINDS
            for folder in (families(kind).base, families(kind).merged("retrieval"))
        ]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        done = subprocess.run(
            [sys.executable, "-c", script, json.dumps(given)], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


class TestThreads:
    def test_four_tasks_at_once_on_one_download(self, family: TinyFamily) -> None:
        first = load(family, "base")
        encoders = {task: Encoder(first.profile, first.backend, task=task) for task in TASKS}
        self._hammer(encoders, family)

    def test_four_encoders_of_one_folder(self, family: TinyFamily) -> None:
        self._hammer({task: load(family, "base", task) for task in TASKS}, family)

    def test_tasks_first_used_from_threads(self, family: TinyFamily) -> None:
        """Nothing is warmed up: whatever is built on first use is built under contention."""
        for _ in range(3):
            first = load(family, "base")
            encoders = {task: Encoder(first.profile, first.backend, task=task) for task in TASKS}
            with ThreadPoolExecutor(8) as pool:
                futures = [(task, pool.submit(encoders[task].encode_documents, TEXTS)) for task in TASKS * 2]
                for task, future in futures:
                    agree(future.result(), family.vectors(prefixed(task, "document"), task))

    def test_async_tasks_at_once(self, family: TinyFamily) -> None:
        first = load(family, "base")
        encoders = {task: Encoder(first.profile, first.backend, task=task) for task in TASKS}

        async def together() -> list[Any]:
            return await asyncio.gather(*(encoders[task].aencode_documents(TEXTS) for task in TASKS * 5))

        for task, vectors in zip(TASKS * 5, asyncio.run(together()), strict=True):
            agree(vectors, family.vectors(prefixed(task, "document"), task))

    def _hammer(self, encoders: dict[str, Encoder], family: TinyFamily) -> None:
        texts = TEXTS[:8]
        alone = {task: encoder.encode_documents(texts) for task, encoder in encoders.items()}
        for task in TASKS:
            agree(alone[task], family.vectors(prefixed(task, "document", texts), task))
        with ThreadPoolExecutor(8) as pool:
            futures = [(task, pool.submit(encoders[task].encode_documents, texts)) for task in TASKS * 24]
            wrong = [task for task, future in futures if (1 - cosines(future.result(), alone[task])).max() > CLOSE]
        assert not wrong

    def test_loading_from_threads_leaves_warnings_alone(self, family: TinyFamily) -> None:
        """Silencing libraries while they load must not silence the process: truncation has to be heard."""
        with warnings.catch_warnings():
            before = list(warnings.filters)
            with ThreadPoolExecutor(4) as pool:
                loading = [pool.submit(load, family, "base", task) for task in TASKS * 2]
                encoders = [future.result() for future in loading]
            assert list(warnings.filters) == before
        with pytest.warns(JinavecWarning):
            encoders[0].encode_documents([long_text(200)])

    def test_tasks_share_the_weights(self, families: Callable[[Kind], TinyFamily]) -> None:
        """One download, one copy in memory: a second, third and fourth task add their adapter only."""
        family = families("nano")
        before = embedding_tables(family.torch)
        encoder = load(family, "base")
        for task in TASKS:
            Encoder(encoder.profile, encoder.backend, task=task).encode_documents(["a"])
        assert len(embedding_tables(family.torch) - before) == 1


class TestAttention:
    """torch's own, in one operator: plain attention holds matrices of length x length."""

    @pytest.mark.parametrize("named", ["eager", "flash_attention_2"])
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_is_fused_whatever_the_config_names(
        self, family: TinyFamily, tmp_path: Path, layout: str, named: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = copy(family.base if layout == "base" else family.merged("retrieval"), tmp_path / "model")
        config = json.loads((folder / "config.json").read_text("utf-8"))
        write_json(folder / "config.json", config | {"_attn_implementation": named, "attn_implementation": named})
        encoder = load(family, source=str(folder))
        calls: list[str] = []
        functions = family.torch.nn.functional
        for function in ("scaled_dot_product_attention", "softmax"):
            monkeypatch.setattr(functions, function, heard(calls, function, getattr(functions, function)))
        encoder.encode_documents([long_text(40)])
        encoder.encode_documents([long_text(20), long_text(19)])  # one batch, with padding
        assert calls == ["scaled_dot_product_attention"] * 2 * LAYERS

    def test_its_absence_is_said(self, family: TinyFamily, monkeypatch: pytest.MonkeyPatch) -> None:
        name = "EuroBertPreTrainedModel" if family.kind == "nano" else "Qwen3PreTrainedModel"
        module = "eurobert" if family.kind == "nano" else "qwen3"
        models = importlib.import_module(f"transformers.models.{module}.modeling_{module}")
        monkeypatch.setattr(getattr(models, name), "_supports_sdpa", False)
        with pytest.warns(JinavecWarning, match="no fused attention .* square of its length"):
            encoder = load(family)
        agree(encoder.encode_queries(TEXTS), family.vectors(prefixed("retrieval", "query"), "retrieval"))


def heard(calls: list[str], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that notes its name, and does the same."""

    def call(*given: Any, **named: Any) -> Any:
        calls.append(name)
        return function(*given, **named)

    return call


class TestThreadsOfABatch:
    """Of many texts each worker has its own; a batch that is alone, and a long one, gets those of all workers."""

    @pytest.fixture
    def threads(self, family: TinyFamily, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
        """What each batch had: its tokens, and torch's threads."""
        seen: list[tuple[int, int]] = []
        run = TorchBackend.run

        def noting(backend: TorchBackend, batch: Any, task: Task) -> Any:
            vectors = run(backend, batch, task)
            seen.append((batch.ids.size, family.torch.get_num_threads()))
            return vectors

        monkeypatch.setattr(TorchBackend, "run", noting)
        return seen

    @pytest.mark.parametrize(("workers", "each"), [(2, 1), (3, 2), (1, 2)])
    def test_are_chosen_by_what_is_asked(
        self, family: TinyFamily, threads: list[tuple[int, int]], workers: int, each: int
    ) -> None:
        profile = tiny_profile(family.kind, limit=None)
        encoder = load(family, profile=profile, options={"workers": workers, "threads": each})
        texts = [f"{number} {long_text(number)}" for number in range(0, 60, 3)]
        encoder.encode_documents(texts)
        assert {count for _, count in threads} == {each}
        del threads[:]
        encoder.encode_queries(["one"])
        encoder.encode_documents(texts[:1])
        assert [count for _, count in threads] == [workers * each] * 2
        del threads[:]
        encoder.encode_documents([*texts, long_text(2100)])
        assert {count for tokens, count in threads if tokens < 2000} == {each}
        assert [count for tokens, count in threads if tokens > 2000] == [workers * each]

    @pytest.mark.parametrize(("workers", "all_of_them"), [(1, 1), (2, 1), (3, 1), (4, 2)])
    def test_in_the_background_are_half(
        self, family: TinyFamily, threads: list[tuple[int, int]], workers: int, all_of_them: int
    ) -> None:
        profile = tiny_profile(family.kind, limit=None)
        encoder = load(family, profile=profile, options={"workers": workers, "threads": 1})
        texts = ["one", "two words", long_text(2100)]
        behind = Encoder(profile, encoder.backend.background()).encode_documents(texts)
        assert [count for tokens, count in threads if tokens > 2000] == [all_of_them]
        agree(behind, encoder.encode_documents(texts))
        assert [count for tokens, count in threads if tokens > 2000] == [all_of_them, workers]


class TestTasks:
    def test_merged_weights_refuse_another_task(self, family: TinyFamily) -> None:
        profile = tiny_profile(family.kind, name="tiny-retrieval", task="retrieval", base="tiny")
        with pytest.raises(UnknownTask) as error:
            load(family, profile=profile, source=str(family.merged("retrieval")), task="clustering")
        refused(error, "retrieval", "clustering")

    def test_merged_backend_never_answers_for_another_task(self, family: TinyFamily) -> None:
        """The weights hold one adapter; asked for another, the backend must not answer with the wrong one."""
        encoder = load(family, "merged", "retrieval")
        other = Encoder(encoder.profile, encoder.backend, task="clustering")
        with pytest.raises(JinavecError):
            other.encode_documents(["a"])

    def test_base_without_the_adapter(self, family: TinyFamily, tmp_path: Path) -> None:
        folder = copy(family.base, tmp_path / "base")
        shutil.rmtree(folder / "adapters" / "clustering")
        agree(
            load(family, source=str(folder)).encode_queries(TEXTS),
            family.vectors(prefixed("retrieval", "query"), "retrieval"),
        )
        with pytest.raises(ModelError) as error:
            load(family, source=str(folder), task="clustering").encode_documents(["a"])
        refused(error, "clustering")

    @pytest.mark.parametrize("backend", ["onnx", "torch"])
    def test_a_folder_named_for_another_task(self, family: TinyFamily, tmp_path: Path, backend: str) -> None:
        """A merged repository of the vendor says in its name what it holds."""
        folder = copy(family.merged("clustering"), tmp_path / f"jina-embeddings-v5-text-{family.kind}-clustering")
        with pytest.raises(ModelError) as error:
            load(family, backend=backend, source=str(folder), task="retrieval")
        refused(error, "clustering", "retrieval")

    def test_source_of_the_profile_names_the_task(self, family: TinyFamily) -> None:
        """Merged repositories by default: the profile's source has a place for the task."""
        profile = tiny_profile(family.kind, source=str(family.root / "merged-{task}"))
        for task in TASKS:
            encoder = Encoder.load(profile, task=task, backend="torch")
            agree(encoder.encode_documents(TEXTS), family.vectors(prefixed(task, "document"), task))


class TestTokens:
    @pytest.mark.parametrize("side", ["left", "right"])
    def test_either_padding_side(self, family: TinyFamily, tmp_path: Path, side: str) -> None:
        folder = family.save_merged(tmp_path / side, "retrieval", side=side)
        encoder = load(family, source=str(folder))
        agree(encoder.encode_queries(TEXTS), family.vectors(prefixed("retrieval", "query"), "retrieval"))

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_too_long_is_cut_with_one_warning(self, family: TinyFamily, layout: str) -> None:
        texts = [long_text(30), "short", long_text(200), long_text(400)]
        full = [len(token_ids(family.base, text)) for text in prefixed("retrieval", "document", texts)]
        assert sum(length > LIMIT for length in full) == 2
        with pytest.warns(JinavecWarning) as caught:
            got = load(family, layout).encode_documents(texts)
        assert len(caught) == 1
        message = str(caught[0].message)
        assert message.startswith("2 of the texts") and str(LIMIT) in message and str(max(full)) in message
        agree(got, family.vectors(prefixed("retrieval", "document", texts), "retrieval", limit=LIMIT))

    def test_at_the_limit_nothing_is_cut(self, family: TinyFamily) -> None:
        text = "a" + " cat" * (LIMIT - 4 - (family.kind == "nano"))
        assert len(token_ids(family.base, f"Document: {text}")) == LIMIT
        agree(load(family).encode_documents([text]), family.vectors([f"Document: {text}"], "retrieval"))
        with pytest.warns(JinavecWarning, match=f"1 of the texts exceed {LIMIT} tokens .*longest: {LIMIT + 1}"):
            load(family).encode_documents([text + " cat"])

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_too_long_can_be_refused(self, family: TinyFamily, layout: str) -> None:
        done = Seen()
        encoder = load(family, layout, overflow="error")
        with pytest.raises(TextTooLong) as error:
            encoder.encode_documents(["short", long_text(200)], progress=done)
        refused(error, LIMIT, "text 1: 1 of the texts")
        assert (error.value.positions, done.calls) == ((1,), [])
        agree(encoder.encode_documents(TEXTS), family.vectors(prefixed("retrieval", "document"), "retrieval"))

    def test_saved_truncation_and_padding_are_not_obeyed(self, family: TinyFamily, tmp_path: Path) -> None:
        """Many tokenizer.json files carry both; the profile's limit counts."""
        folder = family.save_merged(tmp_path / "saved", "retrieval")
        save_odd_tokenizer_settings(folder)
        encoder = load(family, source=str(folder))
        agree(encoder.encode_queries(TEXTS), family.vectors(prefixed("retrieval", "query"), "retrieval"))

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("kind", KINDS)
    def test_tokenizer_of_another_kind_is_refused(
        self, families: Callable[[Kind], TinyFamily], kind: Kind, layout: str, tmp_path: Path
    ) -> None:
        """nano that appends nothing, small that appends something: checked when loading."""
        family = families(kind)
        folder = copy(family.base if layout == "base" else family.merged("retrieval"), tmp_path / "wrong")
        save_tokenizer(folder, kind, appends=kind == "small")
        with pytest.raises(ModelError) as error:
            load(family, source=str(folder))
        refused(error, "tokenizer")

    def test_wrong_appended_id_is_refused(self, families: Callable[[Kind], TinyFamily]) -> None:
        with pytest.raises(ModelError) as error:
            load(families("nano"), profile=tiny_profile("nano", appended=(3,)))
        refused(error, "3")

    def test_no_token_at_all(self, family: TinyFamily) -> None:
        """Without a prompt, an empty text of a tokenizer that appends nothing has no token: no text fails."""
        encoder = load(family, profile=tiny_profile(family.kind, prompts={}))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", JinavecWarning)
            vectors = encoder.encode_documents(["", "a", ""])
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
        agree(vectors[1:2], family.vectors(["a"], "retrieval"))
        assert (vectors[0] == vectors[2]).all()
        assert len(caught) == (family.kind == "small")


class TestBatches:
    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(lengths=st.lists(st.integers(0, 45), min_size=1, max_size=40), seed=st.randoms(use_true_random=False))
    def test_order_and_neighbours_do_not_matter(self, family: TinyFamily, lengths: list[int], seed: Any) -> None:
        encoder = load_once(family)
        texts = [f"{n} {long_text(n)}" for n in lengths]
        together = encoder.encode_documents(texts)
        alone = np.concatenate([encoder.encode_documents([text]) for text in texts])
        agree(together, alone)
        order = list(range(len(texts)))
        seed.shuffle(order)
        agree(encoder.encode_documents([texts[i] for i in order]), together[order])

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(texts=st.lists(st.text(max_size=12), min_size=1, max_size=8))
    def test_any_unicode(self, family: TinyFamily, texts: list[str]) -> None:
        encoder = load_once(family)
        agree(encoder.encode_queries(texts), family.vectors(prefixed("retrieval", "query", texts), "retrieval"))

    def test_many_texts_keep_their_order(self, family: TinyFamily) -> None:
        texts = [f"{i} {long_text(i * 7 % 40)}" for i in range(300)]
        done = Seen()
        got = load(family).encode_documents(texts, progress=done)
        agree(got, family.vectors(prefixed("retrieval", "document", texts), "retrieval"))
        assert len(done.calls) > 1 and done.calls[-1] == (300, 300)


class TestOptions:
    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize(("precision", "least"), [("bfloat16-mlp", 0.999), ("bfloat16", 0.995)])
    def test_bfloat16_is_near_and_recorded(self, family: TinyFamily, layout: str, precision: str, least: float) -> None:
        for task in TASKS:
            encoder = load(family, layout, task, options={"precision": precision})
            got = encoder.encode_documents(TEXTS)
            wanted = family.vectors(prefixed(task, "document"), task)
            assert cosines(got, wanted).mean() > least
            assert cosines(got, wanted).min() < 1 - 1e-8, "computed in float32 after all"
            assert encoder.contract.precision == precision
            assert encoder.contract == load(family, layout, task).contract

    def test_float32_is_the_default(self, family: TinyFamily) -> None:
        assert load(family).contract.precision == "float32"

    @pytest.mark.parametrize("options", [{"workers": 1}, {"workers": 3, "threads": 2}, {"threads": 4}], ids=str)
    def test_threads_do_not_change_vectors(self, family: TinyFamily, options: dict[str, int]) -> None:
        before = family.torch.get_num_threads()
        encoder = load(family, options=options)
        agree(encoder.encode_documents(TEXTS), family.vectors(prefixed("retrieval", "document"), "retrieval"))
        assert family.torch.get_num_threads() == before

    @pytest.mark.parametrize(
        "options", [{"workers": 0}, {"threads": 0}, {"precision": "float64"}, {"device": "abacus"}], ids=str
    )
    def test_what_cannot_be_used_is_named(self, family: TinyFamily, options: dict[str, Any]) -> None:
        with pytest.raises(InvalidInput) as error:
            load(family, options=options)
        ((name, value),) = options.items()
        refused(error, name, value)

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_nothing_is_printed(self, family: TinyFamily, layout: str, capfd: pytest.CaptureFixture[str]) -> None:
        """transformers and peft print bars and advice; a command line that answers in JSON cannot use them."""
        load(family, layout).encode_documents(TEXTS)
        assert capfd.readouterr() == ("", "")


class TestClosing:
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_a_closed_encoder_says_so(self, family: TinyFamily, layout: str) -> None:
        with load(family, layout) as encoder:
            encoder.encode_documents(["a"])
        with pytest.raises(ModelError) as error:
            encoder.encode_documents(["a"])
        refused(error, "closed")
        encoder.close()


class TestBroken:
    def test_wrong_width(self, family: TinyFamily) -> None:
        for layout in LAYOUTS:
            with pytest.raises(ModelError) as error:
                load(family, layout, profile=tiny_profile(family.kind, width=96, dimensions=(96,)))
            refused(error, 96, WIDTH)

    def test_missing_folder(self, family: TinyFamily, tmp_path: Path) -> None:
        with pytest.raises(ModelError) as error:
            load(family, source=str(tmp_path / "absent"))
        refused(error, tmp_path / "absent")

    def test_empty_folder(self, family: TinyFamily, tmp_path: Path) -> None:
        with pytest.raises(ModelError) as error:
            load(family, source=str(tmp_path))
        refused(error, tmp_path)

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors"])
    @pytest.mark.parametrize("damage", ["missing", "empty", "garbage"])
    def test_damaged_file(self, family: TinyFamily, tmp_path: Path, layout: str, file: str, damage: str) -> None:
        folder = copy(family.base if layout == "base" else family.merged("retrieval"), tmp_path / "damaged")
        spoil(folder / file, damage)
        with pytest.raises(ModelError) as error:
            load(family, source=str(folder)).encode_documents(["a"])
        refused(error)

    @pytest.mark.parametrize("file", ["adapter_config.json", "adapter_model.safetensors"])
    @pytest.mark.parametrize("damage", ["missing", "empty", "garbage"])
    def test_damaged_adapter(self, family: TinyFamily, tmp_path: Path, file: str, damage: str) -> None:
        folder = copy(family.base, tmp_path / "damaged")
        spoil(folder / "adapters" / "retrieval" / file, damage)
        with pytest.raises(ModelError) as error:
            load(family, source=str(folder)).encode_documents(["a"])
        refused(error)

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_truncated_weights(self, family: TinyFamily, tmp_path: Path, layout: str) -> None:
        folder = copy(family.base if layout == "base" else family.merged("retrieval"), tmp_path / "damaged")
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1000])
        with pytest.raises(ModelError) as error:
            load(family, source=str(folder)).encode_documents(["a"])
        refused(error)

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_a_missing_tensor_is_not_made_up(self, family: TinyFamily, tmp_path: Path, layout: str) -> None:
        """transformers draws missing weights at random and only warns: plausible vectors of nothing."""
        folder = copy(family.base if layout == "base" else family.merged("retrieval"), tmp_path / "damaged")
        weights = family.weights if layout == "base" else family.fold("retrieval")
        name = "layers.1.mlp.up_proj.weight"
        family.save_tensors(folder / "model.safetensors", {n: w for n, w in weights.items() if n != name})
        with pytest.raises(ModelError) as error:
            load(family, source=str(folder)).encode_documents(["a"])
        refused(error)

    def test_an_adapter_that_does_not_fit_is_not_ignored(self, family: TinyFamily, tmp_path: Path) -> None:
        """peft skips tensors whose names it does not know and only warns: vectors of the base without any task."""
        folder = copy(family.base, tmp_path / "damaged")
        tensors = {f"base_model.model.other.{n}.weight": w for n, w in family.adapters["retrieval"].items()}
        family.save_tensors(folder / "adapters" / "retrieval" / "adapter_model.safetensors", tensors)
        with pytest.raises(ModelError) as error:
            load(family, source=str(folder)).encode_documents(["a"])
        refused(error)

    def test_pickled_weights_are_not_read(self, family: TinyFamily, tmp_path: Path) -> None:
        folder = copy(family.merged("retrieval"), tmp_path / "pickled")
        (folder / "model.safetensors").unlink()
        family.torch.save(family.fold("retrieval"), folder / "pytorch_model.bin")
        with pytest.raises(ModelError) as error:
            load(family, source=str(folder)).encode_documents(["a"])
        refused(error)

    def test_an_architecture_we_do_not_know(self, family: TinyFamily, tmp_path: Path) -> None:
        folder = copy(family.base, tmp_path / "other")
        config = json.loads((folder / "config.json").read_text())
        write_json(folder / "config.json", config | {"model_type": "unheard_of", "architectures": ["Unheard"]})
        (folder / "model.safetensors").unlink()
        with pytest.raises(ModelError) as error:
            load(family, source=str(folder)).encode_documents(["a"])
        refused(error)

    def test_hub_name_without_network(self, family: TinyFamily) -> None:
        with pytest.raises(ModelError) as error:
            load(family, source="nobody-at-all/no-such-model", revision="0" * 40)
        refused(error, "nobody-at-all/no-such-model")

    @pytest.mark.parametrize("backend", ["onnx", "torch"])
    @pytest.mark.parametrize(
        "model", ["jina-embeddings-v5-text-nano", "jinaai/jina-embeddings-v5-text-small-retrieval"]
    )
    def test_catalogue_model_without_network(self, model: str, backend: str) -> None:
        with pytest.raises(ModelError) as error:
            Encoder.load(model, backend=backend, revision="0" * 40)
        refused(error, f"jinaai/{model.removeprefix('jinaai/').removesuffix('-retrieval')}-retrieval", "0" * 40)

    @pytest.mark.parametrize("mode", ["mean_tokens", "cls_token"])
    def test_another_pooling_than_the_profiles(self, family: TinyFamily, tmp_path: Path, mode: str) -> None:
        folder = copy(family.merged("retrieval"), tmp_path / "pooling")
        write_json(
            folder / "1_Pooling" / "config.json", {"word_embedding_dimension": WIDTH, f"pooling_mode_{mode}": True}
        )
        with pytest.raises(ModelError) as error:
            load(family, source=str(folder))
        refused(error, mode.partition("_")[0], "last")

    def test_a_module_we_do_not_apply(self, family: TinyFamily, tmp_path: Path) -> None:
        folder = copy(family.merged("retrieval"), tmp_path / "dense")
        modules = json.loads((folder / "modules.json").read_text())
        modules.append({"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"})
        write_json(folder / "modules.json", modules)
        with pytest.raises(ModelError) as error:
            load(family, source=str(folder))
        refused(error, "Dense")

    def test_misspelt_option(self, family: TinyFamily) -> None:
        with pytest.raises(InvalidInput) as error:
            load(family, options={"treads": 2})
        refused(error, "treads")

    def test_server_settings_are_refused(self, family: TinyFamily) -> None:
        for more in ({"url": "http://localhost"}, {"api_key": "secret-key"}, {"served_as": "x"}):
            with pytest.raises(InvalidInput) as error:
                load(family, **more)
            refused(error)
            assert "secret-key" not in str(error.value)


class TestHubCache:
    def test_a_pinned_revision_from_the_cache(self, families: Callable[[Kind], TinyFamily], tmp_path: Path) -> None:
        """The hub's cache keeps snapshots as links to blobs; offline, a name and a revision must be enough."""
        family = families("nano")
        revision, other = "1" * 40, "2" * 40
        fill_hub_cache(tmp_path, "someone/tiny", revision, family.base)
        script = """
import json, sys
import numpy as np
from jinavec import Encoder, ModelProfile
from jinavec.errors import ModelError
profile = ModelProfile.from_json(json.loads(sys.argv[1]))
encoder = Encoder.load(profile, task="clustering", backend="torch", source="someone/tiny", revision=sys.argv[2])
assert encoder.contract.revision == sys.argv[2], encoder.contract
np.save(sys.argv[4], encoder.encode_documents(["a", "one two"]))
try:
    Encoder.load(profile, backend="torch", source="someone/tiny", revision=sys.argv[3]).encode_queries(["a"])
except ModelError as error:
    assert "someone/tiny" in str(error) and chr(10) not in str(error), error
else:
    raise SystemExit("a revision that is not there was loaded")
"""
        out = tmp_path / "vectors.npy"
        profile = json.dumps(tiny_profile(family.kind).to_json())
        done = subprocess.run(
            [sys.executable, "-c", script, profile, revision, other, str(out)],
            env=os.environ | {"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        agree(np.load(out), family.vectors(["Document: a", "Document: one two"], "clustering"))


def test_profile_is_only_data(family: TinyFamily) -> None:
    """The same encoder from settings that went through JSON."""
    encoder = load(family, task="clustering", dimension=DIMENSIONS[1])
    assert encoder.settings is not None
    values = json.loads(json.dumps(encoder.settings.to_json()))
    again = Encoder.from_settings(type(encoder.settings).from_json(values))
    assert again.contract == encoder.contract
    agree(again.encode_documents(TEXTS), encoder.encode_documents(TEXTS))
    assert isinstance(again.profile, ModelProfile)
