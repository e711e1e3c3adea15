"""Messages of the user's that come by OMEMO: opened, judged, and taken like any other content (decision 0174).

In omemo:2 what is inside the envelope counts. In the older form only the body is encrypted: of what stands beside it a
request for a receipt and receipts are heeded, as nobody gains by forging those; nothing that changes what is said,
unless the operator wants it (`inside_omemo_beside`).
"""

from dataclasses import dataclass, replace
from hashlib import blake2b

from adapters.xmpp.inside_content import Came, taken, tell
from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_omemo_beside import heeded
from adapters.xmpp.inside_omemo_binding import heard, heed, pinned
from adapters.xmpp.inside_omemo_healing import answer_device, mark_of_form
from adapters.xmpp.inside_omemo_mending import failed
from adapters.xmpp.inside_omemo_outbox import keep_sending, sending_of
from adapters.xmpp.inside_omemo_own import device_id_of, keys_used, omemo_on, store_of
from adapters.xmpp.inside_omemo_sending import omemo_bounced, omemo_received
from adapters.xmpp.inside_omemo_vouching import told_of_keys
from adapters.xmpp.inside_omemo_where import wrote_from
from adapters.xmpp.inside_seen import find_by_mac
from adapters.xmpp.inside_stanzas import Content, read_content
from adapters.xmpp.names import bare
from crypto.omemo.conversation import decrypted, reduced
from crypto.omemo.elements import is_encrypted, read_message
from crypto.omemo.envelope import Envelope, opened_envelope
from crypto.omemo.faults import Malformed, NotForUs, OmemoError, Replayed, WrongIdentity
from crypto.omemo.model import Message, Opened
from crypto.omemo.names import Namespace
from crypto.xml import Element

MAX_PARTS = 4
"""`<encrypted/>` elements of one stanza that are looked at: there is one for each form."""


@dataclass(frozen=True, slots=True)
class _Fault:
    """Why nothing was read."""

    error: OmemoError
    message: Message | None = None


def received_omemo(at: LegStep, stanza: Element, peer: str) -> bool:
    """Take a stanza if it is one of OMEMO's; False: it is not."""
    if not omemo_on(at.contact) or stanza.attribute("type") in ("groupchat", "headline"):
        return False
    if stanza.attribute("type") == "error":
        return omemo_bounced(at, stanza, peer)
    parts = [e for e in stanza.elements if is_encrypted(e) is not None][:MAX_PARTS]
    if not parts or device_id_of(at) is None:
        return False
    sending = sending_of(at.step.records, at.contact.id)
    if not sending.used:
        keep_sending(at, replace(sending, used=True))
    order = list(Namespace)
    parts.sort(key=lambda part: order.index(Namespace(part.namespace)))
    fault: _Fault | None = None
    for part in parts:
        fault = _taken(at, part, stanza, peer)
        if fault is None:
            return True
        if not isinstance(fault.error, NotForUs):
            break
    assert fault is not None
    _unread(at, fault, stanza, peer)
    return True


def _taken(at: LegStep, part: Element, stanza: Element, peer: str) -> _Fault | None:
    message: Message | None = None
    opened: Opened | None = None
    error: OmemoError | None = None
    try:
        message = read_message(part)
        opened = decrypted(
            store_of(at),
            at.step.draw,
            message,
            own_jid=bare(at.contact.alias),
            sender_jid=bare(peer),
            known=pinned(at, message.sender_device),
        )
    except OmemoError as found:
        error = type(found)()
    if opened is None or message is None:
        return _Fault(error or Malformed(), message)
    _opened(at, opened, message, stanza, peer)
    return None


