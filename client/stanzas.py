"""Stanzas as an endpoint writes and reads them: the wrapping of ESession payloads, content, errors."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from client.content import CONTENT_FEATURES, NOTHING, NS_MARKERS, Said, read_said
from crypto.xml import CLIENT, Element, escape_attribute, sanitise_text, serialize
from crypto.xml import element as xml

NS_ESESSION = "http://www.xmpp.org/extensions/xep-0116.html#ns"
NS_ESESSION_INIT = "http://www.xmpp.org/extensions/xep-0116.html#ns-init"
NS_STANZA_ENCRYPTION = "http://www.xmpp.org/extensions/xep-0200.html#ns"
NS_SSN = "urn:xmpp:ssn"
NS_RECEIPTS = "urn:xmpp:receipts"
NS_STANZA_ID = "urn:xmpp:sid:0"
NS_STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
NS_CHAT_STATES = "http://jabber.org/protocol/chatstates"
NS_CARBONS = "urn:xmpp:carbons:2"
NS_FORWARD = "urn:xmpp:forward:0"

FEATURES = (NS_ESESSION, NS_ESESSION_INIT, NS_STANZA_ENCRYPTION, NS_SSN, NS_RECEIPTS, NS_STANZA_ID, *CONTENT_FEATURES)
"""What an endpoint announces by service discovery (XEP-0030)."""

MAX_BODY_OCTETS = 120_000
"""Of a message's text in UTF-8. Encrypted and in Base64 it must stay below the 256 KiB that servers allow a stanza."""

_MAC = re.compile(rb"<mac>([A-Za-z0-9+/=]+)</mac>")

_NO_STORE = b'<no-store xmlns="urn:xmpp:hints"/>'
_HINTS = (
    b'<private xmlns="urn:xmpp:carbons:2"/>'
    b'<no-copy xmlns="urn:xmpp:hints"/><no-permanent-store xmlns="urn:xmpp:hints"/>'
)


@dataclass(frozen=True, slots=True)
class Stanza:
    """One stanza to be sent. `payload` is its serialised children in the namespace of clients.

    `name`: `message`, `presence` or `iq`; only messages have a thread.
    """

    to: str
    type: str | None
    id: str
    thread: str
    payload: bytes = field(repr=False)
    name: str = "message"
    passing: bool = False
    """Whether it is of no use later (a chat state): not to be stored by servers."""

    def octets(self) -> bytes:
        """The whole stanza, in the namespace of clients (not repeated in it)."""
        kind = "" if self.type is None else f' type="{escape_attribute(self.type)}"'
        start = f'<{self.name} to="{escape_attribute(self.to)}"{kind} id="{escape_attribute(self.id)}">'
        end = f"</{self.name}>".encode()
        if self.name != "message":
            return start.encode() + self.payload + end
        hints = {"chat": _HINTS, None: _NO_STORE}.get(self.type, b"") + (_NO_STORE if self.passing else b"")
        thread = serialize(xml(CLIENT, "thread", self.thread), inherited=CLIENT)
        return start.encode() + thread + self.payload + hints + end


# ---------------------------------------------------------------- content, to be encrypted
def text_content(body: str, message_id: str, more: bytes = b"", *, markable: bool = False) -> bytes:
    """A message's content: the text, a request for a receipt (XEP-0184), its id (XEP-0359), and what stands beside it.

    `markable`: whether to be told when it was shown (XEP-0333).
    """
    parts = [xml(CLIENT, "body", body), xml(NS_RECEIPTS, "request"), xml(NS_STANZA_ID, "origin-id", id=message_id)]
    return _content(*parts, *([xml(NS_MARKERS, "markable")] if markable else [])) + more


def receipt_content(message_id: str) -> bytes:
    """A receipt's content (XEP-0184)."""
    return _content(xml(NS_RECEIPTS, "received", id=message_id))


def state_content(state: str) -> bytes:
    """A chat state's content (XEP-0085)."""
    return _content(xml(NS_CHAT_STATES, state))


def _content(*elements: Element) -> bytes:
    return b"".join(serialize(element, inherited=CLIENT) for element in elements)


# ---------------------------------------------------------------- content, decrypted
@dataclass(frozen=True, slots=True)
class Copy:
    """What another client of the user's has sent, as the contact's end shows it (XEP-0280, inside the session)."""

    id: str
    body: str = field(repr=False)
    sender: str
    """Full JID of the client that wrote it."""
    to: str
    said: Said = NOTHING


