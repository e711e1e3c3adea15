"""Stanzas as the inside half reads and writes them. What is read is hostile: MalformedXml when it is unreadable."""

import re
from dataclasses import dataclass, field

from adapters.xmpp.names import (
    NS_CARBONS,
    NS_CHAT_STATES,
    NS_COMPONENT,
    NS_EME,
    NS_HINTS,
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
    serialize,
)

NS_FORWARD = "urn:xmpp:forward:0"
NS_MARKERS = "urn:xmpp:chat-markers:0"
NS_REACTIONS = "urn:xmpp:reactions:0"
NS_RETRACT = "urn:xmpp:message-retract:1"
NS_SHARING = "urn:xmpp:sfs:0"
NS_GEOLOC = "http://jabber.org/protocol/geoloc"
SPEAKING = {(NS_REACTIONS, "reactions"), (NS_RETRACT, "retract"), (NS_GEOLOC, "geoloc"), (NS_SHARING, "file-sharing")}
"""Elements that make a message of a content without a body."""
_ASIDE = frozenset({CLIENT, NS_HINTS, NS_CARBONS, NS_EME, NS_STANZA_ENCRYPTION, NS_FORWARD})
"""Namespaces of what says nothing about the text: routing, encryption."""
MARKABLE = f'<markable xmlns="{NS_MARKERS}"/>'
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
    extras: tuple[Element, ...] = field(default=(), repr=False)
    """What else stands in it and may say something about the text."""

    @property
    def speaks(self) -> bool:
        """Whether it holds anything for the other network to be told."""
        return bool(self.body) or any((e.namespace, e.name) in SPEAKING for e in self.extras)


def read_content(elements: tuple[Element, ...]) -> Content:
    """Read the children of a stanza, or its decrypted content. Of doubled elements the first counts."""
    body = origin = state = None
    wanted = False
    received: list[str] = []
    extras: list[Element] = []
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
            case (str(ns), _) if ns not in _ASIDE and ns != NS_STANZA_ID:
                extras.append(e)
    usable = origin if origin and len(origin) <= MAX_ID else None
    return Content(body, usable, wanted, tuple(received), state, tuple(extras))


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
def text_content(body: str, stanza_id: str, *, receipt: bool = True, more: str = "") -> bytes:
    """A message's content: the text (sanitised), a request for a receipt (XEP-0184), its authentic id (XEP-0359).

    `more`: what else is said, XML.
    """
    request = _RECEIPT_REQUEST if receipt else ""
    return f"<body>{escape_text(body)}</body>{request}{_origin(stanza_id)}{more}".encode()


def sent_content(content: Content, stanza_id: str, *, sender: str, to: str) -> bytes:
    """A copy of what another resource of the user's sent: as a server makes it (XEP-0280), but inside the session."""
    body = "" if content.body is None else f"<body>{escape_text(content.body)}</body>"
    more = b"".join(serialize(e, inherited=CLIENT) for e in content.extras).decode()
    ends = f'from="{escape_attribute(sender)}" to="{escape_attribute(to)}" id="{escape_attribute(stanza_id)}"'
    message = f'<message xmlns="{CLIENT}" {ends} type="chat">{body}{_origin(stanza_id)}{more}'
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
