"""One step of one contact's leg: its records, what it sends out, and what it hands over at its end."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from adapters.inside_api import AnyValue, ContactPolicy, Step
from adapters.xmpp.inside_identities import judge_for, known_keys, own_identities
from adapters.xmpp.inside_policy import SessionPolicy, policy_of
from adapters.xmpp.inside_stanzas import is_opaque
from adapters.xmpp.inside_state import MAX_OWED, SENT_AT_ONCE, Leg, Line, Owed, Talk, Timer
from adapters.xmpp.names import (
    ENCRYPTED,
    ENCRYPTED_PRESENCE,
    ERROR,
    IQ,
    NEGOTIATE,
    NOTICE,
    RESOURCE,
    STATE,
    SUBSCRIBE,
    address_of,
    bare,
)
from bridge.wire.values import Address, Code, Opaque, Public, Sealed
from crypto.esession.conversation import Conversation, Kind, Outcome, Reply, refresh_due_ms, send, send_error
from crypto.esession.identification import Judge
from crypto.esession.identities import Identity
from crypto.esession.profiles import Profile
from crypto.esession.retained import Retained
from crypto.esession.session import Exhausted
from crypto.esession.terms import Terms
from crypto.message import Standing

TIMER = "tick"
_NO_LEG, _NO_LINE = Leg(), Line()
REFRESH_MS = 60_000
"""Keys that are due are looked at so often, and not more often."""
LATE_MS = 60_000
"""A wake that is so late was refused, and with it what it was to arm: then everything is looked at, at once."""
ANY_TERMS = Terms()
"""For stanzas of sessions that stand: there is nothing to agree on."""


@dataclass(slots=True)
class LegStep:
    """`leg` is changed freely during the step; `finish` keeps it, and only then hands things to the other half.

    The other half may answer at once, with calls that read the records again: nothing may be pending here by then.
    """

    step: Step
    contact: ContactPolicy
    leg: Leg = field(init=False)
    line: Line = field(init=False)
    owed: list[Owed] = field(init=False)
    """What came to be owed in this step."""
    traffic: bool = field(default=False, init=False)
    """Whether somebody wrote to somebody in this step."""
    spent: int = field(default=0, init=False)
    """Octets that go out by OMEMO in this step, from this leg."""
    _before: tuple[Leg, Line] = field(init=False)
    _handovers: list[Callable[[], None]] = field(init=False)
    contact_jid: Address = field(init=False)
    _policy: SessionPolicy | None = field(default=None, init=False, repr=False)
    _terms: Terms | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.leg = self.step.records.get(f"leg/{self.contact.id}", Leg) or _NO_LEG
        self.line = self.step.records.get(f"line/{self.contact.id}", Line) or _NO_LINE
        self._before = self.leg, self.line
        self.owed, self._handovers = [], []
        self.contact_jid = address_of(f"{self.contact.alias}/{RESOURCE}")

    # ---------------------------------------------------------------- records
    def conversation(self, thread: str) -> Conversation | None:
        """The session or negotiation of a thread."""
        return self.step.records.get(f"session/{self.contact.id}/{thread}", Conversation)

    def keep(self, conversation: Conversation) -> None:
        """Keep it as it is now, and see that its keys are renewed or destroyed in time."""
        self.step.records.put(f"session/{self.contact.id}/{conversation.thread}", conversation)
        self.arm_refresh(refresh_due_ms(conversation, self.policy.rekey) or 0)

    def arm_refresh(self, due_ms: int) -> None:
        """Wake to renew keys; not at once: what is due may have to wait for as many stanzas as were agreed."""
        if due_ms:
            arm(self.step, max(due_ms, self.step.now_ms() + REFRESH_MS))

    def due_ms(self) -> int:
        """When time alone changes something in the leg; 0: never."""
        return self.leg.due_ms(self.line, self.step.now_ms())

    def refresh_due_ms(self) -> int:
        """When the keys of a session are to be renewed or destroyed, though nothing is sent; 0: never."""
        if not any(t.active for t in self.leg.talks):
            return 0
        known = [self.conversation(t.thread) for t in self.leg.talks if t.active and not t.held]
        times = [refresh_due_ms(c, self.policy.rekey) for c in known if c is not None]
        return min((t for t in times if t is not None), default=0)

    def forget(self, thread: str) -> None:
        """It is over. Unacknowledged messages that were sent on it are to be sent again."""
        self.step.records.delete(f"session/{self.contact.id}/{thread}")
        self.leg = self.leg.without_talk(thread)
        if self.line.sent_on == thread:
            self.line = self.line.resent()
        if self.line.marks:
            self.line = replace(self.line, marks=self.line.unmarked(thread))

    @property
    def current(self) -> Talk | None:
        """The session to send on."""
        return self.leg.current(self.line)

    @property
    def retained(self) -> Retained:
        """The retained secrets of the user's bare JID."""
        return self.step.records.get(f"retained/{self.contact.id}", Retained) or Retained()

    def keep_retained(self, retained: Retained) -> None:
        """Keep these from now on."""
        self.step.records.put(f"retained/{self.contact.id}", retained)

    @property
    def policy(self) -> SessionPolicy:
        """What the operator asks of the sessions with this contact."""
        if self._policy is None:
            self._policy = policy_of(self.contact)
            if self._policy.closed:
                self.report("policy-malformed")
        return self._policy

    @property
    def identities(self) -> tuple[Identity, ...]:
        """The contact's own signing keys, if it needs any."""
        return own_identities(self.step.records, self.contact.id, self.policy, self.step.draw)

    @property
    def terms(self) -> Terms:
        """What may be agreed on."""
        if self._terms is None:
            known = known_keys(self.step.records, self.step.account.near_address)
            self._terms = self.policy.terms(self.contact.require, self.identities, known)
        return self._terms

    def standing(self, thread: str) -> Standing:
        """What is known of who writes in the session of a thread. What comes without a session proves less."""
        conversation = self.conversation(thread)
        session = conversation.session if conversation is not None else None
        talk = self.leg.talk(thread)
        counts = session is not None and talk is not None and not talk.held and self.policy.counts(session)
        return Standing.VERIFIED if counts else Standing.ENCRYPTED

    @property
    def demands_verified(self) -> bool:
        """Whether only sessions that are linked to a verified one are used."""
        return self.policy.require_verified or self.retained.demands_verified

    @property
    def judge(self) -> Judge:
        """Whether a key that the user's client proved to hold will do."""
        return judge_for(self.policy, self.step.account.near_address, self.step.now_ms())

    # ---------------------------------------------------------------- what goes out
    @property
    def lane(self) -> str:
        """All stanzas of a contact keep their order."""
        return f"contact/{self.contact.id}"

    def reply(self, thread: str, peer: str, replies: tuple[Reply, ...], trace: int | None = None) -> None:
        """Send what a conversation wants sent. `trace`: the message that is in the negotiation's last stanza."""
        for reply in replies:
            stanza_id = f"s-{self.step.draw('stanza-id', 8).hex()}"
            if reply.kind is Kind.ENCRYPTED:
                self.encrypted(thread, peer, stanza_id, reply.payload)
                continue
            values: dict[str, AnyValue] = {
                "from": self.contact_jid,
                "to": address_of(peer),
                "id": Opaque(v=stanza_id),
                "thread": Opaque(v=thread),
                "form": Public(v=reply.payload),
            }
            if reply.kind is Kind.ERROR:
                values["kind"] = Code(v="error")
            self.step.carry(NEGOTIATE, values, lane=self.lane, trace=trace)

    def encrypted(self, thread: str, peer: str, stanza_id: str, content: bytes, trace: int | None = None) -> None:
        """Send encrypted content."""
        values: dict[str, AnyValue] = {
            "from": self.contact_jid,
            "to": address_of(peer),
            "id": Opaque(v=stanza_id),
            "thread": Opaque(v=thread),
            "content": Sealed(v=content),
        }
        self.step.carry(ENCRYPTED, values, lane=self.lane, trace=trace)

    def send(self, conversation: Conversation, content: bytes, kind: str = "message") -> Outcome:
        """Encrypt content in a session, with new keys when they are due. Raises Exhausted."""
        return send(
            conversation,
            content,
            kind=kind,
            draw=self.step.draw,
            now_ms=self.step.now_ms(),
            policy=self.policy.rekey,
        )

    def seal(self, conversation: Conversation, content: bytes, kind: str = "message") -> bytes | None:
        """Encrypt content in a session, and keep the session; None when its keys may not be used any more."""
        outcome = None
        try:
            outcome = self.send(conversation, content, kind)
        except Exhausted:
            outcome = None
        if outcome is None or outcome.conversation is None:
            return None
        self.keep(outcome.conversation)
        return outcome.replies[0].payload

    def seal_error(self, conversation: Conversation, within: bytes) -> bytes | None:
        """The `<error/>` of an iq: what it is stands inside the encryption; None as for `seal`."""
        outcome, now_ms = None, self.step.now_ms()
        try:
            outcome = send_error(
                conversation,
                within,
                condition="undefined-condition",
                error_type="cancel",
                draw=self.step.draw,
                now_ms=now_ms,
            )
        except Exhausted:
            outcome = None
        if outcome is None or outcome.conversation is None:
            return None
        self.keep(outcome.conversation)
        return outcome.replies[0].payload

    def state(self, thread: str, peer: str, content: bytes) -> None:
        """Send encrypted content that nobody is to keep."""
        stanza_id = Opaque(v=f"s-{self.step.draw('stanza-id', 8).hex()}")
        values: dict[str, AnyValue] = {**self._ends(peer), "id": stanza_id, "thread": Opaque(v=thread)}
        self.step.carry(STATE, {**values, "content": Sealed(v=content)}, lane=self.lane)

    def presence(self, peer: str, content: bytes) -> None:
        """Send a presence with encrypted content."""
        self.step.carry(ENCRYPTED_PRESENCE, {**self._ends(peer), "content": Sealed(v=content)}, lane=self.lane)

    def iq(self, peer: str, stanza_id: str, kind: str, *, content: bytes | None = None, code: str = "") -> None:
        """Answer an iq: with encrypted content, or with an error in the clear, by its code."""
        values: dict[str, AnyValue] = {**self._ends(peer), "id": Opaque(v=stanza_id), "kind": Code(v=kind)}
        said: dict[str, AnyValue] = {"code": Code(v=code)} if content is None else {"content": Sealed(v=content)}
        self.step.carry(IQ, {**values, **said}, lane=self.lane)

    def _ends(self, peer: str) -> dict[str, AnyValue]:
        return {"from": self.contact_jid, "to": address_of(peer)}

    def error(self, to: str, stanza_id: str | None, code: str, *, by: str | None = None) -> None:
        """An error stanza in the clear. `by`: the address that the stanza which is refused was sent to.

        Profanity shows an error in the chat's window only when it comes from the address that it wrote to.
        """
        known = stanza_id if is_opaque(stanza_id) else None
        to_bare = by is not None and "/" not in by
        sender = address_of(bare(self.contact.alias)) if to_bare else self.contact_jid
        self.step.carry(ERROR, error_values(sender, to, known, code), lane=self.lane)

    def notice(self, to: str, code: str) -> None:
        """A sentence to the user, in the clear. Never content."""
        stanza_id = Opaque(v=f"n-{self.step.draw('stanza-id', 8).hex()}")
        values: dict[str, AnyValue] = {
            "from": self.contact_jid,
            "to": address_of(to),
            "id": stanza_id,
            "code": Code(v=code),
        }
        self.step.carry(NOTICE, values, lane=self.lane)

    def ask_for_presence(self) -> None:
        """A subscription request to the user, once."""
        if not self.leg.asked:
            self.leg = replace(self.leg, asked=True)
            ends = {"from": address_of(self.contact.alias), "to": address_of(self.step.account.near_address)}
            self.step.carry(SUBSCRIBE, ends, lane=self.lane)

    def report(self, code: str) -> None:
        """Count something of this contact."""
        self.step.report(code, self.contact.id)

    # ---------------------------------------------------------------- the end of the step
    def later(self, handover: Callable[[], None]) -> None:
        """Call this once everything is kept."""
        self._handovers.append(handover)

    def finish(self) -> None:
        """Keep the leg, see to the timer, hand over."""
        if self.owed:
            self._put_off()
        leg, line = self._before
        if self.leg is not leg and self.leg != leg:
            self.step.records.put(f"leg/{self.contact.id}", self.leg)
        if self.line is not line and self.line != line:
            self.step.records.put(f"line/{self.contact.id}", self.line)
        if self.leg is not leg or self.line is not line:
            arm(self.step, self.leg.due_ms(self.line, self.step.now_ms()))
        self._before = self.leg, self.line
        handovers, self._handovers = self._handovers, []
        for handover in handovers:
            handover()

    def _put_off(self) -> None:
        """There is no session to tell it in: it waits for one. Beyond a limit the client has to ask again."""
        waiting = tuple(dict.fromkeys((*self.leg.owed, *self.owed)))
        self.owed = []
        if len(waiting) > MAX_OWED:
            self.report("receipt-dropped")
        self.leg = replace(self.leg, owed=waiting[:MAX_OWED])


