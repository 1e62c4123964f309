"""jinavec info and jinavec delete: look into an index, take records out of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from jinavec import Engine, open_engine
from jinavec.engine import find_engine
from jinavec_adapters.cli.lines import one_line
from jinavec_adapters.cli.misuse import Misuse
from jinavec_adapters.cli.output import aligned, note, say, say_json


def run_info(target: str, verify: bool, as_json: bool) -> None:
    """Print what an index holds and how it was encoded; see ``jinavec info --help``."""
    if verify and not hasattr(find_engine(target)[0], "verify"):
        raise Misuse(f"--verify: the engine of {target} keeps no checksums")
    with open_engine(target) as engine:
        if verify:
            cast("Any", engine).verify()
            note("every byte is as it was written")
        values = _describe(target, engine)
    if as_json:
        say_json(values)
    else:
        if engine.settings is not None:
            values["encoder"]["profile"] = engine.settings.profile.name  # its fields are in the JSON
        aligned([(f"{name}:", _shown(value)) for name, value in _flat(values)])


def run_delete(target: str, ids: Sequence[str]) -> None:
    """Delete records by id; see ``jinavec delete --help``."""
    with open_engine(target) as engine:
        found = {record.id for record in engine.get(ids)}
        deleted = engine.delete(ids)
    say(f"deleted {deleted} records from {target}")
    for id in dict.fromkeys(ids):
        if id not in found:
            note(f"not found: {id}")


def _describe(target: str, engine: Engine) -> dict[str, Any]:
    settings = None if engine.settings is None else engine.settings.to_json()
    contract = engine.contract.to_json() | {"digest": engine.contract.digest}
    return {"target": target, **engine.info(), "contract": contract, "encoder": settings}


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return nested values as ``outer.inner`` names; the empty ones are left out."""
    pairs: list[tuple[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            pairs += _flat(value, f"{prefix}{name}.")  # pyright: ignore[reportUnknownArgumentType]
        elif value not in (None, "", []):
            pairs.append((prefix + name, value))
    return pairs


def _shown(value: Any) -> str:
    if type(value) is int:
        return f"{value:,}"
    text = str(value)
    return one_line(text) if text == text.strip() else repr(text)  # a prefix ends with a space
