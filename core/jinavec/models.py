"""ModelProfile: what is true of a model whoever runs it; and the catalogue of known models."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from jinavec.errors import InvalidDimension, InvalidInput, UnknownModel, UnknownTask, brief
from jinavec.golden import PUBLISHED, GoldenValues
from jinavec.limits import read_toml
from jinavec.tasks import V5_PROMPTS, Role, Task

POOLINGS = ("last", "mean", "cls")
NORMALIZERS = ("", "NFC", "NFD", "NFKC", "NFKD")


@dataclass(frozen=True, kw_only=True)
class ModelProfile:
    """Everything that is true of a model whoever runs it.

    Raises:
        InvalidInput: a field has a value no model can have.

    Attributes:
        name: The name users type and contracts carry.
        width: Components of a vector as the model gives it.
        dimensions: Widths the vectors may be cut to (Matryoshka); the full width alone by default.
        prompts: The prefix per (task, role), exact bytes; a missing pair has none.
        pooling: How token vectors become one: last (the last real token), mean, or cls.
        limit: The most tokens the model reads, prefix and special tokens included; None knows no limit.
        appended: Ids of the special tokens the tokenizer must append; None does not check.
        normalizer: The Unicode form the tokenizer brings a text into before it splits it: NFC, NFD, NFKC, NFKD, or
            empty for none. Not every server does (llama.cpp and Ollama do not), so texts for servers are brought into
            it here.
        source: Hub repository of the weights; ``{task}`` stands for the task's name.
        revisions: Pinned revision per hub repository.
        backend: The backend that runs this model by default; empty lets the installed libraries decide.
        task: The one task these weights serve, when an adapter is merged into them.
        base: The model this one is a merged form of, whose name its contracts carry; empty if it is its own.
        golden: What the weights are known to give, by which a server is judged on first use; by default the values that
            are published for a model of this name.
        license: SPDX name of the license of the weights.
        note: One line for a reader of the catalog.
    """

    name: str
    width: int
    dimensions: tuple[int, ...] = ()
    prompts: Mapping[tuple[Task, Role], str] = field(default_factory=dict[tuple[Task, Role], str])
    pooling: str = "mean"
    limit: int | None = None
    appended: tuple[int, ...] | None = None
    normalizer: str = ""
    source: str = ""
    revisions: Mapping[str, str] = field(default_factory=dict[str, str])
    backend: str = ""
    task: Task | None = None
    base: str = ""
    golden: GoldenValues | None = None
    license: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        self._check_kinds()
        set_field = object.__setattr__  # frozen: the canonical forms below are set once, here
        set_field(self, "dimensions", tuple(sorted(set(self.dimensions) or {self.width}, reverse=True)))
        set_field(self, "prompts", MappingProxyType(_prompts(self.prompts)))
        set_field(self, "revisions", MappingProxyType(dict(self.revisions)))
        set_field(self, "appended", None if self.appended is None else tuple(self.appended))
        set_field(self, "task", None if self.task is None else Task(self.task))
        set_field(self, "golden", self._published if self.golden is None else self.golden)
        self._check_values()

    def _check_kinds(self) -> None:
        for name, (kind, words) in _KINDS.items():
            value = getattr(self, name)
            if not isinstance(value, kind) or (isinstance(value, str) and kind is not str):
                raise InvalidInput(f"model {self.name!r}: {name} must be {words}, not {brief(value)}")
        numbers = [("width", self.width, 1), *(("dimension", d, 1) for d in self.dimensions)]
        numbers += [("limit", self.limit, 1)] if self.limit is not None else []
        numbers += [("appended id", token, 0) for token in self.appended or ()]
        for label, number, least in numbers:
            if type(number) is not int or number < least:
                raise InvalidInput(
                    f"model {self.name!r}: {label} must be a whole number of at least {least}, not {brief(number)}"
                )

    def _check_values(self) -> None:
        if not self.name:
            raise InvalidInput("a model profile needs a name")
        for repository, revision in self.revisions.items():
            if not isinstance(revision, str):
                raise InvalidInput(
                    f"model {self.name!r}: the revision of {repository} must be a text, not {revision!r}"
                )
        if self.dimensions[0] > self.width:
            raise InvalidInput(f"model {self.name!r}: dimension {self.dimensions[0]} exceeds the width {self.width}")
        if self.pooling not in POOLINGS:
            raise InvalidInput(f"model {self.name!r}: pooling {brief(self.pooling)} is none of: {', '.join(POOLINGS)}")
        if self.normalizer not in NORMALIZERS:
            known = ", ".join(filter(None, NORMALIZERS))
            raise InvalidInput(f"model {self.name!r}: normalizer {brief(self.normalizer)} is none of: {known}")

    @property
    def _published(self) -> GoldenValues | None:
        return PUBLISHED.get(self.base or self.name)

    def __hash__(self) -> int:
        return hash((self.name, self.width, self.dimensions, self.task))

    def __reduce__(self) -> tuple[Any, ...]:
        return ModelProfile.from_json, (self.to_json(),)  # the read-only tables inside cannot be copied as they are

    def check_dimension(self, dimension: int | None) -> int:
        """Return the dimension to use: the full width for None, else the one given if the model offers it.

        Raises:
            InvalidDimension: the model was not trained for it.
        """
        if dimension is None:
            return self.width
        if isinstance(dimension, bool) or dimension not in self.dimensions:
            offered = ", ".join(map(str, sorted(self.dimensions)))
            raise InvalidDimension(f"{self.name} has no dimension {dimension!r}; it offers: {offered}")
        return int(dimension)

    def check_task(self, task: Task | str | None) -> Task:
        """Return the task to use: the merged one, else the one given, else retrieval.

        Raises:
            UnknownTask: no such task, or the weights serve another one only.
        """
        asked = None if task is None else Task(task)
        if self.task is not None and asked not in (None, self.task):
            instead = f"; for {asked} use {self.base}" if self.base else ""
            raise UnknownTask(f"{self.name} serves the task {self.task.value!r} only{instead}")
        return self.task or asked or Task.RETRIEVAL

    def repository(self, task: Task) -> str:
        """Return the hub repository that holds the weights for a task; empty when there is none."""
        return self.source.replace("{task}", task.value)

    def to_json(self) -> dict[str, Any]:
        """Return the profile as plain JSON values; ``from_json`` reads it back."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        prompts: dict[str, dict[str, str]] = {}
        for (task, role), prefix in self.prompts.items():
            prompts.setdefault(task.value, {})[role.value] = prefix
        values |= {
            "dimensions": list(self.dimensions),
            "prompts": prompts,
            "appended": None if self.appended is None else list(self.appended),
            "revisions": dict(self.revisions),
            "task": None if self.task is None else self.task.value,
        }
        del values["golden"]
        if self.golden is not None and self.golden != self._published:
            values["golden"] = self.golden.to_json()
        return {name: value for name, value in values.items() if value not in (None, "", {}) or name == "golden"}

    @classmethod
    def from_json(cls, values: object) -> ModelProfile:
        """Read a profile from JSON or TOML values: ``prompts`` is a table per task of a text per role.

        Raises:
            InvalidInput: a field is unknown, missing or of the wrong kind.
        """
        if not isinstance(values, dict):
            raise InvalidInput(f"a model profile is a table of fields, not {brief(values)}")
        given = cast("dict[str, Any]", values)
        known = {f.name for f in dataclasses.fields(cls)}
        if unknown := sorted(given.keys() - known):
            raise InvalidInput(f"unknown field {unknown[0]!r} in a model profile; known: {', '.join(sorted(known))}")
        if missing := sorted({"name", "width"} - given.keys()):
            raise InvalidInput(f"a model profile needs the field {missing[0]!r}")
        tables = cast("dict[str, dict[str, Any]]", given.get("prompts", {}))
        if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
            raise InvalidInput(f"model {given['name']!r}: prompts are [prompts.TASK] tables of ROLE = text")
        prompts: Any = {(task, role): text for task, table in tables.items() for role, text in table.items()}
        golden: Any = GoldenValues.from_json(given["golden"]) if "golden" in given else None
        return cls(**given | {"prompts": prompts, "golden": golden})

    @classmethod
    def from_toml(cls, path: str | Path) -> ModelProfile:
        """Read a profile from a TOML file.

        Raises:
            InvalidInput: the file cannot be read, is not TOML, is too large, or is no profile.
        """
        try:
            return cls.from_json(read_toml(path))
        except (OSError, ValueError) as error:
            raise InvalidInput(f"cannot read the model profile {str(path)!r}: {error}") from error


