"""The account's identity against a real Synapse, with matrix-js-sdk as the judge of it."""

from collections.abc import Callable

import pytest

from adapters.inside_api import ContactPolicy
from adapters.matrix.inside_identity import shown_recovery_key, state_of
from crypto.olm.storage import StorageKey, recovery_key
from rig.synapse import Synapse
from tests.conftest import BobFactory
from tests.interop.matrix_gateway import MatrixGateway, opened, until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]


async def test_a_client_that_shuts_out_unsigned_devices_talks_both_ways_and_shows_no_shield(
    synapse: Synapse, unique: Callable[[str], str], gateways: list[MatrixGateway], bob_factory: BobFactory
) -> None:
    alice, account = synapse.account(unique("alice")), synapse.account(unique("bob"))
    bob = await bob_factory(account, strict=True)
    one = await opened(gateways, synapse, alice, account)
    await until(lambda: state_of(one.step).stored)
    for number in range(5):
        one.send(f"from Alice {number}", f"a{number}")
    seen = await bob.wait_messages(5)
    assert [(message.body, message.shield) for message in seen] == [(f"from Alice {n}", "none") for n in range(5)]
    assert not bob.undecryptable
    room = await bob.joined_room(inviter=alice.user_id)
    for number in range(5):
        await bob.send(room, f"from Bob {number}")
    await until(lambda: len(one.texts) == 5)
    assert one.texts == [f"from Bob {number}" for number in range(5)]
    device = one.marks["device"]
    assert (await bob.ask("identity", user=alice.user_id, device=device))["device_signed"] is True


async def test_the_recovery_key_opens_the_identity_for_the_owners_own_client(
    synapse: Synapse, unique: Callable[[str], str], gateways: list[MatrixGateway], bob_factory: BobFactory
) -> None:
    alice, account = synapse.account(unique("alice")), synapse.account(unique("bob"))
    one = await opened(gateways, synapse, alice, account)
    await until(lambda: state_of(one.step).stored)
    written = shown_recovery_key(one.step)
    element = await bob_factory(alice, cross_sign=False)
    found = await element.ask("recover_identity", recovery_key=written)
    assert found["ready"] is True
    assert all(found["status"]["privateKeysCachedLocally"].values())


async def test_an_identity_that_another_client_made_is_left_alone(
    synapse: Synapse, unique: Callable[[str], str], gateways: list[MatrixGateway], bob_factory: BobFactory
) -> None:
    alice, account = synapse.account(unique("alice")), synapse.account(unique("bob"))
    element = await bob_factory(alice)
    one = await opened(gateways, synapse, alice, account)
    await until(lambda: state_of(one.step).elsewhere)
    assert state_of(one.step).own is None
    assert (await element.ask("identity", user=alice.user_id, device=element.device_id))["device_signed"] is True


async def test_the_gateway_joins_the_identity_and_the_storage_of_another_client_and_shows_no_shield(
    synapse: Synapse, unique: Callable[[str], str], gateways: list[MatrixGateway], bob_factory: BobFactory
) -> None:
    alice, account = synapse.account(unique("alice")), synapse.account(unique("bob"))
    element = await bob_factory(alice)
    written = str((await element.ask("make_secret_storage"))["recovery_key"])
    one = await opened(gateways, synapse, alice, account)
    await until(lambda: state_of(one.step).elsewhere)
    assert await recovered(one, recovery_key(StorageKey(bytes(32)))) == "wrong-key"
    assert await recovered(one, written) == "ok"
    await until(lambda: state_of(one.step).vouched == one.marks["device"])
    bob = await bob_factory(account, strict=True)
    one.send("from Alice", "a0")
    (seen,) = await bob.wait_messages(1)
    assert (seen.body, seen.shield) == ("from Alice", "none")
    found = await element.ask("identity", user=alice.user_id, device=one.marks["device"])
    assert found["device_signed"] is True


async def recovered(gateway: MatrixGateway, secret: str) -> str | None:
    """What comes of recovering with this key."""

    def outcome() -> str | None:
        return gateway.inside.own_identity(gateway.step.records, gateway.step.account).recovered

    gateway.commit(lambda: begun(gateway, secret))
    await until(lambda: outcome() != "started")
    return outcome()


def begun(gateway: MatrixGateway, secret: str) -> None:
    """The operator's order."""
    assert gateway.inside.recover(gateway.step, secret) == "started"


async def test_messages_are_held_when_the_contacts_identity_is_reset_and_pass_once_that_is_approved(
    synapse: Synapse, unique: Callable[[str], str], gateways: list[MatrixGateway], bob_factory: BobFactory
) -> None:
    alice, account = synapse.account(unique("alice")), synapse.account(unique("bob"))
    first = await bob_factory(account)
    one = await opened(gateways, synapse, alice, account)
    one.send("before", "a0")
    await first.wait_messages(1)
    second = await bob_factory(account)  # it has no recovery key: it resets the identity
    await until(lambda: "identity-changed" in one.step.codes())
    one.send("held", "a1")
    room = (await second.rooms())[0]["room"]
    await second.send(room, "from the new identity")
    await until(lambda: any(trace[2] == "identity-changed" for trace in one.step.traces))
    assert one.texts == []
    assert not one.step.failures
    contact = one.step.account.contacts[0]
    one.commit(lambda: approve(one, contact))
    await second.wait_until(
        lambda: "held" in [message.body for message in second.messages], timeout_s=30, what="what was held"
    )
    await until(lambda: one.texts == ["from the new identity"])


def approve(gateway: MatrixGateway, contact: ContactPolicy) -> None:
    """The operator's decision."""
    assert gateway.inside.trust(gateway.step, contact, "approve") == "ok"
