"""Device lists and keys of OMEMO through real servers: the contacts' are served, the user's followed and fetched."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import pytest_asyncio
from slixmpp import JID

from adapters.outside_api import AccountRoutes, Route
from adapters.xmpp.names import address_of
from adapters.xmpp.outside import XmppOutside
from adapters.xmpp.pep.names import FETCH, NODES, PEP_EVENT, PEP_ITEMS, PUBLISH, Items
from bridge.config.models import Component
from bridge.probe.hop import Hop, ok
from bridge.probe.omemo import probe_omemo
from bridge.wire.link import Carry
from bridge.wire.values import Code, Number, Opaque, Public, Value, Values
from rig.ejabberd import Ejabberd
from rig.prosody import Prosody
from rig.xmpp import XmppAccount, XmppServer
from tests.interop.test_xmpp_adapter import Client, RecordingEdge, half_for, until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

OLD_LIST = NODES["axolotl-devices"]
OPEN, PRESENCE_ONLY = "open", "presence"


def device_list(*ids: int) -> str:
    """A list, as clients write it."""
    inner = "".join(f"<device id='{id_}'/>" for id_ in ids)
    return f"<list xmlns='eu.siacs.conversations.axolotl'>{inner}</list>"


@pytest.fixture(scope="module", params=["prosody", "ejabberd"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[XmppServer]:
    folder = tmp_path_factory.mktemp(request.param)
    made = Prosody(folder, components=9) if request.param == "prosody" else Ejabberd(folder, components=9)
    with made as running:
        yield running


@dataclass
class Desk:
    """The component, and Alice's client."""

    half: XmppOutside
    edge: RecordingEdge
    account: XmppAccount
    contact: str
    clients: list[Client] = field(default_factory=list)
    carried: int = 0

    async def carry(self, request: str, **values: Value) -> str:
        """A request of the enclave's."""
        self.carried += 1
        sender = address_of(self.contact if request == PUBLISH else f"{self.contact}/lockgate")
        ends: Values = {"from": sender} if request == PUBLISH else {"from": sender, "to": address_of(self.account.jid)}
        carry = Carry(
            key=f"k{self.carried}", network="xmpp", request=request, lane="omemo/bob", values={**ends, **values}
        )
        return (await self.half.carry("alice", carry)).code

    async def announce(self, *ids: int) -> None:
        """The contact becomes a device."""
        item, content = Opaque(v="current"), Public(v=device_list(*ids).encode())
        assert await self.carry(PUBLISH, node=Code(v="axolotl-devices"), item=item, content=content) == "ok"

    async def fetch(self, node: str, **more: Value) -> Items:
        """What a node of Alice's holds."""
        before = len(self.read(PEP_ITEMS))
        assert await self.carry(FETCH, node=Code(v=node), **more) == "ok"
        await until(lambda: len(self.read(PEP_ITEMS)) > before, "an answer")
        return self.read(PEP_ITEMS)[-1]

    def read(self, name: str) -> list[Items]:
        """What arrived."""
        return [Items.decode(body) for _, arrived, body in self.edge.arrivals if arrived == name]

    def told(self) -> list[list[str]]:
        """The ids of the lists that the server told of."""
        return [
            [e.get("id", "") for e in ET.fromstring(items.items[0])] for items in self.read(PEP_EVENT) if items.items
        ]

    async def client(self) -> Client:
        """Alice's."""
        made = Client(self.account, "phone")
        made.register_plugin("xep_0060")
        self.clients.append(made)
        return await made.log_in()


async def publish(client: Client, node: str, item: str, content: str, access: str = OPEN) -> None:
    """As OMEMO clients do, with the access model that they ask for."""
    options = (
        "<publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>"
        "<value>http://jabber.org/protocol/pubsub#publish-options</value></field><field var='pubsub#access_model'>"
        f"<value>{access}</value></field></x></publish-options>"
    )
    iq = client.make_iq_set()
    published = f"<publish node='{node}'><item id='{item}'>{content}</item></publish>"
    iq.append(ET.fromstring(f"<pubsub xmlns='http://jabber.org/protocol/pubsub'>{published}{options}</pubsub>"))
    await iq.send()  # type: ignore[no-untyped-call]


async def befriend(desk: Desk, client: Client) -> None:
    """Alice adds the contact to her list."""
    client.send_presence(pto=desk.contact, ptype="subscribe")
    await until(lambda: client.from_contact(desk.contact, "available"), "the contact shows itself")


@pytest_asyncio.fixture
async def desk(server: XmppServer, unique: Callable[[str], str]) -> AsyncIterator[Desk]:
    component, account = server.component(), server.account(unique("alice"))
    contact = f"bob@{component.jid}"
    routes = AccountRoutes("alice", account.jid, {}, (Route("bob", "matrix", "@bob:example.org", contact),))
    made = Desk(half_for(component), RecordingEdge(), account, contact)
    await made.half.connect(made.edge, [routes])
    await until(lambda: "up" in made.edge.states(), "the component is accepted")
    yield made
    for client in made.clients:
        await client.disconnect(wait=1.0)
    await made.half.close()


