"""One contact at an endpoint: sessions come and go, messages arrive once and in order."""

import itertools
from dataclasses import replace

import msgspec
import pytest

from adapters.xmpp.inside_stanzas import refusal_content
from client.delivery import DeliveryTimes
from client.events import MessageHeld, MessageReceived, PlainReceived, SessionEnded, SessionRefused
from client.stanzas import Stanza
from client.store import KeptMessage
from crypto.esession.profiles import Profile
from crypto.esession.retained import Retained
from crypto.xml import parse
from rig.search import in_octets
from tests.unit.client_world import ALICE, BOB, SETTINGS, Flying, Side, World
from tests.unit.esession_world import DEPLOYED_TERMS

TEXTS = ["🦊 emoji 👩‍👩‍👧", "שלום עולם — مرحبا", "<&>\"'", "one\ntwo\n", "x" * 20_000, "]]>&#65;<body/>"]


@pytest.fixture
def world() -> World:
    """Alice and Bob, online, nothing said yet."""
    return World().meet()


def error(to: Side, condition: str, kind: str = "cancel", *, thread: str | None = None, about: str = "") -> Stanza:
    """An error stanza as a server or the other end writes it."""
    payload = f'<error type="{kind}"><{condition} xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error>'
    return Stanza(to.full, "error", about, thread or "", payload.encode())


def bounce(world: World, flying: Flying, condition: str = "remote-server-timeout", kind: str = "wait") -> None:
    """The server sends a stanza back to its sender, without its content or thread."""
    sender = world.alice if flying.sender == world.alice.full else world.bob
    octets = error(sender, condition, kind, about=flying.stanza.id).octets()
    octets = octets.replace(b"<thread></thread>", b"").replace(b"<message ", b'<message xmlns="jabber:client" ', 1)
    sender.contact.received(parse(octets), flying.stanza.to)


def returned(world: World, flying: Flying, condition: str) -> Flying:
    """Alice's stanza, whole, in an error of a server."""
    payload = flying.stanza.payload + error(world.alice, condition).payload
    return Flying(world.bob.full, replace(flying.stanza, to=world.alice.full, type="error", payload=payload))


def sealed(flying: Flying) -> bool:
    """Whether the stanza holds encrypted content."""
    return b"<data>" in flying.stanza.payload


# ---------------------------------------------------------------- the ordinary course
def test_messages_both_ways_arrive_once_in_order_and_are_acknowledged(world: World) -> None:
    for number, text in enumerate(TEXTS):
        world.alice.say(text, f"a{number}")
        world.bob.say(text, f"b{number}")
        world.run()
    assert world.alice.bodies == world.bob.bodies == TEXTS
    assert world.alice.delivered == [f"a{n}" for n in range(len(TEXTS))]
    assert world.bob.delivered == [f"b{n}" for n in range(len(TEXTS))]


def test_both_ends_show_the_same_string_and_only_what_was_confirmed_counts_as_verified(world: World) -> None:
    world.alice.say("hello")
    world.run()
    alice, bob = world.alice.contact.view(), world.bob.contact.view()
    assert alice.sas == bob.sas
    assert (alice.role, bob.role, alice.verified) == ("initiator", "responder", False)


def test_nothing_of_the_text_is_on_the_network(world: World) -> None:
    world.alice.say("MARKER-7f3")
    world.run()
    assert world.bob.bodies == ["MARKER-7f3"]
    for flying in world.carried:
        assert in_octets([b"MARKER-7f3"], "the network", flying.stanza.octets()) == [], "neither as it is nor in base64"


