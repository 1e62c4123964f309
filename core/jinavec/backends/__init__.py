"""Where full-width vectors come from."""
