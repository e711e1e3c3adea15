"""The XMPP inside half: what is taken, what is turned away, and what hostile stanzas achieve (nothing)."""

import pytest

from adapters.xmpp.inside import XmppInside
from adapters.xmpp.names import ENCRYPTED, ERROR, NEGOTIATE, PLAIN, RECEIPT, Resources
from bridge.wire.values import Code, Opaque
from crypto.esession.conversation import Event
from crypto.esession.profiles import Profile
from crypto.esession.terms import Terms
from crypto.message import Assurance, Kind, Message
from tests.unit.xmpp_site import ALICE, BOB, Site, receipt

DESK = f"{ALICE}/desk"


def plain(body: str, *, to: str = BOB, sender: str = DESK, inner: str = "", kind: str = "chat") -> bytes:
    return f"<message from='{sender}' to='{to}' type='{kind}' id='p1'><body>{body}</body>{inner}</message>".encode()


# ---------------------------------------------------------------- unencrypted messages
def test_an_unencrypted_message_is_turned_away_and_never_handed_on() -> None:
    site = Site()
    site.arrive(plain("hello"))
    site.run()
    assert site.bodies() == []
    assert site.alice.errors == [("p1", "policy-violation")]
    assert (1, "refused", "policy-violation") in site.step.traces


def test_an_unencrypted_message_in_an_active_session_is_turned_away_too() -> None:
    site = Site().established()
    site.arrive(plain("hello", inner=f"<thread>{site.alice.current}</thread>"))
    site.run()
    assert site.bodies() == []
    assert site.alice.errors == [("p1", "policy-violation")]


def test_the_body_beside_encrypted_content_is_dropped() -> None:
    site = Site().established()
    site.alice.say("inside", "a1")
    site.alice.outbox[-1] = site.alice.outbox[-1].replace(b"</message>", b"<body>outside</body></message>")
    site.run()
    assert site.bodies() == ["inside"]


def test_a_contact_of_policy_none_is_written_to_and_answered_unencrypted() -> None:
    site = Site(Assurance.NONE)
    site.arrive(
        plain("hi & <b>".replace("&", "&amp;").replace("<", "&lt;"), inner="<request xmlns='urn:xmpp:receipts'/>")
    )
    site.run()
    assert site.bodies() == ["hi & <b>"]
    assert site.sent(RECEIPT)[0].values["received"] == Opaque(v="p1")
    assert site.half.assurance(site.records, site.bob) is Assurance.NONE
    site.message("hello <you>", "$1")
    site.run()
    one = site.sent(PLAIN)[0]
    answer = site.step.input("answer", PLAIN, network="xmpp", key=one.key)
    site.do(lambda: site.half.answered(site.step, answer))
    assert site.step.done == [("bob", "$1")]
    assert site.alice.notices == ["hello <you>"]


def test_a_contact_of_policy_none_is_answered_encrypted_once_there_was_a_session() -> None:
    site = Site(Assurance.NONE)
    site.arrive(plain("hi"))
    site.alice.terms = Terms(disclosure=("never", "enabled"), groups=(14,))
    site.established()
    site.alice.end()
    site.run()
    site.resources()
    site.message("hello", "$1")
    site.wait(100)
    assert not site.sent(PLAIN)


def test_an_unencrypted_message_sent_back_is_told_to_its_sender() -> None:
    site = Site(Assurance.NONE)
    site.arrive(plain("hi"))
    site.message("hello", "$1")
    site.run()
    id_ = site.stanza_ids(PLAIN)[0]
    site.arrive(
        f"<message from='{DESK}' to='{BOB}/lockgate' type='error' id='{id_}'><error type='cancel'>"
        "<service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>".encode()
    )
    assert site.step.failures == [("bob", "$1", "undeliverable")]


# ---------------------------------------------------------------- doubles, acknowledgements, refusals
def test_a_double_is_not_handed_on_and_is_acknowledged_again() -> None:
    site = Site().established()
    site.alice.say("once", "a1")
    site.run()
    site.alice.start()
    site.run()
    site.alice.say("once", "a1")
    site.run()
    assert site.bodies() == ["once"]
    assert site.alice.acknowledged == ["a1", "a1"]


def test_a_double_of_a_message_on_its_way_is_dropped_without_a_word() -> None:
    site = Site().established()
    site.acknowledging = False
    site.alice.say("once", "a1")
    site.alice.say("once", "a1")
    site.run()
    assert site.bodies() == ["once"]
    assert site.alice.acknowledged == []
    assert site.alice.errors == []
    site.acknowledge("a1")
    site.run()
    assert site.alice.acknowledged == ["a1"]


