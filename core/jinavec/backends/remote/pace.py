"""Pace: how many requests at once, and of how many texts, a server takes well; learned from its answers."""

from __future__ import annotations

from dataclasses import dataclass

RISE = 1.1
"""How much faster a server must get for more requests at once to be kept."""
STEP = 4
"""The most by which the number of requests is multiplied at once."""
QUEUE = 0.75
"""Of the timeout: what the last of the requests at once may take if the server does them one after the other."""
LATE, SOON = 0.5, 1 / 16
"""Of the timeout: an answer that takes longer halves the texts of a request, one that takes less doubles them."""
REST, LONGEST_REST = 8, 64
"""Windows between two tries of more requests at once; they double while tries fail."""


class Pace:
    """What is known about a server's pace; lasts as long as its backend, and asks no clock.

    TCP's congestion control (RFC 5681, section 3.1) with requests at once for its window, except that more of them are
    only kept if they help, since a server that works in order just lets them wait:

    - *Slow start.* It begins with one request. After a window, which is as many answers as there are requests at once,
      there are up to four times as many, but never more than the server could answer in time one after the other.
    - *Hill climbing.* If the rate (work a second) did not rise by a tenth, it goes back to the number before, and rests
      for some windows before it tries again. Two at once stay: the server need not wait for the next one.
    - *Timeout.* The texts of a request are halved, and so is the number of requests up to which slow start may go; it
      begins with one request again. That one waits longer than others: a server that works in order first finishes
      those nobody waits for any more.
    - *Another failure.* It begins with one request again, with half the limit of slow start; which stays at four unless
      the server said that it has too much to do.

    What was sent before a loss tells nothing about the pace after it, and so many losses at once count as one.
    """

    def __init__(self, *, batch: int, concurrency: int, timeout: float) -> None:
        """Begin with one request.

        Args:
            batch: the most texts of a request.
            concurrency: the most requests at once.
            timeout: seconds after which an answer counts as lost.
        """
        self.batch = batch
        """Texts of the next request."""
        self.width = 1
        """Requests at once."""
        self.answered_at = float("-inf")
        """When the last answer came."""
        self.is_stalled = False
        """Whether nothing was answered since a timeout."""
        self._most_batch, self._most_width, self._timeout = batch, concurrency, timeout
        self._ceiling = concurrency
        self._changed = self._resized = float("-inf")
        self._window: _Window | None = None
        self._tried: _Tried | None = None
        self._rest, self._next_rest = 0, REST

    def answered(self, *, texts: int, work: float, sent: float, now: float, more: bool) -> None:
        """Learn from an answer.

        Args:
            texts: of the request.
            work: how much there was to do, in any unit that grows with the texts' lengths.
            sent: when the request was sent, by the same clock as ``now``.
            now: when the answer came.
            more: whether another request waits; if none does, the rate is not the server's.
        """
        self.answered_at, self.is_stalled = now, False
        self._resize(texts, sent, now)
        if not more or sent < self._changed:
            self._window = None
            return
        window = self._window = self._window or _Window(sent)
        window.answers += 1
        window.work += work
        if window.answers >= self.width:
            self._window = _Window(now)
            self._judge(window.work / max(1e-9, now - window.start), now - sent)

    def timed_out(self, *, sent: float, now: float) -> None:
        """Learn that an answer did not come in time."""
        self.is_stalled = True
        if sent >= self._changed:
            self.batch = max(1, self.batch // 2)
            self._ceiling = max(1, self.width // 2)
            self._restart(now)

    def failed(self, *, sent: float, now: float, overloaded: bool) -> None:
        """Learn of a failure that may pass.

        Args:
            sent: when the request was sent.
            now: when it failed.
            overloaded: whether the server said that it has too much to do.
        """
        if sent >= self._changed:
            self._ceiling = min(max(1 if overloaded else STEP, self.width // 2), self._most_width)
            self._restart(now)

    def _restart(self, now: float) -> None:
        self.width, self._changed, self._resized = 1, now, now
        self._window = self._tried = None
        self._rest = 0

    def _resize(self, texts: int, sent: float, now: float) -> None:
        if sent < self._resized:  # of another size, or beside requests of another size
            return
        batch, share = self.batch, (now - sent) / self._timeout
        if share > LATE:
            batch = max(1, min(batch, texts) // 2)
        elif share < SOON and texts >= batch:
            batch = min(2 * batch, self._most_batch)
        if batch != self.batch:
            self.batch, self._resized = batch, now

    def _judge(self, rate: float, seconds: float) -> None:
        """Decide at the end of a window, by its rate and the seconds of its last answer."""
        tried, self._tried = self._tried, None
        if tried is not None and rate < RISE * tried.rate:
            self.width = max(tried.width, min(2, self._most_width, self.width))
            self._take_rest()
        elif self._rest:
            self._rest -= 1
        else:
            if tried is not None:
                self._next_rest = REST
            self._widen(rate, seconds)

    def _widen(self, rate: float, seconds: float) -> None:
        factor = min(STEP, QUEUE * self._timeout / max(1e-9, seconds))
        wider = min(int(self.width * factor), self._ceiling)
        if wider >= self._ceiling < self._most_width:  # slow start ends here; later tries go on
            self._ceiling = self._most_width
            self._take_rest()
        if wider > self.width:
            self._tried = _Tried(self.width, rate)
            self.width = wider

    def _take_rest(self) -> None:
        self._rest, self._next_rest = self._next_rest, min(2 * self._next_rest, LONGEST_REST)


@dataclass
class _Window:
    """Answers that came one after the other while others waited for their turn."""

    start: float
    answers: int = 0
    work: float = 0.0


@dataclass(frozen=True)
class _Tried:
    """What a greater number of requests at once is compared with."""

    width: int
    rate: float
