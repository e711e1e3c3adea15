"""Beside the older form of OMEMO a server may put what it likes: of an encrypted text only quoted lines go."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.xmpp.inside_markup import read_text
from adapters.xmpp.inside_omemo_beside import heeded
from adapters.xmpp.inside_reading import read_message
from adapters.xmpp.inside_stanzas import Content
from crypto.message import Message
from crypto.xml import Element, element
from tests.fuzz.fuzz_xmpp_content import leg

FALLBACK = "urn:xmpp:fallback:0"
ODD = st.sampled_from(("-1", "", "0 ", "1e1", "٣", "00", "99999999999"))


@st.composite
def fallbacks(draw: st.DrawFn, body: str) -> Element:
    """Which stretches are there for old clients, as somebody claims: often whole lines."""
    ends = [n + 1 for n, char in enumerate(body) if char == "\n"]
    places = st.one_of(st.sampled_from(("0", *map(str, ends))), st.integers(0, len(body) + 1).map(str), ODD)
    stretches = [
        element(FALLBACK, "body", start=draw(st.one_of(st.just("0"), places)), end=draw(places))
        for _ in range(draw(st.sampled_from((1, 1, 1, 0, 2))))
    ]
    return element(FALLBACK, "fallback", *stretches, for_=draw(st.sampled_from(("urn:xmpp:reply:0",) * 3 + ("other",))))


RELATIONS = st.sampled_from(
    (
        element("urn:xmpp:reply:0", "reply", id="a1"),
        element("urn:xmpp:message-correct:0", "replace", id="a1"),
        element("urn:xmpp:message-retract:1", "retract", id="a1"),
        element("urn:xmpp:reactions:0", "reactions", id="a1"),
        element("http://jabber.org/protocol/geoloc", "geoloc"),
        element("urn:xmpp:styling:0", "unstyled"),
    )
)
BODIES = st.text(alphabet=">> \n\nab🦊", min_size=1, max_size=12)


@st.composite
def lied_about(draw: st.DrawFn) -> tuple[str, list[Element]]:
    """A text, and what somebody put beside it."""
    body = draw(st.sampled_from(("", ">", "> a\n"))) + draw(BODIES)
    answer = element("urn:xmpp:reply:0", "reply", id="a1")
    return body, [answer, *draw(st.lists(st.one_of(fallbacks(body), RELATIONS), max_size=3))]


@settings(max_examples=300, deadline=None)
@given(lied_about())
def test_only_quoted_lines_at_the_beginning_go(lied: tuple[str, list[Element]]) -> None:
    body, beside = lied
    at = leg()
    at = replace(at, contact=replace(at.contact, options={"omemo": "on", "omemo-beside": "all"}))
    message = read_message(at, "a2", Content(body, None, False, (), extras=heeded(at, body, beside)))
    assert isinstance(message, Message)
    assert not message.retracts
    assert message.reaction is None
    lines = body.split("\n")
    quoted = next((n for n, line in enumerate(lines) if not line.startswith(">")), len(lines))
    texts = [body[sum(len(line) + 1 for line in lines[:n]) - back :] for n in range(quoted + 1) for back in (0, n > 0)]
    assert (message.body, message.marks) in [read_text(text, (), ()) for text in texts]
