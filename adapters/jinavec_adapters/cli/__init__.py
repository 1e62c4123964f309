"""The command line ``jinavec``."""

from jinavec_adapters.cli.entry import main

__all__ = ["main"]
