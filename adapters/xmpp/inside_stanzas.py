"""Stanzas as the inside half reads and writes them. What is read is hostile: MalformedXml when it is unreadable."""

import re
from dataclasses import dataclass, field

from adapters.xmpp.names import (
    NS_CARBONS,
    NS_CHAT_STATES,
    NS_COMPONENT,
    NS_RECEIPTS,
    NS_STANZA_ENCRYPTION,
    NS_STANZA_ID,
    NS_STANZAS,
)
from adapters.xmpp.sentences import explanation
from crypto.message import Kind
from crypto.xml import (
    CLIENT,
    MAX_DEPTH,
    MAX_OCTETS,
    Element,
    Flaw,
    MalformedXml,
    escape_attribute,
    escape_text,
    parse,
)

NS_FORWARD = "urn:xmpp:forward:0"
_WRAPPED = f"<s xmlns='{CLIENT}'>".encode()
_OPAQUE = re.compile(r"[A-Za-z0-9._~:+/=-]{1,255}\Z")
_RECEIPT_REQUEST = f"<request xmlns='{NS_RECEIPTS}'/>"
MAX_ID = 255
MAX_BODY = 150_000
"""Octets of a message's text in UTF-8: encrypted and in Base64 it stays below the 256 KiB that servers allow."""
MAC_KEPT = 16
"""Characters of an authentication code that are kept to recognise a repetition."""


def read_stanza(octets: bytes) -> Element:
    """A stanza as the component's server wrote it, in the namespace of clients."""
    root = parse(_WRAPPED + octets + b"</s>", max_octets=MAX_OCTETS + len(_WRAPPED) + 4, max_depth=MAX_DEPTH + 1)
    if len(root.children) != 1 or not isinstance(root.children[0], Element):
        raise MalformedXml(Flaw.TEXT_BETWEEN)
    stanza = root.children[0]
    # A server may name the component's own namespace; it stands for that of clients (XEP-0114).
    return _as_client(stanza) if stanza.namespace == NS_COMPONENT else stanza


def _as_client(element: Element) -> Element:
    namespace = CLIENT if element.namespace == NS_COMPONENT else element.namespace
    children = tuple(_as_client(c) if isinstance(c, Element) else c for c in element.children)
    return Element(namespace, element.name, element.attributes, children)


def is_opaque(text: str | None) -> bool:
    """Whether an id or a thread is one that may be handed back across the wall."""
    return text is not None and _OPAQUE.match(text) is not None


@dataclass(frozen=True, slots=True)
class Content:
    """What the inside half reads of a message's content, encrypted or not."""

    body: str | None = field(repr=False)
    origin_id: str | None
    receipt_wanted: bool
    received: tuple[str, ...]
    state: str | None = None
    """A chat state (XEP-0085)."""


def read_content(elements: tuple[Element, ...]) -> Content:
    """Read the children of a stanza, or its decrypted content. Of doubled elements the first counts."""
    body = origin = state = None
    wanted = False
    received: list[str] = []
    for e in elements:
        match e.namespace, e.name:
            case (str(ns), "body") if ns == CLIENT and body is None:
                body = e.text
            case (str(ns), "origin-id") if ns == NS_STANZA_ID and origin is None:
                origin = e.attribute("id")
            case (str(ns), "request") if ns == NS_RECEIPTS:
                wanted = True
            case (str(ns), "received") if ns == NS_RECEIPTS:
                received.append(e.attribute("id") or "")
            case (str(ns), name) if ns == NS_CHAT_STATES:
                state = name
    usable = origin if origin and len(origin) <= MAX_ID else None
    return Content(body, usable, wanted, tuple(received), state)


def mac_of(stanza: Element) -> str:
    """The beginning of the authentication code of its encrypted content; empty when there is none."""
    sealed = stanza.child(NS_STANZA_ENCRYPTION, "c")
    mac = None if sealed is None else sealed.child(NS_STANZA_ENCRYPTION, "mac")
    return "" if mac is None else mac.text.strip()[:MAC_KEPT]


def error_condition(stanza: Element) -> str:
    """The defined condition of an error stanza (RFC 6120, 8.3.3)."""
    error = stanza.child(CLIENT, "error")
    named = () if error is None else tuple(e for e in error.elements if e.namespace == NS_STANZAS)
    return next((e.name for e in named if e.name != "text"), "undefined-condition")


# ---------------------------------------------------------------- content, to be encrypted
def text_content(body: str, stanza_id: str, *, receipt: bool = True) -> bytes:
    """A message's content: the text (sanitised), a request for a receipt (XEP-0184), its authentic id (XEP-0359)."""
    request = _RECEIPT_REQUEST if receipt else ""
    return f"<body>{escape_text(body)}</body>{request}{_origin(stanza_id)}".encode()


def sent_content(body: str, stanza_id: str, *, sender: str, to: str) -> bytes:
    """A copy of what another resource of the user's sent: as a server makes it (XEP-0280), but inside the session."""
    ends = f'from="{escape_attribute(sender)}" to="{escape_attribute(to)}" id="{escape_attribute(stanza_id)}"'
    message = f'<message xmlns="{CLIENT}" {ends} type="chat"><body>{escape_text(body)}</body>{_origin(stanza_id)}'
    return f'<sent xmlns="{NS_CARBONS}"><forwarded xmlns="{NS_FORWARD}">{message}</message></forwarded></sent>'.encode()


def receipt_content(message_id: str) -> bytes:
    """A receipt's content (XEP-0184)."""
    return f'<received xmlns="{NS_RECEIPTS}" id="{escape_attribute(message_id)}"/>'.encode()


def refusal_content(message_id: str, code: str) -> bytes:
    """A refusal's content: the error, and the id of the message (docs/decisions/0034-encrypted-refusals.md)."""
    about = explanation(code)
    text = f'<text xmlns="{NS_STANZAS}" xml:lang="en">{escape_text(about.sentence)}</text>'
    error = f'<error type="{about.kind}"><{about.condition} xmlns="{NS_STANZAS}"/>{text}</error>'
    return (error + _origin(message_id)).encode()


def _origin(stanza_id: str) -> str:
    return f'<origin-id xmlns="{NS_STANZA_ID}" id="{escape_attribute(stanza_id)}"/>'


def text_of(body: str, kind: Kind) -> str:
    """The body as XMPP has it: an emote begins with `/me ` (XEP-0245)."""
    return f"/me {body}" if kind is Kind.EMOTE else body
