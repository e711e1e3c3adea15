"""The inside half of the XMPP adapter: stanzas to messages and back, by ESessions with the user's clients."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from adapters.inside_api import AccountPolicy, ContactPolicy, LegStatus, Proof, Step
from adapters.xmpp.inside_arrivals import event_arrived, items_arrived, legs, presence_arrived, stanza_arrived
from adapters.xmpp.inside_away import AWAY, away_due_ms, tend
from adapters.xmpp.inside_content import OK, settled
from adapters.xmpp.inside_ending import abandon_all, expire
from adapters.xmpp.inside_files import xmpp_files
from adapters.xmpp.inside_holding import judge_again
from adapters.xmpp.inside_leg import TIMER, LegStep, arm, enough
from adapters.xmpp.inside_omemo_arrivals import key_decided, omemo_started, omemo_woken
from adapters.xmpp.inside_omemo_choice import forms_of
from adapters.xmpp.inside_omemo_outbox import forget_sending, speaks_omemo
from adapters.xmpp.inside_omemo_sending import omemo_answered, omemo_due_ms, omemo_switched, tend_sent
from adapters.xmpp.inside_omemo_status import with_devices
from adapters.xmpp.inside_policy import policy_of
from adapters.xmpp.inside_profile import withdraw_profile
from adapters.xmpp.inside_queue import acknowledged, enqueue, refused_by_peer
from adapters.xmpp.inside_references import forget_references
from adapters.xmpp.inside_signals import to_client
from adapters.xmpp.inside_starting import proceed
from adapters.xmpp.inside_state import Leg, Line, Queued
from adapters.xmpp.inside_trust import DECISIONS
from adapters.xmpp.names import NETWORK, PLAIN, PRESENCE, REQUESTS, STANZA
from adapters.xmpp.pep.names import PEP_EVENT, PEP_ITEMS, PEP_REQUESTS
from bridge.wire.link import Input
from bridge.wire.values import CONTROL, RequestShape
from crypto.content import Part
from crypto.esession.conversation import Conversation
from crypto.message import Assurance, Message, Signal
from crypto.records import Records

_TAKEN = {STANZA: stanza_arrived, PRESENCE: presence_arrived, PEP_ITEMS: items_arrived, PEP_EVENT: event_arrived}


class XmppInside:
    """InsideHalf for XMPP. It has no state of its own but ciphers of files: all else is in the account's records."""

    network = NETWORK
    requests: Mapping[str, RequestShape] = MappingProxyType({**REQUESTS, **PEP_REQUESTS})

    def __init__(self) -> None:
        self._files = xmpp_files()  # ciphers in the middle of files cannot be written down

    # ---------------------------------------------------------------- what the enclave calls
    def started(self, step: Step, *, resumed: bool) -> None:
        """See adapters.inside_api.InsideHalf. Without `resumed` all sessions end: their keys may have been used."""
        _forget_unmapped(step)
        omemo_started(step, resumed=resumed)  # first: no key of it that may have been used is used again
        for at in legs(step):
            omemo_switched(at)
            if not resumed:
                abandon_all(at)
            changed = judge_again(at)  # the operator may ask for more now, or for less
            if changed or not resumed:
                proceed(at)
            tend(at, resumed=resumed)
            withdraw_profile(at)
            at.finish()
        self._files.started(step)

    def arrived(self, step: Step, arrival: Input) -> None:
        """A stanza, or who is there."""
        take = _TAKEN.get(arrival.name)
        if take is None:
            step.report("arrival-unknown")
        else:
            take(step, arrival.body)

    def answered(self, step: Step, answer: Input) -> None:
        """A stanza was handled by the server. Only for unencrypted messages that means anything."""
        if self._files.answered(step, answer):
            return
        if (leg := omemo_answered(step, answer)) is not None:
            proceed(leg)
            leg.finish()
            return
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
        now, spent = step.now_ms(), 0
        for at in legs(step):
            if enough(step, spent):
                break
            tend(at)
            moved = tend_sent(at, forms_of(at.contact))
            keys_due, away_due = at.refresh_due_ms(), away_due_ms(at)
            if moved or at.leg.start_at_ms <= now or any(0 < due <= now for due in (at.due_ms(), keys_due, away_due)):
                expire(at)
                proceed(at)
            at.finish()
            arm(step, at.due_ms())
            at.arm_refresh(at.refresh_due_ms())
            at.arm_refresh(away_due_ms(at))
            arm(step, omemo_due_ms(at))
            spent += at.spent
        omemo_woken(step, spent)

    def to_network(self, step: Step, contact: ContactPolicy, message: Message) -> None:
        """Keep the message until the user's client acknowledges it, and send it as soon as a session is there."""
        if self._files.send(step, contact, message):
            return
        at = LegStep(step, contact)
        enqueue(at, message)
        proceed(at)
        at.finish()

    def file_wanted(self, step: Step, contact: ContactPolicy, message_id: str, offset: int) -> None:
        """A part of the file of a message of the user's."""
        self._files.wanted(step, contact, message_id, offset)

    def file_part(self, step: Step, contact: ContactPolicy, message_id: str, part: Part) -> None:
        """A part of a file that goes to the user."""
        self._files.part(step, contact, message_id, part)

    def signalled(self, step: Step, contact: ContactPolicy, signal: Signal) -> None:
        """Shown in the sessions that are there; nobody else is told."""
        at = LegStep(step, contact)
        to_client(at, signal)
        at.finish()

    def noticed(self, step: Step, contact: ContactPolicy, code: str) -> None:
        """A sentence about the contact's leg, to the client that is talked to, else to whichever the user has."""
        at = LegStep(step, contact)
        at.notice(at.current.peer if at.current else step.account.near_address, code)
        at.finish()

    def acknowledged(self, step: Step, contact: ContactPolicy, message_id: str) -> None:
        """A receipt for the user."""
        self._files.settled(step, contact, message_id)
        at = settled(step, contact, message_id, OK)
        proceed(at)
        at.finish()

    def refused(self, step: Step, contact: ContactPolicy, message_id: str, code: str) -> None:
        """A refusal for the user."""
        self._files.settled(step, contact, message_id)
        at = settled(step, contact, message_id, code)
        proceed(at)
        at.finish()

    def assurance(self, records: Records, contact: ContactPolicy) -> Assurance:
        """End-to-end, unless the user writes to this contact unencrypted and its policy allows that."""
        leg, line = _leg_and_line(records, contact)
        unencrypted = contact.require is Assurance.NONE and leg.plain and leg.current(line) is None
        return Assurance.NONE if unencrypted else Assurance.END_TO_END

    def status(self, records: Records, account: AccountPolicy) -> Sequence[LegStatus]:
        """How the leg to each contact stands; that to the gateway itself only once it is used."""
        used = (c for c in account.contacts if c.network != CONTROL or records.get(f"leg/{c.id}", Leg) is not None)
        return with_devices([self._status(records, contact) for contact in used], records, account)

    def trust(self, step: Step, contact: ContactPolicy, decision: str) -> str:
        """`verify`, `verify-weak-string`: the operator compared the SAS. `distrust`: end the session and forget what
        linked it to others.
        """
        if decision not in DECISIONS:
            return "unknown-decision"
        at = LegStep(step, contact)
        code = DECISIONS[decision](at)
        at.finish()
        return code

    def trust_key(self, step: Step, contact: ContactPolicy, decision: str, key: str, by: str = "operator") -> str:
        """A decision about one of the user's OMEMO devices, by its key."""
        return key_decided(LegStep(step, contact), decision, key, by)

    def _status(self, records: Records, contact: ContactPolicy) -> LegStatus:
        leg, line = _leg_and_line(records, contact)
        # A held one waits for the operator's decision, which is about the session that is shown.
        talk = leg.held or leg.current(line)
        conversation = records.get(f"session/{contact.id}/{talk.thread}", Conversation) if talk else None
        session = conversation.session if conversation else None
        active = "held" if talk is not None and talk.held else "active"
        verified = policy_of(contact).counts(session) if session else False
        state = active if session else "negotiating" if leg.negotiating else "plain" if leg.plain else "none"
        if state in ("negotiating", "none") and speaks_omemo(records, contact):
            state = "omemo"
        return LegStatus(
            contact=contact.id,
            network=NETWORK,
            assurance=self.assurance(records, contact),
            state=state,
            verified=verified,
            proof=records.get(f"proof/{contact.id}", Proof) if verified else None,
            sas=session.sas if session else None,
            sas_bound=session.agreed.sas_bound if session else False,
            peer=talk.peer if talk else None,
            waiting=line.waiting,
        )


def _leg_and_line(records: Records, contact: ContactPolicy) -> tuple[Leg, Line]:
    leg, line = records.get(f"leg/{contact.id}", Leg), records.get(f"line/{contact.id}", Line)
    return leg or Leg(), line or Line()


_SINGLE = ("retained", "leg", "line", "seen-last", "shown", "identity", "strength", "profile", "proof")


def _forget_unmapped(step: Step) -> None:
    """Contacts that the operator took off the map: their sessions and messages go."""
    mapped = {contact.id for contact in step.account.contacts}
    known = {name.partition("/")[2] for kind in ("leg/", "line/") for name in step.records.names(kind)}
    for contact in sorted(known - mapped):
        for entry in list(step.records.names(f"queue/{contact}/")):
            queued = step.records.get(entry, Queued)
            if queued is not None:
                step.trace(queued.position, "refused", "contact-unmapped")
        forget_references(step, contact)
        forget_sending(step, contact)
        for kind in ("session", "queue", "seen", "offline-in"):
            for entry in list(step.records.names(f"{kind}/{contact}/")):
                step.records.delete(entry)
        for single in (*_SINGLE, *AWAY):
            step.records.delete(f"{single}/{contact}")
        step.report("contact-unmapped")
