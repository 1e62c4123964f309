"""A scripted server whose vectors have the golden similarities of v5, and what real servers are known to get wrong.

A vector is made of the text as the model reads it and of the adapter: those of golden texts stand at the published
angles to each other, all others are drawn from a hash. A fault is what a server would do to the text or to the vector.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jinavec import Role, Task, prompt
from jinavec.models import ModelProfile, find_model

from .scripted_server import Answerer, Asked, Reply, ScriptedServer, hash_vector

Vector = NDArray[Any]
PREFIXES: tuple[str, str] = ("Query: ", "Document: ")
PRECISIONS = ("float32", "float16", "bfloat16")


def model_vector(profile: ModelProfile, task: Task, text: str) -> Vector:
    """Return the unit vector of a text with its prefix."""
    values = profile.golden and profile.golden.similarities.get(task)
    axis = hash_vector(f"{task} axis", profile.width)
    if values and text == prompt(task, Role.QUERY, profile) + values.query:
        return axis
    own = hash_vector(f"{task} {text}", profile.width)
    documents = [prompt(task, Role.DOCUMENT, profile) + document for document in values.documents] if values else []
    if not values or text not in documents:
        return own
    cosine = values.cosines[documents.index(text)]
    beside = own - (own @ axis) * axis
    return cosine * axis + np.sqrt(1 - cosine**2) * beside / np.linalg.norm(beside)


def rounded(vector: Vector, precision: str) -> Vector:
    """Return a vector as a runtime of some precision gives it."""
    if precision == "bfloat16":
        bits = vector.astype("<f4").view("<u4")
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype("<u4").view("<f4")
    return vector.astype(precision).astype(np.float32)


@dataclass
class Reading:
    """The texts of one request: the prefix that the server puts in front of each, and what the client typed."""

    prefix: str
    texts: list[str]
    vector: Callable[[str], Vector]
    """Of what the model reads."""

    def vectors(self, read: Callable[[str, str], str]) -> list[Vector]:
        """Let the model read something made of the prefix, the server's or a typed one, and of the rest."""
        return [self.vector(read(*self._split(text))) for text in self.texts]

    def _split(self, text: str) -> tuple[str, str]:
        typed = next((p for p in PREFIXES if text.startswith(p)), "") if not self.prefix else ""
        return self.prefix or typed, text.removeprefix(typed)


Change = Callable[[Reading], list[Vector]]


def _missing(reading: Reading) -> list[Vector]:
    return reading.vectors(lambda prefix, text: text)


def _doubled(reading: Reading) -> list[Vector]:
    return reading.vectors(lambda prefix, text: prefix + prefix + text if reading.prefix else prefix + text)


def _default(reading: Reading) -> list[Vector]:
    return reading.vectors(lambda prefix, text: PREFIXES[1] + prefix + text)


def _swapped(reading: Reading) -> list[Vector]:
    other = dict(zip(PREFIXES, PREFIXES[::-1], strict=True))
    return reading.vectors(lambda prefix, text: (other[prefix] if reading.prefix else prefix) + text)


def _ends_otherwise(reading: Reading) -> list[Vector]:
    return reading.vectors(lambda prefix, text: f"{prefix}{text} without its end")


def _first_token(reading: Reading) -> list[Vector]:
    return reading.vectors(lambda prefix, text: (prefix + text).split()[0])


def _padding(reading: Reading) -> list[Vector]:
    longest = max(len(reading.prefix + text) for text in reading.texts)
    return reading.vectors(lambda prefix, text: (prefix + text).ljust(longest, "_"))


def _mean(reading: Reading) -> list[Vector]:
    common = hash_vector("what all means have in common", len(reading.vector("")))
    right = reading.vectors(lambda prefix, text: prefix + text)
    return [_unit(0.6 * vector + 0.8 * common) for vector in right]


def _equal_lengths(reading: Reading) -> list[Vector]:
    right = reading.vectors(lambda prefix, text: prefix + text)
    if len(right) == 1 or len({len(reading.prefix + text) for text in reading.texts}) > 1:
        return right
    return [0.85 * vector + 0.53 * hash_vector(f"unmasked {n}", len(vector)) for n, vector in enumerate(right)]


def _out_of_order(reading: Reading) -> list[Vector]:
    return reading.vectors(lambda prefix, text: prefix + text)[::-1]


def _cut(reading: Reading) -> list[Vector]:
    return reading.vectors(lambda prefix, text: (prefix + text)[:24])


FAULTS: dict[str, Change] = {
    "the prefix is missing": _missing,
    "the prefix is there twice": _doubled,
    "a prefix of its own": _default,
    "the prefixes are swapped": _swapped,
    "EOS is missing": _ends_otherwise,
    "EOS is there twice": _ends_otherwise,
    "the first token is pooled": _first_token,
    "the padding is pooled": _padding,
    "the mean is pooled": _mean,
    "no causal mask without padding": _equal_lengths,
    "out of order": _out_of_order,
    "cut": _cut,
}
TOKENS = {
    "the prefix is missing": -2,
    "the prefix is there twice": 2,
    "a prefix of its own": 2,
    "EOS is missing": -1,
    "EOS is there twice": 1,
}
"""How many tokens more the question has under a fault, where the client types the prefix."""


@dataclass
class GoldenAnswerer(Answerer):
    """Answers with the vectors of a model; ``serves`` is the task of its weights, None that of the request."""

    profile: ModelProfile = find_model("jina-embeddings-v5-text-nano")
    serves: Task | None = Task.RETRIEVAL
    change: Change | None = None
    precision: str = "float32"
    scale: float = 1.0
    noise: float = 0.0
    """Length of what is added to each vector, in a direction that all share."""

    def __call__(self, asked: Asked) -> Reply:
        if self.serves is None and not self._offers(asked.body["task"]):
            return Reply({"detail": "no such task", "code": "INPUT_INVALID"}, 400)
        self._task = self.serves or Task(asked.body["task"].partition(".")[0])
        return super().__call__(asked)

    def _offers(self, task: str) -> bool:
        return self.profile.task in (None, task.partition(".")[0])

    def _vectors(self, texts: list[str], prefix: str = "") -> list[Vector]:
        reading = Reading(prefix, texts, lambda text: model_vector(self.profile, self._task, text))
        vectors = (self.change or _right)(reading)
        shift = self.noise * hash_vector("shift", self.profile.width)
        return [rounded(_unit(vector + shift), self.precision) * self.scale for vector in vectors]


def _unit(vector: Vector) -> Vector:
    return vector / np.linalg.norm(vector)


def _right(reading: Reading) -> list[Vector]:
    return reading.vectors(lambda prefix, text: prefix + text)


class GoldenServer(ScriptedServer):
    """A server of the right model, with what is changed about it."""

    def __init__(self, protocol: str, **changed: Any) -> None:
        super().__init__(protocol)
        self.answer = GoldenAnswerer(protocol, **changed)
        self.answer.width = self.answer.profile.width
