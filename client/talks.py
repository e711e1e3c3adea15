"""The ESessions with one contact: negotiations under way, the active session, older ones that still decrypt.

A session is a (bare JID, thread) pair. Nothing here sends or knows the time: see `client.contact`.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from client.tail import REPEATABLE
from crypto.esession.conversation import Conversation
from crypto.esession.identities import PublicIdentity
from crypto.esession.profiles import Profile

OLDER_KEPT = 3
"""Active sessions kept for decrypting beside the one that is sent on."""


@dataclass(slots=True)
class Talk:
    """One thread with the contact. `peer` is the full JID it is with (a bare one until it answers)."""

    conversation: Conversation
    peer: str
    begun_at_s: float
    deadline_s: float | None = None
    """When a negotiation, a termination or an older session is given up."""
    ids: set[str] = field(default_factory=set)
    """Ids of negotiation stanzas, by which a server's error without thread is known."""
    message_macs: deque[str] = field(default_factory=lambda: deque(maxlen=REPEATABLE))
    """Of received stanzas that held a message."""
    ours: bool = False
    """Whether we asked for it."""
    single: bool = False
    """Whether it is only for the acknowledgement of a message that was sealed alone, to the holder of `public`."""
    rival: str | None = None
    """The thread that the other end began while this one was asked for, or the other way about."""
    yielded: bool = False
    """Whether it gave way to its rival as soon as it was there: the user never heard of it."""
    public: PublicIdentity | None = None
    """The public key that the other end proved to hold."""
    key: str | None = None
    weaker: tuple[str, ...] = ()
    counted: bool = False
    """Whether later sessions are measured by it."""

    @property
    def active(self) -> bool:
        """Whether content may be sent in it."""
        return bool(self.conversation.active)

    @property
    def verified(self) -> bool:
        """Whether it counts as compared."""
        return self.conversation.session is not None and self.conversation.session.verified

    @property
    def letter(self) -> bool:
        """Whether the other end reads the specifications by the letter."""
        return self.conversation.session is not None and self.conversation.session.profile is Profile.LETTER

    def encrypts(self, kind: str) -> bool:
        """Whether presence or iq stanzas go into this session."""
        return (
            self.letter and self.conversation.session is not None and kind in self.conversation.session.agreed.stanzas
        )

    @property
    def closing(self) -> bool:
        """Whether it waits for the acknowledgement of a termination."""
        return self.conversation.closing is not None

    @property
    def negotiating(self) -> bool:
        """Whether its negotiation is under way."""
        return not self.active and not self.closing


class Talks:
    """All threads with one contact, by thread; at most one is `current`."""

    def __init__(self) -> None:
        self._by_thread: dict[str, Talk] = {}
        self._current: str | None = None

    def __iter__(self) -> Iterator[Talk]:
        return iter(list(self._by_thread.values()))

    def get(self, thread: str | None) -> Talk | None:
        """The thread's talk."""
        return None if thread is None else self._by_thread.get(thread)

    @property
    def current(self) -> Talk | None:
        """The active session to send on."""
        return self.get(self._current)

    def is_current(self, thread: str) -> bool:
        """Whether this thread is the one to send on."""
        return thread == self._current

    def negotiating(self) -> list[Talk]:
        """Negotiations of sessions under way."""
        return [talk for talk in self if talk.negotiating and not talk.single]

    def keep(self, talk: Talk) -> None:
        """Add or replace the talk of its thread."""
        self._by_thread[talk.conversation.thread] = talk

    def promote(self, talk: Talk) -> None:
        """Send on this one from now on."""
        self.keep(talk)
        self._current = talk.conversation.thread

    def drop(self, thread: str) -> bool:
        """Forget a thread and its keys; true when it was the current one."""
        self._by_thread.pop(thread, None)
        was_current = thread == self._current
        if was_current:
            self._current = None
        return was_current

    def older(self) -> list[Talk]:
        """Active sessions that are not sent on any more, oldest first."""
        return [talk for talk in self if talk.active and talk is not self.current]

    def by_stanza(self, stanza_id: str | None) -> Talk | None:
        """The negotiation that a stanza of this id belongs to."""
        return next((talk for talk in self if stanza_id is not None and stanza_id in talk.ids), None)

    def deadlines(self) -> list[float]:
        """When something is to be given up."""
        return [talk.deadline_s for talk in self if talk.deadline_s is not None]
