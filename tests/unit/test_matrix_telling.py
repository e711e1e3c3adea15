"""Reading, writing, being there, name and picture: what is told of the user, and what is heard of the contact."""

import base64
import json

import pytest

from adapters.matrix import names
from adapters.matrix.inside_signals import MAX_NAME, MAX_PICTURE
from adapters.matrix.outside_profiles import Profiles
from adapters.matrix.outside_requests import http_request
from adapters.matrix.outside_signals import SignalNews
from adapters.matrix.outside_sync import Event, is_message, parsed_sync, sync_filter
from adapters.matrix.transport import Homeserver
from adapters.outside_api import Outcome
from bridge.wire.values import Address, Code, Number
from crypto.content import Reaction
from crypto.message import Availability, Message, Presence, Profile, Read, Typing
from tests.unit.matrix_server import FakeHomeserver, Misdeed, RecordingEdge
from tests.unit.matrix_world import ALICE, BOB, JSON
from tests.unit.test_matrix_content import chatting
from tests.unit.test_matrix_outside import Rig

ROOM = "!Room:one.example"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


# ---------------------------------------------------------------- of the user
def test_what_the_user_has_read_is_told_as_a_receipt_once() -> None:
    world, alice, bob = chatting()
    for _ in range(3):
        alice.signals(Read("$event1"))
    world.settle()
    assert [one.values["kind"] for one in world.sent(ALICE, names.ROOM_RECEIPT)] == [Code(v="read")]
    assert bob.step.signals == [("alice", Read("b0"))]


def test_where_receipts_are_off_only_the_users_own_homeserver_is_told() -> None:
    world, alice, bob = chatting()
    alice.allows(receipts="no")
    alice.signals(Read("$event1"))
    world.settle()
    assert [one.values["kind"] for one in world.sent(ALICE, names.ROOM_RECEIPT)] == [Code(v="read-private")]
    assert bob.step.signals == []


@pytest.mark.parametrize("up_to", ["a0", "", "$a b", "x" * 300])
def test_only_events_of_the_room_are_told_as_read(up_to: str) -> None:
    world, alice, _ = chatting()
    alice.signals(Read(up_to))
    world.settle()
    assert world.sent(ALICE, names.ROOM_RECEIPT) == []


def test_writing_and_being_there_are_told_only_where_the_operator_wants_it() -> None:
    world, alice, _ = chatting()
    alice.signals(Typing(True))
    alice.signals(Presence(Availability.AVAILABLE, "SECRET"))
    world.settle()
    assert world.sent(ALICE, names.ROOM_TYPING) == world.sent(ALICE, names.PRESENCE_PUT) == []
    alice.allows(typing="yes", presence="yes")
    alice.signals(Typing(True))
    alice.signals(Typing(False))
    for _ in range(2):
        alice.signals(Presence(Availability.AVAILABLE, "SECRET"))
    alice.signals(Presence(Availability.UNAVAILABLE, "SECRET"))
    world.settle()
    timeouts = [one.values["timeout-ms"] for one in world.sent(ALICE, names.ROOM_TYPING)]
    assert timeouts == [Number(v=30_000), Number(v=0)]
    presences = [one.values for one in world.sent(ALICE, names.PRESENCE_PUT)]
    assert presences == [{"presence": Code(v="online")}, {"presence": Code(v="offline")}]


def test_nothing_is_told_where_there_is_no_room_fit_for_it() -> None:
    world, alice, _ = chatting()
    alice.allows(typing="yes")
    world.encryption = None
    world.tell_room()
    alice.signals(Typing(True))
    alice.signals(Read("$event1"))
    world.settle()
    assert world.sent(ALICE, names.ROOM_TYPING) == world.sent(ALICE, names.ROOM_RECEIPT) == []


