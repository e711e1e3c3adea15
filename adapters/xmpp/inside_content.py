"""What messages from the user hold, once it is readable: texts for the other network, receipts for the queue."""

from dataclasses import dataclass, replace

from adapters.inside_api import AnyValue, ContactPolicy, Step
from adapters.xmpp.inside_attachments import with_file
from adapters.xmpp.inside_copies import copy_sent
from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_omemo_beside import bare_content, why_refused
from adapters.xmpp.inside_omemo_healing import came_by_omemo, tell_by_omemo
from adapters.xmpp.inside_omemo_own import omemo_on
from adapters.xmpp.inside_omemo_sending import omemo_received
from adapters.xmpp.inside_once import answer_alone
from adapters.xmpp.inside_queue import received
from adapters.xmpp.inside_reading import Refused, displayed, read_message
from adapters.xmpp.inside_seen import find, remember, settle
from adapters.xmpp.inside_signals import read_taken, state_taken
from adapters.xmpp.inside_stanzas import MAX_ID, Content, mac_of, read_content
from adapters.xmpp.inside_state import Owed, SeenMessage, mark_of
from adapters.xmpp.names import RECEIPT, address_of
from bridge.wire.values import CONTROL, Opaque
from crypto.esession.profiles import Profile
from crypto.message import Assurance, Standing
from crypto.xml import Element

OK = "ok"
_PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Came:
    """How a content came that came in no session: what to call it, what tells its stanza, what its sender is worth."""

    id: str
    mac: str
    standing: Standing


def taken(
    at: LegStep,
    content: Content,
    stanza: Element,
    thread: str,
    peer: str,
    *,
    once: bool = False,
    came: Came | None = None,
) -> None:
    """Decrypted content: receipts, and a text that is handed on unless it is a double. `once`: it was sealed alone."""
    received(at, content.received)
    state_taken(at, content)
    if content.extras:
        read_taken(at, displayed(content))
    if not content.speaks:
        return
    outer = usable(stanza.attribute("id"))
    # Only the authentic id tells doubles apart: the one outside may be anybody's, or begin again at 1 in each run.
    id_ = content.origin_id or (came.id if came else f"{thread}/{outer or at.step.draw('message-id', 8).hex()}")
    if content.origin_id is not None:
        known = find(at.step.records, at.contact.id, content.origin_id)
        if known is not None:
            at.report("message-repeated")
            tell(at, replace(known, once=peer if once else ""), peer)
            return
    peer_id = content.origin_id or outer
    sender = peer if once or came else ""
    mac = came.mac if came else mac_of(stanza)
    seen = SeenMessage(peer_id, content.receipt_wanted, mac, by=mark_of(peer), once=sender)
    standing = came.standing if came else Standing.ENCRYPTED if once else at.standing(thread)
    handed_over = _hand_over(at, id_, seen, content, standing)
    if handed_over:
        copy_sent(at, peer, content, content.origin_id or id_)


def taken_plain(at: LegStep, stanza: Element, peer: str) -> None:
    """An unencrypted message: its text goes on only to a contact whose policy says `none`, else back to the sender."""
    content = read_content(stanza.elements)
    content = replace(content, received=omemo_received(at, content.received))
    if content.received:
        # Deployed peers send receipts so (docs/decisions/0031-delivery-on-the-xmpp-leg.md); from others they prove
        # nothing that could not be sent encrypted. Which peer it is was proved in its last session: the profile that
        # is tried next changes when somebody delays a negotiation.
        carrier = at.leg.talk(at.line.sent_on)
        sealed_only = at.leg.authentic or (carrier is not None and carrier.letter) or at.policy.sends_alone
        if sealed_only or (at.leg.profile is Profile.LETTER and not at.leg.plain):
            at.report("receipt-unauthenticated")
        else:
            received(at, content.received)
    if (said := bare_content(at, content)) is not None:
        _taken_bare(at, said, stanza)
        return
    if not content.speaks:
        return
    order = at.contact.network == CONTROL  # nothing is done because of it, but it is answered
    if at.contact.require is not Assurance.NONE and not order:
        at.report("plain-refused")
        at.step.trace(at.step.position, "refused", "policy-violation")
        code = why_refused(content) if omemo_on(at.contact) else "policy-violation"
        at.error(peer, stanza.attribute("id"), code, by=stanza.attribute("to"))
        return
    at.leg = replace(at.leg, plain=at.current is None and not order, last_peer=peer)
    outer = usable(stanza.attribute("id"))
    id_ = f"{_PLAIN}/{at.step.draw('message-id', 8).hex()}"
    _hand_over(at, id_, SeenMessage(outer, content.receipt_wanted, _PLAIN), content, Standing.PLAIN)


