"""OMEMO clients among themselves, without a gateway: what the tests of the gateway stand on.

Profanity and slixmpp-omemo are independent of each other (libsignal-protocol-c, python-doubleratchet).
"""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from rig.ejabberd import Ejabberd
from rig.prosody import Prosody
from rig.xmpp import XmppServer
from tests.interop.omemo_clients import Clients

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]
on_prosody = pytest.mark.parametrize("server", ["prosody"], indirect=True)  # what no server has a part in


@pytest.fixture(scope="module", params=["prosody", "ejabberd"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[XmppServer]:
    """A server with few components: Profanity asks each of them what it is when it logs in."""
    folder = tmp_path_factory.mktemp(request.param)
    with Prosody(folder) if request.param == "prosody" else Ejabberd(folder) as running:
        yield running


@pytest_asyncio.fixture
async def people(short_path: Path) -> AsyncIterator[Clients]:
    """The clients of one test."""
    made = Clients(short_path)
    yield made
    await made.stop()


async def test_profanity_and_a_slixmpp_user_talk_with_the_lock_on(
    server: XmppServer, people: Clients, unique: Callable[[str], str]
) -> None:
    alice, paul = server.account(unique("alice")), server.account(unique("paul"))
    user = await people.user(alice, "user").start()
    profanity = await people.profanity(paul)
    await profanity.befriend(alice.jid)
    await profanity.lock(alice.jid)
    await profanity.command("hello from profanity")
    assert (await user.wait_messages(1))[0].body == "hello from profanity"
    assert (await user.send(paul.jid, "hello from slixmpp", receipt=True))["devices"] == [profanity.device]
    assert (await profanity.wait_message(alice.jid, "hello from slixmpp")).encrypted
    assert (await profanity.wait_message(alice.jid, "hello from profanity")).encrypted
    await user.send_plain(paul.jid, "not a secret")
    assert not (await profanity.wait_message(alice.jid, "not a secret")).encrypted
    assert profanity.locked(alice.jid)

    shown = await profanity.fingerprints(alice.jid)
    assert [one.value for one in shown] == [user.fingerprint]
    assert [one["fingerprint"] for one in await user.devices(paul.jid)] == [await profanity.own_fingerprint()]
    wire = profanity.wire()
    assert "not a secret" in wire
    assert "hello from" not in wire
    await user.wait_for(lambda event: event.get("event") == "receipt", what="the receipt")


async def test_what_is_sent_to_who_is_away_is_read_later_and_once(
    server: XmppServer, people: Clients, unique: Callable[[str], str]
) -> None:
    alice, paul = server.account(unique("alice")), server.account(unique("paul"))
    user = await people.user(alice, "user").start()
    profanity = await people.profanity(paul)
    await profanity.befriend(alice.jid)
    await profanity.lock(alice.jid)
    await profanity.command("before")
    await user.wait_messages(1)
    await user.stop()
    for number in range(3):
        await profanity.command(f"while you were away {number}")
    await user.start()
    seen = await user.wait_messages(4)
    assert [message.body for message in seen[1:]] == [f"while you were away {number}" for number in range(3)]
    assert {message.via for message in seen[1:]} <= {"archive", "live"}

    await profanity.offline()
    for number in range(3):
        await user.send(paul.jid, f"while profanity was away {number}")
    await profanity.online()
    for number in range(3):
        assert (await profanity.wait_message(alice.jid, f"while profanity was away {number}")).encrypted
    assert profanity.chat_log().count("while profanity was away") == 3
    await profanity.command("the end")
    assert (await user.wait_messages(5))[4:][0].body == "the end"
    assert user.told("undecryptable") == []


async def test_a_second_device_reads_along_and_a_removed_one_does_not(
    server: XmppServer, people: Clients, unique: Callable[[str], str]
) -> None:
    alice, paul = server.account(unique("alice")), server.account(unique("paul"))
    user = await people.user(alice, "user").start()
    first = await people.profanity(paul, "first")
    await first.befriend(alice.jid)
    await first.lock(alice.jid)
    await first.command("from the first")
    await user.wait_messages(1)
    second = await people.profanity(paul, "second")
    await user.wait_for(
        lambda e: e.get("event") == "list" and second.device in e["ids"], timeout_s=90, what="the second device"
    )
    assert (await user.send(paul.jid, "to both"))["devices"] == sorted([first.device, second.device])
    for profanity in (first, second):
        assert (await profanity.wait_message(alice.jid, "to both")).encrypted
    await second.lock(alice.jid)
    await second.command("from the second")
    assert (await user.wait_messages(2))[1].device == second.device
    assert (await first.wait_message(alice.jid, "from the second")).encrypted

    extra = await people.user(alice, "extra").start()
    await first.lock(alice.jid, extra.device)
    await first.command("to three")
    assert [message.body for message in await extra.wait_messages(1)] == ["to three"]
    await extra.kill()
    await user.remove_device(extra.device)
    await user.wait_for(
        lambda e: e.get("event") == "list" and e["of"] == alice.jid and e["ids"] == [user.device],
        what="the shorter list",
    )
    sent = first.wire().count(f'rid="{extra.device}"')
    await first.command("to two")
    assert (await user.wait_messages(4))[3].body == "to two"
    assert first.wire().count(f'rid="{extra.device}"') == sent


@on_prosody
async def test_profanity_sends_nothing_to_a_device_it_was_not_told_to_trust(
    server: XmppServer, people: Clients, unique: Callable[[str], str]
) -> None:
    alice, paul = server.account(unique("alice")), server.account(unique("paul"))
    user = await people.user(alice, "user").start()
    profanity = await people.profanity(paul, trust="manual")
    await profanity.befriend(alice.jid)
    await profanity.lock(alice.jid)
    await profanity.command("too early")
    await profanity.wait_for("cannot be decrypted for any recipient")
    assert [one.trusted for one in await profanity.fingerprints(alice.jid)] == [False]
    await profanity.trust(alice.jid, user.fingerprint)
    await profanity.lock(alice.jid)
    await profanity.command("in time")
    assert [message.body for message in await user.wait_messages(1)] == ["in time"]
    assert [one.trusted for one in await profanity.fingerprints(alice.jid)] == [True]


async def test_each_device_is_written_to_in_the_newest_form_it_knows(
    server: XmppServer, people: Clients, unique: Callable[[str], str]
) -> None:
    alice, bob = server.account(unique("alice")), server.account(unique("bob"))
    both = await people.user(alice, "both", "omemo:2", "axolotl").start()
    new = await people.user(bob, "new", "omemo:2").start()
    newer = await people.user(bob, "newer", "omemo:2").start()
    old = await people.user(bob, "old").start()
    everyone = sorted(user.device for user in (new, newer, old))
    listed = {device["id"]: device["namespaces"] for device in await both.devices(bob.jid)}
    assert listed == {new.device: ["omemo:2"], newer.device: ["omemo:2"], old.device: ["axolotl"]}
    sent = await both.send(bob.jid, "in two forms", beside=["<replace xmlns='urn:xmpp:message-correct:0' id='x'/>"])
    assert (sent["namespaces"], sent["devices"]) == (["axolotl", "omemo:2"], everyone)
    for user, form in ((new, "omemo:2"), (newer, "omemo:2"), (old, "axolotl")):
        [message] = await user.wait_messages(1)
        assert (message.body, message.namespace) == ("in two forms", form)
        [told] = user.told("message")
        where = told["inside" if form == "omemo:2" else "beside"]
        assert any("message-correct" in element for element in where)
    await new.send(alice.jid, "answered")
    assert (await both.wait_messages(1))[0].namespace == "omemo:2"
    [copy] = (await newer.wait_messages(2))[1:]
    assert (copy.body, copy.via, copy.device) == ("answered", "carbon", new.device)


@on_prosody
async def test_a_session_that_one_end_lost_is_replaced(
    server: XmppServer, people: Clients, unique: Callable[[str], str]
) -> None:
    alice, bob = server.account(unique("alice")), server.account(unique("bob"))
    one = await people.user(alice, "one", "axolotl").start()
    two = await people.user(bob, "two", "axolotl").start()
    await one.send(bob.jid, "first")
    await two.wait_messages(1)
    await two.send(alice.jid, "second")
    await one.wait_messages(1)
    await one.forget(bob.jid)
    await two.send(alice.jid, "lost")
    await one.wait_for(lambda event: event.get("event") == "undecryptable", what="the loss")
    await one.send(bob.jid, "again")
    assert [message.body for message in await two.wait_messages(2)] == ["first", "again"]
    await two.send(alice.jid, "found")
    assert [message.body for message in await one.wait_messages(2)] == ["second", "found"]
