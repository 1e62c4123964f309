"""The server, side by side: one in-process call, ``jinavec serve``, Infinity, and two handlers that do not batch.

One run, the same weights, the same texts (XQuAD's questions in English): 64 clients send one text each, and the next
when the answer is there. All servers run from the start; the contestants are asked in turn, round by round, and the
median of each counts. The weights are Qwen3 drawn at random: at the size of jina-embeddings-v5-text-nano, and tiny,
where HTTP itself is the cost.

    python benchmarks/server.py --data DIR --infinity PATH      # DIR holds xquad.en.json

Writes Markdown to standard output, and what it is doing to standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from encode import minilm_folder, processor, read_mix, say, write_json

from jinavec import Encoder, ModelProfile
from jinavec.backends.local.export import export_onnx
from jinavec.wire import openai
from jinavec.wire.messages import EmbedReply, EmbedRequest

CLIENTS = 64
LONELY = 40
"""Requests of the client that is alone."""
IN_PROCESS, SERVE, INFINITY = "one in-process call", "jinavec serve", "Infinity, torch"
HANDLERS = {
    "sentence-transformers": "FastAPI, sentence-transformers' encode a request",
    "jinavec": "FastAPI, jinavec's encode a request",
}
GOALS = {IN_PROCESS: 0.95, INFINITY: 1.2, **dict.fromkeys(HANDLERS.values(), 3.0)}
"""What the server's throughput is to be, as a multiple of each."""
MOST_LATENCY, MOST_WRITING = 3.0, 10.0
"""Milliseconds; per cent."""
SIZES: dict[str, dict[str, int]] = {
    "nano": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
    "tiny": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2},
}
MIXES: dict[str, Callable[[str], bool]] = {
    "questions": lambda text: len(text) < 300,
    "short questions": lambda text: len(text.split()) <= 8,
}


