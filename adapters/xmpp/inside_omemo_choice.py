"""By which protocol a message goes to the user (decision 0171).

The order is the operator's (`protocols`). A session that stands is used, whatever the order: the user's client began
it, or agreed to it. Where none does, the order decides whether one is asked for or the user's OMEMO devices are served.
"""

import re
from dataclasses import replace

from adapters.inside_api import ContactPolicy
from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_omemo_copies import copy_to_devices
from adapters.xmpp.inside_omemo_healing import heal
from adapters.xmpp.inside_omemo_outbox import drop_out, out_at
from adapters.xmpp.inside_omemo_own import omemo_on
from adapters.xmpp.inside_omemo_sending import flush_omemo, settle_oldest
from adapters.xmpp.inside_queue import flush
from adapters.xmpp.inside_state import WINDOW
from adapters.xmpp.names import Resources
from crypto.message import Assurance
from crypto.omemo.names import Namespace

ESESSION = "esession"
FORMS = {"omemo:2": Namespace.OMEMO_2, "axolotl": Namespace.AXOLOTL}
DEFAULT = (ESESSION, *FORMS)
TRIES = 2
"""Negotiations that may fail before OMEMO is used although a client announces ESessions."""
_WORD = re.compile(r"[^\s,]+")


def protocols(contact: ContactPolicy) -> tuple[str, ...]:
    """The protocols that may be used, the preferred one first. Words that name none are passed over."""
    said = _WORD.findall(contact.options.get("protocols", ""))
    return tuple(dict.fromkeys(word for word in said if word in DEFAULT)) if said else DEFAULT


def forms_of(contact: ContactPolicy) -> frozenset[Namespace]:
    """The forms of OMEMO that may be used."""
    return frozenset(FORMS[word] for word in protocols(contact) if word in FORMS) if omemo_on(contact) else frozenset()


def goes_by_omemo(at: LegStep) -> bool:
    """Send by OMEMO what it is the choice for; False: there is a session, or one is to be asked for."""
    forms = forms_of(at.contact)
    if not forms:
        return False
    heal(at)
    if at.current is not None:
        copy_to_devices(at, forms)
    plain = at.leg.plain and at.contact.require is Assurance.NONE
    if at.current is not None and at.line.sent < at.line.next and at.line.sent - at.line.first >= WINDOW:
        settle_oldest(at, 0)  # the session's window is not for what the server has
        flush(at)
    if at.current is not None or plain:
        return False
    waits = at.line.sent < at.line.next
    if waits and not _session_first(at) and flush_omemo(at, forms):
        return True
    return ESESSION not in protocols(at.contact)


def taken_back(at: LegStep) -> None:
    """What the user's server sent back reached nobody: it goes in the session that was made since, in its place."""
    if at.current is None or at.line.sent_on is not None or not omemo_on(at.contact):
        return
    for number in range(at.line.first, at.line.next):
        out = out_at(at, number)
        if out is not None and out.bounced:
            drop_out(at, number)
            at.line = replace(at.line, sent=min(at.line.sent, number))


def _session_first(at: LegStep) -> bool:
    """Whether an ESession is preferred, and one of the user's clients that are there can have one."""
    order = protocols(at.contact)
    if order[0] != ESESSION or at.policy.closed or at.leg.failures >= TRIES:
        return False
    held = {talk.peer for talk in at.leg.talks if talk.active and talk.held}
    resources = at.step.records.get("resources", Resources)
    return any(able and jid not in held for jid, able in (resources.available if resources else ()))
