"""Tokens: from texts to batches of token ids, through the tokenizer.json that came with the weights."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from jinavec.backends.base import Report
from jinavec.backends.local.errors import model_errors
from jinavec.backends.local.weights import Weights, read_json
from jinavec.errors import ModelError, warn
from jinavec.extras import require
from jinavec.models import ModelProfile

PROBE = "Query: How fast does light travel?"
ACCENTS = "\u00e9 e\u0301 \ufb01"
"""A text that each Unicode form changes."""
SIMILAR = 0.95
"""A batch holds texts of at least this share of its longest: at most 5 % of it is padding."""
SMALLEST = 64
"""Cost below which a batch is not split further to keep all workers busy."""
SQUARE = 5_800
"""Tokens of a text whose attention takes as long as all the rest (measured: 5,800 for nano, 4,900 for small)."""


@dataclass(frozen=True)
class Batch:
    """Texts of similar length, padded on the right."""

    rows: list[int]
    """Where the texts stand in the call."""
    ids: NDArray[np.int64]
    """(texts, longest)"""
    mask: NDArray[np.int64]
    """(texts, longest): 1 for a token, 0 for padding."""


class Tokenizer:
    """Turns texts into token ids exactly as the weights were trained; thread-safe."""

    def __init__(self, tokenizer: Any, limit: int | None = None) -> None:
        padding = tokenizer.padding
        tokenizer.no_padding()  # a saved setting would pad and cut every text to one length
        tokenizer.no_truncation()
        self._tokenizer = tokenizer
        self._limit = limit
        self._padding: int = padding["pad_id"] if padding else 0

    @classmethod
    def load(cls, weights: Weights, profile: ModelProfile, extra: str) -> Self:
        """Load tokenizer.json and check what it appends and how it reads accents.

        Raises:
            ModelError: it is missing, damaged, or does not append or normalize as the profile says.
        """
        path = weights.file("tokenizer.json")
        tokenizers = require("tokenizers", extra)
        with model_errors(f"cannot read {path}"):
            tokenizer = tokenizers.Tokenizer.from_file(str(path))
        loaded = cls(tokenizer, profile.limit)
        loaded._check_appended(profile)
        loaded._check_normalizer(profile)
        if profile.appended is None:
            loaded._compare(weights, profile)
        return loaded

    def _check_appended(self, profile: ModelProfile) -> None:
        bare: list[int] = self._tokenizer.encode(PROBE, add_special_tokens=False).ids
        full: list[int] = self._tokenizer.encode(PROBE).ids
        if profile.appended is not None and full != [*bare, *profile.appended]:
            raise ModelError(
                f"the tokenizer does not fit {profile.name}: a text should end with the special tokens"
                f" {list(profile.appended)} and have no others, but {bare} became {full}"
            )

    def _check_normalizer(self, profile: ModelProfile) -> None:
        form: Any = profile.normalizer
        normalizer = self._tokenizer.normalizer
        read: str = normalizer.normalize_str(ACCENTS) if normalizer else ACCENTS
        if form and not unicodedata.is_normalized(form, read):
            raise ModelError(f"the tokenizer does not fit {profile.name}: it does not bring texts into the form {form}")

    def _compare(self, weights: Weights, profile: ModelProfile) -> None:
        """Warn of a tokenizer that does not fit the folder it is in, where the profile does not say what it appends."""
        bare: list[int] = self._tokenizer.encode(PROBE, add_special_tokens=False).ids
        full: list[int] = self._tokenizer.encode(PROBE).ids
        config, about = (_table(weights.folder / name) for name in ("config.json", "tokenizer_config.json"))
        last: str = self._tokenizer.id_to_token(full[-1]) if full != bare else ""
        if odd := [*self._odd_ids(config, about), *_odd_end(about, profile, last)]:
            warn(
                f"the tokenizer in {weights.folder} may be the wrong one: it {', and '.join(odd)}; if it is right, say"
                f" in the profile of {profile.name} what it appends: appended = {full[len(bare) :]}"
            )

    def _odd_ids(self, config: dict[str, Any], about: dict[str, Any]) -> Generator[str]:
        """Say where the tokenizer's ids are not those that config.json and tokenizer_config.json tell."""
        known, count = config.get("vocab_size"), self._tokenizer.get_vocab_size()
        if isinstance(known, int) and count > known:
            yield f"knows {count} tokens, the model {known}"
        for number, added in _added(about).items():
            if self._tokenizer.token_to_id(added) != number:
                yield f"does not give {added!r} the id {number}"
                break
        given: object = config.get("eos_token_id")
        ends = [id for id in cast("list[object]", given if isinstance(given, list) else [given]) if type(id) is int]
        named = {_token(value) for name, value in about.items() if name.endswith("_token")} - {""}
        tokens = [self._tokenizer.id_to_token(id) for id in ends]
        if named and tokens and not named & set(tokens):
            yield f"has {tokens[0]!r} for the id {ends[0]}, which is the EOS of config.json"

    def encode(self, texts: Sequence[str], report: Report, start: int = 0) -> list[list[int]]:
        """Return the token ids of each text, special tokens included, cut to the model's limit.

        Args:
            texts: some of a call's.
            report: of the call.
            start: position of the first one in the call.

        Raises:
            TextTooLong: a text exceeds the limit, and the report refuses that.
        """
        rows: list[list[int]] = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]
        if self._limit is not None:
            long = [number for number, ids in enumerate(rows) if len(ids) > self._limit]
            report.too_long({start + number: len(rows[number]) for number in long}, self._limit)
            for number in long:
                rows[number] = self._cut(texts[number], self._limit)
        return rows

    def _cut(self, text: str, limit: int) -> list[int]:
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        encoding.truncate(limit - self._tokenizer.num_special_tokens_to_add(False))
        return self._tokenizer.post_process(encoding).ids  # adds the special tokens again, at their places

    def batch(self, ids: Sequence[list[int]], rows: list[int]) -> Batch:
        """Pad the texts of some rows to one length. The mask comes from the lengths: pad may also be a token."""
        longest = max(len(ids[row]) for row in rows)
        padded = np.full((len(rows), longest), self._padding, np.int64)
        mask = np.zeros_like(padded)
        for number, row in enumerate(rows):
            padded[number, : len(ids[row])] = ids[row]
            mask[number, : len(ids[row])] = 1
        return Batch(rows, padded, mask)


