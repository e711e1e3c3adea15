"""The half of the gateway itself: the contact to whom the user writes orders (docs/decisions/0144).

It stands where a far network's half stands, so every near half that can encrypt reaches it. It sends nothing out: what
it says goes back through the near half, encrypted, but for two sentences that anybody may read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast

from adapters.control import inside_codes, inside_forms, inside_orders, inside_words, names
from adapters.inside_api import AccountPolicy, ContactPolicy, LegStatus, Steering, Step
from bridge.wire.link import Input
from bridge.wire.values import RequestShape
from crypto.commands import Answer, Order
from crypto.content import Mark, Part
from crypto.message import Assurance, Message, Signal, Standing
from crypto.records import Records
from crypto.transfers.model import FILES_OFF

PAUSE_MS = 10_000
"""The same sentence is not said in plain again before: an answering machine at the other end would answer for ever."""


@dataclass(frozen=True, slots=True)
class Said:
    """When a sentence was said in plain."""

    at_ms: int


class ControlInside:
    """adapters.inside_api.InsideHalf, Commanding, and Filing for the pictures that it sends."""

    network = names.NETWORK
    requests: Mapping[str, RequestShape] = MappingProxyType({})
    commands: Mapping[str, str] = MappingProxyType(names.COMMANDS)

    # ---------------------------------------------------------------- orders
    def to_network(self, step: Step, contact: ContactPolicy, message: Message) -> None:
        """An order in words. It is acknowledged, then answered. Files are none."""
        if message.attachment is not None and message.standing is not Standing.PLAIN:
            step.failed(contact.id, message.id, FILES_OFF)
            return
        step.delivered(contact.id, message.id)
        if message.standing is Standing.PLAIN:
            self._in_plain(step, contact, message)
            return
        if not message.body:  # a reaction, or something taken back
            return
        steering = cast(Steering, step)
        self._say(step, contact, inside_orders.answered(steering, message.body, message.standing))

    def commanded(self, step: Steering, contact: ContactPolicy, order: Order) -> Answer | None:
        """An order by form."""
        return inside_forms.answered(step, order)

    def verification_moved(self, step: Steering, contact: ContactPolicy) -> None:
        """Tell the user, if they drive it."""
        gateway = next((c for c in step.account.contacts if c.network == names.NETWORK), None)
        said = inside_orders.moved(step, contact)
        if gateway is not None and said is not None:
            self._say(step, gateway, said)

    def _say(self, step: Step, contact: ContactPolicy, text: str, marks: tuple[Mark, ...] = ()) -> None:
        id_ = f"c-{step.draw('message-id', 8).hex()}"
        step.deliver(contact.id, Message(id_, text, sent_at_ms=step.now_ms(), marks=marks))

    # ---------------------------------------------------------------- codes to scan, as files
    def file_wanted(self, step: Step, contact: ContactPolicy, message_id: str, offset: int) -> None:
        """A picture is being sent: here are its octets."""
        step.part(contact.id, message_id, inside_codes.part(step.records, message_id, offset))

    def file_part(self, step: Step, contact: ContactPolicy, message_id: str, part: Part) -> None:
        """No file of the user's was asked for."""
        step.report("unexpected-answer")

    def _in_plain(self, step: Step, contact: ContactPolicy, message: Message) -> None:
        """Nothing is done, and nothing about the account is said: only how to reach this half."""
        word, _ = inside_orders.understood(message.body)
        code = names.TOLD_HELP if word == "help" else names.TOLD_ENCRYPT
        said = step.records.get(f"said/{code}", Said)
        step.report("order-in-plain")
        if said is None or not said.at_ms <= step.now_ms() < said.at_ms + PAUSE_MS:
            step.records.put(f"said/{code}", Said(step.now_ms()))
            step.notify(contact.id, code)

    # ---------------------------------------------------------------- what is left of a half
    def started(self, step: Step, *, resumed: bool) -> None:
        """What is driven for contacts that are no longer mapped is forgotten."""
        for name in list(step.records.names("driven/")):
            if step.account.contact_by_id(name.removeprefix("driven/")) is None:
                step.records.delete(name)

    def arrived(self, step: Step, arrival: Input) -> None:
        """Nothing comes from a network that there is not."""
        step.report("arrival-unknown")

    def answered(self, step: Step, answer: Input) -> None:
        """Nothing was asked."""
        step.report("unexpected-answer")

    def woken(self, step: Step, name: str) -> None:
        """No timers are used."""
        step.report("wake-unknown")

    def signalled(self, step: Step, contact: ContactPolicy, signal: Signal) -> None:
        """Of no use here."""

    def acknowledged(self, step: Step, contact: ContactPolicy, message_id: str) -> None:
        """The near half has seen to it."""
        inside_codes.settled(step.records, message_id)

    def refused(self, step: Step, contact: ContactPolicy, message_id: str, code: str) -> None:
        """What is said and not wanted is lost; the user can ask again. A picture becomes characters."""
        step.report("answer-refused")
        sent = inside_codes.settled(step.records, message_id)
        if sent is not None:
            head = inside_words.CODE_DRAWN.format(name=sent.contact, code=code)
            self._say(step, contact, *inside_codes.in_characters(head, sent.text))

    def assurance(self, records: Records, contact: ContactPolicy) -> Assurance:
        """It ends here, in the enclave."""
        return Assurance.END_TO_END

    def status(self, records: Records, account: AccountPolicy) -> Sequence[LegStatus]:
        """There is no leg behind it."""
        return ()

    def trust(self, step: Step, contact: ContactPolicy, decision: str) -> str:
        """There is nobody to verify."""
        return "nothing-to-verify"
