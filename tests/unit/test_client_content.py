"""What messages of the client say beside their text: corrections, answers, reactions, retractions, what was read."""

import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from client import front_json
from client.content import NOTHING, Said, correction, reactions, read_said, reply, retraction
from client.events import ContactRead, MessageReceived, Reacted, Retracted
from client.recent import Recent, first_line, told
from client.store import KeptMessage, SqliteStore
from crypto.xml import parse_content
from tests.unit.client_world import BOB, World


def met() -> World:
    """Alice and Bob in a session."""
    world = World().meet()
    world.alice.say("hello", "m1")
    world.run()
    return world


def test_a_correction_an_answer_a_reaction_and_a_retraction_arrive_as_what_they_are() -> None:
    world = met()
    for n, saying in enumerate(
        (
            correction("m1", "hello!"),
            reply("b7", BOB, "fine", "how are\nyou?"),
            reactions("b7", ("👍", "🎉", "👍")),
            retraction("m1"),
        )
    ):
        world.alice.contact.queue(KeptMessage(f"n{n}", saying.body, saying.more))
        world.run()
    _, corrected, answer = world.bob.of(MessageReceived)
    assert (corrected.body, corrected.said.replaces) == ("hello!", "m1")
    assert (answer.body, answer.said.reply_to, answer.said.quoted) == ("fine", "b7", "> how are\n> you?\n")
    (reacted,) = world.bob.of(Reacted)
    assert (reacted.to, reacted.emojis) == ("b7", ("👍", "🎉"))
    (retracted,) = world.bob.of(Retracted)
    assert retracted.to == "m1"
    assert world.alice.contact.waiting == 0


def test_what_was_read_is_told_encrypted() -> None:
    world = met()
    (heard,) = world.bob.of(MessageReceived)
    assert heard.said.markable
    assert world.bob.contact.displayed(heard.id)
    world.run()
    (read,) = world.alice.of(ContactRead)
    assert read.up_to == "m1"


def test_what_waits_keeps_what_stands_beside_it_over_a_restart(tmp_path: Path) -> None:
    saying = correction("m1", "hello!")
    first = SqliteStore(tmp_path / "store")
    first.queue(BOB, KeptMessage("m2", saying.body, saying.more))
    first.close()
    assert SqliteStore(tmp_path / "store").waiting(BOB) == [KeptMessage("m2", "hello!", saying.more)]


def test_the_store_of_an_older_version_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "store"
    SqliteStore(path).close()
    database = sqlite3.connect(path)
    database.executescript(
        "DROP TABLE outgoing; CREATE TABLE outgoing (n INTEGER PRIMARY KEY AUTOINCREMENT, jid TEXT NOT NULL, "
        "id TEXT NOT NULL, body TEXT NOT NULL, UNIQUE (jid, id));"
        f"INSERT INTO outgoing (jid, id, body) VALUES ('{BOB}', 'm1', 'kept');"
    )
    database.close()
    assert SqliteStore(path).waiting(BOB) == [KeptMessage("m1", "kept")]


@pytest.mark.parametrize(
    "xml",
    [
        "<reply xmlns='urn:xmpp:reply:0'/>",
        "<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reply:0'><body start='5' end='2'/></fallback>",
        "<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reply:0'><body start='0' end='99'/></fallback>",
        f"<replace xmlns='urn:xmpp:message-correct:0' id='{'x' * 300}'/>",
        "<displayed xmlns='urn:xmpp:chat-markers:0'/>",
        "<geoloc xmlns='http://jabber.org/protocol/geoloc'><lat>1</lat></geoloc>",
    ],
)
def test_elements_without_what_they_need_say_nothing(xml: str) -> None:
    assert read_said("text", parse_content(xml.encode())) == ("text", NOTHING)


def test_reactions_that_are_none_are_refused() -> None:
    for wrong in (("",), ("x" * 40,), tuple(map(str, range(30)))):
        with pytest.raises(ValueError, match="a reaction has"):
            reactions("b7", wrong)


class _Chat:
    """What `Recent` and the JSON front call."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def __getattr__(self, name: str) -> object:
        return lambda *args, **kwargs: self.calls.append((name, *args, *kwargs.values())) or "new"  # type: ignore[func-returns-value]


def test_a_person_corrects_answers_and_takes_back_without_knowing_ids() -> None:
    chat, recent = _Chat(), Recent()
    assert recent.command(chat, "/edit x") == "You have not written anything yet."  # type: ignore[arg-type]
    assert recent.command(chat, "/react 👍") == "The contact has not written anything yet."  # type: ignore[arg-type]
    recent.sent("m1")
    recent.received("b1", "how are you?", Said(markable=True))
    for line in ("/edit hello", "/react 👍 🎉", "/reply fine", "/retract"):
        assert recent.command(chat, line) is None  # type: ignore[arg-type]
    recent.read(chat)  # type: ignore[arg-type]
    recent.read(chat)  # type: ignore[arg-type]
    assert chat.calls == [
        ("correct", "m1", "hello"),
        ("react", "b1", ["👍", "🎉"]),
        ("reply", "b1", "fine", "how are you?"),
        ("retract", "new"),
        ("displayed", "b1"),
    ]


def test_what_a_line_begins_with_says_what_kind_of_message_it_is() -> None:
    assert told(Said(replaces="b1")) == "(corrected) "
    assert told(Said(reply_to="b1", quoted="> how are\n> you?\n")) == "(to “how are”) "
    assert told(NOTHING) == ""
    assert len(first_line("x" * 500)) == 61


async def test_json_commands_say_what_a_message_is_and_events_say_it_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chat = _Chat()
    commands = (
        '{"edit": "new", "replaces": "m1", "id": "e1"}',
        '{"reply": "yes", "to": "b1", "quoted": "well?"}',
        '{"react": ["👍"], "to": "b1"}',
        '{"retract": "m1"}',
        '{"displayed": "b1"}',
        *('{"edit": "new"}', '{"react": "👍", "to": "b1"}', '{"reply": "x"}', '{"retract": 7}', '{"send": 7}'),
    )

    async def lines() -> AsyncIterator[str]:
        for command in (*commands, '{"quit": true}'):
            yield command

    monkeypatch.setattr(front_json, "stdin_lines", lines)
    front = front_json.JsonFront(1.0)
    await front.run(chat)  # type: ignore[arg-type]
    assert chat.calls == [
        ("correct", "m1", "new", "e1"),
        ("reply", "b1", "yes", None, "well?", False),
        ("react", "b1", ["👍"], None),
        ("retract", "m1", None),
        ("displayed", "b1"),
    ]
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in told] == ["queued"] * 4 + ["error"] * 5
    front.happened(MessageReceived(BOB, "b2", "new", f"{BOB}/r", "t", Said(replaces="b1", markable=True)))
    front.happened(Reacted(BOB, "b3", "m1", ("👍",), f"{BOB}/r"))
    front.happened(Retracted(BOB, "b4", "b1", f"{BOB}/r"))
    front.happened(ContactRead(BOB, "m1", f"{BOB}/r"))
    message, reaction, retraction_, read = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (message["replaces"], "reply_to" in message) == ("b1", False)
    assert reaction == {"event": "reaction", "id": "b3", "to": "m1", "emojis": ["👍"]}
    assert retraction_ == {"event": "retraction", "id": "b4", "to": "b1"}
    assert read == {"event": "read", "up_to": "m1"}