def test_the_last_512_messages_are_told_apart_from_doubles() -> None:
    site = Site().established()
    for n in range(600):
        site.alice.say(f"m{n}", f"a{n}", request=False)
    site.run()
    site.alice.say("again", "a100", request=False)
    site.alice.say("again", "a599", request=False)
    site.run()
    assert len(site.bodies()) == 600
    assert len(list(site.records.names("seen/bob/"))) <= 33


def test_an_id_outside_the_encryption_tells_no_doubles_apart() -> None:
    site = Site().established(Profile.DEPLOYED)
    site.alice.say("one", "1", origin=False)
    site.alice.say("two", "1", origin=False)
    site.run()
    assert site.bodies() == ["one", "two"]
    assert site.alice.acknowledged == ["1", "1"]


def test_an_exact_repetition_changes_nothing_but_repeats_the_acknowledgement() -> None:
    site = Site().established()
    site.alice.say("one", "a1")
    stanza = site.alice.outbox[-1]
    site.run()
    site.arrive(stanza)
    site.run()
    assert site.bodies() == ["one"]
    assert site.alice.acknowledged == ["a1", "a1"]
    assert "stanza-repeated" in site.step.codes()
    site.alice.say("two", "a2")
    site.run()
    assert site.bodies() == ["one", "two"]


def test_no_receipt_where_none_was_asked_for() -> None:
    site = Site().established()
    site.alice.say("one", "a1", request=False)
    site.run()
    assert site.alice.acknowledged == []


def test_a_refusal_goes_encrypted_to_a_client_of_the_letter() -> None:
    site = Site().established()
    site.acknowledging = False
    site.alice.say("one", "a1")
    site.run()
    site.refuse("a1", "room-not-encrypted")
    site.run()
    assert site.alice.errors == [("a1", "policy-violation")]
    assert not site.sent(ERROR)
    site.alice.start()
    site.run()
    site.alice.say("one", "a1")
    site.run()
    assert site.alice.errors == [("a1", "policy-violation")] * 2
    assert site.bodies() == ["one"]


def test_a_refusal_goes_in_the_clear_to_a_deployed_client_or_without_a_session() -> None:
    for profile, gone in ((Profile.DEPLOYED, False), (Profile.LETTER, True)):
        site = Site().established(profile)
        site.acknowledging = False
        site.alice.say("one", "a1")
        site.run()
        if gone:
            site.alice.end()
            site.run()
        site.refuse("a1", "contact-left")
        site.run()
        assert site.alice.errors == [("a1", "not-allowed")]
        assert [c.values["code"] for c in site.sent(ERROR)] == [Code(v="contact-left")]


def test_receipts_wait_for_the_next_session() -> None:
    site = Site().established()
    site.acknowledging = False
    site.alice.say("one", "a1")
    site.run()
    site.alice.end()
    site.run()
    site.acknowledge("a1")
    site.run()
    assert site.alice.acknowledged == []
    site.alice.start()
    site.run()
    assert site.alice.acknowledged == ["a1"]


def test_an_emote_and_empty_bodies() -> None:
    site = Site().established()
    site.alice.say("/me waves", "a1")
    site.alice.say("", "a2")
    site.run()
    assert [(m.kind, m.body) for _, m in site.step.deliveries] == [(Kind.EMOTE, "waves")]
    site.do(lambda: site.half.to_network(site.step, site.bob, Message("$1", "nods", Kind.EMOTE)))
    site.run()
    assert site.alice.shown == ["/me nods"]


def test_characters_that_xml_does_not_know_do_not_stop_a_message() -> None:
    site = Site().established()
    site.message("nul \x00 bell \x07 half \ud83d end", "$1")
    site.run()
    assert site.alice.shown == ["nul \ufffd bell \ufffd half \ufffd end"]


# ---------------------------------------------------------------- addresses
def test_an_unknown_contact_is_not_found() -> None:
    site = Site()
    site.arrive(plain("hello", to="nobody@matrix.example.org"))
    site.run()
    assert site.alice.errors == [("p1", "item-not-found")]


def test_an_error_is_never_answered() -> None:
    site = Site()
    site.arrive(plain("x", to="nobody@matrix.example.org", kind="error"))
    site.arrive(plain("x", kind="error"))
    assert site.step.take() == []


def test_a_stanza_of_another_user_is_dropped() -> None:
    site = Site()
    site.arrive(plain("hello", sender="mallory@example.org/x"))
    site.arrive(plain("hello", sender=f"{ALICE}.evil.example/x"))
    assert site.step.take() == []
    assert site.step.codes() == ["stanza-of-another"] * 2


