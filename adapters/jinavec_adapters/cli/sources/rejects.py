"""Rejects: what happens to a record that cannot be used."""

from __future__ import annotations

from jinavec.errors import InvalidInput, InvalidRecord
from jinavec_adapters.cli.output import note

SHOWN = 5
"""Reasons that are kept to be shown."""


class Rejects:
    """Stops at the first record that cannot be used; or, told to skip, counts them and keeps the first few reasons."""

    def __init__(self, *, skip: bool = False) -> None:
        self.skip = skip
        self.count = 0
        self.reasons: list[str] = []

    def __call__(self, place: str, reason: str) -> None:
        """Report a record.

        Args:
            place: where it stands, such as ``notes.jsonl:3``.
            reason: why it cannot be used, in one line.

        Raises:
            InvalidRecord: such records are not to be skipped.
        """
        self.whole(InvalidRecord(f"{place}: {reason}" + ("" if self.skip else " (--skip-bad skips such records)")))

    def whole(self, error: InvalidInput) -> None:
        """Report a file of which nothing can be used, by the error that says so; it is raised unless told to skip."""
        if not self.skip:
            raise error
        self.count += 1
        if len(self.reasons) < SHOWN:
            self.reasons.append(str(error))

    def report(self, used: int) -> None:
        """Name the first records that were skipped, on standard error.

        Args:
            used: the records that could be used, or were removed.

        Raises:
            InvalidInput: some were skipped, and none could be used.
        """
        if self.count and not used:
            raise InvalidInput(f"no record could be used; {self.count} were skipped, the first: {self.reasons[0]}")
        for reason in self.reasons:
            note(f"skipped {reason}")
        if self.count > len(self.reasons):
            note(f"skipped {self.count - len(self.reasons)} more")
