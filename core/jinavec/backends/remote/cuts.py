"""Cuts that a server does not tell of, as far as the tokens that it counts prove them.

A word has one token at least, and no token reaches from one word into the next (the tokenizers split at spaces first),
so fewer tokens than words were read of a text that was cut. Where a count is what limits are made of, the text is sent
again with more words at its end: a server that read all of it now reads more. Counts too low for any
limit are no counts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from jinavec.wire.messages import EmbedReply, WireError

LEAST = 256
"""The fewest tokens that count as a limit, unless the model's own is lower."""
SPECIAL = 2
"""Tokens of a limit that servers may keep for the special ones, and leave out of their count."""
MORE = " and so on, and so on"


async def is_cut(
    reply: EmbedReply, texts: Sequence[str], limit: int | None, send: Callable[[Sequence[str]], Awaitable[EmbedReply]]
) -> bool:
    """Return whether a server is proved to have cut one of the texts that it replied to.

    Args:
        reply: with the tokens it counted; without, nothing is proved.
        texts: as they were sent.
        limit: the model's, in tokens; one without a limit cuts nothing.
        send: embeds texts as those were.
    """
    if reply.tokens is None or limit is None:
        return False
    words = sum(len(text.encode().split()) for text in texts)  # of bytes: at ASCII spaces alone
    if min(LEAST, limit) <= reply.tokens < words:
        return True
    if len(texts) > 1 or not _is_limit(reply.tokens, limit):
        return False
    try:
        return (await send([texts[0] + MORE])).tokens == reply.tokens
    except WireError:  # it refuses what is too long
        return False


def _is_limit(tokens: int, limit: int) -> bool:
    """Return whether a text may have been cut to so many tokens: the model's limit, or a power of two."""
    counts = range(tokens, tokens + SPECIAL + 1)
    return any(count == limit or (count >= LEAST and count.bit_count() == 1) for count in counts)
