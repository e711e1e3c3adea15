"""Inside sessions beside texts: keys renewed, presence, typing, questions, copies, comparisons taken back."""

from dataclasses import replace

import msgspec
import pytest

from adapters.xmpp.inside_stanzas import Content, sent_content
from client.events import (
    Answered,
    ContactPresence,
    ContactTyping,
    MessageCopied,
    MessageReceived,
    SessionEnded,
    SessionRefused,
    SessionStarted,
    Warned,
)
from client.queries import QUESTIONS
from client.stanzas import Stanza, text_content
from crypto.esession import conversation as esession
from crypto.esession.identities import Identity, new_ed25519
from crypto.esession.profiles import Profile
from crypto.esession.rekeying_state import RekeyPolicy
from crypto.esession.retained import Retained
from crypto.esession.terms import Terms
from crypto.xml import parse
from tests.unit.client_world import ALICE, BOB, SETTINGS, Flying, World
from tests.unit.esession_world import DEPLOYED_TERMS

KEYED = Terms(groups=(14,), peer_keys=("key", "hash", "none"))


def identity(number: int) -> Identity:
    """A signing key."""
    return new_ed25519(bytes([number]) * 32)


def texted(body: str) -> Content:
    """Content that is a text."""
    return Content(body, None, False, ())


def met(**changes: object) -> World:
    """Alice and Bob in a session, by these settings."""
    world = World(settings=replace(SETTINGS, **changes)).meet()  # type: ignore[arg-type]
    world.alice.say("hello")
    world.run()
    return world


def again(world: World, *, alice: Terms | None = None, bob: Terms | None = None) -> None:
    """Both are restarted, with other terms, and talk again."""
    for side, terms in ((world.alice, alice), (world.bob, bob)):
        settings = world.settings
        world.settings = replace(settings, terms=terms or settings.terms)
        world.restart(side)
        world.settings = settings
    world.meet()
    world.alice.say("again")
    world.run()


# ---------------------------------------------------------------- what a session is
def test_a_session_is_hybrid_and_encrypts_every_kind_of_stanza_unless_told_otherwise() -> None:
    view = met().alice.contact.view()
    assert view.post_quantum
    assert view.stanzas == ("message", "presence", "iq")
    assert view.suite is not None
    assert view.suite.split() == ["aes256-ctr", "sha256", "group", "14", "ml-kem-768"]


def test_an_end_that_does_not_know_the_hybrid_exchange_is_served_and_shown_as_such() -> None:
    world = World().meet()
    world.settings = replace(SETTINGS, terms=Terms(groups=(14,), kems=()))
    world.restart(world.bob)
    world.meet()
    world.alice.say("hello")
    world.run()
    assert world.bob.bodies == ["hello"]
    assert not world.alice.contact.view().post_quantum


def test_keys_are_renewed_by_count_while_nothing_is_lost() -> None:
    world = met(rekey=RekeyPolicy(stanzas=10))
    for number in range(100):
        world.alice.say(f"a{number}")
        if number % 3 == 0:
            world.bob.say(f"b{number}")
        world.run()
    assert world.bob.bodies == ["hello", *(f"a{n}" for n in range(100))]
    assert world.alice.sessions == 1
    assert world.alice.contact.view().rekeyed >= 20
    assert world.alice.contact.view().rekeyed == world.bob.contact.view().rekeyed


def test_keys_are_renewed_under_losses_as_well() -> None:
    world = met(rekey=RekeyPolicy(stanzas=4))
    for number in range(40):
        world.alice.say(f"a{number}")
        world.bob.say(f"b{number}")
        if number % 5 == 0:
            world.flying.clear()
            world.wait(10)
        world.run()
    world.wait(120)
    assert world.bob.bodies == ["hello", *(f"a{n}" for n in range(40))]
    assert world.alice.bodies == [f"b{n}" for n in range(40)]
    assert world.alice.sessions == 1
    assert world.alice.contact.view().rekeyed > 20


def test_a_session_that_fell_silent_renews_its_keys_by_time() -> None:
    world = met()
    assert world.alice.contact.view().rekeyed == 0
    world.wait(1800)
    assert world.alice.contact.view().rekeyed >= 2
    assert world.alice.sessions == 1


# ---------------------------------------------------------------- presence, typing
def test_presence_is_told_encrypted_now_and_in_each_new_session() -> None:
    world = met()
    assert world.alice.contact.show("away", "at <lunch>")
    world.run()
    assert [(h.show, h.status) for h in world.bob.of(ContactPresence)] == [("away", "at <lunch>")]
    assert world.bob.contact.view().presence == "away"
    assert all(b"lunch" not in f.stanza.octets() for f in world.carried)
    world.alice.contact.end()
    world.run()
    assert world.bob.contact.view().presence is None
    world.bob.say("back?")
    world.run()
    assert world.bob.contact.view().presence == "away"


