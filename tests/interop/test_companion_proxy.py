"""The companion's proxy between real clients and a real Prosody: whatever passes, passes as if it were not there."""

import asyncio
import hashlib
import ssl
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import slixmpp

from companion import upstream_login
from companion.hook import Action, PassThrough, Push, ToClient, ToServer
from companion.scram import ClientSide
from companion.settings import Settings
from rig.companion import Client, LocalCompanion
from rig.ejabberd import Ejabberd
from rig.profanity import Profanity
from rig.prosody import HOST, Prosody, XmppAccount
from rig.tap import Tap

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

Enter = Callable[..., Any]
UNKNOWN = (
    "<thing xmlns='urn:example:unknown' xmlns:o='urn:example:other' o:way=\"a'b\"><o:in>&lt;x&gt;</o:in> tail</thing>"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prosody]:
    """Prosody with rooms and uploads."""
    with Prosody(tmp_path_factory.mktemp("prosody"), services=True) as running:
        yield running


@pytest.fixture
def alice(server: Prosody, unique: Callable[[str], str]) -> XmppAccount:
    """The account behind the companion."""
    return server.account(unique("alice"))


@pytest_asyncio.fixture
async def bob(server: Prosody, unique: Callable[[str], str]) -> AsyncIterator[Client]:
    """Somebody else, straight at the server."""
    client = await Client(server.account(unique("bob")), "there").login()
    yield client
    await client.logout()


@pytest_asyncio.fixture
async def companion(alice: XmppAccount, tmp_path: Path) -> AsyncIterator[LocalCompanion]:
    """A companion that hands on everything."""
    async with LocalCompanion(tmp_path / "companion", alice, tls_port=0, resume_s=20.0) as running:
        yield running


@pytest_asyncio.fixture
async def client(companion: LocalCompanion) -> AsyncIterator[Client]:
    """Alice's client, logged in to the companion."""
    entered = await Client(companion.account).login()
    yield entered
    await entered.logout()


