"""The inside half of the loopback network: it seals for itself and opens what comes back.

The assurance is `none` although nothing crosses the wall in plain: there is no person at the other end.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from adapters.inside_api import AccountPolicy, ContactPolicy, LegStatus, Step
from adapters.loopback.names import ECHO, ECHOED, NETWORK, REQUESTS
from bridge.wire.link import Input
from bridge.wire.values import Address, RequestShape, Sealed
from crypto.message import Assurance, Message, Signal
from crypto.records import Records


@dataclass(frozen=True, slots=True)
class Key:
    """The account's key of 32 octets; known to nobody but this half."""

    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sent:
    """A message on its way, by the idempotency key of its request."""

    contact: str
    message_id: str
    echo: str = ""
    """The id of what comes back."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What came back was handed on; its request has no answer yet, so it may be repeated and come back again."""


class LoopbackInside:
    """adapters.inside_api.InsideHalf: the least that one has to do."""

    network = NETWORK
    requests: Mapping[str, RequestShape] = REQUESTS

    def started(self, step: Step, *, resumed: bool) -> None:
        """Make a key at the first start. Nonces are random, so nothing has to be retired."""
        if step.records.get("key", Key) is None:
            step.records.put("key", Key(step.draw("loopback-key", 32)))

    def to_network(self, step: Step, contact: ContactPolicy, message: Message) -> None:
        """Seal the message and send it round."""
        key = step.records.get("key", Key)
        assert key is not None
        nonce = step.draw("loopback-nonce", 12)
        # The id that comes back is new: the message that returns is another one.
        echo = step.draw("loopback-id", 16).hex()
        told = json.dumps({"id": echo, "body": message.body}).encode()
        sealed = nonce + AESGCM(key.secret).encrypt(nonce, told, contact.address.encode())
        lane = base64.urlsafe_b64encode(contact.id.encode()).decode()
        carried = step.carry(
            ECHO,
            {"to": Address(v=contact.address), "body": Sealed(v=sealed)},
            lane=lane,
            trace=message.position or None,
        )
        step.trace(message.position, "sealed")
        step.records.put(f"sent/{carried}", Sent(contact.id, message.id, echo))

    def answered(self, step: Step, answer: Input) -> None:
        """The request was carried out, or will never be: say so to the sender's side, once."""
        name = f"sent/{answer.key}"
        sent = step.records.get(name, Sent)
        if sent is None:
            step.report("unexpected-answer")
            return
        step.records.delete(name)
        step.records.delete(f"heard/{sent.echo}")
        if answer.code == "ok":
            step.delivered(sent.contact, sent.message_id)
        else:
            step.failed(sent.contact, sent.message_id, "far-network-refused")

    def arrived(self, step: Step, arrival: Input) -> None:
        """Open what came back and deliver it. What does not open is counted and dropped: nobody sent it."""
        address, _, sealed = arrival.body.partition(b"\0")
        contact = step.account.contact_by_address(NETWORK, address.decode("utf-8", "replace"))
        told = self._opened(step, address, sealed)
        if arrival.name != ECHOED or contact is None or told is None:
            step.report("loopback-unauthentic")
            return
        if step.records.get(f"heard/{told['id']}", Heard) is not None:
            step.report("loopback-repeated")
            return
        step.records.put(f"heard/{told['id']}", Heard())
        step.deliver(contact.id, Message(id=told["id"], body=told["body"], position=step.position))

    def _opened(self, step: Step, address: bytes, sealed: bytes) -> dict[str, str] | None:
        key = step.records.get("key", Key)
        plaintext: bytes | None = None
        try:
            if key is not None:
                plaintext = AESGCM(key.secret).decrypt(sealed[:12], sealed[12:], address)
        except (InvalidTag, ValueError):
            pass
        return None if plaintext is None else dict(json.loads(plaintext))

    def woken(self, step: Step, name: str) -> None:
        """No timers are used."""

    def signalled(self, step: Step, contact: ContactPolicy, signal: Signal) -> None:
        """The echo shows nobody who is typing."""

    def acknowledged(self, step: Step, contact: ContactPolicy, message_id: str) -> None:
        """The echo has no use for receipts."""

    def refused(self, step: Step, contact: ContactPolicy, message_id: str, code: str) -> None:
        """Nor for refusals."""

    def assurance(self, records: Records, contact: ContactPolicy) -> Assurance:
        """There is no person at the other end."""
        return Assurance.NONE

    def status(self, records: Records, account: AccountPolicy) -> Sequence[LegStatus]:
        """Always there."""
        return [
            LegStatus(contact.id, NETWORK, Assurance.NONE, "active", waiting=0)
            for contact in account.contacts
            if contact.network == NETWORK
        ]

    def trust(self, step: Step, contact: ContactPolicy, decision: str) -> str:
        """There is nothing to verify."""
        return "nothing-to-verify"
