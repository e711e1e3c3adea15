"""What a message of the user's says beside its text: XEP-0308, 0393, 0394, 0424, 0428, 0444, 0461, `geo:` addresses.

Hostile input: whatever is not as its specification has it is taken as text. It works on the children of a stanza, and
knows nothing of the encryption that they came in.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from adapters.xmpp import inside_words as words
from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_markup import read_text
from adapters.xmpp.inside_ranges import Range, cut
from adapters.xmpp.inside_references import first_wording, of_user, reworded, to_far
from adapters.xmpp.inside_stanzas import MAX_ID, NS_GEOLOC, NS_MARKERS, NS_REACTIONS, NS_RETRACT, Content
from adapters.xmpp.names import bare
from bridge.wire.values import CONTROL
from crypto.content import ContentPolicy, Reaction, Reply
from crypto.message import Kind, Message
from crypto.xml import Element

NS_CORRECT = "urn:xmpp:message-correct:0"
NS_REPLY = "urn:xmpp:reply:0"
NS_FALLBACK = "urn:xmpp:fallback:0"
MAX_REACTIONS = 20
MAX_EMOJI = 32
"""Characters of one reaction."""
_NUMBER = re.compile(r"[0-9]{1,9}\Z")
_QUOTE = re.compile(r"^> ?", re.MULTILINE)
_GEO = re.compile(r"geo:-?[0-9]{1,3}(?:\.[0-9]{1,12})?,-?[0-9]{1,3}(?:\.[0-9]{1,12})?(?:[,;?][^\s<>\"]{0,200})?\Z")
_DEGREES = re.compile(r"-?[0-9]{1,3}(?:\.[0-9]{1,12})?\Z")
_EMOTE = "/me "


@dataclass(frozen=True, slots=True)
class Refused:
    """It goes no further, and why."""

    code: str


def read_message(at: LegStep, id_: str, content: Content) -> Message | Refused:
    """The message in a content that speaks (`Content.speaks`). `id_`: what it is called between the halves."""
    if at.contact.network == CONTROL:  # orders are taken to the letter
        return Message(id=id_, body=content.body or "", position=at.step.position)
    retract = _named(content.extras, NS_RETRACT, "retract")
    reactions = _named(content.extras, NS_REACTIONS, "reactions")
    replaces = _named(content.extras, NS_CORRECT, "replace")
    if retract is not None:
        return _retraction(at, id_, retract)
    if reactions is not None:
        return _reaction(at, id_, reactions)
    if replaces is not None:
        return _correction(at, id_, content, replaces)
    return _text(at, id_, content.body or "", content.extras)


def _correction(at: LegStep, id_: str, content: Content, element: Element) -> Message | Refused:
    """Another wording of a message, which must be its sender's own (XEP-0308, 4)."""
    old = _id(element)
    if old is None or (of_user(at, old) is None and to_far(at, old) is not None):
        return Refused("not-own-message")
    first = first_wording(at, of_user(at, old) or old)
    reworded(at, id_, first)
    return _text(at, id_, content.body or "", content.extras, replaces=first)


def displayed(content: Content) -> str | None:
    """The id in a displayed marker (XEP-0333)."""
    marker = next((e for e in content.extras if (e.namespace, e.name) == (NS_MARKERS, "displayed")), None)
    return None if marker is None else _id(marker)


# ---------------------------------------------------------------- texts
def _text(at: LegStep, id_: str, body: str, extras: Sequence[Element], *, replaces: str | None = None) -> Message:
    place = body if body.startswith("geo:") and _GEO.match(body) else _geoloc(extras)
    kind, reply, gone = Kind.TEXT, None, list[Range]()
    answered = _named(extras, NS_REPLY, "reply")
    if answered is not None:
        reply, gone = _reply(at, answered, body, extras)
    text, marks = read_text(body, extras, gone)
    if text.startswith(_EMOTE):
        kind = Kind.EMOTE
        text, marks = cut(text, marks, [(0, len(_EMOTE))])
    return Message(
        id=id_,
        body=text if text or not place else place,
        kind=kind,
        position=at.step.position,
        marks=marks,
        replaces=replaces,
        reply=reply,
        place=place,
    )


def _reply(at: LegStep, element: Element, body: str, extras: Sequence[Element]) -> tuple[Reply | None, list[Range]]:
    """What is answered; and where the body only quotes it, for clients that do not know replies."""
    named = _id(element)
    gone = _fallback(extras, NS_REPLY, len(body))
    quoted = _QUOTE.sub("", "".join(body[start:end] for start, end in gone)).strip()
    if named is None:
        return None, []
    own = of_user(at, named)
    if own is not None:
        return Reply(own, quoted, by_user=True), gone
    far = to_far(at, named)
    if far is not None:
        return Reply(far, quoted, by_user=False), gone
    # Nobody knows it any more: a quotation stays in the text, and says what is meant.
    written_by = bare(element.attribute("to") or "")
    by_user = written_by == bare(at.step.account.near_address) if written_by else None
    return (None, []) if quoted else (Reply(named, "", by_user=by_user), [])


def _fallback(extras: Sequence[Element], namespace: str, length: int) -> list[Range]:
    """The stretches of the body that are there for clients which do not know that namespace (XEP-0428)."""
    found: list[Range] = []
    for element in extras:
        if (element.namespace, element.name, element.attribute("for")) != (NS_FALLBACK, "fallback", namespace):
            continue
        for child in element.elements[:8]:
            start, end = _number(child.attribute("start")), _number(child.attribute("end"))
            if child.name == "body" and start is not None and end is not None and start < end <= length:
                found.append((start, end))
    return found


# ---------------------------------------------------------------- what has no text
def _retraction(at: LegStep, id_: str, element: Element) -> Message | Refused:
    named = _id(element)
    if named is None or (of_user(at, named) is None and to_far(at, named) is not None):
        return Refused("not-own-message")
    if not ContentPolicy.of(at.contact.options).retractions:
        return Refused("retractions-off")
    meant = first_wording(at, of_user(at, named) or named)
    return Message(id=id_, body="", position=at.step.position, retracts=meant)


def _reaction(at: LegStep, id_: str, element: Element) -> Message | Refused:
    given = (e.text.strip() for e in element.elements if (e.namespace, e.name) == (NS_REACTIONS, "reaction"))
    emojis = tuple(dict.fromkeys(e for e in given if 0 < len(e) <= MAX_EMOJI and "\n" not in e))[:MAX_REACTIONS]
    named = _id(element)
    meant = None if named is None else of_user(at, named) or to_far(at, named)
    if meant is None:
        said = words.reacted(emojis, None)
        return Message(id=id_, body=said, kind=Kind.NOTICE, position=at.step.position)
    return Message(id=id_, body="", position=at.step.position, reaction=Reaction(first_wording(at, meant), emojis))


# ---------------------------------------------------------------- parts
def _geoloc(extras: Sequence[Element]) -> str:
    """The place of an XEP-0080 location, as an address."""
    found = _named(extras, NS_GEOLOC, "geoloc")
    parts = [] if found is None else [found.child(NS_GEOLOC, name) for name in ("lat", "lon")]
    texts = [part.text.strip() for part in parts if part is not None]
    return f"geo:{texts[0]},{texts[1]}" if len(texts) == 2 and all(map(_DEGREES.match, texts)) else ""


def _named(extras: Sequence[Element], namespace: str, name: str) -> Element | None:
    return next((e for e in extras if e.name == name and e.namespace == namespace), None)


def _id(element: Element) -> str | None:
    found = element.attribute("id")
    return found if found and len(found) <= MAX_ID else None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and _NUMBER.match(text) else None
