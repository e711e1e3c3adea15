"""Alice's companion without processes: its inside half, step by step, and a Bob who answers at once."""

from collections import deque
from dataclasses import dataclass, field
from functools import partial

from adapters.companion import names
from adapters.companion.inside import CompanionInside
from adapters.companion.inside_stanzas import read_stanza
from adapters.companion.inside_state import Peer
from adapters.companion.names import LOCAL, TO_CLIENT, Ability, Able
from adapters.inside_api import AccountPolicy
from crypto.xml import CLIENT
from tests.unit.companion_peer import ALICE, ALICE_FULL, BOB, BOB_FULL, Bob, from_client
from tests.unit.fake_step import MemoryRecords, MemoryStep


@dataclass
class Desk:
    """Alice's companion: stanzas in, everything that a step wants done out; Bob answers at once."""

    bob: Bob = field(default_factory=Bob)
    inside: CompanionInside = field(default_factory=CompanionInside)
    shown: list[bytes] = field(default_factory=list)
    sent: list[tuple[str, bytes]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    reaching: bool = True
    """Whether stanzas reach Bob."""
    taking: bool = True
    """Whether the client takes what it is handed."""

    def __post_init__(self) -> None:
        account = AccountPolicy("companion", names.NETWORK, ALICE, {}, ())
        self.step = MemoryStep(account, MemoryRecords(), half=self.inside)

    def arrive(self, name: str, body: bytes) -> None:
        """One arrival, and whatever follows from it."""
        waiting = deque([("arrival", name, body, "")])
        while waiting:
            source, name, body, key = waiting.popleft()
            if source == "arrival":
                arrival = self.step.input("arrival", name, body, network=names.NETWORK)
                self.step.commit(partial(self.inside.arrived, self.step, arrival))
            else:
                answer = self.step.input("answer", name, network=names.NETWORK, key=key)
                self.step.commit(partial(self.inside.answered, self.step, answer))
            waiting += self.carried()

    def carried(self) -> list[tuple[str, str, bytes, str]]:
        """Carry out what was asked for; what follows from it."""
        following: list[tuple[str, str, bytes, str]] = []
        for carry in self.step.take():
            value = carry.values.get("stanza") or carry.values["to"]
            if carry.request == names.INQUIRE:
                self.asked.append(str(value.v))
                continue
            assert isinstance(value.v, bytes)
            if carry.request == TO_CLIENT:
                self.shown.append(value.v)
                if self.taking and carry.key.startswith("inbound/"):
                    following.append(("answer", TO_CLIENT, b"", carry.key))
                continue
            self.sent.append((carry.request, value.v))
            if self.reaching and (read_stanza(value.v).attribute("to") or "").startswith(BOB):
                following += [("arrival", names.FROM_SERVER, s, "") for s in self.bob.take(value.v)]
        return following

    def online(self) -> "Desk":
        """Bound, and Bob's client is there and able."""
        self.arrive(names.ONLINE, ALICE_FULL.encode())
        self.arrive(names.ABLE, Able(BOB_FULL, Ability.YES).encode())
        return self

    def write(self, body: str, **named: str) -> None:
        """The client sends a message to Bob."""
        self.arrive(names.FROM_CLIENT, from_client(body, **named))

    def command(self, text: str) -> str:
        """The client writes to the local contact; its answer."""
        before = len(self.shown)
        self.arrive(names.FROM_CLIENT, from_client(text, to=LOCAL))
        return "\n".join(self.told(before))

    def hear(self, *stanzas: bytes) -> None:
        """Stanzas from the server."""
        for stanza in stanzas:
            self.arrive(names.FROM_SERVER, stanza)

    def told(self, since: int = 0) -> list[str]:
        """What the local contact said."""
        return self.texts(LOCAL, since)

    def texts(self, sender: str, since: int = 0) -> list[str]:
        """Texts that the client was shown from a bare JID."""
        stanzas = [read_stanza(octets) for octets in self.shown[since:]]
        chats = [s for s in stanzas if (s.attribute("from") or "").partition("/")[0] == sender]
        return [body.text for s in chats if (body := s.child(CLIENT, "body")) is not None]

    def left(self, text: str) -> bool:
        """Whether the text is in anything that went to the server."""
        return any(text.encode() in stanza for _, stanza in self.sent)

    def later(self, ms: int) -> None:
        """Time passes, and the timer wakes."""
        self.step.now += ms
        self.step.commit(lambda: self.inside.woken(self.step, "tick"))
        for _, name, body, _ in self.carried():
            self.arrive(name, body)

    @property
    def peer(self) -> Peer:
        """The record about Bob."""
        found = self.step.records.get(f"peer/{BOB}", Peer)
        assert found is not None
        return found
