"""Remote encoding: processor time per text beside the openai package, and throughput on a slow server.

    python benchmarks/remote.py > remote.md

Both clients talk to the same server in another process, which sends the same prepared replies, and both end with a
float32 array. Processor time is that of this process, all threads.

With ``--against`` it compares the rates of two versions instead: each call in a fresh process, in turn, with the default
options but a batch of 32.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from jinavec import Encoder

MODEL, WIDTH, BATCH, CONCURRENCY = "jina-embeddings-v5-text-small", 1024, 32, 16


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=9600, help="texts a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, in turn; the best counts (default: %(default)s)")
    parser.add_argument("--against", metavar="DIR", help="the folder core of another version, to compare with")
    parser.add_argument("--url", help=argparse.SUPPRESS)  # of the server; measures one call for --against
    given = parser.parse_args()
    texts = [f"Text number {n}: {'a text of some length ' * 10}" for n in range(given.texts)]
    if given.url:
        print(json.dumps(two_rates(given.url, texts)))
        return
    print(
        f"load before the run: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors; {given.texts} texts a round\n"
    )
    if given.against:
        compare(given.texts, given.rounds, given.against)
        return
    with Server(delay=0) as server:
        print("| replies | jinavec, us a text | openai, us a text | ratio | openai without the array |")
        print("|---|---|---|---|---|")
        for encoding in ("base64", "float"):
            ours, theirs, bare = processor_time(server.url, encoding, texts, given.rounds)
            print(f"| {encoding} | {ours:.0f} | {theirs:.0f} | {ours / theirs:.2f} | {bare:.0f} |")
    print("\n| server's time | texts a second | of the ideal |\n|---|---|---|")
    with Server(delay=0.2) as server, remote(server.url, "base64") as encoder:
        encoder.encode_documents(texts[: BATCH * CONCURRENCY])
        whole = texts[: len(texts) // (BATCH * CONCURRENCY) * BATCH * CONCURRENCY]  # all connections busy to the end
        rate = max(texts_a_second(encoder, whole) for _ in range(given.rounds))
    ideal = BATCH * CONCURRENCY / 0.2
    print(f"| 200 ms | {rate:.0f} | {rate / ideal:.1%} |")


def compare(texts: int, rounds: int, other: str) -> None:
    """Print how fast this version is beside another one: the median of the ratios of calls made in turn."""
    print("| server | first call of a process | second call |")
    print("|---|---|---|")
    kinds = {
        "answers at once": Server(0),
        "3,000 texts a second, in order": Server(BATCH / 3000, in_order=True),
        "3,000 texts a second, 16 requests side by side": Server(BATCH * CONCURRENCY / 3000),
    }
    for name, kind in kinds.items():
        with kind as server:
            ratios: list[list[float]] = []
            for number in range(rounds):
                pair = [measured(server.url, texts, core) for core in (other, "")[:: 1 if number % 2 else -1]]
                old, new = pair if number % 2 else pair[::-1]
                ratios.append([ours / theirs for ours, theirs in zip(new, old, strict=True)])
        first, second = (statistics.median(column) for column in zip(*ratios, strict=True))
        print(f"| {name} | {first:.2f} | {second:.2f} |", flush=True)


def measured(url: str, texts: int, core: str) -> list[float]:
    """Return the rates of two calls in a fresh process, with the code in a folder if one is named."""
    command = [sys.executable, __file__, "--texts", str(texts), "--url", url]
    environment = os.environ | ({"PYTHONPATH": core} if core else {})
    return json.loads(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)


def two_rates(url: str, texts: list[str]) -> list[float]:
    """Return the texts a second of two calls, the first of which knows nothing of the server."""
    with remote(url, "base64") as encoder:
        return [texts_a_second(encoder, texts), texts_a_second(encoder, texts[::-1])]


def processor_time(url: str, encoding: str, texts: list[str], rounds: int) -> tuple[float, float, float]:
    """Return the least microseconds a text: jinavec, openai, and openai without making an array of its lists."""
    import openai

    client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="key")
    batches = [[f"Document: {text}" for text in texts[n : n + BATCH]] for n in range(0, len(texts), BATCH)]
    how: dict[str, Any] = {} if encoding == "base64" else {"encoding_format": "float"}  # base64 is its default

    async def peer(*, arrays: bool) -> None:
        waiting = iter(batches)

        async def work() -> None:
            for batch in waiting:
                reply = await client.embeddings.create(model=MODEL, input=batch, **how)
                rows = [item.embedding for item in reply.data]
                if arrays:
                    assert np.array(rows, np.float32).shape == (len(batch), WIDTH)

        await asyncio.gather(*(work() for _ in range(CONCURRENCY)))

    with remote(url, encoding) as encoder, asyncio.Runner() as runner:
        contestants: list[Callable[[], object]] = [
            lambda: encoder.encode_documents(texts),
            lambda: runner.run(peer(arrays=True)),
            lambda: runner.run(peer(arrays=False)),
        ]
        best = [float("inf")] * 3
        for _ in range(rounds):
            for number, run in enumerate(contestants):
                start = time.process_time()
                run()
                best[number] = min(best[number], (time.process_time() - start) / len(texts) * 1e6)
        runner.run(client.close())
    return best[0], best[1], best[2]


def remote(url: str, encoding: str) -> Encoder:
    """Return our client."""
    options = {"encoding": encoding, "batch": BATCH, "concurrency": CONCURRENCY, "verify": False}  # no real vectors
    return Encoder.load(MODEL, backend="openai", url=url, options=options)


def texts_a_second(encoder: Encoder, texts: list[str]) -> float:
    """Return the rate of one call."""
    start = time.perf_counter()
    encoder.encode_documents(texts)
    return len(texts) / (time.perf_counter() - start)


class Server:
    """A process that answers each request with the same prepared reply, after a while."""

    def __init__(self, delay: float, *, in_order: bool = False) -> None:
        self.delay = delay
        self.in_order = in_order

    def __enter__(self) -> Server:
        ours, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("spawn").Process(
            target=serve, args=(theirs, self.delay, self.in_order), daemon=True
        )
        self.process.start()
        self.url = f"http://127.0.0.1:{ours.recv()}"
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.terminate()
        self.process.join()


def serve(parent: Connection, delay: float, in_order: bool) -> None:
    """Run the server, and tell its port."""
    replies = {encoding: prepare(encoding) for encoding in ("base64", "float")}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = next(
                int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
            )
            body = await reader.readexactly(length)
            async with turn if in_order else nullcontext():
                await asyncio.sleep(delay)
            writer.write(replies["base64" if b'"base64"' in body else "float"])
            await writer.drain()

    turn = asyncio.Lock()

    async def run() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # clients hang up
        parent.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def prepare(encoding: str) -> bytes:
    """Write the reply for one batch, head included; floats with the digits that float32 has."""
    vectors = np.random.default_rng(1).standard_normal((BATCH, WIDTH)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows: list[Any] = [[float(str(x)) for x in v] for v in vectors]
    if encoding == "base64":
        rows = [base64.b64encode(v.tobytes()).decode() for v in vectors]
    data = [{"object": "embedding", "index": n, "embedding": row} for n, row in enumerate(rows)]
    usage = {"prompt_tokens": 9, "total_tokens": 9}
    body = json.dumps({"object": "list", "data": data, "model": MODEL, "usage": usage}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


if __name__ == "__main__":
    warnings.simplefilter("error")
    main()
