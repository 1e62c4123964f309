"""Contract: what identifies a vector, and the refusal to mix two of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, cast

from jinavec.errors import ContractMismatch, InvalidInput, InvalidType, brief, warn
from jinavec.models import CATALOGUE, ModelProfile, find_model
from jinavec.tasks import Role, Task, prompt


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What made a vector. Equal contracts mean comparable vectors.

    The first seven fields are compared. The rest is recorded and reported: an index built by one runtime may be
    searched through another.

    Raises:
        InvalidInput: a field of the wrong kind, or a dimension below 1.

    Attributes:
        model: The base model: a merged name is its base plus the task.
        task: What the vectors are for.
        query_prefix: What stands before each query; empty for none.
        document_prefix: What stands before each document; empty for none.
        dimension: Components of a vector.
        normalized: Whether vectors have unit length.
        pooling: How token vectors became one. Empty where nobody said, as in contracts of before, which go with every
            pooling; of a model of the catalog it is known all the same.
        source: Where the weights came from, in this process: a hub name or a folder; where known.
        precision: Arithmetic of the weights: float32, bfloat16, int8 …
        revision: Revision of the weights, where known.
        backend: What ran the model, where known.
        host: Where a remote backend runs, without credentials.
    """

    model: str
    task: Task
    query_prefix: str
    document_prefix: str
    dimension: int
    normalized: bool = True
    pooling: str = ""
    source: str = field(default="", compare=False)
    precision: str = field(default="float32", compare=False)
    revision: str = field(default="", compare=False)
    backend: str = field(default="", compare=False)
    host: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "task", Task(self.task))  # a plain string is taken too
        for name, kind in _KINDS.items():
            value = getattr(self, name)
            if type(value) is not kind:
                raise InvalidInput(f"contract: {name} must be {kind.__name__}, not {brief(value)}")
        if self.dimension < 1:
            raise InvalidInput(f"contract: dimension must be at least 1, not {self.dimension}")
        if not self.pooling:
            object.__setattr__(self, "pooling", _known_pooling(self.model))

    @classmethod
    def of(cls, model: str | ModelProfile, task: Task | str | None = None, dimension: int | None = None) -> Contract:
        """Return the contract of vectors made elsewhere, with the defaults of ``Encoder.load``.

        Raises:
            UnknownModel: the model is not in the catalogue.
            UnknownTask: the task does not exist, or the weights serve another one.
            InvalidDimension: the model does not offer the dimension.
        """
        profile = find_model(model)
        task = profile.check_task(task)
        return cls(
            model=profile.base or profile.name,
            task=task,
            query_prefix=prompt(task, Role.QUERY, profile),
            document_prefix=prompt(task, Role.DOCUMENT, profile),
            dimension=profile.check_dimension(dimension),
            pooling=profile.pooling,
        )

    @property
    def digest(self) -> str:
        """Sixteen hex digits that are equal exactly when the contracts are."""
        compared = {name: getattr(self, name) for name in _COMPARED}
        if self.pooling == _known_pooling(self.model):  # digests that were stored before it was compared stay right
            del compared["pooling"]
        return hashlib.sha256(json.dumps(compared, sort_keys=True).encode()).hexdigest()[:16]

    def check(self, other: Contract, *, ours: str = "this index", theirs: str = "the encoder") -> None:
        """Refuse vectors of another contract.

        Raises:
            ContractMismatch: each differing field of both sides.
            InvalidType: the other side is no contract.

        Warns:
            JinavecWarning: the same contract, but another revision or source of the weights.
        """
        if not isinstance(other, Contract):
            raise InvalidType(f"a Contract is needed, not {type(other).__name__}")
        differing = [name for name in _COMPARED if getattr(self, name) != getattr(other, name)]
        if "pooling" in differing and not (self.pooling and other.pooling):
            differing.remove("pooling")
        if differing:
            lines = "; ".join(
                f"{name}: {ours} has {_show(getattr(self, name))}, {theirs} has {_show(getattr(other, name))}"
                for name in differing
            )
            raise ContractMismatch(f"cannot mix vectors from different contracts ({lines})")
        if self.revision and other.revision and self.revision != other.revision:
            warn(f"{ours} was made with revision {self.revision} of {self.model}, {theirs} uses {other.revision}")
        elif self.source and other.source and self.backend == other.backend and self.source != other.source:
            warn(f"{ours} was made with the weights in {self.source}, {theirs} uses those in {other.source}")

    def to_json(self) -> dict[str, Any]:
        """Return the contract as plain JSON values."""
        return asdict(self) | {"task": self.task.value}

    def joined_by(self, other: Contract) -> Contract:
        """Return the contract of an index that vectors of another one were added to: it records both precisions."""
        precisions = dict.fromkeys([*self.precision.split(", "), *other.precision.split(", ")])
        return replace(self, precision=", ".join(precisions))

    def sealed(self) -> dict[str, Any]:
        """Return ``to_json`` with the digest, for places that anybody can edit: ``from_json`` refuses what was."""
        return self.to_json() | {"digest": self.digest}

    @classmethod
    def from_json(cls, values: object) -> Contract:
        """Read a contract back; fields of newer versions that it does not know are refused.

        Raises:
            InvalidInput: not a contract, or a sealed one that was changed.
        """
        if not isinstance(values, dict):
            raise InvalidInput(f"not a contract: {brief(values)}")
        given = dict(cast("dict[str, Any]", values))
        digest = given.pop("digest", None)
        if missing := [name for name in _COMPARED if name not in given and name != "pooling"]:
            raise InvalidInput(f"not a contract: it has no field {missing[0]!r}")
        if unknown := [name for name in given if name not in _KINDS]:
            raise InvalidInput(f"not a contract this version knows: field {unknown[0]!r}")
        read = cls(**given)
        if digest not in (None, read.digest):
            raise InvalidInput(
                f"a contract that was edited: its digest is {brief(digest)}, and its fields have {read.digest!r}"
            )
        return read


def _known_pooling(model: str) -> str:
    return CATALOGUE[model].pooling if model in CATALOGUE else ""


_COMPARED = tuple(f.name for f in fields(Contract) if f.compare)
_KINDS: dict[str, type] = {
    f.name: {"str": str, "Task": Task, "int": int, "bool": bool}[str(f.type)] for f in fields(Contract)
}


def _show(value: object) -> str:
    return repr(str(value)) if isinstance(value, str) else repr(value)
