"""The component as the PEP service of its contacts, and as one who asks the user's (XEP-0163, 0060, 0187)."""

import asyncio
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from adapters.outside_api import AccountRoutes, Route
from adapters.xmpp import outside_pep
from adapters.xmpp.names import address_of
from adapters.xmpp.outside_disco import CONTACT, PERSON, following
from adapters.xmpp.outside_fetch import Fetches, event_of, offline_stanza
from adapters.xmpp.outside_iq import answer as reply_to
from adapters.xmpp.outside_pep import MAX_SUBSCRIBERS, Pep
from adapters.xmpp.outside_roster import Roster
from adapters.xmpp.pep.names import (
    DEVICE_LISTS,
    FETCH,
    MAX_ITEM,
    MAX_ITEMS,
    NODES,
    NS_PUBSUB,
    NS_PUBSUB_OWNER,
    OPTIONS,
    OPTIONS_SUBSCRIBERS,
    PEP_ITEMS,
    PEP_REQUESTS,
    PUBLISH,
    RETRACT,
    Items,
    node_of,
)
from bridge.wire.values import Code, Number, Opaque, Public, Sealed, Value, Values

BOB = "bob@m.x"
NODE = NODES[OPTIONS]
ROUTES = [
    AccountRoutes("alice", "alice@x", {}, (Route("bob", "matrix", "@bob:m", BOB),)),
    AccountRoutes("dave", "dave@x", {}, (Route("bob", "matrix", "@bob:m", BOB),)),
]
ITEM: Values = {
    "from": address_of(BOB),
    "node": Code(v=OPTIONS),
    "item": Opaque(v="current"),
    "content": Public(v=b"<x xmlns='jabber:x:data' type='form'/>"),
}


@dataclass
class Marks:
    """An edge that keeps marks, as the ledger does."""

    held: dict[tuple[str, str], str] = field(default_factory=dict)

    async def mark(self, account: str, name: str) -> str | None:
        return self.held.get((account, name))

    async def set_mark(self, account: str, name: str, value: str) -> None:
        self.held[account, name] = value

    async def arrived(self, account: str, name: str, body: bytes, *, mark: tuple[str, str] | None = None) -> None:
        raise AssertionError(account, name, body, mark)

    async def arrived_batch(
        self, account: str, entries: Sequence[tuple[str, bytes]], *, mark: tuple[str, str] | None = None
    ) -> None:
        raise AssertionError(account, entries, mark)

    def health(self, account: str | None, state: str, detail: str) -> None:
        raise AssertionError(account, state, detail)


@dataclass
class Service:
    """A PEP service over marks."""

    edge: Marks = field(default_factory=Marks)
    written: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pep = Pep(self.written.append)
        asyncio.run(self.pep.load(self.edge, ROUTES))

    def carry(self, request: str, account: str = "alice", **values: Value) -> str:
        given: Values = {**ITEM, **values} if request == PUBLISH else values
        return asyncio.run(self.pep.carry(self.edge, account, request, given)).code

    def ask(self, inner: str, kind: str = "get", account: str = "alice", ns: str = NS_PUBSUB) -> ET.Element:
        iq = f"<iq type='{kind}' from='{account}@x/desk' to='{BOB}' id='i1'><pubsub xmlns='{ns}'>{inner}</pubsub></iq>"
        reply = self.pep.reply(ET.fromstring(iq), account, BOB)
        assert reply is not None
        answer = ET.fromstring(reply)
        assert (answer.get("from"), answer.get("to"), answer.get("id")) == (BOB, f"{account}@x/desk", "i1")
        return answer

    def items(self, inner: str = f"<items node='{NODE}'/>", account: str = "alice") -> list[str]:
        answer = self.ask(inner, account=account)
        assert answer.get("type") == "result", ET.tostring(answer)
        return [item.get("id", "") for item in answer.iter(f"{{{NS_PUBSUB}}}item")]

    def refusal(self, inner: str, kind: str = "get", ns: str = NS_PUBSUB) -> tuple[str, ...]:
        answer = self.ask(inner, kind, ns=ns)
        assert answer.get("type") == "error"
        return tuple(e.tag.rpartition("}")[2] for e in answer[0])


