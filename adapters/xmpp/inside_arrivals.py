"""What comes from the gateway: stanzas, who is there, what was found on a node. All of it is hostile."""

from dataclasses import replace

from adapters.inside_api import ContactPolicy, Step
from adapters.xmpp.inside_away import policy_for, received_away
from adapters.xmpp.inside_content import taken_plain
from adapters.xmpp.inside_ending import bounced, gone
from adapters.xmpp.inside_leg import LegStep, enough, error_values
from adapters.xmpp.inside_offline_sending import options_arrived, user_came
from adapters.xmpp.inside_omemo_arrivals import omemo_arrived
from adapters.xmpp.inside_omemo_keeping import client_came
from adapters.xmpp.inside_omemo_receiving import received_omemo
from adapters.xmpp.inside_queue import refused_by_peer, under_way
from adapters.xmpp.inside_sessions import receive_stanza
from adapters.xmpp.inside_stanzas import is_opaque, read_stanza
from adapters.xmpp.inside_starting import proceed
from adapters.xmpp.inside_state import PAUSE_MS, Leg, Line
from adapters.xmpp.inside_within import receive_within
from adapters.xmpp.names import ERROR, MAX_RESOURCES, NS_STANZA_ENCRYPTION, Resources, address_of, bare, is_sane
from crypto.esession.conversation import Payload, kind_of, thread_of
from crypto.xml import CLIENT, Element, MalformedXml


def stanza_arrived(step: Step, octets: bytes) -> None:
    """A stanza of somebody's to somebody: only the account's user is listened to, and only to contacts of the map."""
    try:
        stanza = read_stanza(octets)
    except MalformedXml:
        step.report("stanza-malformed")
        return
    peer, to = stanza.attribute("from") or "", stanza.attribute("to") or ""
    if stanza.namespace != CLIENT or not _is_ours(stanza) or not is_sane(peer) or not is_sane(to):
        step.report("stanza-malformed")
    elif bare(peer) != bare(step.account.near_address):
        step.report("stanza-of-another")
    elif (contact := _contact(step, to)) is None:
        _not_found(step, stanza, peer, to)
    else:
        at = LegStep(step, contact)
        if stanza.name == "message":
            _dispatch(at, stanza, peer)
        else:
            receive_within(at, stanza, peer)
        proceed(at)
        at.finish()


def presence_arrived(step: Step, body: bytes) -> None:
    """The resources of the account's user, as the gateway has heard of them."""
    try:
        heard = Resources.decode(body)
    except ValueError:
        step.report("presence-malformed")
        return
    # A snapshot may name anybody: sessions are for the account's own user.
    own = bare(step.account.near_address)
    heard = Resources(tuple(r for r in heard.available if bare(r[0]) == own), heard.complete)
    before = dict(_resources(step).available)
    now = dict(heard.available)
    missing = before.keys() - now.keys()
    if not heard.complete:
        kept = tuple((jid, able) for jid, able in before.items() if jid in missing)
        heard = Resources((*heard.available, *kept)[:MAX_RESOURCES], complete=False)
        missing = set()
    step.records.put("resources", heard)
    if now.keys() - before.keys():
        client_came(step)
    spent = 0
    for at in legs(step):
        gone(at, frozenset(missing))
        if now.keys() - before.keys():
            user_came(at)
        if any(before.get(jid) != able for jid, able in now.items()):
            # Not at once: presence comes from the server, and a negotiation costs exponentiations.
            soon = min(at.leg.start_at_ms, step.now_ms() + PAUSE_MS)
            at.leg = replace(at.leg, failures=0, start_at_ms=soon, noticed=False)
        if not enough(step, spent):
            proceed(at)
        at.finish()
        spent += at.spent


def items_arrived(step: Step, body: bytes) -> None:
    """What a node of the user's holds, which was asked for."""
    if not omemo_arrived(step, body):
        options_arrived(step, body, policy_for)


def event_arrived(step: Step, body: bytes) -> None:
    """What a node of the user's holds now, as the user's server says by itself."""
    omemo_arrived(step, body, pushed=True)


def _is_ours(stanza: Element) -> bool:
    """Messages, and whatever else has encrypted content."""
    sealed = stanza.name in ("presence", "iq") and stanza.child(NS_STANZA_ENCRYPTION, "c") is not None
    return stanza.name == "message" or sealed


def _dispatch(at: LegStep, stanza: Element, peer: str) -> None:
    if received_omemo(at, stanza, peer) or received_away(at, stanza, peer):
        return
    kind = stanza.attribute("type") or "normal"
    payload = kind_of(stanza)
    if kind in ("groupchat", "headline"):
        at.report("stanza-out-of-place")
    elif payload is Payload.ERROR and at.leg.talk(thread_of(stanza) or "") is None:
        stanza_id = stanza.attribute("id") or ""
        if stanza_id.startswith("s-") or under_way(at, stanza_id):
            bounced(at, peer)
        refused_by_peer(at, stanza_id)
    elif payload is not None:
        receive_stanza(at, stanza, payload, peer)
    else:
        taken_plain(at, stanza, peer)


def _not_found(step: Step, stanza: Element, peer: str, to: str) -> None:
    step.report("contact-unknown")
    if stanza.name != "message":
        return
    step.trace(step.position, "refused", "item-not-found")
    if stanza.attribute("type") not in ("error", "groupchat", "headline"):
        stanza_id = stanza.attribute("id")
        known = stanza_id if is_opaque(stanza_id) else None
        step.carry(ERROR, error_values(address_of(to), peer, known, "item-not-found"), lane="contact")


def _contact(step: Step, to: str) -> ContactPolicy | None:
    alias = bare(to)
    return next((c for c in step.account.contacts if bare(c.alias) == alias), None)


def _resources(step: Step) -> Resources:
    return step.records.get("resources", Resources) or Resources((), complete=False)


def legs(step: Step) -> list[LegStep]:
    """The legs of the account that have any state, or settings of their own."""
    records = step.records
    return [
        LegStep(step, c)
        for c in step.account.contacts
        if records.get(f"leg/{c.id}", Leg) or records.get(f"line/{c.id}", Line) or c.options
    ]
