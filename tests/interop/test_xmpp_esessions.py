"""ESessions with all they can do, over real servers and both halves of the adapter."""

import asyncio
import time
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import pytest
import pytest_asyncio

from adapters.inside_api import AccountPolicy, ContactPolicy
from adapters.outside_api import AccountRoutes, Route
from adapters.xmpp.inside import XmppInside
from adapters.xmpp.outside import XmppOutside
from adapters.xmpp.pep.names import NODES, OPTIONS, OPTIONS_SUBSCRIBERS, PUBKEY
from crypto.esession.conversation import Conversation, Event
from crypto.esession.identities import new_ed25519
from crypto.esession.offline_options import Audience
from crypto.esession.offline_pubkeys import read_pubkey
from crypto.esession.offline_sending import begin, choose
from crypto.esession.rekeying_state import RekeyPolicy
from crypto.esession.terms import Terms
from crypto.message import Assurance, Availability, Presence, Signal, Typing
from crypto.xml import parse, serialize
from rig.ejabberd import Ejabberd
from rig.xmpp import XmppAccount, XmppServer
from tests.interop.esession_peer import Peer
from tests.interop.test_xmpp_conversation import Joined
from tests.unit.fake_step import MemoryRecords, MemoryStep
from tests.unit.offline_world import FAST, Publisher, Sender
from tests.unit.xmpp_site import receipt

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]

ALICES, ANOTHER = new_ed25519(b"a" * 32), new_ed25519(b"b" * 32)


