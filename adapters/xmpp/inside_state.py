"""Records of the inside half, one small record for each thing that changes by itself.

`resources`                 Resources     the user's resources, as last heard
`pace`                      Pace          how many requests may still be answered
`timer`                     Timer         when this half wakes next
`leg/CONTACT`               Leg           sessions and negotiations of one contact, without their contents
`line/CONTACT`              Line          how far the queue has moved
`session/CONTACT/THREAD`    Conversation  one ESession (crypto.esession)
`retained/CONTACT`          Retained      retained secrets
`queue/CONTACT/NUMBER`      Queued        one message for the user that is not acknowledged yet
`sent/CONTACT/NUMBER`       SentChunk     which stanzas those went out in, sixteen at a time (inside_references)
`reworded/CONTACT`          Reworded      new wordings of messages, as far as they may be named (inside_references)
`profile/CONTACT`           Told          the contact's name and picture, as last published (inside_profile)
`seen/CONTACT/NUMBER`       SeenChunk     messages from the user: ids, and what became of them
`seen-last/CONTACT`         SeenLast      the newest of those
`proof/CONTACT`             Proof         who compared a string last (adapters.inside_api)
`shown/CONTACT`             Shown         typing and presence of the contact, as last told
"""

from dataclasses import dataclass, field, replace
from hashlib import blake2b

from crypto.esession.profiles import Profile

SECOND_MS = 1000
NEGOTIATION_MS = 30 * SECOND_MS
"""How long a negotiation may take."""
CLOSING_MS = 5 * SECOND_MS
"""How long to wait for the acknowledgement of a termination."""
PAUSE_MS = 500
"""Pause before a new negotiation after one failure; doubles."""
PAUSE_MOST_MS = 600 * SECOND_MS
YIELD_MS = SECOND_MS
"""Pause after a session broke, in which the peer may start the new one itself."""
DECLINED_MS = 300 * SECOND_MS
RECEIPT_MS = 15 * SECOND_MS
"""How long to wait for a receipt before a session is given up; doubles."""
RECEIPT_MOST_MS = 1800 * SECOND_MS
WINDOW = 32
"""Messages sent but not acknowledged. With as many receipts between them they fit the 64 that a peer recognises."""
MAX_TALKS = 6
"""Sessions and negotiations kept for one contact; the oldest give way."""
MAX_HALF_OPEN = 3
"""Requests of one resource that were answered and not completed; the oldest gives way."""
MAX_HALF_OPEN_IN_ACCOUNT = 24
MAX_ASKED = 4
"""Sessions beyond which no further resource is asked for one."""
FURTHER_MS = 2 * SECOND_MS
"""Pause between requests to further resources."""
SUPERSEDED_MS = 30 * SECOND_MS
"""How long the session that gave way to another of the same moment is still read."""
MAX_SHY = 8
SENT_AT_ONCE = 2 << 20
"""Octets of content that one contact is sent in one step: its effects must fit one frame."""
MAX_QUEUED = 10_000
MAX_QUEUED_OCTETS = 16 << 20
"""Of texts that wait for one contact's user."""
MAX_OWED = 512
CHUNK = 32
CHUNKS = 16
"""32 times 16: the last 512 messages of a contact are told apart from doubles."""


@dataclass(frozen=True, slots=True)
class Timer:
    """The next wake that was asked for."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class Owed:
    """What the user is to be told in the next session: a receipt, or with a code a refusal."""

    id: str | None
    code: str | None = None
    to: str = ""
    """Mark of the resource that wrote it; empty: any."""


@dataclass(frozen=True, slots=True)
class Talk:
    """One session or negotiation."""

    thread: str
    peer: str
    """Full JID of the user's resource (bare only before an answer)."""
    active: bool
    until_ms: int = 0
    """When a negotiation or a termination has taken too long; 0 for an active session."""
    closing: bool = False
    """We ended it and await the acknowledgement."""
    held: bool = False
    """Not linked to the verified ones: nothing is sent in it and no text taken (docs/decisions/0037)."""
    refused: bool = False
    """Texts were refused in it because it was held."""
    letter: bool = False
    """Whether the peer keeps to the letter: it tells doubles apart and understands copies."""
    ours: bool = False
    """We asked for it."""
    further: bool = False
    """We asked for it beside a session with another resource."""
    rival: str | None = None
    """Thread of the negotiation with the same resource that both sides had begun at once."""
    superseded: bool = False
    """It gave way to its rival: still read, not sent in."""
    debt: Owed | None = None
    """It is no session but one stanza sealed alone, which tells this."""
    number: int = 0
    """It is one stanza sealed alone: the message of that place in the queue."""

    @property
    def alone(self) -> bool:
        """Whether it is one stanza of ours, and not to become a session."""
        return self.debt is not None or self.number > 0


