"""What reaches Alice's OMEMO clients late, twice or not at all: archives, offline storage, carbons, lost messages."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from rig.omemo_user import OmemoUser
from rig.scene import Scene
from rig.synapse import Synapse
from rig.xmpp import XmppServer
from tests.interop.omemo_clients import Clients
from tests.interop.omemo_scene import bob_has, opened, server_of, user_has, wait_written

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]
on_both = pytest.mark.parametrize("server", ["prosody", "ejabberd"], indirect=True)


@pytest.fixture(scope="module", params=["prosody", "prosody-offline", "ejabberd", "ejabberd-offline"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[XmppServer]:
    """Both kinds, with an archive (XEP-0313); `offline`: with offline storage as well, so that all comes twice."""
    name, _, offline = request.param.partition("-")
    with server_of(name, tmp_path_factory.mktemp(name), offline=bool(offline)) as running:
        yield running


@pytest_asyncio.fixture
async def scene(
    short_path: Path, server: XmppServer, synapse: Synapse, unique: Callable[[str], str]
) -> AsyncIterator[Scene]:
    """A gateway, and Bob."""
    async with opened(short_path, server, synapse, unique("m")) as made:
        yield made


@pytest_asyncio.fixture
async def clients(scene: Scene) -> AsyncIterator[Clients]:
    """Alice's clients."""
    made = Clients(scene.folder)
    yield made
    await made.stop()


async def test_what_was_said_while_every_device_was_away_is_read_once_on_each(
    scene: Scene, clients: Clients, request: pytest.FixtureRequest
) -> None:
    """One device speaks the older form, one the newer: each stanza holds both."""
    old, new = clients.user(scene.alice_account, "old"), clients.user(scene.alice_account, "new", "omemo:2")
    for user in (old, new):
        await user.start()
    for user in (old, new):
        await user.stop()
    room = await scene.bob.create_direct_room(scene.alice_matrix.user_id)
    texts = [f"bob says {number}" for number in range(5)]
    for text in texts:
        await scene.bob.send(room, text)
    await wait_written(scene, b'rid="%d"' % new.device, len(texts))
    for user in (old, new):
        await user.start()
        await user_has(user, texts)
        assert {message.via for message in user.messages} == {"archive"}
    twice = [event for user in (old, new) for event in user.told("repeated")]
    assert {event["id"] for event in twice} == ({m.id for m in old.messages} if _kept_twice(request) else set())
    await new.send(scene.alice.contact, "alice answers")
    await bob_has(scene, ["alice answers"])
    for user in (old, new):
        await user.stop()
        await user.start()
        await user_has(user, texts)


def _kept_twice(request: pytest.FixtureRequest) -> bool:
    return "-offline" in request.node.callspec.params["server"]


@on_both
async def test_with_carbons_and_the_archive_each_device_shows_each_message_once(scene: Scene, clients: Clients) -> None:
    """What two ways bring is one ciphertext under one id: a client that notes neither drops it by its ratchet."""
    contact = scene.alice.contact
    first = await clients.user(scene.alice_account, "first", priority=5).start()
    second = await clients.user(scene.alice_account, "second", priority=1).start()
    await first.wait_for(lambda e: e.get("event") == "list" and second.device in e["ids"], what="the second device")
    await first.send(contact, "from the first")
    await second.wait_messages(1)
    room = await scene.room(timeout_s=90)
    texts = [f"bob says {number}" for number in range(5)]
    for text in texts:
        await scene.bob.send(room, text)
    await user_has(first, texts)
    await user_has(second, ["from the first", *texts])
    await second.send(contact, "from the second")
    await user_has(first, [*texts, "from the second"])
    assert [m.id for m in first.messages][:5] == [m.id for m in second.messages][1:]

    for user in (first, second):
        before = user.bodies
        await user.read_archive()
        assert user.bodies == before
        from_bob = {(e["id"], e["origin"]) for e in user.told("message") if e["body"] in texts}
        assert from_bob <= {(e["id"], e["origin"]) for e in user.told("repeated")}
        assert all(id_ == origin for id_, origin in from_bob)
        assert not user.told("undecryptable")
        await user.read_archive(naive=True)
        assert user.bodies == before
        assert len(user.told("undecryptable")) >= len(texts)
    await scene.bob.send(room, "bob goes on")
    for user in (first, second):
        await _read(user, "bob goes on")
    await bob_has(scene, ["from the first", "from the second"])


async def _read(user: OmemoUser, text: str) -> None:
    await user.wait_for(lambda e: e.get("body") == text, timeout_s=60, what=repr(text))


@pytest.mark.parametrize(("server", "form"), [("prosody", "omemo:2"), ("ejabberd", "axolotl")], indirect=["server"])
async def test_more_than_a_hundred_lost_in_a_row_break_nothing_and_may_come_later(
    scene: Scene, clients: Clients, form: str
) -> None:
    contact, user = scene.alice.contact, await clients.user(scene.alice_account, "user", form).start()
    from_alice, from_bob = ([f"{who} says {number:03d}" for number in range(132)] for who in ("alice", "bob"))
    await user.send(contact, from_alice[0])
    room = await scene.room(timeout_s=90)
    await scene.bob.send(room, from_bob[0])
    await user_has(user, from_bob[:1])

    await user.withhold("start")
    for text in from_bob[1:130]:
        await scene.bob.send(room, text)
    await user.wait_until(lambda: len(user.told("withheld")) == 129, timeout_s=60, what="what is lost")
    await user.withhold("stop")
    for text in from_bob[130:]:
        await scene.bob.send(room, text)
    await user_has(user, [from_bob[0], *from_bob[130:]])

    for number, text in enumerate(from_alice[1:130], 1):
        await user.send(contact, text, f"a{number}", lost=True)
    for text in from_alice[130:]:
        await user.send(contact, text)
    await bob_has(scene, [from_alice[0], *from_alice[130:]])

    await user.withhold("read")
    await user_has(user, [from_bob[0], *from_bob[130:], *from_bob[1:130]])
    for number in range(1, 130):
        await user.send_again(f"a{number}")
    await bob_has(scene, [from_alice[0], *from_alice[130:], *from_alice[1:130]])
