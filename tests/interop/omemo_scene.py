"""A gateway with OMEMO on between an XMPP server and Matrix, and what the tests with Alice's real clients ask of it."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from rig.ejabberd import Ejabberd
from rig.omemo_user import OmemoUser
from rig.profanity_omemo import OmemoProfanity
from rig.prosody import Prosody
from rig.scene import Scene
from rig.synapse import Synapse
from rig.xmpp import XmppServer

FALLBACK = "end-to-end encrypted (OMEMO)"
"""Part of the sentence that stands beside a message for clients without OMEMO."""


def server_of(name: str, folder: Path, *, offline: bool = True) -> XmppServer:
    """A server with few components: Profanity asks each of them what it is when it logs in.

    Not `offline`: it keeps messages in the archive only.
    """
    if name == "prosody":
        return Prosody(folder, components=12, offline=offline)
    return Ejabberd(folder, components=12, shaped=False, offline=offline)


@contextlib.asynccontextmanager
async def opened(
    folder: Path, server: XmppServer, synapse: Synapse, suffix: str, *, trust: str | None = None
) -> AsyncIterator[Scene]:
    """The gateway runs, Bob is there, and is a device at Alice's end; Alice has no client yet."""
    made = Scene(folder, server, synapse, suffix=suffix)
    made.omemo = {"use": "on", **({"trust": trust} if trust else {})}
    try:
        await made.prepare()
        await made.lockgate.begin()
        await made.log_in_bob()
        await made.omemo_device()
        yield made
    finally:
        await made.close()


# ---------------------------------------------------------------- what came
async def bob_has(scene: Scene, wanted: Sequence[str], timeout_s: float = 60.0) -> None:
    """Bob was shown these, in this order, and nothing else; all encrypted, with nothing to warn of."""
    await scene.bob.wait_messages(len(wanted), timeout_s=timeout_s)
    assert [message.body for message in scene.bob.messages] == list(wanted)
    assert all(message.encrypted and message.shield == "none" for message in scene.bob.messages)


async def user_has(user: OmemoUser, wanted: Sequence[str], timeout_s: float = 60.0) -> None:
    """The device read these, in this order, and nothing else; nothing came that it could not open."""
    await user.wait_messages(len(wanted), timeout_s=timeout_s)
    assert user.bodies == list(wanted)
    assert not user.told("undecryptable"), user.told("undecryptable")


async def profanity_has(profanity: OmemoProfanity, wanted: Sequence[str], timeout_s: float = 60.0) -> None:
    """Profanity has written down each of these once, in this order, and no sentence in the place of a message."""
    await profanity.wait_chat(wanted[-1], timeout_s=timeout_s)
    log = profanity.chat_log()
    assert [text for text in wanted if log.count(text) != 1] == []
    assert sorted(wanted, key=log.index) == list(wanted)
    assert FALLBACK not in log


# ---------------------------------------------------------------- what went over the wire
def written(scene: Scene, what: bytes) -> int:
    """How often the gateway wrote this to the XMPP server."""
    return sum(capture.to_server.count(what) for capture in scene.xmpp_tap.captures)


def written_to(scene: Scene, device: int) -> int:
    """How many messages held a key for that device."""
    return written(scene, b'rid="%d"' % device)


async def wait_written(scene: Scene, what: bytes, count: int = 1, timeout_s: float = 60.0) -> None:
    """Until the gateway has written this so often."""
    async with asyncio.timeout(timeout_s):
        while written(scene, what) < count:  # noqa: ASYNC110 - a tap tells nobody
            await asyncio.sleep(0.05)


# ---------------------------------------------------------------- what people do
async def locked(scene: Scene, profanity: OmemoProfanity) -> str:
    """The contact is added, and the lock is on; the contact's address."""
    contact = scene.alice.contact
    await profanity.befriend(contact)
    await profanity.lock(contact)
    return contact


async def trust(scene: Scene, decision: str, *more: str) -> str:
    """`lockgate trust verify` or `distrust` for one of Alice's devices; what it said."""
    ended = await asyncio.to_thread(scene.lockgate.tell, "trust", decision, "alice", "bob", *more)
    assert ended.status == 0, ended.output
    return ended.output


def connections(scene: Scene) -> int:
    """How often the gateway has connected to the XMPP server."""
    return scene.lockgate.log.read_text().count("Connected to the XMPP server as a component.")


async def wait_connected(scene: Scene, before: int, timeout_s: float = 60.0) -> None:
    """Until it is connected again."""
    async with asyncio.timeout(timeout_s):
        while connections(scene) == before:  # noqa: ASYNC110 - a log tells nobody
            await asyncio.sleep(0.05)


def kill(scene: Scene, role: str) -> None:
    """End the gateway's or the enclave's process as a power cut would."""
    child = scene.lockgate.child(role)
    assert child is not None
    child.send_signal(signal.SIGKILL)
