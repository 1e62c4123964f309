"""GoldenValues: what a model's own weights are known to give, by which any runtime of it can be judged."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, cast

from jinavec.errors import InvalidInput, brief
from jinavec.tasks import Task

DOCUMENTS = 9
"""The most documents a query is compared with: together with the other texts of a check they are sixteen."""


@dataclass(frozen=True, kw_only=True)
class TokenCount:
    """A text as the model's tokenizer reads it.

    Raises:
        InvalidInput: neither a count nor ids, or two that differ.
    """

    text: str
    """With its prefix."""
    ids: tuple[int, ...] = ()
    """Special tokens included; empty where only their number is known."""
    count: int = 0
    """How many tokens; by default as many as ids."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", tuple(self.ids))
        object.__setattr__(self, "count", self.count or len(self.ids))
        numbers = (*self.ids, self.count)
        if not isinstance(self.text, str) or any(type(n) is not int or n < 0 for n in numbers) or not self.count:
            raise InvalidInput(f"a golden token count is a text with its ids or their count, not {brief(self)}")
        if self.ids and len(self.ids) != self.count:
            raise InvalidInput(f"golden ids of {brief(self.text)} are {len(self.ids)}, but their count is {self.count}")


@dataclass(frozen=True, kw_only=True)
class Similarities:
    """Cosines of one query to documents, each text with the prefix of its role.

    Raises:
        InvalidInput: not as many cosines as documents, none at all, or more than ``DOCUMENTS``.
    """

    query: str
    """Without its prefix, as are the documents."""
    documents: tuple[str, ...]
    cosines: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "documents", tuple(self.documents))
        object.__setattr__(self, "cosines", tuple(self.cosines))
        if not all(isinstance(text, str) for text in (self.query, *self.documents)):
            raise InvalidInput("golden similarities are between texts: a query and documents")
        if not all(type(cosine) in (int, float) and -1 <= cosine <= 1 for cosine in self.cosines):
            raise InvalidInput(f"golden cosines are numbers from -1 to 1, not {brief(list(self.cosines))}")
        if len(self.documents) != len(self.cosines) or not 1 <= len(self.documents) <= DOCUMENTS:
            raise InvalidInput(
                f"golden similarities take 1 to {DOCUMENTS} documents and a cosine for each, not"
                f" {len(self.documents)} and {len(self.cosines)}"
            )


