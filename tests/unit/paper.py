"""A near network for tests of the spine: messages in clear inside `arrival.body`, sent on as `Sealed` octets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapters.inside_api import AccountPolicy, AnyValue, ContactPolicy, LegStatus, Step
from bridge.wire.link import Input
from bridge.wire.values import Address, Code, Opaque, RequestShape, Sealed
from crypto.content import Attachment
from crypto.message import Assurance, Message, Signal
from crypto.records import Records


@dataclass(frozen=True, slots=True)
class Count:
    """How many messages came."""

    messages: int
    resumed: bool


class PaperInside:
    """Delivers `contact NUL text`; obeys a few texts that make it misbehave."""

    network = "paper"
    requests: Mapping[str, RequestShape] = {
        "letter": RequestShape(required={"to": Address, "body": Sealed}),
        "note": RequestShape(required={"to": Address, "about": Opaque, "code": Code}),
    }

    def started(self, step: Step, *, resumed: bool) -> None:
        """Note how it began."""
        before = step.records.get("count", Count)
        step.records.put("count", Count(before.messages if before else 0, resumed))

    def arrived(self, step: Step, arrival: Input) -> None:
        """Deliver, or misbehave."""
        contact, _, text = arrival.body.decode().partition("\0")
        count = step.records.get("count", Count)
        assert count is not None
        step.records.put("count", Count(count.messages + 1, count.resumed))
        if text == "shape":
            step.carry("letter", {"to": Address(v="x@y"), "body": Code(v="code")}, lane="l")
        if text == "undeclared":
            step.carry("secret", {}, lane="l")
        if text == "raise":
            step.carry("letter", {"to": Address(v="x@y"), "body": Sealed(v=b"")}, lane="l")
            raise LookupError(text)
        attachment = Attachment("cat.png") if text == "file" else None
        step.deliver(contact, Message(f"m{step.position}", text, position=step.position, attachment=attachment))

    def to_network(self, step: Step, contact: ContactPolicy, message: Message) -> None:
        """Send the text on."""
        step.carry("letter", {"to": Address(v=contact.alias), "body": Sealed(v=message.body.encode())}, lane="l")
        step.delivered(contact.id, message.id)

    def answered(self, step: Step, answer: Input) -> None:
        """Nothing."""

    def woken(self, step: Step, name: str) -> None:
        """Nothing."""

    def signalled(self, step: Step, contact: ContactPolicy, signal: Signal) -> None:
        """A note that tells which."""
        self._note(step, contact, "signal", type(signal).__name__.lower())

    def acknowledged(self, step: Step, contact: ContactPolicy, message_id: str) -> None:
        """A note to the sender."""
        self._note(step, contact, message_id, "has-it")

    def refused(self, step: Step, contact: ContactPolicy, message_id: str, code: str) -> None:
        """A note to the sender."""
        self._note(step, contact, message_id, code)

    def _note(self, step: Step, contact: ContactPolicy, message_id: str, code: str) -> None:
        values: dict[str, AnyValue] = {
            "to": Address(v=contact.alias),
            "about": Opaque(v=message_id),
            "code": Code(v=code),
        }
        step.carry("note", values, lane="l")

    def assurance(self, records: Records, contact: ContactPolicy) -> Assurance:
        """As good as it gets, for tests of policy."""
        return Assurance.END_TO_END

    def status(self, records: Records, account: AccountPolicy) -> Sequence[LegStatus]:
        """Always there."""
        return [LegStatus(c.id, "paper", Assurance.END_TO_END, "active") for c in account.contacts]

    def trust(self, step: Step, contact: ContactPolicy, decision: str) -> str:
        """Taken."""
        step.records.put("count", Count(0, True))
        return "ok"