# ---------------------------------------------------------------- what is published is served
def test_what_a_contact_published_is_served_to_its_user() -> None:
    service = Service()
    assert service.carry(PUBLISH) == "ok"
    answer = service.ask(f"<items node='{NODE}'/>")
    item = answer.find(f"{{{NS_PUBSUB}}}pubsub/{{{NS_PUBSUB}}}items/{{{NS_PUBSUB}}}item")
    assert item is not None
    assert item.get("id") == "current"
    assert item[0].tag == "{jabber:x:data}x"


def test_what_was_published_is_still_there_after_a_restart() -> None:
    service = Service()
    service.carry(PUBLISH)
    assert Service(service.edge).items() == ["current"]


def test_a_mark_of_another_version_is_taken_for_nothing() -> None:
    for value in ("[]", "{", '{"n": 1}', '{"n": {"i": 1}}'):
        service = Service(Marks({("alice", f"pep/{BOB}"): value}))
        assert service.pep.nodes("alice", BOB) == ()


def test_two_users_whose_contacts_share_a_jid_each_see_their_own() -> None:
    service = Service()
    service.carry(PUBLISH)
    assert service.items() == ["current"]
    answer = service.ask(f"<items node='{NODE}'/>", account="dave")
    assert answer.get("type") == "error"


def test_a_newer_item_takes_the_place_of_the_older_and_retracting_leaves_an_empty_node() -> None:
    service = Service()
    service.carry(PUBLISH)
    service.carry(PUBLISH, content=Public(v=b"<newer xmlns='urn:x'/>"))
    assert b"newer" in ET.tostring(service.ask(f"<items node='{NODE}'/>"))
    retraction: Values = {"from": ITEM["from"], "node": ITEM["node"]}
    assert asyncio.run(service.pep.carry(service.edge, "alice", RETRACT, retraction)).code == "ok"
    assert service.items() == []
    assert service.pep.nodes("alice", BOB) == ()


def test_items_may_be_asked_for_by_id_or_by_number() -> None:
    service = Service()
    service.carry(PUBLISH)
    assert service.items(f"<items node='{NODE}'><item id='current'/></items>") == ["current"]
    assert service.items(f"<items node='{NODE}'><item id='other'/></items>") == []
    assert service.items(f"<items node='{NODE}' max_items='1'/>") == ["current"]
    assert service.items(f"<items node='{NODE}' max_items='0'/>") == []
    assert service.items(f"<items node='{NODE}' max_items='all'/>") == ["current"]


def test_nodes_that_hold_something_are_listed() -> None:
    service = Service()
    service.carry(PUBLISH)
    service.carry(PUBLISH, node=Code(v=OPTIONS_SUBSCRIBERS))
    assert set(service.pep.nodes("alice", BOB)) == {NODE, NODES[OPTIONS_SUBSCRIBERS]}
    listed = ET.fromstring(service.pep.disco_items("alice", BOB, "urn:items"))
    assert {i.get("node") for i in listed} == {NODE, NODES[OPTIONS_SUBSCRIBERS]}


