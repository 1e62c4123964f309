"""Manifest: the file that makes a folder an index, with the contract of its vectors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

from jinavec.contract import Contract
from jinavec.errors import EngineError, IndexDamaged, InvalidInput, brief
from jinavec.settings import EncoderSettings
from jinavec_integrations.faiss.disk import replace_file
from jinavec_integrations.faiss.generations import FILES, named
from jinavec_integrations.faiss.options import MOST_LISTS
from jinavec_integrations.faiss.plan import Effort, Plan
from jinavec_integrations.faiss.rowfile import code_width

NAME = "manifest.json"
FORMAT = "jinavec-faiss"
VERSION = 3
_MOST = 2**62
_LARGEST = 2**24
"""Bytes; a manifest has some thousand."""
DRAFT = f"{NAME}.next"
"""The manifest of a compaction, until its generation is the one that counts."""


@dataclass(frozen=True)
class Manifest:
    """What is true of a whole index; kept as JSON with a SHA-256 of everything else in it."""

    contract: Contract
    settings: EncoderSettings | None
    """How the vectors were encoded, where known; without credentials."""
    keeps_vectors: bool = True
    """Whether there are int8 copies; else bits are all there is."""
    generation: int = 0
    """The number of compactions."""
    plan: Plan = Plan()
    settled: int = 0
    """Rows that the last compaction arranged; those added later follow them."""
    gone: int = 0
    """Row numbers that compactions removed."""
    effort: Effort | None = None
    """What calibration found."""
    checksums: Mapping[str, int] = field(default_factory=dict[str, int])
    """CRC-32 of what the last compaction wrote, by file."""
    id: str = field(default_factory=lambda: uuid4().hex)
    """Drawn when the index is made, and kept in records.sqlite too: the two belong together."""

    def write(self, folder: Path, name: str = NAME) -> None:
        """Put the manifest into a folder, in place of the one there."""
        content = {
            "format": FORMAT,
            "version": VERSION,
            "id": self.id,
            "bits": {"order": "msb", "one": "> 0"},
            "contract": self.contract.to_json(),
            "encoder": None if self.settings is None else self.settings.to_json(),
            "vectors": "int8" if self.keeps_vectors else "none",
            "generation": self.generation,
            "plan": asdict(self.plan),
            "counts": {"settled": self.settled, "gone": self.gone},
            "effort": None if self.effort is None else asdict(self.effort),
            "checksums": dict(self.checksums),
        }
        content["checksum"] = _checksum(content)
        replace_file(folder / name, json.dumps(content, indent=1).encode())

    @classmethod
    def read(cls, folder: Path, name: str = NAME) -> Manifest:
        """Read the manifest of a folder.

        Raises:
            IndexDamaged: not a manifest, or not as it was written.
            EngineError: written by a newer jinavec.
        """
        path = folder / name
        content = _parse(path)
        if content.get("format") != FORMAT:
            raise IndexDamaged(f"{folder} is not a jinavec index: {NAME} has another format")
        version = content.get("version")
        if type(version) is int and version != VERSION:
            remedy = "upgrade jinavec" if version > VERSION else "build the index again"
            raise EngineError(f"{folder} has format version {version}, this jinavec reads {VERSION}: {remedy}")
        if content.pop("checksum", None) != _checksum(content):
            raise IndexDamaged(f"{path} is damaged: its checksum does not match")
        try:
            settings, effort = content["encoder"], content["effort"]
            contract, generation = Contract.from_json(content["contract"]), _whole(content["generation"])
            code_width(contract.dimension)
            return cls(
                contract,
                None if settings is None else EncoderSettings.from_json(settings),
                {"int8": True, "none": False}[content["vectors"]],
                generation,
                _plan(**content["plan"], arranged=generation > 0),
                _whole(content["counts"]["settled"], most=_MOST if generation else 0),
                _whole(content["counts"]["gone"], most=_MOST if generation else 0),
                None if effort is None else Effort(**{name: _whole(value, 1) for name, value in effort.items()}),
                _checksums(content["checksums"], generation),
                UUID(content["id"]).hex,
            )
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise IndexDamaged(f"{path} cannot be read: {error}") from error


def read_manifest(folder: Path, generation: int) -> Manifest:
    """Read the manifest of a generation: a compaction that was killed at its very end has left it as a draft.

    Raises:
        IndexDamaged: there is none.
        EngineError: written by another version of jinavec.
    """
    manifest = Manifest.read(folder)
    if manifest.generation != generation and (folder / DRAFT).is_file():
        manifest = Manifest.read(folder, DRAFT)
    if manifest.generation != generation:
        raise IndexDamaged(f"{folder} is damaged: {NAME} and records.sqlite are of different compactions")
    return manifest


def _parse(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LARGEST:
            raise IndexDamaged(f"{path} is damaged: it is far too large")
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise IndexDamaged(f"{path} is missing") from error
    except (ValueError, RecursionError) as error:
        raise IndexDamaged(f"{path} is damaged: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise IndexDamaged(f"{path} is damaged: not a JSON object")
    return cast("dict[str, Any]", content)


def _whole(value: object, least: int = 0, most: int = _MOST) -> int:
    if type(value) is not int or not least <= value <= most:
        raise InvalidInput(f"not a count: {brief(value)}")
    return value


def _plan(lists: object, seed: object, asked: object, *, arranged: bool) -> Plan:
    return Plan(
        _whole(lists, most=MOST_LISTS if arranged else 0), _whole(seed), {True: True, False: False}[cast("bool", asked)]
    )


def _checksums(given: Mapping[str, object], generation: int) -> dict[str, int]:
    """Return the CRC-32 by file; a name of anything but a row file would be a path to who knows where."""
    known = {named(name, generation) for name in FILES}
    if not given.keys() <= known:
        raise InvalidInput(f"checksums of other files: {brief(sorted(given.keys() - known))}")
    return {name: _whole(crc) for name, crc in given.items()}


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
