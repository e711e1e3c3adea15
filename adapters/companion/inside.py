"""The inside half of the companion: an endpoint of ESessions for the user's own JID, behind the user's own client."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from adapters.companion.inside_commands import commanded
from adapters.companion.inside_content import taken_copy, taken_plain
from adapters.companion.inside_peer import LANE, TIMER, PeerStep, arm
from adapters.companion.inside_queue import enqueue, owe, send_now
from adapters.companion.inside_sessions import abandon_all, expire, gone, proceed, receive_stanza
from adapters.companion.inside_stanzas import content_of, is_copy, is_transient, misaddressed, read_stanza
from adapters.companion.inside_state import MAX_RESOURCES, UNSURE_MS, Inbound, Own, Resource
from adapters.companion.inside_within import sealed_within
from adapters.companion.names import (
    ABLE,
    FROM_CLIENT,
    FROM_SERVER,
    INQUIRE,
    LOCAL,
    NETWORK,
    OFFLINE,
    ONLINE,
    PLAIN,
    REQUESTS,
    TO_CLIENT,
    Ability,
    Able,
    bare,
    is_sane,
)
from adapters.inside_api import AccountPolicy, ContactPolicy, LegStatus, Step
from bridge.wire.link import Input
from bridge.wire.values import Address, Public
from crypto.esession.conversation import Payload, kind_of, thread_of
from crypto.message import Assurance, Message, Signal
from crypto.records import Records
from crypto.xml import Element

_OK = "ok"


class CompanionInside:
    """InsideHalf of the companion. It has no other half: what it opens goes to the user's own client."""

    network = NETWORK
    requests = REQUESTS

    # ---------------------------------------------------------------- what the enclave calls
    def started(self, step: Step, *, resumed: bool) -> None:
        """See adapters.inside_api.InsideHalf. What the client does not have yet is handed over again."""
        step.records.delete("timer")
        for at in _peers(step):
            if not resumed:
                abandon_all(at)
                proceed(at)
            at.finish()
            arm(step, at.peer.due_ms(step.now_ms()))
        for name in list(step.records.names("inbound/")):
            kept = step.records.get(name, Inbound)
            if kept is not None:
                step.carry(TO_CLIENT, {"stanza": Public(v=kept.stanza)}, lane=LANE, key=name)

    def arrived(self, step: Step, arrival: Input) -> None:
        """A stanza of either side's, or a word about a peer or the stream."""
        take = _ARRIVALS.get(arrival.name)
        if take is None:
            step.report("arrival-unknown")
        else:
            take(step, arrival.body)

    def answered(self, step: Step, answer: Input) -> None:
        """The client has an opened message: its sender may be told, and it is not kept any more."""
        if answer.name != TO_CLIENT or answer.code != _OK or answer.key is None:
            return
        kept = step.records.get(answer.key, Inbound) if answer.key.startswith("inbound/") else None
        if kept is None:
            return
        step.records.delete(answer.key)
        if kept.receipt is not None:
            at = PeerStep(step, kept.peer)
            owe(at, kept.receipt)
            proceed(at)
            at.finish()

    def woken(self, step: Step, name: str) -> None:
        """See to every peer whose time has come; what has not is waited for again."""
        if name != TIMER:
            step.report("wake-unknown")
            return
        step.records.delete("timer")
        now = step.now_ms()
        for at in _peers(step):
            if 0 < at.peer.due_ms(now) <= now or at.peer.start_at_ms <= now:
                expire(at)
                proceed(at)
            at.finish()
            arm(step, at.peer.due_ms(now))

    def to_network(self, step: Step, contact: ContactPolicy, message: Message) -> None:
        """There is no other half that could send anything."""
        step.failed(contact.id, message.id, "no-other-half")

    def signalled(self, step: Step, contact: ContactPolicy, signal: Signal) -> None:
        """There is no other half that could signal anything."""

    def acknowledged(self, step: Step, contact: ContactPolicy, message_id: str) -> None:
        """Nothing is delivered to another half, so nothing comes back."""

    def refused(self, step: Step, contact: ContactPolicy, message_id: str, code: str) -> None:
        """Nothing is delivered to another half, so nothing comes back."""

    def assurance(self, records: Records, contact: ContactPolicy) -> Assurance:
        """Contacts of the operator's map do not exist here."""
        return Assurance.NONE

    def status(self, records: Records, account: AccountPolicy) -> Sequence[LegStatus]:
        """The user asks the local contact instead."""
        return ()

    def trust(self, step: Step, contact: ContactPolicy, decision: str) -> str:
        """The user decides by commands to the local contact."""
        return "unknown-decision"


# ---------------------------------------------------------------- from the client
def _from_client(step: Step, octets: bytes) -> None:
    stanza = read_stanza(octets)  # raises: then nothing of it leaves, and the client is told outside
    to = stanza.attribute("to") or ""
    if bare(to) == LOCAL:
        if stanza.name == "message":
            commanded(step, stanza)
        return
    if not to or bare(to) == bare(step.account.near_address):
        _pass(step, octets)
        return
    if not is_sane(to):
        # Whom the server takes it for, it alone knows: it may be somebody who encrypts.
        if stanza.attribute("type") != "error":
            step.carry(TO_CLIENT, {"stanza": Public(v=misaddressed(stanza))}, lane=LANE)
        return
    at = PeerStep(step, bare(to))
    if stanza.attribute("type") == "groupchat" and not at.peer.encrypts:
        _pass(step, octets)
        return
    if stanza.name == "message":
        _message(at, stanza, octets)
    elif not sealed_within(at, stanza):
        _pass(step, octets)
    proceed(at)
    at.finish()