@dataclass(frozen=True, slots=True)
class Rich:
    """What a message for the user says beside its text."""

    elements: str = field(repr=False)
    """Further children of its stanza, XML."""
    said: str | None = field(default=None, repr=False)
    """The text for peers that do not know those; None: the same."""


@dataclass(frozen=True, slots=True)
class Queued:
    """One message for the user."""

    stanza_id: str
    message_id: str
    body: str = field(repr=False)
    position: int
    plain: bool = False
    """Sent unencrypted: it counts as delivered when the server has it."""
    rich: Rich | None = None
    """What there is beside the text; most have nothing."""

    @property
    def octets(self) -> int:
        """What it counts for in the queue."""
        return len(self.body.encode()) + (0 if self.rich is None else len(self.rich.elements.encode()))

    @property
    def said(self) -> str:
        """The text for peers that know nothing else."""
        return self.body if self.rich is None or self.rich.said is None else self.rich.said


@dataclass(frozen=True, slots=True)
class Line:
    """The queue of one contact: messages [first, next) are kept, those before `sent` are under way."""

    first: int = 1
    next: int = 1
    sent: int = 1
    sent_on: str | None = None
    """Thread of the session that the messages under way were sent in."""
    waiting_since_ms: int = 0
    """Since when a receipt is awaited; 0: none is."""
    heard: bool = False
    """Whether a stanza of the peer's was verified since `waiting_since_ms`."""
    octets: int = 0
    """Of the texts kept."""
    last_ms: int = 0
    """When the contact last wrote; 0: not known."""
    marks: tuple[tuple[str, int], ...] = ()
    """Threads of sessions beside `sent_on`: messages before that number were sent in them."""

    @property
    def waiting(self) -> int:
        """Messages that are not acknowledged (at most: some of them may be already)."""
        return self.next - self.first

    def resent(self) -> "Line":
        """All unacknowledged messages are to be sent again, wherever the next session is."""
        marks = self.marked(self.sent_on, self.sent) if self.sent_on is not None else self.marks
        return Line(self.first, self.next, self.first, octets=self.octets, last_ms=self.last_ms, marks=marks)

    def mark(self, thread: str) -> int | None:
        """The number before which messages were sent in that session, beside others."""
        return next((number for known, number in self.marks if known == thread), None)

    def marked(self, thread: str, number: int) -> tuple[tuple[str, int], ...]:
        """The marks with that one among them."""
        return (*(m for m in self.marks if m[0] != thread), (thread, number))

    def unmarked(self, thread: str) -> tuple[tuple[str, int], ...]:
        """The marks without that one."""
        return tuple(m for m in self.marks if m[0] != thread) if self.marks else self.marks


