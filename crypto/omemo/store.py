"""What the engine keeps, and from where it has its randomness."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

T = TypeVar("T")

Draw = Callable[[str, int], bytes]
"""A draw of randomness: for what, and how many octets."""


class Store(Protocol):
    """The records of one device: the part of crypto.records.Records that is used here."""

    def get(self, name: str, kind: type[T]) -> T | None:
        """The record of that name, None when there is none."""

    def put(self, name: str, value: object) -> None:
        """Set the record."""

    def delete(self, name: str) -> None:
        """Remove the record; nothing happens when there is none."""


@dataclass(frozen=True, slots=True)
class Within:
    """A store within another: every name begins with `prefix`."""

    store: Store
    prefix: str

    def get(self, name: str, kind: type[T]) -> T | None:
        """See Store."""
        return self.store.get(self.prefix + name, kind)

    def put(self, name: str, value: object) -> None:
        """See Store."""
        self.store.put(self.prefix + name, value)

    def delete(self, name: str) -> None:
        """See Store."""
        self.store.delete(self.prefix + name)
