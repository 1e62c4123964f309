"""jinavec serve: one HTTP server, many protocols."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from jinavec_adapters.cli.misuse import Misuse, misuse, read_pairs
from jinavec_adapters.cli.output import say


def run_serve(
    names: Sequence[str],
    how: Mapping[str, Any],
    flags: Mapping[str, Any],
    more: Sequence[str],
    config: str | None,
    check: bool,
) -> None:
    """Serve models; see ``jinavec serve --help``.

    Args:
        names: the models.
        how: fields that hold for each of them.
        flags: settings of the server; None and False mean: not said.
        more: further settings, ``NAME=VALUE``.
        config: a TOML file.
        check: whether to print the settings and leave.
    """
    from jinavec_adapters.server import ServerSettings, serve

    said = {name: value for name, value in flags.items() if value is not None and value is not False}
    said |= read_pairs("--set", more)
    how = {name: value for name, value in how.items() if value}
    if names:
        said["models"] = [{"name": name, **how} for name in names]
    elif how:
        raise Misuse(f"--{next(iter(how))} is about the models that --model names")
    with misuse():
        settings = ServerSettings.read(config, **said)
    if check:
        say(json.dumps(settings.effective(), indent=2))
    else:
        serve(settings)
