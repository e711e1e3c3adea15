"""The two ends of the bridge without a network: Alice's ESession client, Bob's Matrix client and his homeserver."""

import json
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from adapters.matrix import names as matrix
from adapters.xmpp import names as xmpp
from bridge.wire.link import Carry, Input
from bridge.wire.values import Address, Opaque, Public, Sealed
from crypto.esession.conversation import Conversation, Event, Kind, Outcome, initiate, receive, send
from crypto.esession.profiles import Profile
from crypto.esession.retained import Retained
from crypto.esession.terms import Terms
from crypto.xml import Element, parse
from tests.unit.fake_step import Carried, MemoryRecords, MemoryStep
from tests.unit.matrix_world import ALICE, BOB, Machine, World, policy

BODY_LENGTH = 200
ALICE_JID = "alice@xmpp.example"
BOB_JID = f"bob@gate.example/{xmpp.RESOURCE}"
RECEIPTS = "urn:xmpp:receipts"
Entry = tuple[str, str, str, bytes, str | None]
"""source, network, name, body, key"""


def draw(name: str, size: int) -> bytes:
    """Randomness."""
    return secrets.token_bytes(size)


def body_text(number: int) -> str:
    """A message of 200 characters."""
    return f"{number:06d} ".ljust(BODY_LENGTH, "x")


class AliceEnd:
    """Alice's client: answers negotiations, opens messages and acknowledges them, seals her own."""

    def __init__(self, resource: str = "bench", peer: str = BOB_JID, bare: str = ALICE_JID) -> None:
        self.jid = f"{bare}/{resource}"
        self.peer = peer
        self.thread = f"bench{secrets.token_hex(8)}"
        self.conversation: Conversation | None = None
        self.retained = Retained()
        self.opened: list[str] = []
        self.receipts = 0
        self._count = 0

    @property
    def active(self) -> bool:
        """Whether messages may be sent."""
        return self.conversation is not None and self.conversation.active

    def start(self, profile: Profile = Profile.LETTER) -> list[bytes]:
        """The first stanza of a negotiation."""
        return self._taken(initiate(self.thread, Terms(), draw, profile=profile))

    def hears(self, payload: bytes) -> list[bytes]:
        """A stanza's children came; returns the stanzas that answer it."""
        stanza = parse(
            b"<message xmlns='jabber:client' type='chat'><thread>%s</thread>%s</message>"
            % (self.thread.encode(), payload)
        )
        outcome = receive(self.conversation, stanza, terms=Terms(), retained=self.retained, draw=draw)
        answers = self._taken(outcome)
        if outcome.event is Event.CONTENT:
            answers += self._read(outcome.content)
        elif outcome.event not in {Event.PROVED, Event.ANSWERED, Event.ESTABLISHED}:
            raise AssertionError(f"unexpected: {outcome.event}")
        return answers

    def _read(self, content: Sequence[Element]) -> list[bytes]:
        body = next((e.text for e in content if e.name == "body"), None)
        if body is None:
            self.receipts += sum(e.name == "received" for e in content)
            return []
        self.opened.append(body)
        origin = next(e.attribute("id") for e in content if e.name == "origin-id")
        return self._sealed(f"<received xmlns='{RECEIPTS}' id='{origin}'/>".encode())

    def says(self, text: str) -> bytes:
        """An encrypted message."""
        self._count += 1
        origin = f"<origin-id xmlns='urn:xmpp:sid:0' id='b{self._count}'/>"
        content = f"<body>{text}</body><request xmlns='{RECEIPTS}'/>{origin}"
        return self._sealed(content.encode(), f"b{self._count}")[0]

    def _sealed(self, content: bytes, stanza_id: str | None = None) -> list[bytes]:
        assert self.conversation is not None
        return self._taken(send(self.conversation, content), stanza_id)

    def _taken(self, outcome: Outcome, stanza_id: str | None = None) -> list[bytes]:
        self.conversation = outcome.conversation
        self.retained = outcome.retained or self.retained
        return [self._stanza(r.kind, r.payload, stanza_id) for r in outcome.replies]

    def _stanza(self, kind: Kind, payload: bytes, stanza_id: str | None) -> bytes:
        typed = {Kind.ENCRYPTED: " type='chat'", Kind.ERROR: " type='error'"}.get(kind, "")
        head = f"<message from='{self.jid}' to='{self.peer}' id='{stanza_id or secrets.token_hex(6)}'{typed}>"
        return head.encode() + payload + f"<thread>{self.thread}</thread></message>".encode()


