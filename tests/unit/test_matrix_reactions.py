"""What Matrix has in clear only: reactions and redactions, both ways, and what may not come of them."""

import json
from typing import cast

import pytest

from adapters.matrix import names
from adapters.matrix.inside_peers import Pin
from adapters.matrix.inside_reactions import MOST_EMOJIS, MOST_TARGETS, Reactions, emoji_of
from bridge.wire.values import Address, Public
from crypto.content import Reaction, Reply
from crypto.message import Kind, Message
from tests.unit.matrix_world import ALICE, BOB, JSON, Machine, World
from tests.unit.test_matrix_content import chatting
from tests.unit.test_matrix_receiving import event, sealed_by, shown

UP, HEART, FLAG = "👍", "❤️", "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"


def reacting() -> tuple[World, Machine, Machine]:
    """A pair whose operators let reactions pass."""
    world, alice, bob = chatting()
    for machine in (alice, bob):
        machine.allows(reactions="yes")
    return world, alice, bob


def reaction(target: str, key: str, event_id: str = "$r1") -> JSON:
    """An `m.reaction` of Bob's."""
    relation = {"rel_type": "m.annotation", "event_id": target, "key": key}
    return event(BOB, {"m.relates_to": relation}, event_id, "m.reaction")


def redaction(target: str, event_id: str = "$d1", *, old: bool = False) -> JSON:
    """An `m.room.redaction` of Bob's, as since room version 11 or as before."""
    made = event(BOB, {} if old else {"redacts": target}, event_id, "m.room.redaction")
    return {**made, "redacts": target} if old else made


# ---------------------------------------------------------------- reactions to the room
def test_reactions_are_a_set_and_only_what_changed_is_sent() -> None:
    world, alice, bob = reacting()
    alice.hands_over(Message("a1", "", reaction=Reaction("$event1", (UP, HEART))))
    world.settle()
    assert [cast(Public, one.values["emoji"]).v.decode() for one in world.sent(ALICE, names.ROOM_REACT)] == [UP, HEART]
    assert [message.reaction for message in bob.delivered()] == [Reaction("b0", (UP,)), Reaction("b0", (UP, HEART))]
    alice.hands_over(Message("a2", "", reaction=Reaction("$event1", (HEART,))))
    world.settle()
    assert [message.reaction for message in bob.delivered()] == [Reaction("b0", (HEART,))]
    alice.hands_over(Message("a3", "", reaction=Reaction("$event1")))
    world.settle()
    assert [message.reaction for message in bob.delivered()] == [Reaction("b0", ())]
    assert alice.step.done == [("bob", "a1"), ("bob", "a2"), ("bob", "a3")]
    assert len(world.sent(ALICE, names.ROOM_REACT)) == 2
    assert len(world.sent(ALICE, names.ROOM_REDACT)) == 2


def test_a_reaction_that_is_there_already_is_delivered_at_once() -> None:
    world, alice, _ = reacting()
    for number in range(2):
        alice.hands_over(Message(f"a{number + 1}", "", reaction=Reaction("$event1", (UP,))))
        world.settle()
    assert alice.step.done == [("bob", "a1"), ("bob", "a2")]
    assert len(world.sent(ALICE, names.ROOM_REACT)) == 1


def test_a_reaction_is_taken_back_also_when_its_id_was_yet_to_come() -> None:
    world, alice, bob = reacting()
    world.held = {names.ROOM_REACT}
    alice.hands_over(Message("a1", "", reaction=Reaction("$event1", (UP,))))
    alice.hands_over(Message("a2", "", reaction=Reaction("$event1")))
    world.settle()
    assert world.sent(ALICE, names.ROOM_REDACT) == []
    world.held = set()
    world.settle()
    assert [message.reaction for message in bob.delivered()] == [Reaction("b0", (UP,)), Reaction("b0", ())]
    assert alice.step.done == [("bob", "a1"), ("bob", "a2")]


def test_without_the_switch_a_reaction_is_told_in_words_encrypted_and_as_an_answer() -> None:
    world, alice, bob = chatting()
    alice.hands_over(Message("a1", "", reaction=Reaction("$event1", (UP, HEART))))
    alice.hands_over(Message("a2", "", reaction=Reaction("$event1")))
    alice.hands_over(Message("a3", "", reaction=Reaction("gone", (UP,))))
    world.settle()
    assert world.sent(ALICE, names.ROOM_REACT) == world.sent(ALICE, names.ROOM_REDACT) == []
    messages = bob.delivered()
    assert [message.body for message in messages] == [
        f"reacted {UP} {HEART}",
        "took the reaction back",
        f"reacted {UP} (to an earlier message)",
    ]
    assert all(message.kind is Kind.NOTICE for message in messages)
    assert [message.reply.to if message.reply else "" for message in messages] == ["b0", "b0", ""]


