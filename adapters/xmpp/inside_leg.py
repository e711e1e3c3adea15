"""One step of one contact's leg: its records, what it sends out, and what it hands over at its end."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from adapters.inside_api import AnyValue, ContactPolicy, Step
from adapters.xmpp.inside_stanzas import is_opaque
from adapters.xmpp.inside_state import MAX_OWED, Leg, Line, Owed, Talk, Timer
from adapters.xmpp.names import ENCRYPTED, ERROR, NEGOTIATE, NOTICE, RESOURCE, SUBSCRIBE, address_of
from bridge.wire.values import Address, Code, Opaque, Public, Sealed
from crypto.esession.conversation import Conversation, Kind, Reply
from crypto.esession.retained import Retained
from crypto.esession.terms import Terms
from crypto.message import Assurance

TIMER = "tick"
_NO_LEG, _NO_LINE = Leg(), Line()
_NEVER_DISCLOSED = Terms(disclosure=("never",))
_MAY_BE_DISCLOSED = Terms(disclosure=("enabled",))


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
    _before: tuple[Leg, Line] = field(init=False)
    _handovers: list[Callable[[], None]] = field(init=False)
    contact_jid: Address = field(init=False)

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
        """Keep it as it is now."""
        self.step.records.put(f"session/{self.contact.id}/{conversation.thread}", conversation)

    def forget(self, thread: str) -> None:
        """It is over. Unacknowledged messages that were sent on it are to be sent again."""
        self.step.records.delete(f"session/{self.contact.id}/{thread}")
        self.leg = self.leg.without_talk(thread)
        if self.line.sent_on == thread:
            self.line = self.line.resent()

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
    def terms(self) -> Terms:
        """What may truthfully be agreed (docs/decisions/0032-disclosure-and-logging.md)."""
        hidden = self.contact.require in (Assurance.END_TO_END, Assurance.END_TO_END_NO_FORWARD_SECRECY)
        return _NEVER_DISCLOSED if hidden else _MAY_BE_DISCLOSED

    # ---------------------------------------------------------------- what goes out
    @property
    def lane(self) -> str:
        """All stanzas of a contact keep their order."""
        return f"contact/{self.contact.id}"

    def reply(self, thread: str, peer: str, replies: tuple[Reply, ...]) -> None:
        """Send what a conversation wants sent."""
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
            self.step.carry(NEGOTIATE, values, lane=self.lane)

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

    def error(self, to: str, stanza_id: str | None, code: str) -> None:
        """An error stanza in the clear."""
        known = stanza_id if is_opaque(stanza_id) else None
        self.step.carry(ERROR, error_values(self.contact_jid, to, known, code), lane=self.lane)

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


def arm(step: Step, due_ms: int) -> None:
    """Make sure that this half wakes by then; 0: there is nothing to wake for."""
    timer = step.records.get("timer", Timer)
    if due_ms and (timer is None or due_ms < timer.at_ms):
        step.records.put("timer", Timer(due_ms))
        step.wake_at(TIMER, due_ms)


def error_values(sender: Address, to: str, stanza_id: str | None, code: str) -> dict[str, AnyValue]:
    """The values of an `error` request. An id that cannot cross the wall is left out."""
    values: dict[str, AnyValue] = {"from": sender, "to": address_of(to), "code": Code(v=code)}
    if stanza_id is not None:
        values["id"] = Opaque(v=stanza_id)
    return values


def talk_of(conversation: Conversation, peer: str, until_ms: int) -> Talk:
    """The entry of a conversation in its leg."""
    active = conversation.active
    return Talk(conversation.thread, peer, active, 0 if active else until_ms, conversation.closing is not None)
