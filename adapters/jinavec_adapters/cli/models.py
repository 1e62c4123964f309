"""jinavec models: the catalogue, and the export of weights to ONNX."""

from __future__ import annotations

from typing import Any, Literal

from jinavec import ModelProfile, Task
from jinavec.backends.local.export import export_onnx
from jinavec.models import CATALOGUE, find_model
from jinavec_adapters.cli.misuse import misuse
from jinavec_adapters.cli.output import say, say_json, table

_NON_COMMERCIAL = {"CC-BY-NC-4.0"}
_COLUMNS = ("name", "width", "dimensions", "token limit", "tasks", "licence", "backend")


def run_models(as_json: bool) -> None:
    """List the catalogue; see ``jinavec models --help``."""
    rows = [_describe(profile) for profile in CATALOGUE.values()]
    if as_json:
        for row in rows:
            say_json(row)
    else:
        table(_COLUMNS, [_shown(row) for row in rows])
        say("")
        for profile in CATALOGUE.values():
            if not profile.base:
                say(f"{profile.name}: {profile.note}")


def run_export(
    model: str, out: str, task: str | None, source: str, revision: str, precision: Literal["float32", "int8"]
) -> None:
    """Export weights to ONNX; see ``jinavec models export --help``."""
    if model.endswith(".toml"):
        with misuse("MODEL"):
            profile = ModelProfile.from_toml(model)
    else:
        profile = find_model(model)
    export_onnx(profile, out=out, task=task, source=source, revision=revision, precision=precision)
    say(f"exported {profile.name} to {out}; use it with --backend onnx --source {out}")


def _describe(profile: ModelProfile) -> dict[str, Any]:
    return {
        "name": profile.name,
        "width": profile.width,
        "dimensions": sorted(profile.dimensions),
        "limit": profile.limit,
        "tasks": [task.value for task in ([profile.task] if profile.task else Task)],
        "license": profile.license,
        "non_commercial": profile.license in _NON_COMMERCIAL,
        "backends": [profile.backend] if profile.backend else ["onnx", "torch"],
        "note": profile.note,
    }


def _shown(row: dict[str, Any]) -> list[str]:
    return [
        row["name"],
        str(row["width"]),
        " ".join(map(str, row["dimensions"])),
        "none" if row["limit"] is None else str(row["limit"]),
        "all" if len(row["tasks"]) == len(Task) else " ".join(row["tasks"]),
        row["license"] + (" (non-commercial)" if row["non_commercial"] else ""),
        " ".join(row["backends"]),
    ]
