"""The outside half and its rooms: gaps, places that are lost, tombstones, joins that take time, idle accounts."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from adapters.matrix import names, outside_history, outside_rooms
from adapters.matrix.outside_history import Bounds, Place
from adapters.matrix.outside_limits import FREE_AFTER, Limits
from adapters.outside_api import Outcome
from bridge.wire.values import Address
from tests.unit.matrix_server import (
    ALICE,
    BOB,
    CAROL,
    JSON,
    ROOM,
    FakeHomeserver,
    Misdeed,
    joined,
    refusal,
    timeline_event,
)
from tests.unit.test_matrix_outside import Rig, invite

pytestmark = pytest.mark.timeout(60)
OTHER = "!other:one.example"
NEXT = "!NextRoomOfVersionTwelveWithoutADomain_-abcd"
CREATED = {"m.room.create": {"predecessor": {"room_id": ROOM}}}


@pytest_asyncio.fixture
async def rig() -> AsyncIterator[Rig]:
    """Alice, connected to nothing yet, with a direct room."""
    server = await FakeHomeserver().start()
    made = Rig(server)
    server.direct_room()
    server.direct = {BOB: [ROOM]}
    server.tell()
    yield made
    await made.half.close()
    await server.stop()


def own_event(number: str, membership: str, before: str | None) -> JSON:
    """A member event of ours."""
    unsigned = {} if before is None else {"unsigned": {"prev_content": {"membership": before}}}
    content = {"membership": membership, "displayname": number}
    event = {"type": "m.room.member", "sender": ALICE, "state_key": ALICE, "event_id": f"${number}"}
    return {**event, "content": content, **unsigned}


def old(number: int, days: int) -> JSON:
    """An event of so many days ago."""
    return {**timeline_event(number), "origin_server_ts": int((time.time() - days * 86_400) * 1000)}


# ---------------------------------------------------------------- what is handed on
async def test_messages_before_a_change_of_our_own_name_are_not_dropped(rig: Rig) -> None:
    await rig.connect()
    await rig.ready()
    rig.server.tell(rooms=joined(timeline_event(1), own_event("name", "join", "join"), timeline_event(2)))
    await rig.until(lambda: len(rig.edge.event_ids()) == 2)
    assert rig.edge.event_ids() == ["$1", "$2"]


async def test_when_we_are_put_out_and_come_back_nothing_is_repeated_and_nothing_lost(rig: Rig) -> None:
    await rig.connect()
    await rig.ready()
    rig.server.tell(rooms=joined(timeline_event(1), timeline_event(2)))
    whole = [timeline_event(number) for number in (1, 2, 3)]
    back = [own_event("out", "leave", "join"), own_event("in", "invite", "leave"), own_event("back", "join", "invite")]
    rig.server.tell(rooms=joined(*whole, *back, timeline_event(4)))
    await rig.until(lambda: len(rig.edge.event_ids()) == 4)
    assert rig.edge.event_ids() == ["$1", "$2", "$3", "$4"]


async def test_what_was_written_before_we_were_put_out_arrives_and_the_room_is_told_as_left(rig: Rig) -> None:
    await rig.connect()
    await rig.ready()
    rig.server.members[ROOM][ALICE] = "leave"
    events = [timeline_event(1), own_event("out", "leave", "join")]
    rig.server.tell(rooms={"leave": {ROOM: {"timeline": {"events": events}}}})
    await rig.until(lambda: rig.edge.event_ids() == ["$1"])
    assert rig.edge.named("room")[-1]["members"][ALICE] == "leave"


async def test_a_room_that_we_may_not_read_any_more_is_told_as_left(rig: Rig) -> None:
    await rig.connect()
    await rig.ready()
    rig.server.misdeeds[f"GET /rooms/{ROOM[:1].replace('!', '%21')}"] = [refusal(403, "M_FORBIDDEN")] * 2
    rig.server.tell(rooms={"leave": {ROOM: {"timeline": {"events": [own_event("out", "leave", "join")]}}}})
    await rig.until(lambda: len(rig.edge.named("room")) == 2)
    assert rig.edge.named("room")[-1]["members"] == {ALICE: "leave"}


async def test_a_batch_of_which_a_part_cannot_be_had_is_read_again_as_a_whole(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outside_history, "PAGE_TRIES", 1)
    rig.server.direct_room(OTHER)
    rig.server.direct = {BOB: [ROOM, OTHER]}
    await rig.connect()
    await rig.ready()
    rig.server.misdeeds["/messages"] = [Misdeed(500)]
    rig.server.pages = {"p": {"chunk": [timeline_event(2)]}}
    rooms = (
        joined(timeline_event(1))["join"] | joined(timeline_event(3), room=OTHER, limited=True, prev_batch="p")["join"]
    )
    for _ in range(2):
        rig.server.tell(rooms={"join": rooms})
    await rig.until(lambda: len(rig.edge.event_ids()) == 3)
    assert rig.edge.event_ids() == ["$1", "$2", "$3"]


# ---------------------------------------------------------------- bounds
async def test_what_is_too_old_is_left_out_and_told_before_what_follows(rig: Rig) -> None:
    await rig.connect()
    await rig.ready()
    rig.server.pages = {
        "p": {"chunk": [old(5, 1), old(4, 29), old(3, 31)], "end": "q"},
        "q": {"chunk": [old(2, 32), old(1, 33)], "end": "r"},
        "r": {"chunk": [old(0, 34)]},
    }
    rig.server.tell(rooms=joined(timeline_event(6), limited=True, prev_batch="p"))
    await rig.until(lambda: bool(rig.edge.event_ids()))
    assert rig.edge.event_ids() == ["$4", "$5", "$6"]
    order = [name for name, _ in rig.edge.entries]
    assert order.index("left-out") < order.index("event")
    assert rig.edge.named("left-out") == [{"contact": BOB, "room_id": ROOM}]
    assert len(rig.server.asked("/messages")) == 2  # a page of old ones ends it


async def test_what_the_server_refuses_to_give_is_told_as_left_out(rig: Rig) -> None:
    await rig.connect()
    await rig.ready()
    rig.server.misdeeds["/messages"] = [refusal(403, "M_FORBIDDEN")]
    rig.server.tell(rooms=joined(timeline_event(5), limited=True, prev_batch="p1"))
    await rig.until(lambda: rig.edge.event_ids() == ["$5"])
    assert len(rig.edge.named("left-out")) == 1


async def test_as_many_as_the_bound_are_not_too_many(rig: Rig) -> None:
    await rig.connect()
    await rig.ready()
    rig.half._accounts["alice"]._reader.feed.bounds = Bounds(messages=2)
    rig.server.tell(rooms=joined(timeline_event(1)))
    await rig.until(lambda: rig.edge.event_ids() == ["$1"])
    rig.server.pages = {"p": {"chunk": [timeline_event(3), timeline_event(2), timeline_event(1)]}}
    rig.server.tell(rooms=joined(timeline_event(4), limited=True, prev_batch="p"))
    await rig.until(lambda: len(rig.edge.event_ids()) == 4)
    assert not rig.edge.named("left-out")


# ---------------------------------------------------------------- places
@pytest.mark.parametrize("errcode", ["M_UNKNOWN_POS", "M_INVALID_PARAM", "M_UNKNOWN"])
async def test_a_place_that_is_refused_is_given_up_and_the_last_event_leads_back(rig: Rig, errcode: str) -> None:
    await rig.connect()
    await rig.ready()
    rig.server.tell(rooms=joined(timeline_event(1)))
    await rig.until(lambda: rig.edge.event_ids() == ["$1"])
    await rig.half.close()
    await rig.until(lambda: rig.server.polling == 0)
    rig.server.misdeeds["GET /sync"] = [refusal(400, errcode)] * 2
    rig.server.pages = {"new": {"chunk": [timeline_event(3), timeline_event(2), timeline_event(1)]}}
    rig.server.tell(next_batch="new", rooms=joined(timeline_event(3)))
    rig.server.tell(rooms=joined(timeline_event(4)))
    await rig.restart()
    await rig.until(lambda: len(rig.edge.event_ids()) == 4)
    assert rig.edge.event_ids() == ["$1", "$2", "$3", "$4"]
    assert rig.edge.named("keys")[-1]["full"] is True


def test_a_place_of_an_earlier_version_is_understood() -> None:
    assert Place.decoded("s1_2") == Place("s1_2", "s1_2")
    assert Place.decoded(Place("a", "b", {"!r": "$e"}).encoded()) == Place("a", "b", {"!r": "$e"})
    assert Place.decoded("{broken") == Place.decoded(None) == Place()


async def test_after_a_start_each_room_is_compared_with_what_was_read_last(rig: Rig) -> None:
    await rig.connect()
    await rig.ready()
    rig.server.tell(next_batch="s7", rooms=joined(timeline_event(1)))
    await rig.until(lambda: rig.edge.event_ids() == ["$1"])
    rig.server.pages = {"s7": {"chunk": [timeline_event(2), timeline_event(1)]}}
    await rig.restart()
    await rig.until(lambda: len(rig.edge.event_ids()) == 2)
    rig.server.tell(rooms=joined(timeline_event(2), timeline_event(3)))  # shown late after all
    await rig.until(lambda: len(rig.edge.event_ids()) == 3)
    assert rig.edge.event_ids() == ["$1", "$2", "$3"]


# ---------------------------------------------------------------- rooms that replace others
def tombstone(rig: Rig, replacement: str = NEXT, by: str = BOB) -> None:
    """The room gets a tombstone, and the next sync shows it."""
    rig.server.state[ROOM] = {"m.room.tombstone": {"replacement_room": replacement}}
    rig.server.senders[ROOM] = by
    event = {"type": "m.room.tombstone", "state_key": "", "sender": by, "event_id": "$t", "content": {}}
    rig.server.tell(rooms=joined(event))


async def test_a_tombstone_of_the_contacts_leads_into_the_room_that_it_names(rig: Rig) -> None:
    await rig.connect()
    await rig.ready()
    rig.server.direct_room(NEXT)
    rig.server.members[NEXT][ALICE] = "invite"
    rig.server.state[NEXT] = CREATED
    tombstone(rig)
    await rig.until(lambda: any(told["room_id"] == NEXT for told in rig.edge.named("room")))
    assert [told["replaced"] for told in rig.edge.named("room")] == [False, True, False]
    assert rig.server.members[NEXT][ALICE] == "join"
    assert json.loads(rig.edge.marks["rooms"]) == {BOB: [NEXT, ROOM]}
    await rig.until(lambda: json.loads(rig.server.asked("/filter")[-1][2])["room"]["timeline"]["rooms"] == [NEXT, ROOM])


@pytest.mark.parametrize("fault", ["stranger", "no-predecessor", "third", "plain", "visible", "name"])
async def test_a_tombstone_that_is_not_plausible_leads_nowhere(rig: Rig, fault: str) -> None:
    await rig.connect()
    await rig.ready()
    rig.server.direct_room(NEXT)
    rig.server.members[NEXT][ALICE] = "invite"
    rig.server.state[NEXT] = dict(CREATED)
    if fault == "no-predecessor":
        rig.server.state[NEXT] = {}
    elif fault == "third":
        rig.server.members[NEXT][CAROL] = "join"
    elif fault == "plain":
        del rig.server.encryption[NEXT]
    elif fault == "visible":
        rig.server.state[NEXT]["m.room.history_visibility"] = {"history_visibility": "world_readable"}
    tombstone(rig, by=CAROL if fault == "stranger" else BOB, replacement="room" if fault == "name" else NEXT)
    await rig.until(lambda: len(rig.edge.named("room")) == 2)
    await rig.until(lambda: not rig.server.syncs)
    assert rig.server.members[NEXT][ALICE] != "join"
    assert json.loads(rig.edge.marks["rooms"]) == {BOB: [ROOM]}


async def test_the_room_to_be_avoided_is_followed_to_the_one_that_replaces_it(rig: Rig) -> None:
    await rig.connect()
    await rig.ready()
    rig.server.direct_room(NEXT)
    rig.server.members[NEXT][ALICE] = "invite"
    rig.server.state[NEXT] = CREATED
    rig.server.state[ROOM] = {"m.room.tombstone": {"replacement_room": NEXT}}
    outcome = await rig.carry(names.ROOM_OBTAIN, contact=Address(v=BOB), avoid=Address(v=ROOM))
    assert json.loads(outcome.body)["room_id"] == NEXT
    assert rig.server.made == 0


async def test_a_new_room_shows_nobody_what_was_before_them(rig: Rig) -> None:
    await rig.connect()
    await rig.ready()
    await rig.carry(names.ROOM_OBTAIN, contact=Address(v=BOB), avoid=Address(v=ROOM))
    state = json.loads(rig.server.asked("createRoom")[0][2])["initial_state"]
    assert {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": "joined"}} in state


# ---------------------------------------------------------------- joins
async def test_a_room_that_cannot_be_joined_now_stops_nothing_and_is_joined_later_even_after_a_restart(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outside_rooms, "JOIN_AGAIN_S", (0.05,))
    await rig.connect()
    await rig.ready()
    rig.server.direct_room(NEXT)
    rig.server.members[NEXT][ALICE] = "invite"
    rig.server.misdeeds["/join"] = [Misdeed(502, b"{}")] * 4
    invitation = invite(BOB)["invite"][ROOM]
    rig.server.tell(rooms={**joined(timeline_event(1)), "invite": {NEXT: invitation}})
    await rig.until(lambda: rig.edge.event_ids() == ["$1"])
    assert json.loads(rig.edge.marks["joins"]) == {NEXT: [BOB, None]}
    await rig.restart()
    await rig.until(lambda: rig.server.members[NEXT][ALICE] == "join")
    await rig.until(lambda: json.loads(rig.edge.marks["joins"]) == {})


async def test_an_invitation_to_a_room_of_many_is_left_to_the_user(rig: Rig) -> None:
    await rig.connect()
    await rig.ready()
    rig.server.members[NEXT] = {BOB: "join", ALICE: "invite", CAROL: "join"}
    events: list[Any] = invite(BOB)["invite"][ROOM]["invite_state"]["events"]
    named = {"type": "m.room.name", "state_key": "", "sender": BOB, "content": {"name": "club"}}
    rig.server.tell(rooms={"invite": {NEXT: {"invite_state": {"events": [*events, named]}}}})
    rig.server.tell(rooms=joined(timeline_event(1)))
    await rig.until(lambda: rig.edge.event_ids() == ["$1"])
    assert rig.server.members[NEXT][ALICE] == "invite"


# ---------------------------------------------------------------- load
async def test_an_idle_account_asks_for_nothing_but_news(rig: Rig) -> None:
    await rig.connect()
    await rig.ready()
    await rig.until(lambda: len(rig.server.asked("GET /sync")) >= 3)
    rig.server.requests.clear()
    await rig.until(lambda: len(rig.server.asked("GET /sync")) >= 3)
    assert len(rig.server.requests) == len(rig.server.asked("timeout=30000"))


async def test_what_the_server_limits_is_not_asked_before_its_time_and_takes_turns() -> None:
    limits, asked, together = Limits(), [0], [0]

    async def act() -> Outcome:
        asked[0] += 1
        together[0] += 1
        await asyncio.sleep(0.01)
        alone, together[0] = together[0] == 1, together[0] - 1
        assert alone or asked[0] == 1
        return Outcome("rate-limited", retry=True, retry_after_s=0.2) if asked[0] == 1 else Outcome()

    assert (await limits.through("send", act)).retry
    held = await asyncio.gather(*(limits.through("send", act) for _ in range(5)))
    assert asked == [1]
    assert all(outcome.retry and 0 < (outcome.retry_after_s or 0) <= 0.2 for outcome in held)
    assert (await limits.through("other", _fine)).code == "ok"
    await asyncio.sleep(0.2)
    found = await asyncio.gather(*(limits.through("send", act) for _ in range(FREE_AFTER)))
    assert [outcome.code for outcome in found] == ["ok"] * FREE_AFTER
    assert not limits._limited


async def _fine() -> Outcome:
    return Outcome()