def test_the_requests_are_those_of_the_specification() -> None:
    values = {"room": "!r:x", "event": "$e/1", "kind": "read-private", "timeout-ms": 0, "presence": "online"}
    assert http_request(names.ROOM_RECEIPT, "k", values, "@a:x") == (
        "POST",
        "/rooms/%21r%3Ax/receipt/m.read.private/%24e%2F1",
        b"{}",
    )
    assert http_request(names.ROOM_TYPING, "k", values, "@a:x") == (
        "PUT",
        "/rooms/%21r%3Ax/typing/%40a%3Ax",
        b'{"typing": false}',
    )
    assert http_request(names.PRESENCE_PUT, "k", values, "@a:x") == (
        "PUT",
        "/presence/%40a%3Ax/status",
        b'{"presence": "online"}',
    )
    assert http_request(names.ROOM_REDACT, "k", values, "@a:x") == ("PUT", "/rooms/%21r%3Ax/redact/%24e%2F1/k", b"{}")
    method, path, body = http_request(names.ROOM_REACT, "k", {**values, "emoji": "👍".encode()}, "@a:x")
    assert (method, path) == ("PUT", "/rooms/%21r%3Ax/send/m.reaction/k")
    assert json.loads(body or b"") == {
        "m.relates_to": {"rel_type": "m.annotation", "event_id": "$e/1", "key": "👍"},
    }


# ---------------------------------------------------------------- of the contact
def read_by_bob(*event_ids: str) -> JSON:
    """A `signal` arrival."""
    return {"contact": BOB, "read": list(event_ids)}


def test_what_the_contact_has_read_is_told_by_the_users_own_ids() -> None:
    world, alice, _ = chatting()
    alice.arrives(names.SIGNAL, read_by_bob("$event0"))
    assert alice.step.signals == [("bob", Read("a0"))]
    alice.step.signals.clear()
    alice.hands_over(Message("a1", "again", replaces="a0"))
    alice.hands_over(Message("a2", "", reaction=Reaction("$event1", ("👍",))))
    world.settle()
    alice.arrives(names.SIGNAL, read_by_bob("$event2"))
    alice.arrives(names.SIGNAL, read_by_bob("$event3"))  # the words for a reaction: read up to what is before them
    assert alice.step.signals == [("bob", Read("a1")), ("bob", Read("a1"))]


def test_receipts_for_what_is_not_ours_and_where_they_are_off_are_nothing() -> None:
    _, alice, _ = chatting()
    alice.arrives(names.SIGNAL, read_by_bob("$event1", "$unknown", "malformed"))
    alice.allows(receipts="no")
    alice.arrives(names.SIGNAL, read_by_bob("$event0"))
    assert alice.step.signals == []


def test_a_receipt_that_is_faster_than_the_answer_is_not_lost() -> None:
    world, alice, _ = chatting()
    world.held = {names.ROOM_SEND}
    alice.sends("quick", "a1")
    world.settle()
    alice.arrives(names.SIGNAL, read_by_bob("$event2"))
    assert alice.step.signals == []
    world.held = set()
    world.settle()
    assert alice.step.signals == [("bob", Read("a1"))]
    assert not list(alice.step.records.names("read-early/"))


def test_the_sync_tells_changes_of_receipts_of_the_contact_alone() -> None:
    news = SignalNews()

    def told(content: object) -> list[JSON]:
        events = [{"type": "m.receipt", "content": content}]
        rooms = {"join": {ROOM: {"ephemeral": {"events": events}}}}
        sync = parsed_sync(json.dumps({"next_batch": "s", "rooms": rooms}).encode())
        assert sync is not None
        return [json.loads(body) for _, body in news.entries(sync, lambda _: BOB, frozenset({BOB}))]

    receipt = {"$e": {"m.read": {BOB: {"ts": 1}}, "m.read.private": {ALICE: {"ts": 1}}}, "$f": {"m.read": {ALICE: {}}}}
    assert told(receipt) == [{"contact": BOB, "read": ["$e"]}]
    assert told(receipt) == []
    for malformed in (7, {"$e": 7}, {"$e": {"m.read": [BOB]}}, {"$e": {"m.read": {BOB: 1}}}):
        assert told(malformed) in ([], [{"contact": BOB, "read": ["$e"]}])


def profile(**more: object) -> JSON:
    """A `profile` arrival."""
    return {"contact": BOB, "name": "Bob", "picture": "", "media_type": "", **more}


def test_a_profile_is_handed_on_with_one_line_of_a_name_and_a_picture_that_is_one() -> None:
    _, alice, _ = chatting()
    picture = base64.b64encode(PNG).decode()
    alice.arrives(names.PROFILE, profile(name=" B\u202eo\nb\0 ", picture=picture, media_type="image/png"))
    assert alice.step.signals == [("bob", Profile("Bob", PNG, "image/png"))]


