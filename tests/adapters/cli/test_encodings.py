"""--encoding, and ~ in the names of files and targets."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jinavec import open_engine
from jinavec.errors import InvalidInput, InvalidRecord
from jinavec_adapters.cli.sources import Item, Reading, Rejects

Run = Callable[..., Any]
Read = Callable[..., list[Item]]
TEXT = "grüße, Übung, né"
FLAGS = ("--model", "lexical", "--dimension", 64)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-16-le", "utf-8-sig", "utf-8", "utf-32"])
@pytest.mark.parametrize(
    "name, content",
    [
        ("a.txt", TEXT),
        ("a.md.gz", TEXT),
        ("a.csv", f'id,text,n\n1,"{TEXT}",1\n2,x,2\n'),
        ("a.csv.gz", f'id,text,n\n1,"{TEXT}",1\n2,x,2\n'),
        ("a.tsv", f"id\ttext\tn\n1\t{TEXT}\t1\n2\tx\t2\n"),
        ("a.jsonl", f'{{"text": "{TEXT}", "n": 1}}\n'),
    ],
)
def test_other_encodings(read: Read, tmp_path: Path, encoding: str, name: str, content: str) -> None:
    data = content.encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    items = read(tmp_path / name, how=Reading(encoding=encoding))
    assert items[0].record.text == TEXT
    assert items[0].record.metadata.get("n", 1) == 1


def test_a_large_file_in_another_encoding(read: Read, tmp_path: Path) -> None:
    text = "".join(f"Zeile {n}: Straße, 猫 und 犬.\n" for n in range(20_000))
    (tmp_path / "a.txt").write_bytes(text.encode("utf-16"))
    items = read(tmp_path / "a.txt", how=Reading(encoding="utf-16"))
    assert "".join("".join(item.record.text.split()) for item in items) == "".join(text.split())


@pytest.mark.parametrize("encoding", ["base64", "no-such", "rot13", "", "a\0b", "zip"])
def test_what_is_no_encoding(run: Run, read: Read, tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InvalidInput, match="no text encoding"):
        read(tmp_path / "a.txt", how=Reading(encoding=encoding))


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl"])
def test_a_file_that_is_not_in_the_encoding(read: Read, tmp_path: Path, name: str) -> None:
    line = b'{"text": "fine"}\n' if name == "a.jsonl" else b"text\n"
    (tmp_path / name).write_bytes(line * 50_000 + b"\xff\xff\n")
    with pytest.raises(InvalidRecord, match=rf"{name}: not ascii: ordinal not in range\(128\), behind byte"):
        read(tmp_path / name, how=Reading(encoding="ascii"))
    if name == "a.txt":
        rejects = Rejects(skip=True)
        assert read(tmp_path / name, how=Reading(encoding="ascii"), rejects=rejects) == []
        assert rejects.count == 1


def test_home(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    (home / "docs").mkdir(parents=True)
    (home / "docs/a.md").write_text("the cat sleeps")
    (home / "p.toml").write_text('name = "mine"\nwidth = 64\nbackend = "lexical"\n')
    monkeypatch.setenv("HOME", str(home))
    for target in ("faiss:~/notes", "qdrant:~/x/notes"):
        done = run("index", "~/docs", "--to", target, "--profile", "~/p.toml")
        assert (done.code, done.out.startswith(f"indexed 1 records into {target}")) == (0, True)
        with open_engine(target) as engine:
            assert engine.count() == 1
    assert run("encode", "~/docs/a.md", "--role", "document", *FLAGS, "--out", "~/v.npy").code == 0
    assert run("index", "~/docs", "--vectors", "~/v.npy", "--to", "faiss:~/w", *FLAGS).code == 0
    assert run("export", "faiss:~/w", "~/w.jsonl").code == 0
    assert {path.name for path in home.iterdir()} >= {"notes", "v.npy", "w", "w.jsonl", "x"}
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_what_is_gone_at_the_end_of_the_command_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x"}')
    for arguments in (
        ("index", "a.jsonl", "--to", "qdrant::memory:/notes", *FLAGS),
        ("list", "qdrant::memory:/notes"),
        ("search", "qdrant::memory:/notes", "x"),
    ):
        done = run(*arguments)
        assert (done.code, done.out) == (2, "")
        assert "qdrant::memory:/notes is gone when the command ends: write qdrant:DIR/NAME" in done.err


def test_a_filter_finds_what_the_cell_says(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text,ver,year,ok\na,x,1.10,1953,true\nb,x,1.1,1954,false\nc,x,1.9,,\n")
    for target, flags in (("faiss:typed", ()), ("faiss:strings", ("--strings",))):
        assert run("index", "a.csv", "--to", target, *flags, *FLAGS).code == 0
        for condition, ids in (
            ("ver=1.10", "a"),
            ("ver!=1.10", "bc"),
            ("ver=1.1,1.9", "bc"),
            ("year=1953", "a"),
            ("year!=1953", "bc"),
            ("ok=true", "a"),
        ):
            found = run("list", target, "--json", "--filter", condition)
            assert {record["id"] for record in found.lines} == set(ids), (target, condition)
