"""Stanzas as the companion's inside half reads and writes them. What is read may be hostile: MalformedXml."""

import re
from dataclasses import dataclass, field, replace

from adapters.companion.names import (
    LOCAL,
    NS_CARBONS,
    NS_EME,
    NS_HINTS,
    NS_RECEIPTS,
    NS_STANZA_ENCRYPTION,
    NS_STANZA_ID,
    NS_STANZAS,
)
from crypto.esession.conversation import Kind
from crypto.xml import (
    CLIENT,
    MAX_DEPTH,
    MAX_OCTETS,
    Element,
    Flaw,
    MalformedXml,
    parse,
    sanitise_text,
    serialize,
)
from crypto.xml import element as xml

_START = f"<s xmlns='{CLIENT}' xmlns:stream='http://etherx.jabber.org/streams'>".encode()
_END = b"</s>"
_OPAQUE = re.compile(r"[A-Za-z0-9._~:+/=-]{1,255}\Z")
_TRANSIENT = frozenset(
    {
        "http://jabber.org/protocol/chatstates",
        NS_RECEIPTS,
        NS_HINTS,
        NS_STANZA_ID,
        NS_CARBONS,
        "urn:xmpp:chat-markers:0",
    }
)
_EVENTS = frozenset({"http://jabber.org/protocol/pubsub#event", "urn:xmpp:jingle-message:0", "urn:xmpp:delay"})
_ROUTING = frozenset({NS_HINTS, NS_CARBONS, NS_STANZA_ID})
_ARCHIVE = "urn:xmpp:mam:"
_TYPES = {Kind.NEGOTIATION: None, Kind.ENCRYPTED: "chat", Kind.ERROR: "error"}
_FALLBACK = "This message is encrypted by an ESession (XEP-0116)."
_NO_COPY = xml(NS_CARBONS, "private"), xml(NS_HINTS, "no-copy")
MAX_ID = 255


def read_stanza(octets: bytes) -> Element:
    """One stanza, as it stood in its stream."""
    aside = len(_START) + len(_END)
    root = parse(_START + octets + _END, max_octets=MAX_OCTETS + aside, max_depth=MAX_DEPTH + 1)
    found = [child for child in root.children if isinstance(child, Element)]
    if len(found) != 1 or root.text.strip():
        raise MalformedXml(Flaw.TEXT_BETWEEN)
    return found[0]


def is_opaque(text: str | None) -> bool:
    """Whether a thread is one that we keep records under."""
    return text is not None and _OPAQUE.match(text) is not None


# ---------------------------------------------------------------- what the client writes
def is_transient(stanza: Element) -> bool:
    """Whether a message holds only what is true for a moment (a chat state, a receipt): it is not kept."""
    rest = [e for e in stanza.elements if e.namespace not in _TRANSIENT and (e.namespace, e.name) != (CLIENT, "thread")]
    return not rest


def content_of(stanza: Element, origin_id: str | None) -> bytes:
    """What of a client's stanza goes into the encryption: everything but what only routing needs.

    With `origin_id` it is a message: that authentic id and a request for a receipt (XEP-0184) are in it.
    """
    kept = [
        e
        for e in stanza.elements
        if e.namespace not in _ROUTING and not (origin_id and (e.namespace, e.name) == (NS_RECEIPTS, "request"))
    ]
    if origin_id is not None:
        kept += [xml(NS_RECEIPTS, "request"), xml(NS_STANZA_ID, "origin-id", id=origin_id)]
    return b"".join(serialize(e, inherited=CLIENT) for e in kept)


def wants_receipt(stanza: Element) -> bool:
    """Whether a receipt is asked for."""
    return stanza.child(NS_RECEIPTS, "request") is not None


def origin_id_of(elements: tuple[Element, ...]) -> str | None:
    """The authentic id of a message; None when there is none of a sensible length."""
    found = next((e.attribute("id") for e in elements if (e.namespace, e.name) == (NS_STANZA_ID, "origin-id")), None)
    return found if found and len(found) <= MAX_ID else None


def misaddressed(stanza: Element) -> bytes:
    """The error for a message of the client's to an address that is none."""
    error = stanza_error("jid-malformed", "modify", "This address is not written as addresses are.")
    return refusal(stanza, stanza.attribute("to") or "", error)


# ---------------------------------------------------------------- what the peer wrote
@dataclass(frozen=True, slots=True)
class Content:
    """What this half reads of a message's decrypted content; the client gets `shown`."""

    shown: tuple[Element, ...] = field(repr=False)
    body: bool
    transient: bool
    origin_id: str | None
    receipt_wanted: bool
    received: tuple[str, ...]
    error: Element | None


def read_content(elements: tuple[Element, ...]) -> Content:
    """Read decrypted content. Receipts and requests for them are the companion's; the client gets the rest.

    But for what servers take out of stanzas that contacts send, because clients believe it of their own server.
    """
    received = (e.attribute("id") for e in elements if (e.namespace, e.name) == (NS_RECEIPTS, "received"))
    shown = tuple(e for e in elements if e.namespace != NS_RECEIPTS and not _is_servers(e))
    probe = Element(CLIENT, "message", (), elements)
    return Content(
        shown=shown,
        body=any((e.namespace, e.name) == (CLIENT, "body") for e in elements),
        transient=is_transient(probe),
        origin_id=origin_id_of(elements),
        receipt_wanted=wants_receipt(probe),
        received=tuple(i for i in received if i and len(i) <= MAX_ID),
        error=probe.child(CLIENT, "error"),
    )