@pytest.mark.parametrize("text", ["", "  ", "a\nb", "x" * 17, "\x00", "\u202e", "\u200b", "\ufe0f", "a\u2028", "ok"])
def test_what_is_no_short_visible_text_is_no_reaction(text: str) -> None:
    assert emoji_of(text) == ""


@pytest.mark.parametrize("text", [UP, HEART, FLAG, "👩‍👩‍👧", "1️⃣", "\u2139\ufe0f", "+1"])
def test_emoji_of_all_sorts_are_reactions(text: str) -> None:
    assert emoji_of(text) == text


def test_a_reaction_of_a_client_with_something_else_in_it_is_said_in_words() -> None:
    world, alice, bob = reacting()
    alice.hands_over(Message("a1", "", reaction=Reaction("$event1", ("the whole secret story", UP, "a\nb"))))
    world.settle()
    assert not world.sent(ALICE, names.ROOM_REACT)
    assert bob.texts()[-1] == f"reacted the whole secret story {UP} a b"


# ---------------------------------------------------------------- reactions from the room
def test_a_contacts_reaction_is_all_that_they_feel_about_a_message() -> None:
    world, alice, _ = reacting()
    shown(world, alice, reaction("$event0", UP, "$r1"))
    shown(world, alice, reaction("$event0", HEART, "$r2"))
    shown(world, alice, reaction("$event0", UP, "$r3"))  # twice the same is once
    assert [message.reaction for message in alice.delivered()] == [
        Reaction("a0", (UP,)),
        Reaction("a0", (UP, HEART)),
    ]
    shown(world, alice, redaction("$r1", "$d1"))
    assert alice.delivered() == []  # the other one is still there
    shown(world, alice, redaction("$r3", "$d2"))
    assert [message.reaction for message in alice.delivered()] == [Reaction("a0", (HEART,))]


def test_the_same_reaction_event_counts_once() -> None:
    world, alice, _ = reacting()
    for _ in range(3):
        shown(world, alice, reaction("$event0", UP))
    assert len(alice.delivered()) == 1


def test_without_the_switch_reactions_are_ignored_and_the_user_is_told_once() -> None:
    world, alice, _ = chatting()
    shown(world, alice, reaction("$event0", UP, "$r1"))
    shown(world, alice, reaction("$event0", HEART, "$r2"))
    assert alice.delivered() == []
    assert alice.step.notices == [("bob", names.TOLD_REACTIONS_IGNORED)]
    assert alice.step.codes().count(names.TOLD_REACTIONS_IGNORED) == 2


def test_an_encrypted_reaction_needs_no_switch() -> None:
    world, alice, bob = chatting()
    content = sealed_by(bob, ALICE, "m.reaction", {})
    content["m.relates_to"] = {"rel_type": "m.annotation", "event_id": "$event0", "key": UP}
    shown(world, alice, event(BOB, content, "$sealed"))
    assert [message.reaction for message in alice.delivered()] == [Reaction("a0", (UP,))]


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"m.relates_to": 7},
        {"m.relates_to": {"rel_type": "m.annotation", "event_id": "$event0"}},
        {"m.relates_to": {"rel_type": "m.annotation", "event_id": "event0", "key": UP}},
        {"m.relates_to": {"rel_type": "m.annotation", "event_id": "$event0", "key": "x" * 100}},
        {"m.relates_to": {"rel_type": "m.reference", "event_id": "$event0", "key": UP}},
        {"m.relates_to": {"rel_type": "m.annotation", "event_id": "$event0", "key": ["x"]}},
    ],
)
def test_a_malformed_reaction_is_refused(content: JSON) -> None:
    world, alice, _ = reacting()
    shown(world, alice, event(BOB, content, "$r", "m.reaction"))
    assert alice.delivered() == []
    assert alice.step.codes()[-1] == "event-malformed"


def test_reactions_and_redactions_of_strangers_and_of_a_changed_identity_are_nothing() -> None:
    world, alice, _ = reacting()
    shown(world, alice, {**reaction("$event0", UP), "sender": "@carol:two.example"})
    shown(world, alice, {**redaction("$event1"), "sender": "@carol:two.example"})
    alice.step.records.put(f"pin/{BOB}", Pin("x" * 43, other="y" * 43))
    shown(world, alice, reaction("$event0", UP))
    shown(world, alice, redaction("$event1"))
    assert alice.delivered() == []
    assert alice.step.codes().count(names.IDENTITY_CHANGED) == 2