@pytest.mark.parametrize("profile", list(Profile)[:2])
def test_both_profiles_carry_texts_through_every_kind_of_loss(profile: Profile) -> None:
    settings = SETTINGS if profile is Profile.LETTER else replace(SETTINGS, terms=DEPLOYED_TERMS)
    world = World(settings, profile=profile).meet()
    world.alice.say("one")
    world.run()
    assert world.alice.contact.view().profile == profile
    world.bob.say("two")
    world.alice.say("three")
    world.flying.clear()
    world.wait(60)
    world.alice.contact.end()
    world.bob.say("four")
    world.wait(60)
    assert (world.alice.bodies, world.bob.bodies) == (["two", "four"], ["one", "three"])


def test_verification_is_carried_into_the_next_session_by_the_retained_secret(world: World) -> None:
    world.alice.say("hello")
    world.run()
    assert world.alice.contact.verify()
    world.alice.contact.end()
    world.run()
    world.alice.say("again")
    world.run()
    view = world.alice.contact.view()
    assert (view.verified, view.chain) == (True, "continued")
    assert world.bob.contact.view().verified is False


def test_a_contact_that_lost_its_secrets_is_shown_as_a_broken_chain(world: World) -> None:
    world.alice.say("hello")
    world.run()
    world.alice.contact.verify()
    world.bob.store.keep_retained(ALICE, msgspec.msgpack.encode(Retained()))
    world.restart(world.bob)
    world.meet()
    world.alice.contact.end()
    world.wait(10)
    world.alice.say("again")
    world.run()
    view = world.alice.contact.view()
    assert (view.verified, view.chain) == (False, "broken")


def test_a_text_waits_for_the_contact_to_appear() -> None:
    world = World()
    world.alice.contact.online()
    world.alice.say("early")
    world.run()
    assert not world.carried
    world.meet().run()
    assert world.bob.bodies == ["early"]


def test_without_any_presence_the_bare_jid_is_asked_after_a_while() -> None:
    world = World()
    world.alice.contact.online()
    world.bob.contact.online()
    world.alice.say("hello")
    world.wait(9)
    assert not world.carried
    world.wait(5)
    assert world.bob.bodies == ["hello"]
    assert world.carried[0].stanza.to == BOB


def test_both_starting_at_once_lose_and_double_nothing(world: World) -> None:
    world.alice.say("from alice")
    world.bob.say("from bob")
    world.run()
    assert (world.alice.bodies, world.bob.bodies) == (["from bob"], ["from alice"])
    world.wait(200)
    assert (world.alice.bodies, world.bob.bodies) == (["from bob"], ["from alice"])


def test_at_most_a_window_of_messages_is_sent_before_the_first_receipt(world: World) -> None:
    world.alice.say("first")
    world.run()
    seen = len(world.carried)
    for number in range(100):
        world.alice.say(str(number))
    assert len([f for f in world.flying if sealed(f)]) == SETTINGS.delivery.window
    world.run()
    assert world.bob.bodies == ["first", *map(str, range(100))]
    assert len(world.carried) - seen == 200


# ---------------------------------------------------------------- ends of sessions
def test_an_ended_session_ends_on_both_sides_and_the_next_text_starts_another(world: World) -> None:
    world.alice.say("one")
    world.run()
    world.alice.contact.end()
    world.run()
    assert world.alice.contact.view().state == world.bob.contact.view().state == "none"
    assert not world.alice.contact.ending
    assert [h.reason for h in world.bob.of(SessionEnded)] == ["ended"]
    world.bob.say("two")
    world.run()
    assert world.alice.bodies == ["two"]
    assert world.alice.sessions == 2


def test_a_plain_termination_ends_the_session_and_leads_to_nothing_in_plain(world: World) -> None:
    world.alice.say("one")
    world.run()
    view = world.alice.contact.view()
    assert view.thread is not None
    form = (
        b'<feature xmlns="http://jabber.org/protocol/feature-neg"><x xmlns="jabber:x:data" type="submit">'
        b'<field var="FORM_TYPE"><value>urn:xmpp:ssn</value></field>'
        b'<field var="terminate"><value>1</value></field></x></feature>'
    )
    world.deliver(Flying(world.bob.full, Stanza(world.alice.full, None, "x", view.thread, form)))
    assert [h.reason for h in world.alice.of(SessionEnded)] == ["unauthenticated"]
    world.alice.say("two")
    world.run()
    assert world.bob.bodies == ["one", "two"]
    assert all(b"<body>" not in f.stanza.octets() for f in world.carried)


