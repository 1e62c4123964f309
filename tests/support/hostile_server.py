"""A server at a socket whose answers are attacks: compressed bombs, bodies without end, and what takes long to read."""

from __future__ import annotations

import itertools
import socket
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .local_server import LocalServer

MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Attack:
    """A status, the header of an encoding, and the pieces of the body."""

    pieces: Callable[[], Iterator[bytes]]
    status: int = 200
    encoding: str = ""


def once(body: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: iter([body])


def bomb(wbits: int) -> Iterator[bytes]:
    """Yield a compressed body without end: 16 KiB of it are 16 MiB of spaces."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, wbits)
    yield deflater.compress(b" ") + deflater.flush(zlib.Z_FULL_FLUSH)
    block = deflater.compress(b" " * (16 * MEGABYTE)) + deflater.flush(zlib.Z_FULL_FLUSH)
    yield from itertools.repeat(block)  # after a full flush a block stands for itself


ENDLESS = Attack(lambda: itertools.chain([b"["], itertools.repeat(b"0.5," * 16384)))
ATTACKS = {
    "gzip": Attack(lambda: bomb(31), encoding="gzip"),
    "deflate": Attack(lambda: bomb(15), encoding="deflate"),
    "br": Attack(once(b"\x0b\x02\x80{}\x03"), encoding="br"),
    "zstd": Attack(once(b"\x28\xb5\x2f\xfd"), encoding="zstd"),
    "twice": Attack(lambda: bomb(31), encoding="gzip, gzip"),
    "not gzip": Attack(once(b"{}"), encoding="gzip"),
    "deep": Attack(once(b"[" * 100_000)),
    "deep objects": Attack(once(b'{"data":' * 100_000)),
    "deep, but read": Attack(once(b'{"data":' + b"[" * 900 + b"]" * 900 + b"}")),
    "scripts": Attack(once(b"<script>" * 200_000), 500),
    "brackets": Attack(once(b"<" * 1_600_000), 400),
    "sentence": Attack(once(b"input text " * 150_000), 400),
    "code": Attack(once(b'{"code": "' + b"input text " * 5000 + b'", "error": "x"}'), 400),
    "deep error": Attack(once(b'{"error":' * 900 + b"1" + b"}" * 900), 400),
    "gzip error": Attack(lambda: bomb(31), 400, "gzip"),
    "endless error": Attack(lambda: itertools.repeat(b"x" * 65536), 400),
}


def assert_harmless(message: str, attack: Attack, server: HostileServer) -> None:
    """One short error, of whatever was attacked, after little was read."""
    assert len(message) < 1000
    assert server.sent < 40 * MEGABYTE
    if attack.encoding in ("br", "zstd"):
        assert "which was not asked for" in message


class HostileServer(LocalServer):
    """Listens on a free port of the loopback while in its ``with`` block."""

    def __init__(self, attack: Attack) -> None:
        super().__init__()
        self.attack = attack
        self.sent = 0
        """Bytes of bodies that clients took, and what the system holds for them."""
        self.requests: list[bytes] = []

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            head = b""
            length = 0
            while (line := stream.readline()) not in (b"\r\n", b""):
                head += line
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            stream.read(length)
            self.requests.append(head)
            encoding = f"Content-Encoding: {self.attack.encoding}\r\n" if self.attack.encoding else ""
            start = f"HTTP/1.1 {self.attack.status} X\r\nContent-Type: application/json\r\n{encoding}"
            try:
                connection.sendall(f"{start}X-Elastic-Product: Elasticsearch\r\nConnection: close\r\n\r\n".encode())
                for piece in self.attack.pieces():
                    connection.sendall(piece)
                    self.sent += len(piece)
            except OSError:  # the client has had enough
                return
