"""A file between two halves of one account, with what both outside halves do: served and kept in memory."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from adapters.inside_api import AccountPolicy, ContactPolicy
from bridge.wire.files import FILE_DROP, FILE_FETCH, FILE_FORGET, FILE_PART, FILE_REQUESTS, FILE_UPLOAD
from bridge.wire.link import Input
from bridge.wire.values import Address, Number, Opaque, Sealed
from crypto.content import PART_OCTETS, Attachment
from crypto.files.digests import SHA256, Digest
from crypto.files.streams import Lock, Made, Method, Sealer, opener
from crypto.message import Assurance, Message
from crypto.transfers.giving import Giver, offer
from crypto.transfers.taking import Taker
from tests.unit.fake_step import Carried, MemoryRecords, MemoryStep

URL = "mxc://one.example/abc"
BOB = ContactPolicy("bob", "matrix", "@bob:one.example", "bob@gate", Assurance.END_TO_END)
ACCOUNT = AccountPolicy("alice", "xmpp", "alice@here", {"matrix": "@alice:one.example"}, (BOB,))


def content_of(size: int) -> bytes:
    """Octets that differ from part to part."""
    return b"".join(number.to_bytes(4, "big") for number in range(size // 4 + 1))[:size]


def sealed_for(method: Method, content: bytes) -> tuple[bytes, Lock]:
    """The file as its sender uploaded it, and what opens it."""
    sealer = Sealer(method, bytes(range(32)), bytes(range(8 if method is Method.CTR else 12)))
    body = sealer.sealed(content)
    tail, made = sealer.finished()
    return body + tail, lock_of(made)


def lock_of(made: Made) -> Lock:
    """What opens a file that we made."""
    return Lock(made.method, made.key, made.iv, sealed=(Digest(SHA256, made.sealed_sha256),))


@dataclass
class Relay:
    """`giving`, `taking`: steps of the two halves; `served` is at URL, `kept` holds what is stored, by transfer."""

    served: bytes
    lock: Lock
    account: AccountPolicy = ACCOUNT
    method: Method = Method.CTR
    refusal: str = "ok"
    kept: dict[str, bytearray] = field(default_factory=dict)
    uploads: list[tuple[Message, Made, bytes]] = field(default_factory=list)
    codes: dict[str, str] = field(default_factory=dict)
    """Requests of these names fail with the code."""
    held: list[tuple[MemoryStep, Carried]] = field(default_factory=list)
    holding: Callable[[Carried], bool] = lambda _: False
    most_parts: int = 0
    """Octets of the largest part that was handed over."""
    stretches: dict[tuple[str, int], bytes] = field(default_factory=dict)
    """What was stored, by transfer and offset."""
    uploaded: dict[bytes, bytes] = field(default_factory=dict)
    """What was uploaded, by its hash."""

    def __post_init__(self) -> None:
        self.giving = MemoryStep(self.account, MemoryRecords(), seed="giving")
        self.taking = MemoryStep(self.account, MemoryRecords(), seed="taking")
        self.restart()

    def restart(self) -> None:
        """The enclave is another process: no cipher is left."""
        self.giver = Giver(FILE_FETCH, FILE_FORGET)
        self.taker = Taker(self.method, FILE_PART, FILE_UPLOAD, FILE_DROP, self._done, endings=True)

    def started(self) -> None:
        """The account is brought in."""
        self.giving.commit(lambda: self.giver.started(self.giving))
        self.taking.commit(lambda: self.taker.started(self.taking))

    @property
    def contact(self) -> ContactPolicy:
        """The contact as mapped."""
        return self.account.contacts[0]

    def send(self, message_id: str = "m1", *, size: int = 0, name: str = "cat.jpg") -> None:
        """A message with the file arrives at one half, and is handed to the other."""
        attachment = Attachment(name, "image/jpeg", size=size)
        message = Message(message_id, "a caption", attachment=attachment)
        self.giving.commit(lambda: offer(self.giving, self.contact, message_id, URL, self.lock))
        self.taking.commit(lambda: self.taker.take(self.taking, self.contact, message))

    def run(self, *, most: int = 10_000) -> None:
        """Carry out what is asked for, until nothing is."""
        for _ in range(most):
            if not self.step():
                return
        raise AssertionError("it does not come to an end")

    def step(self) -> bool:
        """Hand over what is asked for between the halves, and carry out one request. False when there is none."""
        self._across()
        self.held += [(self.giving, carried) for carried in self.giving.take()]
        self.held += [(self.taking, carried) for carried in self.taking.take()]
        for number, (step, carried) in enumerate(self.held):
            if not self.holding(carried):
                del self.held[number]
                self._carry(step, carried)
                self._across()
                return True
        return False

    def _across(self) -> None:
        while self.taking.pulls or self.giving.parts:
            pulls, self.taking.pulls = self.taking.pulls, []
            for _, message_id, offset in pulls:
                self.giving.commit(lambda m=message_id, o=offset: self.giver.wanted(self.giving, self.contact, m, o))  # type: ignore[misc]
            parts, self.giving.parts = self.giving.parts, []
            for _, message_id, part in parts:
                self.most_parts = max(self.most_parts, len(part.octets))
                self.taking.commit(lambda m=message_id, p=part: self.taker.part(self.taking, self.contact, m, p))  # type: ignore[misc]

    def _carry(self, step: MemoryStep, carried: Carried) -> None:
        assert FILE_REQUESTS[carried.request].fits(carried.values), carried.request
        code, body = self.codes.get(carried.request, "ok"), b""
        if carried.request == FILE_FETCH:
            offset = cast(Number, carried.values["offset"]).v
            size = cast(Number, carried.values["size"]).v
            assert cast(Address, carried.values["url"]).v == URL
            assert size <= PART_OCTETS
            body = self.served[offset : offset + size] if code == "ok" else b""
        elif carried.request in (FILE_PART, FILE_UPLOAD, FILE_DROP):
            code, body = self._kept(carried, code)
        if carried.request in (FILE_FETCH, FILE_UPLOAD) or code != "ok":
            self.answered(step, carried, code, body)

    def _kept(self, carried: Carried, code: str) -> tuple[str, bytes]:
        transfer = cast(Opaque, carried.values["transfer"]).v
        if carried.request == FILE_DROP:
            self.kept.pop(transfer, None)
        elif carried.request == FILE_PART and code == "ok":
            self._once(transfer, cast(Number, carried.values["offset"]).v, cast(Sealed, carried.values["content"]).v)
            held = self.kept.setdefault(transfer, bytearray())
            if len(held) != cast(Number, carried.values["offset"]).v:
                return "begin-again", b""
            held += cast(Sealed, carried.values["content"]).v
        elif carried.request == FILE_UPLOAD and code == "ok":
            if len(self.kept.get(transfer, b"")) != cast(Number, carried.values["size"]).v:
                return "begin-again", b""
            whole = bytes(self.kept.pop(transfer, b""))
            self.uploaded[hashlib.sha256(whole).digest()] = whole
        return code, b'{"there": true}'

    def _once(self, transfer: str, offset: int, content: bytes) -> None:
        """Nothing is ever encrypted a second time at a place of a transfer's key stream."""
        assert self.stretches.setdefault((transfer, offset), content) == content

    def answered(self, step: MemoryStep, carried: Carried, code: str, body: bytes) -> None:
        """Hand an answer in."""
        entry: Input = step.input("answer", carried.request, body, network="matrix", key=carried.key, code=code)
        act = self.giver.answered if step is self.giving else self.taker.answered
        step.commit(lambda: act(step, entry))

    def _done(self, _step: object, _contact: ContactPolicy, message: Message, made: Made, answer: bytes) -> str:
        if self.refusal == "ok":
            self.uploads.append((message, made, answer))
        return self.refusal

    def arrived(self) -> bytes:
        """The file as its recipient opens it."""
        made = self.uploads[-1][1]
        running = opener(lock_of(made))
        return running.opened(self.uploaded[made.sealed_sha256]) + running.finished()