@dataclass(frozen=True, slots=True)
class Content:
    """What an endpoint reads from decrypted content."""

    body: str | None = field(repr=False)
    origin_id: str | None
    receipt_wanted: bool
    received: tuple[str, ...]
    """Ids of the messages it acknowledges."""
    error: "ErrorCondition | None"
    state: str | None = None
    """A chat state (XEP-0085): `composing`, `paused`, `active`, `inactive`, `gone`."""
    copy: Copy | None = field(default=None, repr=False)
    said: Said = NOTHING
    """What it says beside the text."""

    @property
    def speaks(self) -> bool:
        """Whether it is a message of the contact's."""
        return self.body is not None or self.said.reacts_to is not None or self.said.retracts is not None


STATES = frozenset({"composing", "paused", "active", "inactive", "gone"})


def read_content(elements: Sequence[Element]) -> Content:
    """Read decrypted content. Unknown elements are left alone; of doubled ones the first counts."""

    def first(namespace: str, name: str) -> Element | None:
        return next((e for e in elements if (e.namespace, e.name) == (namespace, name)), None)

    body, origin, error = first(CLIENT, "body"), first(NS_STANZA_ID, "origin-id"), first(CLIENT, "error")
    text, said = read_said(None if body is None else body.text, elements)
    received = (e.attribute("id") for e in elements if (e.namespace, e.name) == (NS_RECEIPTS, "received"))
    return Content(
        body=text,
        origin_id=None if origin is None else origin.attribute("id"),
        receipt_wanted=first(NS_RECEIPTS, "request") is not None,
        received=tuple(found for found in received if found is not None),
        error=None if error is None else read_error(error),
        state=next((e.name for e in elements if e.namespace == NS_CHAT_STATES and e.name in STATES), None),
        copy=_read_copy(first(NS_CARBONS, "sent")),
        said=said,
    )


def _read_copy(sent: Element | None) -> Copy | None:
    """The message in a `<sent/>`; None for one that says nothing, or without an id that tells doubles apart."""
    forwarded = None if sent is None else sent.child(NS_FORWARD, "forwarded")
    message = None if forwarded is None else forwarded.child(CLIENT, "message")
    if message is None:
        return None
    content = read_content(message.elements)
    if not content.speaks or not content.origin_id:
        return None
    ends = message.attribute("from") or "", message.attribute("to") or ""
    return Copy(content.origin_id, content.body or "", *ends, content.said)


# ---------------------------------------------------------------- errors
class Meaning(Enum):
    """What a stanza error says about a message that was sent in a session."""

    PASSING = "passing"
    """The way there is interrupted: try again."""
    SESSION_LOST = "session-lost"
    """The other end could not decrypt it: negotiate anew."""
    FINAL = "final"
    """It was refused."""


_SESSION_LOST = frozenset({"not-acceptable", "unexpected-request"})
_FINAL = frozenset(
    {
        "bad-request",
        "feature-not-implemented",
        "forbidden",
        "gone",
        "item-not-found",
        "jid-malformed",
        "not-allowed",
        "not-authorized",
        "payment-required",
        "policy-violation",
        "registration-required",
        "subscription-required",
    }
)


@dataclass(frozen=True, slots=True)
class ErrorCondition:
    """A stanza error (RFC 6120, 8.3): its defined condition, its text for people, what it means for a session."""

    condition: str
    text: str
    meaning: Meaning


def read_error(error: Element | None) -> ErrorCondition:
    """Read an `<error/>`; without one, or without a condition, it is `undefined-condition`."""
    children = () if error is None else error.elements
    named = [e for e in children if e.namespace == NS_STANZAS]
    condition = next((e.name for e in named if e.name != "text"), "undefined-condition")
    text = next((e.text for e in named if e.name == "text"), "")
    if error is not None and error.attribute("type") == "wait":
        meaning = Meaning.PASSING
    elif condition in _SESSION_LOST:
        meaning = Meaning.SESSION_LOST
    else:
        meaning = Meaning.FINAL if condition in _FINAL else Meaning.PASSING
    return ErrorCondition(condition, sanitise_text(text)[:500], meaning)


def mac_in(payload: bytes) -> str | None:
    """The authentication code in the payload of a stanza of our own."""
    found = _MAC.search(payload)
    return None if found is None else found[1].decode()


def sealed_part(stanza: Element) -> Element | None:
    """The encrypted content of a stanza, which may stand in its `<error/>`."""
    error = stanza.child(CLIENT, "error")
    within = None if error is None else error.child(NS_STANZA_ENCRYPTION, "c")
    return stanza.child(NS_STANZA_ENCRYPTION, "c") or within


def mac_of(stanza: Element) -> str | None:
    """The authentication code of the stanza's encrypted content, which names it among repetitions."""
    sealed = stanza.child(NS_STANZA_ENCRYPTION, "c")
    mac = None if sealed is None else sealed.child(NS_STANZA_ENCRYPTION, "mac")
    return None if mac is None else mac.text
