"""The options of each engine and backend, for help pages: read from the dataclasses that hold them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from jinavec import plugins
from jinavec.encoder import BACKENDS
from jinavec.options import meanings
from jinavec.targets import ENGINES

Table = tuple[str, list[tuple[str, str]]]


def engine_tables() -> list[Table]:
    """Return, for each engine, a heading and its options with their meaning."""
    kinds = _kinds(plugins.ENGINES, ENGINES)
    return [(f"Engine options of {name} (--option)", _rows(kind)) for name, kind in kinds.items()]


def backend_tables() -> list[Table]:
    """Return, for the backends of each kind, a heading and their options; those of a special kind once more are not."""
    named: dict[type, list[str]] = {}
    for name, kind in _kinds(plugins.BACKENDS, BACKENDS).items():
        named.setdefault(kind, []).append(name)
    tables: list[Table] = []
    for kind in sorted(named, key=lambda kind: len(kind.__mro__)):
        parent = next((base for base in kind.__mro__[1:] if base in named), None)
        also = f", beside those of {', '.join(named[parent])}" if parent else ""
        rows = _rows(kind, () if parent is None else {field.name for field in fields(parent)})
        tables.append((f"Backend options of {', '.join(named[kind])}{also} (--backend-option)", rows))
    return tables


def _kinds(group: str, built_in: Mapping[str, str]) -> dict[str, Any]:
    """Return the options of each engine or backend that has any; what cannot be imported has none to show."""
    kinds: dict[str, Any] = {}
    for name in plugins.names(group, built_in):
        try:
            kinds[name] = getattr(plugins.find(group, name, built_in), "options_type", None)
        except ImportError:
            continue
    return {name: kind for name, kind in kinds.items() if kind is not None}


def _rows(kind: Any, without: Iterable[str] = ()) -> list[tuple[str, str]]:
    hints, meaning = get_type_hints(kind), meanings(kind)
    return [
        (field.name, f"{meaning.get(field.name, '').replace('``', '')} {_values(field, hints[field.name])}")
        for field in fields(kind)
        if hints[field.name] is not object and field.name not in without  # a client cannot be typed
    ]


def _values(field: Field[Any], hint: Any) -> str:
    """Return the values that an option takes where they are few, and the default where it is a value."""
    choices = [choice for part in (hint, *get_args(hint)) if get_origin(part) is Literal for choice in get_args(part)]
    said = [", ".join(map(str, choices))] if choices else []
    if field.default not in (MISSING, None, ""):
        default = field.default
        said.append(f"default: {default if isinstance(default, str) else json.dumps(default)}")
    return f"[{'; '.join(said)}]" if said else ""
