"""Wire codecs: pure functions between bytes and messages, one file per protocol, used by client and server alike.

Each protocol is a module with the same functions; nothing here touches a socket:

    encode_request(request) -> bytes             decode_request(body) -> EmbedRequest
    encode_reply(reply) -> bytes                 decode_reply(body, request) -> EmbedReply
    encode_error(error) -> (status, bytes)       decode_error(status, body) -> WireError

and with ``SERVER``, what a server of that protocol does by itself. In ``qdrant`` one body carries several requests,
so it takes and gives tuples.
"""