@pytest.mark.parametrize(
    ("inner", "kind", "ns", "conditions"),
    [
        ("", "get", NS_PUBSUB, ("bad-request",)),
        ("<items/>", "get", NS_PUBSUB, ("bad-request", "nodeid-required")),
        ("<items node='urn:unknown'/>", "get", NS_PUBSUB, ("item-not-found",)),
        ("<items node='x'/>", "set", NS_PUBSUB, ("feature-not-implemented", "unsupported")),
        ("<options node='x'/>", "get", NS_PUBSUB, ("feature-not-implemented", "unsupported")),
        ("<publish node='x'><item/></publish>", "set", NS_PUBSUB, ("forbidden",)),
        ("<retract node='x'/>", "set", NS_PUBSUB, ("forbidden",)),
        ("<create node='x'/>", "set", NS_PUBSUB, ("forbidden",)),
        ("<configure node='x'/>", "get", NS_PUBSUB_OWNER, ("forbidden",)),
        ("<subscribe jid='alice@x'/>", "set", NS_PUBSUB, ("bad-request", "nodeid-required")),
        (f"<subscribe node='{NODE}' jid='eve@x'/>", "set", NS_PUBSUB, ("bad-request", "invalid-jid")),
        ("<subscribe node='urn:unknown' jid='alice@x'/>", "set", NS_PUBSUB, ("item-not-found",)),
    ],
)
def test_what_cannot_be_done_is_refused_as_pubsub_has_it(
    inner: str, kind: str, ns: str, conditions: tuple[str, ...]
) -> None:
    service = Service()
    service.carry(PUBLISH)
    assert service.refusal(inner, kind, ns) == conditions


def test_what_is_no_pubsub_is_left_to_others() -> None:
    pep = Service().pep
    for inner in ("", "<ping xmlns='urn:xmpp:ping'/>", f"<pubsub xmlns='{NS_PUBSUB}'/><x/>"):
        iq = ET.fromstring(f"<iq type='get' from='alice@x/d' to='{BOB}' id='1'>{inner}</iq>")
        assert pep.reply(iq, "alice", BOB) is None


def test_subscriptions_and_affiliations_are_empty_lists() -> None:
    service = Service()
    for asked in ("subscriptions", "affiliations"):
        assert service.ask(f"<{asked}/>")[0][0].tag == f"{{{NS_PUBSUB}}}{asked}"


def test_subscribers_are_told_of_nodes_that_are_pushed_and_of_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service()
    service.carry(PUBLISH)
    subscribed = service.ask(f"<subscribe node='{NODE}' jid='alice@x'/>", "set")
    assert subscribed[0][0].get("subscription") == "subscribed"
    service.carry(PUBLISH)
    assert not service.written
    monkeypatch.setattr(outside_pep, "PUSHED", frozenset({NODE}))
    service.carry(PUBLISH)
    assert [ET.fromstring(one).get("to") for one in service.written] == ["alice@x"]
    service.ask(f"<unsubscribe node='{NODE}' jid='alice@x'/>", "set")
    service.carry(PUBLISH)
    assert len(service.written) == 1


def test_subscribers_are_not_without_number() -> None:
    service = Service()
    service.carry(PUBLISH)
    for number in range(MAX_SUBSCRIBERS):
        service.ask(f"<subscribe node='{NODE}' jid='alice@x/{number}'/>", "set")
    assert service.refusal(f"<subscribe node='{NODE}' jid='alice@x/more'/>", "set") == ("resource-constraint",)


@pytest.mark.parametrize(
    "wrong",
    [
        {"content": Public(v=b"<x>")},
        {"content": Public(v=b"<x/><y/>")},
        {"content": Public(v=b"<!DOCTYPE x><x/>")},
        {"content": Public(v=b"\xff")},
        {"content": Public(v=b"<x>" + b"y" * 100_000 + b"</x>")},
        {"content": Sealed(v=b"<x/>")},
        {"node": Code(v="unknown")},
        {"number": Number(v=1)},
    ],
)
def test_what_the_enclave_may_not_publish_is_not_served(wrong: Values) -> None:
    service = Service()
    carried = service.pep.carry(service.edge, "alice", PUBLISH, {**ITEM, **wrong})
    assert asyncio.run(carried).code == "bad-request"
    assert service.pep.nodes("alice", BOB) == ()
    assert not service.edge.held


def test_a_node_with_a_number_needs_one() -> None:
    assert node_of("unknown") is None
    assert node_of(OPTIONS) == NODE
    assert node_of(OPTIONS, 5) is None