def test_what_is_remembered_of_reactions_is_bounded() -> None:
    known = Reactions()
    for number in range(MOST_TARGETS + 5):
        known = known.put(f"${number}", ((UP, "$e"),))
    assert len(known.targets) == MOST_TARGETS
    assert known.to("$0") == ()
    world, alice, _ = reacting()
    for number in range(MOST_EMOJIS + 4):
        shown(world, alice, reaction("$event0", str(number), f"$r{number}"))
    assert [len(message.reaction.emojis) for message in alice.delivered() if message.reaction] == [
        *range(1, MOST_EMOJIS + 1)
    ]


# ---------------------------------------------------------------- retractions
def test_the_user_takes_a_message_back_with_all_its_wordings() -> None:
    world, alice, bob = chatting()
    alice.hands_over(Message("a1", "second", replaces="a0"))
    world.settle()
    bob.delivered()
    alice.hands_over(Message("a2", "", retracts="a0"))
    world.settle()
    redacted = [cast(Address, one.values["event"]).v for one in world.sent(ALICE, names.ROOM_REDACT)]
    assert redacted == ["$event0", "$event2"]
    assert [message.retracts for message in bob.delivered()] == ["$event0"]
    assert alice.step.done[-1] == ("bob", "a2")
    assert all(set(one.values) == {"room", "event"} for one in world.sent(ALICE, names.ROOM_REDACT))


@pytest.mark.parametrize(
    ("target", "policy", "words"),
    [
        ("gone", "yes", "took back an earlier message, which cannot be removed here"),
        ("$event1", "yes", "took back an earlier message, which cannot be removed here"),
        ("a0", "no", "took back this message"),
    ],
)
def test_what_cannot_be_taken_back_is_told_in_words(target: str, policy: str, words: str) -> None:
    world, alice, bob = chatting()
    alice.allows(retractions=policy)
    alice.hands_over(Message("a1", "", retracts=target))
    world.settle()
    assert world.sent(ALICE, names.ROOM_REDACT) == []
    assert [(message.body, message.retracts) for message in bob.delivered()] == [(words, None)]


@pytest.mark.parametrize("old", [True, False])
def test_the_contact_takes_a_message_back(old: bool) -> None:
    world, alice, _ = chatting()
    shown(world, alice, redaction("$event1", old=old))
    shown(world, alice, redaction("$event1", old=old))
    (message,) = alice.delivered()
    assert (message.id, message.retracts, message.body) == ("$d1", "$event1", "")


def test_a_redaction_never_takes_away_what_the_user_wrote() -> None:
    world, alice, _ = chatting()
    shown(world, alice, redaction("$event0", "$d1"))
    assert alice.delivered() == []
    assert alice.step.notices == [("bob", names.TOLD_OWN_REMOVED)]


WORDS = "[took this new wording back; what was said before it holds again]"


def test_a_redaction_of_a_new_wording_is_told_in_words_and_does_not_take_the_message_away() -> None:
    world, alice, bob = chatting()
    for number in range(2):  # each time: also the second one leaves another text standing than the user sees
        bob.hands_over(Message(f"b{number + 1}", "again", replaces="b0"))
        world.settle()
        (edit,) = alice.delivered()
        shown(world, alice, redaction(edit.id, f"$d{number}"))
        (told,) = alice.delivered()
        assert (told.body, told.kind, told.retracts) == (WORDS, Kind.NOTICE, None)
        assert told.reply == Reply("$event1", by_user=False)


def test_of_a_new_wording_that_is_not_the_last_the_redaction_changes_nothing() -> None:
    world, alice, bob = chatting()
    for text in ("second", "third"):
        bob.hands_over(Message(text, text, replaces="b0"))
        world.settle()
    second, third = alice.delivered()
    shown(world, alice, redaction(second.id, "$d1"))
    assert alice.delivered() == []
    assert "edit-removed" in alice.step.codes()
    shown(world, alice, redaction(third.id, "$d2"))
    assert [message.body for message in alice.delivered()] == [WORDS]


def test_a_wording_that_was_taken_back_supersedes_no_other_that_comes_late() -> None:
    world, alice, bob = chatting()
    world.events_held = True
    for text in ("second", "third"):
        bob.hands_over(Message(text, text, replaces="b0"))
        world.settle()
    second, third = world.timeline[-2:]
    shown(world, alice, third)
    shown(world, alice, redaction(third["event_id"]))
    shown(world, alice, second)
    assert [message.body for message in alice.delivered()] == ["third", WORDS, "second"]


