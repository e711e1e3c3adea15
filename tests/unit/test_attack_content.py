"""Attacks by whoever owns the gateway process, and so both servers: what users are shown, and what is said in clear."""

import time
from typing import Any, cast

import pytest

from adapters.matrix import names
from adapters.xmpp.inside_markup import written_text
from bridge.wire.values import Public
from crypto.content import Mark, Reaction, Style
from crypto.message import Message
from tests.unit.matrix_world import BOB, Machine, World, pair


def acquainted() -> tuple[World, Machine, Machine]:
    """Alice wrote to Bob, who reads it; reactions may pass in clear."""
    world, alice, bob = pair()
    alice.allows(reactions="yes")
    alice.sends("hello", "mine")
    world.settle()
    return world, alice, bob


# ---------------------------------------------------------------- reactions are in clear, in Matrix
WORDS = ["pay me 100 euros", "LOL", "ja", "да", "9999", "１２"]


def made_up(world: World, alice: Machine, key: str) -> list[Message]:
    """The server makes up a reaction of Bob's."""
    relation = {"rel_type": "m.annotation", "event_id": world.timeline[0]["event_id"], "key": key}
    event: dict[str, Any] = {"type": "m.reaction", "sender": BOB, "event_id": "$made"}
    event["content"] = {"m.relates_to": relation}
    alice.arrives(names.EVENT, {"room_id": world.room_id, "event": event})
    return alice.delivered()


@pytest.mark.parametrize("text", WORDS)
def test_a_server_can_say_no_words_in_the_contacts_name_by_making_up_reactions(text: str) -> None:
    world, alice, _ = acquainted()
    assert made_up(world, alice, text) == []
    assert alice.step.traces[-1][1] == "refused"


@pytest.mark.parametrize("emoji", ["👍", "❤️", "1️⃣", "👩‍👩‍👧", "🇨🇭", "+1", "?!"])
def test_what_people_react_with_passes(emoji: str) -> None:
    world, alice, bob = acquainted()
    (message,) = made_up(world, alice, emoji)
    assert message.reaction == Reaction("mine", (emoji,))
    alice.hands_over(Message("r", "", reaction=Reaction(str(world.timeline[0]["event_id"]), (emoji,))))
    world.settle()
    (sent,) = world.sent("@alice:one.example", names.ROOM_REACT)
    assert cast(Public, sent.values["emoji"]).v.decode() == emoji
    del bob


@pytest.mark.parametrize("text", [*WORDS, "supercalifragilistic"])
def test_words_that_the_user_reacts_with_are_not_said_in_clear_and_not_lost(text: str) -> None:
    world, alice, bob = acquainted()
    alice.hands_over(Message("r", "", reaction=Reaction(str(world.timeline[0]["event_id"]), ("👍", text))))
    world.settle()
    assert not world.sent("@alice:one.example", names.ROOM_REACT)
    assert bob.texts()[-1] == f"reacted 👍 {text}"
    assert alice.step.done[-1] == ("bob", "r")


# ---------------------------------------------------------------- work
@pytest.mark.parametrize(("lines", "marks"), [(64_000, 6), (4_000, 100), (3_999, 50), (800, 500), (400, 500)])
@pytest.mark.parametrize("style", [Style.STRONG, Style.QUOTE, Style.CODE_BLOCK])
def test_formatting_within_formatting_over_many_lines_takes_no_seconds(lines: int, marks: int, style: Style) -> None:
    """One contact's message must not stop everybody's: the enclave does one thing at a time."""
    text = "\n".join("ab cd"[: 64_000 // lines - 1] for _ in range(lines))
    over = [Mark(number, len(text) - number, style) for number in range(marks)]
    began = time.process_time()
    written_text(text, over)
    assert time.process_time() - began < 2.5