# ---------------------------------------------------------------- what contacts ask
FETCHED: Values = {"from": address_of(f"{BOB}/lockgate"), "to": address_of("alice@x"), "node": Code(v=OPTIONS)}


@dataclass
class Asking:
    """Questions, and what arrived."""

    timeout_s: float = 15.0
    arrived: list[tuple[str, str, Items]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.fetches = Fetches(lambda a, n, b: self.arrived.append((a, n, Items.decode(b))), self.timeout_s)

    def ask(self) -> ET.Element:
        octets = self.fetches.begin("alice", FETCHED)
        assert octets is not None
        return ET.fromstring(octets)


def answer(asked: ET.Element, inner: str = "", kind: str = "result", sender: str = "alice@x") -> ET.Element:
    wrapped = f"<pubsub xmlns='{NS_PUBSUB}'><items node='{NODE}'>{inner}</items></pubsub>" if kind == "result" else ""
    return ET.fromstring(
        f"<iq type='{kind}' from='{sender}' to='{asked.get('from')}' id='{asked.get('id')}'>{wrapped}</iq>"
    )


async def test_what_a_node_of_the_users_holds_arrives() -> None:
    asking = Asking()
    asked = asking.ask()
    assert (asked.get("from"), asked.get("to"), asked.get("type")) == (f"{BOB}/lockgate", "alice@x", "get")
    assert asked[0][0].get("node") == NODE
    form = "<x xmlns='jabber:x:data' type='form'><field var='a'><value>1</value></field></x>"
    assert asking.fetches.answered(answer(asked, f"<item id='1'>{form}</item><item id='2'/>"))
    (one,) = asking.arrived
    assert one[:2] == ("alice", PEP_ITEMS)
    assert (one[2].contact, one[2].node, one[2].found) == (f"{BOB}/lockgate", OPTIONS, True)
    assert ET.fromstring(one[2].items[0]).tag == "{jabber:x:data}x"
    assert not asking.fetches.answered(answer(asked)), "once"


async def test_an_error_no_answer_and_a_lost_stream_mean_that_there_is_nothing() -> None:
    refused = Asking()
    assert refused.fetches.answered(answer(refused.ask(), kind="error"))
    late = Asking(timeout_s=0.01)
    late.ask()
    await asyncio.sleep(0.05)
    lost = Asking()
    lost.ask()
    lost.fetches.forget()
    for asking in (refused, late, lost):
        assert [(one.found, one.items) for _, _, one in asking.arrived] == [(False, ())]
    closed = Asking()
    closed.ask()
    closed.fetches.close()
    assert not closed.arrived


async def test_only_the_users_own_server_answers() -> None:
    asking = Asking()
    asked = asking.ask()
    assert not asking.fetches.answered(answer(asked, sender="mallory@x"))
    assert not asking.fetches.answered(answer(asked, sender="alice@x/desk"))
    assert not asking.arrived
    assert asking.fetches.answered(answer(asked))


async def test_a_question_that_is_asked_again_is_answered_once() -> None:
    asking = Asking()
    first, second = asking.ask(), asking.ask()
    assert not asking.fetches.answered(answer(first))
    assert asking.fetches.answered(answer(second))
    assert len(asking.arrived) == 1


async def test_what_is_too_large_or_too_many_does_not_arrive() -> None:
    asking = Asking()
    many = "".join(f"<item id='{n}'><x>{'y' * (MAX_ITEM + 1 if n == 1 else 1)}</x></item>" for n in range(MAX_ITEMS))
    asking.fetches.answered(answer(asking.ask(), many + "<item id='last'><z/></item>"))
    (one,) = asking.arrived
    assert len(one[2].items) == MAX_ITEMS - 1


async def test_a_question_of_another_shape_is_not_asked() -> None:
    fetches = Asking().fetches
    assert fetches.begin("alice", {**FETCHED, "node": Code(v="unknown")}) is None
    assert fetches.begin("alice", {"from": FETCHED["from"]}) is None
    assert fetches.begin("alice", {**FETCHED, "number": Number(v=3)}) is None
    assert PEP_REQUESTS[FETCH].fits(FETCHED)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"contact": "b", "node": "n", "found": 1, "items": [], "number": null, "why": ""}',
        b'{"contact": "b", "node": "n", "found": true, "items": []}',
        b'{"contact": "b", "node": "n", "found": true, "items": [1], "number": null, "why": ""}',
        b'{"contact": "b", "node": "n", "found": true, "items": [], "number": null, "why": "", "more": 1}',
        b'{"contact": "b", "node": "n", "found": true, "number": null, "why": "", "items": ["'
        + b"x" * (MAX_ITEM + 1)
        + b'"]}',
        b'{"contact": "b", "node": "n", "found": true, "number": null, "why": "", "items": ['
        + b'"x",' * MAX_ITEMS
        + b'"x"]}',
    ],
)
def test_a_body_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="not the items of a node"):
        Items.decode(body)


