"""Two endpoints in one process, a network that can lose, hold, repeat and reorder, a clock that is turned by hand."""

import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from client.contact import Contact
from client.events import Happening, MessageDelivered, MessageFailed, MessageReceived, SessionStarted
from client.stanzas import Stanza
from client.store import KeptMessage, SqliteStore, Store
from client.surroundings import ContactSettings
from crypto.esession.profiles import Profile
from crypto.esession.terms import Terms
from crypto.xml import Element, parse

ALICE, BOB = "alice@example.org", "bob@example.net"
SETTINGS = ContactSettings(terms=Terms(groups=(14,)))
_H = TypeVar("_H", bound=Happening)


@dataclass
class Clock:
    """Seconds, turned by hand."""

    now_s: float = 1000.0


@dataclass
class Flying:
    """A stanza on its way."""

    sender: str
    stanza: Stanza

    def element(self) -> Element:
        """As the receiver parses it."""
        start = f"<{self.stanza.name} ".encode()
        octets = self.stanza.octets().replace(start, start + b'xmlns="jabber:client" ', 1)
        return parse(octets)


class Side:
    """One endpoint with its contact."""

    def __init__(self, world: "World", own: str, other: str, store: Store | None = None) -> None:
        self.world, self.own, self.other = world, own, other
        self.full = f"{own}/{next(world.numbers)}"
        self.store = store or SqliteStore(":memory:")
        self.happenings: list[Happening] = []
        self.contact = Contact(other, self.store, self, world.settings)

    def now(self) -> float:
        """The world's clock."""
        return self.world.clock.now_s

    def draw(self, name: str, size: int) -> bytes:
        """Different every time, the same in every run."""
        seed = f"{self.own} {name} {next(self.world.numbers)}".encode()
        return hashlib.shake_256(seed).digest(size)

    def new_id(self, purpose: str) -> str:
        """Counted."""
        return f"{purpose}-{next(self.world.numbers)}"

    def date_s(self) -> float:
        """The same clock."""
        return self.world.clock.now_s

    def own_jid(self) -> str:
        """The bare JID."""
        return self.own

    def transmit(self, stanza: Stanza) -> None:
        """Onto the network."""
        self.world.flying.append(Flying(self.full, stanza))

    def probe(self, peer: str) -> None:
        """Answered at once, unless the way is cut."""
        self.world.probes += 1
        if not self.world.cut and peer in (self.world.alice.full, self.world.bob.full):
            self.contact.reachable()

    def notify(self, happening: Happening) -> None:
        """Noted."""
        self.happenings.append(happening)

    def of(self, kind: type[_H]) -> list[_H]:
        """What happened, of one kind."""
        return [h for h in self.happenings if isinstance(h, kind)]

    @property
    def bodies(self) -> list[str]:
        """Texts received, in order."""
        return [h.body for h in self.of(MessageReceived)]

    @property
    def delivered(self) -> list[str]:
        """Ids acknowledged, in order."""
        return [h.id for h in self.of(MessageDelivered)]

    @property
    def failed(self) -> list[str]:
        """Ids refused."""
        return [h.id for h in self.of(MessageFailed)]

    @property
    def sessions(self) -> int:
        """Sessions that became active."""
        return len(self.of(SessionStarted))

    def say(self, text: str, message_id: str | None = None) -> None:
        """Queue a message."""
        self.contact.queue(KeptMessage(message_id or self.new_id("m"), text))


@dataclass
class World:
    """Alice, Bob, and what lies between."""

    settings: ContactSettings = field(default_factory=lambda: SETTINGS)
    clock: Clock = field(default_factory=Clock)
    flying: list[Flying] = field(default_factory=list)
    carried: list[Flying] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    profile: Profile | None = Profile.LETTER
    cut: bool = False
    """Whether probes go unanswered."""
    probes: int = 0
    alice: Side = field(init=False)
    bob: Side = field(init=False)

    def __post_init__(self) -> None:
        self.alice, self.bob = Side(self, ALICE, BOB), Side(self, BOB, ALICE)

    def meet(self) -> "World":
        """Both are online and see each other."""
        for side, other in ((self.alice, self.bob), (self.bob, self.alice)):
            side.contact.online()
            side.contact.appeared(other.full, self.profile)
        return self

    def restart(self, side: Side) -> Side:
        """A new process with the old store: all keys are gone."""
        fresh = Side(self, side.own, side.other, side.store)
        if side is self.alice:
            self.alice = fresh
        else:
            self.bob = fresh
        return fresh

    def deliver(self, flying: Flying) -> None:
        """Hand one stanza to the endpoint it is for, if that is still there."""
        for side in (self.alice, self.bob):
            if flying.stanza.to in (side.full, side.own):
                self.carried.append(flying)
                side.contact.received(flying.element(), flying.sender)

    def run(self, fate: Callable[[Flying], bool] = lambda _: True) -> "World":
        """Deliver until nothing flies; what `fate` answers false to is lost."""
        for _ in range(10_000):
            if not self.flying:
                return self
            flying = self.flying.pop(0)
            if fate(flying):
                self.deliver(flying)
        raise AssertionError("the endpoints never come to rest")

    def wait(self, seconds: float, fate: Callable[[Flying], bool] = lambda _: True) -> "World":
        """Turn the clock, from deadline to deadline, delivering in between."""
        until = self.clock.now_s + seconds
        for _ in range(10_000):
            self.run(fate)
            times = [t for s in (self.alice, self.bob) if (t := s.contact.deadline()) is not None]
            if not times or min(times) > until:
                self.clock.now_s = until
                return self
            self.clock.now_s = max(self.clock.now_s, min(times))
            for side in (self.alice, self.bob):
                side.contact.tick()
        raise AssertionError("the endpoints never come to rest")
