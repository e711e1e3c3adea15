"""Which parts of a stanza are encrypted, and where the result stands (XEP-0200, "Encryptable Content").

A `<c/>` is the same in a `<message/>`, a `<presence/>` and an `<iq/>`. Only messages have a `<thread/>`: the
caller finds the conversation of a presence or an iq by the full JIDs of both ends (the one session that is active
between them; of several the one that last carried a stanza), and of a message by its thread.
"""

from crypto.esession import names
from crypto.esession.faults import BadStanza, MalformedStanza, UnusableStanza
from crypto.xml import CLIENT, Element, serialize

KINDS = ("message", "presence", "iq")
MESSAGE, PRESENCE, IQ = KINDS
AMP = "http://jabber.org/protocol/amp"
_OF_MESSAGES = frozenset(
    {
        (CLIENT, "body"),
        (CLIENT, "subject"),
        (names.RECEIPTS, "received"),
        (names.RECEIPTS, "request"),
        (names.STANZA_ID, "origin-id"),
        (names.CARBONS, "sent"),
        (names.CARBONS, "received"),
    }
)
_OF_PRESENCE = frozenset({(CLIENT, "show"), (CLIENT, "status"), (CLIENT, "priority")})
_OUTSIDE = frozenset({(CLIENT, "thread"), (CLIENT, "error"), (AMP, "amp")})


def must_stay_outside(child: Element) -> bool:
    """Whether the XEP forbids to encrypt this child of a stanza: thread, error, amp."""
    return (child.namespace, child.name) in _OUTSIDE


def divided(children: tuple[Element, ...]) -> tuple[tuple[Element, ...], tuple[Element, ...]]:
    """The children of a plain stanza that stay outside `<c/>`, and those that go into it."""
    outside = tuple(child for child in children if must_stay_outside(child))
    return outside, tuple(child for child in children if not must_stay_outside(child))


def encrypted_parts(stanza: Element) -> tuple[Element | None, Element | None]:
    """The `<c/>` of a stanza, and the one in its `<error/>`.

    Raises MalformedStanza for more than one in either place, and for one in an `<error/>` of a stanza of another type.
    """
    own = _only([stanza])
    inside = _only([e for e in stanza.elements if e.namespace == stanza.namespace and e.name == "error"])
    if inside is not None and stanza.attribute("type") != "error":
        raise MalformedStanza
    return own, inside


def _only(parents: list[Element]) -> Element | None:
    found = [e for parent in parents for e in parent.elements if e.namespace == names.STANZA and e.name == "c"]
    if len(found) > 1:
        raise MalformedStanza
    return found[0] if found else None


def require_agreed(kind: str, agreed: tuple[str, ...]) -> None:
    """Raises UnusableStanza when stanzas of this kind are not encrypted in the session."""
    if kind not in agreed:
        raise UnusableStanza(BadStanza.KIND)


def require_fitting(kind: str, content: tuple[Element, ...], within: tuple[Element, ...]) -> None:
    """Raises UnusableStanza for content that stands where it never belongs: somebody moved it there.

    The MAC does not cover what is around a `<c/>`. A text in a presence, an iq or an `<error/>` would be read by nobody
    while the counters go on: removed, and not noticed.
    """
    own, in_error = ({(e.namespace, e.name) for e in part} for part in (content, within))
    foreign = _OF_PRESENCE if kind == MESSAGE else _OF_MESSAGES if kind == PRESENCE else _OF_MESSAGES | _OF_PRESENCE
    if own & foreign or in_error & (_OF_MESSAGES | _OF_PRESENCE):
        raise UnusableStanza(BadStanza.KIND)


def error_with(condition: str, kind: str, encrypted: bytes) -> bytes:
    """An `<error/>` of a defined condition and a type, with a `<c/>` in it, serialised."""
    shell = serialize(
        Element(CLIENT, "error", (("type", kind),), (Element(names.STANZA_ERRORS, condition),)), inherited=CLIENT
    )
    return shell.removesuffix(b"</error>") + encrypted + b"</error>"