def _is_servers(element: Element) -> bool:
    return is_copy(element) or (element.namespace, element.name) == (NS_STANZA_ID, "stanza-id")


def is_event(stanza: Element) -> bool:
    """Whether a message holds nothing but personal events (XEP-0163), or signals of calls (XEP-0353)."""
    return all(e.namespace in _EVENTS or e.namespace in _ROUTING for e in stanza.elements)


def is_copy(element: Element) -> bool:
    """Whether it wraps a copy of a message, as only our own server may send one: XEP-0280, XEP-0313."""
    return element.namespace == NS_CARBONS or element.namespace.startswith(_ARCHIVE)


def copies(stanza: Element) -> tuple[Element, ...]:
    """All messages that are in a stanza, however they are wrapped: clients differ in where they look."""
    found: tuple[Element, ...] = ()
    for element in stanza.elements:
        found += (element,) if element.name == "message" else ()
        found += copies(element)
    return found


def condition_of(error: Element) -> str:
    """The defined condition of an `<error/>`."""
    found = (e.name for e in error.elements if e.namespace == NS_STANZAS and e.name != "text")
    return next(found, "undefined-condition")


def mac_of(stanza: Element) -> str:
    """The authentication code of a stanza's encrypted content, by which a repetition is known; empty: none."""
    sealed = stanza.child(NS_STANZA_ENCRYPTION, "c")
    mac = None if sealed is None else sealed.child(NS_STANZA_ENCRYPTION, "mac")
    return "" if mac is None else mac.text


# ---------------------------------------------------------------- to the server
def wrapped(to: str, kind: Kind, stanza_id: str, thread: str, payload: bytes) -> bytes:
    """A message stanza around what a conversation wants sent."""
    typed = _TYPES[kind]
    stanza = Element(
        CLIENT, "message", _attributes(to=to, id=stanza_id, type=typed), (xml(CLIENT, "thread", thread), "")
    )
    after: tuple[Element, ...] = (*_NO_COPY, xml(NS_HINTS, "no-store"))
    if kind is Kind.ENCRYPTED:
        eme = Element(NS_EME, "encryption", (("namespace", NS_STANZA_ENCRYPTION), ("name", "ESession")))
        after = (xml(CLIENT, "body", _FALLBACK), eme, *_NO_COPY, xml(NS_HINTS, "no-permanent-store"))
    return _around(stanza, payload, after)


def around(stanza: Element, payload: bytes) -> bytes:
    """A presence or iq of the client's with its content replaced by what a session made of it."""
    return _around(replace(stanza, children=()), payload, ())


def _around(stanza: Element, payload: bytes, after: tuple[Element, ...]) -> bytes:
    opening = serialize(replace(stanza, children=(*stanza.children, "")), inherited=CLIENT)
    close = b"</" + stanza.name.encode() + b">"
    return opening.removesuffix(close) + payload + b"".join(serialize(e, inherited=CLIENT) for e in after) + close


def without_content(element: Element) -> Element:
    """Without its encrypted child."""
    kept = tuple(c for c in element.children if not isinstance(c, Element) or c.namespace != NS_STANZA_ENCRYPTION)
    return replace(element, children=kept)


# ---------------------------------------------------------------- to the client
def opened(stanza: Element, to: str, content: tuple[Element, ...], stanza_id: str | None) -> bytes:
    """A peer's stanza with its decrypted content, as an ordinary one."""
    kind = stanza.attribute("type")
    typed = (kind or "chat") if stanza.name == "message" else kind
    attributes = {"from_": stanza.attribute("from"), "to": to, "id": stanza_id, "type": typed}
    return serialize(Element(CLIENT, stanza.name, _attributes(**attributes), content), inherited=CLIENT)


def receipt(sender: str, to: str, stanza_id: str, received: str) -> bytes:
    """A receipt for the client (XEP-0184)."""
    children = (xml(NS_RECEIPTS, "received", id=received), xml(NS_HINTS, "store"))
    return serialize(
        Element(CLIENT, "message", _attributes(from_=sender, to=to, id=stanza_id), children), inherited=CLIENT
    )


def refusal(stanza: Element, sender: str, error: Element) -> bytes:
    """The error that a message of the client's came to."""
    attributes = _attributes(from_=sender, id=stanza.attribute("id"), type="error")
    return serialize(Element(CLIENT, stanza.name, attributes, (error,)), inherited=CLIENT)


def stanza_error(condition: str, kind: str, sentence: str) -> Element:
    """An `<error/>` (RFC 6120, 8.3)."""
    return Element(
        CLIENT,
        "error",
        (("type", kind),),
        (xml(NS_STANZAS, condition), xml(NS_STANZAS, "text", sanitise_text(sentence))),
    )


def from_local(to: str, stanza_id: str, text: str) -> bytes:
    """A message of the local contact's."""
    body = xml(CLIENT, "body", sanitise_text(text))
    attributes = _attributes(from_=LOCAL, to=to, id=stanza_id, type="chat")
    return serialize(Element(CLIENT, "message", attributes, (body, xml(NS_HINTS, "no-store"))), inherited=CLIENT)


def _attributes(**attributes: str | None) -> tuple[tuple[str, str], ...]:
    return tuple((name.rstrip("_"), value) for name, value in attributes.items() if value)