def test_addresses_are_compared_without_regard_to_case_and_resources_may_hold_spaces() -> None:
    site = Site()
    site.alice.jid = f"{ALICE}/My Desk é"
    site.established()
    site.alice.say("hello", "a1")
    site.alice.outbox[-1] = site.alice.outbox[-1].replace(b"alice@example.org", b"Alice@Example.org")
    site.message("hi", "$1")
    site.run()
    assert site.bodies() == ["hello"]
    assert site.alice.shown == ["hi"]


# ---------------------------------------------------------------- hostile stanzas
HOSTILE = {
    "nothing": b"",
    "no XML": b"\xff\xfe\x00",
    "half a stanza": b"<message from='a",
    "two stanzas": plain("a") + plain("b"),
    "out of the wrapper": b"</s><s>" + plain("a"),
    "text around": b"x" + plain("a"),
    "an entity": b"<!DOCTYPE m [<!ENTITY a 'b'>]>" + plain("&a;"),
    "an entity inside": plain("&a;"),
    "a comment": plain("a<!-- b -->"),
    "an instruction": plain("a<?b c?>"),
    "deep nesting": b"<message>" + b"<a>" * 5000 + b"</a>" * 5000 + b"</message>",
    "many elements": b"<message from='%s' to='%s'>" % (DESK.encode(), BOB.encode()) + b"<a/>" * 5000 + b"</message>",
    "no addresses": b"<message><body>a</body></message>",
    "another element": plain("a").replace(b"message", b"presence"),
    "another namespace": plain("a").replace(b"<message", b"<message xmlns='urn:x'"),
    "control characters in a JID": plain("a", sender=f"{ALICE}/&#x9;"),
    "a very long JID": plain("a", sender=f"{ALICE}/{'x' * 5000}"),
    "NUL": plain("a\x00b"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_malformed_stanzas_are_counted_and_change_nothing(name: str) -> None:
    site = Site().established()
    held = dict(site.records.held)
    site.arrive(HOSTILE[name])
    carried = site.step.take()
    assert site.bodies() == []
    assert not [c for c in carried if c.request == ENCRYPTED]
    if name != "control characters in a JID":
        assert site.records.held == held


@pytest.mark.parametrize("thread", ["", "a b", "x" * 300, "<>"])
def test_a_thread_that_cannot_be_handed_back_is_not_taken(thread: str) -> None:
    from html import escape

    site = Site()
    site.alice.start(thread="good")
    stanza = site.alice.outbox.pop().replace(b"<thread>good", b"<thread>" + escape(thread).encode())
    site.arrive(stanza)
    assert site.step.take() == []
    assert "thread-unusable" in site.step.codes()


@pytest.mark.parametrize("spoilt", ["reordered", "data", "mac", "cut", "missing"])
def test_reordered_cut_and_changed_ciphertext_hands_nothing_on_and_a_new_session_heals_it(spoilt: str) -> None:
    site = Site().established()
    site.alice.say("one", "a1")
    site.alice.say("two", "a2")
    first, second = site.alice.outbox
    site.alice.outbox.clear()
    stanzas = {
        "reordered": [second, first],
        "data": [first.replace(b"<data>", b"<data>AAAA", 1)],
        "mac": [first.replace(b"<mac>", b"<mac>AAAA", 1)],
        "cut": [first[: first.index(b"<mac>")] + first[first.index(b"</mac>") + 6 :]],
        "missing": [second],
    }
    for octets in stanzas[spoilt]:
        site.arrive(octets)
    assert site.bodies() == []
    site.run()
    site.wait(5)
    assert site.alice.current is not None, "a new session is agreed on"
    site.alice.say("one", "a1")
    site.alice.say("two", "a2")
    site.run()
    assert site.bodies() == ["one", "two"]


def test_a_request_with_group_one_is_refused_with_an_error_that_names_the_field() -> None:
    site = Site()
    site.alice.start(thread="weak")
    stanza = site.alice.outbox.pop()
    assert b"<option><value>14</value></option>" in stanza
    site.arrive(stanza.replace(b"<option><value>14</value></option>", b"<option><value>1</value></option>"))
    site.run()
    assert Event.FAILED in site.alice.events
    assert site.sent(NEGOTIATE)[0].values["kind"] == Code(v="error")
    assert "modp" in repr(site.sent(NEGOTIATE)[0].values["form"])


def test_receipts_and_content_of_a_foreign_session_move_nothing() -> None:
    site, other = Site().established(), Site()
    other.step.seed = "another"
    other.established()
    site.message("one", "$1")
    site.alice.receipts = False
    site.run()
    other.alice.put(receipt(site.stanza_ids()[-1]), thread=other.alice.current)
    foreign = other.alice.outbox.pop()
    foreign = foreign.replace((other.alice.current or "").encode(), (site.alice.current or "").encode())
    site.arrive(foreign)
    assert site.step.done == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"available": 1, "complete": true}',
        b'{"available": [["a", true]], "complete": true}',
        b'{"available": [["a@b/\\ud800", true]], "complete": true}',
        f'{{"available": [["a@b/{"x" * 1020}", true]], "complete": true}}'.encode(),
        f'{{"available": [["a@b/{" " * 400}", true]], "complete": true}}'.encode(),
        b'{"available": [["a/b", 1]], "complete": true}',
        b'{"available": [], "complete": "yes"}',
        Resources(tuple((f"{ALICE}/{n}", True) for n in range(65)), True).encode(),
    ],
)
def test_malformed_snapshots_are_counted(body: bytes) -> None:
    site = Site()
    site.arrive(body, "presence")
    assert site.step.codes() == ["presence-malformed"]
    assert not site.records.held


