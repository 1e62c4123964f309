"""The onnx backend against NumPy on graphs written by hand (no torch), and against transformers on exported ones."""

from __future__ import annotations

import asyncio
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
from tests.support.tiny_graphs import OUTPUTS, TinyGraph
from tests.support.tiny_models import TinyFamily
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
    save_tokenizer,
    tiny_profile,
    token_ids,
    write_json,
)

from jinavec import Encoder, JinavecError, JinavecWarning
from jinavec.errors import InvalidInput, ModelError, TextTooLong

SHUFFLED_OUTPUTS = ("other", "sentence_embedding", "last_hidden_state")


def load(kind: Kind, folder: Path | str, **more: Any) -> Encoder:
    return Encoder.load(more.pop("profile", tiny_profile(kind)), backend="onnx", source=str(folder), **more)


class TestAgreesWithNumPy:
    @pytest.mark.parametrize(("task", "role"), API_TASKS, ids=str)
    def test_every_task_and_dimension(self, graph: TinyGraph, graph_folder: Path, task: str, role: str) -> None:
        for dimension in DIMENSIONS:
            encoder = load(graph.kind, graph_folder, task=task, dimension=dimension)
            wanted = graph.vectors(graph_folder, prefixed(task, role), dimension=dimension)
            agree(encoder.encode(TEXTS, role=role), wanted)

    def test_the_two_outputs_differ(self, graph: TinyGraph, graph_folder: Path) -> None:
        """Otherwise the tests of the choice could not fail."""
        texts = prefixed("retrieval", "query")
        pooled = [graph.vectors(graph_folder, texts, pooling=pooling) for pooling in ("", "last", "mean", "cls")]
        for number, left in enumerate(pooled):
            for right in pooled[number + 1 :]:
                assert cosines(left, right).min() < 0.9

    @pytest.mark.parametrize("outputs", [OUTPUTS, OUTPUTS[::-1], SHUFFLED_OUTPUTS, ("sentence_embedding",)], ids=str)
    def test_sentence_embedding_is_chosen_by_name(
        self, graph: TinyGraph, tmp_path: Path, outputs: tuple[str, ...]
    ) -> None:
        folder = graph.save(tmp_path / "model", outputs=outputs)
        agree(load(graph.kind, folder).encode_queries(TEXTS), graph.vectors(folder, prefixed("retrieval", "query")))

    @pytest.mark.parametrize("outputs", [("last_hidden_state",), ("other", "last_hidden_state")], ids=str)
    @pytest.mark.parametrize("pooling", ["last", "mean", "cls"])
    @pytest.mark.parametrize("side", [None, "left", "right"])
    def test_hidden_states_are_pooled_by_the_mask(
        self, graph: TinyGraph, tmp_path: Path, outputs: tuple[str, ...], pooling: str, side: str | None
    ) -> None:
        folder = graph.save(tmp_path / "model", outputs=outputs, side=side)
        encoder = load(graph.kind, folder, profile=tiny_profile(graph.kind, pooling=pooling))
        agree(
            encoder.encode_queries(TEXTS),
            graph.vectors(folder, prefixed("retrieval", "query"), pooling=pooling),
        )

    def test_weights_beside_the_graph(self, graph: TinyGraph, tmp_path: Path) -> None:
        folder = graph.save(tmp_path / "model", external=True)
        assert (folder / "onnx" / "model.onnx_data").exists()
        agree(load(graph.kind, folder).encode_queries(TEXTS), graph.vectors(folder, prefixed("retrieval", "query")))

    def test_a_graph_that_wants_token_types(self, graph: TinyGraph, tmp_path: Path) -> None:
        folder = graph.save(tmp_path / "model", token_types=True)
        agree(load(graph.kind, folder).encode_queries(TEXTS), graph.vectors(folder, prefixed("retrieval", "query")))

    def test_a_graph_at_the_top_of_the_folder(self, graph: TinyGraph, tmp_path: Path) -> None:
        folder = graph.save(tmp_path / "model", file="model.onnx")
        agree(load(graph.kind, folder).encode_queries(TEXTS), graph.vectors(folder, prefixed("retrieval", "query")))

    def test_contract(self, graph: TinyGraph, graph_folder: Path) -> None:
        contract = load(graph.kind, graph_folder).contract
        assert (contract.backend, contract.precision, contract.host) == ("onnx", "float32", "")


