"""BadRecords: what happens to a record that cannot be used."""

from __future__ import annotations

from jinavec.errors import InvalidRecord

SHOWN = 5


class BadRecords:
    """Refuses the first bad record; or, told to skip, counts them and remembers the first few reasons."""

    def __init__(self, *, skip: bool = False) -> None:
        self.skip = skip
        self.count = 0
        self.reasons: list[str] = []

    def __call__(self, place: str, reason: str) -> None:
        """Report a bad record.

        Args:
            place: where it stands, such as ``notes.jsonl:3``.
            reason: why it cannot be used, in one line.

        Raises:
            InvalidRecord: bad records are not to be skipped.
        """
        if not self.skip:
            raise InvalidRecord(f"{place}: {reason} (--skip-bad goes on without such records)")
        self.count += 1
        if len(self.reasons) < SHOWN:
            self.reasons.append(f"{place}: {reason}")