class Recorder(PassThrough):
    """Notes what passes."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.came: list[bytes] = []
        self.told: list[str] = []
        self.push: Push | None = None

    def attach(self, push: Push | None) -> None:
        self.push = push

    async def begun(self, jid: str) -> None:
        self.told.append(f"begun {jid}")

    async def ended(self) -> None:
        self.told.append("ended")

    async def from_client(self, stanza: bytes) -> Sequence[Action]:
        self.sent.append(stanza)
        return await super().from_client(stanza)

    async def from_server(self, stanza: bytes) -> Sequence[Action]:
        self.came.append(stanza)
        return await super().from_server(stanza)


def numbered(count: int) -> list[str]:
    """Texts that are told apart."""
    return [f"text {number}" for number in range(count)]


# ------------------------------------------------------------ passing through
async def test_messages_pass_both_ways_in_order(client: Client, bob: Client) -> None:
    for text in numbered(30):
        client.say(bob.account.jid, text)
        bob.say(client.account.jid, text)
    assert await bob.heard(30) == await client.heard(30) == numbered(30)


async def test_the_client_is_bound_with_the_resource_that_it_asks_for(client: Client) -> None:
    assert client.xmpp.boundjid.full == f"{client.account.jid}/here"


async def test_unknown_extensions_pass_unchanged(client: Client, bob: Client) -> None:
    client.xmpp.send_raw(f"<message to='{bob.account.jid}' type='chat'><body>x</body>{UNKNOWN}</message>")
    await bob.heard(1)
    came = bob.messages[0].find("{urn:example:unknown}thing")
    assert came is not None
    assert ET.canonicalize(ET.tostring(came), rewrite_prefixes=True) == ET.canonicalize(UNKNOWN, rewrite_prefixes=True)


async def test_the_archive_answers_through_the_companion(client: Client, bob: Client) -> None:
    client.say(bob.account.jid, "for the archive")
    await bob.heard(1)
    found = await client.xmpp.plugin["xep_0313"].retrieve(with_jid=slixmpp.JID(bob.account.jid))
    results = found["mam"]["results"]
    assert [r["mam_result"]["forwarded"]["stanza"]["body"] for r in results] == ["for the archive"]


async def test_copies_for_other_clients_pass(client: Client, bob: Client, alice: XmppAccount) -> None:
    other = await Client(alice, "elsewhere").login()
    copies: list[object] = []
    client.xmpp.add_event_handler("carbon_sent", copies.append)
    await client.xmpp.plugin["xep_0280"].enable()
    other.say(bob.account.jid, "sent elsewhere")
    await bob.heard(1)
    await client.until(lambda: copies, "the copy")
    await other.logout()


async def test_files_are_uploaded_by_way_of_the_slot_that_passes(client: Client) -> None:
    slot = await client.xmpp.plugin["xep_0363"].request_slot(slixmpp.JID(f"files.{HOST}"), "a.txt", 5, "text/plain")
    put = slot["http_upload_slot"]["put"]
    headers = {header["name"]: header["value"] for header in put["headers"]}
    async with aiohttp.ClientSession() as http:
        async with http.put(put["url"], data=b"hello", headers=headers | {"Content-Type": "text/plain"}) as done:
            assert done.status == 201
        async with http.get(slot["http_upload_slot"]["get"]["url"]) as found:
            assert await found.read() == b"hello"


async def test_personal_events_pass(client: Client) -> None:
    item = ET.fromstring("<tune xmlns='http://jabber.org/protocol/tune'><title>x</title></tune>")
    pubsub: Any = client.xmpp.plugin["xep_0060"]
    me = slixmpp.JID(client.account.jid)
    await pubsub.publish(me, "urn:example:node", id="1", payload=item)
    found = await pubsub.get_items(me, "urn:example:node")
    assert [i["id"] for i in found["pubsub"]["items"]] == ["1"]


async def test_rooms_pass(client: Client, bob: Client, unique: Callable[[str], str]) -> None:
    room = f"{unique('room')}@rooms.{HOST}"
    for who, nick in ((client, "alice"), (bob, "bob")):
        who.xmpp.plugin["xep_0045"].join_muc(slixmpp.JID(room), nick)
        await asyncio.sleep(0.5)
        if who is client:
            form = "<x xmlns='jabber:x:data' type='submit'/>"
            owner = f"<query xmlns='http://jabber.org/protocol/muc#owner'>{form}</query>"
            who.xmpp.send_raw(f"<iq type='set' id='open' to='{room}'>{owner}</iq>")
    bob.xmpp.send_message(slixmpp.JID(room), "to the room", mtype="groupchat")
    assert "to the room" in await client.heard(1)


async def test_presence_and_subscriptions_pass(client: Client, bob: Client) -> None:
    seen: list[str] = []
    bob.xmpp.add_event_handler("presence_available", lambda p: seen.append(p["from"].full))
    bob.xmpp.send_presence_subscription(client.account.jid)
    await bob.until(lambda: f"{client.account.jid}/here" in seen, "the presence")


async def test_a_client_without_stream_management_is_served(companion: LocalCompanion, bob: Client) -> None:
    plain = await Client(companion.account, managed=False).login()
    for text in numbered(10):
        plain.say(bob.account.jid, text)
        bob.say(plain.account.jid, text)
    assert await bob.heard(10) == await plain.heard(10) == numbered(10)
    await plain.logout()


async def test_direct_tls_is_served(companion: LocalCompanion, bob: Client) -> None:
    assert companion.local.tls_port is not None
    direct = await Client(replace(companion.account, port=companion.local.tls_port), tls=True).login()
    direct.say(bob.account.jid, "direct")
    assert await bob.heard(1) == ["direct"]
    await direct.logout()


# ------------------------------------------------------------ lost connections
async def test_a_client_that_comes_back_finds_its_session_and_nothing_is_lost_or_doubled(
    client: Client, bob: Client
) -> None:
    for round_ in range(3):
        for text in numbered(10):
            client.say(bob.account.jid, f"{round_} {text}")
            bob.say(client.account.jid, f"{round_} {text}")
        await client.drop()
        await client.until(lambda n=round_: client.events.count("disconnected") == n + 1, "the loss")  # type: ignore[misc]
        bob.say(client.account.jid, f"{round_} while away")
        client.connect()
        await client.until(lambda n=round_: client.events.count("session_resumed") == n + 1, "the return")  # type: ignore[misc]
    wanted = [f"{r} {t}" for r in range(3) for t in numbered(10)]
    assert [b for b in await bob.heard(30) if "away" not in b] == wanted
    both = [b for r in range(3) for b in [*(f"{r} {t}" for t in numbered(10)), f"{r} while away"]]
    assert await client.heard(33) == both


async def test_what_a_client_repeats_after_its_return_is_sent_once(
    server: Prosody, alice: XmppAccount, bob: Client, tmp_path: Path
) -> None:
    async with Tap(server.c2s_port) as tap, LocalCompanion(tmp_path / "c", alice, server_port=tap.port) as companion:
        client = await Client(companion.account).login()
        await asyncio.sleep(0.5)
        tap.hold(True)
        for text in numbered(3):
            client.say(bob.account.jid, text)
        await asyncio.sleep(0.3)
        await client.drop()
        await client.until(lambda: "disconnected" in client.events, "the loss")
        client.connect()
        await client.until(lambda: "session_resumed" in client.events, "the return")
        tap.hold(False)
        client.say(bob.account.jid, "after")
        await bob.heard(4)
        await asyncio.sleep(0.3)
        assert bob.bodies == [*numbered(3), "after"]
        await client.logout()


async def test_what_came_for_a_client_that_never_came_back_waits_at_the_server(
    alice: XmppAccount, bob: Client, tmp_path: Path
) -> None:
    async with LocalCompanion(tmp_path / "companion", alice, resume_s=1.0) as companion:
        gone = await Client(companion.account).login()
        gone.xmpp.add_event_handler("disconnected", lambda _: gone.xmpp.cancel_connection_attempt())
        await gone.drop()
        await gone.until(lambda: "disconnected" in gone.events, "the loss")
        for text in numbered(5):
            bob.say(alice.jid, text)
        await asyncio.sleep(3)
        back = await Client(companion.account).login()
        assert await back.heard(5) == numbered(5)
        await back.logout()


async def test_a_lost_connection_to_the_server_is_made_again_and_nothing_is_lost_or_doubled(
    server: Prosody, alice: XmppAccount, bob: Client, tmp_path: Path
) -> None:
    async with Tap(server.c2s_port) as tap, LocalCompanion(tmp_path / "c", alice, server_port=tap.port) as companion:
        client = await Client(companion.account).login()
        for round_ in range(3):
            for text in numbered(10):
                client.say(bob.account.jid, f"{round_} {text}")
                bob.say(alice.jid, f"{round_} {text}")
            await tap.cut()
        wanted = [f"{r} {t}" for r in range(3) for t in numbered(10)]
        assert await bob.heard(30) == await client.heard(30) == wanted
        assert client.events.count("disconnected") == 0
        await client.logout()


async def test_a_server_that_forgot_the_session_ends_the_clients_too(
    tmp_path: Path, unique: Callable[[str], str]
) -> None:
    with Prosody(tmp_path / "own") as server:
        account = server.account(unique("alice"))
        async with LocalCompanion(tmp_path / "companion", account) as companion:
            client = await Client(companion.account).login()
            await asyncio.to_thread(server.kill)
            await server.begin()
            await client.until(lambda: "remote-connection-failed" in client.errors, "the error", timeout_s=30)
            again = await Client(companion.account).login()
            await again.logout()


async def test_the_client_is_told_of_an_acknowledgement_only_when_the_server_has_the_stanza(
    server: Prosody, alice: XmppAccount, bob: Client, tmp_path: Path
) -> None:
    async with Tap(server.c2s_port) as tap, LocalCompanion(tmp_path / "c", alice, server_port=tap.port) as companion:
        client = await Client(companion.account).login()
        await client.until(lambda: not client.xmpp.plugin["xep_0198"].unacked_queue, "the first acknowledgements")
        tap.hold(True)
        client.say(bob.account.jid, "held")
        await asyncio.sleep(0.2)
        client.xmpp.send_raw("<r xmlns='urn:xmpp:sm:3'/>")
        await asyncio.sleep(0.5)
        assert len(client.xmpp.plugin["xep_0198"].unacked_queue) == 1
        tap.hold(False)
        assert await bob.heard(1) == ["held"]
        await client.until(lambda: not client.xmpp.plugin["xep_0198"].unacked_queue, "the acknowledgement")
        await client.logout()


# ------------------------------------------------------------ who may log in, and where
async def test_a_newer_login_takes_the_place_of_the_older(companion: LocalCompanion, client: Client) -> None:
    newer = await Client(companion.account, "newer").login()
    await client.until(lambda: "conflict" in client.errors, "the conflict")
    assert newer.xmpp.boundjid.resource == "newer"
    await newer.logout()


async def test_a_wrong_local_password_opens_nothing(companion: LocalCompanion) -> None:
    wrong = Client(replace(companion.account, password="guess"))
    wrong.connect()
    await wrong.until(lambda: "failed_all_auth" in wrong.events, "the refusal")
    await wrong.logout()


async def test_a_password_that_the_server_refuses_is_told_to_the_client(alice: XmppAccount, tmp_path: Path) -> None:
    async with LocalCompanion(tmp_path / "c", alice, password="wrong") as companion:
        client = Client(companion.account)
        client.connect()
        await client.until(lambda: "the server refuses the login" in client.errors, "the error")
        await client.logout()


async def test_a_server_with_an_unknown_certificate_is_not_logged_in_to(alice: XmppAccount, tmp_path: Path) -> None:
    async with LocalCompanion(tmp_path / "c", alice, ca_file=None) as companion:
        client = Client(companion.account)
        client.connect()
        await client.until(lambda: "the server's certificate is not trusted" in client.errors, "the error")
        await client.logout()


async def test_a_pinned_certificate_alone_decides(server: Prosody, alice: XmppAccount, tmp_path: Path) -> None:
    der = ssl.PEM_cert_to_DER_cert(server.certificates.certificate.read_text())
    pin = hashlib.sha256(der).hexdigest()
    async with LocalCompanion(tmp_path / "c", alice, ca_file=None, fingerprint=pin) as companion:
        client = await Client(companion.account).login()
        await client.logout()
    other = "00" + pin[2:] if not pin.startswith("00") else "11" + pin[2:]
    async with LocalCompanion(tmp_path / "c", alice, fingerprint=other) as companion:
        client = Client(companion.account)
        client.connect()
        await client.until(lambda: "the server's certificate is not the pinned one" in client.errors, "the error")
        await client.logout()


async def test_a_server_that_can_bind_the_login_to_the_channel_is_asked_to(
    monkeypatch: pytest.MonkeyPatch, alice: XmppAccount, tmp_path: Path
) -> None:
    made, used = upstream_login._context, list[str]()

    def older(settings: Settings) -> ssl.SSLContext:
        context = made(settings)  # Prosody 0.12 has no channel binding for TLS 1.3
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        return context

    first = ClientSide.first

    def noted(self: ClientSide) -> str:
        used.append(first(self))
        return used[-1]

    monkeypatch.setattr(upstream_login, "_context", older)
    monkeypatch.setattr(ClientSide, "first", noted)
    async with LocalCompanion(tmp_path / "c", alice) as companion:
        client = await Client(companion.account).login()
        await client.logout()
    assert used[0].startswith("p=tls-unique,,")


async def test_certificate_and_password_stay_the_same_over_restarts(alice: XmppAccount, tmp_path: Path) -> None:
    seen = []
    for _ in range(2):
        async with LocalCompanion(tmp_path / "c", alice) as companion:
            seen.append((companion.local.fingerprint, companion.account.password))
    assert seen[0] == seen[1]
    assert {p.stat().st_mode & 0o777 for p in (tmp_path / "c").iterdir()} == {0o600}
    assert (tmp_path / "c").stat().st_mode & 0o777 == 0o700


# ------------------------------------------------------------ the hook
async def test_the_hook_sees_each_stanza_in_order_and_nothing_else(
    alice: XmppAccount, bob: Client, tmp_path: Path
) -> None:
    recorder = Recorder()
    async with LocalCompanion(tmp_path / "c", alice, recorder) as companion:
        client = await Client(companion.account).login()
        for text in numbered(5):
            client.say(bob.account.jid, text)
            bob.say(alice.jid, text)
        await bob.heard(5)
        await client.heard(5)
        await client.logout()
        await client.until(lambda: "ended" in recorder.told, "the end")
    sent = [ET.fromstring(s).findtext("{*}body") for s in recorder.sent if s.startswith(b"<message")]
    came = [ET.fromstring(s).findtext("{*}body") for s in recorder.came if s.startswith(b"<message")]
    assert sent == came == numbered(5)
    assert {s[:3] for s in recorder.sent + recorder.came} <= {b"<me", b"<iq", b"<pr"}
    assert recorder.told == [f"begun {alice.jid}/here", "ended"]
    assert recorder.push is None


class Changer(Recorder):
    """Answers in the server's place, and changes what passes."""

    async def from_client(self, stanza: bytes) -> Sequence[Action]:
        if b"swallow" in stanza:
            return [ToClient(b"<message from='lockgate.local' type='chat'><body>swallowed</body></message>")]
        return [ToServer(stanza.replace(b"plain", b"other"))]


