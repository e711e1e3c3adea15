"""The XMPP inside half: presence, iq and chat states inside sessions."""

import pytest

from adapters.xmpp.names import ENCRYPTED, ENCRYPTED_PRESENCE, IQ, NS_CHAT_STATES, STATE
from adapters.xmpp.outside_stanzas import rendered
from bridge.wire.values import Code, Sealed
from crypto.esession.conversation import send
from crypto.esession.profiles import Profile
from crypto.esession.terms import Terms
from crypto.message import Availability, Presence, Typing
from crypto.xml import Element
from rig.search import in_octets
from tests.unit.xmpp_site import ALICE, BOB, Alice, Site

INFO = "http://jabber.org/protocol/disco#info"
QUESTIONS = {
    "features": (f"<query xmlns='{INFO}'/>", "query"),
    "vcard": ("<vCard xmlns='vcard-temp'/>", "vCard"),
    "last": ("<query xmlns='jabber:iq:last'/>", "query"),
    "ping": ("<ping xmlns='urn:xmpp:ping'/>", "ping"),
    "time": ("<time xmlns='urn:xmpp:time'/>", "time"),
}


def put(site: Site, name: str, content: bytes, kind: str = "get", alice: Alice | None = None) -> bytes:
    """Alice sends an iq or a presence with encrypted content; its octets."""
    alice = alice or site.alice
    conversation = alice.conversations[alice.current or ""]
    outcome = send(conversation, content)
    assert outcome.conversation is not None
    alice.conversations[alice.current or ""] = outcome.conversation
    typed = "" if name == "presence" else f" type='{kind}' id='q1'"
    head = f"<{name} from='{alice.jid}' to='{BOB}/lockgate'{typed}>".encode()
    octets = head + outcome.replies[0].payload + f"</{name}>".encode()
    alice.outbox.append(octets)
    return octets


def ask(site: Site, question: str, kind: str = "get") -> tuple[str, Element]:
    """Ask inside the session: type of the answer, and what was in it."""
    put(site, "iq", question.encode(), kind)
    site.run()
    ((name, answer, content),) = site.alice.within
    assert name == "iq"
    assert content
    return answer, content[0]


@pytest.mark.parametrize("name", QUESTIONS)
def test_questions_are_answered_inside_the_session(name: str) -> None:
    question, root = QUESTIONS[name]
    site = Site().established()
    site.message("hello", "$1")
    site.run()
    site.step.now += 90_000
    kind, inner = ask(site, question)
    assert (kind, inner.name) == ("result", root)
    if name == "vcard":
        assert inner.child("vcard-temp", "FN") == Element("vcard-temp", "FN", (), ("bob",))
    if name == "last":
        assert inner.attribute("seconds") == "90"
    if name == "features":
        assert "urn:xmpp:ping" in [e.attribute("var") for e in inner.elements]


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("<query xmlns='jabber:iq:private'/>", "get"),
        ("<vCard xmlns='vcard-temp'><FN>Mallory</FN></vCard>", "set"),
        (f"<query xmlns='{INFO}' node='x'/>", "get"),
        ("<ping xmlns='urn:xmpp:ping'/><ping xmlns='urn:xmpp:ping'/>", "get"),
        ("<query xmlns='jabber:iq:last'/>", "get"),
    ],
)
def test_what_cannot_be_answered_is_refused_inside_the_session(question: str, kind: str) -> None:
    site = Site().established()
    answer, inner = ask(site, question, kind)
    assert (answer, inner.name) == ("error", "feature-not-implemented")


def test_neither_question_nor_answer_is_seen_outside() -> None:
    site = Site().established()
    put(site, "iq", b"<query xmlns='jabber:iq:private'/>")
    site.run()
    (one,) = site.sent(IQ)
    octets = rendered(one.request, one.values)
    for said in (b"feature-not-implemented", b"has not been passed on"):
        assert in_octets([said], "the network", octets) == [], "neither as it is nor in base64"
    assert isinstance(one.values["content"], Sealed)


def test_questions_and_messages_share_one_counter_and_a_lost_question_ends_the_session() -> None:
    site = Site().established()
    put(site, "iq", b"<ping xmlns='urn:xmpp:ping'/>")
    site.alice.say("in step", "a1")
    site.run()
    assert site.bodies() == ["in step"]
    put(site, "iq", b"<ping xmlns='urn:xmpp:ping'/>")
    site.alice.outbox.clear()
    site.alice.say("after a gap", "a2")
    site.run()
    assert site.bodies() == ["in step"]
    assert "session-broken" in site.step.codes()


def test_a_question_finds_its_session_among_several_with_the_same_client() -> None:
    site = Site().established()
    first = site.alice.current
    site.alice.start()
    site.run()
    site.alice.current = first
    assert ask(site, "<ping xmlns='urn:xmpp:ping'/>")[0] == "result"
    assert "session-broken" not in site.step.codes()


def test_a_forged_question_ends_the_session_and_is_not_answered() -> None:
    site = Site().established()
    octets = put(site, "iq", b"<ping xmlns='urn:xmpp:ping'/>")
    site.alice.outbox[:] = [octets.replace(b"<data>", b"<data>AAAA", 1)]
    site.run()
    assert "session-broken" in site.step.codes()
    (one,) = site.sent(IQ)
    assert "content" not in one.values
    assert b"<ping" not in rendered(one.request, one.values)


def test_a_question_without_a_session_gets_an_error_in_the_clear() -> None:
    site, other = Site(), Site().established()
    other.alice.outbox.clear()
    site.arrive(put(other, "iq", b"<ping xmlns='urn:xmpp:ping'/>"))
    site.run()
    (one,) = site.sent(IQ)
    assert one.values["code"] == Code(v="not-acceptable")


