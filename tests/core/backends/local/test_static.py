"""static: against plain loops over the files, and against model2vec's own encode."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.model_checks import agree, refused

from jinavec import Encoder, JinavecWarning, ModelProfile, Role, Task
from jinavec.errors import InvalidInput, MissingExtra, ModelError, TextTooLong
from jinavec.vectors import narrow, normalize

tokenizers = pytest.importorskip("tokenizers")
model2vec = pytest.importorskip("model2vec")
safetensors = pytest.importorskip("safetensors.numpy")

WIDTH = 24
WORDS = "where does the cat sleep on a warm roof while rain falls dogs run".split()
PROFILE = ModelProfile(name="mine", width=WIDTH, dimensions=(8, 16, WIDTH))
TEXTS = ["where does the cat sleep", "the the the roof", "rain", "dogs run on a warm warm roof", "the unknown cat"]
Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Saves a model2vec model of random vectors, one per word; takes what StaticModel takes."""

    def save(vectors: Any = None, **more: Any) -> Path:
        model = model2vec.StaticModel(
            _vectors() if vectors is None else vectors, _word_tokenizer(), {"normalize": False}, **more
        )
        model.save_pretrained(tmp_path / "model")
        return tmp_path / "model"

    return save


def load(folder: Path, profile: ModelProfile = PROFILE, **more: Any) -> Encoder:
    return Encoder.load(profile, backend="static", source=folder, **more)


def reference(folder: Path, texts: Sequence[str]) -> Any:
    """What the library itself makes of texts of any length."""
    vectors = model2vec.StaticModel.from_pretrained(str(folder)).encode(list(texts), max_length=None)
    return vectors.astype(np.float32)


@pytest.fixture(scope="module")
def files() -> Path:
    """The folder of the wordllama package."""
    spec = find_spec("wordllama")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("needs the extra static")
    return Path(spec.submodule_search_locations[0])


@pytest.fixture(scope="module")
def encoder(files: Path) -> Encoder:
    return Encoder.load("wordllama-256")


