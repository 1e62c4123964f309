"""``python -m jinavec``: the command ``jinavec``, found by its entry point, since the core imports no adapter."""

import sys
from importlib.metadata import entry_points

if __name__ == "__main__":
    (command,) = entry_points(group="console_scripts", name="jinavec")
    sys.argv[0] = command.name
    sys.exit(command.load()())
