"""OMEMO: a marker and the keys of a conversation are looked for where nobody may have them.

Alice has a device of each form. Keys are read where they may be: in her clients' stores after every message, which are
those of the enclave's other end, and in the ledger opened with the sealing key: the contact's own, and its sessions'.
"""

import asyncio
import base64
import json
import os
import secrets
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from crypto.enclave.seal import Sealer
from crypto.omemo import curve
from rig.omemo_user import OmemoUser
from rig.prosody import Prosody
from rig.scene import Scene
from rig.search import Find, in_files, in_memory, in_octets
from rig.synapse import Synapse
from tests.interop.omemo_clients import Clients

pytestmark = [
    pytest.mark.boundary,
    pytest.mark.interop,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="reading the memory of other processes needs root"),
]

ROUNDS = 10
_PREKEYS = 2
"""So many of each form's prekeys are looked for."""
_OF_CLIENT, _OF_RATCHET = {"key", "own_ratchet_priv", "message_key"}, {"key", "own_key"}


@pytest_asyncio.fixture
async def scene(
    short_path: Path, prosody: Prosody, synapse: Synapse, unique: Callable[[str], str]
) -> AsyncIterator[Scene]:
    """A gateway of its own with OMEMO on, and Bob."""
    made = Scene(short_path, prosody, synapse, suffix=unique("oc"))
    made.omemo = {"use": "on"}
    try:
        await made.prepare()
        await made.lockgate.begin()
        await made.log_in_bob()
        await made.omemo_device()
        yield made
    finally:
        await made.close()


@pytest_asyncio.fixture
async def devices(scene: Scene) -> AsyncIterator[tuple[OmemoUser, OmemoUser]]:
    """Alice's: one of omemo:2, one of the older form."""
    clients, contact = Clients(scene.folder), scene.alice.contact
    new, old = clients.user(scene.alice_account, "new", "omemo:2"), clients.user(scene.alice_account, "old", "axolotl")
    try:
        await new.start()
        await new.subscribe(contact)
        await old.start()
        for one in (new, old):
            await one.wait_for(lambda e: e.get("event") == "list" and e["of"] == contact, what="the contact's list")
        yield new, old
    finally:
        await clients.stop()


# ---------------------------------------------------------------------------------------------------- the keys
def _values(found: Any, names: set[str]) -> Iterator[Any]:
    """What stands under these names, at any depth."""
    for name, value in (
        found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    ):
        if name in names and isinstance(value, str | bytes):
            yield value
        yield from _values(value, names)


def _of_client(user: OmemoUser) -> set[bytes]:
    """Chain keys, root keys, private ratchet keys and keys of messages that did not come, in the client's store."""
    stored = json.loads((user.folder / f"{user.name}.store").read_text())
    return {text.encode("latin-1") for text in _values(stored, _OF_CLIENT) if len(text) == 32}


def _records(scene: Scene) -> dict[str, Any]:
    """The contact's OMEMO records: the ledger's, opened with the sealing key."""
    key = base64.b64decode((scene.lockgate.folder / "secrets" / "sealing").read_text())
    sealer = Sealer("alice", key, lambda _, size: os.urandom(size))
    ledger = sqlite3.connect(f"file:{scene.lockgate.ledger}?mode=ro", uri=True, timeout=30)
    try:
        rows = ledger.execute("SELECT name, version, sealed FROM state WHERE account = 'alice'").fetchall()
    finally:
        ledger.close()
    opened = dict(sealer.open(*row) for row in rows)
    return {name: msgspec.msgpack.decode(content) for name, content in opened.items() if "omemo/bob/" in name}


def _of_contact(records: dict[str, Any]) -> list[bytes]:
    """The private identity key and what it is made from; private signed prekeys and prekeys of both forms."""
    (seed,) = _values(list(records.values()), {"seed"})
    stored = [found for found in records.values() if isinstance(found, dict) and "prekeys" in found]
    prekeys = [key["private"] for keys in stored for key in [keys["signed"], *keys["prekeys"][:_PREKEYS]]]
    return [seed, curve.private_key(seed), *prekeys]


# ---------------------------------------------------------------------------------------------------- the searches
def _in_process(scene: Scene, role: str, needles: list[bytes]) -> list[Find]:
    child = scene.lockgate.child(role)
    assert child is not None
    return in_memory(needles, child.pid, role)


def _outside(scene: Scene, needles: list[bytes]) -> list[Find]:
    found = in_memory(needles, scene.lockgate.pid, "supervisor") + _in_process(scene, "gateway", needles)
    for folder in (scene.lockgate.folder, scene.xmpp.folder, scene.synapse.folder):
        found += in_files(needles, folder)
    for place, tap in (("the XMPP connection", scene.xmpp_tap), ("the Matrix connections", scene.matrix_tap)):
        assert tap.octets > 100 * ROUNDS
        for capture in tap.captures:
            found += in_octets(needles, place, capture.to_server) + in_octets(needles, place, capture.to_client)
    return found


async def _converse(scene: Scene, devices: tuple[OmemoUser, OmemoUser], marker: str) -> list[set[bytes]]:
    """By turns, Alice last and once more, from each device in turn. Returns the keys of her devices at each turn."""
    room, keys = "", []
    for number in range(2 * ROUNDS):
        await devices[number % 2].send(scene.alice.contact, f"{marker} from Alice {number}")
        room = room or await scene.room(timeout_s=90)
        await scene.bob.wait_messages(number + 1)
        if number < 2 * ROUNDS - 2:
            text = f"from Bob {number} {marker}"
            await scene.bob.send(room, text)
            await asyncio.gather(*(_read(one, text) for one in devices))
        keys.append(_of_client(devices[0]) | _of_client(devices[1]))
    return keys


async def _read(user: OmemoUser, text: str) -> None:
    await user.wait_for(lambda e: e.get("body") == text, what="Bob's message")


async def test_marker_and_omemo_keys_are_nowhere_outside(scene: Scene, devices: tuple[OmemoUser, OmemoUser]) -> None:
    marker = f"canary{secrets.token_hex(10)}"
    turns = await _converse(scene, devices, marker)
    records = await asyncio.to_thread(_records, scene)
    contact, sessions = _of_contact(records), set(_values(list(records.values()), _OF_RATCHET))
    assert len(contact) == 2 + 2 * (1 + _PREKEYS)
    shared = sorted(turns[-1] & sessions)
    assert len(shared) >= len(devices)  # the chains that came last, one with each device
    over_time = turns[0] | turns[ROUNDS] | turns[-1]
    assert len(over_time) > len(turns[-1])
    # What the searches find nothing of is there where it may be: they can see it.
    assert in_memory([marker.encode()], devices[0].pid, "Alice's client")
    for key in (contact[0], contact[-1], *shared):
        assert _in_process(scene, "enclave", [key])

    assert _outside(scene, [marker.encode(), *contact, *sorted(sessions | over_time)]) == []
