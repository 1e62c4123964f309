"""What flags say about an engine: its options, and abilities that not every engine has."""

from __future__ import annotations

from collections.abc import Sequence

from jinavec.engine import Capability
from jinavec.options import read_options
from jinavec.targets import find_engine
from jinavec_adapters.cli.usage import UsageError, read_pairs, usage_errors


def engine_options(target: str, pairs: Sequence[str]) -> object:
    """Read ``name=value`` flags into the options of a target's engine; None where there are none.

    Raises:
        UsageError: an option the engine does not have, or a value it does not take.
    """
    kind: type[object] | None = find_engine(target)[0].options_type
    values = read_pairs("--option", pairs)
    if not values:
        return None
    if kind is None:
        raise UsageError(f"--option: the engine of {target} has no options")
    with usage_errors("--option"):
        return read_options(kind, values)


def require_capability(target: str, capability: Capability) -> None:
    """Refuse a target whose engine does not have an ability, before anything is opened.

    Raises:
        UsageError: it does not have it.
    """
    engine = find_engine(target)[0]
    if capability not in engine.capabilities:
        raise UsageError(f"the {engine.name} engine does not support {capability.replace('_', ' ')}")
