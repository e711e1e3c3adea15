"""Personal eventing of the contacts (XEP-0163): the component itself is the PEP service of every contact JID.

What a contact publishes comes from the enclave (`publish`), is kept in the ledger's marks and served to the account's
user, to whom alone the contact exists. The other way, contacts ask for nodes of the user's (`fetch`).
"""

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from adapters.outside_api import AccountRoutes, Edge, Outcome
from adapters.xmpp.names import bare, jid_of
from adapters.xmpp.outside_stanzas import attribute, iq_error, iq_result
from adapters.xmpp.pep.names import (
    DEVICE_LISTS,
    NS_AVATAR_METADATA,
    NS_NICK,
    NS_PUBSUB,
    NS_PUBSUB_ERRORS,
    NS_PUBSUB_OWNER,
    PEP_REQUESTS,
    PUBLISH,
    RETRACT,
    node_of,
)
from bridge.wire.values import Address, Code, Number, Opaque, Public, Value

NS_STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
NS_EVENT = "http://jabber.org/protocol/pubsub#event"
PEP_CATEGORY, PEP_TYPE = "pubsub", "pep"
PEP_FEATURES = (
    NS_PUBSUB,
    f"{NS_PUBSUB}#access-open",
    f"{NS_PUBSUB}#persistent-items",
    f"{NS_PUBSUB}#retrieve-items",
    f"{NS_PUBSUB}#subscribe",
)
"""Features of a contact's bare JID, beside the identity `pubsub/pep`."""
PUSHED: frozenset[str] = frozenset({NS_NICK, NS_AVATAR_METADATA, *DEVICE_LISTS})
"""Nodes whose changes subscribers are told. Offline options are not among them (XEP-0187, "Publishing")."""
MAX_SUBSCRIBERS = 64
_LARGEST = 96 << 10
"""Octets of an item: a picture of 64 KiB in base64, with some to spare."""

Node = dict[str, str]
"""The items of one node: ids, and their content as XML."""


def _key(account: str, alias: str) -> tuple[str, str]:
    return account, bare(alias)