class TestPrefix:
    def test_is_added_exactly_once(self, graph: TinyGraph, graph_folder: Path) -> None:
        encoder = load(graph.kind, graph_folder)
        for text in ("Query: a", "Document: a", "Query: Query: a", "a", " a ", "Document:", "\n", "query: a", ""):
            agree(encoder.encode_queries([text]), graph.vectors(graph_folder, [f"Query: {text}"]))
            agree(encoder.encode_documents([text]), graph.vectors(graph_folder, [f"Document: {text}"]))

    def test_profile_without_prompts(self, graph: TinyGraph, graph_folder: Path) -> None:
        texts = [text for text in TEXTS if text]
        encoder = load(graph.kind, graph_folder, profile=tiny_profile(graph.kind, prompts={}))
        agree(encoder.encode_queries(texts), graph.vectors(graph_folder, texts))


class TestTokens:
    def test_too_long_is_cut_with_one_warning(self, graph: TinyGraph, graph_folder: Path) -> None:
        texts = [long_text(30), "short", long_text(200), long_text(400)]
        full = [len(token_ids(graph_folder, text)) for text in prefixed("retrieval", "document", texts)]
        with pytest.warns(JinavecWarning) as caught:
            got = load(graph.kind, graph_folder).encode_documents(texts)
        assert len(caught) == 1
        message = str(caught[0].message)
        assert message.startswith("2 of the texts") and str(LIMIT) in message and str(max(full)) in message
        agree(got, graph.vectors(graph_folder, prefixed("retrieval", "document", texts), limit=LIMIT))

    def test_at_the_limit_nothing_is_cut(self, graph: TinyGraph, graph_folder: Path) -> None:
        text = "a" + " cat" * (LIMIT - 4 - (graph.kind == "nano"))
        assert len(token_ids(graph_folder, f"Document: {text}")) == LIMIT
        encoder = load(graph.kind, graph_folder)
        agree(encoder.encode_documents([text]), graph.vectors(graph_folder, [f"Document: {text}"]))
        with pytest.warns(JinavecWarning, match=f"1 of the texts exceed {LIMIT} tokens .*longest: {LIMIT + 1}"):
            encoder.encode_documents([text + " cat"])

    def test_warns_again_in_the_next_call_and_not_for_short_texts(self, graph: TinyGraph, graph_folder: Path) -> None:
        encoder = load(graph.kind, graph_folder)
        for _ in range(2):
            with pytest.warns(JinavecWarning):
                encoder.encode_documents([long_text(200)])
            encoder.encode_documents(["short"])  # warnings are errors here

    def test_too_long_can_be_refused_before_any_work(self, graph: TinyGraph, graph_folder: Path) -> None:
        encoder, seen = load(graph.kind, graph_folder, overflow="error"), Seen()
        with pytest.raises(TextTooLong) as error:
            encoder.encode_documents(["short"] + [f"{n} cat" for n in range(200)] + [long_text(200)], progress=seen)
        refused(error, LIMIT, "text 201: 1 of the texts")
        assert (error.value.positions, seen.calls) == ((201,), [])
        reasons: dict[int, str] = {}
        vectors = encoder.encode(["short", long_text(200), "cat"], role="query", refused=reasons.update)
        assert list(reasons) == [1] and f"exceed the model's {LIMIT}" in reasons[1]
        agree(vectors[[0, 2]], encoder.encode_queries(["short", "cat"]))
        agree(encoder.encode_queries(TEXTS), graph.vectors(graph_folder, prefixed("retrieval", "query")))

    def test_without_a_limit_nothing_is_cut(self, graph: TinyGraph, graph_folder: Path) -> None:
        encoder = load(graph.kind, graph_folder, profile=tiny_profile(graph.kind, limit=None))
        texts = [long_text(300), "short"]
        agree(encoder.encode_queries(texts), graph.vectors(graph_folder, prefixed("retrieval", "query", texts)))

    def test_saved_truncation_and_padding_are_not_obeyed(self, graph: TinyGraph, tmp_path: Path) -> None:
        """Many tokenizer.json files carry both; the profile's limit counts."""
        folder = graph.save(tmp_path / "model")
        save_odd_tokenizer_settings(folder)
        agree(load(graph.kind, folder).encode_queries(TEXTS), graph.vectors(folder, prefixed("retrieval", "query")))

    @pytest.mark.parametrize("kind", KINDS)
    def test_tokenizer_of_another_kind_is_refused(self, kind: Kind, tmp_path: Path) -> None:
        """nano that appends nothing, small that appends something: checked when loading."""
        pytest.importorskip("onnxruntime")
        folder = TinyGraph(kind).save(tmp_path / "model")
        save_tokenizer(folder, kind, appends=kind == "small")
        with pytest.raises(ModelError) as error:
            load(kind, folder)
        refused(error, "tokenizer")

    @pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC"])
    def test_a_unicode_form_that_it_does_not_read_is_refused(
        self, graph: TinyGraph, graph_folder: Path, form: str
    ) -> None:
        profile = tiny_profile(graph.kind, normalizer=form)
        if (graph.kind, form) == ("small", "NFC"):
            assert load(graph.kind, graph_folder, profile=profile).profile.normalizer == form
            return
        with pytest.raises(ModelError, match=f"does not bring texts into the form {form}"):
            load(graph.kind, graph_folder, profile=profile)

    def test_wrong_appended_id_is_refused(self, graph: TinyGraph, graph_folder: Path) -> None:
        with pytest.raises(ModelError) as error:
            load(graph.kind, graph_folder, profile=tiny_profile(graph.kind, appended=(3,)))
        refused(error, "3")

    def test_unchecked_tokenizer_is_taken_as_it_is(self, graph: TinyGraph, graph_folder: Path) -> None:
        encoder = load(graph.kind, graph_folder, profile=tiny_profile(graph.kind, appended=None))
        agree(encoder.encode_queries(TEXTS), graph.vectors(graph_folder, prefixed("retrieval", "query")))

    def test_no_token_at_all(self, graph: TinyGraph, graph_folder: Path) -> None:
        """Without a prompt, an empty text of a tokenizer that appends nothing has no token: no text fails."""
        encoder = load(graph.kind, graph_folder, profile=tiny_profile(graph.kind, prompts={}))
        for texts in (["", "a"], ["a", ""], [""]):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", JinavecWarning)
                vectors = encoder.encode_documents(texts)
            np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
            assert len(caught) == (graph.kind == "small")
            if "a" in texts:
                row = texts.index("a")
                agree(vectors[row : row + 1], graph.vectors(graph_folder, ["a"]))

    def test_special_tokens_in_the_text_are_the_tokenizers_business(self, graph: TinyGraph, graph_folder: Path) -> None:
        texts = ["<|endoftext|>", "a<|end_of_text|>b", "<|pad|><|pad|>"]
        agree(
            load(graph.kind, graph_folder).encode_queries(texts),
            graph.vectors(graph_folder, prefixed("retrieval", "query", texts)),
        )