@pytest.mark.parametrize(
    ("octets", "media_type"),
    [(PNG, "image/svg+xml"), (b"<svg/>", "image/png"), (PNG + bytes(MAX_PICTURE), "image/png"), (PNG, "")],
)
def test_a_picture_that_is_none_or_too_large_is_left_out(octets: bytes, media_type: str) -> None:
    _, alice, _ = chatting()
    picture = base64.b64encode(octets).decode()
    alice.arrives(names.PROFILE, profile(name="x" * 1000, picture=picture, media_type=media_type))
    assert alice.step.signals == [("bob", Profile("x" * MAX_NAME))]


def test_where_profiles_are_off_or_the_contact_is_none_nothing_is_handed_on() -> None:
    _, alice, _ = chatting()
    alice.arrives(names.PROFILE, profile(contact="@carol:two.example"))
    alice.allows(profile="no")
    alice.arrives(names.PROFILE, profile())
    assert alice.step.signals == []


# ---------------------------------------------------------------- fetching profiles
SYNC = b'{"next_batch": "s"}'


async def test_profiles_are_fetched_once_and_again_when_a_membership_shows_a_change() -> None:
    server = await FakeHomeserver(token="t").start()
    there = Homeserver(server.url, ALICE)
    there.client.access_token = "t"
    edge = RecordingEdge()
    profiles = Profiles("alice", edge, there)
    shown = Misdeed(body=b'{"displayname": "Bob", "avatar_url": "mxc://two.example/pic"}')
    server.misdeeds["/profile/"] = [shown, Misdeed(404, b'{"errcode": "M_NOT_FOUND"}')]
    server.misdeeds["/media/thumbnail/"] = [Misdeed(body=PNG)]
    sync, changed = (
        parsed_sync(SYNC),
        parsed_sync(
            json.dumps(
                {
                    "next_batch": "s",
                    "rooms": {
                        "join": {
                            ROOM: {
                                "timeline": {
                                    "events": [
                                        {"type": "m.room.member", "state_key": BOB, "sender": BOB, "content": {}}
                                    ]
                                }
                            }
                        }
                    },
                }
            ).encode()
        ),
    )
    assert sync is not None
    assert changed is not None
    try:
        for _ in range(3):
            profiles.look(sync, frozenset({BOB}))
        assert profiles._task is not None
        await profiles._task
        picture = base64.b64encode(PNG).decode()
        assert edge.named("profile") == [{"contact": BOB, "name": "Bob", "picture": picture, "media_type": "image/png"}]
        assert server.asked("/media/")[0][1].startswith("/_matrix/client/v1/media/thumbnail/two.example/pic?")
        profiles.look(changed, frozenset({BOB}))
        await profiles._task
        assert edge.named("profile")[1:] == [{"contact": BOB, "name": "", "picture": "", "media_type": ""}]
    finally:
        await profiles.close()
        await there.close()
        await server.stop()


def test_reactions_redactions_and_receipts_are_asked_for_and_handed_in() -> None:
    wanted = json.loads(sync_filter([ROOM]))["room"]
    assert {"m.reaction", "m.room.redaction"} <= set(wanted["timeline"]["types"])
    assert "m.receipt" in wanted["ephemeral"]["types"]
    assert is_message(Event(type="m.reaction"))
    assert is_message(Event(type="m.room.redaction"))
    assert not is_message(Event(type="m.reaction", state_key=""))


async def test_what_is_true_for_a_moment_is_not_tried_again() -> None:
    server = await FakeHomeserver().start()
    rig = Rig(server)
    try:
        server.misdeeds["POST /login"] = [Misdeed(delay_s=0.2)]
        await rig.connect()
        typing = {"room": Address(v=ROOM), "timeout-ms": Number(v=0)}
        assert await rig.carry(names.ROOM_TYPING, **typing) == Outcome("unavailable")
        await rig.ready()
        server.misdeeds["/typing/"] = [Misdeed(500)]
        assert await rig.carry(names.ROOM_TYPING, **typing) == Outcome("unavailable")
        await rig.carry(names.PRESENCE_PUT, presence=Code(v="online"))
        server.tell()
        await rig.until(lambda: any("set_presence=online" in path for _, path, _ in server.asked("/sync")))
        assert "set_presence=offline" in server.asked("/sync")[0][1]
    finally:
        await rig.half.close()
        await server.stop()
