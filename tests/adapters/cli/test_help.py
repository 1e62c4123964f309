"""Help: quick, complete, and never with a secret in it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from jinavec_adapters.cli.app import app

Run = Callable[..., Any]


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
            stated = "[default: " in parameter.help or parameter.required or parameter.name in ("version", "dry_run")
            assert shown or stated, f"{parameter.name} does not say its default"


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_help_never_shows_a_key(run: Run, path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JINAVEC_API_KEY", "s3cret")
    assert "s3cret" not in run(*path, "--help").out


def test_version(run: Run) -> None:
    from jinavec import __version__

    assert run("--version").out == f"jinavec {__version__}\n"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from jinavec_adapters.cli import main; main(['index', '--help']);"
        " print(*sorted({'numpy', 'faiss', 'rich', 'pyarrow', 'jinavec'} & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""
    assert "--dimension" in done.stdout


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