def test_a_message_that_is_taken_back_before_it_could_be_sent_never_goes_out() -> None:
    """Nor its new wordings: what waits for days for a contact to join need not become public first."""
    world, alice, bob = chatting()
    alice.arrives(names.ROOM, {**world.room_state(BOB), "members": {ALICE: "join", BOB: "invite"}})
    alice.hands_over(Message("a1", "regretted"))
    alice.hands_over(Message("a2", "kept"))
    alice.hands_over(Message("a3", "regretted too", replaces="a1"))
    alice.hands_over(Message("a5", "", reaction=Reaction("a1", (UP,))))
    alice.hands_over(Message("a6", "as I said", reply=Reply("a1", "regretted", by_user=True)))
    alice.hands_over(Message("a4", "", retracts="a1"))
    assert alice.step.done == [("bob", "a1"), ("bob", "a3"), ("bob", "a5"), ("bob", "a4")]
    world.tell_room()
    world.settle()
    alice.step.now += 5_000
    alice.wakes("line")
    world.settle()
    assert bob.texts() == ["kept", "as I said"]
    assert alice.step.done[-2:] == [("bob", "a2"), ("bob", "a6")]
    assert world.sent(ALICE, names.ROOM_REDACT) == []
    assert alice.step.failures == []


def test_when_all_that_waits_is_taken_back_nothing_waits() -> None:
    world, alice, _ = chatting()
    alice.arrives(names.ROOM, {**world.room_state(BOB), "members": {ALICE: "join", BOB: "invite"}})
    alice.hands_over(Message("a1", "regretted"))
    alice.hands_over(Message("a2", "", retracts="a1"))
    assert not [name for name in alice.step.records.held if name.startswith(("line/", "queue/"))]
    alice.step.now += 60_000
    alice.wakes("notices")
    assert alice.step.notices == []


def test_of_a_message_that_is_taken_back_the_new_wordings_that_wait_do_not_go_out_either() -> None:
    world, alice, bob = chatting()
    alice.arrives(names.ROOM, {**world.room_state(BOB), "members": {ALICE: "join", BOB: "invite"}})
    alice.hands_over(Message("a1", "regretted", replaces="a0"))
    alice.hands_over(Message("a2", "", retracts="a0"))
    assert alice.step.done == [("bob", "a1")]
    world.tell_room()
    alice.step.now += 5_000
    alice.wakes("line")
    world.settle()
    assert [message.retracts for message in bob.delivered()] == ["$event0"]
    assert alice.step.done == [("bob", "a1"), ("bob", "a2")]


def test_what_waits_is_sent_where_nothing_may_be_taken_back() -> None:
    world, alice, bob = chatting()
    alice.allows(retractions="no")
    alice.arrives(names.ROOM, {**world.room_state(BOB), "members": {ALICE: "join", BOB: "invite"}})
    alice.hands_over(Message("a1", "said"))
    alice.hands_over(Message("a2", "", retracts="a1"))
    world.tell_room()
    alice.step.now += 5_000
    alice.wakes("line")
    world.settle()
    assert bob.texts() == ["said", "took back this message"]


def test_without_the_switch_retractions_are_ignored_and_the_user_is_told_once() -> None:
    world, alice, _ = chatting()
    alice.allows(retractions="no")
    shown(world, alice, redaction("$event1", "$d1"))
    shown(world, alice, redaction("$event1", "$d2"))
    assert alice.delivered() == []
    assert alice.step.notices == [("bob", names.TOLD_RETRACTIONS_IGNORED)]


def test_what_waits_for_its_key_and_is_taken_back_is_never_shown() -> None:
    world, alice, bob = chatting()
    world.to_device_held = True
    bob.starts(resumed=False)  # a new session, whose key does not come
    bob.sends("regretted", "b1")
    bob.sends("kept", "b2")
    world.settle()
    assert len(list(alice.step.records.names("parked/"))) == 2
    shown(world, alice, redaction("$event2"))
    world.to_device_held = False
    world.flush_to_device()
    world.settle()
    assert [message.body for message in alice.delivered() if not message.retracts] == ["kept"]


@pytest.mark.parametrize("content", [{}, {"redacts": 7}, {"redacts": "x"}, {"redacts": "$a b"}])
def test_a_malformed_redaction_is_refused(content: JSON) -> None:
    world, alice, _ = chatting()
    shown(world, alice, event(BOB, content, "$d", "m.room.redaction"))
    assert alice.delivered() == []
    assert alice.step.codes()[-1] == "event-malformed"


def test_no_request_in_clear_holds_more_than_ids_and_an_emoji() -> None:
    world, alice, _ = reacting()
    alice.hands_over(Message("a1", "SECRET", reaction=Reaction("$event1", (UP,))))
    alice.hands_over(Message("a2", "SECRET", retracts="a0"))
    world.settle()
    for request in (names.ROOM_REACT, names.ROOM_REDACT):
        (carried,) = world.sent(ALICE, request)
        assert "SECRET" not in json.dumps({name: str(value) for name, value in carried.values.items()})
