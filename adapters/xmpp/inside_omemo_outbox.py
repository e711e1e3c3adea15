"""What went out by OMEMO and may have to go out again (decision 0172).

`omemo-line/CONTACT`         Sending   how sending by OMEMO stands
`omemo-out/CONTACT/NUMBER`   Out       the stanza that the message of that place in the queue went out in
"""

from dataclasses import dataclass, field

from adapters.inside_api import ContactPolicy, Step
from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_omemo_own import omemo_on
from crypto.records import Records


@dataclass(frozen=True, slots=True)
class Out:
    """One stanza. What may have reached a client is repeated octet by octet: a device that has it drops the second."""

    content: bytes = field(repr=False)
    form: str
    """`axolotl`, `omemo-2`, or `both`."""
    tries: int = 1
    """How often it went out."""
    due_ms: int = 0
    """When something is to be done about it; 0: the server has not taken it yet."""
    bounces: int = 0
    bounced: bool = False
    """It came back, and waits for its next try."""
    heard: bool = False
    """Clients may have it: the next one says nothing to those that cannot read it, they were told."""


@dataclass(frozen=True, slots=True)
class Sending:
    """How sending by OMEMO stands with one contact."""

    used: bool = False
    """Whether OMEMO was ever spoken, in either direction."""
    receipts: bool = False
    """Whether a client of the user's ever gave a receipt for such a message."""
    look_ms: int = 0
    """When the first `due_ms` of those that went out comes; 0: none."""
    hold_ms: int = 0
    """Until when nothing new is sent, because stanzas came back."""
    copied: int = 0
    """Messages before that place that went out in sessions were copied to the user's devices."""
    given_up: int = 0
    """Messages before that place went out in OMEMO sessions that were given up (`sessions_given_up`)."""


def sending_of(records: Records, contact: str) -> Sending:
    """How it stands."""
    return records.get(f"omemo-line/{contact}", Sending) or Sending()


def keep_sending(at: LegStep, sending: Sending) -> None:
    """Keep it, if it changed."""
    if sending_of(at.step.records, at.contact.id) != sending:
        at.step.records.put(f"omemo-line/{at.contact.id}", sending)


def out_at(at: LegStep, number: int) -> Out | None:
    """What went out for the message of that place."""
    return at.step.records.get(_name(at.contact.id, number), Out) if omemo_on(at.contact) else None


def keep_out(at: LegStep, number: int, out: Out) -> None:
    """Keep it as it is now."""
    at.step.records.put(_name(at.contact.id, number), out)


def drop_out(at: LegStep, number: int) -> None:
    """The message is settled."""
    if omemo_on(at.contact):
        at.step.records.delete(_name(at.contact.id, number))


def forget_sending(step: Step, contact: str) -> None:
    """The contact is not on the map any more, or is no OMEMO device any more."""
    for kind in ("omemo-out", "omemo-copy"):
        for name in list(step.records.names(f"{kind}/{contact}/")):
            step.records.delete(name)
    step.records.delete(f"omemo-line/{contact}")


def speaks_omemo(records: Records, contact: ContactPolicy) -> bool:
    """Whether the user talks with the contact by OMEMO, when there is no session of another kind."""
    return omemo_on(contact) and sending_of(records, contact.id).used


def _name(contact: str, number: int) -> str:
    return f"omemo-out/{contact}/{number:012x}"
