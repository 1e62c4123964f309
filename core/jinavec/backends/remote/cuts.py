"""Cuts that a server does not tell of, as far as the tokens that it counts prove them.

A word has one token at least, and no token reaches from one word into the next (the tokenizers split at spaces first),
so fewer tokens than words were read of a text that was cut. Where a count is what limits are made of, the text is sent
again with more words at its end: a server that read all of it now reads more. Counts too low for any
limit are no counts.
"""

from __future__ import annotations

from collections.abc import Sequence

LEAST = 256
"""The fewest tokens that count as a limit, unless the model's own is lower."""
SPECIAL = 2
"""Tokens of a limit that servers may keep for the special ones, and leave out of their count."""
MORE = " and so on, and so on"


def is_proved(tokens: int, texts: Sequence[str], limit: int) -> bool:
    """Return whether a model with a limit, which counted so many tokens, cannot have read all of some texts."""
    words = sum(len(text.encode().split()) for text in texts)  # of bytes: at ASCII spaces alone
    return min(LEAST, limit) <= tokens < words


def is_limit(tokens: int, limit: int) -> bool:
    """Return whether a text may have been cut to so many tokens: the model's limit, or a power of two."""
    counts = range(tokens, tokens + SPECIAL + 1)
    return any(count == limit or (count >= LEAST and count.bit_count() == 1) for count in counts)
