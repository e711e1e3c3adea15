"""The outside half against a real Prosody: connecting, presence, discovery, messages, refusals, restarts."""

import asyncio
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from slixmpp import JID, ClientXMPP
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import StanzaPath

from adapters.outside_api import AccountRoutes, Outcome, Route
from adapters.xmpp.names import ENCRYPTED, ENCRYPTED_PRESENCE, IQ, NS_ESESSION, PRESENCE, STANZA, Resources, address_of
from adapters.xmpp.outside import XmppOutside
from adapters.xmpp.pep.names import FETCH, NODES, OFFLINE, PEP_ITEMS, PUBLISH, Items
from bridge.wire.link import Carry
from bridge.wire.values import Code, Opaque, Public, Sealed, Values
from rig.prosody import Component, Prosody, XmppAccount

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

CAPABLE = "urn:example:not-esession"


@dataclass
class RecordingEdge:
    """The edge of the gateway process, in memory."""

    arrivals: list[tuple[str, str, bytes]] = field(default_factory=list)
    health_log: list[tuple[str, str]] = field(default_factory=list)

    async def arrived(self, account: str, name: str, body: bytes, *, mark: tuple[str, str] | None = None) -> None:
        self.arrivals.append((account, name, body))

    async def arrived_batch(
        self, account: str, entries: Sequence[tuple[str, bytes]], *, mark: tuple[str, str] | None = None
    ) -> None:
        self.arrivals += [(account, name, body) for name, body in entries]

    async def mark(self, account: str, name: str) -> str | None:
        return None

    async def set_mark(self, account: str, name: str, value: str) -> None:
        return None

    def health(self, account: str | None, state: str, detail: str) -> None:
        self.health_log.append((state, detail))

    def states(self) -> list[str]:
        return [state for state, _ in self.health_log]

    def stanzas(self) -> list[bytes]:
        return [body for _, name, body in self.arrivals if name == STANZA]

    def snapshots(self) -> list[Resources]:
        return [Resources.decode(body) for _, name, body in self.arrivals if name == PRESENCE]


async def until(true: Callable[[], object], what: str, timeout_s: float = 20.0) -> None:
    """Wait for something to become true."""
    try:
        async with asyncio.timeout(timeout_s):
            while not true():  # noqa: ASYNC110 - what is waited for is on a server
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"did not happen in {timeout_s} s: {what}")


class Client(ClientXMPP):
    """Alice's client, so far as the outside half is concerned: presence, disco, raw messages."""

    def __init__(self, account: XmppAccount, resource: str, *, esession: bool = True) -> None:
        super().__init__(f"{account.jid}/{resource}", account.password)
        self.account = account
        self.ca_certs = account.authority
        self.register_plugin("xep_0030")
        self.register_plugin("xep_0115")
        if esession:
            self.plugin["xep_0030"].add_feature(NS_ESESSION)
        self.messages: list[Any] = []
        self.presences: list[Any] = []
        self.ready = asyncio.Event()
        self.auto_authorize = True
        self.auto_subscribe = True
        self.register_handler(Callback("all messages", StanzaPath("message"), self.messages.append))
        self.register_handler(Callback("all presences", StanzaPath("presence"), self.presences.append))
        self.add_event_handler("session_start", self._started)

    async def _started(self, _: object) -> None:
        await self.get_roster()
        await self.plugin["xep_0115"].update_caps()
        self.send_presence()
        self.ready.set()

    async def log_in(self) -> "Client":
        self.connect(self.account.host, self.account.port)
        await asyncio.wait_for(self.ready.wait(), 20)
        return self

    def from_contact(self, contact: str, kind: str) -> list[Any]:
        return [p for p in self.presences if p["from"].bare == contact and p["type"] == kind]


@dataclass
class Scene:
    """A connected outside half with one account, and its user's account on the server."""

    component: Component
    account: XmppAccount
    edge: RecordingEdge
    half: XmppOutside
    routes: AccountRoutes
    contact: str
    clients: list[Client] = field(default_factory=list)

    async def client(self, resource: str = "desk", *, esession: bool = True) -> Client:
        client = Client(self.account, resource, esession=esession)
        self.clients.append(client)
        return await client.log_in()

    def encrypted(self, to: str, number: int = 1) -> Carry:
        values: Values = {
            "from": address_of(f"{self.contact}/lockgate"),
            "to": address_of(to),
            "id": Opaque(v=f"m{number}"),
            "thread": Opaque(v="thread1"),
            "content": Sealed(v=b"<c xmlns='http://www.xmpp.org/extensions/xep-0200.html#ns'><data>AAAA</data></c>"),
        }
        return Carry(key=f"k{number}", network="xmpp", request=ENCRYPTED, lane="c/bob", values=values)


