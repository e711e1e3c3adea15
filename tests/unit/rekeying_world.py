"""Two ends of a session that re-keys, and the two ways between them: stanzas wait there until they are delivered."""

import base64
import hashlib
from collections import deque
from dataclasses import dataclass, field, replace

import msgspec

from crypto.esession.encrypted import read_encrypted
from crypto.esession.keys import Role
from crypto.esession.opening import open_stanza
from crypto.esession.profiles import Profile
from crypto.esession.rekeying_state import Rekeying, RekeyPolicy
from crypto.esession.retained import Chain
from crypto.esession.sealing import seal, seal_empty
from crypto.esession.session import Agreed, ReceivingDirection, SendingDirection, Session
from crypto.esession.suite import Suite, exchange
from crypto.primitives.integers import from_octets, mpi
from crypto.xml import Element, parse

QUICK = Suite(group="x25519")
Way = tuple[bytes, bytes, bytes]
"""KC, KM, C."""
NEVER = RekeyPolicy(stanzas=1 << 40, interval_ms=1 << 60)
ALWAYS = RekeyPolicy(stanzas=1)


def draw(seed: str, size: int) -> bytes:
    """Repeatable randomness."""
    return hashlib.shake_256(seed.encode()).digest(size)


def stored(session: Session) -> Session:
    """The session as it comes back from a sealed record."""
    read = msgspec.msgpack.decode(msgspec.msgpack.encode(session), type=Session)
    assert read == session
    return read


def pair(
    suite: Suite = QUICK, *, frequency: int = 1, mixed: bytes | None = None, seed: str = "s"
) -> tuple[Session, Session]:
    """The sessions of two ends after a negotiation."""
    group = exchange(suite.group)
    x, y = (group.secret(draw(f"{seed}/{name}", group.draw_octets)) for name in "xy")
    e, d = group.public(x), group.public(y)
    cipher, mac = suite.key_octets(), suite.hash_octets
    first = (draw(f"{seed}/kc-a", cipher), draw(f"{seed}/km-a", mac), draw(f"{seed}/c-a", 16))
    second = (draw(f"{seed}/kc-b", cipher), draw(f"{seed}/km-b", mac), draw(f"{seed}/c-b", 16))

    def session(role: Role, own: Way, peer: Way, keys: tuple[bytes, bytes]) -> Session:
        agreed = Agreed(
            role, Profile.LETTER, "aaaaa", Chain.FIRST, False, "may", "never", bytes(8), bytes(8), None, suite,
            ("message", "presence", "iq"), frequency,
        )  # fmt: skip
        rekeying = Rekeying.begin(*keys, frequency=frequency, mixed=mixed)
        return Session(agreed, SendingDirection(*own), ReceivingDirection(*peer, 0, False), rekeying=rekeying)

    alice = session(Role.INITIATOR, first, second, (x, d))
    return alice, session(Role.RESPONDER, second, first, (y, e))


