"""The XMPP inside half: sessions begin, are lost, end, and messages survive all of it."""

import pytest

from adapters.xmpp.inside_state import Leg, Queued
from adapters.xmpp.names import ENCRYPTED, NEGOTIATE, NOTICE, PLAIN, SUBSCRIBE
from bridge.wire.values import Code, Opaque, Sealed
from crypto.esession.conversation import Event
from crypto.esession.profiles import Profile
from crypto.message import Assurance
from tests.unit.xmpp_site import ALICE, Alice, Site, receipt

PROFILES = pytest.mark.parametrize("profile", [Profile.LETTER, Profile.DEPLOYED])


# ---------------------------------------------------------------- both directions
@PROFILES
def test_alice_s_request_is_answered_and_messages_go_both_ways(profile: Profile) -> None:
    site = Site().established(profile)
    site.alice.say("hello <Bob> & all\n🦊", "a1")
    site.message("hello Alice", "$1")
    site.run()
    assert site.bodies() == ["hello <Bob> & all\n🦊"]
    assert site.alice.shown == ["hello Alice"]
    assert site.step.done == [("bob", "$1")]
    assert site.alice.acknowledged == ["a1"]


def test_a_waiting_message_makes_the_gateway_ask_a_capable_resource_for_a_session() -> None:
    site = Site()
    site.message("one", "$1")
    site.message("two", "$2")
    site.run()
    site.resources(site.alice.jid)
    site.run()
    assert site.alice.shown == ["one", "two"]
    assert site.step.done == [("bob", "$1"), ("bob", "$2")]


def test_nothing_of_a_message_leaves_before_there_is_a_session() -> None:
    site = Site()
    site.message("secret words", "$1")
    site.resources(site.alice.jid, able=False)
    site.wait(3600)
    assert b"secret words" not in repr(site.carried).encode()
    assert not site.sent(ENCRYPTED, PLAIN)


def test_a_message_that_waits_without_a_capable_resource_is_announced_once_per_availability() -> None:
    site = Site()
    site.resources(site.alice.jid, able=False)
    site.message("one", "$1")
    site.message("two", "$2")
    site.wait(600)
    assert [c.values["code"] for c in site.sent(NOTICE)] == [Code(v="waiting-no-session")]
    site.resources()
    site.run()
    site.resources(site.alice.jid, able=False)
    site.run()
    assert len(site.sent(NOTICE)) == 2


def test_a_user_whose_presence_was_never_seen_is_asked_for_it_once() -> None:
    site = Site()
    site.resources()
    site.message("one", "$1")
    site.message("two", "$2")
    site.run()
    assert len(site.sent(SUBSCRIBE)) == 1


def test_two_sessions_from_a_crossing_start_both_decrypt_and_nothing_is_shown_twice() -> None:
    site = Site()
    site.resources(site.alice.jid)
    site.alice.start()
    site.message("from Bob", "$1")
    site.run()
    assert len(site.alice.conversations) == 2
    for thread in list(site.alice.conversations):
        site.alice.say(f"on {thread}", f"id-{thread}", thread=thread)
    site.run()
    assert len(site.bodies()) == 2
    assert site.alice.shown == ["from Bob"]


def test_the_gateway_answers_on_the_session_that_the_user_wrote_in_last() -> None:
    site = Site().established()
    first = site.alice.current
    site.alice.start()
    site.run()
    assert site.alice.current != first
    site.alice.say("back on the first", "b1", thread=first)
    site.run()
    site.message("answer", "$1")
    site.run()
    assert site.sent(ENCRYPTED)[-1].values["thread"].v == first


def test_older_sessions_are_ended_when_there_are_too_many() -> None:
    site = Site().established()
    for _ in range(8):
        site.alice.start()
        site.run()
    site.wait(60)
    leg = site.records.get("leg/bob", Leg)
    assert leg is not None
    assert len(leg.talks) <= 6
    assert len(list(site.records.names("session/bob/"))) == len(leg.talks)


