"""lexical: hashed words and character n-grams; no model, no network, no state.

Each feature of a text (a word, an n-gram) is hashed to a direction of +1 and -1 over the whole width, and the
directions are added, each with the sublinear weight 1 + ln(count). This projects the text's term vector at random
(Achlioptas, Database-friendly random projections, 2003), so cosines survive in every prefix and in the sign bits.

The same text gives the same bits on every machine and Python version:

* Weights are even whole numbers and all sums are exact, so neither the order of features nor the processor matters.
* Every sum starts from one fixed direction. As all else is even, no component is ever zero: each prefix has a
  direction, each bit a sign, and a text without features has the fixed direction alone.
* Characters are classified and normalised as in Unicode 3.2, which every Python carries beside its own version.
  Case folding of those characters never changes (Unicode stability policy). Younger characters, such as emoji, are
  taken as they are.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from typing import Self
from unicodedata import ucd_3_2_0 as unicode

import numpy as np
from numpy.typing import NDArray

from jinavec.backends.base import Backend, Report
from jinavec.backends.local.options import LexicalOptions
from jinavec.options import read_options
from jinavec.settings import EncoderSettings
from jinavec.tasks import Role, Task
from jinavec.vectors import Float32

CHUNK = 64
"""Texts between two reports of progress."""
FEATURES = 4096
"""Directions held at once. As no weight reaches 4096, their sum stays below 2**24, exact in float32."""
UNIT = 16
"""The weight of a feature that occurs once, where the fixed direction has 1."""

SEPARATOR, LETTER, SIGN = range(3)
NGRAMS = {SEPARATOR: (), LETTER: (3, 4), SIGN: (1, 2)}
"""Lengths of n-grams within a run of one kind; runs of letters, which are words, also count whole."""
SIGNS = ((0x1100, 0x11FF), (0x2E80, 0xA4CF), (0xAC00, 0xD7AF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))
"""Code points of scripts whose single signs carry meaning: Han, Kana, Bopomofo, Yi, Hangul. Thai, Lao, Khmer and
Myanmar write no spaces either, but letters: their n-grams find words inside a phrase."""


class LexicalBackend(Backend):
    """Embeds by words and character n-grams: matches wording, not meaning."""

    name = "lexical"
    options_type = LexicalOptions

    def __init__(self, width: int) -> None:
        self.width = width

    @classmethod
    def load(cls, settings: EncoderSettings, api_key: str | None) -> Self:
        """Make the backend; any width will do.

        Raises:
            InvalidInput: a server's address or key, or an option, was given.
        """
        settings.check_local(api_key)
        read_options(LexicalOptions, settings.options)
        return cls(settings.profile.width)

    def embed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Float32:
        """Embed texts of any length; task and role make no difference.

        Returns:
            float32 (n, width), in the order of the texts: whole odd numbers.
        """
        report = report or Report()
        vectors = np.empty((len(texts), self.width), np.float32)
        for start in range(0, len(texts), CHUNK):
            counts = [Counter(_features(text)) for text in texts[start : start + CHUNK]]
            vectors[start : start + CHUNK] = [_project(count, self.width) for count in counts]
            report.blank += sum(not count for count in counts)
            report.finished(len(counts))
        return vectors


def _features(text: str) -> list[str]:
    features: list[str] = []
    for kind, run in groupby(_fold(text), _kind):
        chars = "".join(run)
        if kind == LETTER:
            features.append(f"{chars} ")  # the space tells a word from an n-gram
        for n in NGRAMS[kind]:
            features += [chars[i : i + n] for i in range(len(chars) - n + 1)]
    return features


def _fold(text: str) -> str:
    """Make equal what readers take for equal: case, width, composed and decomposed accents, invisible characters."""
    if text.isascii():
        return text.lower()
    visible = (char for char in text if not _is_invisible(char))
    runs = ((young, "".join(run)) for young, run in groupby(visible, _is_young))
    return "".join(run if young else unicode.normalize("NFKC", run).casefold() for young, run in runs)


@lru_cache(maxsize=1 << 16)
def _kind(char: str) -> int:
    if _is_young(char) or unicode.category(char) in ("So", "Co"):  # pictures
        return SIGN
    if unicode.category(char)[0] not in "LMN":  # letters, marks, numbers
        return SEPARATOR
    return SIGN if any(first <= ord(char) <= last for first, last in SIGNS) else LETTER


@lru_cache(maxsize=1 << 16)
def _is_young(char: str) -> bool:
    return unicode.category(char) == "Cn"


@lru_cache(maxsize=1 << 16)
def _is_invisible(char: str) -> bool:
    """Return whether a character is a format control, a soft hyphen (a dash in Unicode 3.2) or a variation selector."""
    return unicode.category(char) == "Cf" or char == "\u00ad" or "\ufe00" <= char <= "\ufe0f"


def _project(counts: Counter[str], width: int) -> NDArray[np.float64]:
    features = list(counts)
    times = np.fromiter(counts.values(), np.float64, len(counts))
    weights = (2 * np.rint(UNIT / 2 * (1 + np.log(times)))).astype(np.float32)
    total = _directions([""], width)[0].astype(np.float64)
    for start in range(0, len(features), FEATURES):
        part = slice(start, start + FEATURES)
        directions = _directions(features[part], width)
        total += np.einsum("f,fd->d", weights[part], directions)  # faster than BLAS, whose threads wait for each other
    return total


def _directions(features: Sequence[str], width: int) -> Float32:
    size = -(-width // 8)
    packed = b"".join([_digest(feature, size) for feature in features])
    bits = np.unpackbits(np.frombuffer(packed, np.uint8).reshape(-1, size), axis=1, count=width)
    return (bits.view(np.int8) * 2 - 1).astype(np.float32)


@lru_cache(maxsize=1 << 15)
def _digest(feature: str, size: int) -> bytes:
    return hashlib.shake_128(feature.encode()).digest(size)
