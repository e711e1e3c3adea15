"""`lockgate chat` and the whole gateway: what happens inside a session beside texts. Real Prosody, Synapse, Bob."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from rig.alice import Alice
from rig.prosody import Prosody
from rig.scene import Scene
from rig.synapse import Synapse

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

MANY = 300


@pytest_asyncio.fixture
async def scene(
    short_path: Path, prosody: Prosody, synapse: Synapse, unique: Callable[[str], str]
) -> AsyncIterator[Scene]:
    """A gateway of its own, with both clients logged in."""
    made = Scene(short_path, prosody, synapse, suffix=unique("g"))
    try:
        yield await made.open()
    finally:
        await made.close()


async def opened(scene: Scene) -> str:
    """The room, once a first message has gone each way."""
    await scene.alice.send("first of Alice's")
    room = await scene.room(timeout_s=90)
    await scene.bob.wait_messages(1)
    await scene.bob.send(room, "first of Bob's")
    await scene.alice.wait_messages(1)
    return room


async def test_three_hundred_messages_each_way_renew_the_keys_and_lose_nothing(scene: Scene) -> None:
    room = await opened(scene)
    fresh = await scene.alice.session()
    assert (fresh["post_quantum"], fresh["profile"], fresh["stanzas"]) == (
        True,
        "letter",
        ["message", "presence", "iq"],
    )
    assert "ml-kem-768" in fresh["suite"]

    async def alice_talks() -> None:
        for number in range(MANY):
            await scene.alice.send(f"a{number}")

    async def bob_talks() -> None:
        for number in range(MANY):
            await scene.bob.send(room, f"b{number}")

    await asyncio.gather(alice_talks(), bob_talks())
    await scene.bob.wait_messages(MANY + 1, timeout_s=120)
    await scene.alice.wait_messages(MANY + 1, timeout_s=120)
    assert await scene.alice.flushed() == 0
    assert [m.body for m in scene.bob.messages[1:]] == [f"a{n}" for n in range(MANY)]
    assert [m.body for m in scene.alice.messages[1:]] == [f"b{n}" for n in range(MANY)]
    after = await scene.alice.session()
    # one session all along; each end brought new keys about once for a hundred stanzas
    assert after["thread"] == fresh["thread"]
    assert after["rekeyed"] >= 8


async def test_bob_writing_and_his_presence_are_shown_inside_the_session_and_not_on_the_wire(scene: Scene) -> None:
    room = await opened(scene)
    since = len(scene.alice.events)
    await scene.bob.typing(room)
    await scene.alice.wait_for(lambda e: e.get("event") == "typing" and e["state"] == "composing", since=since)
    assert (await scene.alice.session())["typing"] is True
    await scene.bob.typing(room, on=False)
    await scene.alice.wait_for(lambda e: e.get("event") == "typing" and e["state"] == "paused", since=since)
    await scene.bob.presence("unavailable", "gone fishing")
    away = await scene.alice.wait_for(
        lambda e: e.get("event") == "presence" and e["status"] == "gone fishing", since=since
    )
    assert away["show"] in ("away", "xa")
    view = await scene.alice.session()
    assert (view["presence"], view["status"]) == (away["show"], "gone fishing")
    seen = "".join(stanza.xml for stanza in scene.alice.trace())
    assert "fishing" not in seen
    assert "chatstates" not in seen.replace('<feature var="http://jabber.org/protocol/chatstates', "")


async def test_the_contact_is_asked_inside_the_session(scene: Scene) -> None:
    await opened(scene)
    assert (await scene.alice.ask("ping"))["result"].startswith("<ping")
    assert "urn:xmpp:carbons:2" in (await scene.alice.ask("info"))["result"]
    assert scene.bob_account.user_id in (await scene.alice.ask("vcard"))["result"]
    refused = await scene.alice.ask("version")
    assert (refused["result"], refused["reason"]) == (None, "error")
    questions = [
        s.xml for s in scene.alice.trace() if s.direction == "out" and s.xml.startswith("<iq") and "query-" in s.xml
    ]
    assert not [xml for xml in questions if "vcard" in xml]


async def test_two_clients_show_the_same_conversation_and_one_may_go_in_the_middle(scene: Scene) -> None:
    room = await opened(scene)
    other = Alice(scene.folder / "other", scene.alice_account, scene.alice.contact, "other", resource="phone")
    await other.start()
    try:
        for number in range(6):
            await scene.alice.send(f"a{number}")
            await scene.bob.send(room, f"b{number}")
            await asyncio.sleep(0.5)
        await other.wait_until(lambda: other.messages[-1:] and other.messages[-1].body == "b5", timeout_s=30, what="b5")
        await other.wait_until(lambda: other.copies[-1:] and other.copies[-1].body == "a5", timeout_s=30, what="a5")
        await other.send("from the phone")
        await scene.alice.wait_until(lambda: len(scene.alice.copies) == 1, timeout_s=30, what="the copy")
        assert [m.body for m in scene.alice.copies] == ["from the phone"]

        await scene.alice.kill()
        for number in range(6, 12):
            await scene.bob.send(room, f"b{number}")
        await other.wait_until(lambda: other.messages[-1].body == "b11", timeout_s=90, what="b11")
        await other.send("still here")
        assert await other.flushed() == 0
        bodies = [m.body for m in await scene.bob.wait_messages(9)]
        assert bodies == ["first of Alice's", *(f"a{n}" for n in range(6)), "from the phone", "still here"]
        shown = [m.body for m in other.messages]
        assert shown[shown.index("b5") :] == [f"b{n}" for n in range(5, 12)]
        assert len(set(shown)) == len(shown)
    finally:
        await other.stop()