async def test_the_hook_changes_swallows_and_answers(alice: XmppAccount, bob: Client, tmp_path: Path) -> None:
    changer = Changer()
    async with LocalCompanion(tmp_path / "c", alice, changer) as companion:
        client = await Client(companion.account).login()
        client.say(bob.account.jid, "swallow this")
        client.say(bob.account.jid, "plain")
        assert await bob.heard(1) == ["other"]
        assert await client.heard(1) == ["swallowed"]
        assert changer.push is not None
        changer.push([ToClient(b"<message from='lockgate.local'><body>unasked</body></message>")])
        assert await client.heard(2) == ["swallowed", "unasked"]
        await client.logout()


class Broken(PassThrough):
    """Fails at one stanza, or from the beginning."""

    def __init__(self, *, begins: bool = True) -> None:
        self.begins = begins

    async def begun(self, jid: str) -> None:
        if not self.begins:
            raise RuntimeError

    async def from_client(self, stanza: bytes) -> Sequence[Action]:
        if b"fatal" in stanza:
            raise RuntimeError
        return await super().from_client(stanza)


async def test_a_stanza_that_the_hook_fails_at_is_never_acknowledged(
    alice: XmppAccount, bob: Client, tmp_path: Path
) -> None:
    async with LocalCompanion(tmp_path / "c", alice, Broken()) as companion:
        client = await Client(companion.account).login()
        client.say(bob.account.jid, "fatal")
        await client.until(lambda: "internal-server-error" in client.errors, "the error")
        again = await Client(companion.account).login()
        again.say(bob.account.jid, "after")
        assert await bob.heard(1) == ["after"]
        await again.logout()


