"""Names and pictures of contacts for the account's user: as vCards, in presence, and told to who wants to know.

What a contact's name and picture are says the enclave, by publishing them (XEP-0172, XEP-0084); this makes of them what
clients ask for otherwise: vcard-temp (XEP-0054), vCard4 (XEP-0292), the hash in presence (XEP-0153), and the
notifications of XEP-0163 for those who announce that they want them.
"""

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from html import escape

from adapters.xmpp.names import bare
from adapters.xmpp.outside_pep import Pep, event_message
from adapters.xmpp.outside_roster import Resource
from adapters.xmpp.pep.names import DEVICE_LISTS, NS_AVATAR_DATA, NS_AVATAR_METADATA, NS_NICK, NS_PUBSUB

NS_VCARD = "vcard-temp"
NS_VCARD4 = "urn:ietf:params:xml:ns:vcard-4.0"
NODE_VCARD4 = "urn:xmpp:vcard4"
"""The node where clients look for a vCard4 first (XEP-0292, 4)."""
NS_UPDATE = "vcard-temp:x:update"
TOLD = (NS_NICK, NS_AVATAR_METADATA, *DEVICE_LISTS)
"""Nodes whose changes are told to clients that announce an interest in them."""


@dataclass(frozen=True, slots=True)
class Card:
    """A contact as far as it is public."""

    name: str = ""
    kind: str = ""
    """Media type of the picture; empty: there is none."""
    picture: str = ""
    """Base64."""
    digest: str = ""
    """SHA-1 of the picture, hexadecimal."""


def card_of(pep: Pep, account: str, alias: str) -> Card:
    """What the contact has published."""
    _, nick = pep.item(account, alias, NS_NICK)
    digest, metadata = pep.item(account, alias, NS_AVATAR_METADATA)
    info = _parsed(metadata).find(f"{{{NS_AVATAR_METADATA}}}info")
    held, data = pep.item(account, alias, NS_AVATAR_DATA)
    name = _parsed(nick).text or ""
    if info is None or held != digest:
        return Card(name)
    return Card(name, info.get("type", ""), _parsed(data).text or "", digest)


def _parsed(xml: str) -> ET.Element:
    return ET.fromstring(xml) if xml else ET.Element("none")  # noqa: S314 - from our own enclave, checked when taken


def card_result(asked: str, card: Card, contact: str, alias: str) -> str | None:
    """The card in the form of that tag, or of the node for vCard4; None for another."""
    name = escape(card.name or contact)
    if asked == f"{{{NS_VCARD}}}vCard":
        photo = f"<PHOTO><TYPE>{escape(card.kind)}</TYPE><BINVAL>{card.picture}</BINVAL></PHOTO>" if card.kind else ""
        names = f"<FN>{name}</FN><NICKNAME>{name}</NICKNAME><JABBERID>{escape(alias)}</JABBERID>"
        return f"<vCard xmlns='{NS_VCARD}'>{names}{photo}</vCard>"
    if asked in (f"{{{NS_VCARD4}}}vcard", NODE_VCARD4):
        uri = f"<photo><uri>data:{escape(card.kind)};base64,{card.picture}</uri></photo>" if card.kind else ""
        names = f"<fn><text>{name}</text></fn><nickname><text>{name}</text></nickname>"
        return f"<vcard xmlns='{NS_VCARD4}'>{names}<impp><uri>xmpp:{escape(alias)}</uri></impp>{uri}</vcard>"
    return None


def asks_for_card(iq: ET.Element) -> bool:
    """Whether it asks for the items of the node for vCard4."""
    items = iq.find(f"{{{NS_PUBSUB}}}pubsub/{{{NS_PUBSUB}}}items")
    return iq.get("type") == "get" and items is not None and items.get("node") == NODE_VCARD4


def update(card: Card) -> str:
    """The hash of the picture as it stands in presence (XEP-0153), and the name (XEP-0172)."""
    nick = f"<nick xmlns='{NS_NICK}'>{escape(card.name)}</nick>" if card.name else ""
    return f"<x xmlns='{NS_UPDATE}'><photo>{card.digest}</photo></x>{nick}"


@dataclass(slots=True)
class Notifier:
    """Tells resources what contacts have published, once they are known to want it, and again when it changes."""

    write: Callable[[bytes], object]
    pep: Pep
    _told: set[tuple[str, str, str]] = field(default_factory=set)

    def came(self, account: str, resource: Resource, aliases: Iterable[str]) -> None:
        """A resource of the user's is there, and what it announces is known: what these contacts have published."""
        if not resource.interests:
            return
        for alias in aliases:
            key = account, resource.jid, bare(alias)
            if key not in self._told:
                self._told.add(key)
                for node in TOLD:
                    self._tell(account, alias, node, resource)

    def changed(self, account: str, alias: str, node: str, resources: Iterable[Resource]) -> None:
        """A contact has published something else."""
        for resource in resources:
            if bare(alias) in resource.seen_by:
                self._tell(account, alias, node, resource)

    def gone(self, account: str, jid: str) -> None:
        """A resource is not there any more."""
        self._told = {key for key in self._told if key[:2] != (account, jid)}

    def forget(self) -> None:
        """The stream was lost."""
        self._told.clear()

    def _tell(self, account: str, alias: str, node: str, resource: Resource) -> None:
        id_, content = self.pep.item(account, alias, node)
        if node in resource.interests and id_:
            self.write(event_message(alias, resource.jid, node, {id_: content}))