async def test_a_contact_that_is_a_device_is_told_of_the_users_devices_and_of_every_change(desk: Desk) -> None:
    await desk.announce(4711)
    client = await desk.client()
    await publish(client, OLD_LIST, "current", device_list(7))
    await befriend(desk, client)
    await until(lambda: ["7"] in desk.told(), "the list that there was")
    await publish(client, OLD_LIST, "current", device_list(7, 8))
    await until(lambda: ["7", "8"] in desk.told(), "the list that there is now")


async def test_a_contact_is_told_of_changes_also_when_it_was_let_in_after_it_had_shown_itself(desk: Desk) -> None:
    """ejabberd tells those only from whom presence came after the user let them see hers."""
    await desk.announce(4711)
    client = await desk.client()
    client.auto_authorize = None
    await befriend(desk, client)
    await until(lambda: client.from_contact(desk.contact, "subscribe"), "the contact asks for her presence")
    shown = len(client.from_contact(desk.contact, "available"))
    client.send_presence(pto=desk.contact, ptype="subscribed")
    await until(lambda: len(client.from_contact(desk.contact, "available")) > shown, "the contact shows itself again")
    await publish(client, OLD_LIST, "current", device_list(7))
    await until(lambda: ["7"] in desk.told(), "the list")


async def test_a_contact_that_becomes_a_device_later_is_told_too(desk: Desk) -> None:
    client = await desk.client()
    await publish(client, OLD_LIST, "current", device_list(7))
    await befriend(desk, client)
    await desk.announce(4711)
    await until(lambda: ["7"] in desk.told(), "the list")


async def test_who_is_no_friend_fetches_what_is_open(desk: Desk) -> None:
    client = await desk.client()
    await publish(client, OLD_LIST, "current", device_list(7))
    found = await desk.fetch("axolotl-devices")
    assert (found.found, len(found.items)) == (True, 1)
    await publish(client, "urn:xmpp:omemo:2:bundles", "7", "<bundle xmlns='urn:xmpp:omemo:2'/>")
    keys = await desk.fetch("omemo-bundles", item=Opaque(v="7"))
    assert (keys.found, keys.number, len(keys.items)) == (True, 7, 1)
    await publish(client, "eu.siacs.conversations.axolotl.bundles:7", "current", "<bundle xmlns='x'/>")
    assert (await desk.fetch("axolotl-bundle", number=Number(v=7))).found


async def test_keys_that_are_not_there_are_told_of(desk: Desk) -> None:
    client = await desk.client()
    await publish(client, "urn:xmpp:omemo:2:bundles", "7", "<bundle xmlns='urn:xmpp:omemo:2'/>")
    other = await desk.fetch("omemo-bundles", item=Opaque(v="8"))
    assert (other.number, other.items) == (8, ())
    # Prosody does not tell strangers that there is no such node.
    assert (await desk.fetch("axolotl-bundle", number=Number(v=9))).why in {"none", "forbidden"}


@pytest.mark.parametrize("server", ["prosody"], indirect=True)  # ejabberd's usual settings have these nodes always open
async def test_a_list_for_friends_only_is_read_by_friends(desk: Desk) -> None:
    client = await desk.client()
    await publish(client, OLD_LIST, "current", device_list(7), PRESENCE_ONLY)
    assert (await desk.fetch("axolotl-devices")).why == "forbidden"
    await desk.announce(4711)
    await befriend(desk, client)
    await until(lambda: ["7"] in desk.told(), "the list")
    assert (await desk.fetch("axolotl-devices")).found


async def test_a_contacts_keys_are_served_to_the_users_client(desk: Desk) -> None:
    await desk.announce(4711)
    client = await desk.client()
    pubsub: Any = client.plugin["xep_0060"]
    found = await pubsub.get_items(JID(desk.contact), OLD_LIST)
    (item,) = found["pubsub"]["items"]
    assert item["id"] == "current"
    info = await client.plugin["xep_0030"].get_info(jid=JID(desk.contact), cached=False)
    assert ("pubsub", "pep", None, "Lockgate") in info["disco_info"]["identities"]


async def test_check_looks_at_lists_and_keys_as_a_contact_does(
    server: XmppServer, unique: Callable[[str], str], tmp_path: Path
) -> None:
    component, account = server.component(), server.account(unique("alice"))
    given = Component.model_construct(
        jid=component.jid, host=component.host, port=component.port, secret_file=tmp_path / "unused"
    )
    client = Client(account, "phone")
    await client.log_in()

    async def hop() -> Hop:
        (found,) = await probe_omemo(given, component.secret, {"alice": account.jid})
        return found

    assert (await hop()).state == "warning"
    await publish(client, OLD_LIST, "current", device_list(7, 8))
    assert await hop() == ok("OMEMO alice", f"{account.jid} announces 2 devices, which contacts may read")
    devices = "<devices xmlns='urn:xmpp:omemo:2'><device id='7'/></devices>"
    await publish(client, NODES["omemo-devices"], "current", devices)
    assert "0 of 1" in (await hop()).found
    await publish(client, NODES["omemo-bundles"], "7", "<bundle xmlns='urn:xmpp:omemo:2'/>")
    assert (await hop()).state == "ok"
    await client.disconnect(wait=1.0)