def test_a_presence_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="a presence is one of"):
        met().alice.contact.show("invisible")


def test_typing_is_told_once_in_ten_seconds_and_ends_with_the_message() -> None:
    world = met()
    for _ in range(5):
        assert world.alice.contact.typing(True)
    world.run()
    assert [h.state for h in world.bob.of(ContactTyping)] == ["composing"]
    assert world.bob.contact.view().typing
    world.alice.say("there")
    world.run()
    assert not world.bob.contact.view().typing
    assert b"composing" not in b"".join(f.stanza.octets() for f in world.carried)


def test_nothing_is_told_without_a_session_or_to_a_deployed_client() -> None:
    world = World(replace(SETTINGS, terms=DEPLOYED_TERMS), profile=Profile.DEPLOYED).meet()
    assert not world.alice.contact.typing(True)
    world.alice.say("hello")
    world.run()
    assert not world.alice.contact.typing(True)
    assert not world.alice.contact.show("away")
    assert world.alice.contact.ask(b"<ping xmlns='urn:xmpp:ping'/>") is None


def test_a_lost_presence_is_repeated_with_the_messages_after_it() -> None:
    world = met()
    world.alice.contact.show("dnd")
    world.flying.clear()
    world.alice.say("after")
    world.flying.clear()
    world.wait(10)
    assert world.bob.bodies == ["hello", "after"]
    assert world.bob.contact.view().presence == "dnd"
    assert world.bob.sessions == 1


# ---------------------------------------------------------------- questions
@pytest.mark.parametrize("what", ["info", "ping", "time", "version", "last"])
def test_questions_are_answered_inside_the_session(what: str) -> None:
    world = met()
    world.bob.say("so that there is a last time")
    world.run()
    asked = world.alice.contact.ask(QUESTIONS[what].encode())
    world.run()
    (answered,) = world.alice.of(Answered)
    assert (answered.id, answered.kind, len(answered.content)) == (asked, "result", 1)
    assert all(b"jabber:iq" not in f.stanza.octets() for f in world.carried)


def test_what_is_not_answered_gets_an_error_whose_condition_is_encrypted() -> None:
    world = met(answers=frozenset({"info"}))
    for text in (QUESTIONS["ping"], QUESTIONS["vcard"], "<a xmlns='x'/><b xmlns='x'/>"):
        world.alice.contact.ask(text.encode())
    world.alice.contact.ask(QUESTIONS["info"].encode(), "set")
    world.run()
    answers = world.alice.of(Answered)
    assert [a.kind for a in answers] == ["error"] * 4
    assert {e.name for a in answers for e in a.content} == {"feature-not-implemented"}
    assert b"feature-not-implemented" not in b"".join(f.stanza.octets() for f in world.carried)


def test_a_question_is_lost_with_its_session_and_the_program_is_told() -> None:
    world = met()
    world.alice.contact.ask(QUESTIONS["ping"].encode())
    world.flying.clear()
    world.alice.contact.disappeared(world.bob.full)
    assert [a.kind for a in world.alice.of(Answered)] == ["lost"]


def test_a_question_that_a_server_sends_back_is_answered_with_an_error_and_the_session_stays() -> None:
    world = met()
    asked = world.alice.contact.ask(QUESTIONS["ping"].encode())
    lost = world.flying.pop()
    error = b'<error type="cancel"><service-unavailable xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error>'
    for payload in (error, lost.stanza.payload + error):
        back = replace(lost.stanza, to=world.alice.full, type="error", payload=payload)
        assert world.alice.contact.received(Flying(world.bob.full, back).element(), world.bob.full)
    assert [(a.id, a.kind) for a in world.alice.of(Answered)] == [(asked, "error")]
    world.alice.say("after it")
    world.wait(5)
    assert world.bob.bodies == ["hello", "after it"]
    assert world.alice.sessions == 1


@pytest.mark.parametrize("name", ["presence", "iq"])
def test_a_forged_stanza_ends_the_session_and_shows_nothing(name: str) -> None:
    world = met()
    world.alice.contact.show("away")
    flying = world.flying.pop()
    forged = flying.stanza.octets().replace(b"<data>", b"<data>AAAA", 1).replace(b"<presence ", f"<{name} ".encode())
    forged = forged.replace(b"</presence>", f"</{name}>".encode())
    start = f"<{name} ".encode()
    kind = b'type="get" ' if name == "iq" else b""
    world.bob.contact.received(
        parse(forged.replace(start, start + kind + b'xmlns="jabber:client" ', 1)), world.alice.full
    )
    assert [h.reason for h in world.bob.of(SessionEnded)] == ["broken"]
    assert not world.bob.of(ContactPresence)


