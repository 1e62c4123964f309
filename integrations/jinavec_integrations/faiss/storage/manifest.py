"""Manifest: the file that makes a folder an index, with the contract of its vectors."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, cast
from uuid import UUID, uuid4

from jinavec.contract import Contract
from jinavec.errors import EngineError, IndexDamaged, InvalidInput, brief
from jinavec.settings import EncoderSettings
from jinavec_integrations.faiss.parameters import MOST_LISTS, Plan, SearchParameters
from jinavec_integrations.faiss.storage.folder import GENERATION_FILES, MANIFEST, Folder, generation_name
from jinavec_integrations.faiss.storage.rowfile import code_width

FORMAT = "jinavec-faiss"
VERSION = 4
_BITS = {"order": "msb", "one": "> 0"}
_MOST = 2**62
_LARGEST = 2**24
"""Bytes; a manifest has some thousand."""
DRAFT = f"{MANIFEST}.next"
"""The manifest of a compaction, until its generation is the one that counts."""
_PARAMETERS = "search_parameters"
"""The member that calibration writes; an older writer may leave it as it is."""


@dataclass(frozen=True)
class Manifest:
    """What is true of a whole index; kept as JSON with a SHA-256 of everything else in it. See FORMAT.md."""

    contract: Contract
    settings: EncoderSettings | None
    """How the vectors were encoded, where known; without credentials."""
    keeps_vectors: bool = True
    """Whether there are int8 vectors; else bits are all there is."""
    generation: int = 0
    """The number of compactions."""
    plan: Plan = Plan()
    compacted: int = 0
    """Rows that the last compaction arranged; those added later follow them."""
    purged: int = 0
    """Docids that compactions removed."""
    parameters: SearchParameters | None = None
    """What calibration found."""
    checksums: Mapping[str, int] = field(default_factory=dict[str, int])
    """CRC-32 of what the last compaction wrote, by file."""
    id: str = field(default_factory=lambda: uuid4().hex)
    """Drawn when the index is made, and kept in records.sqlite too: the two belong together."""
    version: int = VERSION
    unknown: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    """Members that a later jinavec wrote; they are kept as they are."""

    def write(self, folder: Folder, name: str = MANIFEST) -> None:
        """Put the manifest into a folder, in place of the one there."""
        members = dict(self.unknown)
        if self.parameters is not None:
            members[_PARAMETERS] = {"writers": "may ignore", "value": asdict(self.parameters)}
        content = {
            "format": FORMAT,
            "version": VERSION,
            "id": self.id,
            "bits": _BITS,
            "contract": self.contract.to_json(),
            "encoder": None if self.settings is None else self.settings.to_json(),
            "vectors": "int8" if self.keeps_vectors else "none",
            "generation": self.generation,
            "plan": asdict(self.plan),
            "counts": {"compacted": self.compacted, "purged": self.purged},
            "checksums": dict(self.checksums),
            "members": members,
        }
        content["checksum"] = _checksum(content)
        folder.replace_file(name, json.dumps(content, indent=1).encode())

    @classmethod
    def read(cls, folder: Folder, name: str = MANIFEST) -> Manifest:
        """Read the manifest of a folder; version 3 too, which jinavec 0.1 wrote.

        Raises:
            IndexDamaged: not a manifest, or not as it was written.
            EngineError: written by a newer jinavec.
        """
        path = folder.path / name
        content = _parse(folder, name)
        if content.get("format") != FORMAT:
            raise IndexDamaged(f"{folder} is not a jinavec index: {MANIFEST} has another format")
        version = content.get("version")
        if type(version) is int and version not in (3, VERSION):
            remedy = "upgrade jinavec" if version > VERSION else "build the index again"
            raise EngineError(f"{folder} has format version {version}, this jinavec reads 3 and {VERSION}: {remedy}")
        if content.pop("checksum", None) != _checksum(content):
            raise IndexDamaged(f"{path} is damaged: its checksum does not match")
        try:
            return _read_content(content if version == VERSION else _from_version_3(content))
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise IndexDamaged(f"{path} cannot be read: {error}") from error

    def check_writable(self, folder: Folder) -> None:
        """Make sure that this jinavec knows how to write the index.

        Raises:
            EngineError: it has a member that a writer must know, and this jinavec does not.
        """
        if names := [name for name, member in self.unknown.items() if member.get("writers") != "may ignore"]:
            raise EngineError(f"{folder} has {', '.join(names)}, which this jinavec cannot keep up to date: upgrade it")


def read_manifest(folder: Folder, generation: int) -> Manifest:
    """Read the manifest of a generation: a compaction that was killed at its very end has left it as a draft.

    Raises:
        IndexDamaged: there is none.
        EngineError: written by another version of jinavec.
    """
    manifest = Manifest.read(folder)
    if manifest.generation != generation and folder.stat(DRAFT) is not None:
        manifest = Manifest.read(folder, DRAFT)
    if manifest.generation != generation:
        raise IndexDamaged(f"{folder} is damaged: {MANIFEST} and records.sqlite are of different compactions")
    return manifest


def _from_version_3(content: dict[str, Any]) -> dict[str, Any]:
    """Return what version 4 says of an index of version 3: the files are the same, the manifest has other names."""
    plan, counts, effort = dict(content["plan"]), content["counts"], content["effort"]
    members: dict[str, Any] = {}
    if effort is not None:
        names = {"probes": "nprobe", "candidates": "candidates", "rows": "rescore"}
        members[_PARAMETERS] = {"writers": "may ignore", "value": {names[name]: n for name, n in effort.items()}}
    return content | {
        "plan": {"nlist": plan.pop("lists"), **plan},
        "counts": {"compacted": counts["settled"], "purged": counts["gone"]},
        "members": members,
    }


def _read_content(content: dict[str, Any]) -> Manifest:
    settings, members = content["encoder"], {**content["members"]}
    if content["bits"] != _BITS:
        raise InvalidInput(f"bits of another kind: {brief(content['bits'])}")
    contract, generation = Contract.from_json(content["contract"]), _whole(content["generation"])
    code_width(contract.dimension)
    most = _MOST if generation else 0  # before the first compaction there is nothing that one could have arranged
    parameters = members.pop(_PARAMETERS, None)
    if not all(isinstance(member, dict) for member in members.values()):
        raise InvalidInput("a member is not an object")
    return Manifest(
        contract,
        None if settings is None else EncoderSettings.from_json(settings),
        {"int8": True, "none": False}[content["vectors"]],
        generation,
        _plan(**content["plan"], arranged=generation > 0),
        _whole(content["counts"]["compacted"], most=most),
        _whole(content["counts"]["purged"], most=most),
        None if parameters is None else _parameters(parameters["value"]),
        _checksums(content["checksums"], generation),
        UUID(content["id"]).hex,
        content["version"],
        members,
    )


def _parameters(values: Mapping[str, object]) -> SearchParameters:
    return SearchParameters(**{name: _whole(value, 1) for name, value in values.items()})


def _parse(folder: Folder, name: str) -> dict[str, Any]:
    path, found = folder.path / name, folder.stat(name)
    if found is None or not stat.S_ISREG(found.st_mode):
        raise IndexDamaged(f"{path} is missing")
    if found.st_size > _LARGEST:
        raise IndexDamaged(f"{path} is damaged: it is far too large")
    with folder.open(name) as file:
        text = file.readall()
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise IndexDamaged(f"{path} is damaged: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise IndexDamaged(f"{path} is damaged: not a JSON object")
    return cast("dict[str, Any]", content)


def _whole(value: object, least: int = 0, most: int = _MOST) -> int:
    if type(value) is not int or not least <= value <= most:
        raise InvalidInput(f"not a count: {brief(value)}")
    return value


def _plan(nlist: object, seed: object, asked: object, *, arranged: bool) -> Plan:
    return Plan(
        _whole(nlist, most=MOST_LISTS if arranged else 0), _whole(seed), {True: True, False: False}[cast("bool", asked)]
    )


def _checksums(given: Mapping[str, object], generation: int) -> dict[str, int]:
    """Return the CRC-32 by file; a name of anything but a row file would be a path to who knows where."""
    known = {generation_name(name, generation) for name in GENERATION_FILES}
    if not given.keys() <= known:
        raise InvalidInput(f"checksums of other files: {brief(sorted(given.keys() - known))}")
    return {name: _whole(crc) for name, crc in given.items()}


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
