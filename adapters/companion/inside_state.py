"""Records of the companion's inside half, one for each thing that changes by itself.

`own`                     Own           our address while we are online
`timer`                   Timer         when this half wakes next
`pace`                    Pace          how many requests may still be answered
`peer/JID`                Peer          what is known of a bare JID, and its sessions without their contents
`session/JID/THREAD`      Conversation  one ESession (crypto.esession)
`retained/JID`            Retained      retained secrets
`queue/JID/NUMBER`        Queued        one message for the peer that is not acknowledged yet
`seen/JID`                Seen          messages of the peer's that were taken
`inbound/NUMBER`          Inbound       one opened message that the client does not have yet
`inbound`                 Inbounds      number of the next one
"""

from dataclasses import dataclass, field, replace

from adapters.companion.names import Ability
from crypto.esession.profiles import Profile

SECOND_MS = 1000
NEGOTIATION_MS = 30 * SECOND_MS
CLOSING_MS = 5 * SECOND_MS
UNSURE_MS = 5 * SECOND_MS
"""How long a message waits for the word whether its addressee has ESessions."""
PAUSE_MS = 500
PAUSE_MOST_MS = 600 * SECOND_MS
YIELD_MS = SECOND_MS
"""Pause after a session broke, in which the peer may start the new one."""
DECLINED_MS = 300 * SECOND_MS
RECEIPT_MS = 15 * SECOND_MS
"""How long to wait for a receipt before a session is given up; doubles."""
RECEIPT_MOST_MS = 1800 * SECOND_MS
WAITS_MS = 20 * SECOND_MS
"""After so long without a session the user is told that messages wait."""
WINDOW = 32
MAX_TALKS = 6
MAX_QUEUED = 1000
MAX_QUEUED_OCTETS = 8 << 20
SENT_AT_ONCE = 2 << 20
MAX_RESOURCES = 32
MAX_OWED = 512
MAX_SEEN = 512
MAX_IQS = 32
MARK = 8


@dataclass(frozen=True, slots=True)
class Own:
    """Our full JID; empty while we are offline."""

    jid: str = ""


@dataclass(frozen=True, slots=True)
class Timer:
    """The next wake that was asked for."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class Pace:
    """A bucket of answers to requests, each of which costs modular exponentiations."""

    left_thousandths: int = 20_000
    at_ms: int = 0

    def used(self, now_ms: int) -> "Pace | None":
        """After one answer; None when none is left. One comes back each second, at most 20."""
        left = min(20_000, self.left_thousandths + max(0, now_ms - self.at_ms))
        return None if left < 1000 else Pace(left - 1000, now_ms)


@dataclass(frozen=True, slots=True)
class Resource:
    """One address of the peer's and what is known of it."""

    jid: str
    ability: Ability


@dataclass(frozen=True, slots=True)
class Talk:
    """One session or negotiation."""

    thread: str
    peer: str
    """Full JID of the peer's resource (bare only before an answer)."""
    active: bool
    until_ms: int = 0
    """When a negotiation or a termination has taken too long; 0 for an active session."""
    closing: bool = False
    """We ended it and await the acknowledgement."""
    held: bool = False
    """Not linked to the verified ones: nothing is sent in it, and no text of it shown (docs/decisions/0037)."""
    refused: bool = False
    """Texts were refused in it because it was held."""
    refresh_ms: int = 0
    """When its keys have something to be done about; 0: not before the next stanza."""


@dataclass(frozen=True, slots=True)
class Queued:
    """One message of the user's. `stanza` is what the client wrote."""

    id: str
    """Its authentic id (XEP-0359), which the receipt names."""
    client_id: str
    """The id that the client gave it; empty when it gave none."""
    wanted: bool
    """Whether the client asked for a receipt."""
    stanza: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Inbound:
    """An opened message, until the client has it. `receipt`: the id to acknowledge then, if its sender asked."""

    peer: str
    receipt: str | None
    stanza: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Inbounds:
    """Number of the next opened message."""

    next: int = 1


@dataclass(frozen=True, slots=True)
class Seen:
    """Marks of eight octets of the last messages that were taken, oldest first."""

    marks: bytes = b""