class TestBatches:
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(lengths=st.lists(st.integers(0, 45), min_size=1, max_size=60), seed=st.randoms(use_true_random=False))
    def test_order_and_neighbours_do_not_matter(
        self, graph: TinyGraph, graph_folder: Path, lengths: list[int], seed: Any
    ) -> None:
        encoder = load_once(graph, graph_folder)
        texts = [f"{n} {long_text(n)}" for n in lengths]
        together = encoder.encode_documents(texts)
        agree(together, graph.vectors(graph_folder, prefixed("retrieval", "document", texts)))
        order = list(range(len(texts)))
        seed.shuffle(order)
        agree(encoder.encode_documents([texts[i] for i in order]), together[order])

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(texts=st.lists(st.text(max_size=12), min_size=1, max_size=12))
    def test_any_unicode(self, graph: TinyGraph, graph_folder: Path, texts: list[str]) -> None:
        encoder = load_once(graph, graph_folder)
        agree(encoder.encode_queries(texts), graph.vectors(graph_folder, prefixed("retrieval", "query", texts)))

    def test_thousands_of_texts_keep_their_order(self, graph: TinyGraph, graph_folder: Path) -> None:
        """Enough for tokenising in pieces, in parallel with inference."""
        texts = [f"{i} {long_text(i * 7 % 40)}" for i in range(3000)]
        texts += texts[:100]
        seen = Seen()
        got = load(graph.kind, graph_folder).encode_documents(texts, progress=seen)
        agree(got, graph.vectors(graph_folder, prefixed("retrieval", "document", texts)))
        assert len(seen.calls) > 1 and seen.calls[-1] == (3100, 3100)

    def test_a_text_over_the_token_budget_of_a_batch(self, graph: TinyGraph, graph_folder: Path) -> None:
        """One text may be longer than a whole batch should be; the graph has 512 positions."""
        encoder = load(graph.kind, graph_folder, profile=tiny_profile(graph.kind, limit=500))
        texts = [long_text(440), "short", *(f"{i} {long_text(400)}" for i in range(6))]
        agree(encoder.encode_documents(texts), graph.vectors(graph_folder, prefixed("retrieval", "document", texts)))

    def test_threads(self, graph: TinyGraph, graph_folder: Path) -> None:
        encoder = load(graph.kind, graph_folder)
        pieces = [[f"{i} {j} {long_text((i * 3 + j * 5) % 40)}" for j in range(30)] for i in range(32)]
        with ThreadPoolExecutor(8) as pool:
            for piece, got in zip(pieces, pool.map(encoder.encode_documents, pieces), strict=True):
                agree(got, graph.vectors(graph_folder, prefixed("retrieval", "document", piece)))

    def test_async(self, graph: TinyGraph, graph_folder: Path) -> None:
        encoder = load(graph.kind, graph_folder)

        async def together() -> list[Any]:
            return await asyncio.gather(*(encoder.aencode(TEXTS, role=role) for role in ("query", "document") * 5))

        for number, got in enumerate(asyncio.run(together())):
            texts = prefixed("retrieval", ("query", "document")[number % 2])
            agree(got, graph.vectors(graph_folder, texts))


