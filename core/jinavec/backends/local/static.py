"""static: a table of one vector per token; a text is the mean of its tokens.

Two kinds of models: the one inside the wordllama package, and any in model2vec's format.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from jinavec.backends.base import Backend, Report
from jinavec.backends.local.base import check_width
from jinavec.backends.local.errors import model_errors
from jinavec.backends.local.options import StaticOptions
from jinavec.backends.local.weights import Weights, find_weights
from jinavec.errors import MissingExtra, ModelError
from jinavec.extras import installed, require
from jinavec.models import ModelProfile
from jinavec.options import read_options
from jinavec.settings import EncoderSettings
from jinavec.tasks import Role, Task
from jinavec.vectors import Float32

CHUNK = 256
"""Texts tokenized together, in parallel."""
WORDLLAMA = "wordllama-256"


@dataclass(frozen=True)
class Table:
    """What a static model is made of."""

    tokenize: Callable[[list[str]], list[list[int]]]
    """Token ids of texts, without special tokens and of any number; thread-safe."""
    vectors: NDArray[Any]
    """(rows, width) in the precision of the file."""
    row: NDArray[Any] | None = None
    """(tokens,) the row of each token, where tokens share rows; else token and row are the same number."""
    weight: NDArray[Any] | None = None
    """(tokens,) the factor of each token, where there is one."""

    def total(self, ids: list[int]) -> Float32:
        """Sum the vectors (width,) of tokens; takes memory for the different ones only."""
        tokens, counts = np.unique(np.array(ids, np.intp), return_counts=True)
        factors = counts if self.weight is None else counts * self.weight[tokens]
        rows = tokens if self.row is None else self.row[tokens]
        return factors.astype(np.float32) @ self.vectors[rows].astype(np.float32)


class StaticBackend(Backend):
    """Embeds by the mean of token vectors."""

    name = "static"
    options_type = StaticOptions

    def __init__(self, profile: ModelProfile, table: Table) -> None:
        check_width(profile, table.vectors.shape[-1])
        self.profile = profile
        self._table = table

    @classmethod
    def load(cls, settings: EncoderSettings, api_key: str | None) -> Self:
        """Load wordllama-256 from its package, any other model through model2vec from a folder or the hub.

        Raises:
            InvalidInput: a server's address or key, or an option, was given.
            MissingExtra: wordllama, model2vec, tokenizers or safetensors is not installed.
            ModelError: a file is missing, damaged, or not what the profile says.
        """
        settings.check_local(api_key)
        read_options(StaticOptions, settings.options)
        if settings.profile.name == WORDLLAMA:
            return cls(settings.profile, _read_wordllama(settings.source))
        weights = find_weights(settings, ["*.json", "*.safetensors"], "static")
        backend = cls(settings.profile, _read_model2vec(weights.folder))
        backend.source, backend.revision = weights.source, weights.revision
        return backend

    def embed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Float32:
        """Embed texts that already carry their prompt.

        Returns:
            float32 (n, width), in the order of the texts; any length.

        Raises:
            TextTooLong: a text exceeds the limit, and the report refuses that.
            ModelError: the model failed.
        """
        report = report or Report()
        vectors = np.empty((len(texts), self.profile.width), np.float32)
        size = CHUNK if report.overflow == "truncate" else max(1, len(texts))  # refuse before any work is done
        for start in range(0, len(texts), size):
            chunk = vectors[start : start + size]
            for vector, ids in zip(chunk, self._tokens(texts[start : start + size], report, start), strict=True):
                vector[:] = self._table.total(ids) / max(1, len(ids))
            self._fill_blank(chunk, report)
            report.finished(len(chunk))
        return vectors

    def _tokens(self, texts: Sequence[str], report: Report, start: int) -> list[list[int]]:
        # Some tokenizers make a token of a space; a blank text is to have none.
        seen = [text if text.strip() else "" for text in texts]
        with model_errors(f"{self.profile.name} failed"):
            rows = self._table.tokenize(seen)
        limit = self.profile.limit
        if limit is not None:
            report.too_long({start + number: len(ids) for number, ids in enumerate(rows) if len(ids) > limit}, limit)
            rows = [ids[:limit] for ids in rows]
        report.counts += map(len, rows)
        return rows

    def _fill_blank(self, vectors: Float32, report: Report) -> None:
        """Give the fixed vector to texts without tokens, and to those whose tokens cancel each other out."""
        blank = ~vectors[:, : min(self.profile.dimensions)].any(axis=1)
        vectors[blank] = np.eye(1, self.profile.width, dtype=np.float32)
        report.blank += int(blank.sum())


def _read_wordllama(source: str) -> Table:
    tokenizers: Any = require("tokenizers", "static")
    safetensors: Any = require("safetensors.numpy", "static")
    weights = Weights(Path(os.path.expanduser(source)) if source else _package("wordllama"))
    vectors = weights.file("weights/l2_supercat_256.safetensors")
    vocabulary = weights.file("tokenizers/l2_supercat_tokenizer_config.json")
    with model_errors(f"cannot read the model in {weights.folder}"):
        tensors: dict[str, NDArray[Any]] = safetensors.load_file(vectors)
        tokenizer: Any = tokenizers.Tokenizer.from_file(str(vocabulary))
    if "embedding.weight" not in tensors:
        raise ModelError(f"{vectors} has no tensor embedding.weight")
    table, tokens = tensors["embedding.weight"], int(tokenizer.get_vocab_size())
    if table.ndim != 2 or len(table) < tokens:
        raise ModelError(f"{vectors} has the shape {table.shape}, but the tokenizer knows {tokens} tokens")

    def tokenize(texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    return Table(tokenize, table.astype(np.float32))


def _package(name: str) -> Path:
    """Return the folder of an installed package without importing it."""
    spec = find_spec(name) if installed(name) else None
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra(name, "static")
    return Path(spec.submodule_search_locations[0])


def _read_model2vec(folder: Path) -> Table:
    library: Any = require("model2vec", "static")
    with model_errors(f"cannot read the model2vec model in {folder}"):
        model: Any = library.StaticModel.from_pretrained(str(folder))
    model.tokenizer.no_truncation()  # the library cuts texts at 512 tokens without a word
    model.tokenizer.no_padding()
    return Table(model.tokenize, model.embedding, model.token_mapping, model.weights)