def half_for(component: Component, *, secret: str | None = None) -> XmppOutside:
    return XmppOutside(
        jid=component.jid, host=component.host, port=component.port, secret=secret or component.secret, settle_s=1.0
    )


@pytest_asyncio.fixture
async def scene(prosody: Prosody, unique: Callable[[str], str]) -> AsyncIterator[Scene]:
    component, account = prosody.component(), prosody.account(unique("alice"))
    contact = f"bob@{component.jid}"
    routes = AccountRoutes("alice", account.jid, {}, (Route("bob", "matrix", "@bob:example.org", contact),))
    made = Scene(component, account, RecordingEdge(), half_for(component), routes, contact)
    await made.half.connect(made.edge, [routes])
    await until(lambda: "up" in made.edge.states(), "the component is accepted")
    yield made
    for client in made.clients:
        await client.disconnect(wait=1.0)
    await made.half.close()


async def befriend(scene: Scene, client: Client) -> None:
    """Subscribe to the contact, as a user does who adds it to the contact list."""
    client.send_presence(pto=scene.contact, ptype="subscribe")
    await until(lambda: client.from_contact(scene.contact, "available"), "the contact shows itself")


async def test_a_subscription_is_accepted_and_asked_for_in_return(scene: Scene) -> None:
    client = await scene.client()
    await befriend(scene, client)
    assert client.from_contact(scene.contact, "subscribed")
    assert client.from_contact(scene.contact, "subscribe")
    assert client.from_contact(scene.contact, "available")[0]["from"].resource == "lockgate"


async def test_a_resource_that_announces_esessions_is_given_to_the_enclave_and_taken_back(scene: Scene) -> None:
    client = await scene.client("desk top")
    await befriend(scene, client)
    jid = f"{scene.account.jid}/desk top"
    await until(lambda: any((jid, True) in s.available for s in scene.edge.snapshots()), "the resource is known")
    await client.disconnect(wait=1.0)
    await until(lambda: not scene.edge.snapshots()[-1].available, "the resource is gone")


async def test_a_resource_without_the_feature_is_told_apart(scene: Scene) -> None:
    client = await scene.client("plain", esession=False)
    await befriend(scene, client)
    jid = f"{scene.account.jid}/plain"
    await until(lambda: any((jid, False) in s.available for s in scene.edge.snapshots()), "the resource is known")


async def test_a_complete_snapshot_follows_every_connect(scene: Scene) -> None:
    await until(lambda: any(s.complete for s in scene.edge.snapshots()), "a complete snapshot")


async def test_a_contact_announces_esessions_and_answers_for_its_capabilities(scene: Scene) -> None:
    client = await scene.client()
    await befriend(scene, client)
    info = await client.plugin["xep_0030"].get_info(jid=JID(f"{scene.contact}/lockgate"), cached=False)
    assert NS_ESESSION in info["disco_info"]["features"]
    shown = client.from_contact(scene.contact, "available")[-1]
    node = f"{shown['caps']['node']}#{shown['caps']['ver']}"
    again = await client.plugin["xep_0030"].get_info(jid=JID(f"{scene.contact}/lockgate"), node=node, cached=False)
    verstring: Any = client.plugin["xep_0115"].generate_verstring
    assert verstring(again["disco_info"], "sha-1") == shown["caps"]["ver"]


async def test_the_component_is_a_gateway_that_lists_the_account_s_contacts(scene: Scene) -> None:
    client = await scene.client()
    info = await client.plugin["xep_0030"].get_info(jid=JID(scene.component.jid), cached=False)
    assert {identity[0] for identity in info["disco_info"]["identities"]} == {"gateway"}
    listed = await client.plugin["xep_0030"].get_items(jid=JID(scene.component.jid))
    assert [item[0] for item in listed["disco_items"]["items"]] == [scene.contact]


