"""The application service: ghosts and their devices; transactions, acknowledged when their news are in the ledger."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from adapters.matrix import outside_appservice, outside_appservice_pace, outside_appservice_port
from adapters.matrix.outside import MatrixOutside
from tests.unit.appservice_world import ALICE, BOB, CAROL, HS_TOKEN, ROOMS, Rig, rig_of
from tests.unit.matrix_server import JSON, refusal

pytestmark = pytest.mark.timeout(60)
AUTHORISED = {"Authorization": f"Bearer {HS_TOKEN}"}


@pytest_asyncio.fixture
async def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    """Ghosts that soon stop asking when nobody rings."""
    monkeypatch.setattr(outside_appservice_pace, "LINGER_S", 0.2)
    monkeypatch.setattr(outside_appservice_pace, "LINGERING_POLL_S", 1)
    async with rig_of(tmp_path) as made:
        yield made


async def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.01)


async def quiet(rig: Rig) -> None:
    """Return when nobody has asked for news for a while."""
    while True:
        before = rig.server.syncs_of(ALICE), rig.server.syncs_of(CAROL)
        await asyncio.sleep(0.5)
        if before == (rig.server.syncs_of(ALICE), rig.server.syncs_of(CAROL)):
            return


# ---------------------------------------------------------------- ghosts
async def test_every_request_says_for_which_ghost_and_device_it_is(rig: Rig) -> None:
    for path, user, device in rig.server.asserted:
        if "appservice" in path or path == "/register":
            assert (user, device) == (None, None)
        elif path.startswith("/devices/"):
            assert (user in (ALICE, CAROL), device) == (True, None)
        else:
            assert {device} == rig.server.devices[user or ""]
    registered = [json.loads(body) for method, path, body in rig.server.requests if path == "/register"]
    assert sorted(each["username"] for each in registered) == ["xmpp_alice", "xmpp_carol"]
    assert all(each["inhibit_login"] is True for each in registered)
    assert not rig.server.asked("/login")


async def test_a_ghost_keeps_its_device_until_the_homeserver_has_removed_it(rig: Rig) -> None:
    before = set(rig.server.devices[ALICE])
    await rig.restart()
    assert rig.server.devices[ALICE] == before
    await quiet(rig)  # what is asked already is answered without a look at the device
    rig.server.devices[ALICE].clear()
    await rig.put(1, *rig.server.write(ALICE, 1))
    await until(lambda: rig.event_ids(ALICE) == ["$1"])
    assert len(rig.server.devices[ALICE]) == 1
    assert rig.server.devices[ALICE] != before
    told = [json.loads(row.body) for row in rig.ledger.read_inbox("alice", 0, 100) if row.name == "device"]
    assert told[-1]["device_id"] in rig.server.devices[ALICE]


# ---------------------------------------------------------------- transactions
async def test_nobody_asks_for_news_until_a_transaction_tells_of_some(rig: Rig) -> None:
    await quiet(rig)
    before = rig.server.syncs_of(CAROL)
    assert await rig.put(1, *rig.server.write(ALICE, 1)) == (200, {})
    assert rig.event_ids(ALICE) == ["$1"]
    await quiet(rig)
    assert rig.server.syncs_of(CAROL) == before


async def test_a_transaction_is_acknowledged_when_its_events_are_in_the_ledger_and_not_before(rig: Rig) -> None:
    await quiet(rig)
    rig.edge.held = frozenset({"alice"})
    answer = asyncio.create_task(rig.put(1, *rig.server.write(ALICE, 1, 2)))
    await until(lambda: len(rig.server.news[ALICE]) == 1)
    done, _ = await asyncio.wait([answer], timeout=1.5)
    assert not done
    assert rig.event_ids(ALICE) == []
    rig.edge.held = frozenset()
    assert await answer == (200, {})
    assert rig.event_ids(ALICE) == ["$1", "$2"]


async def test_a_transaction_that_comes_again_has_no_second_effect(rig: Rig) -> None:
    events = rig.server.write(ALICE, 1, 2)
    for _ in range(3):
        assert await rig.put(1, *events) == (200, {})
    await asyncio.gather(*(rig.put(1, *events) for _ in range(5)))
    await rig.restart()
    assert await rig.put(1, *events) == (200, {})
    await quiet(rig)
    assert rig.event_ids(ALICE) == ["$1", "$2"]


async def test_a_crash_between_two_accounts_repeats_for_neither(rig: Rig) -> None:
    await quiet(rig)
    rig.edge.held = frozenset({"carol"})
    events = [*rig.server.write(ALICE, 1), *rig.server.write(CAROL, 2)]
    answer = asyncio.create_task(rig.put(1, *events))
    await until(lambda: rig.event_ids(ALICE) == ["$1"])
    await rig.restart()
    with pytest.raises(Exception):  # noqa: B017, PT011 - the connection broke, in whatever way
        await answer
    assert await rig.put(1, *events) == (200, {})
    await quiet(rig)
    assert (rig.event_ids(ALICE), rig.event_ids(CAROL)) == (["$1"], ["$2"])


async def test_an_account_that_is_down_does_not_hold_up_the_others(rig: Rig) -> None:
    await quiet(rig)
    rig.server.misdeeds["xmpp_carol"] = [refusal(500, "M_UNKNOWN")] * 100
    events = [*rig.server.write(ALICE, 1), *rig.server.write(CAROL, 2)]
    async with asyncio.timeout(5):
        assert await rig.put(1, *events) == (200, {})
    assert rig.event_ids(ALICE) == ["$1"]
    rig.server.misdeeds["xmpp_carol"].clear()
    await until(lambda: rig.event_ids(CAROL) == ["$2"])


async def test_news_that_never_come_are_acknowledged_after_the_homeserver_was_asked(rig: Rig) -> None:
    ghostly: JSON = {"type": "m.room.encrypted", "sender": BOB, "event_id": "$none", "room_id": ROOMS[ALICE]}
    before = rig.server.syncs_of(ALICE)
    assert await rig.put(1, ghostly) == (200, {})
    assert rig.server.syncs_of(ALICE) > before
    assert rig.event_ids(ALICE) == []


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"events": 7}', b'{"events": [7]}', b"\xff" * 100, b"[" * 100_000], ids=repr
)
async def test_a_transaction_that_cannot_be_read_lets_everybody_ask_and_is_not_repeated(rig: Rig, body: bytes) -> None:
    await quiet(rig)
    rig.server.write(ALICE, 1)
    before = rig.server.syncs_of(CAROL)
    assert await rig.put(1, body=body) == (200, {})
    await until(lambda: rig.event_ids(ALICE) == ["$1"] and rig.server.syncs_of(CAROL) > before)


async def test_a_transaction_that_is_too_large_is_treated_likewise(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside_appservice_port, "MAX_TRANSACTION", 1000)
    await rig.restart()
    await quiet(rig)
    rig.server.write(ALICE, 1)
    assert await rig.put(1, body=b" " * 5000) == (200, {})
    await until(lambda: rig.event_ids(ALICE) == ["$1"])


async def test_a_transaction_that_cannot_be_stored_in_time_is_refused_so_that_it_comes_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outside_appservice_port, "ACKNOWLEDGED_WITHIN_S", 0.3)
    rig.edge.held = frozenset({"alice"})
    status, body = await rig.put(1, *rig.server.write(ALICE, 1))
    assert (status, body["errcode"]) == (503, "M_UNKNOWN")


# ---------------------------------------------------------------- the port
@pytest.mark.parametrize(
    ("token", "status", "errcode"),
    [
        (None, 401, "M_UNAUTHORIZED"),
        ("", 401, "M_UNAUTHORIZED"),
        (HS_TOKEN[:-1], 403, "M_FORBIDDEN"),
        (HS_TOKEN + "h", 403, "M_FORBIDDEN"),
        ("é" * 64, 403, "M_FORBIDDEN"),
    ],
)
async def test_only_the_homeserver_is_listened_to(rig: Rig, token: str | None, status: int, errcode: str) -> None:
    await quiet(rig)
    before = len(rig.server.requests)
    found, body = await rig.put(1, *rig.server.write(ALICE, 1), token=token)
    assert (found, body["errcode"]) == (status, errcode)
    assert len(rig.server.requests) == before
    assert rig.event_ids(ALICE) == []


async def test_the_homeserver_learns_which_users_there_are_and_that_there_are_no_rooms(rig: Rig) -> None:
    assert await rig.call("GET", "users/%40xmpp_alice%3Aone.example", None, AUTHORISED) == (200, {})
    for path in ("users/%40xmpp_mallory%3Aone.example", "rooms/%23any%3Aone.example"):
        assert (await rig.call("GET", path, None, AUTHORISED))[1]["errcode"] == "M_NOT_FOUND"
    assert await rig.call("POST", "ping", b'{"transaction_id":"x"}', AUTHORISED) == (200, {})
    assert (await rig.call("GET", "thirdparty/protocol/irc", None, AUTHORISED))[1]["errcode"] == "M_UNRECOGNIZED"
    assert (await rig.call("GET", "users/%40xmpp_alice%3Aone.example", None, {}))[0] == 401


async def test_a_homeserver_that_does_not_reach_us_is_asked_as_by_any_client(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outside_appservice, "PING_AGAIN_S", 0.1)
    rig.server.reached = False
    await rig.restart()
    await until(lambda: (None, "down") in rig.health)
    rig.server.write(ALICE, 1)
    await until(lambda: rig.event_ids(ALICE) == ["$1"])
    rig.server.reached = True
    await until(lambda: rig.health[-1] == (None, "up"))
    await quiet(rig)


async def test_an_address_that_is_taken_is_told_and_messages_pass_meanwhile(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outside_appservice, "LISTEN_AGAIN_S", 0.1)
    await rig.half.close()
    taken = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", rig.port)
    rig._make()
    await rig.start()
    await until(lambda: (None, "down") in rig.health)
    rig.server.write(ALICE, 1)
    await until(lambda: rig.event_ids(ALICE) == ["$1"])
    taken.close()
    await taken.wait_closed()
    await until(lambda: rig.health[-1] == (None, "up"))


async def test_a_ghost_that_was_mapped_before_the_gateway_knows_its_service_talks_as_any_client(rig: Rig) -> None:
    await rig.half.close()
    rig.half = MatrixOutside({"homeserver": rig.server.url})
    await rig.half.connect(rig.edge, rig.routes())
    rig.server.write(ALICE, 1)
    await until(lambda: rig.event_ids(ALICE) == ["$1"])
