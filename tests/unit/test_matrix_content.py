"""Content between two gateways and from crafted events: formatted text, new wordings, answers, places, polls."""

import json
from typing import Any, cast

import msgspec
import pytest

from adapters.matrix import inside_known, inside_origin, names
from adapters.matrix.inside_content import HTML, queued_of
from adapters.matrix.inside_known import CHUNK, CHUNKS
from adapters.matrix.inside_state import Line, Queued, Sent
from bridge.wire.values import Sealed
from crypto.content import Mark, Reply, Style
from crypto.enclave.statecodec import decoded, encoded
from crypto.message import Kind, Message
from crypto.olm.group import RoomEvent
from tests.unit.matrix_world import ALICE, BOB, JSON, Machine, World, pair
from tests.unit.test_matrix_receiving import event, sealed_by, shown, talking


def chatting() -> tuple[World, Machine, Machine]:
    """A pair after Alice's message `a0` (`$event0`) and Bob's `b0` (`$event1`)."""
    world, alice, bob = pair()
    alice.sends("from alice", "a0")
    world.settle()
    bob.sends("from bob", "b0")
    world.settle()
    assert [message.id for message in (*alice.delivered(), *bob.delivered())] == ["$event1", "$event0"]
    alice.step.done.clear()
    return world, alice, bob


def clear_part(world: World) -> JSON:
    """The content of the newest event, as homeservers see it."""
    return cast(JSON, world.timeline[-1]["content"])


def arrives(
    pairing: tuple[World, Machine, Machine], content: JSON, relation: object = None, kind: str = "m.room.message"
) -> list[Message]:
    """What comes of an event that Bob's device encrypts, with that relation beside the ciphertext."""
    world, alice, bob = pairing
    sealed = sealed_by(bob, ALICE, kind, content)
    if relation is not None:
        sealed["m.relates_to"] = relation
    made = event(BOB, sealed, f"$made{alice.step.position}")
    shown(world, alice, made)
    return alice.delivered()


def text(body: str, **more: Any) -> JSON:
    """Content of a text."""
    return {"msgtype": "m.text", "body": body, **more}


# ---------------------------------------------------------------- kinds of text
@pytest.mark.parametrize("kind", list(Kind))
def test_texts_notices_and_emotes_keep_their_kind_both_ways(kind: Kind) -> None:
    world, alice, bob = chatting()
    alice.hands_over(Message("a1", "hm", kind))
    world.settle()
    assert [(message.body, message.kind) for message in bob.delivered()] == [("hm", kind)]


def test_marks_pass_as_formatted_body_and_come_out_as_marks() -> None:
    world, alice, bob = chatting()
    body = "bold link\nquoted <i>\none\nx = 1"
    marks = (
        Mark(0, 4, Style.STRONG),
        Mark(5, 9, Style.LINK, "https://x.example/"),
        Mark(10, 20, Style.QUOTE),
        Mark(21, 24, Style.ITEM),
        Mark(25, 30, Style.CODE_BLOCK),
    )
    alice.hands_over(Message("a1", body, marks=marks))
    world.settle()
    (message,) = bob.delivered()
    assert message.body == body
    assert message.marks == marks


def test_a_formatted_body_is_read_and_one_of_another_format_is_not() -> None:
    world, alice, bob = talking()
    alice.delivered()
    (message,) = arrives((world, alice, bob), text("**b** x", format=HTML, formatted_body="<b>b</b> x"))
    assert (message.body, message.marks) == ("b x", (Mark(0, 1, Style.STRONG),))
    (message,) = arrives((world, alice, bob), text("plain", format="x.other", formatted_body="<b>no</b>"))
    assert (message.body, message.marks) == ("plain", ())
    (message,) = arrives((world, alice, bob), text("plain", format=HTML, formatted_body="<script>x</script>"))
    assert (message.body, message.marks) == ("plain", ())


def test_a_message_in_the_clear_is_refused() -> None:
    world, alice, _ = talking()
    alice.delivered()
    shown(world, alice, event(BOB, text("plain"), "$plain", "m.room.message"))
    assert alice.delivered() == []
    assert "event-not-encrypted" in alice.step.codes()


