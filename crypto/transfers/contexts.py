"""Ciphers in the middle of a file: in memory only, and only ever used at the place where the records say they are."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

from crypto.transfers.model import MOST_CONTEXTS

T = TypeVar("T")


@dataclass(slots=True)
class _Running(Generic[T]):
    run: str
    place: int
    cipher: T


class Contexts(Generic[T]):
    """Running ciphers by transfer, the least recently used give way.

    `take` removes the cipher, `put` brings it back further on. A step that raises in between has lost it; one that
    raises afterwards leaves records that name an earlier place, which no cipher is at. Either way it is used no more.
    """

    def __init__(self, most: int = MOST_CONTEXTS) -> None:
        self._most = most
        self._held: OrderedDict[tuple[str, str], _Running[T]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def take(self, account: str, name: str, run: str, place: int) -> T | None:
        """The cipher of that run, if it is exactly there."""
        found = self._held.pop((account, name), None)
        return found.cipher if found is not None and (found.run, found.place) == (run, place) else None

    def stands(self, account: str, name: str, run: str, place: int) -> bool:
        """Whether `take` would find one."""
        found = self._held.get((account, name))
        return found is not None and (found.run, found.place) == (run, place)

    def put(self, account: str, name: str, run: str, place: int, cipher: T) -> None:
        """Keep it for the next part."""
        self._held[account, name] = _Running(run, place, cipher)
        self._held.move_to_end((account, name))
        while len(self._held) > self._most:
            self._held.popitem(last=False)

    def forget(self, account: str, name: str) -> None:
        """It is needed no more."""
        self._held.pop((account, name), None)
