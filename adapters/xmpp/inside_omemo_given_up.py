"""What went out in OMEMO sessions that a restart gave up, until it is settled (decisions 0172, 0195).

Clients that keep one session with a device cannot open what was sent in the old one once they have read the first
message of the new one. So what they may not have read goes out again first, and new sessions wait for it.
"""

from dataclasses import replace

from adapters.xmpp.inside_leg import LegStep, arm
from adapters.xmpp.inside_omemo_outbox import Out, keep_sending, out_at, sending_of
from adapters.xmpp.inside_state import SECOND_MS
from crypto.omemo.model import Recipient

HASTE_MS = 15 * SECOND_MS
"""How long after the server took one of these a receipt may be missed."""


def sessions_given_up(at: LegStep) -> None:
    """New sessions are begun from now on. Nothing is written of each message: all of them may fit no step."""
    sent = [number for number in range(at.line.first, at.line.next) if out_at(at, number) is not None]
    sending, now = sending_of(at.step.records, at.contact.id), at.step.now_ms()
    keep_sending(at, replace(sending, given_up=max(sent, default=-1) + 1, look_ms=now if sent else sending.look_ms))
    if sent:
        arm(at.step, now)


def is_given_up(at: LegStep, number: int) -> bool:
    """Whether the message of that place went out before the restart."""
    return number < sending_of(at.step.records, at.contact.id).given_up


def closed_by(at: LegStep, ready: tuple[Recipient, ...]) -> bool:
    """Whether a message to those would begin a session while others, in sessions that were given up, may be unread.

    What came back from the server reached nobody, and is sealed anew when it goes again: nothing waits for it.
    """
    if not any(each.bundle is not None for each in ready):
        return False
    before = sending_of(at.step.records, at.contact.id).given_up
    outs = (out_at(at, number) for number in range(at.line.first, min(before, at.line.next)))
    return any(out is not None and not out.bounced for out in outs)


def spared(at: LegStep, ready: tuple[Recipient, ...]) -> tuple[Recipient, ...]:
    """Those of them that may be told something beside messages meanwhile: the ones that there is a session with."""
    return tuple(each for each in ready if each.bundle is None) if closed_by(at, ready) else ready


def due_ms(at: LegStep, number: int, out: Out) -> int:
    """When something is to be done about it: about what went out before the restart, at once."""
    now = at.step.now_ms()
    hurried = not out.bounced and out.due_ms > now + HASTE_MS and is_given_up(at, number)
    return now if hurried else out.due_ms