async def test_a_hook_that_cannot_begin_is_told_to_the_client(alice: XmppAccount, tmp_path: Path) -> None:
    async with LocalCompanion(tmp_path / "c", alice, Broken(begins=False)) as companion:
        client = Client(companion.account)
        client.connect()
        await client.until(lambda: "internal-server-error" in client.errors, "the error")
        await client.logout()


async def test_a_client_that_does_not_read_fills_the_server_and_not_the_companion(
    alice: XmppAccount, bob: Client, tmp_path: Path
) -> None:
    recorder, count = Recorder(), 150
    async with LocalCompanion(tmp_path / "c", alice, recorder) as companion:
        client = await Client(companion.account).login()
        transport: Any = client.xmpp.transport
        transport.pause_reading()
        for number in range(count):
            body = f"<body>{number} {'x' * 100_000}</body>"  # slixmpp itself takes long to write so much
            bob.xmpp.send_raw(f"<message to='{alice.jid}/here' type='chat'>{body}</message>")
        await asyncio.sleep(4)
        came = sum(stanza.startswith(b"<message") for stanza in recorder.came)
        assert 0 < came < count - 30
        transport.resume_reading()
        bodies = [body.split()[0] for body in await client.heard(count, 60)]
        assert bodies == [str(number) for number in range(count)]
        await client.logout()