@dataclass(frozen=True, kw_only=True)
class GoldenValues:
    """What is known of one model, whoever runs it."""

    tokens: tuple[TokenCount, ...] = ()
    similarities: Mapping[Task, Similarities] = field(default_factory=dict[Task, Similarities])
    """By the task of the weights, at the model's full width."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "tokens", tuple(self.tokens))
        table = {Task(task): values for task, values in self.similarities.items()}
        object.__setattr__(self, "similarities", MappingProxyType(table))

    def count(self, text: str) -> int | None:
        """Return the tokens of a text with its prefix, where they are known."""
        return next((known.count for known in self.tokens if known.text == text), None)

    def to_json(self) -> dict[str, Any]:
        """Return the values as plain JSON, which is also how they stand in TOML; ``from_json`` reads them back."""
        tokens = [{"text": t.text, **({"ids": list(t.ids)} if t.ids else {"count": t.count})} for t in self.tokens]
        similarities = {
            task.value: {"query": s.query, "documents": list(s.documents), "cosines": list(s.cosines)}
            for task, s in self.similarities.items()
        }
        return {name: value for name, value in (("tokens", tokens), ("similarities", similarities)) if value}

    def to_toml(self) -> str:
        """Return the values as tables that may stand at the end of a model profile."""
        values, lines = self.to_json(), list[str]()
        for table in values.get("tokens", []):
            lines += ["[[golden.tokens]]", *_toml(table), ""]
        for task, table in values.get("similarities", {}).items():
            lines += [f"[golden.similarities.{task}]", *_toml(table), ""]
        return "\n".join(lines)

    @classmethod
    def from_json(cls, values: object) -> GoldenValues:
        """Read values from JSON or TOML: ``tokens`` is a list of tables, ``similarities`` a table for each task.

        Raises:
            InvalidInput: a field is unknown, missing or of the wrong kind.
        """
        given = _table(values, "golden", ("tokens", "similarities"))
        tokens = given.get("tokens", [])
        if not isinstance(tokens, (list, tuple)):
            raise InvalidInput(f"golden tokens are a list of tables, not {brief(tokens)}")
        counts = [_read(TokenCount, item, "golden.tokens") for item in cast("list[object]", tokens)]
        tables = _table(given.get("similarities", {}), "golden.similarities", tuple(Task))
        similarities = {
            Task(task): _read(Similarities, item, f"golden.similarities.{task}") for task, item in tables.items()
        }
        return cls(tokens=tuple(counts), similarities=similarities)


def _toml(table: Mapping[str, Any]) -> list[str]:
    """Write texts, numbers and lists of them, as JSON does; TOML alone forbids one character (DEL)."""
    return [
        f"{key} = {json.dumps(value, ensure_ascii=False)}".replace("\x7f", "\\u007f") for key, value in table.items()
    ]


def _table(values: object, name: str, known: Collection[str]) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise InvalidInput(f"{name} is a table, not {brief(values)}")
    table = dict(cast("Mapping[str, Any]", values))
    if unknown := [key for key in table if key not in known]:
        raise InvalidInput(f"unknown field {unknown[0]!r} in {name}; known: {', '.join(known)}")
    return table


def _read(kind: Any, values: object, name: str) -> Any:
    """Make one of the dataclasses above of a table."""
    given = _table(values, name, tuple(kind.__annotations__))
    for key, value in given.items():
        if key in ("ids", "documents", "cosines") and not isinstance(value, (list, tuple)):
            raise InvalidInput(f"{name}: {key} is a list, not {brief(value)}")
    try:
        return kind(**given)
    except TypeError as error:
        raise InvalidInput(f"{name} lacks a field: {error}") from error


QUESTION = "How fast does light travel in a vacuum?"
"""The text whose tokens are known."""
_PLANETS = (
    "Which planet is known as the Red Planet?",
    (
        "Venus is often called Earth's twin because of its similar size and proximity.",
        "Mars, known for its reddish appearance, is often referred to as the Red Planet.",
        "Jupiter, the largest planet in our solar system, has a prominent red spot.",
        "Saturn, famous for its rings, is sometimes mistaken for the Red Planet.",
    ),
)
_SUNSETS = (
    "A beautiful sunset over the beach",
    (
        "غروب جميل على الشاطئ",
        "海滩上美丽的日落",
        "Un beau coucher de soleil sur la plage",
        "Ein wunderschöner Sonnenuntergang am Strand",
        "Ένα όμορφο ηλιοβασίλεμα πάνω από την παραλία",
        "समुद्र तट पर एक खूबसूरत सूर्यास्त",
        "Un bellissimo tramonto sulla spiaggia",
        "浜辺に沈む美しい夕日",
        "해변 위로 아름다운 일몰",
    ),
)
TEXTS: Mapping[Task, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {task: _SUNSETS if task is Task.TEXT_MATCHING else _PLANETS for task in Task}
)
"""A query and documents for each task, of which to record similarities; those on the model cards."""
_LIGHT = (
    f"Query: {QUESTION}",
    "Document: In a vacuum, light travels 299,792,458 metres every second - a universal constant of nature.",
)


def _published(ids: tuple[tuple[int, ...], ...], **cosines: tuple[float, ...]) -> GoldenValues:
    """Put the numbers of one size to their texts."""
    similarities: dict[Task, Similarities] = {}
    for name, values in cosines.items():
        task = Task(name.replace("_", "-"))
        query, documents = TEXTS[task]
        similarities[task] = Similarities(query=query, documents=documents, cosines=values)
    query, document = ids
    asked = (document[0], *query[1:])  # a prefix is a word and a colon, each a token, and fuses with no other
    rows = zip((*_LIGHT, f"Document: {QUESTION}"), (query, document, asked), strict=True)
    return GoldenValues(tokens=tuple(TokenCount(text=t, ids=row) for t, row in rows), similarities=similarities)


PUBLISHED: Mapping[str, GoldenValues] = MappingProxyType(
    {
        "jina-embeddings-v5-text-small": _published(
            (
                (2859, 25, 2585, 4937, 1558, 3100, 5821, 304, 264, 28202, 30),
                (7524, 25, 758, 264, 28202, 11, 3100, 34192, 220, 17, 24, 24, 11, 22, 24, 17, 11, 19, 20, 23)
                + (36256, 1449, 2086, 481, 264, 20178, 6783, 315, 6993, 13),
            ),
            retrieval=(0.4860, 0.7611, 0.5914, 0.6188),
            text_matching=(0.7833, 0.8926, 0.9333, 0.9421, 0.7588, 0.9068, 0.9301, 0.8521, 0.8768),
        ),
        "jina-embeddings-v5-text-nano": _published(
            (
                (2929, 25, 2650, 5043, 1587, 3177, 5944, 304, 264, 29302, 30, 128001),
                (7676, 25, 763, 264, 29302, 11, 3177, 35292, 220, 15531, 11, 24763, 11, 21209, 37356, 1475, 2132, 482)
                + (264, 20789, 6926, 315, 7138, 13, 128001),
            ),
            retrieval=(0.5013, 0.7914, 0.6133, 0.5736),
        ),
    }
)
"""By the name of the base model: the similarities on the model cards of the merged weights (bfloat16), and the ids
that the tokenizer.json of the pinned revisions gives."""
