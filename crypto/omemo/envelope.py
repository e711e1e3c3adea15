"""What is encrypted in omemo:2: an envelope of elements (XEP-0420), in the profile of XEP-0384, section 5.5.1.

`<rpad/>` is always there, `<from/>` too; `<to/>` where the sender says so. Whoever opens it must name the stanza's
sender and recipient: an envelope that was taken from another stanza is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from crypto.omemo.faults import Malformed, WrongParty
from crypto.omemo.reading import b64
from crypto.omemo.store import Draw
from crypto.xml import Element, MalformedXml, parse, serialize

NS_SCE = "urn:xmpp:sce:1"
_LEAST = 256
"""Octets that every envelope is padded to before the random part."""
_MOST_RANDOM = 200
_SERVERS: Final = frozenset(
    {
        ("urn:xmpp:hints", None),
        ("urn:xmpp:sid:0", "stanza-id"),
        ("http://jabber.org/protocol/address", None),
        ("urn:xmpp:eme:0", None),
        ("urn:xmpp:omemo:2", "encrypted"),
        ("eu.siacs.conversations.axolotl", "encrypted"),
        (NS_SCE, "envelope"),
    }
)
"""Elements that have no place inside (section 5): servers look at them, or they are an envelope themselves."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What was inside. `stamp`: when the sender says that it was made (XEP-0082)."""

    content: tuple[Element, ...] = field(repr=False)
    stamp: str | None


def sealed_envelope(
    content: Sequence[Element], draw: Draw, *, sender: str, recipient: str | None = None, stamp: str | None = None
) -> bytes:
    """The octets to encrypt. `sender`, `recipient`: bare JIDs."""
    affixes = [Element(NS_SCE, "from", (("jid", sender),))]
    if recipient is not None:
        affixes.append(Element(NS_SCE, "to", (("jid", recipient),)))
    if stamp is not None:
        affixes.append(Element(NS_SCE, "time", (("stamp", stamp),)))
    inside = Element(NS_SCE, "content", (), tuple(content))
    bare = serialize(Element(NS_SCE, "envelope", (), (inside, *affixes)))
    size = max(0, _LEAST - len(bare)) + int.from_bytes(draw("omemo-pad-size", 8), "big") % (_MOST_RANDOM + 1)
    pad = b64(draw("omemo-pad", size * 3 // 4 + 3))[:size]
    return serialize(Element(NS_SCE, "envelope", (), (inside, *affixes, Element(NS_SCE, "rpad", (), (pad,)))))


def opened_envelope(octets: bytes, *, sender: str, recipient: str) -> Envelope:
    """What is inside. `sender`, `recipient`: the bare JIDs of the stanza's ends, in their normal form.

    Raises Malformed, and WrongParty when it names others.
    """
    root: Element | None = None
    try:
        root = parse(octets)
    except MalformedXml:
        root = None
    if root is None or (root.namespace, root.name) != (NS_SCE, "envelope"):
        raise Malformed
    inside, rpad = _only(root, "content"), _only(root, "rpad")
    named, to, stamp = _only(root, "from"), _only(root, "to"), _only(root, "time")
    if inside is None or rpad is None:
        raise Malformed
    if named is None or _bare(named) != sender or (to is not None and _bare(to) != recipient):
        raise WrongParty
    content = tuple(child for child in inside.elements if not _is_servers(child))
    return Envelope(content, None if stamp is None else stamp.attribute("stamp"))


def _only(root: Element, name: str) -> Element | None:
    """The affix of that name. Raises Malformed when there are several."""
    found = [child for child in root.elements if (child.namespace, child.name) == (NS_SCE, name)]
    if len(found) > 1:
        raise Malformed
    return found[0] if found else None


def _bare(affix: Element) -> str:
    return (affix.attribute("jid") or "").partition("/")[0]


def _is_servers(element: Element) -> bool:
    return (element.namespace, None) in _SERVERS or (element.namespace, element.name) in _SERVERS
