"""What the user takes back while it waits: nothing of it goes out."""

from dataclasses import replace

from adapters.inside_api import ContactPolicy, Step
from adapters.matrix import inside_notices
from adapters.matrix.inside_state import Beside, Line, Queued
from adapters.matrix.names import TOLD_NOT_JOINED
from crypto.content import ContentPolicy


def taken_back(step: Step, contact: ContactPolicy, message: Queued) -> tuple[Queued, ...]:
    """Take what a retraction is about, with its new wordings and reactions, out of the line. Returns what is over.

    That is the retraction as well, when the message itself was there: nobody has seen it, so nothing is left to say.
    """
    retracted = message.beside.retracts if message.beside is not None else None
    if retracted is None or not ContentPolicy.of(contact.options).retractions:
        return ()
    waiting = _waiting(step, contact)
    is_there = any(one.message_id == retracted for one in waiting.values())
    over = []
    for name, one in waiting.items():
        beside = one.beside or Beside()
        if retracted in (one.message_id, beside.replaces) or (is_there and _reacts(beside, retracted)):
            step.records.delete(name)
            over.append(one)
        elif is_there and beside.reply is not None and beside.reply.to == retracted:  # it quotes what nobody is to read
            step.records.put(name, replace(one, beside=replace(beside, reply=None)))
    if over and not list(step.records.names(f"queue/{contact.address}/")):
        step.records.delete(f"line/{contact.address}")
        inside_notices.over(step, contact, TOLD_NOT_JOINED)
    return (*over, message) if is_there else tuple(over)


def _waiting(step: Step, contact: ContactPolicy) -> dict[str, Queued]:
    """The user's own messages that wait, by the names of their records, in order."""
    line = step.records.get(f"line/{contact.address}", Line) or Line()
    names = [f"queue/{contact.address}/{number:016d}" for number in range(line.first, line.next)]
    found = ((name, step.records.get(name, Queued)) for name in names)
    return {name: waiting for name, waiting in found if waiting is not None and not waiting.notice}


def _reacts(beside: Beside, retracted: str) -> bool:
    return beside.reaction is not None and beside.reaction.to == retracted