def test_a_snapshot_cannot_lead_messages_to_somebody_else() -> None:
    site = Site()
    site.resources("mallory@example.org/x", f"{ALICE}.evil.example/x")
    site.message("for Alice only", "$1")
    site.wait(600)
    assert not site.sent(NEGOTIATE)


def test_unknown_arrivals_wakes_and_answers_are_counted() -> None:
    site = Site()
    half: XmppInside = site.half
    site.arrive(b"x", "nonsense")
    site.do(lambda: half.woken(site.step, "nonsense"))
    for key in (None, "", "plain/bob/m-1-00", "plain/nobody/m-1-00", "a/b/c"):
        answer = site.step.input("answer", PLAIN, network="xmpp", key=key or None, code="bad-request")
        site.do(lambda answer=answer: half.answered(site.step, answer))  # type: ignore[misc]
    assert site.step.codes() == ["arrival-unknown", "wake-unknown", *["stanza-not-carried"] * 5]


def test_a_wake_that_comes_too_early_changes_nothing_but_the_timer() -> None:
    site = Site().established()
    site.alice.receipts = False
    site.message("one", "$1")
    site.run()
    held = dict(site.records.held)
    site.do(lambda: site.half.woken(site.step, "tick"))
    assert {k: v for k, v in site.records.held.items() if k != "timer"} == {
        k: v for k, v in held.items() if k != "timer"
    }
    assert site.step.wakes["tick"] > site.step.now


def test_contacts_taken_off_the_map_leave_nothing_behind() -> None:
    import dataclasses

    site = Site().established()
    site.message("one", "$1")
    site.alice.receipts = False
    site.run()
    site.step.account = dataclasses.replace(site.step.account, contacts=())
    site.start(resumed=True)
    assert set(site.records.held) <= {"resources", "pace", "timer"}
    assert (7, "refused", "contact-unmapped") in site.step.traces


# ---------------------------------------------------------------- what is promised
def test_disclosure_is_promised_truthfully() -> None:
    strict = Site().established()
    session = strict.alice.conversations[strict.alice.current or ""].session
    assert session is not None
    assert session.disclosure == "never"
    loose = Site(Assurance.NONE)
    loose.alice.start()
    loose.run()
    assert loose.alice.current is None, "a client that demands `never` is refused"
    assert "disclosure" in repr(loose.sent(NEGOTIATE)[0].values["form"])
    loose.alice.terms = Terms(disclosure=("never", "enabled"), groups=(14,))
    loose.alice.start()
    loose.run()
    session = loose.alice.conversations[loose.alice.current or ""].session
    assert session is not None
    assert session.disclosure == "enabled"


def test_chat_states_hand_nothing_on() -> None:
    site = Site().established()
    site.alice.put(b"<active xmlns='http://jabber.org/protocol/chatstates'/>")
    site.run()
    assert site.bodies() == []
    site.alice.say("still in step", "a1")
    site.run()
    assert site.bodies() == ["still in step"]


def test_content_that_is_no_stanza_content_ends_the_session_without_a_sound() -> None:
    for content in (b"<body>half", b"text", b"<!DOCTYPE a><body/>", b"</content><content>", b"<a>" * 40 + b"</a>" * 40):
        site = Site().established()
        site.alice.put(content)
        site.run()
        site.wait(5)
        assert site.bodies() == []
        site.alice.say("healed", "a1")
        site.run()
        assert site.bodies() == ["healed"]