def _pass(step: Step, octets: bytes) -> None:
    step.carry(PLAIN, {"stanza": Public(v=octets)}, lane=LANE)


def _message(at: PeerStep, stanza: Element, octets: bytes) -> None:
    if at.peer.plain:
        at.plain(octets)
        return
    if stanza.attribute("type") == "error":
        # It may hold what the client could not handle, opened.
        if not at.peer.encrypts:
            at.plain(octets)
        return
    if not at.peer.encrypts and not at.peer.able(Ability.YES):
        _ask(at)
    if is_transient(stanza):
        _transient(at, stanza, octets)
    else:
        enqueue(at, stanza, octets)


def _ask(at: PeerStep) -> None:
    """Nobody knows yet if the addressee has ESessions: its messages wait until it says so, not for long."""
    if at.peer.unsure_until_ms:
        return
    at.update(unsure_until_ms=at.now + UNSURE_MS)
    at.step.carry(INQUIRE, {"to": Address(v=at.jid)}, lane=LANE)


def _transient(at: PeerStep, stanza: Element, octets: bytes) -> None:
    """A chat state or the like: encrypted if there is a session, else not worth waiting for."""
    if not at.peer.encrypts:
        if not at.peer.line.waiting:
            at.plain(octets)
        return
    content = content_of(stanza, None)
    if content:
        send_now(at, content)


# ---------------------------------------------------------------- from the server
def _from_server(step: Step, octets: bytes) -> None:
    stanza = read_stanza(octets)  # raises: outside it is decided by its look whether the client may see it
    sender = stanza.attribute("from") or ""
    if bare(sender) == LOCAL:
        return
    if sender and not is_sane(sender):
        step.report("sender-unusable")
        return
    own = not sender or bare(sender) == bare(step.account.near_address)
    if (own or any(is_copy(e) for e in stanza.elements)) and taken_copy(step, stanza):
        return
    if own:
        step.carry(TO_CLIENT, {"stanza": Public(v=octets)}, lane=LANE)
        return
    at = PeerStep(step, bare(sender))
    payload = kind_of(stanza) if stanza.attribute("type") not in ("groupchat", "headline") else None
    if stanza.name != "message" and payload is not Payload.ENCRYPTED:
        at.show(octets)
        return
    if payload is Payload.ERROR and at.peer.talk(thread_of(stanza)) is None:
        _error(at, octets)
    elif payload is not None:
        receive_stanza(at, stanza, payload, sender)
    else:
        taken_plain(at, stanza, octets)
    proceed(at)
    at.finish()


def _error(at: PeerStep, octets: bytes) -> None:
    """An error that names no session of ours: the client's, unless it is about something that we made."""
    if not at.peer.encrypts or at.peer.plain:
        at.show(octets)
    else:
        at.report("error-unrelated")


# ---------------------------------------------------------------- who is there
def _online(step: Step, body: bytes) -> None:
    jid = body.decode("utf-8", "replace")
    if not is_sane(jid) or bare(jid) != bare(step.account.near_address):
        step.report("address-of-another")
        return
    _offline(step, b"")
    step.records.put("own", Own(jid))
    for at in _peers(step):
        proceed(at)
        at.finish()


def _offline(step: Step, _body: bytes) -> None:
    """The sessions were with an address that is gone: their keys go too. Messages stay."""
    step.records.put("own", Own())
    for at in _peers(step):
        for talk in at.peer.talks:
            at.forget(talk.thread)
        at.update(resources=(), unsure_until_ms=0, start_at_ms=0, failures=0)
        at.finish()


def _able(step: Step, body: bytes) -> None:
    try:
        heard = Able.decode(body)
    except ValueError:
        step.report("ability-malformed")
        return
    at = PeerStep(step, bare(heard.jid))
    if bare(heard.jid) in (bare(step.account.near_address), LOCAL):
        return
    before = {r.jid: r.ability for r in at.peer.resources}
    if heard.ability in (Ability.NO, Ability.GONE) and heard.jid not in before and not at.peer.unsure_until_ms:
        return  # most contacts: nothing to remember
    others = tuple(r for r in at.peer.resources if r.jid != heard.jid)
    if heard.ability is Ability.GONE:
        at.update(resources=others)
        gone(at, heard.jid)
    else:
        at.update(resources=(*others, Resource(heard.jid, heard.ability))[-MAX_RESOURCES:])
    _learned(at, heard, before.get(heard.jid))
    proceed(at)
    at.finish()


def _learned(at: PeerStep, heard: Able, before: Ability | None) -> None:
    now = at.now
    if heard.ability is Ability.ASKING and not at.peer.encrypts:
        at.update(unsure_until_ms=max(at.peer.unsure_until_ms, now + UNSURE_MS))
    if heard.ability is Ability.YES:
        at.update(encrypts=True)
        if before is not Ability.YES:
            at.update(failures=0, start_at_ms=min(at.peer.start_at_ms, now))
    if heard.ability is Ability.NO and not at.peer.able(Ability.ASKING) and at.peer.unsure_until_ms:
        # Nothing is awaited any more. One millisecond, not zero: it was asked.
        at.update(unsure_until_ms=min(at.peer.unsure_until_ms, max(1, now)))


def _peers(step: Step) -> list[PeerStep]:
    return [PeerStep(step, name.removeprefix("peer/")) for name in list(step.records.names("peer/"))]


_ARRIVALS: Mapping[str, Callable[[Step, bytes], None]] = MappingProxyType(
    {FROM_CLIENT: _from_client, FROM_SERVER: _from_server, ABLE: _able, ONLINE: _online, OFFLINE: _offline}
)