def test_sessions_end_when_the_contact_goes_and_messages_wait_for_its_return(world: World) -> None:
    world.alice.say("one")
    world.run()
    world.alice.contact.disappeared(world.bob.full)
    world.alice.say("two")
    world.wait(60, lambda flying: flying.stanza.to != world.bob.full)
    assert world.alice.contact.view().state != "active"
    world.alice.contact.appeared(world.bob.full)
    world.run()
    assert world.bob.bodies == ["one", "two"]


def test_going_offline_forgets_sessions_and_keeps_messages(world: World) -> None:
    world.alice.say("one")
    world.run()
    world.alice.contact.offline()
    world.alice.say("two")
    assert not world.flying
    world.meet().run()
    assert world.bob.bodies == ["one", "two"]
    assert world.alice.sessions == 2


def test_a_message_delivered_into_a_closing_session_uses_no_sending_key(world: World) -> None:
    world.alice.say("one")
    world.run()
    world.bob.say("crossing", "late")
    world.alice.contact.end()
    world.run()
    world.wait(30)
    assert world.alice.bodies == ["crossing"]
    assert world.bob.delivered == ["late"]


# ---------------------------------------------------------------- losses
def test_a_lost_stanza_is_repeated_octet_for_octet_within_the_session(world: World) -> None:
    world.alice.say("one")
    world.run()
    world.alice.say("two")
    lost = world.flying.pop(0)
    assert sealed(lost)
    world.alice.say("three")
    lost_too = world.flying.pop(0)
    world.wait(SETTINGS.delivery.receipt_s + 1)
    assert world.bob.bodies == ["one", "two", "three"]
    assert world.alice.sessions == world.bob.sessions == 1
    octets = [f.stanza.octets() for f in world.carried]
    assert lost.stanza.octets() in octets
    assert lost_too.stanza.octets() in octets


def test_a_lost_receipt_is_repeated_when_the_other_end_repeats_its_message(world: World) -> None:
    world.alice.say("one")
    world.run()
    world.alice.say("two")
    world.deliver(world.flying.pop(0))
    world.flying.pop(0)
    world.wait(SETTINGS.delivery.receipt_s + 1)
    assert world.bob.bodies == ["one", "two"]
    assert len(world.alice.delivered) == 2
    assert world.alice.sessions == 1


def test_a_lost_receipt_is_healed_by_a_new_session_when_it_is_beyond_repetition(world: World) -> None:
    world.alice.say("one")
    world.run()
    world.bob.say("two")
    world.deliver(world.flying.pop(0))
    world.flying.clear()
    world.wait(120)
    assert world.alice.bodies == ["two"]
    assert len(world.bob.delivered) == 1


def test_two_ends_with_nothing_to_say_do_not_repeat_themselves_for_ever(world: World) -> None:
    for number in range(5):
        world.alice.say(f"a{number}")
        world.bob.say(f"b{number}")
        world.run()
    world.wait(1800)  # sessions that fell silent renew their keys once
    before = len(world.carried)
    world.wait(3600)
    assert len(world.carried) == before


def test_what_the_server_sends_back_is_held_and_repeated_in_order(world: World) -> None:
    world.alice.say("one")
    world.run()
    for number in range(5):
        world.alice.say(f"n{number}")
    while world.flying:
        bounce(world, world.flying.pop(0))
    world.alice.say("n5")
    assert not world.flying
    world.wait(1)
    assert world.bob.bodies == ["one", *(f"n{number}" for number in range(6))]
    assert world.alice.sessions == 1


