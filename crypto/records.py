"""What a half of an adapter sees of its account's state: named records, typed by their classes.

A record is a frozen dataclass of plain types (int, str, bytes, bool, None, tuples, enums, other such
dataclasses), or an object of vodozemac's (which is mutable: call `put` again after every change). If a step
raises, no change of it is kept.
"""

from collections.abc import Iterable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Records(Protocol):
    """State of one account, scoped to one adapter half. Names are made of `[a-z0-9-]` words and `/`, then any text."""

    def get(self, name: str, kind: type[T]) -> T | None:
        """The record of that name, None when there is none."""

    def put(self, name: str, value: object) -> None:
        """Set the record; it is sealed and remembered when the step ends."""

    def delete(self, name: str) -> None:
        """Remove the record; nothing happens when there is none."""

    def names(self, prefix: str) -> Iterable[str]:
        """The names that begin with the prefix, in sorted order."""