def test_a_text_that_is_too_long_for_both_is_sent_plain() -> None:
    world, alice, bob = chatting()
    body = "x" * 30_000
    alice.hands_over(Message("a1", body, marks=(Mark(0, 3, Style.STRONG),)))
    world.settle()
    assert [(message.body, message.marks) for message in bob.delivered()] == [(body, ())]


# ---------------------------------------------------------------- new wordings
def test_a_new_wording_names_the_first_one_in_clear_and_is_encrypted() -> None:
    world, alice, bob = chatting()
    alice.hands_over(Message("a1", "second", replaces="a0"))
    world.settle()
    assert clear_part(world)["m.relates_to"] == {"rel_type": "m.replace", "event_id": "$event0"}
    assert "m.new_content" not in clear_part(world)
    (message,) = bob.delivered()
    assert (message.id, message.body, message.replaces) == ("$event2", "second", "$event0")
    alice.hands_over(Message("a2", "third", replaces="a1"))  # of a new wording: still of the first
    world.settle()
    assert clear_part(world)["m.relates_to"]["event_id"] == "$event0"
    assert alice.step.done == [("bob", "a1"), ("bob", "a2")]


def test_a_new_wording_waits_for_the_event_it_is_of_and_what_follows_waits_behind_it() -> None:
    world, alice, bob = chatting()
    world.held = {names.ROOM_SEND}
    alice.sends("first", "a1")
    alice.hands_over(Message("a2", "better", replaces="a1"))
    alice.sends("last", "a3")
    world.settle()
    assert len(world.waiting) == 1
    world.held = set()
    world.settle()
    messages = bob.delivered()
    assert [message.body for message in messages] == ["first", "better", "last"]
    assert messages[1].replaces == messages[0].id
    assert not list(alice.step.records.names("queue/"))


def test_a_new_wording_of_what_failed_or_was_forgotten_is_a_message() -> None:
    world, alice, bob = chatting()
    world.held = {names.ROOM_SEND}
    alice.sends("first", "a1")
    alice.hands_over(Message("a2", "better", replaces="a1"))
    world.settle()
    world.held, world.failing = set(), {names.ROOM_SEND: "too-large"}
    ((machine, carried),) = world.waiting
    world.waiting = []
    world.carry_out(machine, carried)
    world.failing = {}
    world.settle()
    assert [(message.body, message.replaces) for message in bob.delivered()] == [("* better", None)]


def test_a_long_new_wording_is_not_sent_twice_over() -> None:
    world, alice, bob = chatting()
    alice.hands_over(Message("a1", "x" * 40_000, replaces="a0"))
    world.settle()
    assert [len(message.body) for message in bob.delivered()] == [40_000]


@pytest.mark.parametrize("target", ["$event0", "nothing", 7, None])
def test_a_new_wording_of_the_users_own_message_is_none(target: object) -> None:
    world, alice, bob = chatting()
    relation = {"rel_type": "m.replace", "event_id": target}
    (message,) = arrives((world, alice, bob), text("* forged", **{"m.new_content": text("forged")}), relation)
    assert (message.body, message.replaces) == ("* forged", None)


def test_whoever_adds_a_relation_on_the_way_does_not_take_the_text_away() -> None:
    world, alice, bob = chatting()
    relation = {"rel_type": "m.replace", "event_id": "$event1"}
    (message,) = arrives((world, alice, bob), text("no new wording"), relation)
    assert (message.body, message.replaces) == ("no new wording", None)


def test_a_replacement_named_inside_the_ciphertext_is_none() -> None:
    world, alice, bob = chatting()
    relation = {"rel_type": "m.replace", "event_id": "$event1"}
    content = text("* x", **{"m.new_content": text("x"), "m.relates_to": relation})
    (message,) = arrives((world, alice, bob), content)
    assert (message.body, message.replaces) == ("* x", None)


