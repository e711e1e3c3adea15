"""Keys that come late, or by another way, against a real Synapse and matrix-js-sdk's Rust crypto."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from adapters.matrix.inside_backup import BackupState
from adapters.matrix.inside_backup import state_of as backup_of
from adapters.matrix.inside_identity import shown_recovery_key, state_of
from adapters.matrix.inside_origin import MARK
from rig.bob.client import Bob
from rig.synapse import Synapse
from tests.conftest import BobFactory
from tests.interop.matrix_gateway import MatrixGateway, opened, until
from tests.interop.test_matrix_identity import recovered

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]


def backup(gateway: MatrixGateway) -> BackupState:
    """How its backup stands."""
    return backup_of(gateway.step)


async def history(client: Bob, room: str, count: int) -> list[str | None]:
    """What the client can read of the room, once there is as much."""
    shown: list[dict[str, Any]] = []
    async with asyncio.timeout(30):
        while len([event for event in shown if event["body"] is not None]) < count:
            shown = await client.ask("history", room=room)
            await asyncio.sleep(0.1)
    return [event["body"] for event in shown]


async def test_the_users_other_client_reads_the_history_from_the_backup_that_the_gateway_wrote(
    synapse: Synapse, unique: Callable[[str], str], gateways: list[MatrixGateway], bob_factory: BobFactory
) -> None:
    alice, account = synapse.account(unique("alice")), synapse.account(unique("bob"))
    bob = await bob_factory(account, strict=True)
    one = await opened(gateways, synapse, alice, account)
    await until(lambda: bool(backup(one).version))
    one.send("from Alice", "a0")
    await bob.wait_messages(1)
    room = await bob.joined_room(inviter=alice.user_id)
    await bob.send(room, "from Bob")
    await until(lambda: one.texts == ["from Bob"])
    await until(lambda: one.step.codes().count("key-backed-up") == 2)
    written = shown_recovery_key(one.step)
    element = await bob_factory(alice, cross_sign=False)
    assert (await element.ask("recover_identity", recovery_key=written))["ready"] is True
    found = await element.ask("backup_restore")
    assert found == {"imported": 2, "total": 2}
    status = await element.ask("backup_status")
    assert status["trust"] == {"trusted": True, "matchesDecryptionKey": True}
    assert status["active"] == backup(one).version
    assert await history(element, room, 2) == ["from Alice", "from Bob"]


async def test_a_backup_that_the_users_other_client_made_anew_is_left_alone_until_the_recovery_key_joins_it(
    synapse: Synapse, unique: Callable[[str], str], gateways: list[MatrixGateway], bob_factory: BobFactory
) -> None:
    alice, account = synapse.account(unique("alice")), synapse.account(unique("bob"))
    element = await bob_factory(alice)
    written = str((await element.ask("make_secret_storage"))["recovery_key"])
    await element.ask("backup_make")
    one = await opened(gateways, synapse, alice, account)
    await until(lambda: state_of(one.step).elsewhere)
    assert await recovered(one, written) == "ok"
    await until(lambda: backup(one).version == "1")
    await element.ask("backup_make")
    bob = await bob_factory(account)
    room = await bob.create_direct_room(alice.user_id)
    await until(lambda: any(one.step.records.names("room/")))
    await bob.send(room, "from Bob")
    await until(lambda: one.texts == ["from Bob"])
    await until(lambda: ("backup-put", "not-found") in [(name, told.code) for name, told in one.outcomes])
    one.commit(lambda: one.inside.started(one.step, resumed=True))
    await until(lambda: backup(one).problem == "foreign")
    assert await recovered(one, written) == "ok"
    await until(lambda: backup(one).version == "2")
    await until(lambda: "key-backed-up" in one.step.codes())
    assert (await element.ask("backup_count"))["count"] >= 1


async def withheld_at_first(
    synapse: Synapse,
    unique: Callable[[str], str],
    gateways: list[MatrixGateway],
    bob_factory: BobFactory,
    *,
    kept: bool,
) -> tuple[MatrixGateway, Bob, str]:
    """A gateway whose device is not signed yet, which a strict Bob therefore did not give the key of his message.

    Alice's other client has the key, and with `kept` put it into the backup. Returns her recovery key as well.
    """
    alice, account = synapse.account(unique("alice")), synapse.account(unique("bob"))
    element = await bob_factory(alice)
    written = str((await element.ask("make_secret_storage"))["recovery_key"])
    if kept:
        await element.ask("backup_make")
    one = await opened(gateways, synapse, alice, account)
    await until(lambda: state_of(one.step).elsewhere)
    bob = await bob_factory(account, strict=True)
    room = await bob.create_direct_room(alice.user_id)
    await until(lambda: any(one.step.records.names("room/")))
    await element.wait_until(
        lambda: any(event.get("event") == "joined" for event in element.events), timeout_s=30, what="the room"
    )
    await bob.send(room, "withheld")
    await element.wait_messages(1)
    await until(lambda: (one.step.traces or [(0, "", "")])[-1][2] == "withheld-unverified")
    assert one.texts == []
    assert ("bob" in one.step.notices[-1][0], one.step.notices[-1][1]) == (True, "key-withheld-unverified")
    if kept:
        count = 0
        while count == 0:  # it waits up to ten seconds, at random
            count = (await element.ask("backup_count"))["count"]
    return one, element, written


async def test_the_gateway_reads_what_was_withheld_from_the_backup_of_the_users_other_client(
    synapse: Synapse, unique: Callable[[str], str], gateways: list[MatrixGateway], bob_factory: BobFactory
) -> None:
    one, element, written = await withheld_at_first(synapse, unique, gateways, bob_factory, kept=True)
    await element.ask("stop_sync")  # it answers no requests
    assert await recovered(one, written) == "ok"
    await until(lambda: bool(one.texts))
    assert one.texts == [MARK + "withheld"]
    assert "key-from-backup" in one.step.codes()
    assert not list(one.step.records.names("parked/"))
    assert not list(one.step.records.names("missing/"))


async def test_the_gateway_asks_the_users_other_client_for_a_key_that_was_withheld(
    synapse: Synapse, unique: Callable[[str], str], gateways: list[MatrixGateway], bob_factory: BobFactory
) -> None:
    one, _, written = await withheld_at_first(synapse, unique, gateways, bob_factory, kept=False)
    assert await recovered(one, written) == "ok"
    await until(lambda: bool(one.texts), timeout_s=60)
    assert one.texts == [MARK + "withheld"]
    assert "key-from-forwarded" in one.step.codes()
    assert not list(one.step.records.names("missing/"))
