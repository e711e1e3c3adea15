"""How long a contact's messages wait for keys of the user's devices, all devices together (decision 0185).

The keys of a device are waited for a minute at most. But a server can list device after device whose keys nobody
gives, or have session after session break: then messages go to the other devices without waiting, for ten minutes.

`omemo-patience/CONTACT`   Waited   what the answers that came late, or never, have cost
"""

from dataclasses import dataclass, replace

from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_omemo_state import AGAIN_MS, ANSWER_MS

PATIENCE_MS = 2 * ANSWER_MS
"""So long in ten minutes, in all, and for the question that is under way then."""


@dataclass(frozen=True, slots=True)
class Waited:
    """Milliseconds that were waited for answers since a time."""

    since_ms: int
    spent_ms: int = 0


def may_wait(at: LegStep) -> bool:
    """Whether messages may wait for keys now."""
    return _waited(at).spent_ms < PATIENCE_MS


def waited(at: LegStep, asked_ms: int) -> None:
    """A question of that time was answered, or is given up."""
    before, spent = _waited(at), min(at.step.now_ms() - asked_ms, ANSWER_MS)
    if spent > 0:
        at.step.records.put(_name(at), replace(before, spent_ms=before.spent_ms + spent))
        if may_wait(at) != (before.spent_ms < PATIENCE_MS):
            at.report("omemo-waits-no-more")


def _waited(at: LegStep) -> Waited:
    found, now = at.step.records.get(_name(at), Waited), at.step.now_ms()
    return found if found is not None and now < found.since_ms + AGAIN_MS else Waited(now)


def _name(at: LegStep) -> str:
    return f"omemo-patience/{at.contact.id}"