def test_formatting_and_kind_of_a_new_wording_are_its_own() -> None:
    world, alice, bob = chatting()
    new = {"msgtype": "m.emote", "body": "b", "format": HTML, "formatted_body": "<b>b</b>"}
    relation = {"rel_type": "m.replace", "event_id": "$event1"}
    (message,) = arrives((world, alice, bob), text("* b", **{"m.new_content": new}), relation)
    assert (message.kind, message.marks) == (Kind.EMOTE, (Mark(0, 1, Style.STRONG),))
    assert message.replaces == "$event1"


def test_a_wording_that_comes_late_does_not_replace_a_newer_one() -> None:
    world, alice, bob = chatting()
    relation = {"rel_type": "m.replace", "event_id": "$event1"}
    made = []
    for number in range(3):
        content = text(f"* {number}", **{"m.new_content": text(str(number))})
        sealed = {**sealed_by(bob, ALICE, "m.room.message", content), "m.relates_to": relation}
        made.append({**event(BOB, sealed, f"$edit{number}"), "origin_server_ts": 1000 + number})
    for number in (1, 0, 2):
        shown(world, alice, made[number])
    assert [message.body for message in alice.delivered()] == ["1", "2"]
    assert "edit-superseded" in alice.step.codes()


# ---------------------------------------------------------------- answers
def test_answers_name_the_message_they_answer_both_ways() -> None:
    world, alice, bob = chatting()
    bob.hands_over(Message("b1", "yes", reply=Reply("$event0")))
    world.settle()
    (message,) = alice.delivered()
    assert message.body == "yes"
    assert message.reply == Reply("a0", by_user=True)
    alice.hands_over(Message("a1", "and yes", reply=Reply("$event1")))
    world.settle()
    assert clear_part(world)["m.relates_to"] == {"m.in_reply_to": {"event_id": "$event1"}}
    (message,) = bob.delivered()
    assert message.reply == Reply("b0", by_user=True)


def test_the_quotation_of_older_clients_is_not_shown_twice() -> None:
    world, alice, bob = chatting()
    relation = {"m.in_reply_to": {"event_id": "$event0"}}
    (message,) = arrives((world, alice, bob), text("> <@me:x> from\n> alice\n\nyes"), relation)
    assert message.body == "yes"
    assert message.reply == Reply("a0", "from\nalice", by_user=True)
    (message,) = arrives((world, alice, bob), text("> not a fallback\n\nyes"))
    assert (message.body, message.reply) == ("> not a fallback\n\nyes", None)


def test_an_answer_to_what_is_not_known_quotes_it_in_words() -> None:
    world, alice, bob = chatting()
    alice.hands_over(Message("a1", "yes", reply=Reply("long-gone", "was it\nso?")))
    world.settle()
    (message,) = bob.delivered()
    assert (message.body, message.reply) == ("> was it\n> so?\n\nyes", None)


def test_threads_are_answers_and_answers_to_them_stay_in_the_thread() -> None:
    world, alice, bob = chatting()
    relation = {"rel_type": "m.thread", "event_id": "$event0", "is_falling_back": True}
    relation["m.in_reply_to"] = {"event_id": "$event1"}
    (message,) = arrives((world, alice, bob), text("in thread"), relation)
    assert message.reply == Reply("a0", by_user=True)
    (other,) = arrives((world, alice, bob), text("a real answer"), {**relation, "is_falling_back": False})
    assert other.reply == Reply("$event1")
    alice.hands_over(Message("a1", "me too", reply=Reply(message.id)))
    world.settle()
    assert clear_part(world)["m.relates_to"] == {
        "rel_type": "m.thread",
        "event_id": "$event0",
        "m.in_reply_to": {"event_id": message.id},
        "is_falling_back": False,
    }


# ---------------------------------------------------------------- other kinds
def test_places_pass_both_ways() -> None:
    world, alice, bob = chatting()
    alice.hands_over(Message("a1", "here", place="geo:50.1,-4.2;u=35"))
    world.settle()
    (message,) = bob.delivered()
    assert (message.body, message.place) == ("here", "geo:50.1,-4.2;u=35")
    content = {"msgtype": "m.location", "body": "there", "geo_uri": "https://evil.example"}
    (message,) = arrives((world, alice, bob), content)
    assert (message.body, message.place) == ("[location: there]", "")


