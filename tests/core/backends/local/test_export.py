"""The ONNX export: what it writes runs in the onnx backend, agrees with torch, and is there complete or not at all."""

from __future__ import annotations

import builtins
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.model_checks import agree, cosines, prefixed, refused
from tests.support.tiny_models import REMOTE_CODE_RAN, THETA, TinyFamily
from tests.support.tiny_tokenizers import DIMENSIONS, LIMIT, TEXTS, WIDTH, long_text, prefix, tiny_profile, token_ids

from jinavec import Encoder
from jinavec.backends.local.export import export_onnx
from jinavec.errors import InvalidInput, ModelError, UnknownTask

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),  # peft asks transformers for it
]

OUTPUTS = {"last_hidden_state", "sentence_embedding"}
Export = Callable[[TinyFamily, str, str, str], Path]


def load(family: TinyFamily, folder: Path, **more: Any) -> Encoder:
    return Encoder.load(tiny_profile(family.kind), backend="onnx", source=str(folder), **more)


@pytest.fixture(scope="session")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Exports once for each family, layout, task and precision: the exporter needs seconds."""

    @cache
    def make(family: TinyFamily, layout: str, task: str, precision: str) -> Path:
        source = family.base if layout == "base" else family.merged(task)
        out = tmp_path_factory.mktemp("exported") / f"{family.kind}-{task}"
        chosen: Any = precision
        written = export_onnx(tiny_profile(family.kind), out=out, task=task, source=str(source), precision=chosen)
        assert written == out
        return out

    return make


class TestGraph:
    @pytest.mark.parametrize(("layout", "task"), [("base", "clustering"), ("merged", "retrieval")])
    def test_agrees_with_transformers(self, family: TinyFamily, export: Export, layout: str, task: str) -> None:
        folder = export(family, layout, task, "float32")
        for role in ("query", "document"):
            for dimension in DIMENSIONS:
                encoder = load(family, folder, task=task, dimension=dimension)
                wanted = family.vectors(prefixed(task, role), task, dimension=dimension)
                agree(encoder.encode(TEXTS, role=role), wanted)
        assert not hasattr(builtins, REMOTE_CODE_RAN)

    def test_gives_both_outputs_for_any_batch_and_either_padding(self, family: TinyFamily, export: Export) -> None:
        folder = export(family, "base", "clustering", "float32")
        runtime = pytest.importorskip("onnxruntime")
        session = runtime.InferenceSession(str(folder / "onnx" / "model.onnx"), providers=["CPUExecutionProvider"])
        assert {given.name for given in session.get_inputs()} == {"input_ids", "attention_mask"}
        assert {output.name for output in session.get_outputs()} == OUTPUTS
        texts = prefixed("clustering", "document")
        rows = [token_ids(folder, text) for text in texts]
        wanted = family.vectors(texts, "clustering")
        for left in (False, True):
            for some in (slice(0, 1), slice(0, 3), slice(None)):
                ids, mask = _pad(rows[some], left)
                hidden, pooled = session.run(
                    ["last_hidden_state", "sentence_embedding"], {"input_ids": ids, "attention_mask": mask}
                )
                assert hidden.shape == (*ids.shape, wanted.shape[1])
                agree(pooled, wanted[some])
                last = [hidden[row, np.flatnonzero(mask[row])[-1]] for row in range(len(ids))]
                assert (1 - cosines(np.stack(last), wanted[some])).max() <= 1e-5

    def test_long_texts(self, family: TinyFamily, export: Export) -> None:
        """Far longer than anything the exporter saw."""
        profile = tiny_profile(family.kind, limit=1000)
        folder = export(family, "base", "clustering", "float32")
        encoder = Encoder.load(profile, task="clustering", backend="onnx", source=str(folder))
        texts = [long_text(700), "short"]
        agree(encoder.encode_documents(texts), family.vectors(prefixed("clustering", "document", texts), "clustering"))

    def test_holds_no_path_of_this_machine(self, family: TinyFamily, export: Export) -> None:
        folder = export(family, "base", "clustering", "float32")
        for file in folder.rglob("*"):
            if file.is_file():
                content = file.read_bytes()
                for name in (str(family.root), str(Path.home()), "site-packages", __file__):
                    assert name.encode() not in content, f"{file.name} names {name}"

    def test_refuses_to_serve_another_task(self, family: TinyFamily, export: Export) -> None:
        with pytest.raises(ModelError) as error:
            load(family, export(family, "base", "clustering", "float32"), task="retrieval")
        refused(error, "clustering", "retrieval")


class TestOtherLibraries:
    """They find prefix, pooling and limit in the folder, and give the same vectors within 1e-6."""

    @pytest.fixture(params=[("base", "clustering"), ("merged", "retrieval")], ids=str)
    def exported(self, request: pytest.FixtureRequest, family: TinyFamily, export: Export) -> tuple[Path, str]:
        layout, task = request.param
        return export(family, layout, task, "float32"), task

    @pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
    def test_sentence_transformers(self, family: TinyFamily, exported: tuple[Path, str]) -> None:
        folder, task = exported
        library: Any = pytest.importorskip("sentence_transformers")
        model = library.SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        assert model.max_seq_length == LIMIT and model.default_prompt_name == "document"
        assert str(model.similarity_fn_name).endswith("cosine")
        for role, encode in (("query", model.encode_query), ("document", model.encode_document)):
            wanted = family.vectors(prefixed(task, role), task)
            assert np.abs(encode(TEXTS) - wanted).max() < 1e-6
        long = long_text(200)
        cut = family.vectors(prefixed(task, "document", [long]), task, limit=LIMIT)
        assert np.abs(model.encode([long]) - cut).max() < 1e-6

    def test_fastembed(self, family: TinyFamily, exported: tuple[Path, str]) -> None:
        folder, task = exported
        library: Any = pytest.importorskip("fastembed")
        described: Any = pytest.importorskip("fastembed.common.model_description")
        kinds = described.PoolingType
        ways: list[dict[str, Any]] = [
            {"pooling": kinds.LAST_TOKEN, "normalization": True},
            {"pooling": kinds.DISABLED, "normalization": False, "output_name": "sentence_embedding"},
        ]
        for number, how in enumerate(ways):
            name = f"{folder.name}-{task}-{number}"
            library.TextEmbedding.add_custom_model(
                model=name,
                sources=described.ModelSource(hf=f"mine/{name}"),
                dim=WIDTH,
                model_file="onnx/model.onnx",
                additional_files=["onnx/model.onnx_data"],
                **how,
            )
            model = library.TextEmbedding(name, specific_model_path=str(folder), threads=1)
            for role in ("query", "document"):
                texts = prefixed(task, role)
                assert np.abs(np.stack(list(model.embed(texts))) - family.vectors(texts, task)).max() < 1e-6

    def test_onnx_runtime_and_ours(self, family: TinyFamily, exported: tuple[Path, str]) -> None:
        folder, task = exported
        runtime: Any = pytest.importorskip("onnxruntime")
        session = runtime.InferenceSession(str(folder / "onnx" / "model.onnx"), providers=["CPUExecutionProvider"])
        texts = prefixed(task, "query")
        ids, mask = _pad([token_ids(folder, text) for text in texts], left=False)
        (got,) = session.run(["sentence_embedding"], {"input_ids": ids, "attention_mask": mask})
        wanted = family.vectors(texts, task)
        assert np.abs(got - wanted).max() < 1e-6
        for backend in ("onnx", "torch"):
            profile = tiny_profile(family.kind)
            with Encoder.load(profile, task=task, backend=backend, source=str(folder)) as encoder:
                assert np.abs(encoder.encode_queries(TEXTS) - wanted).max() < 1e-6

    def test_what_servers_read(self, family: TinyFamily, exported: tuple[Path, str]) -> None:
        folder, task = exported
        files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.json")}
        said = {name: json.loads(path.read_text("utf-8")) for name, path in files.items()}
        assert said["config_sentence_transformers.json"]["prompts"] == {
            r: prefix(task, r) for r in ("query", "document")
        }
        assert said["1_Pooling/config.json"]["pooling_mode_lasttoken"] is True
        assert not said["1_Pooling/config.json"]["pooling_mode_mean_tokens"]
        assert [module["type"].rpartition(".")[2] for module in said["modules.json"]] == [
            "Transformer",
            "Pooling",
            "Normalize",
        ]
        assert said["tokenizer_config.json"]["model_max_length"] == LIMIT
        assert said["sentence_bert_config.json"]["max_seq_length"] == LIMIT
        assert "auto_map" not in said["config.json"]
        assert said["config.json"]["rope_theta"] == THETA[family.kind]
        served = "-clustering" if task == "clustering" else ""  # the adapter that was folded in
        assert said["config.json"]["_name_or_path"] == f"tiny-{family.kind}{served}"
        assert {"tokenizer.json", "special_tokens_map.json"} <= files.keys()


class TestInt8:
    def test_is_near_and_says_what_it_is(self, family: TinyFamily, export: Export) -> None:
        folder = export(family, "base", "clustering", "int8")
        encoder = load(family, folder, task="clustering")
        assert encoder.contract.precision == "int8"
        got = encoder.encode_documents(TEXTS)
        wanted = family.vectors(prefixed("clustering", "document"), "clustering")
        assert cosines(got, wanted).min() > 0.95
        assert (1 - cosines(got, wanted)).max() > 1e-7, "not quantised at all"

    def test_sums_of_two_products_fit_in_16_bits(self, family: TinyFamily, export: Export) -> None:
        """Processors without VNNI cut larger ones off."""
        onnx: Any = pytest.importorskip("onnx")
        graph = onnx.load(export(family, "base", "clustering", "int8") / "onnx" / "model.onnx").graph
        arrays = [onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer]
        weights = [array.astype(int) for array in arrays if array.dtype == np.int8 and array.ndim == 2]
        assert weights
        assert all(2 * 255 * abs(array).max() < 2**15 for array in weights)

    def test_is_smaller(self, family: TinyFamily, export: Export) -> None:
        sizes = {
            precision: sum(
                file.stat().st_size for file in export(family, "base", "clustering", precision).rglob("model.onnx*")
            )
            for precision in ("float32", "int8")
        }
        assert sizes["int8"] < sizes["float32"] * 0.6


class TestRefusals:
    def test_a_folder_that_is_not_empty(self, family: TinyFamily, tmp_path: Path) -> None:
        keep = tmp_path / "out" / "keep.txt"
        keep.parent.mkdir()
        keep.write_text("mine")
        with pytest.raises(InvalidInput) as error:
            export_onnx(tiny_profile(family.kind), out=keep.parent, source=str(family.base))
        refused(error, keep.parent)
        assert [file.name for file in tmp_path.rglob("*")] == ["out", "keep.txt"] and keep.read_text() == "mine"

    def test_a_file_in_its_place(self, family: TinyFamily, tmp_path: Path) -> None:
        (tmp_path / "out").write_text("mine")
        with pytest.raises(InvalidInput) as error:
            export_onnx(tiny_profile(family.kind), out=tmp_path / "out", source=str(family.base))
        refused(error, tmp_path / "out")
        assert (tmp_path / "out").read_text() == "mine"

    @pytest.mark.parametrize("broken", ["model.safetensors", "tokenizer.json", "config.json"])
    def test_a_failure_leaves_nothing(self, family: TinyFamily, tmp_path: Path, broken: str) -> None:
        folder = family.save_merged(tmp_path / "source", "retrieval")
        (folder / broken).write_bytes(b"\x00garbage{")
        with pytest.raises(ModelError) as error:
            export_onnx(tiny_profile(family.kind), out=tmp_path / "out", source=str(folder))
        refused(error)
        assert [path.name for path in tmp_path.iterdir()] == ["source"]

    def test_another_precision(self, family: TinyFamily, tmp_path: Path) -> None:
        wrong: Any = "int2"
        with pytest.raises(InvalidInput) as error:
            export_onnx(tiny_profile(family.kind), out=tmp_path / "out", source=str(family.base), precision=wrong)
        refused(error, "int2", "int8")

    def test_another_task(self, family: TinyFamily, tmp_path: Path) -> None:
        with pytest.raises(UnknownTask):
            export_onnx(tiny_profile(family.kind), out=tmp_path / "out", source=str(family.base), task="separation")

    def test_missing_weights(self, family: TinyFamily, tmp_path: Path) -> None:
        with pytest.raises(ModelError) as error:
            export_onnx(tiny_profile(family.kind), out=tmp_path / "out", source=str(tmp_path / "absent"))
        refused(error, tmp_path / "absent")
        assert not list(tmp_path.iterdir())


def _pad(rows: list[list[int]], left: bool) -> tuple[Any, Any]:
    longest = max(map(len, rows)) + 2
    ids, mask = np.full((len(rows), longest), 7), np.zeros((len(rows), longest), np.int64)
    for number, row in enumerate(rows):
        places = slice(longest - len(row), longest) if left else slice(0, len(row))
        ids[number, places], mask[number, places] = row, 1
    return ids, mask