def test_a_stanza_of_no_session_is_answered_now_and_then_only() -> None:
    world = met()
    world.alice.contact.ask(QUESTIONS["ping"].encode())
    flying = world.flying.pop()
    for _ in range(50):
        world.bob.contact.received(flying.element(), f"{ALICE}/somewhere-else")
    assert 0 < len(world.flying) <= 10
    assert world.bob.contact.view().state == "active"


# ---------------------------------------------------------------- copies
def sealed_by_bob(world: World, content: bytes) -> None:
    """Content of Bob's end's, as it is."""
    talk = world.bob.contact._talks.current
    assert talk is not None
    outcome = esession.send(talk.conversation, content)
    assert outcome.conversation is not None
    talk.conversation = outcome.conversation
    for reply in outcome.replies:
        stanza = Stanza(world.alice.full, "chat", "x", talk.conversation.thread, reply.payload)
        world.deliver(Flying(world.bob.full, stanza))


def test_a_copy_of_what_another_client_sent_is_shown_once_as_the_users_own() -> None:
    world = met()
    copy = sent_content(texted("from my phone <&>"), "c1", sender=f"{ALICE}/phone", to=BOB)
    for _ in range(2):
        sealed_by_bob(world, copy)
    (shown,) = world.alice.of(MessageCopied)
    assert (shown.id, shown.body, shown.sender) == ("c1", "from my phone <&>", f"{ALICE}/phone")
    assert not world.alice.of(MessageReceived)


@pytest.mark.parametrize(
    ("sender", "to"),
    [("mallory@example.org/x", BOB), (f"{ALICE}/phone", "carol@example.org"), (BOB, ALICE), ("", ""), (ALICE, "")],
)
def test_a_copy_of_anything_else_is_not_shown(sender: str, to: str) -> None:
    world = met()
    sealed_by_bob(world, sent_content(texted("forged"), "c1", sender=sender, to=to))
    assert not world.alice.of(MessageCopied)
    assert world.alice.contact.view().state == "active"


def test_a_copy_of_what_this_client_keeps_is_not_shown() -> None:
    world = met()
    world.alice.say("mine", "m1")
    world.flying.clear()
    sealed_by_bob(world, sent_content(texted("mine"), "m1", sender=f"{ALICE}/old", to=BOB))
    assert not world.alice.of(MessageCopied)


# ---------------------------------------------------------------- both at once
def crossed(world: World) -> World:
    """Both ask for a session before either has heard of the other."""
    world.alice.say("from alice")
    world.bob.say("from bob")
    return world.run()


def test_of_two_sessions_begun_at_once_both_ends_settle_on_the_smaller_thread() -> None:
    world = crossed(World().meet())
    threads = {f.stanza.thread for f in world.carried if f.stanza.type is None}
    views = [side.contact.view() for side in (world.alice, world.bob)]
    assert len(threads) == 2
    assert {view.thread for view in views} == {min(threads)}
    assert (world.alice.bodies, world.bob.bodies) == (["from bob"], ["from alice"])
    world.wait(600)
    assert {side.contact.view().thread for side in (world.alice, world.bob)} == {min(threads)}
    for side in (world.alice, world.bob):
        assert [h.view.thread for h in side.of(SessionStarted)][-1] == min(threads)
        assert {h.reason for h in side.of(SessionEnded)} <= {"replaced"}
        assert len(side.of(SessionStarted)) == 1 + len(side.of(SessionEnded))


def test_two_sessions_with_a_deployed_client_both_stay() -> None:
    world = crossed(World(profile=Profile.DEPLOYED).meet())
    assert (world.alice.bodies, world.bob.bodies) == (["from bob"], ["from alice"])


# ---------------------------------------------------------------- comparisons, keys
def test_a_comparison_can_be_taken_back_for_this_session_and_those_that_follow() -> None:
    world = met()
    assert not world.alice.contact.unverify()
    assert world.alice.contact.verify()
    assert world.alice.contact.unverify()
    assert not world.alice.contact.view().verified
    world.alice.contact.end()
    world.run()
    world.alice.say("again")
    world.run()
    view = world.alice.contact.view()
    assert (view.verified, view.chain) == (False, "continued")


def test_a_key_is_remembered_and_another_one_is_warned_of() -> None:
    world = World(settings=replace(SETTINGS, terms=KEYED))
    again(world, bob=replace(KEYED, identity=identity(1)))
    first = world.alice.contact.view()
    assert (first.key, first.fingerprint) == ("new", identity(1).public.fingerprint().hex())
    again(world, bob=replace(KEYED, identity=identity(1)))
    assert world.alice.contact.view().key == "same"
    assert not world.alice.of(Warned)
    again(world, bob=replace(KEYED, identity=identity(2)))
    assert [h.reason for h in world.alice.of(Warned)] == ["changed"]
    again(world, bob=KEYED)
    assert [h.reason for h in world.alice.of(Warned)] == ["absent", "weaker"]