def _opened(at: LegStep, opened: Opened, message: Message, stanza: Element, peer: str) -> None:
    namespace, device_id = message.namespace, message.sender_device
    judged = heard(at, device_id, opened.identity_key, namespace)
    if opened.keys_used:
        keys_used(at)
    envelope = _envelope(at, opened.plaintext) if namespace is Namespace.OMEMO_2 else None
    of_keys = envelope is not None and told_of_keys(at, envelope, opened.identity_key, device_id)
    if judged.refused is not None:
        at.report("omemo-refused")
        reduced(store_of(at), opened.peer)  # anybody can make up such devices
        if opened.plaintext is not None and not (of_keys and envelope and not read_content(envelope.content).speaks):
            _turn_away(at, stanza, peer, judged.refused)
        return
    if of_keys:
        heed(at)
    if opened.answer_due:
        answer_device(at, opened.peer)
    if opened.plaintext is None:
        at.report("omemo-keys")
        return
    at.report("omemo-opened")
    wrote_from(at, device_id, peer)
    at.leg = replace(at.leg, plain=False, last_peer=peer)
    content = _content(at, opened.plaintext, envelope, namespace, stanza)
    if content is None:
        _turn_away(at, stanza, peer, "unreadable")
        return
    left = omemo_received(at, content.received)
    if omemo_received(at, read_content(stanza.elements).received):
        at.report("receipt-unauthenticated")  # those beside it settle nothing that went out in a session
    mac = _mac(message)
    came = Came(f"omemo/{device_id}/{mac.rpartition(':')[2]}", mac, judged.standing)
    taken(at, replace(content, received=left), stanza, came.id, peer, came=came)


def _envelope(at: LegStep, plaintext: bytes | None) -> Envelope | None:
    """What was encrypted in omemo:2; None: nothing, or nothing that is from the user and for this contact."""
    ends = {"sender": bare(at.step.account.near_address), "recipient": bare(at.contact.alias)}
    try:
        return None if plaintext is None else opened_envelope(plaintext, **ends)
    except OmemoError:
        return None


def _content(
    at: LegStep, plaintext: bytes, envelope: Envelope | None, namespace: Namespace, stanza: Element
) -> Content | None:
    """What the message says; None: it cannot be read."""
    beside = read_content(stanza.elements)
    inside: Content | None = None
    if namespace is Namespace.AXOLOTL:
        try:
            text = plaintext.decode()
        except UnicodeDecodeError:
            return None
        inside = Content(text, None, False, (), extras=heeded(at, text, beside.extras))
    elif envelope is None:
        return None
    else:
        inside = read_content(envelope.content)
    wanted = inside.receipt_wanted or beside.receipt_wanted
    return replace(inside, receipt_wanted=wanted)


# ---------------------------------------------------------------- what is not read
def _unread(at: LegStep, fault: _Fault, stanza: Element, peer: str) -> None:
    """A double is dropped; of all else the user is told, unless it held nothing to read."""
    error, message = fault.error, fault.message
    if message is None or isinstance(error, Malformed):
        at.report("omemo-malformed")
        _turn_away(at, stanza, peer, "unreadable")
        return
    known = find_by_mac(at.step.records, at.contact.id, _mac(message)) if message.payload is not None else None
    if known is not None or isinstance(error, Replayed):
        at.report("omemo-repeated")
        if known is not None:
            tell(at, known)
        return
    at.report(f"omemo-{error.code}")
    failed(at, message.sender_device, message.namespace)
    if message.payload is not None:
        _turn_away(at, stanza, peer, _CODES.get(type(error), "omemo-undecryptable"))


_CODES: dict[type[OmemoError], str] = {NotForUs: "omemo-not-for-us", WrongIdentity: "omemo-not-verified"}


def _turn_away(at: LegStep, stanza: Element, peer: str, code: str) -> None:
    at.step.trace(at.step.position, "refused", code)
    at.error(peer, stanza.attribute("id"), code, by=stanza.attribute("to"))


def _mac(message: Message) -> str:
    """What tells this ciphertext from others, of whatever stanza it is in."""
    inner = b"".join((message.payload or b"", message.iv or b"", message.sender_device.to_bytes(4, "big")))
    return mark_of_form(message.namespace) + blake2b(inner, digest_size=12).hexdigest()
