"""Copies for the user's OMEMO devices of what goes out in a session (decision 0171).

`omemo-copy/CONTACT/NUMBER`   Queued    a message whose copy waits for the devices' keys
"""

from dataclasses import replace

from adapters.xmpp.inside_leg import LegStep, enough
from adapters.xmpp.inside_omemo_binding import told_once
from adapters.xmpp.inside_omemo_devices import recipients
from adapters.xmpp.inside_omemo_given_up import closed_by
from adapters.xmpp.inside_omemo_healing import aside
from adapters.xmpp.inside_omemo_outbox import keep_sending, out_at, sending_of
from adapters.xmpp.inside_omemo_sending import content_in, sealed_for
from adapters.xmpp.inside_omemo_where import where_in
from adapters.xmpp.inside_queue import entry_at
from adapters.xmpp.inside_state import Queued, mark_of
from crypto.omemo.model import Recipient
from crypto.omemo.names import Namespace

MAX_COPIES = 64
"""Copies that wait at most; the oldest give way."""


def copy_to_devices(at: LegStep, forms: frozenset[Namespace]) -> None:
    """What the session was just given, for the devices whose client has no session itself."""
    sending, sent = sending_of(at.step.records, at.contact.id), at.line.sent
    for number in range(max(sending.copied, at.line.first), sent):
        entry = entry_at(at, number)
        if entry is not None and not entry.plain and out_at(at, number) is None:
            at.step.records.put(_name(at, number), entry)
    if sent > sending.copied:
        keep_sending(at, replace(sending, copied=sent))
    _send(at, forms)


def _send(at: LegStep, forms: frozenset[Namespace]) -> None:
    names = list(at.step.records.names(f"omemo-copy/{at.contact.id}/"))
    found = recipients(at) if names else None
    if found is None:
        return
    if found.refused == "omemo-not-verified":  # the message is on its way in the session
        told_once(at, "omemo-unverified")
    ready = _without_session(at, tuple(each for each in found.ready if each.peer.namespace in forms))
    waits = found.waiting or closed_by(at, ready)
    over = names[:-MAX_COPIES] if waits else names
    for name in over:
        if not waits and enough(at.step, 2 * at.spent):
            break
        entry = at.step.records.get(name, Queued)
        at.step.records.delete(name)
        if waits:
            at.report("copy-omitted")
        elif entry is not None and ready and (made := sealed_for(at, ready, content_in(at, entry, receipt=False))):
            aside(at, made[0], stanza_id=entry.stanza_id)


def _without_session(at: LegStep, ready: tuple[Recipient, ...]) -> tuple[Recipient, ...]:
    """Those whose client is not shown it already."""
    having = {mark_of(talk.peer) for talk in at.leg.talks if talk.active and not talk.held}
    where = dict(where_in(at).pairs)
    return tuple(each for each in ready if where.get(each.peer.device_id) not in having)


def _name(at: LegStep, number: int) -> str:
    return f"omemo-copy/{at.contact.id}/{number:012x}"
