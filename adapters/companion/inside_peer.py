"""One step of one peer: its records, what goes out to either side, the end of the step."""

from dataclasses import dataclass, field, replace

from adapters.companion.inside_stanzas import from_local, wrapped
from adapters.companion.inside_state import Own, Peer, Talk, Timer
from adapters.companion.names import HANDSHAKE, PLAIN, SEALED, TO_CLIENT
from adapters.inside_api import Step
from bridge.wire.values import Public, Sealed
from crypto.errors import Misuse
from crypto.esession.conversation import Conversation, Kind, Reply, refresh_due_ms
from crypto.esession.retained import Retained
from crypto.esession.terms import Terms

TIMER = "tick"
LATE_MS = 60_000
"""A wake that is so late was refused, and with it what it was to arm: then everything is looked at, at once."""
LANE = "stream"
_NONE = Peer()
TERMS = Terms(disclosure=("never", "disabled", "enabled"), logging=("may",))
"""Nobody but the user's own client is given the plaintext; it may keep a history. What the other end does with it, it
says itself: the user is told."""


@dataclass(slots=True)
class PeerStep:
    """`peer` is changed freely during the step; `finish` keeps it."""

    step: Step
    jid: str
    """Bare JID."""
    peer: Peer = field(init=False)
    _before: Peer = field(init=False)

    def __post_init__(self) -> None:
        self.peer = self._before = self.step.records.get(f"peer/{self.jid}", Peer) or _NONE

    # ------------------------------------------------------------ records
    @property
    def own(self) -> str:
        """Our full JID; the bare one while we are offline."""
        own = self.step.records.get("own", Own)
        return own.jid if own is not None and own.jid else self.step.account.near_address

    @property
    def online(self) -> bool:
        """Whether there is a stream to the server."""
        own = self.step.records.get("own", Own)
        return own is not None and bool(own.jid)

    @property
    def now(self) -> int:
        """Milliseconds since 1970."""
        return self.step.now_ms()

    def conversation(self, thread: str) -> Conversation | None:
        """The session or negotiation of a thread."""
        return self.step.records.get(f"session/{self.jid}/{thread}", Conversation)

    def keep(self, conversation: Conversation) -> None:
        """Keep it as it is now."""
        self.step.records.put(f"session/{self.jid}/{conversation.thread}", conversation)
        talk = self.peer.talk(conversation.thread)
        due = (refresh_due_ms(conversation) or 0) if conversation.active else 0
        if talk is not None and talk.refresh_ms != due:
            changed = replace(talk, refresh_ms=due)
            self.update(talks=tuple(changed if t is talk else t for t in self.peer.talks))

    def forget(self, thread: str) -> None:
        """It is over."""
        self.step.records.delete(f"session/{self.jid}/{thread}")
        self.peer = self.peer.without_talk(thread)

    @property
    def retained(self) -> Retained:
        """The retained secrets of the peer's bare JID."""
        return self.step.records.get(f"retained/{self.jid}", Retained) or Retained()

    def keep_retained(self, retained: Retained) -> None:
        """Keep these from now on."""
        self.step.records.put(f"retained/{self.jid}", retained)

    # ------------------------------------------------------------ to the server
    def reply(self, talk_thread: str, to: str, replies: tuple[Reply, ...]) -> None:
        """Send what a conversation wants sent."""
        for reply in replies:
            self.send(to, reply, talk_thread, self.new_id())

    def send(self, to: str, reply: Reply, thread: str, stanza_id: str) -> None:
        """Send one thing of a conversation in a message stanza."""
        stanza = wrapped(to, reply.kind, stanza_id, thread, reply.payload)
        if reply.kind is Kind.ENCRYPTED:
            self.step.carry(SEALED, {"stanza": Sealed(v=stanza)}, lane=LANE)
        else:
            self.step.carry(HANDSHAKE, {"stanza": Public(v=stanza)}, lane=LANE)

    def sealed(self, stanza: bytes) -> None:
        """Send a stanza whose content is encrypted."""
        self.step.carry(SEALED, {"stanza": Sealed(v=stanza)}, lane=LANE)

    def plain(self, stanza: bytes) -> None:
        """Pass a stanza of the client's on, untouched."""
        if self.peer.encrypts and not self.peer.plain:
            raise Misuse("nothing goes in plain to a peer that encrypts")
        self.step.carry(PLAIN, {"stanza": Public(v=stanza)}, lane=LANE)

    # ------------------------------------------------------------ to the client
    def show(self, stanza: bytes, key: str | None = None) -> None:
        """Hand a stanza to the user's client."""
        self.step.carry(TO_CLIENT, {"stanza": Public(v=stanza)}, lane=LANE, key=key)

    def tell(self, text: str) -> None:
        """Say something to the user, as the local contact."""
        self.show(from_local(self.own, self.new_id(), text))

    @property
    def name(self) -> str:
        """How the user may call the peer in a command."""
        local = self.jid.partition("@")[0]
        others = (n for n in self.step.records.names("peer/") if n.removeprefix("peer/").partition("@")[0] == local)
        return local if local and len(list(others)) < 2 else self.jid

    def new_id(self) -> str:
        """An id for a stanza."""
        return f"lg-{self.step.draw('stanza-id', 8).hex()}"

    def report(self, code: str) -> None:
        """Count something."""
        self.step.report(code)

    # ------------------------------------------------------------ the end of the step
    def finish(self) -> None:
        """Keep the peer, see to the timer."""
        if self.peer == self._before:
            return
        if self.peer == _NONE:
            self.step.records.delete(f"peer/{self.jid}")
        else:
            self.step.records.put(f"peer/{self.jid}", self.peer)
        self._before = self.peer
        arm(self.step, self.peer.due_ms(self.now))

    def update(self, **changes: object) -> None:
        """Change fields of the peer."""
        self.peer = replace(self.peer, **changes)  # type: ignore[arg-type]


def arm(step: Step, due_ms: int) -> None:
    """Make sure that this half wakes by then; 0: there is nothing to wake for."""
    timer, now = step.records.get("timer", Timer), step.now_ms()
    if timer is not None and timer.at_ms < now - LATE_MS:
        timer, due_ms = None, now
    if due_ms and (timer is None or due_ms < timer.at_ms):
        step.records.put("timer", Timer(due_ms))
        step.wake_at(TIMER, due_ms)


def entry(conversation: Conversation, peer: str, until_ms: int) -> Talk:
    """The entry of a conversation among its peer's talks."""
    active = conversation.active
    return Talk(conversation.thread, peer, active, 0 if active else until_ms, conversation.closing is not None)
