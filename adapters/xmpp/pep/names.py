"""Personal eventing (XEP-0163) and offline ESessions (XEP-0187): what both halves of the XMPP adapter call things."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from bridge.wire.values import Address, Code, Number, Opaque, Public, RequestShape, Sealed

NS_PUBSUB = "http://jabber.org/protocol/pubsub"
NS_PUBSUB_OWNER = "http://jabber.org/protocol/pubsub#owner"
NS_PUBSUB_ERRORS = "http://jabber.org/protocol/pubsub#errors"
NS_AMP = "http://jabber.org/protocol/amp"

# ---------------------------------------------------------------- nodes
OPTIONS_SUBSCRIBERS = "options-subscribers"
"""Offline options for those who see the publisher's presence, while it is offline."""
OPTIONS = "options"
"""Offline options for everybody."""
PUBKEY = "pubkey"
"""Public keys (XEP-0189)."""
NICK = "nick"
"""The contact's name (XEP-0172)."""
AVATAR_DATA = "avatar-data"
"""Its picture (XEP-0084)."""
AVATAR_METADATA = "avatar-metadata"
"""What there is to be known of its picture."""

AXOLOTL_DEVICES = "axolotl-devices"
"""The OMEMO devices of an account (XEP-0384 0.3), which most clients speak."""
AXOLOTL_BUNDLE = "axolotl-bundle"
"""The keys of one of them; the number is the device's id."""
OMEMO_DEVICES = "omemo-devices"
"""The same for the later form of OMEMO (XEP-0384 0.4 and later)."""
OMEMO_BUNDLES = "omemo-bundles"
"""The keys of all of them: the id of an item is the device's."""

NS_NICK = "http://jabber.org/protocol/nick"
NS_AVATAR_DATA = "urn:xmpp:avatar:data"
NS_AVATAR_METADATA = "urn:xmpp:avatar:metadata"

NODES: Mapping[str, str] = MappingProxyType(
    {
        OPTIONS_SUBSCRIBERS: "http://www.xmpp.org/extensions/xep-0187.html#ns",
        OPTIONS: "http://www.xmpp.org/extensions/xep-0116.html#ns",
        PUBKEY: "urn:xmpp:pubkey:2",
        NICK: NS_NICK,
        AVATAR_DATA: NS_AVATAR_DATA,
        AVATAR_METADATA: NS_AVATAR_METADATA,
        AXOLOTL_DEVICES: "eu.siacs.conversations.axolotl.devicelist",
        AXOLOTL_BUNDLE: "eu.siacs.conversations.axolotl.bundles:{number}",
        OMEMO_DEVICES: "urn:xmpp:omemo:2:devices",
        OMEMO_BUNDLES: "urn:xmpp:omemo:2:bundles",
    }
)
"""Nodes by the code that names them across the wall. `{number}` stands for the number of a request."""

DEVICE_LISTS: Mapping[str, str] = MappingProxyType({NODES[code]: code for code in (AXOLOTL_DEVICES, OMEMO_DEVICES)})
"""Codes of the nodes of the user's that contacts follow, by node."""

# ---------------------------------------------------------------- arrivals
PEP_ITEMS = "pep-items"
"""What a node of the user's holds, which a contact asked for with `fetch`; body: `Items`."""

PEP_EVENT = "pep-event"
"""What a node of the user's holds now, told by the user's server without being asked (XEP-0163); body: `Items`."""

# ---------------------------------------------------------------- requests
PUBLISH = "publish"
"""A contact's item (XML) for a node of its own: the component serves it from then on. `from`: the bare JID."""

RETRACT = "retract"
"""A contact's node holds nothing any more."""

FETCH = "fetch"
"""Ask for the items of a node of the user's; what comes of it is a `pep-items` arrival. `from`: the full JID."""

OFFLINE = "offline"
"""A stanza that begins an offline ESession: `<init/>` and `<c/>`. Kind `exact`: to this resource or not at all."""

PEP_REQUESTS: Mapping[str, RequestShape] = MappingProxyType(
    {
        PUBLISH: RequestShape({"from": Address, "node": Code, "item": Opaque, "content": Public}, {"number": Number}),
        RETRACT: RequestShape({"from": Address, "node": Code}, {"number": Number}),
        FETCH: RequestShape({"from": Address, "to": Address, "node": Code}, {"number": Number, "item": Opaque}),
        OFFLINE: RequestShape(
            {"from": Address, "to": Address, "id": Opaque, "thread": Opaque, "form": Public, "content": Sealed},
            {"kind": Code},
        ),
    }
)
PEP_QUIET = frozenset(PEP_REQUESTS)
"""That one of these succeeded means nothing to the inside half."""


def node_of(code: str, number: int | None = None) -> str | None:
    """The node of a code; None when there is no such code, or its node needs a number and there is none."""
    pattern = NODES.get(code)
    if pattern is None or ("{number}" in pattern) != (number is not None):
        return None
    return pattern if number is None else pattern.format(number=number)


# ---------------------------------------------------------------- the body of `pep-items`
NONE, FORBIDDEN, UNAVAILABLE = "none", "forbidden", "unavailable"
WHY = frozenset({"", NONE, FORBIDDEN, UNAVAILABLE})
"""Why a node could not be read."""
MAX_ITEMS = 16
MAX_ITEM = 1 << 16
"""Characters of one item."""


@dataclass(frozen=True, slots=True)
class Items:
    """What a contact found on a node of the user's. Everything in it is hostile."""

    contact: str
    """The contact's JID, as the request had it."""
    node: str
    """The code of the node."""
    found: bool
    """Whether the node could be read; else there is none, or no answer came."""
    items: tuple[str, ...]
    """The items' content, XML."""
    number: int | None = None
    """The number of the request, or the id of the item that it asked for."""
    why: str = ""
    """Why it could not be read: `none`, `forbidden`, `unavailable`; empty: nothing is known of that."""

    def encode(self) -> bytes:
        """The body of a `pep-items` arrival."""
        known = {"contact": self.contact, "node": self.node, "found": self.found, "items": self.items}
        return json.dumps({**known, "number": self.number, "why": self.why}).encode()

    @classmethod
    def decode(cls, body: bytes) -> "Items":
        """Read a body; ValueError (a constant sentence) for anything `encode` does not write."""
        try:
            read = json.loads(body)
        except (ValueError, RecursionError):
            read = None
        match read:
            case {
                "contact": str(contact),
                "node": str(node),
                "found": bool(found),
                "items": list(items),
                "number": number,
                "why": str(why),
            } if len(read) == 6 and _are_items(items) and _is_number(number) and why in WHY:
                return cls(contact, node, found, tuple(items), number, why)
        raise ValueError("not the items of a node")


def _is_number(number: object) -> bool:
    return number is None or (type(number) is int and 0 <= number < 1 << 32)


def _are_items(items: Sequence[object]) -> bool:
    return len(items) <= MAX_ITEMS and all(isinstance(item, str) and len(item) <= MAX_ITEM for item in items)