_KINDS: dict[str, tuple[Any, str]] = {
    **dict.fromkeys(("name", "pooling", "normalizer", "source", "backend", "base", "license", "note"), (str, "a text")),
    **dict.fromkeys(("prompts", "revisions"), (Mapping, "a table")),
    "dimensions": (Collection, "a list of numbers"),
    "appended": ((Collection, type(None)), "a list of numbers"),
    "golden": ((GoldenValues, type(None)), "golden values"),
}


def find_model(model: str | ModelProfile) -> ModelProfile:
    """Return the profile of a catalogue name, with or without ``jinaai/``; a profile is returned as it is.

    Raises:
        UnknownModel: the name is not in the catalogue.
    """
    if isinstance(model, ModelProfile):
        return model
    profile = CATALOGUE.get(str(model).removeprefix("jinaai/"))
    if profile is None:
        raise UnknownModel(
            f"unknown model {brief(model)}; known: {', '.join(CATALOGUE)}; for any other model give a ModelProfile"
            " (--profile FILE.toml on the command line)"
        )
    return profile


def _prompts(prompts: Mapping[Any, Any]) -> dict[tuple[Task, Role], str]:
    table: dict[tuple[Task, Role], str] = {}
    for key, prefix in prompts.items():
        try:
            task, role = key
        except (TypeError, ValueError) as error:
            raise InvalidInput(f"prompts are keyed by (task, role), not {brief(key)}") from error
        if not isinstance(prefix, str):
            raise InvalidInput(f"the prompt of {task}, {role} must be a text, not {brief(prefix)}")
        table[Task(task), Role(role)] = prefix
    return table


