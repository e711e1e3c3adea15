"""The whole gateway as an application service: registered by its own command, with Alice on XMPP and a strict Bob."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from rig.alice import Alice
from rig.lockgate import Lockgate, Tenant
from rig.prosody import Prosody
from rig.services import free_port
from rig.synapse import SERVER_NAME, MatrixAccount, Synapse
from tests.conftest import BobFactory

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]
GHOST, BOB = f"@xmpp_alice:{SERVER_NAME}", f"@bob:{SERVER_NAME}"


@pytest_asyncio.fixture
async def lockgate(short_path: Path, prosody: Prosody, unique: Callable[[str], str]) -> AsyncIterator[Lockgate]:
    """Not configured yet; ended after the test."""
    made = Lockgate(short_path / "lockgate")
    yield made
    await asyncio.to_thread(made.stop)


@pytest.fixture
def homeserver(tmp_path: Path) -> Synapse:
    """Not started: it is to be told of the application service first."""
    return Synapse(tmp_path)


async def tell(lockgate: Lockgate, *words: str) -> str:
    """A command that succeeds; returns what it printed."""
    ended = await asyncio.to_thread(lockgate.tell, *words)
    assert ended.status == 0, ended.output
    return ended.output


async def test_a_server_owner_registers_the_gateway_and_its_user_talks_with_bob(
    lockgate: Lockgate, homeserver: Synapse, prosody: Prosody, unique: Callable[[str], str], bob_factory: BobFactory
) -> None:
    component, account = prosody.component(), prosody.account(unique("alice"))
    tenant = Tenant("alice", account, MatrixAccount(GHOST, "", homeserver.url), {"bob": BOB}, ghost=True)
    files = {"as_token_file": "secrets/appservice-as", "hs_token_file": "secrets/appservice-hs"}
    service = {"users": f"@xmpp_*:{SERVER_NAME}", "listen": f"127.0.0.1:{free_port()}", **files}
    lockgate.configure(component, homeserver.url, [tenant], service)
    file = lockgate.folder / "registration.yaml"
    await tell(lockgate, "matrix", "registration", "--write", str(file))
    homeserver.register(file.read_text())
    alice = Alice(lockgate.folder / "alice", account, f"bob@{component.jid}")
    try:
        await homeserver.begin()
        bob = await bob_factory(homeserver.account("bob"), strict=True)
        assert "will be made" in await tell(lockgate, "check")
        await lockgate.begin()
        await alice.start()
        for number in range(20):
            await alice.send(f"to Bob {number}")
        seen = await bob.wait_messages(20, timeout_s=90)
        assert [(message.body, message.shield) for message in seen] == [(f"to Bob {n}", "none") for n in range(20)]
        room = await bob.joined_room(inviter=GHOST)
        for number in range(20):
            if number == 10:
                gateway = lockgate.child("gateway")
                assert gateway is not None
                gateway.kill()
            await bob.send(room, f"to Alice {number}")
        heard = await alice.wait_messages(20, timeout_s=90)
        await alice.send("the end")
        await bob.wait_messages(21, timeout_s=60)
        assert [message.body for message in heard] == [f"to Alice {number}" for number in range(20)]
        assert len(alice.messages) == 20
        assert not bob.undecryptable
        assert "belongs to the application service" in await tell(lockgate, "check")
    finally:
        await alice.stop()
        await asyncio.to_thread(lockgate.stop)
        homeserver.stop()