def test_while_the_way_is_cut_only_probes_are_sent(world: World) -> None:
    world.alice.say("one")
    world.run()
    world.cut = True
    for number in range(5):
        world.alice.say(f"n{number}")
    while world.flying:
        bounce(world, world.flying.pop(0))
    before = len(world.carried)
    world.wait(0.8)
    assert (len(world.carried), world.probes) == (before, 2)
    world.cut = False
    world.wait(1)
    assert world.bob.bodies == ["one", *(f"n{number}" for number in range(5))]


def test_a_contact_that_answers_no_probe_is_sent_the_stanzas_all_the_same(world: World) -> None:
    world.alice.say("one")
    world.run()
    world.cut = True
    world.alice.say("two")
    bounce(world, world.flying.pop(0))
    world.wait(10)
    assert world.bob.bodies == ["one", "two"]
    assert world.alice.sessions == 1


@pytest.mark.parametrize("condition", ["service-unavailable", "forbidden", "not-acceptable"])
def test_a_stanza_that_comes_back_whole_is_sent_again_whatever_the_server_calls_the_reason(
    world: World, condition: str
) -> None:
    world.alice.say("one")
    world.run()
    world.alice.say("two")
    flying = world.flying.pop(0)
    world.deliver(returned(world, flying, condition))
    world.wait(2)
    assert world.bob.bodies == ["one", "two"]
    assert world.alice.sessions == 1


def test_a_stanza_of_a_session_that_is_over_may_come_back_late_and_is_not_taken_for_a_refusal(world: World) -> None:
    world.alice.say("one")
    world.run()
    world.alice.say("two", "two")
    flying = world.flying.pop(0)
    world.alice.contact.disappeared(world.bob.full)
    world.deliver(returned(world, flying, "forbidden"))
    world.meet()
    world.wait(2)
    assert world.bob.bodies == ["one", "two"]
    assert world.alice.failed == []


def test_a_negotiation_that_the_server_sends_back_is_tried_again_soon(world: World) -> None:
    world.alice.say("one")
    while world.flying:
        bounce(world, world.flying.pop(0))
    world.wait(2)
    assert world.bob.bodies == ["one"]


def test_a_contact_without_any_answer_is_asked_less_and_less_often(world: World) -> None:
    world.alice.say("one")
    asked: list[float] = []

    def nothing(flying: Flying) -> bool:
        if b"dhhashes" in flying.stanza.payload:
            asked.append(world.clock.now_s)
        return False

    world.wait(600, nothing)
    gaps = [after - before for before, after in itertools.pairwise(asked)]
    assert gaps[:4] == sorted(gaps[:4])
    assert 60 <= gaps[-1] <= 91
    assert len(world.alice.of(SessionRefused)) == 1


def test_a_silent_session_is_given_up_after_some_repetitions(world: World) -> None:
    world.alice.say("one")
    world.run()
    world.bob.contact.offline()
    world.bob.contact.online()
    world.alice.say("two")
    world.wait(100, lambda flying: not sealed(flying) or world.alice.sessions > 1)
    assert world.bob.bodies == ["one", "two"]
    assert world.alice.sessions == 2


# ---------------------------------------------------------------- restarts
def test_a_restarted_contact_gets_what_it_had_not_acknowledged_once(world: World) -> None:
    world.alice.say("one")
    world.run()
    world.alice.say("two")
    world.deliver(world.flying.pop(0))
    world.flying.clear()
    old = world.bob
    world.restart(world.bob)
    world.meet()
    world.alice.say("three")
    world.wait(120)
    assert old.bodies + world.bob.bodies == ["one", "two", "three"]
    assert not world.alice.contact.waiting