STABLE = (
    {
        "m.text": [{"body": "Lunch?"}],
        "m.poll": {
            "kind": "m.disclosed",
            "question": {"m.text": [{"body": "Lunch?"}]},
            "answers": [{"m.id": "p", "m.text": [{"body": "Pizza"}]}, {"m.id": "s", "m.text": [{"body": "Soup"}]}],
        },
    },
    {"m.selections": ["s"]},
    {"m.text": [{"body": "Soup won."}], "m.poll.results": {"s": 2}},
)
UNSTABLE = (
    {
        "org.matrix.msc1767.text": "Lunch?",
        "org.matrix.msc3381.poll.start": {
            "kind": "org.matrix.msc3381.poll.disclosed",
            "question": {"org.matrix.msc1767.text": "Lunch?"},
            "answers": [
                {"id": "p", "org.matrix.msc1767.text": "Pizza"},
                {"id": "s", "org.matrix.msc1767.text": "Soup"},
            ],
        },
    },
    {"org.matrix.msc3381.poll.response": {"answers": ["s"]}},
    {"org.matrix.msc1767.text": "Soup won.", "org.matrix.msc3381.poll.end": {}},
)


@pytest.mark.parametrize(("prefix", "contents"), [("m.poll.", STABLE), ("org.matrix.msc3381.poll.", UNSTABLE)])
def test_polls_votes_and_their_end_are_told_in_words(prefix: str, contents: tuple[JSON, JSON, JSON]) -> None:
    world, alice, bob = chatting()
    (poll,) = arrives((world, alice, bob), contents[0], kind=f"{prefix}start")
    assert poll.body == "Poll: Lunch?\nPizza\nSoup"
    assert poll.marks == (Mark(13, 18, Style.ITEM, "1"), Mark(19, 23, Style.ITEM, "2"))
    relation = {"rel_type": "m.reference", "event_id": poll.id}
    (vote,) = arrives((world, alice, bob), contents[1], relation, f"{prefix}response")
    assert (vote.body, vote.reply) == ("Voted: Soup", Reply(poll.id, by_user=False))
    (end,) = arrives((world, alice, bob), contents[2], relation, f"{prefix}end")
    assert end.body == "The poll “Lunch?” has ended. Soup won."


@pytest.mark.parametrize(
    ("kind", "content", "body"),
    [
        ("m.room.message", {"msgtype": "x.odd", "body": "b"}, "[message of an unknown kind: b]"),
        ("org.example.kind", {"body": "b\nc"}, "[message of an unknown kind: b c]"),
        ("org.example.kind", {"m.text": [{"body": "b"}]}, "[message of an unknown kind: b]"),
        ("m.call.invite", {"call_id": "x"}, "[call]"),
        ("m.sticker", {"body": "cat", "url": "mxc://x/y"}, "[sticker, sent unencrypted, not fetched: cat]"),
    ],
)
def test_kinds_that_have_no_counterpart_are_told_in_words(kind: str, content: JSON, body: str) -> None:
    world, alice, bob = chatting()
    assert [message.body for message in arrives((world, alice, bob), content, kind=kind)] == [body]


def test_of_a_kind_without_words_the_user_is_told_once() -> None:
    world, alice, bob = chatting()
    for _ in range(3):
        assert arrives((world, alice, bob), {"x": 1}, kind="org.example.kind") == []
    assert alice.step.notices == [("bob", names.TOLD_UNSUPPORTED)]


def test_what_was_taken_back_before_it_came_is_counted_and_nothing_else() -> None:
    world, alice, _ = chatting()
    shown(world, alice, event(BOB, {}, "$redacted"))
    assert alice.step.codes()[-1] == "event-redacted"