def test_an_offline_stanza_is_made_to_be_stored_and_goes_to_its_resource_only() -> None:
    values: Values = {
        "from": address_of(f"{BOB}/lockgate"),
        "to": address_of("alice@x/my desk"),
        "id": Opaque(v="m-1"),
        "thread": Opaque(v="t"),
        "form": Public(v=b"<init xmlns='urn:i'/>"),
        "content": Sealed(v=b"<c xmlns='urn:c'/>"),
    }
    anywhere = ET.fromstring(offline_stanza(values))
    exact = ET.fromstring(offline_stanza({**values, "kind": Code(v="exact")}))
    assert anywhere.get("to") == "alice@x/my desk"
    assert anywhere.get("type") == "chat"
    assert anywhere.find("{http://jabber.org/protocol/amp}amp") is None
    assert exact.find("{http://jabber.org/protocol/amp}amp/{http://jabber.org/protocol/amp}rule") is not None
    for stanza in (anywhere, exact):
        assert stanza.find("{urn:xmpp:hints}store") is not None
        assert stanza.find("{urn:xmpp:hints}no-store") is None
        assert stanza.findtext("thread") == "t"
    with pytest.raises(ValueError, match="shape"):
        offline_stanza({"from": values["from"]})


# ---------------------------------------------------------------- the user's OMEMO devices
BUNDLE: Values = {**FETCHED, "node": Code(v="omemo-bundles"), "item": Opaque(v="4294967295")}


def asked_for(asking: Asking, values: Values) -> ET.Element:
    octets = asking.fetches.begin("alice", values)
    assert octets is not None
    return ET.fromstring(octets)


async def test_keys_are_asked_for_by_the_id_of_their_item_or_the_number_of_their_node() -> None:
    asking = Asking()
    by_item = asked_for(asking, BUNDLE)
    items = by_item[0][0]
    assert (items.get("node"), items[0].get("id")) == ("urn:xmpp:omemo:2:bundles", "4294967295")
    by_number = asked_for(asking, {**FETCHED, "node": Code(v="axolotl-bundle"), "number": Number(v=5)})
    assert by_number[0][0].get("node") == "eu.siacs.conversations.axolotl.bundles:5"
    assert asking.fetches.answered(answer(by_number, "<item id='current'><x/></item>"))
    assert asking.fetches.answered(answer(by_item, "<item id='4294967295'><y/></item>"))
    assert [(one[2].node, one[2].number) for one in asking.arrived] == [
        ("axolotl-bundle", 5),
        ("omemo-bundles", 4294967295),
    ]


async def test_of_a_list_the_newest_item_is_asked_for() -> None:
    asked = asked_for(Asking(), {**FETCHED, "node": Code(v="axolotl-devices")})
    assert asked[0][0].get("max_items") == "1"


async def test_keys_of_several_devices_may_be_asked_for_at_once() -> None:
    asking = Asking()
    first, second = asked_for(asking, BUNDLE), asked_for(asking, {**BUNDLE, "item": Opaque(v="7")})
    assert asking.fetches.answered(answer(first))
    assert asking.fetches.answered(answer(second))


