"""What a message says beside its text: corrections (XEP-0308), replies (0461), reactions (0444), retractions (0424)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from crypto.xml import CLIENT, Element, sanitise_text, serialize
from crypto.xml import element as xml

NS_CORRECT = "urn:xmpp:message-correct:0"
NS_REPLY = "urn:xmpp:reply:0"
NS_FALLBACK = "urn:xmpp:fallback:0"
NS_REACTIONS = "urn:xmpp:reactions:0"
NS_RETRACT = "urn:xmpp:message-retract:1"
NS_MARKERS = "urn:xmpp:chat-markers:0"
CONTENT_FEATURES = (NS_CORRECT, NS_REPLY, NS_FALLBACK, NS_REACTIONS, NS_RETRACT, NS_MARKERS)
MAX_ID = 255
MAX_REACTIONS = 20
MAX_EMOJI = 32
MOST_QUOTED = 300


# ---------------------------------------------------------------- to be sent
@dataclass(frozen=True, slots=True)
class Saying:
    """A text, and what stands beside it. The text alone must do for who does not know the rest."""

    body: str = field(repr=False)
    more: bytes = field(default=b"", repr=False)
    """Further children of the stanza, serialised in the namespace of clients."""


def _octets(*elements: Element) -> bytes:
    return b"".join(serialize(e, inherited=CLIENT) for e in elements)


def correction(old: str, text: str) -> Saying:
    """Another wording of the message of that id."""
    return Saying(text, _octets(xml(NS_CORRECT, "replace", id=old)))


def reply(to: str, author: str, text: str, quoted: str = "") -> Saying:
    """An answer to the message of that id, by that JID; `quoted`: its text, for clients that do not know replies."""
    lines = sanitise_text(quoted.strip()[:MOST_QUOTED]).split("\n") if quoted.strip() else []
    quotation = "".join(f"> {line}\n" for line in lines)
    elements = [xml(NS_REPLY, "reply", to=author, id=to)]
    if quotation:
        stretch = xml(NS_FALLBACK, "body", start="0", end=str(len(quotation)))
        elements.append(Element(NS_FALLBACK, "fallback", (("for", NS_REPLY),), (stretch,)))
    return Saying(quotation + text, _octets(*elements))


def reactions(to: str, emojis: Sequence[str]) -> Saying:
    """All that one now feels about the message of that id. ValueError for what is no reaction."""
    given = tuple(dict.fromkeys(sanitise_text(e).strip() for e in emojis))
    if len(given) > MAX_REACTIONS or any(not 0 < len(e) <= MAX_EMOJI for e in given):
        raise ValueError(
            f"a reaction has 1 to {MAX_EMOJI} characters, a message at most {MAX_REACTIONS} of one person's"
        )
    inner = tuple(xml(NS_REACTIONS, "reaction", e) for e in given)
    said = f"* reacted: {' '.join(given)}" if given else "* took a reaction back"
    return Saying(said, _octets(Element(NS_REACTIONS, "reactions", (("id", to),), inner), _whole(NS_REACTIONS)))


def retraction(old: str) -> Saying:
    """The message of that id is taken back."""
    return Saying("* took an earlier message back", _octets(xml(NS_RETRACT, "retract", id=old), _whole(NS_RETRACT)))


def _whole(namespace: str) -> Element:
    return Element(NS_FALLBACK, "fallback", (("for", namespace),), (xml(NS_FALLBACK, "body"),))


def displayed_content(message_id: str) -> bytes:
    """All up to the message of that id was shown to the user (XEP-0333)."""
    return _octets(xml(NS_MARKERS, "displayed", id=message_id))


# ---------------------------------------------------------------- received
@dataclass(frozen=True, slots=True)
class Said:
    """What a message says beside its text. All ids are those of messages."""

    replaces: str | None = None
    reply_to: str | None = None
    quoted: str = field(default="", repr=False)
    """What the body would have quoted of the message that is answered."""
    reacts_to: str | None = None
    emojis: tuple[str, ...] = field(default=(), repr=False)
    retracts: str | None = None
    displayed: str | None = None
    markable: bool = False
    """Whether the sender wants to know when it was shown."""
    place: str = field(default="", repr=False)
    """A `geo:` address."""
    markup: tuple[Element, ...] = field(default=(), repr=False)
    """Elements of XEP-0394, and whether it is not to be styled at all (XEP-0393, `unstyled`)."""


NOTHING = Said()


def read_said(body: str | None, elements: Sequence[Element]) -> tuple[str | None, Said]:
    """The body without what only stands in for something else, and that."""

    def first(namespace: str, name: str) -> Element | None:
        return next((e for e in elements if (e.namespace, e.name) == (namespace, name)), None)

    answered, reacted = first(NS_REPLY, "reply"), first(NS_REACTIONS, "reactions")
    text, quoted = (body, "") if answered is None or body is None else _unquoted(body, elements)
    geoloc = first("http://jabber.org/protocol/geoloc", "geoloc")
    given = () if reacted is None else tuple(e.text for e in reacted.elements if e.name == "reaction")
    return text, Said(
        replaces=_id(first(NS_CORRECT, "replace")),
        reply_to=_id(answered),
        quoted=quoted,
        reacts_to=_id(reacted),
        emojis=tuple(dict.fromkeys(e for e in given if 0 < len(e) <= MAX_EMOJI))[:MAX_REACTIONS],
        retracts=_id(first(NS_RETRACT, "retract")),
        displayed=_id(first(NS_MARKERS, "displayed")),
        markable=first(NS_MARKERS, "markable") is not None,
        place="" if geoloc is None else _place(geoloc),
        markup=tuple(e for e in elements if e.namespace in ("urn:xmpp:markup:0", "urn:xmpp:styling:0")),
    )


def _id(element: Element | None) -> str | None:
    found = None if element is None else element.attribute("id")
    return found if found and len(found) <= MAX_ID else None


def _place(geoloc: Element) -> str:
    lat, lon = (geoloc.child(geoloc.namespace, name) for name in ("lat", "lon"))
    return "" if lat is None or lon is None else f"geo:{lat.text.strip()[:16]},{lon.text.strip()[:16]}"


def _unquoted(body: str, elements: Sequence[Element]) -> tuple[str, str]:
    """The body without the stretch that quotes what is answered (XEP-0428), and that stretch."""
    for element in elements:
        if (element.namespace, element.name, element.attribute("for")) != (NS_FALLBACK, "fallback", NS_REPLY):
            continue
        for child in element.elements:
            start, end = (_number(child.attribute(name)) for name in ("start", "end"))
            if child.name == "body" and start is not None and end is not None and start < end <= len(body):
                return body[:start] + body[end:], body[start:end]
    return body, ""


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 10 else None
