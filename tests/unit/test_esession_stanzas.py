"""Message, presence and iq in a session: which parts are encrypted, which kinds were agreed, errors (XEP-0200)."""

from dataclasses import replace

import pytest

from crypto.errors import Misuse
from crypto.esession.conversation import Conversation, Event, Kind, Outcome, kind_of, receive, send, send_error
from crypto.esession.payloads import Payload
from crypto.esession.retained import Retained
from crypto.esession.session import Session
from crypto.esession.stanzas import divided, must_stay_outside
from crypto.esession.terms import Terms
from crypto.xml import Element, parse, parse_content
from tests.unit.rekeying_world import pair

ALICE, BOB = pair()
SHELLS = {
    "message": "<message xmlns='jabber:client' type='chat'><thread>t</thread>{}</message>",
    "presence": "<presence xmlns='jabber:client'>{}</presence>",
    "iq": "<iq xmlns='jabber:client' type='get' id='1'>{}</iq>",
}
kinds = pytest.mark.parametrize("kind", list(SHELLS))


def no_draw(name: str, size: int) -> bytes:
    raise AssertionError(name, size)


def stanza(kind: str, payload: bytes | str, stanza_type: str | None = None) -> Element:
    text = payload.decode() if isinstance(payload, bytes) else payload
    element = parse(SHELLS[kind].format(text).encode())
    if stanza_type is None:
        return element
    attributes = (*(a for a in element.attributes if a[0] != "type"), ("type", stanza_type))
    return replace(element, attributes=attributes)


def take(session: Session | None, element: Element) -> Outcome:
    conversation = None if session is None else Conversation("t", session=session)
    return receive(conversation, element, terms=Terms(), retained=Retained(), draw=no_draw)


def only(*agreed: str) -> tuple[Session, Session]:
    return tuple(replace(s, agreed=replace(s.agreed, stanzas=agreed)) for s in (ALICE, BOB))  # type: ignore[return-value]


@kinds
def test_every_kind_of_stanza_is_encrypted_and_read(kind: str) -> None:
    sent = send(Conversation("t", session=ALICE), b"<query xmlns='jabber:iq:last'/>", kind=kind)
    out = take(BOB, stanza(kind, sent.replies[0].payload))
    assert (out.event, [e.name for e in out.content]) == (Event.CONTENT, ["query"])
    assert out.conversation is not None
    assert out.conversation.thread == "t"


@kinds
def test_a_kind_that_was_not_agreed_is_not_sent(kind: str) -> None:
    others = tuple(k for k in SHELLS if k != kind)
    alice, _ = only(*others)
    with pytest.raises(Misuse):
        send(Conversation("t", session=alice), b"<a/>", kind=kind)


@kinds
def test_a_kind_that_was_not_agreed_ends_the_session(kind: str) -> None:
    others = tuple(k for k in SHELLS if k != kind)
    _, bob = only(*others)
    sent = send(Conversation("t", session=ALICE), b"<a/>", kind=kind)
    out = take(bob, stanza(kind, sent.replies[0].payload))
    assert (out.event, out.conversation, out.content) == (Event.BROKEN, None, ())
    assert out.condition == "not-acceptable"


@pytest.mark.parametrize(
    ("kind", "stanza_type", "answered"),
    [
        ("message", None, True),
        ("message", "chat", True),
        ("presence", None, False),
        ("iq", "get", True),
        ("iq", "set", True),
        ("iq", "result", False),
    ],
)
def test_a_bad_stanza_is_answered_by_an_error_only_where_one_may_answer(
    kind: str, stanza_type: str | None, answered: bool
) -> None:
    bad = "<c xmlns='http://www.xmpp.org/extensions/xep-0200.html#ns'><data>AAAA</data><mac>AAAA</mac></c>"
    out = take(BOB, stanza(kind, bad, stanza_type))
    assert out.event is Event.BROKEN
    assert [r.kind for r in out.replies] == [Kind.ERROR] * answered + [Kind.ENCRYPTED]  # both are told
    unknown = take(None, stanza(kind, bad, stanza_type))
    assert unknown.event is Event.UNKNOWN
    assert [r.kind for r in unknown.replies] == [Kind.ERROR] * answered + [Kind.NEGOTIATION] * (kind == "message")


