"""Exit codes, error lines, warnings: what a user sees when something is wrong."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from jinavec import JinavecWarning

Run = Callable[..., Any]
WriteJsonl = Callable[[str, Sequence[object]], Path]

MISUSES: list[tuple[tuple[str, ...], str]] = [
    (("fetch",), "No such command 'fetch'"),
    (("index",), "Missing argument 'SOURCE'"),
    (("index", "a.jsonl"), "Missing option '--to'"),
    (("index", "a.jsonl", "--to", "faiss:i", "--frobnicate"), "No such option: --frobnicate"),
    (
        ("index", "a.jsonl", "--to", "i"),
        "cannot read the target 'i'; write ENGINE:LOCATION with one of: elasticsearch, faiss",
    ),
    (("index", "a.jsonl", "--to", "faiss:"), "cannot read the target 'faiss:'"),
    (("index", "a.jsonl", "--to", "qdrnt:http://me:pw@h/i?key=pw"), "cannot read the target 'qdrnt:http://h/i?***'"),
    (("index", "a.jsonl", "--to", "chroma:i"), "cannot read the target 'chroma:i'"),
    (("index", "a.jsonl", "--to", "faiss:i", "--model", "bert"), "unknown model 'bert'; known: lexical, wordllama-256"),
    (("index", "a.jsonl", "--to", "faiss:i", "--task", "separation"), "v5 calls it 'clustering'"),
    (("index", "a.jsonl", "--to", "faiss:i", "--task", "sorting"), "a task is one of: retrieval, text-matching"),
    (("index", "a.jsonl", "--to", "faiss:i", "--dimension", "100"), "it offers: 64, 128, 256, 512, 768"),
    (("index", "a.jsonl", "--to", "faiss:i", "--dimension", "many"), "Invalid value for '--dimension'"),
    (("index", "a.jsonl", "--to", "faiss:i", "--backend", "cuda"), "unknown backend 'cuda'; known: cohere"),
    (("index", "a.jsonl", "--to", "faiss:i", "--overflow", "burst"), "'burst' is not one of 'truncate', 'error'"),
    (("index", "a.jsonl", "--to", "faiss:i", "--batch-size", "0"), "Invalid value for '--batch-size'"),
    (("index", "a.jsonl", "--to", "faiss:i", "--profile", "gone.toml"), "cannot read the model profile 'gone.toml'"),
    (("index", "a.jsonl", "--to", "faiss:i", "--backend-option", "x"), "--backend-option takes NAME=VALUE, not 'x'"),
    (("index", "a.jsonl", "--to", "faiss:i", "--option", "=x"), "--option takes NAME=VALUE, not '=x'"),
    (("index", "a.jsonl", "--to", "faiss:i", "--option", "a=1", "--option", "a=2"), "--option names 'a' twice"),
    (("index", "a.jsonl", "--to", "faiss:i", "--url", "http://x"), "takes no url"),
    (("search", "faiss:i"), "Missing argument 'QUESTION'"),
    (("search", "faiss:i", "q", "-k", "0"), "Invalid value for '-k'"),
    (("search", "faiss:i", "q", "-k", "-3"), "Invalid value for '-k'"),
    (("search", "faiss:i", "q", "-k", "1.5"), "Invalid value for '-k'"),
    (("search", "faiss:i", "q", "--filter", "nonsense"), "cannot read the filter 'nonsense'"),
    (("search", "faiss:i", "q", "--filter", "a=null"), "the filter on 'a' takes"),
    (("delete", "faiss:i"), "Missing argument 'ID'"),
    (("models", "export", "bert", "--out", "d"), "unknown model 'bert'"),
    (("models", "export", "lexical"), "Missing option '--out'"),
]


@pytest.mark.parametrize("arguments, reason", MISUSES, ids=[" ".join(arguments) for arguments, _ in MISUSES])
def test_misuse_is_exit_code_2_and_one_line(
    run: Run, write_jsonl: WriteJsonl, arguments: tuple[str, ...], reason: str
) -> None:
    write_jsonl("a.jsonl", [{"text": "x"}])
    done = run(*arguments)
    assert (done.code, done.out) == (2, "")
    lines = [line for line in done.err.splitlines() if "no --model given" not in line]
    assert len(lines) == 1
    assert lines[0].startswith("jinavec: error: ")
    assert reason in lines[0]
    assert not Path("i").exists()


def test_a_profile_and_a_model_of_another_name(run: Run, tmp_path: Path, write_jsonl: WriteJsonl) -> None:
    (tmp_path / "p.toml").write_text('name = "mine"\nwidth = 64\nbackend = "lexical"\n')
    source = write_jsonl("a.jsonl", [{"text": "x"}])
    flags = ("--to", "faiss:i", "--profile", "p.toml", "--model")
    done = run("index", source, *flags, "yours")
    assert done.code == 2
    assert "--model names 'yours', but the profile in p.toml is 'mine'" in done.err
    assert run("index", source, *flags, "mine").code == 0


@pytest.mark.parametrize(
    "toml", ["width = 64", "name = ", 'name = "x"\nwidth = "wide"', 'name = "x"\nwidth = 8\na = 1']
)
def test_a_profile_that_is_none(run: Run, tmp_path: Path, write_jsonl: WriteJsonl, toml: str) -> None:
    (tmp_path / "p.toml").write_text(toml)
    done = run("index", write_jsonl("a.jsonl", [{"text": "x"}]), "--to", "faiss:i", "--profile", "p.toml")
    assert done.code == 2
    assert done.err.startswith("jinavec: error: --profile: ")


@pytest.mark.parametrize("before", [True, False])
def test_the_traceback_is_shown_only_with_debug(run: Run, before: bool) -> None:
    plain = run("info", "faiss:gone")
    debug = run("--debug", "info", "faiss:gone") if before else run("info", "faiss:gone", "--debug")
    assert plain.code == debug.code == 1
    assert "Traceback" not in plain.err
    assert "Traceback" in debug.err
    assert debug.err.endswith(plain.err)


def test_a_key_in_the_environment_is_never_shown_or_kept(
    run: Run, write_jsonl: WriteJsonl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JINAVEC_API_KEY", "s3cret")
    source = write_jsonl("a.jsonl", [{"id": "a", "text": "x"}])
    outcomes = [
        run("index", source, "--to", "faiss:i", "--debug"),
        run("search", "faiss:i", "x", "--debug"),
        run("info", "faiss:i", "--json"),
        run("index", source, "--to", "faiss:i", "--url", "http://user:s3cret@host/", "--debug"),
        run("index", "gone.jsonl", "--to", "faiss:i", "--debug"),
    ]
    assert [outcome.code for outcome in outcomes] == [0, 0, 0, 2, 1]
    assert not any("s3cret" in outcome.out + outcome.err for outcome in outcomes)
    assert not any(b"s3cret" in path.read_bytes() for path in Path("i").iterdir())


@pytest.mark.parametrize("batches, shown", [(1, 1), (4, 4), (40, 11)])
def test_warnings_are_single_lines_and_not_too_many(
    run: Run, write_jsonl: WriteJsonl, batches: int, shown: int
) -> None:
    source = write_jsonl("a.jsonl", [{"id": n, "text": ""} for n in range(2 * batches)])
    done = run("index", source, "--to", "faiss:i", "--model", "lexical", "--dimension", 64, "--batch-size", 2)
    assert done.code == 0
    lines = [line for line in done.err.splitlines() if "plan:" not in line]
    assert len(lines) == shown
    assert lines[0].startswith("jinavec: warning: ")
    assert "nothing to embed" in lines[0]
    assert ("more warnings" in lines[-1]) == (batches > 10)


def test_main_leaves_the_warning_machinery_as_it_was(run: Run) -> None:
    run("models")
    with pytest.warns(JinavecWarning, match="still here"):
        warnings.warn("still here", JinavecWarning, stacklevel=1)