def _odd_end(about: dict[str, Any], profile: ModelProfile, last: str) -> Generator[str]:
    """Say where an EOS should end each text, since its vector is pooled, and does not; ``last`` is what does."""
    eos = _token(about.get("eos_token"))
    appends = not str(about.get("tokenizer_class")).startswith("Qwen2")  # whose class has no way to append one
    if eos and about.get("add_eos_token", profile.pooling == "last" and appends) and last != eos:
        yield f"does not append the EOS {eos!r}" + (f", but {last!r}" if last else "")


def _table(path: Path) -> dict[str, Any]:
    values = read_json(path) if path.is_file() else None
    return cast("dict[str, Any]", values) if isinstance(values, dict) else {}


def _token(value: object) -> str:
    """Return a special token as tokenizer_config.json names it: a text, or an object with its content."""
    content = cast("dict[str, Any]", value).get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else ""


def _added(about: dict[str, Any]) -> dict[int, str]:
    """Return the added tokens that tokenizer_config.json lists, by their ids."""
    listed: object = about.get("added_tokens_decoder")
    tokens = cast("dict[str, Any]", listed) if isinstance(listed, dict) else {}
    return {int(number): _token(token) for number, token in tokens.items() if number.isdecimal() and _token(token)}


def cost(tokens: int) -> float:
    """Return how many tokens of short texts take as long as one text of some tokens: attention takes their square."""
    return tokens + tokens**2 / SQUARE


def plan(lengths: Sequence[int], budget: int, workers: int) -> list[list[int]]:
    """Group texts into batches of similar length, the longest first.

    Args:
        lengths: tokens of each text; texts without any are left out.
        budget: what a batch may cost, padding included; a text that costs more is a batch alone.
        workers: batches that run side by side; few texts are spread over all of them.

    Returns:
        The positions of the texts in each batch.
    """
    if workers > 1:  # what one does alone need not be shared, and padding may make it dearer than the sum of its texts
        budget = min(budget, max(SMALLEST, math.ceil(sum(map(cost, lengths)) / workers)))
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        longest = lengths[batches[-1][0]] if batches else 0
        if longest and lengths[row] >= SIMILAR * longest and (len(batches[-1]) + 1) * cost(longest) <= budget:
            batches[-1].append(row)
        elif lengths[row]:
            batches.append([row])
    return batches