# ---------------------------------------------------------------- loss
@PROFILES
def test_a_lost_stanza_ends_the_session_and_all_arrives_in_a_new_one(profile: Profile) -> None:
    site = Site().established(profile)
    lost = iter([True])
    site.lost = lambda one: one.request == ENCRYPTED and next(lost, False)
    for n in range(5):
        site.message(f"m{n}", f"${n}")
    site.run()
    site.wait(30)
    assert site.alice.shown == [f"m{n}" for n in range(5)]
    assert [id_ for _, id_ in site.step.done] == [f"${n}" for n in range(5)]


def test_the_last_stanza_is_lost_and_arrives_in_a_new_session_after_a_while() -> None:
    site = Site().established()
    lost = iter([True])
    site.lost = lambda one: one.request == ENCRYPTED and next(lost, False)
    site.message("only", "$1")
    site.run()
    assert site.alice.shown == []
    site.wait(60)
    assert site.alice.shown == ["only"]
    assert site.alice.repeats == 0


def test_a_message_is_sent_once_per_session_under_the_same_id() -> None:
    site = Site().established()
    site.alice.receipts = False
    site.message("one", "$1")
    site.run()
    site.alice.end()
    site.run()
    site.wait(10)
    ids = [id_ for id_ in site.stanza_ids() if id_.startswith("m-")]
    assert len(ids) == 2
    assert len(set(ids)) == 1
    assert (site.alice.shown, site.alice.repeats) == (["one"], 1)


def test_a_peer_of_the_letter_is_sent_what_is_unacknowledged_in_a_newer_session_at_once() -> None:
    site = Site().established()
    site.alice.receipts = False
    site.message("one", "$1")
    site.run()
    site.alice.receipts = True
    site.alice.start()
    site.run()
    assert site.step.done == [("bob", "$1")]
    assert (site.alice.shown, site.alice.repeats) == (["one"], 1)


def test_a_deployed_peer_is_not_shown_doubles_while_the_older_session_stands() -> None:
    site = Site().established(Profile.DEPLOYED)
    site.alice.receipts = False
    first = site.alice.current
    site.message("one", "$1")
    site.run()
    site.alice.start(Profile.DEPLOYED)
    site.run()
    site.message("two", "$2")
    site.run()
    assert [c.values["thread"] for c in site.sent(ENCRYPTED)] == [Opaque(v=first or "")] * 2
    assert (site.alice.shown, site.alice.repeats) == (["one", "two"], 0)


def test_a_client_that_lost_its_session_is_asked_again_and_gets_everything() -> None:
    site = Site().established()
    site.alice.receipts = False
    site.message("one", "$1")
    site.run()
    site.alice = Alice()
    site.message("two", "$2")
    site.run()
    site.wait(30)
    assert site.alice.shown == ["one", "two"]


def test_what_a_client_sends_in_a_session_we_do_not_have_makes_us_start_one() -> None:
    site = Site().established()
    for name in list(site.records.names("")):
        site.records.delete(name)
    site.resources(site.alice.jid)
    site.alice.say("lost on us", "a1")
    site.run()
    site.wait(5)
    assert site.bodies() == []
    assert site.alice.current is not None
    site.alice.say("lost on us", "a1")
    site.run()
    assert site.bodies() == ["lost on us"]


def test_a_resource_that_goes_takes_its_session_along_and_the_messages_stay() -> None:
    site = Site().established()
    site.resources()
    site.message("later", "$1")
    site.run()
    assert not site.sent(ENCRYPTED)
    site.alice = Alice(f"{ALICE}/phone")
    site.resources(site.alice.jid)
    site.run()
    assert site.alice.shown == ["later"]


def test_a_snapshot_that_is_not_complete_takes_nothing_away() -> None:
    site = Site().established()
    site.resources(complete=False)
    site.message("still there", "$1")
    site.run()
    assert site.alice.shown == ["still there"]


