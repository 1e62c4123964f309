"""The command line ``jinavec``."""

from jinavec_adapters.cli.main import main

__all__ = ["main"]