def _v5(size: str, width: int, limit: int, appended: tuple[int, ...], revisions: dict[str, str]) -> list[ModelProfile]:
    name = f"jina-embeddings-v5-text-{size}"
    base = ModelProfile(
        name=name,
        width=width,
        dimensions=tuple(d for d in (32, 64, 128, 256, 512, 768, 1024) if d <= width),
        prompts=V5_PROMPTS,
        pooling="last",
        limit=limit,
        appended=appended,
        normalizer="NFC" if size == "small" else "",
        source=f"jinaai/{name}-{{task}}",
        revisions=revisions,
        license="CC-BY-NC-4.0",
        note="four tasks; weights for non-commercial use",
    )
    merged = [
        dataclasses.replace(base, name=f"{name}-{task}", task=task, base=name, note=f"{name} for {task} alone")
        for task in Task
    ]
    return [base, *merged]


_PROFILES = [
    ModelProfile(
        name="lexical",
        width=768,
        dimensions=(64, 128, 256, 512, 768),
        backend="lexical",
        license="Apache-2.0",
        note="built in: hashed words and character n-grams; matches wording, not meaning",
    ),
    ModelProfile(
        name="wordllama-256",
        width=256,
        dimensions=(64, 128, 256),
        backend="static",
        license="MIT",
        note="small static English model in the wordllama package; no torch, no download",
    ),
    *_v5(
        "small",
        1024,
        32768,
        (),
        {"jinaai/jina-embeddings-v5-text-small": "dd76d535f5447ca3897a9c893fb1e612ead98192"},
    ),
    *_v5(
        "nano",
        768,
        8192,
        (128001,),
        {
            "jinaai/jina-embeddings-v5-text-nano": "8a7f00aac812071b69403df470f1038ec85f8925",
            "jinaai/jina-embeddings-v5-text-nano-retrieval": "ac5d898c8d382b17167c33e5c8af644a3519b47d",
        },
    ),
]

CATALOGUE: Mapping[str, ModelProfile] = MappingProxyType({profile.name: profile for profile in _PROFILES})
"""The known models by name."""