def test_a_plain_termination_ends_the_session_and_nothing_goes_out_in_plain() -> None:
    site = Site().established()
    thread = site.alice.current
    site.alice.conversations.clear()
    form = (
        b"<feature xmlns='http://jabber.org/protocol/feature-neg'><x xmlns='jabber:x:data' type='submit'>"
        b"<field var='FORM_TYPE'><value>urn:xmpp:ssn</value></field>"
        b"<field var='terminate'><value>1</value></field></x></feature>"
    )
    site.alice.write(form, kind=None, thread=thread, id_="t")
    site.run()
    site.message("secret words", "$1")
    site.wait(30)
    assert not site.sent(PLAIN)
    assert "secret words" not in repr(site.carried)
    assert site.alice.shown == ["secret words"]


def test_after_a_resumption_that_may_be_old_no_session_is_used_again() -> None:
    site = Site().established()
    site.message("one", "$1")
    site.alice.receipts = False
    site.run()
    sent_before = {c.values["thread"].v for c in site.sent(ENCRYPTED)}
    site.carried.clear()
    site.start(resumed=False)
    site.alice.receipts = True
    site.run()
    site.wait(10)
    assert not sent_before & {c.values["thread"].v for c in site.sent(ENCRYPTED)}
    assert Event.ENDED_UNAUTHENTICATED in site.alice.events
    assert site.step.done == [("bob", "$1")]


def test_a_resumption_that_is_current_changes_nothing() -> None:
    site = Site().established()
    held = dict(site.records.held)
    site.start(resumed=True)
    assert site.records.held == held
    site.message("one", "$1")
    site.run()
    assert site.alice.shown == ["one"]


def test_repeated_failures_lead_to_longer_pauses() -> None:
    site = Site()
    site.resources(site.alice.jid)
    site.lost = lambda _: True
    site.message("one", "$1")
    site.wait(3600)
    requests = len(site.sent(NEGOTIATE))
    assert 4 < requests < 50
    site.lost = lambda _: False
    site.wait(700)
    assert site.alice.shown == ["one"]


def test_a_presence_change_ends_the_pause() -> None:
    site = Site()
    site.resources(site.alice.jid)
    site.lost = lambda _: True
    site.message("one", "$1")
    site.wait(1800)
    site.lost = lambda _: False
    site.resources()
    site.resources(site.alice.jid)
    site.run()
    site.wait(31)
    assert site.alice.shown == ["one"]


def test_requests_beyond_the_pace_are_turned_away() -> None:
    site = Site()
    for n in range(30):
        site.alice.start(thread=f"t{n}")
    site.run()
    assert site.step.codes().count("request-too-many") == 10
    assert ("resource-constraint") in [condition for _, condition in site.alice.errors]


# ---------------------------------------------------------------- the queue
def test_messages_arrive_in_order_and_no_more_than_the_window_are_under_way() -> None:
    site = Site().established()
    site.alice.receipts = False
    for n in range(100):
        site.message(f"m{n}", f"${n}")
    site.run()
    assert len(site.alice.shown) == 32
    for id_ in site.stanza_ids():
        site.alice.put(receipt(id_))
    site.alice.receipts = True
    site.run()
    assert site.alice.shown == [f"m{n}" for n in range(100)]
    assert [id_ for _, id_ in site.step.done] == [f"${n}" for n in range(100)]
    assert not list(site.records.names("queue/"))


def test_a_receipt_of_an_unknown_message_is_counted_and_nothing_else() -> None:
    site = Site().established()
    site.message("one", "$1")
    site.alice.receipts = False
    site.run()
    for id_ in ("m-1-00", "m-zz-1", "m-2-ffff", "", "s-1", "m-1-" + "0" * 4000):
        site.alice.put(receipt(id_))
    site.run()
    assert site.step.done == []
    assert site.step.codes().count("receipt-unknown") == 6