@dataclass(frozen=True, slots=True)
class Leg:
    """How the leg between the user and one contact stands."""

    talks: tuple[Talk, ...] = ()
    """The last active one is the newest, or the one that the peer wrote in last."""
    profile: Profile | None = None
    """What to try first in the next negotiation."""
    authentic: bool = False
    """Whether the last session was with a peer of the letter, which gives receipts inside the encryption only."""
    last_peer: str | None = None
    receipts: bool = False
    """Whether this peer has ever sent a receipt."""
    receipt_ms: int = RECEIPT_MS
    failures: int = 0
    start_at_ms: int = 0
    wanted: bool = False
    """A session is wanted although no message waits: the peer believes in one that we do not have."""
    plain: bool = False
    """The user last wrote unencrypted, as this contact's policy allows."""
    noticed: bool = False
    asked: bool = False
    owed: tuple[Owed, ...] = ()
    """What waits for a session to be told in."""
    further_at_ms: int = 0
    """When a further resource may be asked."""
    shy: tuple[tuple[str, int, int], ...] = ()
    """Marks of further resources with which no session came about, how often, and when they may be asked again."""

    def talk(self, thread: str | None) -> Talk | None:
        """The session or negotiation of that thread."""
        for talk in self.talks:  # no generator: several times for each stanza
            if talk.thread == thread:
                return talk
        return None

    def with_talk(self, talk: Talk) -> "Leg":
        """With this one as the newest, in place of an earlier one of the thread."""
        return replace(self, talks=(*(t for t in self.talks if t.thread != talk.thread), talk))

    def without_talk(self, thread: str) -> "Leg":
        """Without it."""
        return replace(self, talks=tuple(t for t in self.talks if t.thread != thread))

    def current(self, line: Line) -> Talk | None:
        """The session to send on: where unacknowledged messages are under way, else the newest.

        A peer that tells doubles apart has them sent again in a newer session, so for it this is the newest.
        """
        newest = fallback = None
        for talk in self.talks:
            if not talk.active or talk.held:
                continue
            if talk.superseded:
                fallback = talk
                continue
            newest = talk
            if line.sent > line.first and talk.thread == line.sent_on:
                return talk
        return newest or fallback

    def audience(self, besides: Talk | None) -> tuple[Talk, ...]:
        """The newest session of each other resource."""
        found = {t.peer: t for t in self.talks if t.active and not t.held and not t.superseded}
        if besides is not None:
            found.pop(besides.peer, None)
        return tuple(found.values())

    def of_peer(self, peer: str) -> Talk | None:
        """The newest session with that resource that may be sent in."""
        found = [t for t in self.talks if t.active and not t.held and t.peer == peer]
        return next((t for t in reversed(found) if not t.superseded), found[-1] if found else None)

    @property
    def held(self) -> Talk | None:
        """The newest session that is held until the operator compared its string."""
        return next((t for t in reversed(self.talks) if t.active and t.held), None)

    @property
    def negotiating(self) -> Talk | None:
        """The newest negotiation under way."""
        return next((t for t in reversed(self.talks) if not (t.active or t.closing or t.debt)), None)

    def failed(self, now_ms: int, *, least_ms: int = 0) -> "Leg":
        """A negotiation or a session came to nothing: the next start after a pause that doubles."""
        pause = max(least_ms, min(PAUSE_MOST_MS, PAUSE_MS << min(self.failures, 16)))
        return replace(self, failures=self.failures + 1, start_at_ms=now_ms + pause)

    def due_ms(self, line: Line, now_ms: int) -> int:
        """When time alone will change something; 0: never. A start that may be made already waits for a resource."""
        times = [t.until_ms for t in self.talks if t.until_ms]
        if line.waiting_since_ms:
            times.append(line.waiting_since_ms + self.receipt_ms)
        if self.start_at_ms > now_ms and (line.waiting or self.wanted) and self.current(line) is None:
            times.append(self.start_at_ms)
        return min(times, default=0)


@dataclass(frozen=True, slots=True)
class Shown:
    """What the other network last said of the contact."""

    typing: bool = False
    typing_at_ms: int = 0
    availability: str = ""
    """A word of crypto.message.Availability; empty: none was told."""
    status: str = field(default="", repr=False)
    at_ms: int = 0
    """When the contact was last there."""
    read: int = 0
    """Place in the queue of the last message that the user has read."""


@dataclass(frozen=True, slots=True)
class SeenMessage:
    """What is known of a message from the user. `state` is empty while it is on its way, then `ok` or the refusal."""

    peer_id: str | None
    """The id by which the user's client knows it; None: it has none."""
    wanted: bool
    """Whether a receipt was asked for."""
    mac: str
    """Beginning of the authentication code of its stanza; empty for an unencrypted one."""
    state: str = ""
    by: str = ""
    """Mark of the resource that wrote it."""
    once: str = ""
    """Full JID of the resource that sealed it alone; empty: it came in a session, or in the clear."""


@dataclass(frozen=True, slots=True)
class SeenChunk:
    """Up to 32 messages from the user, in order: their ids, and what is known of each."""

    ids: tuple[str, ...]
    messages: tuple[SeenMessage, ...]


@dataclass(frozen=True, slots=True)
class SeenLast:
    """Number of the newest chunk, and a mark of eight octets for each id in the older ones.

    Most ids are new: that one is in none of the older chunks is seen without reading them.
    """

    number: int
    older: bytes = b""


def mark_of(jid: str) -> str:
    """A resource, told apart in few octets."""
    return blake2b(jid.encode(), digest_size=8).hexdigest()