@pytest.mark.parametrize("item", ["current", "-1", "1.5", "99999999999"])
async def test_an_item_that_is_no_device_is_not_asked_for(item: str) -> None:
    assert Asking().fetches.begin("alice", {**BUNDLE, "item": Opaque(v=item)}) is None


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        ("item-not-found", "none"),
        ("not-authorized", "forbidden"),
        ("forbidden", "forbidden"),
        ("not-allowed", "forbidden"),
        ("service-unavailable", "unavailable"),
    ],
)
async def test_why_there_is_nothing_is_told(condition: str, why: str) -> None:
    asking = Asking()
    asked = asking.ask()
    error = f"<error type='cancel'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
    ends = f"from='alice@x' to='{BOB}/lockgate' id='{asked.get('id')}'"
    assert asking.fetches.answered(ET.fromstring(f"<iq xmlns='jabber:client' type='error' {ends}>{error}</iq>"))
    assert [one[2].why for one in asking.arrived] == [why]


LIST = "<list xmlns='eu.siacs.conversations.axolotl'><device id='7'/></list>"
AXOLOTL_LIST = NODES["axolotl-devices"]


def event(
    items: str = f"<item id='current'>{LIST}</item>",
    node: str = AXOLOTL_LIST,
    sender: str = "alice@x",
    kind: str = "headline",
) -> ET.Element:
    inner = f"<event xmlns='http://jabber.org/protocol/pubsub#event'><items node='{node}'>{items}</items></event>"
    return ET.fromstring(f"<message from='{sender}' to='{BOB}/lockgate' type='{kind}'>{inner}</message>")


def told(message: ET.Element) -> Items | None:
    body = event_of(message)
    return None if body is None else Items.decode(body)


def test_a_list_that_the_users_server_tells_of_arrives() -> None:
    found = told(event())
    assert found is not None
    assert (found.contact, found.node, found.found) == (f"{BOB}/lockgate", "axolotl-devices", True)
    assert "device" in found.items[0]


@pytest.mark.parametrize(
    "message",
    [
        event(node="http://jabber.org/protocol/mood"),
        event(sender="alice@x/phone"),
        event(kind="error"),
        ET.fromstring("<message from='alice@x' type='headline'><body>hi</body></message>"),
    ],
)
def test_what_is_no_such_event_does_not(message: ET.Element) -> None:
    assert told(message) is None


def test_an_event_without_content_says_only_that_it_changed_and_a_retraction_that_nothing_is_there() -> None:
    without, retracted = told(event("<item id='current'/>")), told(event("<retract id='current'/>"))
    assert without is not None
    assert retracted is not None
    assert (without.found, without.why) == (False, "unavailable")
    assert (retracted.found, retracted.items) == (True, ())


def test_a_contact_that_is_a_device_follows_the_users_devices() -> None:
    service = Service()
    wanted = {f"{node}+notify" for node in DEVICE_LISTS}
    assert not service.pep.is_device("alice", BOB)
    assert not wanted & set(CONTACT.features)
    service.carry(PUBLISH, node=Code(v="axolotl-devices"), content=Public(v=LIST.encode()))
    assert service.pep.is_device("alice", BOB)
    assert not service.pep.is_device("dave", BOB)
    for entity in (CONTACT, PERSON):
        assert wanted <= set(following(entity).features)
        assert following(entity).caps != entity.caps
    for roster_account, follows in (("alice@x", True), ("dave@x", False)):
        query = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
        iq = ET.fromstring(f"<iq type='get' from='{roster_account}' to='{BOB}/lockgate' id='1'>{query}</iq>")
        reply = reply_to(iq, "m.x", Roster(ROUTES), service.pep)
        assert reply is not None
        features = {f.get("var") for f in ET.fromstring(reply)[0]}
        assert (wanted <= features) is follows