async def test_other_questions_are_answered_with_service_unavailable(scene: Scene) -> None:
    client = await scene.client()
    iq = client.make_iq_get(queryxmlns="jabber:iq:version", ito=scene.contact)
    reply = await asyncio.wait_for(_error_of(iq), 10)
    assert reply["error"]["condition"] == "service-unavailable"


async def _error_of(iq: Any) -> Any:
    from slixmpp.exceptions import IqError

    try:
        return await iq.send()
    except IqError as error:
        return error.iq


async def test_a_message_arrives_as_the_server_wrote_it(scene: Scene) -> None:
    client = await scene.client()
    client.send_raw(
        f"<message to='{scene.contact}' id='q1'><thread>t</thread><x xmlns='jabber:x:data' type='form'>"
        "<field var='a' type='hidden'><value>1 &lt; 2 é</value></field></x></message>"
    )
    await until(scene.edge.stanzas, "the stanza")
    assert b"<value>1 &lt; 2 \xc3\xa9</value>" in scene.edge.stanzas()[0]
    assert scene.edge.stanzas()[0].startswith(b"<message")
    assert scene.edge.stanzas()[0].endswith(b"</message>")


SEALED = "<c xmlns='http://www.xmpp.org/extensions/xep-0200.html#ns'><data>AAAA</data><mac>AAAA</mac></c>"


async def test_encrypted_presence_and_questions_go_to_the_enclave_in_order_and_are_not_answered(scene: Scene) -> None:
    client = await scene.client()
    await befriend(scene, client)
    to = f"{scene.contact}/lockgate"
    client.send_raw(f"<message to='{to}' id='q1'><thread>t</thread>{SEALED}</message>")
    client.send_raw(f"<iq to='{to}' id='q2' type='get'>{SEALED}</iq>")
    client.send_raw(f"<presence to='{to}'>{SEALED}</presence>")
    client.send_raw(f"<iq to='{to}' id='q3' type='result'>{SEALED}</iq>")
    client.send_raw(f"<message to='{to}' id='q4'><thread>t</thread>{SEALED}</message>")
    await until(lambda: len(scene.edge.stanzas()) == 5, "all five")
    kinds = [stanza.split(b" ", 1)[0] for stanza in scene.edge.stanzas()]
    assert kinds == [b"<message", b"<iq", b"<presence", b"<iq", b"<message"]
    assert all(b"<data>AAAA</data>" in stanza for stanza in scene.edge.stanzas())
    asked = await client.plugin["xep_0030"].get_info(jid=JID(to), cached=False)
    assert asked["disco_info"]["features"]
    assert not [p for p in client.presences if p["type"] == "error"]
    known = ((client.boundjid.full, True),)
    await until(lambda: any(s.available == known for s in scene.edge.snapshots()), "the resource is known")


async def test_an_encrypted_question_to_somebody_else_is_answered_as_every_other(scene: Scene) -> None:
    client = await scene.client()
    for to in (scene.component.jid, f"carol@{scene.component.jid}/lockgate"):
        iq = client.make_iq_get(ito=to)
        iq.append(ET.fromstring(SEALED))
        assert (await asyncio.wait_for(_error_of(iq), 10))["error"]["condition"] == "service-unavailable"
    assert not scene.edge.stanzas()


async def test_encrypted_presence_and_answers_reach_the_client(scene: Scene) -> None:
    client = await scene.client()
    got: list[Any] = []
    client.register_handler(Callback("results", StanzaPath("iq"), got.append))
    ends: Values = {"from": address_of(f"{scene.contact}/lockgate"), "to": address_of(client.boundjid.full)}
    content = Sealed(v=SEALED.encode())
    told: Values = {**ends, "content": content}
    answered: Values = {**ends, "id": Opaque(v="i1"), "kind": Code(v="result"), "content": content}
    carries = [
        Carry(key="k1", network="xmpp", request=ENCRYPTED_PRESENCE, lane="c/bob", values=told),
        Carry(key="k2", network="xmpp", request=IQ, lane="c/bob", values=answered),
    ]
    assert [await scene.half.carry("alice", carry) for carry in carries] == [Outcome(), Outcome()]
    sealed = "{http://www.xmpp.org/extensions/xep-0200.html#ns}c"
    await until(lambda: any(p.xml.find(sealed) is not None for p in client.presences), "the presence")
    await until(lambda: any(iq["id"] == "i1" and iq.xml.find(sealed) is not None for iq in got), "the answer")


