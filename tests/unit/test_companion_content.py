"""What messages hold beside text, between an ordinary client and its peer: the companion passes it on whole."""

import pytest

from adapters.companion.names import SEALED
from crypto.xml import CLIENT, Element, parse_content, serialize
from tests.unit.companion_desk import Desk

ELEMENTS = {
    "correction": "<replace xmlns='urn:xmpp:message-correct:0' id='c-1'/>",
    "reply": "<reply xmlns='urn:xmpp:reply:0' id='b-1' to='bob@far.example'/>"
    "<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reply:0'><body start='0' end='3'/></fallback>",
    "reaction": "<reactions xmlns='urn:xmpp:reactions:0' id='b-1'><reaction>x</reaction></reactions>",
    "retraction": "<retract xmlns='urn:xmpp:message-retract:1' id='c-1'/>",
    "marker": "<markable xmlns='urn:xmpp:chat-markers:0'/>",
    "markup": "<markup xmlns='urn:xmpp:markup:0'><span start='0' end='2'><strong/></span></markup>",
    "unstyled": "<unstyled xmlns='urn:xmpp:styling:0'/>",
}
DISPLAYED = "<displayed xmlns='urn:xmpp:chat-markers:0' id='{}'/>"


@pytest.fixture
def desk() -> Desk:
    """With a session."""
    made = Desk().online()
    made.write("first")
    return made


def names(elements: tuple[Element, ...]) -> set[tuple[str, str]]:
    """What they are."""
    return {(e.namespace, e.name) for e in elements}


@pytest.mark.parametrize("what", ELEMENTS)
def test_what_the_client_says_beside_a_text_is_in_the_encryption_whole(desk: Desk, what: str) -> None:
    desk.write("text", id_="c-2", extra=ELEMENTS[what])
    assert desk.bob.heard[-1] == "text"
    assert names(parse_content(ELEMENTS[what].encode())) <= names(desk.bob.contents[-1])
    for element in parse_content(ELEMENTS[what].encode()):
        assert element in desk.bob.contents[-1]
        assert not desk.left(element.namespace)
    assert desk.sent[-1][0] == SEALED


@pytest.mark.parametrize("what", ELEMENTS)
def test_what_the_peer_says_beside_a_text_is_shown_to_the_client_whole(desk: Desk, what: str) -> None:
    content = f"<body>text</body>{ELEMENTS[what]}<origin-id xmlns='urn:xmpp:sid:0' id='b-2'/>"
    for stanza in desk.bob.say(content.encode()):
        desk.hear(stanza)
    shown = desk.shown[-1]
    for element in parse_content(ELEMENTS[what].encode()):
        assert serialize(element, inherited=CLIENT) in shown


def test_a_reaction_without_a_text_is_a_message_and_kept_until_it_is_acknowledged(desk: Desk) -> None:
    desk.reaching = False
    reaction = f"<message to='bob@far.example' type='chat' id='c-3'>{ELEMENTS['reaction']}</message>"
    desk.arrive("from-client", reaction.encode())
    assert [n for n in desk.step.records.names("queue/") if n]


def test_what_was_read_is_told_both_ways_encrypted_and_not_kept(desk: Desk) -> None:
    marker = f"<message to='bob@far.example' type='chat' id='c-4'>{DISPLAYED.format('b-1')}</message>"
    desk.arrive("from-client", marker.encode())
    assert ("urn:xmpp:chat-markers:0", "displayed") in names(desk.bob.contents[-1])
    assert not list(desk.step.records.names("queue/"))
    for stanza in desk.bob.say(DISPLAYED.format("c-1").encode()):
        desk.hear(stanza)
    assert b"displayed" in desk.shown[-1]


def test_an_id_that_nobody_counts_to_is_the_authentic_one_too(desk: Desk) -> None:
    """A client that has no origin-id corrects its message by the stanza's id."""
    long_id = "0d5ff0a4-6f3f-4fd8-9a0f-2f6f1f1a9b11"
    desk.write("text", id_=long_id)
    assert desk.bob.ids[-1] == long_id
    desk.write("text", id_="7")
    assert desk.bob.ids[-1] not in ("7", "")
