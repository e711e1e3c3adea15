"""What the user is told about a leg: each thing once, until it is over and comes up again."""

from dataclasses import replace

from adapters.inside_api import ContactPolicy, Step
from adapters.matrix.inside_state import MINUTE_MS, Telling
from adapters.matrix.inside_timers import wake_by

TIMER = "notices"
PREFIX = "told/"


def tell(step: Step, contact: ContactPolicy, code: str, *, after_ms: int = 0) -> None:
    """Tell it, unless it was told already; with `after_ms`: if it is not over by then.

    What ended and began anew within a minute is not told again: nobody may fill the user's screen with it.
    """
    name, now_ms = _name(contact, code), step.now_ms()
    known = step.records.get(name, Telling)
    if known is not None and (not known.over or now_ms - known.at_ms < MINUTE_MS):
        if known.over:
            step.records.put(name, replace(known, over=False))
        return
    step.records.put(name, Telling(now_ms + after_ms))
    _look(step, contact, code)


def over(step: Step, contact: ContactPolicy, *codes: str) -> None:
    """It is so no longer."""
    for code in codes:
        name = _name(contact, code)
        known = step.records.get(name, Telling)
        if known is not None and not known.said:
            step.records.delete(name)
        elif known is not None and not known.over:
            step.records.put(name, replace(known, over=True))


def woken(step: Step) -> None:
    """Tell what it is time for, and wait for the rest."""
    for contact in step.account.contacts:
        prefix = f"{PREFIX}{contact.address}/"
        for name in list(step.records.names(prefix)):
            _look(step, contact, name.removeprefix(prefix))


def _look(step: Step, contact: ContactPolicy, code: str) -> None:
    name = _name(contact, code)
    known = step.records.get(name, Telling)
    if known is None or known.said:
        return
    if known.at_ms > step.now_ms():
        wake_by(step, TIMER, known.at_ms)
        return
    step.records.put(name, replace(known, said=True))
    step.notify(contact.id, code)


def _name(contact: ContactPolicy, code: str) -> str:
    return f"{PREFIX}{contact.address}/{code}"
