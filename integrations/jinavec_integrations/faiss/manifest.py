"""Manifest: the file that makes a folder an index, with the contract of its vectors."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from jinavec.contract import Contract
from jinavec.errors import EngineError, IndexDamaged, InvalidInput
from jinavec.settings import EncoderSettings
from jinavec_integrations.faiss.disk import replace_file

NAME = "manifest.json"
FORMAT = "jinavec-faiss"
VERSION = 1


@dataclass(frozen=True)
class Manifest:
    """What is true of a whole index; kept as JSON with a SHA-256 of everything else in it."""

    contract: Contract
    settings: EncoderSettings | None
    """How the vectors were encoded, where known; without credentials."""

    def write(self, folder: Path) -> None:
        """Put the manifest into a folder, in place of the one there."""
        content = {
            "format": FORMAT,
            "version": VERSION,
            "bits": {"order": "msb", "one": "> 0"},
            "contract": self.contract.to_json(),
            "encoder": None if self.settings is None else self.settings.to_json(),
        }
        content["checksum"] = _checksum(content)
        replace_file(folder / NAME, json.dumps(content, indent=1).encode())

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of a folder.

        Raises:
            IndexDamaged: not a manifest, or not as it was written.
            EngineError: written by a newer jinavec.
        """
        path = folder / NAME
        content = _parse(path)
        if content.get("format") != FORMAT:
            raise IndexDamaged(f"{folder} is not a jinavec index: {NAME} has another format")
        version = content.get("version")
        if type(version) is int and version > VERSION:
            raise EngineError(
                f"{folder} has format version {version}, this jinavec reads up to {VERSION}: upgrade jinavec"
            )
        if content.pop("checksum", None) != _checksum(content):
            raise IndexDamaged(f"{path} is damaged: its checksum does not match")
        try:
            settings = content["encoder"]
            return cls(
                Contract.from_json(content["contract"]),
                None if settings is None else EncoderSettings.from_json(settings),
            )
        except (KeyError, InvalidInput) as error:
            raise IndexDamaged(f"{path} cannot be read: {error}") from error


def _parse(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise IndexDamaged(f"{path} is damaged: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise IndexDamaged(f"{path} is damaged: not a JSON object")
    return cast("dict[str, Any]", content)


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
