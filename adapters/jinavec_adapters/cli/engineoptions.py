"""The options of an engine, from repeated flags."""

from __future__ import annotations

from collections.abc import Sequence

from jinavec.engine import find_engine
from jinavec.options import read_options
from jinavec_adapters.cli.misuse import Misuse, misuse, read_pairs


def engine_options(target: str, pairs: Sequence[str]) -> object:
    """Read ``name=value`` flags into the options of a target's engine; None where there are none.

    Raises:
        Misuse: an option the engine does not have, or a value it does not take.
    """
    kind: type[object] | None = find_engine(target)[0].options_type
    values = read_pairs("--option", pairs)
    if kind is None:
        if values:
            raise Misuse(f"--option: the engine of {target} has no options")
        return None
    with misuse("--option"):
        return read_options(kind, values) if values else None