@dataclass(slots=True)
class Pep:
    """The nodes of all contacts. Two accounts may have contacts of the same JID: each sees its own."""

    write: Callable[[bytes], object]
    _nodes: dict[tuple[str, str], dict[str, Node]] = field(default_factory=dict)
    _subscribed: dict[tuple[str, str, str], set[str]] = field(default_factory=dict)

    # ---------------------------------------------------------------- what the enclave publishes
    async def load(self, edge: Edge, routes: Iterable[AccountRoutes]) -> None:
        """Read what was published before. Call it when the map is known, and again when it changed."""
        for account in routes:
            for contact in account.contacts:
                key = _key(account.account, contact.alias)
                if key not in self._nodes:
                    self._nodes[key] = _decoded(await edge.mark(account.account, _mark(contact.alias)))

    async def carry(self, edge: Edge, account: str, request: str, values: Mapping[str, Value]) -> Outcome:
        """A `publish` or `retract` request: served, and durable, once this returns."""
        place = _place(request, values)
        if place is None:
            return Outcome("bad-request")
        alias, node = place
        nodes = dict(self._nodes.get(_key(account, alias), {}))
        nodes[node] = _items_of(values)
        await edge.set_mark(account, _mark(alias), json.dumps(nodes))
        self._nodes[_key(account, alias)] = nodes
        if request == PUBLISH and node in PUSHED:
            self._tell(account, alias, node)
        return Outcome()

    def nodes(self, account: str, alias: str) -> tuple[str, ...]:
        """The nodes of a contact that hold anything, for disco#items of its bare JID."""
        return tuple(sorted(node for node, items in self._nodes.get(_key(account, alias), {}).items() if items))

    def is_device(self, account: str, alias: str) -> bool:
        """Whether the contact announces itself as an OMEMO device: then it follows the user's devices as well."""
        held = self._nodes.get(_key(account, alias), {})
        return any(held.get(node) for node in DEVICE_LISTS)

    def item(self, account: str, alias: str, node: str) -> tuple[str, str]:
        """Id and content of the newest item of a node; both empty when there is none."""
        held = self._nodes.get(_key(account, alias), {}).get(node, {})
        return list(held.items())[-1] if held else ("", "")

    def disco_items(self, account: str, alias: str, namespace: str) -> str:
        """The `<query/>` that lists them."""
        rows = "".join(f"<item jid='{attribute(alias)}' node='{attribute(n)}'/>" for n in self.nodes(account, alias))
        return f"<query xmlns='{namespace}'>{rows}</query>"

    # ---------------------------------------------------------------- what the user asks
    def reply(self, iq: ET.Element, account: str, alias: str) -> bytes | None:
        """The answer to an iq (get or set) of the account's user to a contact's bare JID; None: not pubsub."""
        inside = iq[0] if len(iq) == 1 else None
        if inside is None or inside.tag not in (f"{{{NS_PUBSUB}}}pubsub", f"{{{NS_PUBSUB_OWNER}}}pubsub"):
            return None
        asked = inside[0] if len(inside) else None
        if asked is None:
            return _refused(iq, "modify", "bad-request")
        if not inside.tag.startswith(f"{{{NS_PUBSUB}}}"):
            return _refused(iq, "auth", "forbidden")
        return self._answered(iq, asked, account, alias)

    def _answered(self, iq: ET.Element, asked: ET.Element, account: str, alias: str) -> bytes:
        action = asked.tag.rpartition("}")[2]
        match iq.get("type"), action:
            case "get", "items":
                return self._items(iq, asked, account, alias)
            case "get", "subscriptions" | "affiliations":
                return _result(iq, f"<{action}/>")
            case "set", "subscribe" | "unsubscribe":
                return self._subscription(iq, asked, account, alias)
            case "set", "publish" | "retract" | "create" | "configure":
                return _refused(iq, "auth", "forbidden")
        unsupported = f"<unsupported xmlns='{NS_PUBSUB_ERRORS}'/>"
        return _refused(iq, "cancel", "feature-not-implemented", unsupported)

    def _items(self, iq: ET.Element, asked: ET.Element, account: str, alias: str) -> bytes:
        node = asked.get("node")
        if not node:
            return _refused(iq, "modify", "bad-request", f"<nodeid-required xmlns='{NS_PUBSUB_ERRORS}'/>")
        held = self._nodes.get(_key(account, alias), {}).get(node)
        if held is None:
            return _refused(iq, "cancel", "item-not-found")
        wanted = [item.get("id", "") for item in asked if item.tag == f"{{{NS_PUBSUB}}}item"]
        found = list(held.items()) if not wanted else [(id_, held[id_]) for id_ in wanted if id_ in held]
        most = asked.get("max_items", "")
        if most.isascii() and most.isdigit() and len(most) <= 6:
            found = found[-int(most) :] if int(most) else []
        rows = "".join(f"<item id='{attribute(id_)}'>{content}</item>" for id_, content in found)
        return _result(iq, f"<items node='{attribute(node)}'>{rows}</items>")

    def _subscription(self, iq: ET.Element, asked: ET.Element, account: str, alias: str) -> bytes:
        """Subscriptions last as long as this process: what is pushed can always be fetched."""
        node, subscriber = asked.get("node"), asked.get("jid", "")
        if not node:
            return _refused(iq, "modify", "bad-request", f"<nodeid-required xmlns='{NS_PUBSUB_ERRORS}'/>")
        if bare(subscriber) != bare(iq.get("from", "")):
            return _refused(iq, "modify", "bad-request", f"<invalid-jid xmlns='{NS_PUBSUB_ERRORS}'/>")
        if node not in self._nodes.get(_key(account, alias), {}):
            return _refused(iq, "cancel", "item-not-found")
        subscribed = self._subscribed.setdefault((*_key(account, alias), node), set())
        if asked.tag.endswith("}unsubscribe"):
            subscribed.discard(subscriber)
            return _result(iq, "")
        if len(subscribed) >= MAX_SUBSCRIBERS and subscriber not in subscribed:
            return _refused(iq, "wait", "resource-constraint")
        subscribed.add(subscriber)
        known = f"node='{attribute(node)}' jid='{attribute(subscriber)}' subscription='subscribed'"
        return _result(iq, f"<subscription {known}/>")

    def _tell(self, account: str, alias: str, node: str) -> None:
        items = self._nodes[_key(account, alias)][node]
        for subscriber in sorted(self._subscribed.get((*_key(account, alias), node), ())):
            self.write(event_message(alias, subscriber, node, items))