@dataclass(frozen=True, slots=True)
class Line:
    """The queue of one peer: messages [first, next) are kept, those before `sent` are under way."""

    first: int = 1
    next: int = 1
    sent: int = 1
    sent_on: str | None = None
    waiting_since_ms: int = 0
    """Since when a receipt is awaited; 0: none is."""
    octets: int = 0
    tried: int = 1
    """Messages before this one were encrypted and sent at least once."""

    @property
    def waiting(self) -> int:
        """Messages that are not acknowledged."""
        return self.next - self.first

    def resent(self) -> "Line":
        """All unacknowledged messages are to be sent again."""
        return Line(self.first, self.next, self.first, octets=self.octets, tried=self.tried)


@dataclass(frozen=True, slots=True)
class Peer:
    """How things stand with one bare JID."""

    encrypts: bool = False
    """It was known to have ESessions: from then on nothing goes to it in plain unless the user says so."""
    plain: bool = False
    """The user said so."""
    quiet: bool = False
    """The user ended the session: the next is started by the next message."""
    talks: tuple[Talk, ...] = ()
    """The last active one is the newest."""
    resources: tuple[Resource, ...] = ()
    unsure_until_ms: int = 0
    """It was asked what it is able to, and may answer until then; 0: it was not asked since we are online."""
    line: Line = Line()
    profile: Profile | None = None
    authentic: bool = False
    """Whether the last session was with a peer of the letter, whose receipts are encrypted."""
    receipt_ms: int = RECEIPT_MS
    failures: int = 0
    start_at_ms: int = 0
    wanted: bool = False
    """A session is wanted although no message waits."""
    since_ms: int = 0
    """Since when messages wait without a session; 0: none do, or the user was told."""
    warned: bool = False
    """The user was told of unencrypted messages since the last session began."""
    owed: tuple[str, ...] = ()
    """Ids of messages to acknowledge in the next session."""
    iqs: tuple[str, ...] = ()
    """Ids of the peer's requests that came encrypted: so is their answer."""

    # ------------------------------------------------------------ sessions
    def talk(self, thread: str | None) -> Talk | None:
        """The session or negotiation of that thread."""
        return next((t for t in self.talks if t.thread == thread), None)

    def with_talk(self, talk: Talk) -> "Peer":
        """With this one as the newest, in place of an earlier one of the thread."""
        return replace(self, talks=(*(t for t in self.talks if t.thread != talk.thread), talk))

    def without_talk(self, thread: str) -> "Peer":
        """Without it. Unacknowledged messages that were sent on it are to be sent again."""
        line = self.line.resent() if self.line.sent_on == thread else self.line
        return replace(self, talks=tuple(t for t in self.talks if t.thread != thread), line=line)

    @property
    def current(self) -> Talk | None:
        """The session to send on."""
        return next((t for t in reversed(self.talks) if t.active and not t.held), None)

    @property
    def held(self) -> Talk | None:
        """The newest session that is held until the user compared its string."""
        return next((t for t in reversed(self.talks) if t.active and t.held), None)

    @property
    def negotiating(self) -> Talk | None:
        """The newest negotiation under way."""
        return next((t for t in reversed(self.talks) if not t.active and not t.closing), None)

    def failed(self, now_ms: int, *, least_ms: int = 0) -> "Peer":
        """A negotiation or a session came to nothing: the next start after a pause that doubles."""
        pause = max(least_ms, min(PAUSE_MOST_MS, PAUSE_MS << min(self.failures, 16)))
        return replace(self, failures=self.failures + 1, start_at_ms=now_ms + pause)

    # ------------------------------------------------------------ addresses
    def able(self, ability: Ability) -> tuple[str, ...]:
        """Addresses of which that is known, the newest last."""
        return tuple(r.jid for r in self.resources if r.ability is ability)

    def target(self) -> str | None:
        """Whom to ask for a session: the newest resource, the bare JID only when no resource is known."""
        able = self.able(Ability.YES)
        return next((jid for jid in reversed(able) if "/" in jid), able[-1] if able else None)

    # ------------------------------------------------------------ time
    def due_ms(self, now_ms: int) -> int:
        """When time alone will change something; 0: never."""
        times = [t.until_ms for t in self.talks if t.until_ms]
        times += [t.refresh_ms for t in self.talks if t.active and t.refresh_ms]
        if self.line.waiting_since_ms:
            times.append(self.line.waiting_since_ms + self.receipt_ms)
        if self.line.waiting and self.unsure_until_ms and not self.encrypts:
            times.append(self.unsure_until_ms)
        if self.since_ms:
            times.append(self.since_ms + WAITS_MS)
        if self.start_at_ms > now_ms and (self.line.waiting or self.wanted) and self.current is None:
            times.append(self.start_at_ms)
        return min(times, default=0)
