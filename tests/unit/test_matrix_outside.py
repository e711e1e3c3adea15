"""The outside half against a server that misbehaves: log-in, sync, gaps, rooms, outcomes."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from adapters.matrix import names, transport
from adapters.matrix.outside import MatrixOutside
from adapters.matrix.outside_history import Place
from adapters.outside_api import AccountRoutes, Outcome, Route
from bridge.wire.link import Carry
from bridge.wire.values import Address, Opaque, Public, Sealed
from tests.unit.matrix_server import (
    ALICE,
    BOB,
    CAROL,
    JSON,
    ROOM,
    FakeHomeserver,
    Misdeed,
    RecordingEdge,
    joined,
    refusal,
    timeline_event,
)

pytestmark = pytest.mark.timeout(60)


def routes(url: str, *contacts: str, **credentials: str) -> AccountRoutes:
    """Alice with these contacts."""
    rows = tuple(Route(contact[1:4], "matrix", contact, f"{contact[1:4]}@gate") for contact in contacts)
    given = {"homeserver": url, **(credentials or {"password": "secret"})}
    return AccountRoutes("alice", "alice@here", {"matrix": ALICE}, rows, {"matrix": given})


class Rig:
    """A server, an edge, and the half between them."""

    def __init__(self, server: FakeHomeserver) -> None:
        self.server = server
        self.edge = RecordingEdge()
        self.half = MatrixOutside({"homeserver": server.url})

    async def connect(self, **credentials: str) -> None:
        await self.half.connect(self.edge, [routes(self.server.url, BOB, **credentials)])

    async def restart(self) -> None:
        await self.half.close()
        self.half = MatrixOutside({"homeserver": self.server.url})
        await self.connect()

    async def ready(self) -> None:
        await self.until(lambda: "since" in self.edge.marks)

    async def until(self, condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
                await asyncio.sleep(0.01)

    async def carry(self, request: str, **values: Any) -> Outcome:
        return await self.half.carry(
            "alice", Carry(key="k-1/+", network="matrix", request=request, lane="l", values=values)
        )

    async def send(self) -> Outcome:
        return await self.carry(names.ROOM_SEND, room=Address(v=ROOM), content=Sealed(v=b'{"c":1}'))


@pytest_asyncio.fixture
async def rig() -> AsyncIterator[Rig]:
    server = await FakeHomeserver().start()
    made = Rig(server)
    yield made
    await made.half.close()
    await server.stop()


# ---------------------------------------------------------------- logging in
async def test_a_password_gives_a_device_that_is_kept(rig: Rig) -> None:
    await rig.connect()
    await rig.ready()
    assert rig.edge.named("device") == [{"user_id": ALICE, "device_id": "DEVICE1"}]
    await rig.restart()
    await rig.until(lambda: len(rig.edge.named("device")) == 2)
    assert rig.server.logins == 1
    assert rig.edge.states[-1] == "up"


async def test_a_token_needs_no_log_in(rig: Rig) -> None:
    rig.server.token, rig.server.device = "given", "GIVEN"
    await rig.connect(token="given", device="GIVEN")
    await rig.ready()
    assert rig.server.logins == 0
    assert rig.edge.named("device")[0]["device_id"] == "GIVEN"


async def test_a_soft_log_out_leads_back_to_the_same_device(rig: Rig) -> None:
    await rig.connect()
    await rig.ready()
    rig.server.token = "expired"
    await rig.until(lambda: rig.server.logins == 2)
    await rig.until(lambda: len(rig.edge.named("device")) == 2)
    assert {body["device_id"] for body in rig.edge.named("device")} == {"DEVICE1"}
    assert (await rig.send()).code == "ok"


async def test_a_hard_log_out_makes_a_new_device(rig: Rig) -> None:
    await rig.connect()
    await rig.ready()
    rig.server.misdeeds["GET /sync"] = [refusal(401, "M_UNKNOWN_TOKEN", soft_logout=False)]
    await rig.until(lambda: len(rig.edge.named("device")) == 2)
    assert [body["device_id"] for body in rig.edge.named("device")] == ["DEVICE1", "DEVICE2"]


async def test_a_log_out_met_by_a_request_is_repaired_and_the_request_repeated(rig: Rig) -> None:
    await rig.connect()
    await rig.ready()
    rig.server.token = "expired"
    assert (await rig.send()).retry
    await rig.until(lambda: rig.server.logins == 2)
    async with asyncio.timeout(5):
        while (await rig.send()).retry:  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.05)


async def test_a_page_of_some_proxy_does_not_cost_the_device(rig: Rig) -> None:
    await rig.connect()
    await rig.ready()
    await rig.half.close()
    rig.server.misdeeds["whoami"] = [
        Misdeed(200, b"<html>log in to this hotel's network</html>"),
        Misdeed(401, b"<html>who are you</html>"),
        Misdeed(502, b""),
    ]
    rig.half = MatrixOutside({"homeserver": rig.server.url})
    await rig.connect()
    await rig.until(lambda: len(rig.edge.named("device")) == 2)
    assert rig.server.logins == 1


async def test_a_wrong_password_is_told_and_not_hammered(rig: Rig) -> None:
    await rig.connect(password="wrong")
    await rig.until(lambda: "refused" in rig.edge.states)
    await asyncio.sleep(0.3)
    assert len(rig.server.asked("POST /login")) == 1
    assert (await rig.send()).retry


@pytest.mark.parametrize(
    "misdeed",
    [
        refusal(429, "M_LIMIT_EXCEEDED", retry_after_ms=50),
        Misdeed(500, b"oops"),
        Misdeed(200, b"<html>"),
        Misdeed(200, b'{"access_token": 7}'),
        Misdeed(hang_up=True),
    ],
)
async def test_a_log_in_that_meets_trouble_is_tried_again(rig: Rig, misdeed: Misdeed) -> None:
    rig.server.misdeeds["POST /login"] = [misdeed]
    await rig.connect()
    await rig.ready()
    assert len(rig.server.asked("POST /login")) == 2


# ---------------------------------------------------------------- syncing
async def test_events_of_the_contacts_room_come_in_order_after_keys_and_room(rig: Rig) -> None:
    rig.server.direct_room()
    rig.server.direct = {BOB: [ROOM]}
    rig.server.tell()
    rig.server.tell(
        rooms=joined(timeline_event(1), timeline_event(2), timeline_event(3, ALICE), timeline_event(4)),
        to_device={"events": [{"type": "m.room.encrypted", "sender": BOB, "content": {"n": 1}}]},
        device_lists={"changed": [BOB]},
        device_one_time_keys_count={"signed_curve25519": 3},
        device_unused_fallback_key_types=[],
    )
    await rig.connect()
    await rig.until(lambda: len(rig.edge.named("event")) == 3)
    assert rig.edge.event_ids() == ["$1", "$2", "$4"]
    order = [name for name, _ in rig.edge.entries]
    assert order.index("to-device") < order.index("event")
    assert order.index("room") < order.index("event")
    told = rig.edge.named("keys")[-1]
    assert told["device_lists"] == {"changed": [BOB]}
    assert told["device_one_time_keys_count"] == {"signed_curve25519": 3}
    assert rig.edge.named("room") == [
        {
            "contact": BOB,
            "room_id": ROOM,
            "encryption": {"algorithm": "m.megolm.v1.aes-sha2"},
            "members": {ALICE: "join", BOB: "join"},
            "history_visibility": None,
            "replaced": False,
        }
    ]


async def test_what_was_written_before_the_first_log_in_is_left_alone(rig: Rig) -> None:
    rig.server.direct_room()
    rig.server.direct = {BOB: [ROOM]}
    rig.server.tell(rooms=joined(timeline_event("old"), limited=True, prev_batch="p"))
    rig.server.tell(rooms=joined(timeline_event("new")))
    await rig.connect()
    await rig.until(lambda: rig.edge.event_ids() == ["$new"])
    assert rig.edge.named("keys")[0]["full"] is True


async def test_a_gap_is_filled_in_order_before_the_batch(rig: Rig) -> None:
    rig.server.direct_room()
    rig.server.direct = {BOB: [ROOM]}
    rig.server.tell()
    await rig.connect()
    await rig.ready()
    rig.server.pages = {
        "p1": {"chunk": [timeline_event(4), timeline_event(3)], "end": "p2"},
        "p2": {"chunk": [timeline_event(3), timeline_event(2)], "end": "p3"},
        "p3": {"chunk": []},
    }
    rig.server.misdeeds["/messages"] = [Misdeed(500), refusal(429, "M_LIMIT_EXCEEDED", retry_after_ms=10)]
    batch = {"rooms": joined(timeline_event(5), timeline_event(6), limited=True, prev_batch="p1")}
    since = Place.decoded(rig.edge.marks["since"]).since
    for _ in range(3):
        rig.server.tell(next_batch="later", **batch)
    await rig.until(lambda: len(rig.edge.event_ids()) >= 5)
    assert rig.edge.event_ids()[:5] == ["$2", "$3", "$4", "$5", "$6"]
    assert f"to={since}" in rig.server.asked("/messages")[0][1]


async def test_a_room_we_may_no_longer_read_does_not_stop_the_others(rig: Rig) -> None:
    rig.server.direct_room()
    rig.server.direct = {BOB: [ROOM]}
    rig.server.tell()
    await rig.connect()
    await rig.ready()
    rig.server.misdeeds["/messages"] = [refusal(403, "M_FORBIDDEN")]
    rig.server.tell(rooms=joined(timeline_event(5), limited=True, prev_batch="p1"))
    await rig.until(lambda: rig.edge.event_ids() == ["$5"])


async def test_counts_are_told_when_they_matter_zero_and_missing_included(rig: Rig) -> None:
    for counts in [{"signed_curve25519": 50}, {"signed_curve25519": 49}, {"signed_curve25519": 0}, None]:
        rig.server.tell(**({"device_one_time_keys_count": counts} if counts is not None else {}))
    await rig.connect()
    await rig.until(lambda: not rig.server.syncs and len(rig.edge.named("keys")) >= 3)
    told = [body.get("device_one_time_keys_count") for body in rig.edge.named("keys")]
    assert told == [{"signed_curve25519": 50}, {"signed_curve25519": 0}, None]


@pytest.mark.parametrize(
    "misdeed",
    [
        Misdeed(200, b"not json"),
        Misdeed(200, b'{"next_batch": 7}'),
        Misdeed(200, b'{"rooms": {}}'),
        Misdeed(200, b'{"next_batch": "x", "rooms": {"join": []}}'),
        Misdeed(200, b"[" * 100_000),
        Misdeed(504, b""),
        Misdeed(302, b"", {"Location": "http://127.0.0.1:9/"}),
        refusal(429, "M_LIMIT_EXCEEDED", retry_after_ms=20),
        Misdeed(hang_up=True),
    ],
)
async def test_a_broken_sync_is_asked_for_again_and_nothing_is_acknowledged(rig: Rig, misdeed: Misdeed) -> None:
    rig.server.misdeeds["GET /sync"] = [misdeed]
    rig.server.tell(next_batch="good")
    await rig.connect()
    await rig.ready()
    assert Place.decoded(rig.edge.marks["since"]).since == "good"


async def test_events_of_the_wrong_shape_are_left_out_and_the_rest_arrives(rig: Rig) -> None:
    rig.server.direct_room()
    rig.server.direct = {BOB: [ROOM]}
    rig.server.tell()
    odd: list[Any] = [None, 7, [], {"type": 1}, {"type": "m.room.encrypted", "state_key": ""}]
    rig.server.tell(
        rooms=joined(*odd, timeline_event(1)), account_data={"events": [{"type": "m.direct", "content": 3}]}
    )
    await rig.connect()
    await rig.until(lambda: rig.edge.event_ids() == ["$1"])


# ---------------------------------------------------------------- rooms
def invite(sender: str) -> JSON:
    """The part `rooms` of a sync with an invitation to ROOM."""
    event = {"type": "m.room.member", "sender": sender, "state_key": ALICE, "content": {"membership": "invite"}}
    return {"invite": {ROOM: {"invite_state": {"events": [event]}}}}


async def test_invitations_are_accepted_from_mapped_contacts_only(rig: Rig) -> None:
    rig.server.members[ROOM] = {BOB: "join", ALICE: "invite"}
    rig.server.tell()
    rig.server.tell(rooms=invite(CAROL))
    await rig.connect()
    await rig.ready()
    await rig.until(lambda: not rig.server.syncs)
    await asyncio.sleep(0.1)
    assert not rig.server.asked("/join")
    rig.server.tell(rooms=invite(BOB))
    await rig.until(lambda: bool(rig.edge.named("room")))
    assert rig.server.members[ROOM][ALICE] == "join"
    assert rig.server.direct == {BOB: [ROOM]}


async def test_a_new_room_is_read_from_the_invitation_on(rig: Rig) -> None:
    rig.server.members[ROOM] = {BOB: "join", ALICE: "invite"}
    rig.server.tell()
    rig.server.tell(rooms=invite(BOB))
    await rig.connect()
    await rig.until(lambda: bool(rig.edge.named("room")))
    invited = {**invite(BOB)["invite"][ROOM]["invite_state"]["events"][0], "event_id": "$i"}
    rig.server.pages = {
        "p1": {"chunk": [timeline_event(2), timeline_event(1)], "end": "p2"},
        "p2": {"chunk": [invited, timeline_event("before")], "end": "p3"},
        "p3": {"chunk": [timeline_event("long before")]},
    }
    rig.server.tell(rooms=joined(timeline_event(3), timeline_event(4), limited=True, prev_batch="p1"))
    await rig.until(lambda: bool(rig.edge.event_ids()))
    assert rig.edge.event_ids() == ["$1", "$2", "$3", "$4"]
    assert "to=" not in rig.server.asked("/messages")[0][1]


async def test_a_room_is_made_encrypted_direct_and_noted(rig: Rig) -> None:
    await rig.connect()
    await rig.ready()
    outcome = await rig.carry(names.ROOM_OBTAIN, contact=Address(v=BOB))
    told = json.loads(outcome.body)
    assert told["encryption"]["algorithm"] == "m.megolm.v1.aes-sha2"
    assert told["members"] == {ALICE: "join", BOB: "invite"}
    request = json.loads(rig.server.asked("createRoom")[0][2])
    assert (request["preset"], request["is_direct"], request["invite"]) == ("trusted_private_chat", True, [BOB])
    assert rig.server.direct == {BOB: [told["room_id"]]}


async def test_a_repeated_request_finds_the_room_that_was_made(rig: Rig) -> None:
    await rig.connect()
    await rig.ready()
    first = await rig.carry(names.ROOM_OBTAIN, contact=Address(v=BOB))
    rig.edge.marks.pop("rooms")
    rig.server.direct = {}
    await rig.restart()
    await rig.until(lambda: rig.edge.states.count("up") == 2)
    second = await rig.carry(names.ROOM_OBTAIN, contact=Address(v=BOB))
    assert json.loads(first.body)["room_id"] == json.loads(second.body)["room_id"]
    assert rig.server.made == 1


@pytest.mark.parametrize("fault", ["plain", "third", "left", "avoided"])
async def test_a_room_that_is_unfit_is_not_taken(rig: Rig, fault: str) -> None:
    rig.server.direct_room()
    rig.server.direct = {BOB: [ROOM]}
    if fault == "plain":
        del rig.server.encryption[ROOM]
    elif fault == "third":
        rig.server.members[ROOM][CAROL] = "invite"
    elif fault == "left":
        rig.server.members[ROOM][BOB] = "leave"
    await rig.connect()
    await rig.ready()
    avoid = {"avoid": Address(v=ROOM)} if fault == "avoided" else {}
    outcome = await rig.carry(names.ROOM_OBTAIN, contact=Address(v=BOB), **avoid)
    assert json.loads(outcome.body)["room_id"] != ROOM
    assert rig.server.direct[BOB] == [ROOM, json.loads(outcome.body)["room_id"]]


async def test_a_room_whose_state_cannot_be_read_now_is_no_reason_to_make_another(rig: Rig) -> None:
    rig.server.direct_room()
    rig.server.direct = {BOB: [ROOM]}
    await rig.connect()
    await rig.ready()
    rig.server.misdeeds["/state"] = [Misdeed(500)]
    outcome = await rig.carry(names.ROOM_OBTAIN, contact=Address(v=BOB))
    assert outcome.retry
    outcome = await rig.carry(names.ROOM_OBTAIN, contact=Address(v=BOB))
    assert json.loads(outcome.body)["room_id"] == ROOM
    assert rig.server.made == 0


async def test_only_rooms_with_contacts_are_asked_for(rig: Rig) -> None:
    rig.server.direct_room()
    rig.server.members["!group:x"] = {ALICE: "join", BOB: "join", CAROL: "join"}
    rig.server.direct = {BOB: [ROOM]}
    rig.server.tell(rooms=joined(timeline_event(1), room="!group:x"))
    await rig.connect()
    await rig.until(lambda: len(rig.server.asked("/filter")) == 2)
    last = json.loads(rig.server.asked("/filter")[-1][2])
    assert last["room"]["timeline"]["rooms"] == last["room"]["ephemeral"]["rooms"] == [ROOM]
    assert "rooms" not in last["room"]  # invitations, and rooms that we join, still show
    assert rig.edge.event_ids() == []


async def test_a_changed_map_begins_and_ends_connections(rig: Rig) -> None:
    await rig.connect()
    await rig.ready()
    rig.server.direct_room("!carol:x", CAROL)
    rig.server.direct = {CAROL: ["!carol:x"]}
    await rig.half.remap([routes(rig.server.url, BOB, CAROL)])
    await rig.until(lambda: bool(rig.edge.named("room")))
    assert rig.edge.named("room")[0]["contact"] == CAROL
    await rig.half.remap([])
    assert (await rig.send()).retry


# ---------------------------------------------------------------- outcomes of requests
async def test_requests_go_where_they_belong_with_the_key_as_transaction(rig: Rig) -> None:
    await rig.connect()
    await rig.ready()
    assert (await rig.send()).body == b'{"event_id": "$sent", "room_id": "!Room:one.example"}'
    await rig.carry(names.SEND_TO_DEVICE, body=Sealed(v=b'{"messages":{}}'))
    await rig.carry(names.KEYS_UPLOAD, body=Public(v=b'{"u":1}'))
    await rig.carry(names.KEYS_CLAIM, keys=Public(v=b'{"@b:x":{}}'))
    await rig.carry(names.KEYS_QUERY, user=Address(v=BOB))
    # The account syncs and looks up profiles meanwhile.
    sent = [request for request in rig.server.requests if request[0] != "GET" and "/filter" not in request[1]][-5:]
    assert sent[0] == ("PUT", "/rooms/%21Room%3Aone.example/send/m.room.encrypted/k-1%2F%2B", b'{"c":1}')
    assert sent[1] == ("PUT", "/sendToDevice/m.room.encrypted/k-1%2F%2B", b'{"messages":{}}')
    assert sent[2] == ("POST", "/keys/upload", b'{"u":1}')
    assert json.loads(sent[3][2])["one_time_keys"] == {"@b:x": {}}
    assert json.loads(sent[4][2])["device_keys"] == {BOB: []}


@pytest.mark.parametrize(
    ("misdeed", "outcome"),
    [
        (refusal(429, "M_LIMIT_EXCEEDED", retry_after_ms=1500), Outcome("rate-limited", retry=True, retry_after_s=1.5)),
        (Misdeed(429, b"", {"Retry-After": "7"}), Outcome("rate-limited", retry=True, retry_after_s=7.0)),
        (refusal(429, "M_LIMIT_EXCEEDED", retry_after_ms="x"), Outcome("rate-limited", retry=True)),
        (refusal(429, "M_LIMIT_EXCEEDED", retry_after_ms=-1), Outcome("rate-limited", retry=True)),
        (Misdeed(500, b"x"), Outcome("unavailable", retry=True)),
        (Misdeed(502, b"<html>"), Outcome("unavailable", retry=True)),
        (Misdeed(408, b""), Outcome("unavailable", retry=True)),
        (Misdeed(hang_up=True), Outcome("unavailable", retry=True)),
        (Misdeed(200, b"<html>"), Outcome("malformed-response", retry=True)),
        (Misdeed(200, b"[]"), Outcome("malformed-response", retry=True)),
        (Misdeed(200, b'{"a":"' + b"x" * (1 << 20) + b'"}'), Outcome("unavailable", retry=True)),
        (Misdeed(301, b"", {"Location": "http://127.0.0.1:9/"}), Outcome("malformed-response", retry=True)),
        (Misdeed(404, b"<html>"), Outcome("malformed-response", retry=True)),
        (refusal(403, "M_FORBIDDEN"), Outcome("far-forbidden")),
        (refusal(404, "M_NOT_FOUND"), Outcome("not-found")),
        (refusal(413, "M_TOO_LARGE"), Outcome("too-large")),
        (refusal(400, "M_BAD_JSON"), Outcome("rejected")),
    ],
)
async def test_only_a_refusal_of_the_homeservers_own_is_final(rig: Rig, misdeed: Misdeed, outcome: Outcome) -> None:
    await rig.connect()
    await rig.ready()
    rig.server.misdeeds["PUT"] = [misdeed] * (2 if misdeed.hang_up else 1)  # the first may be a stale connection
    assert await rig.send() == outcome


async def test_a_lookup_of_what_is_not_there_is_no_failure(rig: Rig) -> None:
    await rig.connect()
    await rig.ready()
    rig.server.misdeeds["/account_data/"] = [refusal(404, "M_NOT_FOUND")]
    rig.server.misdeeds["/room_keys/version"] = [refusal(404, "M_NOT_FOUND")]
    rig.server.misdeeds["/send/m.room.encrypted/"] = [refusal(404, "M_NOT_FOUND")]
    absent = Outcome("not-found", expected=True)
    assert await rig.carry(names.ACCOUNT_DATA_GET, type=Opaque(v="m.secret_storage.default_key")) == absent
    assert await rig.carry(names.BACKUP_VERSION_GET) == absent
    assert await rig.send() == Outcome("not-found")


async def test_a_server_that_does_not_answer_is_given_up_in_time(rig: Rig) -> None:
    await rig.connect()
    await rig.ready()
    server = rig.half._accounts["alice"].server
    rig.server.misdeeds["GET /slow"] = [Misdeed(delay_s=1)]
    reply = await server.request("GET", "/slow", timeout_s=0.1)
    assert transport.outcome_of(reply) == Outcome("unavailable", retry=True)


async def test_before_the_log_in_requests_wait(rig: Rig) -> None:
    rig.server.misdeeds["POST /login"] = [Misdeed(delay_s=0.5)]
    await rig.connect()
    assert (await rig.send()).retry
    assert (await rig.half.carry("nobody", Carry(key="k", network="matrix", request="x", lane="l", values={}))).retry
