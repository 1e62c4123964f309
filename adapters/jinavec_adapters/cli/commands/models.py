"""jinavec models, jinavec models export and jinavec models golden: the catalog, and what is done with one model."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, Context, Option

from jinavec_adapters.cli import completion
from jinavec_adapters.cli.flags import AsJson, NewEncoderFlags
from jinavec_adapters.cli.output import note, say, say_json, table
from jinavec_adapters.cli.usage import UsageError, usage_errors

if TYPE_CHECKING:
    from jinavec import ModelProfile

_NON_COMMERCIAL = {"CC-BY-NC-4.0"}
_FAST_BFLOAT16 = (
    "this processor has AMX: --backend torch --backend-option precision=bfloat16 is 2.8 times as fast as float32,"
    " 7 times as fast as sentence-transformers in float32, and within .0002 of the cosines"
)
_COLUMNS = ("name", "width", "dimensions", "token limit", "tasks", "license", "backend")

ModelOrProfile = Annotated[
    str,
    Argument(
        metavar="MODEL",
        autocompletion=completion.models,
        help="A name of the catalog, or a profile FILE.toml.",
        show_default=False,
    ),
]


@dataclass(frozen=True, kw_only=True)
class ExportFlags:
    """What is exported, and where to."""

    out: Annotated[str, Option(metavar="DIR", help="The folder to write.")]
    task: Annotated[
        str | None,
        Option(
            metavar="TASK", autocompletion=completion.tasks, help="The task. [default: the model's, else retrieval]"
        ),
    ] = None
    source: Annotated[str, Option(metavar="DIR|REPO", help="Folder or hub name of the weights. [default: the hub]")] = (
        ""
    )
    revision: Annotated[str, Option(metavar="REV", help="Revision of the weights. [default: the pinned one]")] = ""
    precision: Annotated[Literal["float32", "int8"], Option(help="Precision of the exported weights.")] = "float32"


def models(context: Context, as_json: AsJson = False) -> None:
    """List the models: width, dimensions, token limit, tasks, license, what runs them.

    Examples:
        jinavec models
        jinavec models export jina-embeddings-v5-text-nano --out nano-onnx
    """
    from jinavec.models import CATALOGUE
    from jinavec.process import has_amx

    if context.invoked_subcommand is not None:
        return
    rows = [_describe(profile) for profile in CATALOGUE.values()]
    if as_json:
        for row in rows:
            say_json(row)
        return
    table(_COLUMNS, [_shown(row) for row in rows])
    say("")
    for profile in CATALOGUE.values():
        if not profile.base:
            say(f"{profile.name}: {profile.note}")
    if has_amx():
        say(_FAST_BFLOAT16)


def export_model(model: ModelOrProfile, flags: ExportFlags) -> None:
    """Export a model to the ONNX graph that the onnx backend runs, in a folder that other libraries load as well.

    Examples:
        jinavec models export jina-embeddings-v5-text-nano --out nano-onnx
    """
    from jinavec import ModelProfile
    from jinavec.backends.local.export import export_onnx
    from jinavec.models import find_model

    if model.endswith(".toml"):
        with usage_errors("MODEL"):
            profile = ModelProfile.from_toml(model)
    else:
        profile = find_model(model)
    export_onnx(
        profile,
        out=os.path.expanduser(flags.out),
        task=flags.task,
        source=flags.source,
        revision=flags.revision,
        precision=flags.precision,
    )
    say(f"exported {profile.name} to {flags.out}; use it with --backend onnx --source {flags.out}")


def golden_values(
    asked: NewEncoderFlags,
    record: Annotated[
        bool,
        Option(
            "--record",
            help="Write the similarities that this backend gives as TOML for a profile. Only of a backend that is"
            " trusted. [default: compare them with those that are right]",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare a backend with the golden values of its model, or record them.

    What is proved of model, task, prefix and pooling is said, and what cannot be. --model or --profile is needed.

    Examples:
        jinavec models golden --model jina-embeddings-v5-text-nano --backend tei --url http://localhost:3000
    """
    from jinavec_adapters.cli.encoders import choose_settings, load

    if asked.model is None and asked.profile is None:
        raise UsageError("golden needs --model NAME or --profile FILE.toml; 'jinavec models' lists the names")
    with load(choose_settings(asked)) as encoder:
        if record:
            values = encoder.record_golden()
            if as_json:
                say_json(values.to_json())
            else:
                say(values.to_toml().rstrip())
            return
        found = encoder.verify()
        for warning in found.warnings:
            note(warning)
        if as_json:
            say_json({"proved": found.proved, "unproved": dict(found.unproved), "deviation": found.deviation})
        else:
            say(str(found))


def _describe(profile: ModelProfile) -> dict[str, Any]:
    from jinavec import Task

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
    from jinavec import Task

    return [
        row["name"],
        str(row["width"]),
        " ".join(map(str, row["dimensions"])),
        "none" if row["limit"] is None else str(row["limit"]),
        "all" if len(row["tasks"]) == len(Task) else " ".join(row["tasks"]),
        row["license"] + (" (non-commercial)" if row["non_commercial"] else ""),
        " ".join(row["backends"]),
    ]