class TestOptions:
    @pytest.mark.parametrize("options", [{"workers": 1}, {"workers": 3, "threads": 2}, {"threads": 4}], ids=str)
    def test_threads_do_not_change_vectors(self, graph: TinyGraph, graph_folder: Path, options: dict[str, int]) -> None:
        texts = [f"{i} {long_text(i * 7 % 40)}" for i in range(200)]
        encoder = load(graph.kind, graph_folder, options=options)
        agree(encoder.encode_documents(texts), graph.vectors(graph_folder, prefixed("retrieval", "document", texts)))

    @pytest.mark.parametrize("workers", [1, 2, 5])
    def test_the_same_vectors_in_the_background(self, graph: TinyGraph, graph_folder: Path, workers: int) -> None:
        encoder = load(graph.kind, graph_folder, options={"workers": workers})
        behind = Encoder(encoder.profile, encoder.backend.background())
        texts = [f"{i} {long_text(i * 7 % 40)}" for i in range(100)]
        agree(behind.encode_documents(texts), graph.vectors(graph_folder, prefixed("retrieval", "document", texts)))
        agree(behind.encode_documents(texts[:1]), encoder.encode_documents(texts[:1]))
        assert behind.contract == encoder.contract
        assert encoder.backend.background() is behind.backend
        encoder.close()
        with pytest.raises(ModelError, match="closed"):
            behind.encode_documents(["a"])

    @pytest.mark.parametrize("options", [{"workers": 0}, {"threads": 0}, {"workers": -1}], ids=str)
    def test_no_threads_at_all(self, graph: TinyGraph, graph_folder: Path, options: dict[str, int]) -> None:
        with pytest.raises(InvalidInput) as error:
            load(graph.kind, graph_folder, options=options)
        refused(error, next(iter(options)))

    def test_unknown_provider(self, graph: TinyGraph, graph_folder: Path) -> None:
        with pytest.raises(InvalidInput) as error:
            load(graph.kind, graph_folder, options={"provider": "AbacusExecutionProvider"})
        refused(error, "AbacusExecutionProvider", "CPUExecutionProvider")

    @pytest.mark.parametrize(
        ("file", "precision"), [("model_int8.onnx", "int8"), ("model_quantized.onnx", "int8"), ("model_q4.onnx", "q4")]
    )
    def test_a_quantised_file_is_chosen_and_reported(
        self, graph: TinyGraph, tmp_path: Path, file: str, precision: str
    ) -> None:
        """Never by default; the second graph has other weights, so that the choice shows."""
        folder = graph.save(tmp_path / "model")
        other = TinyGraph(graph.kind, seed=8)
        other.save_graph(folder / "onnx" / file)
        texts = prefixed("retrieval", "query")
        plain, chosen = load(graph.kind, folder), load(graph.kind, folder, options={"file": file})
        agree(plain.encode_queries(TEXTS), graph.vectors(folder, texts))
        agree(chosen.encode_queries(TEXTS), other.vectors(folder, texts))
        assert (plain.contract.precision, chosen.contract.precision) == ("float32", precision)
        assert plain.contract == chosen.contract

    def test_a_missing_file_names_those_that_are_there(self, graph: TinyGraph, graph_folder: Path) -> None:
        with pytest.raises(ModelError) as error:
            load(graph.kind, graph_folder, options={"file": "model_q4.onnx"})
        refused(error, "model_q4.onnx", "model.onnx")

    @pytest.mark.parametrize("options", [{"workers": "2"}, {"threads": None}, {"file": 3}], ids=str)
    def test_values_of_the_wrong_kind(self, graph: TinyGraph, graph_folder: Path, options: dict[str, Any]) -> None:
        with pytest.raises(InvalidInput) as error:
            load(graph.kind, graph_folder, options=options)
        refused(error, next(iter(options)))


