"""A message of the other network's as content for the user's clients: the body, what stands beside it, words instead.

Clients that know a feature are shown it by its elements; those that do not show the body, which says it in words where
XEP-0428 has it so. Peers that know none of it (deployed ones) are sent the words alone.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from adapters.xmpp import inside_words as words
from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_markup import UNSTYLED, written_text
from adapters.xmpp.inside_reading import MAX_EMOJI, MAX_REACTIONS, NS_CORRECT, NS_FALLBACK, NS_REPLY
from adapters.xmpp.inside_references import stanza_of_user, to_user
from adapters.xmpp.inside_stanzas import MAX_BODY, NS_GEOLOC, NS_REACTIONS, NS_RETRACT, text_of
from adapters.xmpp.inside_styling import is_styled
from crypto.content import ContentPolicy, Mark, Reaction, Reply
from crypto.message import Kind, Message
from crypto.xml import escape_attribute, escape_text, sanitise_text

_GEO = re.compile(r"geo:(-?[0-9]{1,3}(?:\.[0-9]{1,12})?),(-?[0-9]{1,3}(?:\.[0-9]{1,12})?)")
_ADDRESS = re.compile(r"geo:[^\s<>\"]{1,255}\Z")


@dataclass(frozen=True, slots=True)
class Attached:
    """How a file is shown: the body for clients that know files by it (an address), and what stands beside it."""

    body: str = field(repr=False)
    elements: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Written:
    """The content of one message."""

    body: str = field(repr=False)
    elements: str = field(default="", repr=False)
    """Further children of the stanza, XML."""
    said: str | None = field(default=None, repr=False)
    """The body for peers that know none of those elements; None: the same."""

    @property
    def octets(self) -> int:
        """About how much room it takes in a stanza."""
        return len(self.body.encode()) + len(self.elements.encode())


def written(at: LegStep, message: Message, attached: Attached | None = None) -> Written:
    """The content for a message. One that would be too large for its formatting is written without."""
    found = _written(at, message, attached)
    if message.marks and found.octets > MAX_BODY:
        found = _written(at, replace(message, marks=()), attached)
    return found


def _written(at: LegStep, message: Message, attached: Attached | None) -> Written:
    if attached is not None:
        return _with_file(at, message, attached)
    if message.retracts is not None:
        return _retraction(at, message.retracts)
    if message.reaction is not None:
        return _reaction(at, message.reaction)
    return _text(at, message)


# ---------------------------------------------------------------- texts
def _text(at: LegStep, message: Message) -> Written:
    text = sanitise_text(text_of(message.body, message.kind))
    marks = _moved(message.marks, len(text) - len(message.body)) if message.kind is Kind.EMOTE else message.marks
    text, place = _placed(text, message.place)
    if not (marks or place or message.reply or message.replaces):  # most are
        return Written(text, UNSTYLED if is_styled(text) else "")
    quoted, answer = _answer(at, message.reply)
    body, beside = written_text(text, marks, lead=len(quoted))
    replaced, said = _replacing(at, message.replaces, body)
    if said != body and not replaced:
        body = said
    return Written(quoted + body, answer + beside + place + replaced, quoted + said if replaced else None)


def _replacing(at: LegStep, first: str | None, body: str) -> tuple[str, str]:
    """The element that says which message this is a new wording of, and the body where that cannot be said."""
    if first is None:
        return "", body
    said = words.CORRECTED.format(body)
    old = to_user(at, first)
    if old is None:
        return "", said
    return f'<replace xmlns="{NS_CORRECT}" id="{escape_attribute(old)}"/>', said


def _moved(marks: Sequence[Mark], length: int) -> tuple[Mark, ...]:
    return tuple(replace(m, start=m.start + length, end=m.end + length) for m in marks)


def _placed(text: str, place: str) -> tuple[str, str]:
    """The text with the address of a place on a line by itself, and XEP-0080's element for it."""
    if not _ADDRESS.match(place):
        return text, ""
    at = _GEO.match(place)
    shown = text if place in text else f"{text}\n{place}" if text else place
    where = f"<lat>{at[1]}</lat><lon>{at[2]}</lon>" if at else f"<uri>{escape_text(place)}</uri>"
    return shown, f'<geoloc xmlns="{NS_GEOLOC}">{where}</geoloc>'


def _answer(at: LegStep, reply: Reply | None) -> tuple[str, str]:
    """The lines that quote what is answered, and the elements that name it (XEP-0461, XEP-0428)."""
    if reply is None:
        return "", ""
    quoted = words.quotation(sanitise_text(reply.quoted))
    own = stanza_of_user(at, reply.to)
    named = own or to_user(at, reply.to)
    if named is None:
        return quoted, ""
    author = at.step.account.near_address if own is not None else at.contact.alias
    answer = f'<reply xmlns="{NS_REPLY}" to="{escape_attribute(author)}" id="{escape_attribute(named)}"/>'
    return quoted, answer + (_fallback(NS_REPLY, (0, len(quoted))) if quoted else "")


def _fallback(namespace: str, stretch: tuple[int, int] | None = None) -> str:
    start = f'<fallback xmlns="{NS_FALLBACK}" for="{namespace}">'
    inner = "<body/>" if stretch is None else f'<body start="{stretch[0]}" end="{stretch[1]}"/>'
    return f"{start}{inner}</fallback>"


def _with_file(at: LegStep, message: Message, attached: Attached) -> Written:
    """A file: its address stands alone in the body, which is how clients know it; a caption is in words."""
    _, answer = _answer(at, message.reply)
    caption = sanitise_text(text_of(message.body, message.kind))
    replaced, _ = _replacing(at, message.replaces, "")
    said = f"{caption}\n{attached.body}" if caption else attached.body
    # A quotation before the address would make it a text: here the answer goes without.
    answer = answer.partition("<fallback ")[0]
    return Written(attached.body, answer + replaced + attached.elements.decode(), said)


# ---------------------------------------------------------------- what has no text
def _retraction(at: LegStep, message_id: str) -> Written:
    old = to_user(at, message_id)
    if old is None or not ContentPolicy.of(at.contact.options).retractions:
        return Written(words.RETRACTED)
    return Written(
        words.RETRACTED,
        f'<retract xmlns="{NS_RETRACT}" id="{escape_attribute(old)}"/>{_fallback(NS_RETRACT)}',
        words.RETRACTED,
    )


def _reaction(at: LegStep, reaction: Reaction) -> Written:
    given = (sanitise_text(e).strip()[:MAX_EMOJI] for e in reaction.emojis)
    emojis = tuple(dict.fromkeys(e for e in given if e))[:MAX_REACTIONS]
    own = stanza_of_user(at, reaction.to)
    named = own or to_user(at, reaction.to)
    said = words.reacted(emojis, None if named is None else own is not None)
    if named is None:
        return Written(said)
    inner = "".join(f"<reaction>{escape_text(e)}</reaction>" for e in emojis)
    shown = f'<reactions xmlns="{NS_REACTIONS}" id="{escape_attribute(named)}">{inner}</reactions>'
    return Written(said, shown + _fallback(NS_REACTIONS), said)