def eventing(scene: Scene, request: str, **values: object) -> Carry:
    sender = scene.contact if request == PUBLISH else f"{scene.contact}/lockgate"
    filled: Any = {"from": address_of(sender), "node": Code(v="options"), **values}
    return Carry(key=f"k-{request}", network="xmpp", request=request, lane="c/bob", values=filled)


NODE = NODES["options"]


async def test_what_a_contact_publishes_is_served_to_its_user_and_listed(scene: Scene) -> None:
    client = await scene.client()
    item = Public(v=b"<x xmlns='jabber:x:data' type='result'><field var='a'><value>1</value></field></x>")
    published = eventing(scene, PUBLISH, item=Opaque(v="current"), content=item)
    assert await scene.half.carry("alice", published) == Outcome()
    iq = client.make_iq_get(ito=scene.contact)
    iq.append(ET.fromstring(f"<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='{NODE}'/></pubsub>"))
    reply = await asyncio.wait_for(iq.send(), 10)  # type: ignore[no-untyped-call]
    assert reply.xml.find(".//{jabber:x:data}value").text == "1"
    info = await client.plugin["xep_0030"].get_info(jid=JID(scene.contact), cached=False)
    assert ("pubsub", "pep") in {identity[:2] for identity in info["disco_info"]["identities"]}
    listed = await client.plugin["xep_0030"].get_items(jid=JID(scene.contact))
    assert [item[1] for item in listed["disco_items"]["items"]] == [NODE]
    iq = client.make_iq_set(ito=scene.contact)
    iq.append(
        ET.fromstring(
            f"<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='{NODE}'><item/></publish></pubsub>"
        )
    )
    assert (await asyncio.wait_for(_error_of(iq), 10))["error"]["condition"] == "forbidden"


async def test_a_contact_reads_what_the_user_published_and_learns_when_there_is_nothing(scene: Scene) -> None:
    client = await scene.client()
    await befriend(scene, client)
    fetch = eventing(scene, FETCH, to=address_of(scene.account.jid))
    assert await scene.half.carry("alice", fetch) == Outcome()
    read = lambda: [Items.decode(body) for _, name, body in scene.edge.arrivals if name == PEP_ITEMS]  # noqa: E731
    nothing = Items(f"{scene.contact}/lockgate", "options", False, ())
    told = lambda: [replace(items, why="") for items in read()]  # type: ignore[no-untyped-call]  # noqa: E731
    await until(lambda: told() == [nothing], "nothing there")  # type: ignore[no-untyped-call]
    iq = client.make_iq_set()
    iq.append(
        ET.fromstring(
            f"<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='{NODE}'><item id='current'>"
            "<x xmlns='jabber:x:data' type='result'/></item></publish></pubsub>"
        )
    )
    await asyncio.wait_for(iq.send(), 10)  # type: ignore[no-untyped-call]
    assert await scene.half.carry("alice", fetch) == Outcome()
    await until(lambda: len(read()) == 2, "the item")  # type: ignore[no-untyped-call]
    assert read()[1].found  # type: ignore[no-untyped-call]
    assert "jabber:x:data" in read()[1].items[0]  # type: ignore[no-untyped-call]


async def test_an_offline_stanza_waits_for_a_user_who_is_not_there(scene: Scene) -> None:
    client = await scene.client()
    await befriend(scene, client)
    await client.disconnect(wait=1.0)
    values: dict[str, object] = {
        "to": address_of(scene.account.jid),
        "id": Opaque(v="o1"),
        "thread": Opaque(v="t1"),
        "form": Public(v=b"<init xmlns='http://www.xmpp.org/extensions/xep-0116.html#ns-init'/>"),
        "content": Sealed(v=SEALED.encode()),
    }
    filled: Any = {"from": address_of(f"{scene.contact}/lockgate"), **values}
    carry = Carry(key="k1", network="xmpp", request=OFFLINE, lane="c/bob", values=filled)
    assert await scene.half.carry("alice", carry) == Outcome()
    later = await scene.client("later")
    await until(lambda: any(m["id"] == "o1" for m in later.messages), "the stored stanza")


