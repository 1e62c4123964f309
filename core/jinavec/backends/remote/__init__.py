"""Backends that ask a server over HTTP."""
