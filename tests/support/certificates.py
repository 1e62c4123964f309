"""Certificates of a private authority, made with openssl."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")


def make_pair(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for the loopback, which is its own authority, and its key."""
    folder.mkdir(exist_ok=True)
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*make.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


def demanding(server: tuple[Path, Path], client: Path) -> ssl.SSLContext:
    """Return the side of a server with a pair of its own, which talks to the owner of another certificate only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*server)
    context.load_verify_locations(cafile=client)
    context.verify_mode = ssl.CERT_REQUIRED
    return context
