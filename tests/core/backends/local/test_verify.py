"""Weights in this process: which task they are of, and whether they give the golden values."""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.tiny_graphs import TinyGraph
from tests.support.tiny_tokenizers import tiny_profile

from jinavec import Encoder, ModelProfile
from jinavec.errors import JinavecWarning, ModelError
from jinavec.golden import GoldenValues, TokenCount

pytest.importorskip("onnxruntime")

V5 = "jina-embeddings-v5-text"
TASKS = ("retrieval", "text-matching", "clustering", "classification")


@pytest.fixture(scope="module")
def tiny(graph: TinyGraph, graph_folder: Path) -> ModelProfile:
    """The profile of a tiny graph, under v5's name, with golden values that the graph gave."""
    profile = tiny_profile(graph.kind)
    with load(profile, graph_folder) as encoder:
        recorded = encoder.record_golden()
        assert [known.count for known in recorded.tokens] == [count(encoder)]
    return replace(profile, name=f"{V5}-{graph.kind}", golden=recorded)


def count(encoder: Encoder) -> int:
    counts: list[int] = []
    encoder.encode(["How fast does light travel in a vacuum?"], role="query", counted=counts.extend)
    return counts[0]


def load(profile: ModelProfile, source: Path, task: str = "retrieval", **options: Any) -> Encoder:
    return Encoder.load(profile, backend="onnx", source=source, task=task, options=options)


def test_right_weights_are_proved_in_silence(tiny: ModelProfile, graph_folder: Path) -> None:
    with load(tiny, graph_folder, verify=True) as encoder:
        found = encoder.verify()
    assert (found.proved, found.unproved, found.warnings) == (("model", "task", "prefix", "pooling"), {}, ())


def test_what_no_file_names_is_said(tiny: ModelProfile, graph_folder: Path) -> None:
    with pytest.warns(JinavecWarning, match="nothing names the task .* taken for those of clustering; .*verify"):
        load(tiny, graph_folder, "clustering").close()
    with pytest.warns(JinavecWarning) as caught:
        load(tiny, graph_folder, "clustering", verify=True).close()
    assert [str(w.message).partition("clustering: ")[2] for w in caught] == [
        f"{what} not proved: no values of clustering are known" for what in ("model", "task", "pooling")
    ]


def test_other_weights_are_refused_with_the_numbers(tiny: ModelProfile, graph: TinyGraph, tmp_path: Path) -> None:
    other = TinyGraph(graph.kind, seed=8).save(tmp_path)
    with pytest.raises(ModelError, match=f"not the weights of {tiny.name}, another task or pooling: .* should be "):
        load(tiny, other, verify=True)


def test_another_tokenizer_is_refused_with_the_ids(tiny: ModelProfile, graph_folder: Path) -> None:
    known = TokenCount(text="Query: a", ids=(1, 2))
    assert tiny.golden is not None
    golden = GoldenValues(tokens=(known,), similarities=tiny.golden.similarities)
    with pytest.raises(ModelError, match=r"not the tokenizer of .*'Query: a' as \[.*\], and should as \[1, 2\]"):
        load(replace(tiny, golden=golden), graph_folder, verify=True)


@pytest.mark.parametrize("of", TASKS)
@pytest.mark.parametrize("way", ["folder", "snapshot", "symlink", "config.json", "README.md"])
def test_the_task_of_a_folder_by_its_path_or_its_files(
    tiny: ModelProfile, graph: TinyGraph, tmp_path: Path, way: str, of: str
) -> None:
    name = f"{V5}-{graph.kind}-{of}"
    folder = {
        "folder": tmp_path / name,
        "snapshot": tmp_path / f"models--jinaai--{name}" / "snapshots" / ("1" * 40),
        "symlink": tmp_path / name,
    }.get(way, tmp_path / "mine")
    folder.parent.mkdir(parents=True, exist_ok=True)
    graph.save(folder)
    if way == "symlink":
        (tmp_path / "mine").symlink_to(folder)
        folder = tmp_path / "mine"
    if way == "config.json":
        (folder / way).write_text(f'{{"_name_or_path": "jinaai/{name}", "num_attention_heads": 1}}', "utf-8")
    if way == "README.md":
        (folder / way).write_text(f"# jinaai/{name}\n\nA model. Use `{name}`.", "utf-8")
    for task in TASKS:
        if task == of:
            with warnings.catch_warnings():
                load(tiny, folder, task).close()
        else:
            with pytest.raises(ModelError, match=f"holds the weights for {of}, by .*, not for {task}"):
                load(tiny, folder, task)


def test_a_card_that_names_several_tasks_tells_nothing(tiny: ModelProfile, graph: TinyGraph, tmp_path: Path) -> None:
    folder = graph.save(tmp_path / "mine")
    (folder / "README.md").write_text(" ".join(f"{V5}-{graph.kind}-{task}" for task in TASKS), "utf-8")
    with pytest.warns(JinavecWarning, match="nothing names the task"):
        load(tiny, folder).close()


def test_a_model_of_ones_own_is_taken_as_it_is(graph: TinyGraph, graph_folder: Path) -> None:
    for task in TASKS:
        load(tiny_profile(graph.kind), graph_folder, task).close()


def test_the_path_may_be_given_with_a_tilde(
    tiny: ModelProfile, graph: TinyGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    graph.save(tmp_path / f"{V5}-{graph.kind}-clustering")
    with pytest.raises(ModelError, match="holds the weights for clustering"):
        load(tiny, Path("~") / f"{V5}-{graph.kind}-clustering" / os.curdir)
