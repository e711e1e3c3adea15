"""The records of one account inside the enclave: sealed ones as the ledger has them, live ones as objects.

Changes gather in an overlay. `commit` seals them into deltas; `revert` forgets them and every object that a failed
step may have changed in place, to be read again from its sealed form.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice, takewhile
from typing import Any, TypeVar

import msgspec

from bridge.wire.link import Remember, SealedRecord
from bridge.wire.values import MAX_BODY
from crypto.enclave.seal import Sealer
from crypto.enclave.statecodec import decoded, encoded

T = TypeVar("T")
ROOT = "root"
_MODULUS = 1 << 256
MAX_RECORD = 2 * MAX_BODY - (4 << 10)
"""Octets of the largest record: what is sealed of it must come in again as a SealedRecord."""
MAX_STATE = 192 << 20
"""Octets of all records of an account, as `cost` counts them: what may be handed out must be taken back."""
MAX_CHANGES = 10 << 20
"""Octets that one step may have sealed: in base64, with its requests, they must fit one frame."""
_ASIDE = 160
"""Octets counted for a record beside its content: names, nonce, tag, and what holds it in memory."""


def cost(content: bytes) -> int:
    """What a record counts for."""
    return len(content) + _ASIDE


class Edited(Exception):
    """The records handed in are not the set that the root record vouches for."""

    def __init__(self) -> None:
        super().__init__("the account's records were changed, removed or exchanged outside")


class StepTooLarge(Exception):
    """A step wants more remembered than one frame, or one record, can hold."""

    def __init__(self) -> None:
        super().__init__("a step changes more than one frame can hold")


class StateFull(Exception):
    """An account would have more state than can be taken in again."""

    def __init__(self) -> None:
        super().__init__("the account has as much state as it may have")


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
        self._octets = 0
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
            vault._octets += cost(record.sealed)
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
    def commit(self, *, room: int = MAX_CHANGES, most: int | None = MAX_STATE) -> list[Remember]:
        """Seal the changes as the next step; empty when nothing was changed.

        `room`: octets that may be sealed now. `most`: octets that a step may make the account's state grow to.
        Raises StepTooLarge, StateFull; then nothing has changed.
        """
        self._seen.clear()
        if not self._overlay:
            return []
        step = self.step + 1
        # Whatever cannot be encoded must raise before anything is changed.
        contents = {
            name: None if isinstance(value, _Gone) else encoded(value, self._pickle_key)
            for name, value in self._overlay.items()
        }
        self._require_room(contents, room, most)
        deltas = [self._kept(name, content, step) for name, content in contents.items()]
        self._live.update((name, value) for name, value in self._overlay.items() if contents[name] is not None)
        self._overlay = {}
        self.step = step
        root = msgspec.msgpack.encode(Root(step, self._members.to_bytes(32, "big")))
        sealed = self._sealer.seal(ROOT, self._root, step, root)
        deltas.append(Remember(name=self._root, version=step, sealed=sealed))
        return deltas

    def _require_room(self, contents: Mapping[str, bytes | None], room: int, most: int | None) -> None:
        changed = [content for content in contents.values() if content is not None]
        added = sum(map(cost, changed))
        if added > room or any(len(content) > MAX_RECORD for content in changed):
            raise StepTooLarge
        if most is not None and self._octets + added > most:
            entries = (self._entries.get(name) for name in contents)
            dropped = sum(cost(entry.sealed) for entry in entries if entry is not None)
            if added > dropped and self._octets + added - dropped > most:
                raise StateFull

    def _kept(self, name: str, content: bytes | None, step: int) -> Remember:
        entry = self._entries.pop(name, None)
        if entry is not None:
            self._members -= entry.member
            self._octets -= cost(entry.sealed)
        opaque = self._sealer.opaque(name) if entry is None else entry.opaque
        if content is None:
            self._live.pop(name, None)
            self._order.remove(name)
            self._members %= _MODULUS
            return Remember(name=opaque, version=step, sealed=None)
        sealed = self._sealer.seal(name, opaque, step, content)
        member = self._sealer.member(opaque, step, sealed)
        self._members = (self._members + member) % _MODULUS
        self._octets += cost(sealed)
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
