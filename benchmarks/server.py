"""The server, side by side: one in-process call, ``jinavec serve``, and a handler that does not batch.

One run, the same weights, the same texts (XQuAD's questions in English): 64 clients send one text each, and the next
when the answer is there. The contestants run in turn; the best round of each counts. The weights are EuroBERT at the
size of jina-embeddings-v5-text-nano, drawn at random; and wordllama-256, where HTTP itself is the cost.

    python benchmarks/server.py --data DIR                     # DIR holds xquad.en.json

Writes Markdown to standard output, and what it is doing to standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from encode import make_nano, nano_profile, processor, read_mix, say

from jinavec import Encoder, ModelProfile
from jinavec.backends.export import export_onnx
from jinavec.wire import openai
from jinavec.wire.messages import EmbedReply, EmbedRequest

CLIENTS = 64
LONELY = 40
"""Requests of the client that is alone."""
GOALS = {"serve": 0.95, "unbatched": 3.0, "latency": 3.0, "reply": 10.0}


def main() -> None:
    """Run the benchmark and print its report."""
    options = read_arguments()
    if options.unbatched:
        serve_unbatched(options.unbatched, options.port)
        return
    os.environ["HF_HUB_OFFLINE"] = "1"
    texts = [text for text in read_mix(options.data, "all", None) if len(text) < 300][: options.texts]
    print(f"{processor()}, Python {platform.python_version()}; load before: {os.getloadavg()[0]:.1f}")
    print(f"\n{len(texts)} questions, {CLIENTS} clients, best of {options.repeat} rounds\n")
    print(
        "| model | in-process, texts/s | serve | unbatched | serve / in-process |"
        " serve / unbatched | lonely, added ms |"
        " reply JSON, % | base64, % |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="jinavec-server-") as temporary:
        folder = options.work or Path(temporary)
        for model in options.models:
            profile = prepare(model, folder)
            print(compare(model, profile, texts, options.repeat), flush=True)


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with xquad.en.json")
    parser.add_argument("--models", nargs="+", choices=["nano", "wordllama"], default=["nano", "wordllama"])
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--work", type=Path, help="folder that keeps weights and graphs for the next run")
    parser.add_argument("--unbatched", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def prepare(model: str, folder: Path) -> str:
    """Return what ``--model`` takes: a catalogue name, or a profile beside weights made here."""
    if model == "wordllama":
        return "wordllama-256"
    graph = folder / "nano" / "float32"
    if not graph.exists():
        say("preparing weights and graph")
        weights = folder / "nano" / "weights"
        if not weights.exists():
            make_nano(weights)
        export_onnx(nano_profile(), out=graph, source=str(weights))
    path = folder / "nano.toml"
    path.write_text(
        f'name = "random-nano"\nwidth = 768\npooling = "last"\nlimit = 512\nbackend = "onnx"\nsource = "{graph}"\n'
    )
    return str(path)


def load(model: str) -> Encoder:
    """Load a model in this process."""
    return Encoder.load(ModelProfile.from_toml(model) if model.endswith(".toml") else model)


def compare(name: str, model: str, texts: Sequence[str], rounds: int) -> str:
    """Return the row of a model."""
    rates: dict[str, list[float]] = {"in-process": [], "serve": [], "unbatched": []}
    added: list[float] = []
    with load(model) as encoder:
        expected = encoder.encode_documents(texts)
        for number in range(rounds):
            say(f"{name}, round {number + 1}")
            started = time.perf_counter()
            encoder.encode_documents(texts)
            rates["in-process"].append(len(texts) / (time.perf_counter() - started))
            own = [timed(lambda text=text: encoder.encode_documents([text])) for text in texts[:LONELY]]
            for contestant in ("serve", "unbatched"):
                with running(contestant, model) as port:
                    vectors, seconds = asyncio.run(ask_all(port, texts))
                    assert np.einsum("ij,ij->i", vectors, expected).min() > 0.9999
                    rates[contestant].append(len(texts) / seconds)
                    if contestant == "serve":
                        alone = asyncio.run(ask_alone(port, texts[:LONELY]))
                        added.append(1000 * (statistics.median(alone) - statistics.median(own)))
        shares = [share(encoder, texts[:CLIENTS], encoding) for encoding in ("float", "base64")]
    best = {contestant: max(found) for contestant, found in rates.items()}
    ratios = best["serve"] / best["in-process"], best["serve"] / best["unbatched"]
    return (
        f"| {name} | {best['in-process']:.1f} | {best['serve']:.1f} | {best['unbatched']:.1f} |"
        f" {ratios[0]:.2f} (goal {GOALS['serve']}) | {ratios[1]:.2f} (goal {GOALS['unbatched']}) |"
        f" {min(added):.2f} (goal {GOALS['latency']:g}) | {shares[0]:.2f} (goal {GOALS['reply']:g}) | {shares[1]:.2f} |"
    )


def timed(work: Any) -> float:
    """Return how long something takes, in seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def share(encoder: Encoder, texts: Sequence[str], encoding: Any) -> float:
    """Return what writing the replies adds to embedding their texts, per cent."""
    request = EmbedRequest(texts=("a",), encoding=encoding)
    vectors = encoder.encode_documents(texts)
    embedding = timed(lambda: encoder.encode_documents(texts))
    writing = timed(lambda: [openai.encode_reply(EmbedReply.of(vector[None], request)) for vector in vectors])
    return 100 * writing / embedding


@contextmanager
def running(contestant: str, model: str) -> Generator[int]:
    """Run a server process; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    if contestant == "serve":
        words = [Path(sys.executable).with_name("jinavec"), "serve", "--model", model]
    else:
        words = [sys.executable, __file__, "--unbatched", model]
    process = subprocess.Popen([*words, "--port", str(port)], stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.1)
        asyncio.run(ask_alone(port, ["warm"] * 4))
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


async def ask_alone(port: int, texts: Sequence[str]) -> list[float]:
    """Send texts one after the other; return the seconds of each."""
    connection = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    seconds: list[float] = []
    for text in texts:
        started = time.perf_counter()
        await ask(connection, text)
        seconds.append(time.perf_counter() - started)
    connection[1].close()
    return seconds


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


def serve_unbatched(model: str, port: int) -> None:
    """Serve as a handler of a few lines does: each request is one call of the encoder, in a thread."""
    import uvicorn
    from fastapi import FastAPI, Response

    encoder, app = load(model), FastAPI()

    def embed(body: dict[str, Any]) -> Response:
        request = EmbedRequest(texts=tuple(body["input"]))
        vectors = encoder.encode_documents(request.texts)
        return Response(openai.encode_reply(EmbedReply.of(vectors, request)), media_type="application/json")

    app.post("/document/v1/embeddings")(embed)
    uvicorn.run(app, port=port, log_level="error")


if __name__ == "__main__":
    main()
