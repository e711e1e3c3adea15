"""One message, sealed, sent and over in three stanzas (XEP-0116, 3-message negotiation with `terminate`).

No input or output of its own. What the contact's end answers is told apart by how sure it is: a receipt that came
sealed by the same key is the contact's, one in plain may be anybody's on the way.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from client.keyring import Keyring
from client.stanzas import Content, Stanza, read_content, read_error, text_content
from crypto.esession import conversation as esession
from crypto.esession.associations import Verdict, accept, assess, remember
from crypto.esession.conversation import Conversation, Event, Kind, Outcome, Payload
from crypto.esession.identification import Judge
from crypto.esession.identities import PublicIdentity
from crypto.esession.refusals import KeyRefused
from crypto.esession.retained import Retained
from crypto.esession.terms import Terms
from crypto.xml import CLIENT, Element

MAX_ANSWERS = 4
"""Negotiations that the contact's end may begin while it is waited for; each costs modular exponentiations."""


class Stage(StrEnum):
    """How far it came."""

    ASKED = "asked"
    SENT = "sent"
    RECEIPT_IN_PLAIN = "receipt-in-plain"
    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"


class Trust(StrEnum):
    """What is known of the contact's key."""

    KNOWN = "known"
    FIRST = "first"
    """Seen for the first time, and kept from now on."""
    PINNED = "pinned"
    UNKNOWN = "unknown"
    """Never seen, and only known keys were allowed."""
    CHANGED = "changed"
    OTHER = "other"
    """Not the one that was named."""


@dataclass(slots=True)
class Once:
    """One message to one resource of a contact. Give it every stanza from the contact; send what it gives back."""

    peer: str
    """Full JID."""
    message_id: str
    thread: str
    keyring: Keyring
    draw: Callable[[str, int], bytes] = field(repr=False)
    pinned: str | None = None
    """The only key that is good: its SHA-256 fingerprint in hexadecimal digits."""
    known_only: bool = False
    stage: Stage = Stage.ASKED
    trust: Trust | None = None
    key: PublicIdentity | None = None
    """The key that the contact proved to hold, also one that was refused."""
    condition: str = ""
    """Why it was refused."""
    sentence: str = ""
    _talks: dict[str, Conversation] = field(default_factory=dict)

    @property
    def contact(self) -> str:
        """The contact's bare JID."""
        return self.peer.partition("/")[0]

    def begin(self, text: str) -> list[Stanza]:
        """The first stanza."""
        content = text_content(text, self.message_id)
        outcome = esession.initiate(self.thread, self._terms(), self.draw, once=content)
        return self._took(self.thread, outcome)

    def received(self, stanza: Element) -> list[Stanza]:
        """A message stanza from the contact."""
        thread = esession.thread_of(stanza)
        if stanza.attribute("type") == "error" and (thread == self.thread or self._is_ours(stanza)):
            self._bounced(stanza)
            return []
        if esession.kind_of(stanza) is None:
            self._plain(read_content(stanza.elements))
            return []
        return self._negotiated(stanza, thread or "")

    # ------------------------------------------------------------ the negotiation
    def _terms(self) -> Terms:
        known = self.keyring.keys_of(self.contact)
        return Terms(
            disclosure=("never", "enabled"),
            identity=self.keyring.identities[0],
            other_identities=self.keyring.identities[1:],
            own_keys=("key",),
            peer_keys=("key", "hash") if known else ("key",),
            known_keys=known,
            three_message=True,
            shield="initiator",
        )

    def _negotiated(self, stanza: Element, thread: str) -> list[Stanza]:
        mine = thread == self.thread
        if not mine and (self.stage is Stage.ASKED or not self._may_begin(stanza, thread)):
            return []
        outcome = esession.receive(
            self._talks.get(thread),
            stanza,
            terms=self._terms(),
            retained=Retained(),
            draw=self.draw,
            judge=self._judge if mine else self._same_key,
        )
        if outcome.event is Event.ONCE_SENT:
            self._sent()
        elif outcome.event is Event.CONTENT_ONCE:
            self._sealed(read_content(outcome.content))
        elif mine and self.stage is Stage.ASKED and outcome.event in (Event.FAILED, Event.DECLINED):
            self._refuse(outcome.condition or "declined", ", ".join(outcome.refused_fields))
        return self._took(thread, outcome)

    def _may_begin(self, stanza: Element, thread: str) -> bool:
        """Another thread: the contact's end answers us as we asked it."""
        if thread in self._talks:
            return True
        return esession.kind_of(stanza) is Payload.REQUEST and len(self._talks) < MAX_ANSWERS

    def _took(self, thread: str, outcome: Outcome) -> list[Stanza]:
        if outcome.conversation is not None:
            self._talks[thread] = outcome.conversation
        types = {Kind.NEGOTIATION: None, Kind.ENCRYPTED: "chat", Kind.ERROR: "error"}
        id_ = self.message_id if thread == self.thread else f"{thread}-answer"
        return [Stanza(self.peer, types[reply.kind], id_, thread, reply.payload) for reply in outcome.replies]

    # ------------------------------------------------------------ the contact's key
    @property
    def _judge(self) -> Judge:
        def judge(public: PublicIdentity | None, _certificates: tuple[bytes, ...]) -> None:
            self.key, self.trust = public, self._trust_of(public)
            if self.trust not in (Trust.KNOWN, Trust.FIRST, Trust.PINNED):
                raise KeyRefused("resp_pubkey")

        return judge

    def _trust_of(self, public: PublicIdentity | None) -> Trust:
        if public is None:
            return Trust.OTHER
        if self.pinned is not None:
            return Trust.PINNED if public.fingerprint().hex() == self.pinned else Trust.OTHER
        verdicts = assess(self.keyring.known, self.contact, public).verdicts
        if Verdict.SAME in verdicts:
            return Trust.KNOWN
        if Verdict.NEW in verdicts:
            return Trust.UNKNOWN if self.known_only else Trust.FIRST
        return Trust.CHANGED

    @property
    def _same_key(self) -> Judge:
        def judge(public: PublicIdentity | None, _certificates: tuple[bytes, ...]) -> None:
            if public is None or public != self.key:
                raise KeyRefused("init_pubkey")

        return judge

    def _sent(self) -> None:
        assert self.key is not None
        self.stage = Stage.SENT
        known = self.keyring.known
        if self.trust is Trust.PINNED:
            self.keyring.known = accept(known, self.contact, self.key, validated=True)
        else:
            self.keyring.known = remember(known, self.contact, self.key)

    # ------------------------------------------------------------ what became of it
    def _is_ours(self, stanza: Element) -> bool:
        return stanza.attribute("id") == self.message_id

    def _bounced(self, stanza: Element) -> None:
        error = read_error(stanza.child(CLIENT, "error"))
        self._refuse(error.condition, error.text)

    def _plain(self, content: Content) -> None:
        if self.stage is Stage.SENT and self.message_id in content.received:
            self.stage = Stage.RECEIPT_IN_PLAIN

    def _sealed(self, content: Content) -> None:
        if content.error is not None and content.origin_id in (None, self.message_id):
            self._refuse(content.error.condition, content.error.text)
        elif self.message_id in content.received and self.stage is not Stage.REFUSED:
            self.stage = Stage.ACKNOWLEDGED

    def _refuse(self, condition: str, sentence: str) -> None:
        if self.stage is not Stage.ACKNOWLEDGED:
            self.stage, self.condition, self.sentence = Stage.REFUSED, condition, sentence