# ------------------------------------------------------------ another server
async def test_ejabberd_is_served_too(tmp_path: Path) -> None:
    with Ejabberd(tmp_path / "ejabberd") as server:
        account, other = server.account("alice"), server.account("bob")
        async with (
            Tap(server.c2s_port) as tap,
            LocalCompanion(tmp_path / "c", account, server_port=tap.port) as companion,
        ):
            bob = await Client(other, "there").login()
            client = await Client(companion.account).login()
            for round_ in range(2):
                for text in numbered(10):
                    client.say(other.jid, f"{round_} {text}")
                    bob.say(f"{account.jid}/here", f"{round_} {text}")
                await tap.cut()
            wanted = [f"{r} {t}" for r in range(2) for t in numbered(10)]
            assert await bob.heard(20) == wanted
            # ejabberd itself may change the order of what comes for a session while it is being resumed.
            assert sorted(await client.heard(20)) == wanted
            await client.logout()
            await bob.logout()


async def test_nobody_can_send_what_keeps_the_companion_from_its_server(tmp_path: Path) -> None:
    """Prosody itself drops what is nested so deeply; ejabberd hands it on, again and again until it is acknowledged."""
    with Ejabberd(tmp_path / "ejabberd") as server:
        account, other = server.account("alice"), server.account("bob")
        async with LocalCompanion(tmp_path / "c", account) as companion:
            bob = await Client(other, "there").login()
            client = await Client(companion.account).login()
            bob.say(account.jid, "before")
            deep = f"<body>deep</body>{'<a>' * 300}{'</a>' * 300}"
            bob.xmpp.send_raw(f"<message to='{account.jid}/here' id='deep' type='chat'>{deep}</message>")
            bob.say(account.jid, "after")
            assert await client.heard(2) == ["before", "after"]
            await bob.until(lambda: any(m.get("id") == "deep" for m in bob.messages), "the error")
            await client.drop()
            client.connect()
            bob.say(account.jid, "and again")
            assert await client.heard(3) == ["before", "after", "and again"]
            await client.logout()
            await bob.logout()


# ------------------------------------------------------------ Profanity
@pytest_asyncio.fixture
async def profanity(tmp_path: Path) -> AsyncIterator[Profanity]:
    """A Profanity, not yet started."""
    program = Profanity(tmp_path / "profanity")
    yield program
    await program.stop()


async def test_profanity_chats_with_the_server_alone(alice: XmppAccount, bob: Client, profanity: Profanity) -> None:
    await profanity.start(alice.jid, alice.password, alice.host, alice.port)
    await profanity.logged_in()
    await profanity.say(bob.account.jid, "grüße 🦊")
    assert await bob.heard(1) == ["grüße 🦊"]
    bob.say(alice.jid, "zurück")
    await profanity.wait_for("zurück")


async def test_profanity_chats_through_the_companion(
    companion: LocalCompanion, bob: Client, profanity: Profanity
) -> None:
    local = companion.account
    await profanity.start(local.jid, local.password, local.host, local.port)
    await profanity.logged_in()
    for text in ("grüße 🦊", "<&>'\"", "dritte"):
        await profanity.say(bob.account.jid, text)
    assert await bob.heard(3) == ["grüße 🦊", "<&>'\"", "dritte"]
    bob.say(local.jid, "zurück 🐈")
    await profanity.wait_for("zurück")