def main() -> None:
    """Run the benchmark and print its report."""
    options = read_arguments()
    os.environ["HF_HUB_OFFLINE"] = "1"
    if options.handler:
        serve_unbatched(options.handler, options.folder, options.port)
        return
    print(f"{processor()}, Python {platform.python_version()}; load before: {os.getloadavg()[0]:.1f}\n")
    with tempfile.TemporaryDirectory(prefix="jinavec-server-") as temporary:
        for model in options.models:
            folder = (options.work or Path(temporary)).resolve() / model
            if not folder.exists():
                say(f"{model}: preparing weights and graph")
                prepare(folder, SIZES[model])
            compare(model, folder, options)


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with xquad.en.json")
    parser.add_argument("--models", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--mixes", nargs="+", choices=list(MIXES), default=list(MIXES))
    parser.add_argument("--texts", type=int, default=128, help="of each mix, for nano; tiny gets eight times as many")
    parser.add_argument("--repeat", type=int, default=3, help="rounds; the median of each contestant counts")
    parser.add_argument(
        "--infinity", help="the program infinity_emb, in an environment of its own; else it is left out"
    )
    parser.add_argument("--work", type=Path, help="folder that keeps weights and graphs for the next run")
    for hidden in ("--handler", "--folder", "--port"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    return parser.parse_args()


def prepare(folder: Path, size: dict[str, int]) -> None:
    """Write Qwen3 of a size, drawn at random, with MiniLM's tokenizer and last-token pooling; its graph; its profile."""
    torch, transformers = importlib.import_module("torch"), importlib.import_module("transformers")
    weights = folder / "weights"
    shutil.copytree(minilm_folder(), weights, ignore=shutil.ignore_patterns("model.safetensors", "config.json"))
    torch.manual_seed(0)
    heads, width = size["num_attention_heads"], size["hidden_size"]
    config = transformers.Qwen3Config(**size, num_key_value_heads=heads, head_dim=width // heads, vocab_size=30522)
    transformers.Qwen3Model(config).eval().save_pretrained(weights)
    write_json(weights / "sentence_bert_config.json", {"max_seq_length": 512, "do_lower_case": False})
    pooling = {"word_embedding_dimension": width, "pooling_mode_mean_tokens": False, "pooling_mode_lasttoken": True}
    write_json(weights / "1_Pooling" / "config.json", pooling)
    profile = ModelProfile(name="random", width=width, pooling="last", limit=512)
    export_onnx(profile, out=folder / "graph", source=str(weights))
    lines = ['name = "random"', f"width = {width}", 'pooling = "last"', "limit = 512", 'backend = "onnx"']
    (folder / "profile.toml").write_text("\n".join([*lines, f'source = "{folder / "graph"}"']))


def load(folder: str | Path) -> Encoder:
    """Load a model in this process."""
    return Encoder.load(ModelProfile.from_toml(Path(folder) / "profile.toml"))


def compare(model: str, folder: Path, options: argparse.Namespace) -> None:
    """Start every server over a model, and print the table of each mix."""
    with ExitStack() as stack:
        encoder = stack.enter_context(load(folder))
        commands = {SERVE: [Path(sys.executable).with_name("jinavec"), "serve", "--model", folder / "profile.toml"]}
        if options.infinity:
            how = "--device cpu --dtype float32 --no-bettertransformer --no-model-warmup --url-prefix /document/v1 --log-level error"
            commands[INFINITY] = [options.infinity, "v2", "--model-id", folder / "weights", *how.split()]
        for handler, name in HANDLERS.items():
            commands[name] = [sys.executable, Path(__file__).resolve(), "--handler", handler, "--folder", folder]
        ports = {name: stack.enter_context(running(name, command, folder)) for name, command in commands.items()}
        for mix in options.mixes:
            count = options.texts * (8 if model == "tiny" else 1)
            texts = list(filter(MIXES[mix], read_mix(options.data, "all", None)))[:count]
            print(report(f"{model}, {mix}", encoder, ports, texts, options.repeat), flush=True)


def report(title: str, encoder: Encoder, ports: dict[str, int], texts: Sequence[str], rounds: int) -> str:
    """Ask every contestant for the texts, round by round; return the table."""
    rates: dict[str, list[float]] = {IN_PROCESS: [], **{name: [] for name in ports}}
    one_by_one: list[float] = []
    counts: list[int] = []
    expected = encoder.encode(texts, role="document", counted=counts.extend)
    for number in range(rounds):
        say(f"{title}: round {number + 1} of {rounds}")
        rates[IN_PROCESS].append(len(texts) / timed(lambda: encoder.encode_documents(texts)))
        for name, port in ports.items():
            vectors, seconds = asyncio.run(ask_all(port, texts))
            assert np.einsum("ij,ij->i", vectors, expected).min() > 0.9999, name
            rates[name].append(len(texts) / seconds)
            say(f"  {name}: {rates[name][-1]:.1f} texts/s; in process {rates[IN_PROCESS][-1]:.1f}")
        some = texts[:CLIENTS]
        alone = timed(lambda some=some: [encoder.encode_documents([text]) for text in some])
        one_by_one.append(alone / timed(lambda some=some: encoder.encode_documents(some)))
        say(f"  calls of one text over one call: {one_by_one[-1]:.2f}")
    added = asyncio.run(lonely(encoder, ports[SERVE], texts[:LONELY]))
    middle = {name: statistics.median(found) for name, found in rates.items()}
    lines = [
        f"### {title}: {len(texts)} texts of {np.mean(counts):.0f} tokens on average, {CLIENTS} clients, {rounds} rounds\n",
        "| | texts/s | jinavec serve is | goal |",
        "|---|---|---|---|",
    ]
    for name, rate in middle.items():
        ratio = middle[SERVE] / rate
        goal = mark(ratio >= GOALS[name], f"{GOALS[name]} x") if name in GOALS else ""
        lines.append(f"| {name} | {rate:.1f} | {ratio:.2f} x | {goal} |")
    shares = [share(encoder, texts[:CLIENTS], encoding) for encoding in ("float", "base64")]
    lines += [
        f"\nA lonely request: {added:.2f} ms more than in process ({mark(added <= MOST_LATENCY, f'{MOST_LATENCY:g} ms')})."
        f" Writing replies: JSON {shares[0]:.2f} %, base64 {shares[1]:.2f} % of embedding"
        f" ({mark(max(shares) <= MOST_WRITING, f'{MOST_WRITING:g} %')}). In process, {CLIENTS} calls of one text take"
        f" {statistics.median(one_by_one):.2f} times as long as one call of {CLIENTS}.\n"
    ]
    return "\n".join(lines)


def mark(met: bool, goal: str) -> str:
    """Return a goal with its outcome."""
    return f"{goal}: {'met' if met else 'MISSED'}"


def timed(work: Callable[[], object]) -> float:
    """Return how long something takes, in seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


async def lonely(encoder: Encoder, port: int, texts: Sequence[str]) -> float:
    """Return what a single client waits longer than a call in process takes, in milliseconds, at the median."""
    connection = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    added: list[float] = []
    for text in texts:
        own = timed(lambda text=text: encoder.encode_documents([text]))
        started = time.perf_counter()
        await ask(connection, text)
        added.append(1000 * (time.perf_counter() - started - own))
    connection[1].close()
    return statistics.median(added)


def share(encoder: Encoder, texts: Sequence[str], encoding: Any) -> float:
    """Return what writing the replies adds to embedding their texts, per cent."""
    request = EmbedRequest(texts=("a",), encoding=encoding)
    vectors = encoder.encode_documents(texts)
    embedding = timed(lambda: encoder.encode_documents(texts))
    writing = timed(lambda: [openai.encode_reply(EmbedReply.of(vector[None], request)) for vector in vectors])
    return 100 * writing / embedding


@contextmanager
def running(name: str, command: Sequence[object], folder: Path) -> Generator[int]:
    """Run a server process, which may leave files in the folder; gives its port."""
    say(f"starting {name}")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    words = [*map(str, command), "--port", str(port)]
    process = subprocess.Popen(words, cwd=folder, stderr=subprocess.DEVNULL)
    try:
        while True:
            if process.poll() is not None:
                raise SystemExit(f"{name} did not start: {' '.join(words)}")
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.1)
        asyncio.run(ask_all(port, ["warm"] * 8))
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


async def ask_all(port: int, texts: Sequence[str]) -> tuple[Any, float]:
    """Send every text, one a request, from many clients; return the vectors in order, and the seconds it took."""
    vectors: dict[int, Any] = {}
    waiting = iter(enumerate(texts))

    async def work() -> None:
        connection = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
        for row, text in waiting:
            vectors[row] = await ask(connection, text)
        connection[1].close()

    started = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(CLIENTS)))
    seconds = time.perf_counter() - started
    return np.array([json.loads(vectors[row])["data"][0]["embedding"] for row in range(len(texts))]), seconds


async def ask(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], text: str) -> bytes:
    """Send one text over an open connection, as bare as possible: the client shares the processor."""
    reader, writer = connection
    body = json.dumps({"input": [text]}).encode()
    head = (
        "POST /document/v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    answer = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(answer.partition(b"content-length:")[2].split(b"\r\n")[0])
    content = await reader.readexactly(length)
    assert b" 200 " in answer, content
    return content


def serve_unbatched(library: str, folder: str, port: str) -> None:
    """Serve as a handler of a few lines does: each request is one call, in a thread of FastAPI's."""
    import uvicorn
    from fastapi import FastAPI, Response

    app = FastAPI()
    if library == "jinavec":
        encoder = load(folder)
        encode: Callable[[list[str]], Any] = encoder.encode_documents
    else:
        model = importlib.import_module("sentence_transformers").SentenceTransformer(f"{folder}/weights", device="cpu")
        encode = model.encode

    def embed(body: dict[str, Any]) -> Response:
        request = EmbedRequest(texts=tuple(body["input"]))
        reply = EmbedReply.of(encode(body["input"]), request)
        return Response(openai.encode_reply(reply), media_type="application/json")

    app.post("/document/v1/embeddings")(embed)
    uvicorn.run(app, port=int(port), log_level="error")


if __name__ == "__main__":
    main()
