"""Wire protocols as pure functions between bytes and messages, used by client and server alike.

Each protocol is one module and offers its ``CODEC``; ``codecs.CODECS`` has them by name. A new protocol is a module
like ``ollama``, and a row in ``codecs``.
"""