class Far(Machine):
    """The gateway's own device in the world: what it is told becomes inbox entries of the enclave under test."""

    def __init__(self, emit: Callable[[Entry], None]) -> None:
        self.user = ALICE
        self.device = "GATEWAY"
        self.step = MemoryStep(policy(ALICE, BOB), MemoryRecords())
        self._emit = emit

    def arrives(self, name: str, body: object) -> None:
        """An arrival from the homeserver."""
        self._emit(("arrival", "matrix", name, json.dumps(body).encode(), None))

    def answered(self, carried: Carried, body: object, code: str = "ok") -> None:
        """The answer to a request."""
        self._emit(("answer", "matrix", carried.request, json.dumps(body).encode(), carried.key))


@dataclass
class Ends:
    """Both ends, and the queue of entries for the enclave."""

    alice: AliceEnd = field(default_factory=AliceEnd)
    queue: deque[Entry] = field(default_factory=deque)
    world: World = field(default_factory=World)
    sent_to_room: int = 0

    def __post_init__(self) -> None:
        self.far = Far(self.queue.append)
        self.world.machines[ALICE, "GATEWAY"] = self.far
        self.bob = self.world.join(BOB, "BOBDEV", ALICE)
        self.far.arrives(matrix.DEVICE, {"user_id": ALICE, "device_id": "GATEWAY"})
        self.far.arrives(matrix.KEYS, {"device_one_time_keys_count": {}, "full": True})
        self.world.tell_room()
        resources = xmpp.Resources(((self.alice.jid, True),), complete=True)
        self.queue.append(("arrival", "xmpp", xmpp.PRESENCE, resources.encode(), None))

    def stanza(self, octets: bytes) -> None:
        """Alice sent this."""
        self.queue.append(("arrival", "xmpp", xmpp.STANZA, octets, None))

    def carry_out(self, carry: Carry) -> None:
        """A request of the enclave's."""
        if carry.network == "matrix":
            self.sent_to_room += carry.request == matrix.ROOM_SEND
            carried = Carried(carry.request, carry.values, carry.lane, carry.key, carry.trace)
            self.world.carry_out(self.far, carried)
            self.world.settle()
            return
        thread = carry.values.get("thread")
        payload = carry.values.get("form") or carry.values.get("content")
        if isinstance(payload, (Public, Sealed)) and isinstance(thread, Opaque):
            if thread.v != self.alice.thread:
                if self.alice.conversation is not None:
                    return  # the end of an older session
                self.alice.thread = thread.v
            for answer in self.alice.hears(payload.v):
                self.stanza(answer)

    def bob_says(self, text: str) -> None:
        """Bob writes; the event is in the world's timeline, and an arrival for the enclave."""
        self.bob.sends(text)
        self.world.settle()

    def inputs(self, most: int, first: int) -> list[Input]:
        """The next entries, numbered."""
        entries = [self.queue.popleft() for _ in range(min(most, len(self.queue)))]
        return [
            Input.model_validate(
                {
                    "position": first + number,
                    "account": "alice",
                    "source": source,
                    "network": network,
                    "name": name,
                    "body": body,
                    "key": key,
                }
            )
            for number, (source, network, name, body, key) in enumerate(entries)
        ]


def address_of_bob() -> Address:
    """Bob's Matrix address."""
    return Address(v=BOB)