async def test_a_carry_is_confirmed_and_arrives_with_hints_and_the_mirrored_thread(scene: Scene) -> None:
    client = await scene.client()
    to = client.boundjid.full
    outcomes = await asyncio.gather(*(scene.half.carry("alice", scene.encrypted(to, n)) for n in range(50)))
    assert outcomes == [Outcome()] * 50
    await until(lambda: len(client.messages) == 50, "all stanzas")
    assert [m["id"] for m in client.messages] == [f"m{n}" for n in range(50)]
    assert client.messages[0]["thread"] == "thread1"
    assert client.messages[0].xml.find("{urn:xmpp:hints}no-copy") is not None


async def test_an_account_that_is_not_mapped_gets_an_error_and_no_arrival(scene: Scene, prosody: Prosody) -> None:
    stranger = Client(prosody.account(f"mallory-{scene.component.jid.split('.')[0]}"), "x")
    scene.clients.append(stranger)
    await stranger.log_in()
    stranger.send_message(mto=JID(scene.contact), mbody="hello", mtype="chat")
    stranger.send_presence(pto=scene.contact, ptype="subscribe")
    await until(lambda: stranger.messages, "an error")
    assert stranger.messages[0]["error"]["condition"] == "forbidden"
    assert stranger.messages[0]["error"]["text"]
    await until(lambda: stranger.from_contact(scene.contact, "unsubscribed"), "a refusal")
    assert not scene.edge.stanzas()


async def test_a_message_that_is_too_large_gets_an_error_and_no_arrival(scene: Scene) -> None:
    client = await scene.client()
    client.send_message(mto=JID(scene.contact), mbody="x" * 1_200_000, mtype="chat")
    await until(lambda: client.messages, "an error")
    stanza = client.messages[0].xml
    assert stanza.find(".//{urn:ietf:params:xml:ns:xmpp-stanzas}policy-violation") is not None
    assert not scene.edge.stanzas()


async def test_a_wrong_secret_is_told_in_a_sentence_that_says_what_to_do(prosody: Prosody) -> None:
    edge, half = RecordingEdge(), half_for(prosody.component(), secret="wrong")
    await half.connect(edge, [])
    await until(lambda: "refused" in edge.states(), "the refusal")
    assert "secret" in dict(edge.health_log)["refused"]
    await half.close()


async def test_a_port_where_nothing_listens_is_told_and_tried_again(prosody: Prosody) -> None:
    component = prosody.component()
    edge, half = RecordingEdge(), half_for(Component(component.jid, 1, component.secret))
    await half.connect(edge, [])
    await until(lambda: edge.states().count("down") >= 2, "two attempts")
    assert (await half.carry("a", Carry(key="k", network="xmpp", request="x", lane="l", values={}))).code
    await half.close()


async def test_without_a_connection_a_carry_is_to_be_repeated(scene: Scene) -> None:
    await scene.half.close()
    outcome = await scene.half.carry("alice", scene.encrypted("a@b/c"))
    assert outcome.retry
    assert outcome.code == "not-connected"


async def test_after_a_restart_of_the_server_all_is_as_before(tmp_path: Path) -> None:
    with Prosody(tmp_path) as server:
        component, account = server.component(), server.account("alice")
        contact = f"bob@{component.jid}"
        routes = AccountRoutes("alice", account.jid, {}, (Route("bob", "matrix", "@bob:x.org", contact),))
        scene = Scene(component, account, RecordingEdge(), half_for(component), routes, contact)
        await scene.half.connect(scene.edge, [routes])
        await until(lambda: "up" in scene.edge.states(), "the component is accepted")
        client = await scene.client()
        await befriend(scene, client)
        await client.disconnect(wait=1.0)
        await asyncio.to_thread(server.stop)
        await until(lambda: "down" in scene.edge.states(), "the loss is noticed")
        assert (await scene.half.carry("alice", scene.encrypted("a@b/c"))).retry
        await server.begin()
        await until(lambda: scene.edge.states().count("up") == 2, "connected again")
        client = await scene.client("second")
        jid = f"{account.jid}/second"
        await until(lambda: any((jid, True) in s.available for s in scene.edge.snapshots()), "presence is known")
        assert await scene.half.carry("alice", scene.encrypted(jid)) == Outcome()
        await until(lambda: client.messages, "the stanza")
        await client.disconnect(wait=1.0)
        await scene.half.close()