class TestWordllama:
    def test_against_a_plain_loop(self, encoder: Encoder, files: Path) -> None:
        texts = [
            "Where does the cat sleep?",
            "x",
            "snake_case, CamelCase; 3.14!",
            "Die Straße",
            "猫睡在哪里？😴",
            "word " * 2000,
        ]
        table = safetensors.load_file(files / "weights/l2_supercat_256.safetensors")["embedding.weight"]
        tokenizer = tokenizers.Tokenizer.from_file(str(files / "tokenizers/l2_supercat_tokenizer_config.json"))
        wanted: list[Any] = []
        for text in texts:
            total = np.zeros(256)
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            for token in ids:
                total += table[token].astype(np.float64)
            wanted.append(total / len(ids))
        for dimension in (256, 128, 64):
            encoder = Encoder.load("wordllama-256", dimension=dimension)
            agree(encoder.encode_documents(texts), narrow(wanted, dimension))

    def test_meaning_counts_more_than_wording(self, encoder: Encoder) -> None:
        documents = ["The kitten naps upstairs.", "Where does the train stop?", "The bank raised its interest rates."]
        query = encoder.encode_queries(["Where does the cat sleep?"])[0]
        assert (encoder.encode_documents(documents) @ query).argmax() == 0

    def test_blank_texts(self, encoder: Encoder) -> None:
        with pytest.warns(JinavecWarning, match="^3 of the texts") as caught:
            vectors = encoder.encode_documents(["", " ", "a cat", "\n\t"])
        assert len(caught) == 1
        assert (vectors[[0, 1]] == vectors[3]).all()
        assert not (vectors[2] == vectors[3]).all()

    @settings(deadline=None)
    @given(text=st.text())
    def test_any_text_is_a_unit_vector_at_every_dimension(self, encoder: Encoder, text: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", JinavecWarning)
            vector = encoder.encode_queries([text])[0]
        for dimension in (256, 128, 64):
            assert np.linalg.norm(narrow(vector, dimension)) == pytest.approx(1, abs=1e-6)

    def test_beside_others_and_in_threads(self, encoder: Encoder) -> None:
        texts = [" ".join(TEXTS[number % 5 :]) + f" {number}" for number in range(600)]
        vectors = encoder.encode_documents(texts)
        with ThreadPoolExecutor(8) as pool:
            alone = pool.map(encoder.encode_documents, [[text] for text in texts[::10]])
        assert (np.concatenate(list(alone)) == vectors[::10]).all()

    def test_the_package_is_not_imported(self) -> None:
        """Its import sets up logging and needs libraries of its own."""
        script = "import sys; from jinavec import Encoder; Encoder.load('wordllama-256').encode_queries(['a'])"
        done = subprocess.run(
            [sys.executable, "-c", f"{script}; print('wordllama' in sys.modules)"], capture_output=True
        )
        assert done.stdout.split() == [b"False"], done.stderr

    def test_from_a_copy_of_its_files(self, files: Path, encoder: Encoder, tmp_path: Path) -> None:
        for name in ("weights", "tokenizers"):
            (tmp_path / name).symlink_to(files / name)
        agree(Encoder.load("wordllama-256", source=tmp_path).encode_queries(TEXTS), encoder.encode_queries(TEXTS))

    def test_files_missing_or_damaged(self, files: Path, tmp_path: Path) -> None:
        with pytest.raises(ModelError) as error:
            Encoder.load("wordllama-256", source=tmp_path)
        refused(error, "l2_supercat_256.safetensors", tmp_path)
        (tmp_path / "weights").mkdir()
        (tmp_path / "weights/l2_supercat_256.safetensors").write_bytes(b"no tensors")
        (tmp_path / "tokenizers").symlink_to(files / "tokenizers")
        with pytest.raises(ModelError) as error:
            Encoder.load("wordllama-256", source=tmp_path)
        refused(error, tmp_path)
        table = {"embedding.weight": np.zeros((10, 256), np.float16)}
        safetensors.save_file(table, tmp_path / "weights/l2_supercat_256.safetensors")
        with pytest.raises(ModelError) as error:
            Encoder.load("wordllama-256", source=tmp_path)
        refused(error, "(10, 256)", 32000)


class TestModel2vec:
    @pytest.mark.parametrize("kind", [np.float32, np.float16, np.int8])
    def test_precisions(self, save: Save, kind: Any) -> None:
        vectors = _vectors()
        folder = save((vectors * 30).astype(kind) if kind is np.int8 else vectors.astype(kind))
        got = load(folder).encode_documents(TEXTS)
        assert (1 - (got * normalize(reference(folder, TEXTS))).sum(axis=1)).max() < 1e-5

    def test_shared_rows_and_weights(self, save: Save) -> None:
        """A quantised vocabulary: tokens share rows, each with a weight of its own."""
        row = np.arange(len(WORDS) + 1) % 6
        folder = save(_vectors()[:6], token_mapping=row, weights=np.linspace(0.5, 2, len(row)))
        agree(load(folder).encode_documents(TEXTS), normalize(reference(folder, TEXTS)))

    def test_weights_alone(self, save: Save) -> None:
        folder = save(weights=np.linspace(0.5, 2, len(WORDS) + 1))
        agree(load(folder).encode_documents(TEXTS), normalize(reference(folder, TEXTS)))

    def test_every_dimension(self, save: Save) -> None:
        folder = save()
        for dimension in PROFILE.dimensions:
            got = load(folder, dimension=dimension).encode_documents(TEXTS)
            agree(got, narrow(reference(folder, TEXTS), dimension))

    def test_prompts_are_part_of_the_text(self, save: Save) -> None:
        folder = save()
        profile = ModelProfile(name="mine", width=WIDTH, prompts={(Task.RETRIEVAL, Role.QUERY): "where does "})
        got = load(folder, profile).encode_queries(["cat", "roof"])
        agree(got, normalize(reference(folder, ["where does cat", "where does roof"])))

    def test_a_saved_padding_is_not_counted(self, save: Save) -> None:
        folder = save()
        file = folder / "tokenizer.json"
        tokenizer = tokenizers.Tokenizer.from_file(str(file))
        tokenizer.enable_padding(pad_id=1, pad_token=WORDS[0], length=50)
        tokenizer.enable_truncation(2)
        tokenizer.save(str(file))
        plain = load(folder).encode_documents(TEXTS)
        for text, vector in zip(TEXTS, plain, strict=True):
            ids = [1 + WORDS.index(word) for word in text.split() if word in WORDS]
            assert vector @ normalize(_vectors()[ids].mean(axis=0)) > 1 - 1e-6

    def test_revision_of_a_folder_is_what_the_user_says(self, save: Save) -> None:
        assert load(save(), revision="v2").contract.revision == "v2"


class TestLength:
    LONG = "cat " * 600 + "roof " * 600

    def test_long_texts_are_read_to_the_end(self, save: Save) -> None:
        """The library's own encode stops at 512 tokens."""
        folder = save()
        agree(load(folder).encode_documents([self.LONG]), normalize(reference(folder, [self.LONG])))

    def test_limit_of_the_profile(self, save: Save) -> None:
        profile = ModelProfile(name="mine", width=WIDTH, limit=4)
        encoder = load(save(), profile)
        with pytest.warns(JinavecWarning, match="2 of the texts exceed 4 tokens .*longest: 1200") as caught:
            vectors = encoder.encode_documents([self.LONG, "where does the cat sleep on", "cat cat", "cat roof rain a"])
        assert len(caught) == 1
        agree(vectors[[0, 1]], encoder.encode_documents(["cat cat cat cat", "where does the cat"]))

    def test_refused_with_overflow_error(self, save: Save) -> None:
        encoder = load(save(), ModelProfile(name="mine", width=WIDTH, limit=4), overflow="error")
        with pytest.raises(TextTooLong) as error:
            encoder.encode_documents(["cat", self.LONG, "cat", self.LONG])
        refused(error, 4, 1200, "texts 1, 3: ")
        assert error.value.positions == (1, 3)
        reasons: dict[int, str] = {}
        vectors = encoder.encode([*["cat"] * 300, self.LONG, "rain"], role="document", refused=reasons.update)
        assert reasons == {300: "its 1200 tokens exceed the model's 4"}
        agree(vectors[[0, 301]], encoder.encode_documents(["cat", "rain"]))
        encoder.encode_documents(["cat roof rain a"])


class TestBlank:
    def test_nothing_that_the_model_knows(self, save: Save) -> None:
        with pytest.warns(JinavecWarning, match="^3 of the texts"):
            vectors = load(save()).encode_documents(["xyz uvw", "", "cat", "?"])
        assert (vectors[[0, 1]] == vectors[3]).all()

    def test_tokens_that_cancel_out(self, save: Save) -> None:
        vectors = _vectors()
        vectors[1] = -vectors[2]
        with pytest.warns(JinavecWarning, match="^1 of the texts"):
            got = load(save(vectors)).encode_documents([f"{WORDS[0]} {WORDS[1]}", WORDS[0]])
        assert got[0].tolist() == [1] + [0] * (WIDTH - 1)

    def test_a_prefix_without_direction(self, save: Save) -> None:
        vectors = _vectors()
        vectors[1, :8] = 0
        encoder = load(save(vectors), dimension=8)
        with pytest.warns(JinavecWarning, match="^1 of the texts"):
            got = encoder.encode_documents([WORDS[0], WORDS[1]])
        assert got[0].tolist() == [1] + [0] * 7


class TestRefusals:
    def test_another_width_than_the_profile(self, save: Save) -> None:
        with pytest.raises(ModelError) as error:
            load(save(), ModelProfile(name="mine", width=32))
        refused(error, "mine", 32, WIDTH)

    def test_no_source(self) -> None:
        with pytest.raises(ModelError) as error:
            Encoder.load(PROFILE, backend="static")
        refused(error, "mine", "source")

    @pytest.mark.parametrize("source", ["no/such-model", "/no/such/folder", "./nowhere"])
    def test_neither_folder_nor_reachable_hub_name(self, source: str) -> None:
        with pytest.raises(ModelError) as error:
            Encoder.load(PROFILE, backend="static", source=source)
        refused(error, source)

    def test_a_folder_without_a_model(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError) as error:
            load(tmp_path)
        refused(error, tmp_path)

    @pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
    @pytest.mark.parametrize("damage", [b"", b"{", b"\x00" * 100])
    def test_a_damaged_file(self, save: Save, name: str, damage: bytes) -> None:
        folder = save()
        (folder / name).write_bytes(damage)
        with pytest.raises(ModelError) as error:
            load(folder)
        refused(error, folder)

    def test_a_tokenizer_that_fails_at_work(self, save: Save) -> None:
        """A vocabulary without an entry for unknown words cannot take them; the library says so with Exception."""
        folder = save()
        values = json.loads((folder / "tokenizer.json").read_text("utf-8"))
        values["model"]["unk_token"] = "[NONE]"
        (folder / "tokenizer.json").write_text(json.dumps(values), "utf-8")
        with pytest.raises(ModelError) as error:
            load(folder).encode_documents(["xyz"])
        refused(error)

    def test_unknown_options(self, save: Save) -> None:
        with pytest.raises(InvalidInput, match="'threads'"):
            load(save(), options={"threads": 2})

    @pytest.mark.parametrize("module", ["wordllama", "tokenizers", "safetensors.numpy"])
    def test_wordllama_without_its_libraries(self, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(MissingExtra, match=rf'^{module} is not installed; run: pip install .*"wordllama>'):
            Encoder.load("wordllama-256")

    def test_a_folder_that_is_called_like_the_package(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "wordllama" / "weights").mkdir(parents=True)
        monkeypatch.delitem(sys.modules, "wordllama", raising=False)
        monkeypatch.setattr(sys, "path", [str(tmp_path)])
        importlib.invalidate_caches()
        with pytest.raises(MissingExtra, match="^wordllama is not installed"):
            Encoder.load("wordllama-256")

    def test_model2vec_is_missing(self, monkeypatch: pytest.MonkeyPatch, save: Save) -> None:
        folder = save()
        monkeypatch.setitem(sys.modules, "model2vec", None)
        with pytest.raises(MissingExtra, match='^model2vec is not installed; run: pip install "model2vec>'):
            load(folder)


def _vectors() -> Any:
    return np.random.default_rng(5).standard_normal((len(WORDS) + 1, WIDTH)).astype(np.float32)


def _word_tokenizer() -> Any:
    vocabulary = {word: number for number, word in enumerate(["[UNK]", *WORDS])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return tokenizer