def test_a_restarted_endpoint_sends_what_was_not_acknowledged_under_the_same_ids(world: World) -> None:
    world.alice.say("one", "first")
    world.run()
    world.alice.say("two", "second")
    world.alice.say("three", "third")
    world.deliver(world.flying.pop(0))
    world.flying.clear()
    world.restart(world.alice)
    world.meet()
    world.wait(60)
    assert world.bob.bodies == ["one", "two", "three"]
    assert [h.id for h in world.bob.of(MessageReceived)] == ["first", "second", "third"]
    assert world.alice.delivered == ["second", "third"]


def test_stanzas_of_a_session_that_is_gone_lead_to_a_new_one(world: World) -> None:
    world.alice.say("one")
    world.run()
    fresh = world.restart(world.bob)
    fresh.full = world.alice.contact.view().peer or ""
    fresh.contact.online()
    world.alice.say("two")
    world.run()
    assert fresh.bodies == ["two"]
    assert world.alice.sessions == 2


# ---------------------------------------------------------------- refusals
@pytest.mark.parametrize("condition", ["policy-violation", "forbidden", "item-not-found"])
def test_a_refused_message_is_reported_once_and_never_sent_again(world: World, condition: str) -> None:
    world.alice.say("one")
    world.run()
    thread = world.alice.contact.view().thread
    world.alice.say("forbidden text", "bad")
    bad = world.flying.pop(0)
    world.deliver(bad)
    world.flying.clear()
    world.deliver(Flying(world.bob.full, error(world.alice, condition, thread=thread, about="bad")))
    assert world.alice.failed == ["bad"]
    assert world.alice.contact.waiting == 0
    before = len(world.carried)
    world.wait(300)
    assert len(world.carried) == before


def test_a_message_that_is_not_taken_yet_is_told_once_kept_and_arrives_in_the_next_session(world: World) -> None:
    world.alice.say("one")
    world.run()
    world.alice.say("two", "second")
    world.flying.clear()
    talk = world.bob.contact._talks.current
    assert talk is not None
    for _ in range(2):
        world.bob.contact._send(talk, refusal_content("second", "verify-again"), None)
        world.run()
    assert [(h.id, h.condition) for h in world.alice.of(MessageHeld)] == [("second", "policy-violation")]
    assert "Compare the short authentication string" in world.alice.of(MessageHeld)[0].text
    assert (world.alice.failed, world.alice.contact.waiting) == ([], 1)
    world.bob.contact.end()
    world.run()
    world.wait(60)
    assert world.bob.bodies == ["one", "two"]
    assert world.alice.contact.waiting == 0


def test_a_session_lost_at_the_other_end_is_replaced_and_the_message_sent_again(world: World) -> None:
    world.alice.say("one")
    world.run()
    thread = world.alice.contact.view().thread
    world.alice.say("two", "second")
    world.flying.clear()
    world.deliver(Flying(world.bob.full, error(world.alice, "not-acceptable", thread=thread, about="second")))
    world.run()
    assert world.bob.bodies == ["one", "two"]
    assert world.alice.sessions == 2


def test_an_error_about_a_session_that_is_over_changes_nothing(world: World) -> None:
    world.alice.say("one")
    world.run()
    view = world.alice.contact.view()
    world.deliver(Flying(world.bob.full, error(world.alice, "not-acceptable", thread="older", about="x")))
    assert world.alice.contact.view() == view


def test_a_contact_that_does_not_exist_is_told_with_the_reason_and_asked_again(world: World) -> None:
    world.alice.say("one")
    bounce(world, world.flying.pop(0), "item-not-found", "cancel")
    assert [h.condition for h in world.alice.of(SessionRefused)] == ["item-not-found"]
    assert world.alice.contact.view().state == "none"
    world.wait(10)
    assert world.bob.bodies == ["one"]


def test_a_declined_negotiation_is_told_and_tried_again_while_messages_wait(world: World) -> None:
    world.alice.say("one")
    request = world.flying.pop(0)
    world.deliver(Flying(world.bob.full, error(world.alice, "not-acceptable", thread=request.stanza.thread)))
    assert [h.condition for h in world.alice.of(SessionRefused)] == ["not-acceptable"]
    world.wait(10)
    assert world.bob.bodies == ["one"]


