"""Copies for the user's OMEMO devices of what goes out in a session (decision 0171).

`omemo-copy/CONTACT/NUMBER`   Queued    a message whose copy waits for the devices' keys
`omemo-where`                 Where     from which resource each of the user's devices wrote last
"""

from dataclasses import dataclass, replace

from adapters.xmpp.inside_leg import LegStep, enough
from adapters.xmpp.inside_omemo_devices import recipients
from adapters.xmpp.inside_omemo_healing import aside
from adapters.xmpp.inside_omemo_outbox import keep_sending, out_at, sending_of
from adapters.xmpp.inside_omemo_sending import content_in, sealed_for
from adapters.xmpp.inside_queue import entry_at
from adapters.xmpp.inside_state import Queued, mark_of
from crypto.omemo.model import Recipient
from crypto.omemo.names import Namespace

MAX_WHERE = 64
MAX_COPIES = 64
"""Copies that wait at most; the oldest give way."""


@dataclass(frozen=True, slots=True)
class Where:
    """Ids of devices, each with the mark of the resource that it wrote from last."""

    pairs: tuple[tuple[int, str], ...] = ()


def wrote_from(at: LegStep, device_id: int, peer: str) -> None:
    """A device wrote, from that resource."""
    known, pair = at.step.records.get("omemo-where", Where) or Where(), (device_id, mark_of(peer))
    if pair not in known.pairs:
        others = tuple(p for p in known.pairs if p[0] != device_id and p[1] != pair[1])
        at.step.records.put("omemo-where", Where((*others, pair)[-MAX_WHERE:]))


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
    ready = _without_session(at, tuple(each for each in found.ready if each.peer.namespace in forms))
    over = names[:-MAX_COPIES] if found.waiting else names
    for name in over:
        if not found.waiting and enough(at.step, 2 * at.spent):
            break
        entry = at.step.records.get(name, Queued)
        at.step.records.delete(name)
        if found.waiting:
            at.report("copy-omitted")
        elif entry is not None and ready and (made := sealed_for(at, ready, content_in(at, entry, receipt=False))):
            aside(at, made[0], stanza_id=entry.stanza_id)


def _without_session(at: LegStep, ready: tuple[Recipient, ...]) -> tuple[Recipient, ...]:
    """Those whose client is not shown it already."""
    having = {mark_of(talk.peer) for talk in at.leg.talks if talk.active and not talk.held}
    where = dict((at.step.records.get("omemo-where", Where) or Where()).pairs)
    return tuple(each for each in ready if where.get(each.peer.device_id) not in having)


def _name(at: LegStep, number: int) -> str:
    return f"omemo-copy/{at.contact.id}/{number:012x}"