def test_a_repeated_question_is_answered_once() -> None:
    site = Site().established()
    octets = put(site, "iq", b"<ping xmlns='urn:xmpp:ping'/>")
    site.run()
    site.arrive(octets)
    site.run()
    assert len(site.sent(IQ)) == 1
    site.alice.say("still in step", "a1")
    site.run()
    assert site.bodies() == ["still in step"]


def test_a_held_session_is_told_nothing() -> None:
    site = Site().established()
    assert site.half.trust(site.step, site.bob, "verify") == "ok"
    site.alice = Alice(f"{ALICE}/other")
    site.alice.start(thread="held")
    site.run()
    put(site, "iq", b"<vCard xmlns='vcard-temp'/>")
    put(site, "presence", b"<show>away</show>")
    site.do(lambda: site.half.signalled(site.step, site.bob, Typing(True)))
    site.run()
    assert [c.values.get("code") for c in site.sent(IQ)] == [Code(v="verify-again")]
    assert site.step.signals == []
    assert {c.values["thread"].v for c in site.sent(STATE)} <= {"alice-0"}


@pytest.mark.parametrize(
    "stanza",
    [
        f"<iq from='{ALICE}/desk' to='{BOB}' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>",
        f"<presence from='{ALICE}/desk' to='{BOB}'><show>away</show></presence>",
        f"<iq from='{ALICE}/desk' to='nobody@x' type='get' id='1'><c xmlns='{{C}}'/></iq>",
        f"<iq from='mallory@example.org/x' to='{BOB}' type='get' id='1'><c xmlns='{{C}}'/></iq>",
        f"<iq from='{ALICE}/desk' to='{BOB}' type='result' id='1'><c xmlns='{{C}}'/></iq>",
        f"<presence from='{ALICE}/desk' to='{BOB}'><c xmlns='{{C}}'/></presence>",
    ],
)
def test_what_is_no_question_in_a_session_is_not_answered(stanza: str) -> None:
    site = Site()
    site.arrive(stanza.replace("{C}", "http://www.xmpp.org/extensions/xep-0200.html#ns").encode())
    site.run()
    assert site.carried == []


# ---------------------------------------------------------------- signals
def test_the_contact_s_typing_and_presence_arrive_inside_every_session() -> None:
    site = Site().established()
    phone = Alice(f"{ALICE}/phone")
    site.others.append(phone)
    phone.start(thread="p")
    site.run()
    for signal in (Typing(True), Typing(False), Presence(Availability.AWAY, "at <sea> & away")):
        site.do(lambda signal=signal: site.half.signalled(site.step, site.bob, signal))  # type: ignore[misc]
    site.run()
    for client in (site.alice, phone):
        assert client.states == ["composing", "paused"]
        ((name, _, content),) = client.within
        assert name == "presence"
        assert [(e.name, e.text) for e in content or ()] == [("show", "away"), ("status", "at <sea> & away")]
    assert b"at &lt;sea" not in b"".join(rendered(c.request, c.values) for c in site.carried)


def test_the_same_signal_is_told_once() -> None:
    site = Site().established()
    for signal in (Typing(True), Typing(True), Presence(Availability.AWAY), Presence(Availability.AWAY), Typing(False)):
        site.do(lambda signal=signal: site.half.signalled(site.step, site.bob, signal))  # type: ignore[misc]
    site.run()
    assert [c.request for c in site.carried if c.request in (STATE, ENCRYPTED_PRESENCE)] == [
        STATE,
        ENCRYPTED_PRESENCE,
        STATE,
    ]


def test_a_new_session_is_told_the_contact_s_presence() -> None:
    site = Site()
    site.do(lambda: site.half.signalled(site.step, site.bob, Presence(Availability.AVAILABLE)))
    site.established()
    assert len(site.sent(ENCRYPTED_PRESENCE)) == 1


def test_without_a_session_signals_are_lost_and_nothing_leaves() -> None:
    site = Site()
    site.do(lambda: site.half.signalled(site.step, site.bob, Typing(True)))
    site.run()
    assert site.carried == []


def test_a_peer_that_takes_messages_only_is_sent_no_presence() -> None:
    site = Site()
    site.alice.terms = Terms(groups=(14,), stanzas=("message",))
    site.established(Profile.DEPLOYED)
    site.do(lambda: site.half.signalled(site.step, site.bob, Presence(Availability.AWAY)))
    site.do(lambda: site.half.signalled(site.step, site.bob, Typing(True)))
    site.run()
    assert not site.sent(ENCRYPTED_PRESENCE)
    assert len(site.sent(STATE)) == 1


def test_the_user_s_chat_states_and_presence_are_handed_on_as_signals() -> None:
    site = Site().established()
    for state in ("composing", "paused", "unheard-of"):
        site.alice.put(f"<{state} xmlns='{NS_CHAT_STATES}'/>".encode())
    put(site, "presence", b"<show>dnd</show><status>busy</status>")
    put(site, "presence", b"<priority>0</priority>")
    site.run()
    assert site.step.signals == [
        ("bob", Typing(True)),
        ("bob", Typing(False)),
        ("bob", Presence(Availability.AWAY, "busy")),
        ("bob", Presence(Availability.AVAILABLE)),
    ]
    assert not [c for c in site.sent(ENCRYPTED) if str(c.values["id"].v).startswith("m-")]


def test_a_chat_state_in_the_clear_is_not_handed_on() -> None:
    site = Site()
    state = f"<composing xmlns='{NS_CHAT_STATES}'/>"
    site.arrive(f"<message from='{ALICE}/desk' to='{BOB}' type='chat'>{state}</message>".encode())
    assert site.step.signals == []