# ---------------------------------------------------------------- what is remembered
def test_the_map_of_events_is_bounded_and_an_ordinary_message_rewrites_a_small_record() -> None:
    _, alice, _ = chatting()
    contact = alice.step.account.contacts[0]
    most = 0
    for number in range(CHUNK * (CHUNKS + 3)):
        event_id = f"${number:043d}"
        inside_known.note(alice.step, contact, "!r:x", (f"{number:036d}", event_id, ""))
        head = alice.step.records.get(f"known/{BOB}", inside_known.Known)
        most = max(most, len(encoded(head, b"")))
    assert most < 900
    assert len(list(alice.step.records.names("known-before/"))) <= CHUNKS
    newest = CHUNK * (CHUNKS + 3) - 1
    assert inside_known.event_of(alice.step, contact, "!r:x", f"{newest:036d}") == f"${newest:043d}"
    assert inside_known.message_of(alice.step, contact, f"${newest - 1000:043d}") == f"{newest - 1000:036d}"
    assert inside_known.message_of(alice.step, contact, f"${0:043d}") is None
    assert inside_known.event_of(alice.step, contact, "!other:x", f"{newest:036d}") == ""


def test_whatever_waits_survives_a_restart_and_records_of_before_are_read() -> None:
    message = Message(
        "a", "b", marks=(Mark(0, 1, Style.LINK, "x"),), reply=Reply("c", "d", by_user=True), place="geo:1,2"
    )
    queued = queued_of(message)
    assert decoded(encoded(queued, b""), Queued, b"") == queued
    old = msgspec.msgpack.encode({"message_id": "m", "kind": "text", "position": 4, "notice": False, "body": "b"})
    assert decoded(old, Queued, b"") == Queued("m", Kind.TEXT, 4, False, "b")
    old = msgspec.msgpack.encode({"contact": "c", "message_id": "m", "notice": False, "position": 4})
    assert decoded(old, Sent, b"") == Sent("c", "m", False, 4)
    old = msgspec.msgpack.encode({"first": 1, "next": 2, "contact": "c"})
    assert decoded(old, Line, b"") == Line(1, 2, "c")


def test_a_rich_message_that_waited_for_keys_arrives_whole() -> None:
    world, alice, bob = pair()
    world.held = {names.KEYS_CLAIM}
    alice.hands_over(Message("a0", "bold", marks=(Mark(0, 4, Style.STRONG),)))
    alice.hands_over(Message("a1", "bolder", marks=(Mark(0, 6, Style.STRONG),), replaces="a0"))
    world.settle()
    alice.starts(resumed=False)
    world.held = set()
    world.settle()
    first, second = bob.delivered()
    assert first.marks == (Mark(0, 4, Style.STRONG),)
    assert (second.body, second.replaces, second.marks) == ("bolder", first.id, (Mark(0, 6, Style.STRONG),))


def test_a_lie_about_the_id_of_an_event_is_counted() -> None:
    world, alice, _ = chatting()
    world.held = {names.ROOM_SEND}
    alice.sends("x", "a1")
    world.settle()
    ((machine, carried),) = world.waiting
    machine.answered(carried, {"event_id": "no event id"})
    assert "event-id-missing" in alice.step.codes()
    assert alice.step.done == [("bob", "a1")]


def test_nothing_of_a_text_stands_outside_the_ciphertext() -> None:
    world, alice, _ = chatting()
    for message in (
        Message("a1", "SECRET", marks=(Mark(0, 6, Style.LINK, "https://SECRET"),)),
        Message("a2", "SECRET", replaces="a0"),
        Message("a3", "SECRET", reply=Reply("$event1", "SECRET")),
        Message("a4", "SECRET", reply=Reply("gone", "SECRET")),
        Message("a5", "SECRET", place="geo:1,2"),
    ):
        alice.hands_over(message)
        world.settle()
        (carried,) = world.sent(ALICE, names.ROOM_SEND)[-1:]
        content = json.loads(cast(Sealed, carried.values["content"]).v)
        content.pop("ciphertext")
        assert "SECRET" not in json.dumps(content)
        assert "geo:" not in json.dumps(content)


def test_what_nobody_can_prove_is_marked_in_place_and_is_no_new_wording() -> None:
    message = Message("$e", "bold", marks=(Mark(0, 4, Style.STRONG),), replaces="$event1")
    shown_as = inside_origin.marked(message, RoomEvent(0, "m.room.message", b"{}", proved=False))
    (mark,) = shown_as.marks
    assert shown_as.body[mark.start : mark.end] == "bold"
    assert shown_as.replaces is None
