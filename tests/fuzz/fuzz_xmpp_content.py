"""Fuzz target: whatever a user's client says, the message that is handed on is sound; written back it is XML again.

The octets are the content of a stanza, decrypted.
"""

import sys
import unicodedata
from dataclasses import replace

from adapters.xmpp.inside_leg import LegStep
from adapters.xmpp.inside_markup import read_text
from adapters.xmpp.inside_omemo_beside import bare_content, heeded
from adapters.xmpp.inside_queue import enqueue
from adapters.xmpp.inside_ranges import MAX_MARKS
from adapters.xmpp.inside_reading import MAX_EMOJI, MAX_REACTIONS, Refused, displayed, read_message
from adapters.xmpp.inside_seen import remember
from adapters.xmpp.inside_stanzas import MAX_ID, Content, read_content, sent_content
from adapters.xmpp.inside_state import SeenMessage
from adapters.xmpp.inside_writing import written
from crypto.message import Kind, Message
from crypto.xml import MalformedXml, parse_content
from tests.unit.xmpp_site import ALICE, Site

_KNOWN = {"unstyled", "markup", "spoiler", "geoloc", "reply", "fallback", "replace", "retract", "reactions"}


def leg() -> LegStep:
    """A leg on which Alice wrote `a1` and Bob `$1`."""
    site = Site()
    at = LegStep(site.step, site.bob)
    remember(site.records, "bob", "a1", SeenMessage("a1", True, "mac"))
    enqueue(at, Message("$1", "hello"))
    return at


def target(data: bytes) -> None:
    """Read it as the user's, and write it as the contact's."""
    try:
        content = read_content(parse_content(data))
    except MalformedXml:
        return
    at = leg()
    marker = displayed(content)
    assert marker is None or len(marker) <= MAX_ID
    _beside(at, content)
    parse_content(sent_content(content, "c1", sender=f"{ALICE}/desk", to="bob@x"), max_depth=32)
    if not content.speaks:
        return
    message = read_message(at, "a2", content)
    if isinstance(message, Refused):
        assert message.code in {"not-own-message", "retractions-off"}
        return
    _sound(message)
    _written(at, message)


def _beside(at: LegStep, content: Content) -> None:
    """Beside an encrypted text it takes no words away; by itself it brings none."""
    text = content.body or ""
    heeding = replace(at, contact=replace(at.contact, options={"omemo": "on", "omemo-beside": "all"}))
    assert heeded(at, text, content.extras) == ()
    assert bare_content(at, content) is None
    authentic = Content(text, None, False, (), extras=heeded(heeding, text, content.extras))
    message = read_message(heeding, "a2", authentic)
    if isinstance(message, Message) and text:
        assert not message.reaction
        assert not message.retracts
        assert not message.place or message.place == text
    said = bare_content(heeding, content)
    assert said is None or (said.body is None and not any(map(is_letter, "".join(signs(said)))))


def signs(said: Content) -> list[str]:
    """What somebody reacts with."""
    return [e.text for extra in said.extras if extra.name == "reactions" for e in extra.elements]


def is_letter(char: str) -> bool:
    """Whether words could be made of it."""
    return unicodedata.category(char).startswith("L")


def _sound(message: Message) -> None:
    assert len(message.marks) <= MAX_MARKS
    assert all(0 <= m.start < m.end <= len(message.body) for m in message.marks)
    for id_ in (message.replaces, message.retracts, message.reply.to if message.reply else None):
        assert id_ is None or 0 < len(id_) <= MAX_ID
    if message.reaction is not None:
        assert len(message.reaction.emojis) <= MAX_REACTIONS
        assert all(0 < len(e) <= MAX_EMOJI for e in message.reaction.emojis)
    assert not message.place or message.place.startswith("geo:")


def _written(at: LegStep, message: Message) -> None:
    found = written(at, message)
    elements = parse_content(found.elements.encode())
    assert {e.name for e in elements} <= _KNOWN
    if not (message.reply or message.replaces or message.reaction or message.retracts or message.place):
        text, _ = read_text(found.body, elements)
        plain = f"/me {message.body}" if message.kind is Kind.EMOTE else message.body
        # Items and partial spoilers are written in words, all else comes back as it went.
        if not any(m.style in ("item", "spoiler") for m in message.marks):
            assert text == plain


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
