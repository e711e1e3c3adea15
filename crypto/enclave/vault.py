"""The records of one account inside the enclave: sealed ones as the ledger has them, live ones as objects.

Changes gather in an overlay. `commit` seals them into deltas; `revert` forgets them and every object that a failed
step may have changed in place, to be read again from its sealed form.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice, takewhile
from typing import Any, TypeVar

import msgspec

from bridge.wire.link import Remember, SealedRecord
from crypto.enclave.seal import Sealer
from crypto.enclave.statecodec import decoded, encoded

T = TypeVar("T")
ROOT = "root"
_MODULUS = 1 << 256


class Edited(Exception):
    """The records handed in are not the set that the root record vouches for."""

    def __init__(self) -> None:
        super().__init__("the account's records were changed, removed or exchanged outside")


@dataclass(frozen=True, slots=True)
class Root:
    """What vouches for all other records: the number of steps, and the set value over the records."""

    step: int
    members: bytes


@dataclass(slots=True)
class _Entry:
    opaque: str
    version: int
    sealed: bytes = field(repr=False)
    member: int


class _Gone:
    """Marks a deleted record in the overlay."""


_GONE = _Gone()


class Vault:
    """All records of an account. Versions are step numbers, so a name never sees one version twice."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._pickle_key = sealer.pickle_key()
        self._root = sealer.opaque(ROOT)
        self._entries: dict[str, _Entry] = {}
        self._live: dict[str, Any] = {}
        self._overlay: dict[str, Any] = {}
        self._seen: set[str] = set()
        self._order: list[str] = []
        self._members = 0
        self.step = 0

    # ------------------------------------------------------------------ restoring
    @classmethod
    def restored(cls, sealer: Sealer, records: Iterable[SealedRecord]) -> "Vault":
        """The vault of these records. Raises Unsealable, Edited."""
        vault = cls(sealer)
        root: Root | None = None
        for record in records:
            name, content = sealer.open(record.name, record.version, record.sealed)
            if name in vault._entries or sealer.opaque(name) != record.name:
                raise Edited
            if name == ROOT:
                root = decoded(content, Root, b"")
            member = 0 if name == ROOT else sealer.member(record.name, record.version, record.sealed)
            vault._members += member
            vault._entries[name] = _Entry(record.name, record.version, record.sealed, member)
        vault._members %= _MODULUS
        vault._accept(root)
        return vault

    def _accept(self, root: Root | None) -> None:
        if root is None:
            if self._entries:
                raise Edited
            return
        if root.members != self._members.to_bytes(32, "big") or self._entries[ROOT].version != root.step:
            raise Edited
        self.step = root.step
        del self._entries[ROOT]
        self._order = sorted(self._entries)

    # ------------------------------------------------------------------ reading and changing
    def get(self, name: str, kind: type[T]) -> T | None:
        """The record, None when there is none. Raises Unsealable, Undecodable."""
        found: Any = self._overlay.get(name)
        if found is None:
            self._seen.add(name)
            found = self._live.get(name)
        if found is None:
            entry = self._entries.get(name)
            if entry is None:
                return None
            _, content = self._sealer.open(entry.opaque, entry.version, entry.sealed)
            found = self._live[name] = decoded(content, kind, self._pickle_key)
        if isinstance(found, _Gone):
            return None
        assert isinstance(found, kind)
        return found

    def put(self, name: str, value: object) -> None:
        """Set a record."""
        self._overlay[name] = value

    def delete(self, name: str) -> None:
        """Remove a record, if it is there."""
        if name in self._entries:
            self._overlay[name] = _GONE
        else:
            self._overlay.pop(name, None)
            self._live.pop(name, None)

    def names(self, prefix: str) -> Iterator[str]:
        """Names that begin with the prefix, sorted."""
        start = bisect_left(self._order, prefix)
        kept = takewhile(lambda name: name.startswith(prefix), islice(self._order, start, None))
        found = set(kept) | {name for name in self._overlay if name.startswith(prefix)}
        return iter(sorted(name for name in found if not isinstance(self._overlay.get(name), _Gone)))

    # ------------------------------------------------------------------ ending a step
    def commit(self) -> list[Remember]:
        """Seal the changes as the next step; empty when nothing was changed."""
        self._seen.clear()
        if not self._overlay:
            return []
        step = self.step + 1
        # Whatever cannot be encoded must raise before anything is changed.
        contents = {
            name: None if isinstance(value, _Gone) else encoded(value, self._pickle_key)
            for name, value in self._overlay.items()
        }
        deltas = [self._kept(name, content, step) for name, content in contents.items()]
        self._live.update((name, value) for name, value in self._overlay.items() if contents[name] is not None)
        self._overlay = {}
        self.step = step
        root = msgspec.msgpack.encode(Root(step, self._members.to_bytes(32, "big")))
        sealed = self._sealer.seal(ROOT, self._root, step, root)
        deltas.append(Remember(name=self._root, version=step, sealed=sealed))
        return deltas

    def _kept(self, name: str, content: bytes | None, step: int) -> Remember:
        entry = self._entries.pop(name, None)
        if entry is not None:
            self._members -= entry.member
        opaque = self._sealer.opaque(name) if entry is None else entry.opaque
        if content is None:
            self._live.pop(name, None)
            self._order.remove(name)
            self._members %= _MODULUS
            return Remember(name=opaque, version=step, sealed=None)
        sealed = self._sealer.seal(name, opaque, step, content)
        member = self._sealer.member(opaque, step, sealed)
        self._members = (self._members + member) % _MODULUS
        self._entries[name] = _Entry(opaque, step, sealed, member)
        if entry is None:
            insort(self._order, name)
        return Remember(name=opaque, version=step, sealed=sealed)

    def revert(self) -> None:
        """Forget the changes, and every object that the failed step had in its hands."""
        for name in self._seen | self._overlay.keys():
            self._live.pop(name, None)
        self._overlay = {}
        self._seen.clear()


@dataclass(frozen=True, slots=True)
class Scope:
    """The records of one adapter half: the vault under a prefix."""

    vault: Vault
    prefix: str

    def get(self, name: str, kind: type[T]) -> T | None:
        """See crypto.records.Records."""
        return self.vault.get(self.prefix + name, kind)

    def put(self, name: str, value: object) -> None:
        """See crypto.records.Records."""
        self.vault.put(self.prefix + name, value)

    def delete(self, name: str) -> None:
        """See crypto.records.Records."""
        self.vault.delete(self.prefix + name)

    def names(self, prefix: str) -> Iterator[str]:
        """See crypto.records.Records."""
        cut = len(self.prefix)
        return (name[cut:] for name in self.vault.names(self.prefix + prefix))
