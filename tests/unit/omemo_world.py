"""Stores and draws for tests of OMEMO: what a step gives them in the enclave."""

from dataclasses import dataclass, field
from hashlib import shake_256
from typing import Any, TypeVar

from crypto.omemo import conversation, device
from crypto.omemo.elements import read_message
from crypto.omemo.model import Bundle, Message, Opened, Peer, Recipient
from crypto.omemo.names import Namespace

T = TypeVar("T")
NOW = 1_800_000_000_000


@dataclass
class Shelf:
    """A store that is a mapping; `puts` names what was set, in order."""

    values: dict[str, Any] = field(default_factory=dict)
    puts: list[str] = field(default_factory=list)

    def get(self, name: str, kind: type[T]) -> T | None:
        found = self.values.get(name)
        assert found is None or isinstance(found, kind)
        return found

    def put(self, name: str, value: object) -> None:
        self.puts.append(name)
        self.values[name] = value

    def delete(self, name: str) -> None:
        self.values.pop(name, None)

    def copy(self) -> "Shelf":
        return Shelf(dict(self.values))


@dataclass
class Dice:
    """Draws that a seed decides."""

    seed: str
    count: int = 0

    def __call__(self, name: str, size: int) -> bytes:
        self.count += 1
        return shake_256(f"{self.seed}/{self.count}/{name}".encode()).digest(size)


@dataclass
class End:
    """A device of ours."""

    jid: str
    device_id: int
    shelf: Shelf = field(default_factory=Shelf)
    dice: Dice = field(default_factory=lambda: Dice("x"))

    @staticmethod
    def make(jid: str, device_id: int) -> "End":
        end = End(jid, device_id, Shelf(), Dice(f"{jid}/{device_id}"))
        device.created(end.shelf, end.dice, device_id=device_id, now_ms=NOW)
        return end

    @property
    def identity(self) -> bytes:
        own = device.own(self.shelf)
        assert own is not None
        return own.identity_key

    def peer(self, namespace: Namespace) -> Peer:
        return Peer(namespace, self.jid, self.device_id)

    def bundle(self, namespace: Namespace) -> Bundle:
        return device.public_bundle(self.shelf, namespace)

    def says(self, text: bytes, namespace: Namespace, *to: "End", bundles: bool = True) -> Message:
        """A message for others of ours, as they read it. `bundles`: whether it may begin sessions."""
        missing = conversation.missing_sessions(self.shelf, [end.peer(namespace) for end in to]) if bundles else ()
        recipients = [
            Recipient(end.peer(namespace), end.bundle(namespace) if end.peer(namespace) in missing else None)
            for end in to
        ]
        made = conversation.encrypted(self.shelf, self.dice, {namespace: text}, recipients)
        assert made.refused == ()
        return read_message(made.elements[namespace])

    def hears(self, message: Message, sender: str, known: bytes | None = None) -> Opened:
        return conversation.decrypted(self.shelf, self.dice, message, own_jid=self.jid, sender_jid=sender, known=known)