def test_a_compared_key_verifies_later_sessions_whose_chain_is_broken() -> None:
    world = World(settings=replace(SETTINGS, terms=KEYED))
    again(world, bob=replace(KEYED, identity=identity(1)))
    assert world.alice.contact.verify()
    world.bob.store.keep_retained(ALICE, msgspec.msgpack.encode(Retained()))
    again(world, bob=replace(KEYED, identity=identity(1)))
    view = world.alice.contact.view()
    assert (view.chain, view.key, view.verified) == ("broken", "validated", True)
    world.alice.contact.unverify()
    again(world, bob=replace(KEYED, identity=identity(1)))
    assert world.alice.contact.view().key == "same"


def test_a_session_that_lacks_what_earlier_ones_had_is_warned_of() -> None:
    world = met()
    again(world)
    assert not world.alice.of(Warned)
    again(world, bob=Terms(groups=(14,), kems=()))
    (warned,) = world.alice.of(Warned)
    assert (warned.reason, warned.view.weaker) == ("weaker", ("hybrid",))


def test_a_password_that_only_one_end_knows_makes_no_session() -> None:
    world = World().meet()
    secret = replace(SETTINGS.terms, password=b"correct horse")
    again(world, alice=secret)
    assert not world.alice.of(SessionStarted)
    assert world.alice.of(SessionRefused)
    again(world, alice=secret, bob=secret)
    assert world.alice.contact.view().password
    assert world.bob.bodies == ["again", "again"]


# ---------------------------------------------------------------- single messages
def single(world: World, by: Identity, text: str, message_id: str) -> None:
    """A message of Alice's that is sealed alone, to Bob."""
    terms = replace(KEYED, identity=by, own_keys=("key",), peer_keys=("key",), three_message=True, shield="initiator")
    thread = f"single-{message_id}"
    outcome = esession.initiate(thread, terms, world.alice.draw, once=text_content(text, message_id))
    state = outcome.conversation
    for _ in range(3):
        for reply in outcome.replies:
            world.bob.contact.received(
                Flying(world.alice.full, Stanza(world.bob.full, None, "x", thread, reply.payload)).element(),
                world.alice.full,
            )
        back, world.flying = [f for f in world.flying if f.stanza.thread == thread], []
        if not back or state is None:
            return
        outcome = esession.receive(
            state,
            back[0].element(),
            terms=terms,
            retained=Retained(),
            draw=world.alice.draw,
        )
        state = outcome.conversation


def test_a_message_sealed_alone_is_taken_once_from_a_known_key_where_it_is_allowed() -> None:
    terms = replace(KEYED, identity=identity(1), three_message=True)
    world = World(settings=replace(SETTINGS, terms=terms))
    world.bob.contact.online()
    single(world, identity(2), "once", "m1")
    single(world, identity(2), "once", "m1")
    assert world.bob.bodies == ["once"]
    single(world, identity(3), "posing", "m2")
    assert world.bob.bodies == ["once"]


def test_a_message_sealed_alone_is_not_taken_where_it_was_not_asked_for() -> None:
    world = World(settings=replace(SETTINGS, terms=replace(KEYED, identity=identity(1))))
    world.bob.contact.online()
    single(world, identity(2), "once", "m1")
    assert world.bob.bodies == []


# ---------------------------------------------------------------- repetitions on a slow way
def test_after_a_silence_only_what_is_oldest_is_repeated_and_the_rest_when_that_is_not_enough() -> None:
    world = met()
    for number in range(20):
        world.alice.say(f"a{number}")
    held = world.flying
    world.flying = []
    world.clock.now_s += 5.5
    world.alice.contact.tick()
    assert len(world.flying) == 1
    assert world.flying[0].stanza == held[0].stanza
    world.wait(3)
    assert world.bob.bodies == ["hello", *(f"a{n}" for n in range(20))]
    assert world.alice.sessions == 1


def test_a_slow_way_is_given_more_time_once_it_is_known() -> None:
    world = met()
    for round_ in range(3):
        world.alice.say(f"slow {round_}")
        held, world.flying = world.flying, []
        world.clock.now_s += 4.5
        for flying in held:
            world.deliver(flying)
        world.run()
    world.alice.say("slow too")
    held, world.flying = world.flying, []
    world.clock.now_s += 8
    world.alice.contact.tick()
    assert world.flying == []


def test_content_that_nobody_knows_is_left_alone() -> None:
    world = met()
    sealed_by_bob(world, b"<x xmlns='urn:unknown'/><sent xmlns='urn:xmpp:carbons:2'/>")
    assert world.alice.contact.view().state == "active"
    assert not world.alice.of(MessageReceived)
