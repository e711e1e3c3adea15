"""Typing and presence of a Matrix contact: what the outside hands in, what the inside makes of it."""

import json
from typing import Any

import pytest

from adapters.matrix import names
from adapters.matrix.outside_signals import SignalNews
from adapters.matrix.outside_sync import parsed_sync, sync_filter
from crypto.message import Availability, Presence, Typing
from tests.unit.matrix_world import pair

BOB, CAROL, ROOM = "@bob:two.example", "@carol:two.example", "!room:two.example"


def sync_body(typing: list[str] | None = None, presence: list[dict[str, Any]] | None = None) -> bytes:
    """An answer of `/sync`."""
    ephemeral = [] if typing is None else [{"type": "m.typing", "content": {"user_ids": typing}}]
    rooms = {"join": {ROOM: {"ephemeral": {"events": ephemeral}}}}
    return json.dumps({"next_batch": "s", "rooms": rooms, "presence": {"events": presence or []}}).encode()


def online(sender: str, state: str = "online", **more: Any) -> dict[str, Any]:
    """A presence event."""
    return {"type": "m.presence", "sender": sender, "content": {"presence": state, **more}}


def told(news: SignalNews, body: bytes) -> list[dict[str, Any]]:
    """The bodies of the arrivals that it gives rise to."""
    sync = parsed_sync(body)
    assert sync is not None
    entries = news.entries(sync, lambda room: BOB if room == ROOM else None, frozenset({BOB}))
    assert all(name == names.SIGNAL for name, _ in entries)
    return [json.loads(body) for _, body in entries]


def test_only_changes_of_typing_are_handed_in_and_only_the_contacts_own() -> None:
    news = SignalNews()
    assert told(news, sync_body([CAROL])) == []
    assert told(news, sync_body([CAROL, BOB])) == [{"contact": BOB, "typing": True}]
    assert told(news, sync_body([BOB])) == []
    assert told(news, sync_body()) == []
    assert told(news, sync_body([])) == [{"contact": BOB, "typing": False}]


def test_only_changes_of_presence_of_contacts_are_handed_in() -> None:
    news = SignalNews()
    first = {"contact": BOB, "presence": "online", "status": "here"}
    assert told(news, sync_body(presence=[online(CAROL), online(BOB, status_msg="here")])) == [first]
    assert told(news, sync_body(presence=[online(BOB, status_msg="here")])) == []
    assert told(news, sync_body(presence=[online(BOB, "offline")])) == [
        {"contact": BOB, "presence": "offline", "status": ""}
    ]


def test_malformed_signals_are_nothing() -> None:
    bad: list[dict[str, Any]] = [
        {"type": "m.presence", "sender": BOB, "content": 7},
        {"type": "m.presence", "sender": BOB},
    ]
    assert told(SignalNews(), sync_body(presence=bad)) == []
    ephemeral = {"events": [{"type": "m.typing", "content": {"user_ids": [1]}}]}
    body = json.dumps({"next_batch": "s", "rooms": {"join": {ROOM: {"ephemeral": ephemeral}}}}).encode()
    assert told(SignalNews(), body) == []


def test_the_filter_asks_for_presence_of_contacts_and_of_nobody_else() -> None:
    assert json.loads(sync_filter([], contacts=[BOB]))["presence"] == {"types": ["m.presence"], "senders": [BOB]}
    assert json.loads(sync_filter([]))["presence"] == {"types": []}


@pytest.mark.parametrize(
    ("word", "availability"),
    [("online", Availability.AVAILABLE), ("unavailable", Availability.AWAY), ("offline", Availability.UNAVAILABLE)],
)
def test_presence_reaches_the_other_half(word: str, availability: Availability) -> None:
    _, alice, _ = pair()
    alice.arrives(names.SIGNAL, {"contact": BOB, "presence": word, "status": "back\nsoon\0"})
    assert alice.step.signals == [("bob", Presence(availability, "backsoon"))]


def test_typing_reaches_the_other_half() -> None:
    _, alice, _ = pair()
    alice.arrives(names.SIGNAL, {"contact": BOB, "typing": True})
    alice.arrives(names.SIGNAL, {"contact": BOB, "typing": False})
    assert alice.step.signals == [("bob", Typing(True)), ("bob", Typing(False))]


def test_what_is_said_of_strangers_is_counted_and_dropped() -> None:
    _, alice, _ = pair()
    alice.arrives(names.SIGNAL, {"contact": CAROL, "typing": True})
    assert alice.step.signals == []
    assert ("signal-stranger", None) in alice.step.reports
