"""Manifest: the file that makes a folder an index, with the contract of its vectors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from jinavec.contract import Contract
from jinavec.errors import EngineError, IndexDamaged, InvalidInput
from jinavec.settings import EncoderSettings
from jinavec_integrations.faiss.disk import replace_file
from jinavec_integrations.faiss.plan import Effort, Plan

NAME = "manifest.json"
FORMAT = "jinavec-faiss"
VERSION = 2
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

    def write(self, folder: Path, name: str = NAME) -> None:
        """Put the manifest into a folder, in place of the one there."""
        content = {
            "format": FORMAT,
            "version": VERSION,
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
            return cls(
                Contract.from_json(content["contract"]),
                None if settings is None else EncoderSettings.from_json(settings),
                content["vectors"] == "int8",
                _whole(content["generation"]),
                Plan(**content["plan"]),
                _whole(content["counts"]["settled"]),
                _whole(content["counts"]["gone"]),
                None if effort is None else Effort(**effort),
                {str(name): int(crc) for name, crc in content["checksums"].items()},
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
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
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise IndexDamaged(f"{path} is missing") from error
    except (ValueError, RecursionError) as error:
        raise IndexDamaged(f"{path} is damaged: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise IndexDamaged(f"{path} is damaged: not a JSON object")
    return cast("dict[str, Any]", content)


def _whole(value: object) -> int:
    if type(value) is not int or value < 0:
        raise InvalidInput(f"not a count: {value!r}")
    return value


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
