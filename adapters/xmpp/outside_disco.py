"""Service discovery: what the component and its contacts announce (XEP-0030, 0115), and what clients do."""

import hashlib
import xml.etree.ElementTree as ET
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from html import escape

from adapters.xmpp.names import (
    CONTENT_FEATURES,
    NS_CHAT_STATES,
    NS_EME,
    NS_ESESSION,
    NS_ESESSION_INIT,
    NS_FEATURE_NEG,
    NS_RECEIPTS,
    NS_SSN,
    NS_STANZA_ENCRYPTION,
    NS_STANZA_ID,
)
from adapters.xmpp.outside_pep import PEP_CATEGORY, PEP_FEATURES, PEP_TYPE
from adapters.xmpp.pep.names import DEVICE_LISTS

NS_INFO = "http://jabber.org/protocol/disco#info"
NS_ITEMS = "http://jabber.org/protocol/disco#items"
NS_CAPS = "http://jabber.org/protocol/caps"
NS_PING = "urn:xmpp:ping"
NS_COMMANDS = "http://jabber.org/protocol/commands"
CAPS_NODE = "https://lockgate.invalid/"
MAX_CACHED = 512
MAX_INTERESTS = 64
MAX_INTEREST = 256


@dataclass(frozen=True, slots=True)
class Identity:
    """What an entity says it is."""

    category: str
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Entity:
    """An entity's identity and features."""

    identity: Identity
    features: tuple[str, ...]
    more: tuple[Identity, ...] = ()
    """What else it is."""

    @property
    def verification(self) -> str:
        """The verification string of entity capabilities, hashed with SHA-1 (XEP-0115, 5.1)."""
        about = sorted(f"{one.category}/{one.kind}//{one.name}<" for one in (self.identity, *self.more))
        text = "".join(about) + "".join(f"{f}<" for f in sorted(self.features))
        return b64encode(hashlib.sha1(text.encode()).digest()).decode()  # noqa: S324 - the specification's choice

    @property
    def caps(self) -> str:
        """The `<c/>` of its presence."""
        return f"<c xmlns='{NS_CAPS}' hash='sha-1' node='{CAPS_NODE}' ver='{self.verification}'/>"

    def info(self, node: str | None) -> str | None:
        """The `<query/>` of an answer; None for a node it does not have."""
        if node not in (None, "", f"{CAPS_NODE}#{self.verification}"):
            return None
        mirrored = f" node='{escape(node, quote=True)}'" if node else ""
        identities = "".join(
            f"<identity category='{one.category}' type='{one.kind}' name='{escape(one.name, quote=True)}'/>"
            for one in (self.identity, *self.more)
        )
        features = "".join(f"<feature var='{f}'/>" for f in self.features)
        return f"<query xmlns='{NS_INFO}'{mirrored}>{identities}{features}</query>"


CARDS = ("vcard-temp", "urn:ietf:params:xml:ns:vcard-4.0")
"""Cards that the component answers for its contacts."""
CONTACT = Entity(
    Identity("client", "pc", "Lockgate"),
    (
        NS_CAPS,
        NS_INFO,
        NS_FEATURE_NEG,
        NS_ESESSION,
        NS_ESESSION_INIT,
        NS_STANZA_ENCRYPTION,
        NS_EME,
        NS_PING,
        NS_RECEIPTS,
        NS_STANZA_ID,
        NS_SSN,
        NS_CHAT_STATES,
        *CONTENT_FEATURES,
    ),
)
"""A contact's resource."""
PERSON = Entity(
    CONTACT.identity,
    (*CONTACT.features, NS_ITEMS, *CARDS, *PEP_FEATURES),
    (Identity(PEP_CATEGORY, PEP_TYPE, "Lockgate"),),
)
"""A contact itself (its bare JID), which is its own PEP service (XEP-0163)."""
COMPONENT = Entity(Identity("gateway", "matrix", "Lockgate"), (NS_CAPS, NS_COMMANDS, NS_INFO, NS_ITEMS, NS_PING))
GATEWAY = Entity(COMPONENT.identity, (*CONTACT.features, NS_COMMANDS, NS_ITEMS))
"""The component's own resource: with it are the sessions in which the gateway takes orders."""


@cache
def following(entity: Entity) -> Entity:
    """The entity, which wants to be told of the user's OMEMO devices (XEP-0163, 4.3.2)."""
    return replace(entity, features=(*entity.features, *(f"{node}+notify" for node in DEVICE_LISTS)))


def items(contacts: Iterable[tuple[str, str]]) -> str:
    """The `<query/>` that lists contacts: alias and name of each."""
    rows = "".join(f"<item jid='{escape(a, quote=True)}' name='{escape(n, quote=True)}'/>" for a, n in contacts)
    return f"<query xmlns='{NS_ITEMS}'>{rows}</query>"


def caps_of(presence: ET.Element) -> str | None:
    """The key under which what a resource announces may be kept: node and version of its `<c/>`, None without."""
    found = presence.find(f"{{{NS_CAPS}}}c")
    if found is None or not found.get("node") or not found.get("ver") or not found.get("hash"):
        return None
    return f"{found.get('node')}#{found.get('ver')}"


def announces_esession(result: ET.Element) -> bool:
    """Whether a disco#info answer holds the feature of XEP-0116."""
    query = result.find(f"{{{NS_INFO}}}query")
    return query is not None and any(f.get("var") == NS_ESESSION for f in query.iter(f"{{{NS_INFO}}}feature"))


def interests_of(result: ET.Element) -> frozenset[str]:
    """The nodes of whose changes a client wants to be told (XEP-0163, 4.3.2), as a disco#info answer says."""
    query = result.find(f"{{{NS_INFO}}}query")
    found = () if query is None else [f.get("var", "") for f in query.iter(f"{{{NS_INFO}}}feature")]
    wanted = (var.removesuffix("+notify") for var in found if var.endswith("+notify"))
    return frozenset(sorted(var for var in wanted if len(var) <= MAX_INTEREST)[:MAX_INTERESTS])


@dataclass(slots=True)
class KnownCapabilities:
    """What was learnt by asking, kept per account: one account's client cannot mislead another account."""

    _known: dict[tuple[str, str], bool] = field(default_factory=dict)
    _interests: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict)

    def get(self, account: str, caps: str | None) -> bool | None:
        """Whether clients of these capabilities speak ESessions; None when it was never asked."""
        return None if caps is None else self._known.get((account, caps))

    def interests(self, account: str, caps: str | None) -> frozenset[str]:
        """The nodes that clients of these capabilities want to be told of."""
        return frozenset() if caps is None else self._interests.get((account, caps), frozenset())

    def learn(self, account: str, caps: str | None, able: bool, interests: frozenset[str] = frozenset()) -> None:
        """Keep an answer."""
        if caps is None:
            return
        if len(self._known) >= MAX_CACHED:
            self._known.clear()
            self._interests.clear()
        self._known[account, caps] = able
        self._interests[account, caps] = interests