@pytest.fixture(scope="module", params=["prosody", "ejabberd"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[XmppServer]:
    """Everything here runs on both."""
    if request.param == "prosody":
        yield request.getfixturevalue("prosody")
    else:
        with Ejabberd(tmp_path_factory.mktemp("ejabberd"), components=40, shaped=False) as running:
            yield running


@dataclass
class World:
    """A server, the gateway's two halves, and Alice's account."""

    joined: Joined
    account: XmppAccount
    peers: list[Peer] = field(default_factory=list)

    async def peer(self, resource: str = "desk", terms: Terms | None = None, *, subscribes: bool = True) -> Peer:
        """Another client of hers, there and able."""
        made = Peer(self.account, resource, self.joined.bob.alias)
        if terms is not None:
            made.end.terms = terms
        self.peers.append(made)
        await made.log_in(subscribes=subscribes)
        if subscribes:
            await until(lambda: resource in self.there(), "the resource is known")
        return made

    async def session(self, resource: str = "desk", terms: Terms | None = None) -> Peer:
        """A client with a session that it asked for."""
        made = await self.peer(resource, terms)
        made.end.start(thread=f"{resource}-1")
        made.act()
        await until(lambda: made.end.current is not None, "a session")
        return made

    def there(self) -> set[str]:
        """Resources that are there, able, as the enclave has heard."""
        from adapters.xmpp.names import Resources

        known = self.joined.step.records.get("resources", Resources)
        return {jid.partition("/")[2] for jid, able in known.available if able} if known else set()

    def signal(self, signal: Signal) -> None:
        """Something is true of Bob for the moment."""
        self.joined.act(lambda: self.joined.inside.signalled(self.joined.step, self.joined.bob, signal))

    def texts(self) -> list[str]:
        """What went on to the other network."""
        return [message.body for _, message in self.joined.step.deliveries]

    def conversation(self, thread: str) -> Conversation | None:
        """The gateway's."""
        return self.joined.step.records.get(f"session/bob/{thread}", Conversation)


Made = Callable[[Mapping[str, str]], "asyncio.Future[World]"]


@pytest_asyncio.fixture
async def made(server: XmppServer, unique: Callable[[str], str]) -> AsyncIterator[Callable[..., object]]:
    worlds: list[World] = []

    async def make(options: Mapping[str, str] | None = None) -> World:
        component, account = server.component(), server.account(unique("alice"))
        alias = f"bob@{component.jid}"
        bob = ContactPolicy("bob", "matrix", "@bob:example.org", alias, Assurance.END_TO_END, options=options or {})
        inside = XmppInside()
        step = MemoryStep(AccountPolicy("alice", "xmpp", account.jid, {}, (bob,)), MemoryRecords(), half=inside)
        outside = XmppOutside(
            jid=component.jid, host=component.host, port=component.port, secret=component.secret, settle_s=0.5
        )
        joined = Joined(outside, inside, step, bob)
        await outside.connect(
            joined, [AccountRoutes("alice", account.jid, {}, (Route("bob", "matrix", "@b:x", alias),))]
        )
        joined.act(lambda: inside.started(step, resumed=True))
        worlds.append(World(joined, account))
        return worlds[-1]

    yield make
    for world in worlds:
        for peer in world.peers:
            await peer.log_out()
        await world.joined.outside.close()


async def until(true: Callable[[], object], what: str, timeout_s: float = 30.0) -> None:
    """Wait for something to become true."""
    try:
        async with asyncio.timeout(timeout_s):
            while not true():  # noqa: ASYNC110 - what is waited for happens on a server
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"did not happen in {timeout_s} s: {what}")


def keyed(identity: object = ALICES, **more: object) -> Terms:
    """Terms of a client that has a key."""
    terms = Terms(groups=(14,), identity=identity, own_keys=("key",), peer_keys=("key", "none"))  # type: ignore[arg-type]
    return replace(terms, **more)  # type: ignore[arg-type]


# ---------------------------------------------------------------- several clients
async def test_two_clients_have_sessions_of_their_own_and_both_show_the_conversation(made: Made) -> None:
    world = await made({})
    desk = await world.session("desk")
    phone = await world.session("phone")
    world.joined.message("for both", "$1")
    await until(lambda: desk.end.shown == phone.end.shown == ["for both"], "the message on both")
    desk.end.say("from the desk", "a1")
    desk.act()
    await until(lambda: phone.end.copies == ["from the desk"], "the copy")
    await until(lambda: world.texts() == ["from the desk"], "the text")
    await until(lambda: "a1" in desk.end.acknowledged, "its receipt, where it was written")
    assert "a1" not in phone.end.acknowledged
    assert world.joined.step.done == [("bob", "$1")]
    said = "".join(desk.stanzas + phone.stanzas)
    assert "for both" not in said
    assert "from the desk" not in said


async def test_a_client_that_goes_away_hands_over_to_the_other_in_order_and_without_doubles(made: Made) -> None:
    world = await made({})
    phone = await world.session("phone")
    desk = await world.session("desk")
    desk.end.receipts = False
    for number in range(10):
        world.joined.message(f"text {number}", f"${number}")
    await until(lambda: len(desk.end.shown) == 10, "all of it at the desk")
    phone.end.receipts = True
    await desk.log_out()
    for number in range(10, 15):
        world.joined.message(f"text {number}", f"${number}")
    wanted = [f"text {number}" for number in range(15)]
    await until(lambda: len(phone.end.shown) == 15, "all of it on the phone")
    assert phone.end.shown == wanted
    await until(lambda: [id_ for _, id_ in world.joined.step.done] == [f"${n}" for n in range(15)], "all receipts")


# ---------------------------------------------------------------- new keys
async def test_three_hundred_messages_and_new_keys_of_both_ends_lose_and_double_nothing(made: Made) -> None:
    world = await made({"rekey-messages": "25"})
    desk = await world.session()
    desk.end.rekey = RekeyPolicy(stanzas=40)
    wanted = [f"text {number}" for number in range(150)]
    for number, text in enumerate(wanted):
        desk.end.say(text, f"a{number}")
        desk.act()
        world.joined.message(text, f"${number}")
        if number % 10 == 0:
            await asyncio.sleep(0.05)
    await until(lambda: desk.end.shown == wanted, "his messages", 60)
    await until(lambda: len(world.texts()) == 150, "hers", 60)
    await until(lambda: len(world.joined.step.done) == 150, "all receipts", 60)
    assert world.texts() == wanted
    kept = world.conversation("desk-1")
    assert kept is not None
    assert kept.session is not None
    assert kept.session.rekeying is not None
    assert kept.session.rekeying.sent >= 10
    assert kept.session.rekeying.received >= 5
    assert desk.end.repeats == 0
    assert desk.end.current == "desk-1", "in one session"


# ---------------------------------------------------------------- presence, questions, signals
def statuses(peer: Peer) -> list[str]:
    """What the client was told of the contact's presence, encrypted."""
    found = [content for name, _, content in peer.end.within if name == "presence" and content]
    return [e.text for content in found for e in content if e.name == "status"]


async def test_questions_presence_and_typing_go_inside_the_session(made: Made) -> None:
    world = await made({})
    desk = await world.session()
    desk.end.ask("iq", b"<vCard xmlns='vcard-temp'/>")
    desk.end.ask("presence", b"<show>away</show><status>MARKER-lunch</status>")
    desk.act()
    await until(lambda: any(name == "iq" and kind == "result" for name, kind, _ in desk.end.within), "the answer")
    answer = next(content for name, _, content in desk.end.within if name == "iq")
    assert answer is not None
    assert answer[0].name == "vCard"
    await until(lambda: world.joined.step.signals, "her presence")
    signals = [signal for _, signal in world.joined.step.signals]
    assert [s.status for s in signals if isinstance(s, Presence)] == ["MARKER-lunch"]
    for signal in (Typing(True), Presence(Availability.AWAY, "MARKER-out")):
        world.signal(signal)
    await until(lambda: "composing" in desk.end.states, "his typing")
    await until(lambda: "MARKER-out" in statuses(desk), "his presence")
    assert "MARKER" not in "".join(desk.stanzas)


# ---------------------------------------------------------------- one stanza alone
async def test_one_stanza_alone_is_taken_and_answered_by_one(made: Made) -> None:
    world = await made({"one-shot": "yes", "public-keys": "key"})
    desk = await world.peer(terms=keyed(three_message=True, peer_keys=("key",)))
    content = "<body>alone</body><request xmlns='urn:xmpp:receipts'/><origin-id xmlns='urn:xmpp:sid:0' id='o1'/>"
    desk.end.once(content)
    desk.act()
    await until(lambda: desk.end.acknowledged == ["o1"], "the sealed receipt")
    assert world.texts() == ["alone"]
    assert desk.end.current is None
    assert "urn:xmpp:receipts" not in "".join(desk.stanzas)


async def test_messages_to_the_user_go_alone_where_that_is_configured(made: Made) -> None:
    world = await made({"one-shot": "send", "public-keys": "key"})
    desk = await world.peer(terms=keyed(three_message=True, peer_keys=("key",)))
    for number in range(3):
        world.joined.message(f"text {number}", f"${number}")
    await until(lambda: desk.end.shown == ["text 0", "text 1", "text 2"], "all three")
    for id_ in list(desk.end._seen):
        desk.end.once(receipt(id_).decode())
        desk.act()
    await until(lambda: len(world.joined.step.done) == 3, "the receipts")
    assert desk.end.current is None
    assert "text 1" not in "".join(desk.stanzas)


# ---------------------------------------------------------------- who it is
@pytest.mark.parametrize("right", [True, False])
async def test_a_pinned_key_and_a_password_are_needed(made: Made, right: bool) -> None:
    word = "between us" if right else "between them"
    pinned = ALICES.public.fingerprint().hex()
    world = await made({"password": "between us", "fingerprints": pinned, "own-key": "key"})
    desk = await world.peer(terms=keyed(password=word.encode()))
    stranger = await world.peer("stranger", keyed(ANOTHER, password=b"between us"))
    for one in (desk, stranger):
        one.end.start(thread=one.boundjid.resource)
        one.act()
    await until(lambda: Event.FAILED in stranger.end.events, "the refusal of another key")
    await until(lambda: desk.end.current if right else Event.FAILED in desk.end.events, "what becomes of the first")
    assert stranger.end.current is None
    if right:
        desk.end.say("it is me", "a1")
        desk.act()
        await until(lambda: world.texts() == ["it is me"], "the text")
        status = world.joined.inside.status(world.joined.step.records, world.joined.step.account)[0]
        assert status.verified, "a pinned key is as good as a comparison"
    else:
        assert desk.end.current is None


# ---------------------------------------------------------------- offline
OFFLINE = {"offline": "yes", "own-key": "key", "fingerprints": ALICES.public.fingerprint().hex()}


async def test_a_message_waits_sealed_at_the_server_for_a_user_who_published_options(made: Made) -> None:
    world = await made(OFFLINE)
    desk = await world.session(terms=keyed())
    bare, publisher = world.account.jid, Publisher(identity=ALICES, resource="desk")
    now_ms = time.time_ns() // 1_000_000
    form = publisher.publish(FAST, now_ms=now_ms, audience=Audience.SUBSCRIBERS, jid=bare)
    iq = desk.make_iq_set()
    item = f"<item id='current'>{serialize(form).decode()}</item>"
    node = NODES[OPTIONS_SUBSCRIBERS]
    iq.append(
        ET.fromstring(
            f"<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='{node}'>{item}</publish></pubsub>"
        )
    )
    await asyncio.wait_for(iq.send(), 10)  # type: ignore[no-untyped-call]
    await desk.log_out()
    await until(lambda: not world.there(), "she is away")
    world.joined.message("MARKER are you there?", "$1")
    await until(lambda: world.joined.step.codes().count("offline-sent"), "it is sealed and sent")
    later = await world.peer("later", keyed(), subscribes=False)
    await until(lambda: any("ns-init" in s for s in later.stanzas), "the stored stanza")
    stored = next(s for s in later.stanzas if "ns-init" in s)
    assert "MARKER" not in stored
    taken = publisher.take(parse(stored.encode()), now_ms=time.time_ns() // 1_000_000, resource="later")
    assert next(e.text for e in taken.content if e.name == "body") == "MARKER are you there?"


async def test_a_text_sealed_to_the_contact_s_published_options_reaches_the_other_network(made: Made) -> None:
    world = await made(OFFLINE)
    desk = await world.session(terms=keyed())

    async def published(code: str) -> str:
        async with asyncio.timeout(20):
            while True:
                iq = desk.make_iq_get(ito=world.joined.bob.alias)
                items = f"<items node='{NODES[code]}'/>"
                iq.append(ET.fromstring(f"<pubsub xmlns='http://jabber.org/protocol/pubsub'>{items}</pubsub>"))
                reply = await iq.send()  # type: ignore[no-untyped-call]
                found = reply.xml.find(".//{http://jabber.org/protocol/pubsub}item")
                if found is not None and len(found):
                    return ET.tostring(found[0], encoding="unicode")
                await asyncio.sleep(0.2)

    now_ms = time.time_ns() // 1_000_000
    alias = world.joined.bob.alias
    form = parse((await published(OPTIONS)).encode())
    key = read_pubkey(parse((await published(PUBKEY)).encode()), jid=alias, now_ms=now_ms)
    sender = Sender(identity=ALICES, known=(key,))
    options = sender.judged(form, now_ms=now_ms, publisher=alias)
    chosen = choose(options, sender.offer, ALICES.public)
    content = b'<body>while you were away</body><origin-id xmlns="urn:xmpp:sid:0" id="o1"/>'
    begun = begin(options, chosen, ALICES, content, sender.dice, now_ms=now_ms)
    head = f"<message to='{alias}' type='chat' id='o1'><thread>off-1</thread>"
    for _ in range(2):
        desk.send_raw(head + (begun.init + begun.content).decode() + "</message>")
    await until(lambda: world.texts() == ["while you were away"], "the text")
    await asyncio.sleep(0.5)
    assert world.texts() == ["while you were away"], "a repetition is none"