# ---------------------------------------------------------------- attacks
def test_a_changed_stanza_ends_the_session_and_nothing_is_lost(world: World) -> None:
    world.alice.say("one")
    world.run()
    world.alice.say("two")
    flying = world.flying.pop(0)
    payload = flying.stanza.payload
    at = payload.index(b"<data>") + 8
    changed = payload[:at] + (b"A" if payload[at : at + 1] != b"A" else b"B") + payload[at + 1 :]
    world.deliver(Flying(flying.sender, replace(flying.stanza, payload=changed)))
    assert "broken" in [h.reason for h in world.bob.of(SessionEnded)]
    world.wait(60)
    assert world.bob.bodies == ["one", "two"]


def test_a_replay_of_everything_shows_nothing_twice(world: World) -> None:
    for number in range(3):
        world.alice.say(f"a{number}")
        world.bob.say(f"b{number}")
        world.run()
    for flying in list(world.carried):
        world.deliver(flying)
    world.wait(120)
    assert world.alice.bodies == ["b0", "b1", "b2"]
    assert world.bob.bodies == ["a0", "a1", "a2"]
    world.alice.say("still there")
    world.wait(60)
    assert world.bob.bodies[-1] == "still there"


def test_a_reordered_stanza_is_not_shown_out_of_order(world: World) -> None:
    world.alice.say("one")
    world.run()
    world.alice.say("two")
    world.alice.say("three")
    world.flying.reverse()
    world.wait(60)
    assert world.bob.bodies == ["one", "two", "three"]


def test_a_forged_plain_receipt_does_not_make_a_lost_message_look_delivered(world: World) -> None:
    world.alice.say("one")
    world.run()
    world.alice.say("two", "second")
    world.flying.clear()
    forged = b'<received xmlns="urn:xmpp:receipts" id="second"/>'
    world.deliver(Flying(world.bob.full, Stanza(world.alice.full, "chat", "x", "", forged)))
    assert "second" not in world.alice.delivered
    world.wait(60)
    assert world.bob.bodies == ["one", "two"]


def test_plain_text_in_a_session_is_reported_and_not_shown(world: World) -> None:
    world.alice.say("one")
    world.run()
    plain = Stanza(world.alice.full, "chat", "x", world.alice.contact.view().thread or "", b"<body>forged</body>")
    world.deliver(Flying(world.bob.full, plain))
    assert world.alice.bodies == []
    assert len(world.alice.of(PlainReceived)) == 1


def test_a_flood_of_requests_costs_only_so_many_answers(world: World) -> None:
    world.alice.say("one")
    request = world.flying.pop(0)
    for number in range(200):
        world.deliver(Flying(request.sender, replace(request.stanza, thread=f"flood{number}")))
    assert len(world.flying) == SETTINGS.requests.burst


def test_a_flood_of_stanzas_of_unknown_sessions_is_not_answered_each(world: World) -> None:
    world.alice.say("one")
    world.run()
    content = next(f for f in world.carried if sealed(f) and f.sender == world.alice.full)
    for number in range(200):
        world.deliver(Flying(content.sender, replace(content.stanza, thread=f"flood{number}")))
    assert len(world.flying) == 2 * SETTINGS.errors.burst


def test_the_limits_of_delivery_can_be_set() -> None:
    world = World(replace(SETTINGS, delivery=DeliveryTimes(window=2))).meet()
    world.alice.say("one")
    world.run()
    for number in range(5):
        world.alice.say(str(number))
    assert len(world.flying) == 2


def test_an_id_that_waits_cannot_be_used_again(world: World) -> None:
    world.alice.contact.queue(KeptMessage("same", "one"))
    with pytest.raises(ValueError, match="waiting already"):
        world.alice.contact.queue(KeptMessage("same", "two"))