def _taken_bare(at: LegStep, content: Content, stanza: Element) -> None:
    """What clients with the older form of OMEMO say without encryption (decision 0187)."""
    read_taken(at, displayed(content))
    if content.speaks:
        at.report("taken-in-clear")
        id_ = f"{_PLAIN}/{at.step.draw('message-id', 8).hex()}"
        seen = SeenMessage(usable(stanza.attribute("id")), content.receipt_wanted, _PLAIN)
        _hand_over(at, id_, seen, content, Standing.PLAIN)


def _hand_over(at: LegStep, id_: str, seen: SeenMessage, content: Content, standing: Standing) -> bool:
    """Hand the message on; False: its sender is told why it goes no further."""
    at.traffic = True
    message = read_message(at, id_, content)
    if isinstance(message, Refused):
        _turned_away(at, id_, replace(seen, state=message.code))
        return False
    remember(at.step.records, at.contact.id, id_, seen)
    message = with_file(at, replace(message, standing=standing), content.body or "", content.extras)
    at.later(lambda: at.step.deliver(at.contact.id, message))
    return True


def _turned_away(at: LegStep, id_: str, seen: SeenMessage) -> None:
    at.report("message-refused")
    at.step.trace(at.step.position, "refused", seen.state)
    remember(at.step.records, at.contact.id, id_, seen)
    if seen.mac == _PLAIN:
        _tell_plainly(at, seen)
    else:
        tell(at, seen)


def tell(at: LegStep, message: SeenMessage, peer: str | None = None) -> None:
    """Tell the user's client what became of a message; nothing while it is on its way. `peer`: who asks again."""
    if not message.state or message.mac == _PLAIN:
        return
    code = None if message.state == OK else message.state
    if code is None and (not message.wanted or message.peer_id is None):
        return
    if came_by_omemo(message):
        tell_by_omemo(at, message, code)
        return
    if message.once:
        answer_alone(at, message, code)
        return
    at.owed.append(Owed(message.peer_id, code, message.by if peer is None else mark_of(peer)))


def settled(step: Step, contact: ContactPolicy, id_: str, state: str) -> LegStep:
    """A message from the user reached the other network (`ok`), or will not (a code): the leg that is to tell it."""
    at = LegStep(step, contact)
    message = settle(step.records, contact.id, id_, state)
    if message is None:
        at.report("message-forgotten")
    elif message.mac == _PLAIN:
        _tell_plainly(at, message)
    elif at.current is None and state != OK and not message.once:
        at.error(at.leg.last_peer or step.account.near_address, message.peer_id, state)
    else:
        tell(at, message)
    return at


def _tell_plainly(at: LegStep, message: SeenMessage) -> None:
    to = at.leg.last_peer or at.step.account.near_address
    if message.state != OK:
        at.error(to, message.peer_id, message.state)
    elif message.wanted and message.peer_id is not None:
        values: dict[str, AnyValue] = {
            "from": at.contact_jid,
            "to": address_of(to),
            "id": Opaque(v=f"n-{at.step.draw('stanza-id', 8).hex()}"),
            "received": Opaque(v=message.peer_id),
        }
        at.step.carry(RECEIPT, values, lane=at.lane)


def usable(id_: str | None) -> str | None:
    """The id, if it is one to keep."""
    return id_ if id_ and len(id_) <= MAX_ID else None