def test_what_routing_needs_stays_outside() -> None:
    children = parse_content(
        b"<thread>t</thread><body>Hello, Bob!</body><amp xmlns='http://jabber.org/protocol/amp'/>"
        b"<active xmlns='http://jabber.org/protocol/chatstates'/><error/>"
        b"<error xmlns='http://jabber.org/protocol/geoloc'>10</error>"
    )
    outside, inside = divided(children)
    assert [e.name for e in outside] == ["thread", "amp", "error"]
    assert [(e.name, e.namespace.rpartition("/")[2]) for e in inside] == [
        ("body", "jabber:client"), ("active", "chatstates"), ("error", "geoloc")
    ]  # fmt: skip
    assert not any(map(must_stay_outside, inside))


# ---------------------------------------------------------------------------------------------------- errors
WITHIN = b"<payload-too-big xmlns='http://jabber.org/protocol/pubsub#errors'/>"


@pytest.mark.parametrize("kind", ["message", "iq"])
@pytest.mark.parametrize("content", [b"", b"<pubsub xmlns='http://jabber.org/protocol/pubsub'/>"])
def test_an_error_keeps_its_condition_in_clear_and_the_rest_encrypted(kind: str, content: bytes) -> None:
    out = send_error(
        Conversation("t", session=ALICE), WITHIN, condition="not-acceptable", error_type="modify", content=content,
        kind=kind,
    )  # fmt: skip
    [reply] = out.replies
    assert reply.kind is Kind.ERROR
    element = stanza(kind, reply.payload, "error")
    error = element.child("jabber:client", "error")
    assert error is not None
    assert [e.name for e in error.elements] == ["not-acceptable", "c"]
    assert b"pubsub" not in reply.payload
    assert kind_of(element) is Payload.ENCRYPTED
    got = take(BOB, element)
    assert got.event is Event.CONTENT
    assert [e.name for e in got.content] == (["pubsub"] if content else [])
    assert [e.name for e in got.within_error] == ["payload-too-big"]
    assert got.conversation is not None
    assert got.conversation.session is not None
    assert out.conversation is not None
    assert out.conversation.session is not None
    assert got.conversation.session.receiving.counter == out.conversation.session.sending.counter


def test_the_two_parts_of_an_error_cannot_be_exchanged() -> None:
    out = send_error(
        Conversation("t", session=ALICE), WITHIN, condition="not-acceptable", error_type="modify", content=b"<a/>"
    )
    element = stanza("iq", out.replies[0].payload, "error")
    c, error = element.elements
    condition, inner = error.elements
    swapped = replace(element, children=(inner, replace(error, children=(condition, c))))
    got = take(BOB, swapped)
    assert got.event in (Event.BROKEN, Event.LOST)
    assert (got.conversation, got.content) == (None, ())


def c_of(text: bytes) -> str:
    return send(Conversation("t", session=ALICE), text).replies[0].payload.decode()


@pytest.mark.parametrize(
    "payload",
    [
        c_of(b"<a/>") + c_of(b"<a/>"),
        c_of(b"<a/>") + f"<error>{c_of(b'<a/>')}</error>",
        f"{c_of(b'<a/>')}<error/><error>{c_of(b'<b/>')}</error>",
    ],
)
def test_a_second_encrypted_part_is_refused(payload: str) -> None:
    out = take(BOB, stanza("message", payload))
    assert (out.event, out.content, out.conversation) == (Event.BROKEN, (), None)


def test_an_encrypted_part_that_is_no_child_of_the_stanza_is_nothing_of_ours() -> None:
    deeper = stanza("message", f"<x xmlns='urn:x'>{c_of(b'<a/>')}</x>")
    assert kind_of(deeper) is None
    assert take(BOB, deeper).event is Event.IGNORED


@pytest.mark.parametrize("kind", ["presence", "iq"])
def test_negotiations_are_made_of_messages_only(kind: str) -> None:
    form = (
        "<feature xmlns='http://jabber.org/protocol/feature-neg'><x xmlns='jabber:x:data' type='submit'>"
        "<field var='FORM_TYPE'><value>urn:xmpp:ssn</value></field>"
        "<field var='terminate'><value>1</value></field></x></feature>"
    )
    assert kind_of(stanza(kind, form)) is None
    assert take(BOB, stanza(kind, form)).event is Event.IGNORED
    assert take(BOB, stanza("message", form)).event is Event.ENDED_UNAUTHENTICATED
