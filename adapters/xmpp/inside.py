"""The inside half of the XMPP adapter: stanzas to messages and back, by ESessions with the user's clients."""

from collections.abc import Sequence
from dataclasses import replace

from adapters.inside_api import AccountPolicy, ContactPolicy, LegStatus, Step
from adapters.xmpp.inside_content import OK, settled, taken_plain
from adapters.xmpp.inside_leg import TIMER, LegStep, arm, error_values
from adapters.xmpp.inside_queue import acknowledged, enqueue, refused_by_peer, under_way
from adapters.xmpp.inside_sessions import abandon_all, bounced, expire, gone, proceed, receive_stanza
from adapters.xmpp.inside_stanzas import is_opaque, read_stanza
from adapters.xmpp.inside_state import PAUSE_MS, Leg, Line, Queued
from adapters.xmpp.inside_trust import distrust, verify
from adapters.xmpp.names import (
    ERROR,
    MAX_RESOURCES,
    NETWORK,
    PLAIN,
    PRESENCE,
    REQUESTS,
    STANZA,
    Resources,
    address_of,
    bare,
    is_sane,
)
from bridge.wire.link import Input
from crypto.esession.conversation import Conversation, Payload, kind_of, thread_of
from crypto.message import Assurance, Message, Signal
from crypto.records import Records
from crypto.xml import CLIENT, Element, MalformedXml


class XmppInside:
    """InsideHalf for XMPP. It has no state of its own: everything is in the account's records."""

    network = NETWORK
    requests = REQUESTS

    # ---------------------------------------------------------------- what the enclave calls
    def started(self, step: Step, *, resumed: bool) -> None:
        """See adapters.inside_api.InsideHalf. Without `resumed` all sessions end: their keys may have been used."""
        _forget_unmapped(step)
        for at in _legs(step):
            if not resumed:
                abandon_all(at)
                proceed(at)
            at.finish()

    def arrived(self, step: Step, arrival: Input) -> None:
        """A stanza, or who is there."""
        if arrival.name == STANZA:
            self._stanza(step, arrival.body)
        elif arrival.name == PRESENCE:
            self._presence(step, arrival.body)
        else:
            step.report("arrival-unknown")

    def answered(self, step: Step, answer: Input) -> None:
        """A stanza was handled by the server. Only for unencrypted messages that means anything."""
        if answer.code != OK:
            step.report("stanza-not-carried")
        parts = (answer.key or "").split("/")
        contact = step.account.contact_by_id(parts[1]) if answer.name == PLAIN and len(parts) == 3 else None
        if contact is None:
            return
        at = LegStep(step, contact)
        if answer.code == OK:
            acknowledged(at, parts[2])
        else:
            refused_by_peer(at, parts[2])
        proceed(at)
        at.finish()

    def woken(self, step: Step, name: str) -> None:
        """See to every leg whose time has come; what has not is waited for again."""
        if name != TIMER:
            step.report("wake-unknown")
            return
        step.records.delete("timer")
        now = step.now_ms()
        for at in _legs(step):
            if 0 < at.leg.due_ms(at.line, now) <= now or at.leg.start_at_ms <= now:
                expire(at)
                proceed(at)
            at.finish()
            arm(step, at.leg.due_ms(at.line, now))

    def to_network(self, step: Step, contact: ContactPolicy, message: Message) -> None:
        """Keep the message until the user's client acknowledges it, and send it as soon as a session is there."""
        at = LegStep(step, contact)
        enqueue(at, message)
        proceed(at)
        at.finish()

    def signalled(self, step: Step, contact: ContactPolicy, signal: Signal) -> None:
        """Shown in the sessions that are there; nobody else is told."""

    def acknowledged(self, step: Step, contact: ContactPolicy, message_id: str) -> None:
        """A receipt for the user."""
        at = settled(step, contact, message_id, OK)
        proceed(at)
        at.finish()

    def refused(self, step: Step, contact: ContactPolicy, message_id: str, code: str) -> None:
        """A refusal for the user."""
        at = settled(step, contact, message_id, code)
        proceed(at)
        at.finish()

    def assurance(self, records: Records, contact: ContactPolicy) -> Assurance:
        """End-to-end, unless the user writes to this contact unencrypted and its policy allows that."""
        leg, line = _leg_and_line(records, contact)
        unencrypted = contact.require is Assurance.NONE and leg.plain and leg.current(line) is None
        return Assurance.NONE if unencrypted else Assurance.END_TO_END

    def status(self, records: Records, account: AccountPolicy) -> Sequence[LegStatus]:
        """How the leg to each contact stands."""
        return [self._status(records, contact) for contact in account.contacts]

    def trust(self, step: Step, contact: ContactPolicy, decision: str) -> str:
        """`verify`: the operator compared the SAS. `distrust`: end the session and forget what linked it to others."""
        decide = {"verify": verify, "distrust": distrust}.get(decision)
        if decide is None:
            return "unknown-decision"
        at = LegStep(step, contact)
        code = decide(at)
        at.finish()
        return code

    # ---------------------------------------------------------------- arrivals
    def _stanza(self, step: Step, octets: bytes) -> None:
        try:
            stanza = read_stanza(octets)
        except MalformedXml:
            step.report("stanza-malformed")
            return
        peer, to = stanza.attribute("from") or "", stanza.attribute("to") or ""
        if stanza.namespace != CLIENT or stanza.name != "message" or not is_sane(peer) or not is_sane(to):
            step.report("stanza-malformed")
        elif bare(peer) != bare(step.account.near_address):
            step.report("stanza-of-another")
        elif (contact := _contact(step, to)) is None:
            _not_found(step, stanza, peer, to)
        else:
            at = LegStep(step, contact)
            _dispatch(at, stanza, peer)
            proceed(at)
            at.finish()

    def _presence(self, step: Step, body: bytes) -> None:
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
        for at in _legs(step):
            gone(at, frozenset(missing))
            if any(before.get(jid) != able for jid, able in now.items()):
                # Not at once: presence comes from the server, and a negotiation costs exponentiations.
                soon = min(at.leg.start_at_ms, step.now_ms() + PAUSE_MS)
                at.leg = replace(at.leg, failures=0, start_at_ms=soon, noticed=False)
            proceed(at)
            at.finish()

    def _status(self, records: Records, contact: ContactPolicy) -> LegStatus:
        leg, line = _leg_and_line(records, contact)
        # A held one waits for the operator's decision, which is about the session that is shown.
        talk = leg.held or leg.current(line)
        conversation = records.get(f"session/{contact.id}/{talk.thread}", Conversation) if talk else None
        session = conversation.session if conversation else None
        active = "held" if talk is not None and talk.held else "active"
        state = active if session else "negotiating" if leg.negotiating else "plain" if leg.plain else "none"
        return LegStatus(
            contact=contact.id,
            network=NETWORK,
            assurance=self.assurance(records, contact),
            state=state,
            verified=session.verified if session else False,
            sas=session.sas if session else None,
            peer=talk.peer if talk else None,
            waiting=line.waiting,
        )