@dataclass
class Side:
    """One end: what it has sent that is not delivered yet, and what it has read."""

    name: str
    session: Session
    on_its_way: deque[bytes] = field(default_factory=deque)
    wire: list[bytes] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    drawn: int = 0

    def draw(self, name: str, size: int) -> bytes:
        """Repeatable randomness."""
        self.drawn += 1
        return draw(f"{self.name}/{self.drawn}/{name}", size)

    @property
    def state(self) -> Rekeying:
        """What it re-keys with."""
        assert self.session.rekeying is not None
        return self.session.rekeying

    def send(self, text: str, *, key: bool = False, now_ms: int = 0, policy: RekeyPolicy | None = None) -> bytes:
        """Seal a body; with a new key if `key`, or when `policy` says so."""
        return self.send_raw(f"<body>{text}</body>".encode(), key=key, now_ms=now_ms, policy=policy)

    def send_raw(
        self, content: bytes, *, key: bool = False, now_ms: int = 0, policy: RekeyPolicy | None = None
    ) -> bytes:
        """Seal any content."""
        chosen = policy or (ALWAYS if key else NEVER)
        return self._sent(*seal(self.session, content, draw=self.draw, now_ms=now_ms, policy=chosen))

    def send_empty(self, *, key: bool = False) -> bytes:
        """Seal a stanza without content."""
        return self._sent(*seal_empty(self.session, draw=self.draw if key else None, now_ms=0))

    def _sent(self, session: Session, c: bytes) -> bytes:
        self.session = stored(session)
        self.on_its_way.append(c)
        self.wire.append(c)
        return c

    def take(self, c: bytes | Element) -> None:
        """Open a stanza of the other end's."""
        session, content = open_stanza(self.session, parse(c) if isinstance(c, bytes) else c)
        self.session = stored(session)
        self.read += [e.text for e in content]

    def take_from(self, other: "Side", most: int = 1 << 20) -> None:
        """Take what is on its way, in order."""
        while other.on_its_way and most:
            self.take(other.on_its_way.popleft())
            most -= 1


def sides(
    suite: Suite = QUICK, *, frequency: int = 1, mixed: bytes | None = None, seed: str = "s"
) -> tuple[Side, Side]:
    """Both ends."""
    alice, bob = pair(suite, frequency=frequency, mixed=mixed, seed=seed)
    return Side(f"alice/{seed}", alice), Side(f"bob/{seed}", bob)


def settle(alice: Side, bob: Side) -> None:
    """Deliver everything, and let each say that it has received what it received."""
    for _ in range(2):
        for one, other in ((alice, bob), (bob, alice)):
            other.take_from(one)
            one.take_from(other)
            one.send("settled")
            other.take_from(one)


def published(c: bytes) -> list[bytes]:
    """The MAC keys in the `<old/>` of a stanza."""
    return [base64.b64decode(e.text) for e in parse(c).elements if e.name == "old"]


def has_key(c: bytes) -> bool:
    """Whether a stanza holds a new public value."""
    return read_encrypted(parse(c), len(base_mac(c))).key is not None


def base_mac(c: bytes) -> bytes:
    """The MAC of a stanza."""
    return next(base64.b64decode(e.text) for e in parse(c).elements if e.name == "mac")


def worn(session: Session, *, sending: int = 0, receiving: int = 0) -> Session:
    """The session after so many blocks under its keys."""
    return replace(
        session,
        sending=replace(session.sending, blocks=sending),
        receiving=replace(session.receiving, blocks=receiving),
    )


def agree(alice: Side, bob: Side) -> None:
    """Neither waits for anything, and what each sends with the other receives with."""
    for one, other in ((alice, bob), (bob, alice)):
        assert one.state.newer == ()
        assert one.state.untold == 0
        assert one.session.sending.cipher_key == other.session.receiving.cipher_key
        assert one.session.sending.mac_key == other.session.receiving.mac_key
        assert one.session.sending.counter == other.session.receiving.counter
        assert one.session.sending.blocks == other.session.receiving.blocks
        assert one.state.sent == one.state.confirmed == other.state.received
        assert one.state.peer_public == exchange(one.session.agreed.suite.group).public(other.state.secret)


def sealed_with(side: Side, extra: bytes, content: bytes = b"<body>x</body>  ") -> Element:
    """An authentic stanza of that end with other fields than it would write."""
    session = side.session
    counter = from_octets(session.sending.counter)
    suite = session.agreed.suite
    data = base64.b64encode(suite.counter_mode(session.sending.cipher_key, counter, content))
    covered = (b"<data>" + data + b"</data>" if content else b"") + extra
    mac = base64.b64encode(suite.hmac(session.sending.mac_key, covered, mpi(counter)))
    start = b"<c xmlns='http://www.xmpp.org/extensions/xep-0200.html#ns'>"
    return parse(start + covered + b"<mac>" + mac + b"</mac></c>")