def enough(step: Step, spent: int) -> bool:
    """Whether legs that share a step sent as much as fits its frame; then the others have theirs in the next one."""
    if spent < SENT_AT_ONCE:
        return False
    arm(step, step.now_ms() + 1)
    return True


def arm(step: Step, due_ms: int) -> None:
    """Make sure that this half wakes by then; 0: there is nothing to wake for."""
    timer, now = step.records.get("timer", Timer), step.now_ms()
    if timer is not None and timer.at_ms < now - LATE_MS:
        timer, due_ms = None, now
    if due_ms and (timer is None or due_ms < timer.at_ms):
        step.records.put("timer", Timer(due_ms))
        step.wake_at(TIMER, due_ms)


def error_values(sender: Address, to: str, stanza_id: str | None, code: str) -> dict[str, AnyValue]:
    """The values of an `error` request. An id that cannot cross the wall is left out."""
    values: dict[str, AnyValue] = {"from": sender, "to": address_of(to), "code": Code(v=code)}
    if stanza_id is not None:
        values["id"] = Opaque(v=stanza_id)
    return values


def talk_of(conversation: Conversation, peer: str, until_ms: int, known: Talk | None = None) -> Talk:
    """The entry of a conversation in its leg; `known` is the one that stood there."""
    active = conversation.active
    letter = conversation.session is not None and conversation.session.profile is Profile.LETTER
    talk = known or Talk(conversation.thread, peer, active)
    keeps = active and talk.superseded
    return replace(
        talk,
        peer=peer,
        active=active,
        until_ms=talk.until_ms if keeps else 0 if active else until_ms,
        closing=conversation.closing is not None,
        letter=letter,
    )
