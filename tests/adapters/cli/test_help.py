"""Help: quick, complete, and never with a secret in it."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer import Exit
from typer.main import get_command

from jinavec.backends import OllamaOptions, OnnxOptions, RemoteOptions, TorchOptions
from jinavec.options import meanings
from jinavec_adapters.cli.app import app
from jinavec_adapters.cli.help import Group
from jinavec_integrations.elasticsearch import ElasticsearchOptions
from jinavec_integrations.faiss import FaissOptions
from jinavec_integrations.qdrant import QdrantOptions

Run = Callable[..., Any]


SELF_EVIDENT = {"version", "dry_run", "install_completion", "show_completion"}


def commands() -> list[tuple[str, ...]]:
    root: Any = get_command(app)
    names: list[tuple[str, ...]] = [()]
    for name, command in root.commands.items():
        names.append((name,))
        names += [(name, inner) for inner in getattr(command, "commands", {})]
    return names


def parameters(path: tuple[str, ...]) -> list[Any]:
    command: Any = get_command(app)
    for name in path:
        command = command.commands[name]
    return list(command.params)


def test_the_commands_are_those_of_the_documentation() -> None:
    assert [" ".join(path) for path in commands()] == [
        "",
        "index",
        "search",
        "list",
        "get",
        "export",
        "encode",
        "delete",
        "info",
        "compact",
        "merge",
        "calibrate",
        "serve",
        "models",
        "models export",
        "models golden",
        "elasticsearch",
        "elasticsearch setup",
    ]


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_help_names_every_option_with_its_default(run: Run, path: tuple[str, ...]) -> None:
    outcome = run(*path, "--help")
    assert (outcome.code, outcome.err) == (0, "")
    for parameter in parameters(path):
        assert parameter.help, parameter.name
        if parameter.param_type_name == "option":
            assert parameter.opts[0] in outcome.out
            shown = parameter.show_default is True and parameter.default not in (None, "", False, [])
            stated = "[default: " in parameter.help or parameter.required or parameter.name in SELF_EVIDENT
            assert shown or stated, f"{parameter.name} does not say its default"


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_help_never_shows_a_key(run: Run, path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JINAVEC_API_KEY", "s3cret")
    assert "s3cret" not in run(*path, "--help").out


def test_version(run: Run) -> None:
    from jinavec import __version__

    assert run("--version").out == f"jinavec {__version__}\n"


@pytest.mark.parametrize(
    "command, heavy",
    [
        ("info", "numpy jinavec rich"),
        ("index", "faiss torch onnxruntime qdrant_client elasticsearch pyarrow rich"),
    ],
)
def test_help_imports_nothing_heavy(command: str, heavy: str) -> None:
    code = (
        f"import sys; from jinavec_adapters.cli import main; main(['{command}', '--help']);"
        f" print(*sorted({heavy.split()!r} & sys.modules.keys()), file=sys.stderr)".replace("[", "{").replace("]", "}")
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""
    assert "--verbose" in done.stdout


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_help_has_examples_and_reads_well_at_any_width(
    run: Run, path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    pages: list[str] = []
    for width in (200, 80, 45):
        monkeypatch.setenv("COLUMNS", str(width))
        page = run(*path, "--help").out
        assert " ".join(["jinavec", *path]) in page.partition("Examples:\n")[2].partition("\n\n")[0]
        assert max(map(len, page.splitlines())) <= min(width, 100)
        pages.append(" ".join(page.replace("\\\n", "").split()))  # without what continues a shell's line
    assert len(set(pages)) == 1  # no word is broken, none is lost


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_examples_are_commands_that_can_be_read(run: Run, path: tuple[str, ...]) -> None:
    page = run(*path, "--help").out.partition("Examples:\n")[2].partition("\n\n")[0]
    for line in page.replace("\\\n", "").splitlines():
        name, *words = shlex.split(line)
        assert name == "jinavec"
        root: Any = get_command(app)
        while isinstance(root, Group) and words:
            root, words = root.commands[words[0]], words[1:]
        with contextlib.suppress(Exit):
            root.make_context("jinavec", words)  # an unknown or missing option is an error


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_options_of_engines_and_backends_are_listed_with_their_meaning(run: Run, path: tuple[str, ...]) -> None:
    page = " ".join(run(*path, "--help").out.split())
    names = {parameter.name for parameter in parameters(path)}
    wanted: list[Any] = [FaissOptions, ElasticsearchOptions, QdrantOptions] if "option" in names else []
    wanted += [RemoteOptions, OllamaOptions, OnnxOptions, TorchOptions] if "backend_option" in names else []
    for kind in wanted:
        for name, meaning in meanings(kind).items():
            assert (f"{name} {meaning.replace('``', '')[:30]}" in page) == (name not in ("client", "async_client"))
    assert ("Engine options of faiss" in page) == ("option" in names)
    assert ("Backend options of onnx" in page) == ("backend_option" in names)
    if "target" in names or "to" in names:
        assert "faiss:DIR, elasticsearch:URL/INDEX, or qdrant:URL/COLLECTION" in page


def test_where_there_is_no_index_help_does_not_speak_of_one(run: Run) -> None:
    assert "the index's own" in run("search", "--help").out.replace("\n", " ")
    for path in (("encode",), ("models", "golden")):
        page = " ".join(run(*path, "--help").out.split())
        assert "index's own" not in page
        assert "[default: none; this or --profile is needed]" in page


def test_without_arguments_help_is_shown(run: Run) -> None:
    wanted = run("--help")
    assert wanted.code == 0 and "index" in wanted.out
    assert (run().out, run("-h").out) == (wanted.out, wanted.out)
    assert run().code == run("-h").code == run("models", "-h").code == run("elasticsearch", "setup", "-h").code == 0


def test_the_package_is_a_command_too() -> None:
    answers = [
        subprocess.run([*command, "models", "--json"], capture_output=True, text=True, timeout=60)
        for command in ([Path(sys.executable).with_name("jinavec")], [sys.executable, "-m", "jinavec"])
    ]
    assert answers[0].stdout == answers[1].stdout != ""
    assert [answer.returncode for answer in answers] == [0, 0]