class TestClosing:
    def test_a_closed_encoder_says_so(self, graph: TinyGraph, graph_folder: Path) -> None:
        with load(graph.kind, graph_folder) as encoder:
            encoder.encode_documents(["a"])
        with pytest.raises(ModelError) as error:
            encoder.encode_documents(["a"])
        refused(error, "closed")
        encoder.close()

    def test_nothing_is_printed(self, graph: TinyGraph, graph_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
        load(graph.kind, graph_folder).encode_documents(TEXTS)
        assert capfd.readouterr() == ("", "")


class TestBroken:
    def test_wrong_width(self, graph: TinyGraph, graph_folder: Path) -> None:
        with pytest.raises(ModelError) as error:
            load(graph.kind, graph_folder, profile=tiny_profile(graph.kind, width=96, dimensions=(96,)))
        refused(error, 96, WIDTH)

    def test_no_known_output(self, graph: TinyGraph, tmp_path: Path) -> None:
        with pytest.raises(ModelError) as error:
            load(graph.kind, graph.save(tmp_path / "model", outputs=("other",)))
        refused(error, "last_hidden_state", "sentence_embedding", "other")

    @pytest.mark.parametrize("file", ["tokenizer.json", "onnx/model.onnx"])
    @pytest.mark.parametrize("damage", ["missing", "empty", "garbage"])
    def test_damaged_file(self, graph: TinyGraph, tmp_path: Path, file: str, damage: str) -> None:
        folder = graph.save(tmp_path / "model")
        spoil(folder / file, damage)
        with pytest.raises(ModelError) as error:
            load(graph.kind, folder)
        refused(error, file.rpartition("/")[2])

    def test_truncated_graph(self, graph: TinyGraph, tmp_path: Path) -> None:
        folder = graph.save(tmp_path / "model")
        file = folder / "onnx" / "model.onnx"
        file.write_bytes(file.read_bytes()[:-1000])
        with pytest.raises(ModelError) as error:
            load(graph.kind, folder)
        refused(error, "model.onnx")

    @pytest.mark.parametrize("damage", ["missing", "empty"])
    def test_damaged_weights_beside_the_graph(self, graph: TinyGraph, tmp_path: Path, damage: str) -> None:
        folder = graph.save(tmp_path / "model", external=True)
        spoil(folder / "onnx" / "model.onnx_data", damage)
        with pytest.raises(ModelError) as error:
            load(graph.kind, folder)
        refused(error, "model.onnx")

    def test_missing_folder(self, tmp_path: Path) -> None:
        pytest.importorskip("onnxruntime")
        with pytest.raises(ModelError) as error:
            load("nano", tmp_path / "absent")
        refused(error, tmp_path / "absent")

    def test_empty_folder(self, tmp_path: Path) -> None:
        pytest.importorskip("onnxruntime")
        with pytest.raises(ModelError) as error:
            load("nano", tmp_path)
        refused(error, tmp_path)

    def test_file_instead_of_folder(self, graph: TinyGraph, graph_folder: Path) -> None:
        with pytest.raises(ModelError) as error:
            load(graph.kind, graph_folder / "tokenizer.json")
        refused(error, "tokenizer.json")

    def test_tokens_outside_the_graph(self, graph: TinyGraph, tmp_path: Path) -> None:
        """A tokenizer of another model gives ids the graph has no row for: an error, never a wrong vector."""
        folder = graph.save(tmp_path / "model")
        saved = json.loads((folder / "tokenizer.json").read_text())
        saved["model"]["vocab"]["~"] = 9999
        write_json(folder / "tokenizer.json", saved)
        with pytest.raises(JinavecError) as error:
            load(graph.kind, folder).encode_documents(["~"])
        refused(error)

    @pytest.mark.parametrize("source", ["nobody-at-all/no-such-model", "no-such-model"])
    def test_hub_name_without_network(self, source: str) -> None:
        pytest.importorskip("onnxruntime")
        with pytest.raises(ModelError) as error:
            load("nano", source, revision="0" * 40)
        refused(error, source)

    def test_no_source_at_all(self) -> None:
        pytest.importorskip("onnxruntime")
        with pytest.raises(JinavecError) as error:
            Encoder.load(tiny_profile("nano"), backend="onnx")
        refused(error, "source")

    def test_misspelt_option(self, graph: TinyGraph, graph_folder: Path) -> None:
        with pytest.raises(InvalidInput) as error:
            load(graph.kind, graph_folder, options={"treads": 2})
        refused(error, "treads")

    def test_server_settings_are_refused(self, graph: TinyGraph, graph_folder: Path) -> None:
        for more in ({"url": "http://localhost"}, {"api_key": "secret-key"}, {"served_as": "x"}):
            with pytest.raises(InvalidInput) as error:
                load(graph.kind, graph_folder, **more)
            refused(error)
            assert "secret-key" not in str(error.value)


class TestHubCache:
    @pytest.mark.parametrize("external", [False, True])
    def test_a_pinned_revision_from_the_cache(self, graph: TinyGraph, tmp_path: Path, external: bool) -> None:
        """The hub's cache keeps snapshots as links to blobs; offline, a name and a revision must be enough."""
        revision, other = "1" * 40, "2" * 40
        folder = graph.save(tmp_path / "model", external=external)
        fill_hub_cache(tmp_path / "cache", "someone/tiny", revision, folder)
        script = """
import json, sys
import numpy as np
from jinavec import Encoder, ModelProfile
from jinavec.errors import ModelError
profile = ModelProfile.from_json(json.loads(sys.argv[1]))
encoder = Encoder.load(profile, backend="onnx", source="someone/tiny", revision=sys.argv[2])
assert encoder.contract.revision == sys.argv[2], encoder.contract
np.save(sys.argv[4], encoder.encode_documents(["a", "one two"]))
try:
    Encoder.load(profile, backend="onnx", source="someone/tiny", revision=sys.argv[3])
except ModelError as error:
    assert "someone/tiny" in str(error) and chr(10) not in str(error), error
else:
    raise SystemExit("a revision that is not there was loaded")
"""
        out = tmp_path / "vectors.npy"
        profile = json.dumps(tiny_profile(graph.kind).to_json())
        done = subprocess.run(
            [sys.executable, "-c", script, profile, revision, other, str(out)],
            env=os.environ | {"HF_HUB_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        agree(np.load(out), graph.vectors(folder, ["Document: a", "Document: one two"]))


@pytest.mark.torch
class TestExportedByTorch:
    """Graphs of real architectures, exported here by torch.onnx, not by jinavec."""

    @pytest.mark.parametrize("task", TASKS)
    def test_agrees_with_transformers(self, family: TinyFamily, exported: Callable[..., Path], task: str) -> None:
        folder = exported(family, task)
        for role in ("query", "document"):
            for dimension in DIMENSIONS:
                encoder = load(family.kind, folder, task=task, dimension=dimension)
                agree(
                    encoder.encode(TEXTS, role=role),
                    family.vectors(prefixed(task, role), task, dimension=dimension),
                )

    def test_pooling_here_equals_pooling_in_the_graph(
        self, family: TinyFamily, exported: Callable[..., Path], tmp_path: Path
    ) -> None:
        onnx = pytest.importorskip("onnx")
        folder = shutil.copytree(exported(family, "retrieval"), tmp_path / "hidden")
        model = onnx.load(str(folder / "onnx" / "model.onnx"))
        kept = [output for output in model.graph.output if output.name == "last_hidden_state"]
        del model.graph.output[:]
        model.graph.output.extend(kept)
        onnx.save(model, str(folder / "onnx" / "model.onnx"))
        agree(
            load(family.kind, folder).encode_queries(TEXTS),
            family.vectors(prefixed("retrieval", "query"), "retrieval"),
        )

    def test_too_long_keeps_the_end(self, family: TinyFamily, exported: Callable[..., Path]) -> None:
        encoder = load(family.kind, exported(family, "retrieval"))
        with pytest.warns(JinavecWarning):
            got = encoder.encode_documents([long_text(300)])
        wanted = family.vectors(prefixed("retrieval", "document", [long_text(300)]), "retrieval", limit=LIMIT)
        assert (1 - cosines(got, wanted)).max() <= CLOSE


@cache
def load_once(graph: TinyGraph, folder: Path) -> Encoder:
    """One encoder for all examples of a property."""
    return load(graph.kind, folder)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[TinyFamily, str], Path]:
    """Repositories of one task with ``onnx/model.onnx``, exported once each."""

    @cache
    def make(family: TinyFamily, task: str) -> Path:
        folder = tmp_path_factory.mktemp(f"exported-{family.kind}-{task}")
        save_tokenizer(folder, family.kind)
        (folder / "onnx").mkdir()
        _export(family, task, folder / "onnx" / "model.onnx")
        return folder

    return make


def _export(family: TinyFamily, task: str, path: Path) -> None:
    """Export with both outputs of the vendor's graphs, batch and sequence dynamic."""
    torch = family.torch

    class WithEmbedding(torch.nn.Module):
        def __init__(self) -> None:
            torch.nn.Module.__init__(self)
            self.backbone = family.oracles[task]

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            hidden = self.backbone(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
            states = hidden.last_hidden_state
            places = torch.arange(attention_mask.shape[1]) * attention_mask
            last = states[torch.arange(states.shape[0]), places.argmax(dim=1)]
            return states, torch.nn.functional.normalize(last, dim=-1)

    ids = torch.ones((2, 5), dtype=torch.long)
    names = ["input_ids", "attention_mask"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this exporter is deprecated, and ten times as fast on tiny models
        torch.onnx.export(
            WithEmbedding().eval(),
            (ids, torch.ones_like(ids)),
            str(path),
            input_names=names,
            output_names=list(OUTPUTS),
            dynamic_axes={name: {0: "batch", 1: "sequence"} for name in names},
            opset_version=17,
            dynamo=False,
        )