def _dispatch(at: LegStep, stanza: Element, peer: str) -> None:
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


def _leg_and_line(records: Records, contact: ContactPolicy) -> tuple[Leg, Line]:
    leg, line = records.get(f"leg/{contact.id}", Leg), records.get(f"line/{contact.id}", Line)
    return leg or Leg(), line or Line()


def _legs(step: Step) -> list[LegStep]:
    """The legs of the account that have any state."""
    records = step.records
    return [
        LegStep(step, c)
        for c in step.account.contacts
        if records.get(f"leg/{c.id}", Leg) or records.get(f"line/{c.id}", Line)
    ]


def _forget_unmapped(step: Step) -> None:
    """Contacts that the operator took off the map: their sessions and messages go."""
    mapped = {contact.id for contact in step.account.contacts}
    known = {name.partition("/")[2] for kind in ("leg/", "line/") for name in step.records.names(kind)}
    for contact in sorted(known - mapped):
        for entry in list(step.records.names(f"queue/{contact}/")):
            queued = step.records.get(entry, Queued)
            if queued is not None:
                step.trace(queued.position, "refused", "contact-unmapped")
        for kind in ("session", "queue", "seen"):
            for entry in list(step.records.names(f"{kind}/{contact}/")):
                step.records.delete(entry)
        for single in ("retained", "leg", "line", "seen-last"):
            step.records.delete(f"{single}/{contact}")
        step.report("contact-unmapped")
