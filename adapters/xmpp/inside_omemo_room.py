"""Room for what an account keeps of OMEMO sessions beside those in use (decision 0186).

A session keeps the keys of messages that are missing, and a device the sessions before the one in use. Whoever speaks
for the user's account can make devices up and have keys skipped with every contact: all of that together has a bound.
Beyond it the contact that keeps most loses it, except with the device that writes just now. Sessions in use stay.

`omemo-room`   Room   how much is kept with each contact
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from crypto.omemo.sessions import SESSION, Sessions
from crypto.records import Records

T = TypeVar("T")

MAX_ROOM = 16 << 20
"""Octets, in all of an account; with the sessions in use it stays far below what an account may have."""
KEY_OCTETS, SESSION_OCTETS = 128, 1_280
"""What one key of a missing message takes, and one session without such keys: never less than it does."""


@dataclass(frozen=True, slots=True)
class Room:
    """Contacts that something is kept with, and how many octets."""

    kept: tuple[tuple[str, int], ...] = ()


def octets_beside(sessions: Sessions) -> int:
    """What the sessions with a device keep that they could do without."""
    keys = sum(len(each.ratchet.skipped) for each in sessions.kept)
    return KEY_OCTETS * keys + SESSION_OCTETS * max(0, len(sessions.kept) - 1)


def forget_room(records: Records, contact: str) -> None:
    """All that was kept with a contact is gone."""
    _set(records, contact, 0)


@dataclass(frozen=True, slots=True)
class Roomed:
    """The engine's store of one contact, which counts what sessions keep. `report`: told when something is dropped."""

    records: Records
    contact: str
    report: Callable[[str], None] | None = field(default=None, repr=False)

    @property
    def _prefix(self) -> str:
        return f"omemo/{self.contact}/"

    def get(self, name: str, kind: type[T]) -> T | None:
        """See crypto.omemo.store.Store."""
        return self.records.get(self._prefix + name, kind)

    def put(self, name: str, value: object) -> None:
        """See crypto.omemo.store.Store."""
        added = octets_beside(value) - self._held(name) if isinstance(value, Sessions) else 0
        self.records.put(self._prefix + name, value)
        self._count(added, name)

    def delete(self, name: str) -> None:
        """See crypto.omemo.store.Store."""
        held = self._held(name)
        self.records.delete(self._prefix + name)
        self._count(-held, name)

    def _held(self, name: str) -> int:
        before = self.get(name, Sessions) if name.startswith(SESSION) else None
        return 0 if before is None else octets_beside(before)

    def _count(self, added: int, name: str) -> None:
        if not added:
            return
        counted = dict(_room(self.records).kept)
        _set(self.records, self.contact, max(0, counted.get(self.contact, 0) + added))
        if added > 0:
            self._make_room(name)

    def _make_room(self, name: str) -> None:
        kept = sorted(_room(self.records).kept, key=lambda each: -each[1])
        total = sum(octets for _, octets in kept)
        for contact, octets in kept:
            if total <= MAX_ROOM:
                return
            left = bared(self.records, contact, self._prefix + name)
            total += left - octets
            _set(self.records, contact, left)
            if self.report is not None:
                self.report("omemo-keys-dropped")


def bared(records: Records, contact: str, spared: str) -> int:
    """Leave the sessions in use with a contact, and no keys of missing messages; octets that the spared one keeps."""
    left = 0
    for name in list(records.names(f"omemo/{contact}/{SESSION}")):
        found = records.get(name, Sessions)
        if found is None:
            continue
        if name == spared:
            left = octets_beside(found)
        elif octets_beside(found):
            records.put(name, found.bare())
    return left


def _room(records: Records) -> Room:
    return records.get("omemo-room", Room) or Room()


def _set(records: Records, contact: str, octets: int) -> None:
    before = _room(records)
    others = tuple(each for each in before.kept if each[0] != contact)
    after = Room((*others, (contact, octets)) if octets else others)
    if after != before:
        records.put("omemo-room", after)