def test_a_plain_receipt_counts_from_a_deployed_peer_only() -> None:
    for profile, counts in ((Profile.LETTER, []), (Profile.DEPLOYED, [("bob", "$1")])):
        site = Site().established(profile)
        site.alice.receipts = False
        site.message("one", "$1")
        site.run()
        id_ = site.stanza_ids()[-1]
        site.alice.write(receipt(id_), kind=None, thread=site.alice.current, id_="r")
        site.run()
        assert site.step.done == counts


def test_a_deployed_peer_without_receipts_is_believed_once_it_was_heard() -> None:
    site = Site().established(Profile.DEPLOYED)
    site.alice.receipts = False
    site.message("one", "$1")
    site.run()
    site.wait(120)
    assert site.step.done == []
    site.alice.say("an answer", "a1", origin=False, request=False)
    site.run()
    site.wait(120)
    assert site.step.done == [("bob", "$1")]
    assert site.alice.repeats == 0


def test_a_body_that_is_too_large_is_refused_at_once() -> None:
    site = Site().established()
    site.message("é" * 80_000, "$1")
    assert site.step.failures == [("bob", "$1", "too-large")]
    assert not list(site.records.names("queue/"))


def test_each_message_is_a_record_of_its_own_and_few_records_change() -> None:
    site = Site().established()
    site.alice.say("warm up", "a0")
    site.run()
    site.message("one", "$1")
    assert site.records.written <= {
        "line/bob",
        f"session/bob/{site.alice.current}",
        "queue/bob/000000000001",
        "sent/bob/0",
        "timer",
    }
    assert isinstance(site.records.held["queue/bob/000000000001"], Queued)
    site.run()
    site.alice.say("two", "a1")
    site.acknowledging = False
    site.run()
    assert site.records.written <= {f"session/bob/{site.alice.current}", "seen/bob/0"}


def test_content_leaves_only_as_sealed() -> None:
    site = Site().established()
    site.message("secret words", "$1")
    site.run()
    one = site.sent(ENCRYPTED)[-1]
    assert isinstance(one.values["content"], Sealed)
    assert "secret words" not in repr(site.carried)


# ---------------------------------------------------------------- trust, status
def test_the_status_shows_session_string_and_peer() -> None:
    site = Site().established()
    leg = site.half.status(site.records, site.step.account)[0]
    session = site.alice.conversations[site.alice.current or ""].session
    assert session is not None
    assert (leg.state, leg.sas, leg.peer, leg.verified) == ("active", session.sas, site.alice.jid, False)
    assert leg.assurance is Assurance.END_TO_END


@PROFILES
def test_a_verification_survives_into_the_sessions_that_follow(profile: Profile) -> None:
    site = Site().established(profile)
    site.alice.say("first", "a1")
    site.run()
    site.do(lambda: _ok(site.half.trust(site.step, site.bob, "verify-weak-string")))
    for n in range(3):
        site.alice.end()
        site.run()
        site.alice.start(profile)
        site.run()
        site.alice.say(f"again {n}", f"b{n}")
        site.run()
        assert site.half.status(site.records, site.step.account)[0].verified


def test_distrust_ends_the_session_and_the_chain() -> None:
    site = Site().established()
    site.do(lambda: _ok(site.half.trust(site.step, site.bob, "verify")))
    site.do(lambda: _ok(site.half.trust(site.step, site.bob, "distrust")))
    site.run()
    assert site.alice.current is None
    site.alice.start()
    site.run()
    assert not site.half.status(site.records, site.step.account)[0].verified


def test_without_a_session_there_is_nothing_to_verify() -> None:
    site = Site()
    site.do(lambda: _is(site.half.trust(site.step, site.bob, "verify"), "no-session"))
    site.do(lambda: _is(site.half.trust(site.step, site.bob, "admire"), "unknown-decision"))


def _ok(code: str) -> None:
    _is(code, "ok")


def _is(code: str, expected: str) -> None:
    assert code == expected
