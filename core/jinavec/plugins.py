"""Plugins: classes found by name, among our own and the entry points of other distributions."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from jinavec.errors import InvalidInput

ENGINES = "jinavec.engines"
"""Entry points of engines: the scheme of their targets, and a subclass of ``Engine``."""
BACKENDS = "jinavec.backends"
"""Entry points of backends: their name, and a subclass of ``Backend`` with ``load(settings, api_key)``."""


def names(group: str, built_in: Mapping[str, str]) -> list[str]:
    """Return every name there is: the built-in ones, then those of other distributions."""
    from importlib.metadata import entry_points  # here: a built-in name does not need it

    return list(dict.fromkeys([*built_in, *sorted(entry_points(group=group).names)]))


def find(group: str, name: str, built_in: Mapping[str, str]) -> Any:
    """Import what a name stands for; a built-in name cannot be taken by another distribution.

    Args:
        group: of entry points.
        name: of the class.
        built_in: our own classes by name, as ``module:Class``.

    Raises:
        KeyError: no such name.
        InvalidInput: two distributions offer it.
    """
    if name in built_in:
        module, attribute = built_in[name].split(":")
        return getattr(import_module(module), attribute)
    from importlib.metadata import entry_points

    found = {point.value: point for point in entry_points(group=group, name=name)}
    if not found:
        raise KeyError(name)
    if len(found) > 1:
        offers = ", ".join(sorted(f"{point.value} of {_distribution(point)}" for point in found.values()))
        raise InvalidInput(f"{name!r} is offered by more than one distribution ({offers}): uninstall one of them")
    return next(iter(found.values())).load()


def _distribution(point: Any) -> str:
    return point.dist.name if point.dist is not None else "an unknown distribution"