def event_message(alias: str, to: str, node: str, items: Node) -> bytes:
    """The notification that these items of a contact's node are the newest."""
    rows = "".join(f"<item id='{attribute(id_)}'>{content}</item>" for id_, content in items.items())
    event = f"<event xmlns='{NS_EVENT}'><items node='{attribute(node)}'>{rows}</items></event>"
    ends = f"from='{attribute(bare(alias))}' to='{attribute(to)}'"
    return f"<message {ends} type='headline'>{event}</message>".encode()


# ---------------------------------------------------------------- requests
def _place(request: str, values: Mapping[str, Value]) -> tuple[str, str] | None:
    """Contact and node of a request; None for one that is not of its shape."""
    shape = PEP_REQUESTS.get(request) if request in (PUBLISH, RETRACT) else None
    if shape is None or not shape.fits(values):
        return None
    sender, code, number = values["from"], values["node"], values.get("number")
    assert isinstance(sender, Address)
    assert isinstance(code, Code)
    assert number is None or isinstance(number, Number)
    node = node_of(code.v, None if number is None else number.v)
    return None if node is None or not _is_xml(values.get("content")) else (jid_of(sender), node)


def _items_of(values: Mapping[str, Value]) -> Node:
    item, content = values.get("item"), values.get("content")
    if not isinstance(item, Opaque) or not isinstance(content, Public):
        return {}
    return {item.v: content.v.decode()}


def _is_xml(content: Value | None) -> bool:
    """Whether it is one element (or nothing): it is written into stanzas as it is."""
    if content is None:
        return True
    if not isinstance(content, Public) or len(content.v) > _LARGEST or b"<!" in content.v or b"<?" in content.v:
        return False
    try:
        ET.fromstring(content.v)  # noqa: S314 - no declarations, and it is our own enclave's
        content.v.decode()
    except (ET.ParseError, ValueError):
        return False
    return True


# ---------------------------------------------------------------- what is kept
def _mark(alias: str) -> str:
    return f"pep/{bare(alias)}"


def _decoded(value: str | None) -> dict[str, Node]:
    """What a mark holds; nothing for one that this version does not read."""
    try:
        found = json.loads(value or "{}")
    except ValueError:
        found = {}
    if not isinstance(found, dict):
        return {}
    return {n: {i: c for i, c in items.items() if isinstance(c, str)} for n, items in found.items() if _is_node(items)}


def _is_node(items: object) -> bool:
    return isinstance(items, dict)


# ---------------------------------------------------------------- answers
def _result(iq: ET.Element, inner: str) -> bytes:
    wrapped = f"<pubsub xmlns='{NS_PUBSUB}'>{inner}</pubsub>" if inner else ""
    return iq_result(iq.get("to", ""), iq.get("from", ""), iq.get("id", ""), wrapped)


def _refused(iq: ET.Element, kind: str, condition: str, detail: str = "") -> bytes:
    """An error as XEP-0060 has it."""
    to, sender, id_ = iq.get("to", ""), iq.get("from", ""), iq.get("id", "")
    if not detail:
        return iq_error(to, sender, id_, kind, condition)
    error = f"<error type='{kind}'><{condition} xmlns='{NS_STANZAS}'/>{detail}</error>"
    head = f"<iq from='{attribute(to)}' to='{attribute(sender)}' type='error' id='{attribute(id_)}'>"
    return f"{head}{error}</iq>".encode()
