"""jinavec info: what an index holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from jinavec_adapters.cli.flags import AsJson, Target
from jinavec_adapters.cli.output import note, say_json, say_pairs

if TYPE_CHECKING:
    from jinavec import Engine

Verify = Annotated[
    bool, Option("--verify", help="Compare every byte with its checksum. [default: sizes and the manifest's checksum]")
]


def info(target: Target, verify: Verify = False, as_json: AsJson = False) -> None:
    """Show what an index holds.

    Its contract, how it was encoded, how many records it has, its size.

    Examples:
        jinavec info faiss:notes
        jinavec info faiss:notes --verify
    """
    from jinavec import open_engine
    from jinavec_adapters.cli.engines import require_capability

    if verify:
        require_capability(target, "verify")
    with open_engine(target) as engine:
        if verify:
            engine.verify()
            note("every checksum matches")
        values = _describe(target, engine)
    if as_json:
        say_json(values)
    else:
        if engine.settings is not None:
            values["encoder"]["profile"] = engine.settings.profile.name  # its fields are in the JSON
        say_pairs(values)


def _describe(target: str, engine: Engine) -> dict[str, Any]:
    settings = None if engine.settings is None else engine.settings.to_json()
    contract = engine.contract.sealed()
    return {"target": target, **engine.info(), "contract": contract, "encoder": settings}
