"""The installed command as a process: exit codes, streams, pipes, signals, memory."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jinavec import open_engine
from jinavec_adapters.cli import main

COMMAND = Path(sys.executable).with_name("jinavec")


def run(*arguments: object, cwd: Path, input: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [COMMAND, *map(str, arguments)],
        cwd=cwd,
        input=input,
        capture_output=True,
        env=os.environ | environment,
        check=False,
    )


def lines(count: int, words: str = "some words") -> bytes:
    return b"".join(json.dumps({"id": str(n), "text": f"{n} {words}"}).encode() + b"\n" for n in range(count))


def test_the_main_job(tmp_path: Path) -> None:
    data = '{"id": "a", "text": "Wo schläft die Katze? 猫"}\n{"id": "b", "text": "Der Hund bellt."}\n'.encode()
    done = run("index", "-", "--to", "faiss:notes", cwd=tmp_path, input=data)
    assert done.returncode == 0, done.stderr
    found = run("search", "faiss:notes", "die Katze", "-k", 1, "--json", cwd=tmp_path)
    assert json.loads(found.stdout)["text"] == "Wo schläft die Katze? 猫"
    assert found.stderr == b""
    wrong = run("search", "faiss:notes", cwd=tmp_path)
    assert (wrong.returncode, wrong.stdout) == (2, b"")
    failed = run("search", "faiss:gone", "x", cwd=tmp_path)
    assert (failed.returncode, failed.stdout) == (1, b"")


def test_output_that_is_not_unicode(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "a", "text": "Katze 猫"}\n', "utf-8")
    main(["index", str(tmp_path / "a.jsonl"), "--to", f"faiss:{tmp_path / 'notes'}"])
    for flags in [(), ("--json",)]:
        found = run("search", "faiss:notes", "Katze", *flags, cwd=tmp_path, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
        assert (found.returncode, found.stderr) == (0, b"")
    assert json.loads(found.stdout.decode("ascii"))["text"] == "Katze 猫"


def test_a_reader_that_has_seen_enough(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(5000))
    encode = f"'{COMMAND}' encode a.jsonl --role document --model lexical --dimension 64"
    done = subprocess.run(
        ["bash", "-c", f"{encode} | head -n 1; echo ${{PIPESTATUS[0]}}"], cwd=tmp_path, capture_output=True, check=True
    )
    first, code = done.stdout.splitlines()
    assert json.loads(first)["id"] == "0"
    assert (int(code), done.stderr) == (1, b"")


@pytest.mark.skipif(sys.platform == "win32", reason="needs pseudo-terminals")
def test_on_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(50))

    def shown(*arguments: str) -> str:
        master, slave = os.openpty()
        with subprocess.Popen([COMMAND, *arguments], cwd=tmp_path, stdout=slave, stderr=slave) as process:
            os.close(slave)
            pieces: list[bytes] = []
            with contextlib.suppress(OSError):  # what a terminal gives at its end
                while piece := os.read(master, 4096):
                    pieces.append(piece)
        os.close(master)
        assert process.returncode == 0
        return b"".join(pieces).decode()

    assert "50 records, " in shown("index", "a.jsonl", "--to", "faiss:i", "--model", "lexical")  # the progress bar
    assert "score" in shown("search", "faiss:i", "some words")  # the table's head


@pytest.mark.parametrize(
    "words, reason",
    [
        ("encode - --role document --model lexical --out v.npy", b"cannot write v.npy: "),
        ("index - --to faiss:i --model lexical", b"(nothing was stored)\n"),
    ],
    ids=["encode", "index"],
)
def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, words: str, reason: bytes) -> None:
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 20; exec '{COMMAND}' {words}"],  # as on a full disk, a write fails
        cwd=tmp_path,
        input=lines(200),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, b"")
    assert reason in done.stderr
    assert done.stderr.count(b"\n") == 1
    assert list(tmp_path.iterdir()) == []


def _heed_interrupts() -> None:
    """Undo what a shell does to jobs in its background: they, and all they start, ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_interrupted(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [COMMAND, "index", "-", "--to", "faiss:i", "--model", "lexical", "--dimension", "64", "--batch-size", "10"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=_heed_interrupts,
    )
    assert process.stdin and process.stderr
    process.stdin.write(lines(25))
    process.stdin.flush()
    deadline = time.monotonic() + 30
    while not (tmp_path / "i" / "manifest.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)  # reading standard input by now
    process.send_signal(signal.SIGINT)
    _, error = process.communicate()
    assert process.returncode == 130
    assert error.startswith(b"jinavec: error: interrupted (")
    assert error.count(b"\n") == 1
    with open_engine(f"faiss:{tmp_path / 'i'}") as index:
        assert index.get("3") is not None


@pytest.mark.slow
def test_interrupted_at_any_moment_and_continued(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(20_000))
    command = [COMMAND, "index", "a.jsonl", "--to", "faiss:i", "--model", "lexical", "--dimension", "64"]
    for moment in (*range(40, 400, 30), *range(400, 1600, 200)):
        process = subprocess.Popen(
            [*command, "--batch-size", "200"], cwd=tmp_path, stderr=subprocess.PIPE, preexec_fn=_heed_interrupts
        )
        time.sleep(moment / 1000)  # whatever it is doing then
        process.send_signal(signal.SIGINT)
        _, error = process.communicate()
        if process.returncode == 0:
            break
        if process.returncode != -signal.SIGINT:  # Python itself was not up yet
            assert process.returncode == 130, error
            assert error.startswith(b"jinavec: error: interrupted (") and error.count(b"\n") == 1, error
            assert b"run the same command again to continue" in error or b"nothing was stored" in error
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    assert b"unchanged" in done.stdout
    with open_engine(f"faiss:{tmp_path / 'i'}") as index:
        assert index.count() == 20_000


def test_what_an_output_cannot_hold_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "cat😺", "text": "Katze 😺"}\n', "utf-8")
    run("index", "a.jsonl", "--to", "faiss:i", cwd=tmp_path)
    for words in (["search", "faiss:i", "Katze"], ["get", "faiss:i", "cat😺"], ["list", "faiss:i"]):
        found = run(*words, cwd=tmp_path, PYTHONIOENCODING="cp1252", PYTHONUTF8="0")
        assert (found.returncode, found.stderr) == (0, b"")
        assert b"Katze ?" in found.stdout


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(tmp_path: Path, closed: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(3))
    for words in ("index a.jsonl --to faiss:i --model lexical", "search faiss:i words", "--help"):
        done = subprocess.run(["bash", "-c", f"'{COMMAND}' {words} {closed}"], cwd=tmp_path, capture_output=True)
        assert done.returncode == 0, done.stderr
        assert b"error" not in done.stderr
    with open_engine(f"faiss:{tmp_path / 'i'}") as index:
        assert index.count() == 3


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are any bytes")
def test_a_name_that_is_not_unicode(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jsonl")
    missing = run("index", name, "--to", "faiss:i", cwd=tmp_path)
    assert missing.returncode == 1
    assert missing.stderr.startswith(b"jinavec: error: ") and b"caf\\xe9.jsonl" in missing.stderr
    (tmp_path / name).write_bytes(lines(3))
    assert run("index", name, "--to", "faiss:i", cwd=tmp_path).returncode == 0


PEAK = """
import pathlib, sys
from jinavec_adapters.cli import main
code = main(sys.argv[1:])
status = dict(line.split(":") for line in pathlib.Path("/proc/self/status").read_text().splitlines())
print(int(status["VmHWM"].split()[0]) // 1024, file=sys.stderr)
sys.exit(code)
"""


def peak(tmp_path: Path, *arguments: str, data: bytes) -> int:
    """Return the most memory, in MiB, that a run needed."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *arguments], cwd=tmp_path, input=data, capture_output=True, check=True
    )
    return int(done.stderr.split()[-1])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("dry", [("--dry-run",), ()], ids=["dry", ""])
def test_memory_does_not_grow_with_the_corpus(tmp_path: Path, dry: tuple[str, ...]) -> None:
    note = "word " * 12_000
    few, many = (
        b"".join(json.dumps({"id": str(n), "text": str(n), "note": note}).encode() + b"\n" for n in range(count))
        for count in (100, 1_600)  # 6 and 96 MB
    )
    flags = ("index", "-", "--to", "faiss:i", "--dimension", "64", *dry)
    caches = 20 if dry else 90  # MiB that SQLite keeps of its pages, whatever their number
    assert peak(tmp_path, *flags, data=many) < peak(tmp_path, *flags, data=few) + caches
