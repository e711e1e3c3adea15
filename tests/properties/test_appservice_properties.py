"""Transactions with anything in them: what is whole is noted, what is damaged passed over; neither hides the other."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from adapters.matrix.names import EVENT, TO_DEVICE
from adapters.matrix.outside_appservice_news import entry_mark, transaction_news

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 53), 1 << 53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
DAMAGED = st.none() | st.integers() | st.text(max_size=3) | st.lists(st.none(), max_size=2) | st.just({"type": 7})
NAMES = st.sampled_from(["!a:x", "!b:x"])


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """An encrypted event of Bob's."""
    number = draw(st.integers(0, 999))
    event = {"type": "m.room.encrypted", "sender": "@bob:x", "room_id": draw(NAMES), "event_id": f"${number}"}
    return {**event, "content": draw(JSON), "unsigned": draw(JSON)}


@given(st.lists(events(), max_size=8), st.lists(DAMAGED, max_size=3), st.randoms())
def test_every_whole_event_is_noted_whatever_stands_beside_it(
    whole: list[dict[str, Any]], damaged: list[Any], random: Any
) -> None:
    mixed = [*whole, *damaged]
    random.shuffle(mixed)
    news = transaction_news(json.dumps({"events": mixed, "other": damaged}).encode())
    noted = sorted((room, told.mark) for room, several in news.rooms.items() for told in several)
    assert noted == sorted((event["room_id"], event["event_id"]) for event in whole)
    assert news.everybody == bool(damaged)
    for event in whole:
        arrival = json.dumps({"room_id": event["room_id"], "event": event}).encode()
        assert entry_mark((EVENT, arrival)) == event["event_id"]


@given(JSON, st.booleans(), st.sampled_from(["to_device", "de.sorunome.msc2409.to_device"]))
def test_a_message_from_device_to_device_has_the_same_mark_in_a_transaction_and_in_a_sync(
    content: Any, spaced: bool, name: str
) -> None:
    event = {"type": "m.room.encrypted", "sender": "@bob:x", "content": content}
    addressed = {"to_user_id": "@ghost:x", "to_device_id": "D", **event}
    news = transaction_news(json.dumps({name: [addressed]}, indent=1 if spaced else None).encode())
    mark = entry_mark((TO_DEVICE, json.dumps(dict(reversed(event.items()))).encode()))
    assert news.to_device == {"@ghost:x": frozenset({mark})}
    other = entry_mark((TO_DEVICE, json.dumps({**event, "sender": "@mallory:x"}).encode()))
    assert other != mark
