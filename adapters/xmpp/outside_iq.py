"""Questions: those that clients put to the component and its contacts, and those it puts to clients."""

import asyncio
import secrets
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass, field

from adapters.outside_api import AccountRoutes
from adapters.xmpp.names import RESOURCE, bare
from adapters.xmpp.outside_commands import command_items, plain_command
from adapters.xmpp.outside_disco import (
    COMPONENT,
    CONTACT,
    GATEWAY,
    NS_COMMANDS,
    NS_INFO,
    NS_ITEMS,
    NS_PING,
    PERSON,
    Entity,
    KnownCapabilities,
    announces_esession,
    following,
    interests_of,
    items,
)
from adapters.xmpp.outside_pep import Pep
from adapters.xmpp.outside_profile import NODE_VCARD4, asks_for_card, card_of, card_result
from adapters.xmpp.outside_roster import Resource, Roster
from adapters.xmpp.outside_stanzas import error_reply, iq_error, iq_get, iq_result
from adapters.xmpp.pep.names import NS_PUBSUB
from bridge.wire.values import CONTROL

INQUIRY_TIMEOUT_S = 15.0


def answer(iq: ET.Element, component: str, roster: Roster, pep: Pep) -> bytes | None:
    """The answer to an iq of type get or set; None when it needs none."""
    sender, to, id_ = iq.get("from", ""), iq.get("to", ""), iq.get("id", "")
    if iq.get("type") not in ("get", "set") or not sender or not id_:
        return None
    account = roster.account_of(sender)
    if account is not None and "/" not in to and roster.contact(account.account, to) is not None:
        card = _card(iq, account.account, to, roster, pep)
        if card is not None:
            return iq_result(to, sender, id_, card)
        eventing = pep.reply(iq, account.account, to)
        if eventing is not None:
            return eventing
    if account is not None and bare(to) == component and plain_command(iq):
        return error_reply("iq", sender=to, to=sender, id_=id_, code="command-in-plain")
    inner = _answered(iq, component, roster, pep)
    if inner is None:
        return iq_error(to, sender, id_, "cancel", "service-unavailable")
    return iq_result(to, sender, id_, inner)


def _answered(iq: ET.Element, component: str, roster: Roster, pep: Pep) -> str | None:
    """What the result holds; None: service unavailable. Contacts are there only for the account they belong to."""
    if iq.get("type") != "get" or len(iq) != 1:
        return None
    account = roster.account_of(iq.get("from", ""))
    entity = _entity(iq.get("to", ""), component, roster, account.account if account else None)
    if entity is None:
        return None
    match iq[0].tag:
        case tag if tag == f"{{{NS_INFO}}}query":
            follows = account is not None and pep.is_device(account.account, iq.get("to", ""))
            return (following(entity) if follows and entity is not COMPONENT else entity).info(iq[0].get("node"))
        case tag if tag == f"{{{NS_ITEMS}}}query":
            return _items(iq.get("to", ""), entity, account, pep, iq[0].get("node"))
        case tag if tag == f"{{{NS_PING}}}ping":
            return ""
    return None


def _card(iq: ET.Element, account: str, to: str, roster: Roster, pep: Pep) -> str | None:
    """A contact's vCard, of either kind; None when something else is asked."""
    contact = roster.contact(account, to)
    if iq.get("type") != "get" or len(iq) != 1 or contact is None:
        return None
    item = asks_for_card(iq)
    tag = NODE_VCARD4 if item else iq[0].tag
    name = "Lockgate" if contact.network == CONTROL else contact.contact
    card = card_result(tag, card_of(pep, account, to), name, contact.alias)
    if card is None or not item:
        return card
    items = f"<items node='{NODE_VCARD4}'><item id='current'>{card}</item></items>"
    return f"<pubsub xmlns='{NS_PUBSUB}'>{items}</pubsub>"


def _items(to: str, entity: Entity, account: AccountRoutes | None, pep: Pep, node: str | None) -> str:
    """What there is below: contacts of the component, its commands, nodes of a contact."""
    if account is not None and entity in (COMPONENT, GATEWAY) and node == NS_COMMANDS:
        return command_items(to)
    if account is not None and entity is PERSON:
        return pep.disco_items(account.account, to, NS_ITEMS)
    listed = account.contacts if account and entity is COMPONENT else ()
    return items((contact.alias, contact.contact) for contact in listed if contact.network != CONTROL)


def _entity(to: str, component: str, roster: Roster, account: str | None) -> Entity | None:
    if to == component:
        return COMPONENT
    if account is None or to.partition("/")[2] not in ("", RESOURCE) or roster.contact(account, to) is None:
        return None
    if bare(to) == component:
        return GATEWAY
    return CONTACT if "/" in to else PERSON


@dataclass(frozen=True, slots=True)
class _Inquiry:
    account: str
    jid: str
    caps: str | None
    timeout: asyncio.TimerHandle


@dataclass(slots=True)
class Inquiries:
    """Disco questions under way: does this resource speak ESessions? What was learnt is kept by capabilities."""

    write: Callable[[bytes], object]
    known: KnownCapabilities = field(default_factory=KnownCapabilities)
    _under_way: dict[str, _Inquiry] = field(default_factory=dict)

    def settle(self, account: str, resource: Resource, asker: str, done: Callable[[str, str, bool], None]) -> None:
        """Find out whether the resource is able; `done(account, jid, able)` now or later."""
        able = self.known.get(account, resource.caps)
        if able is not None:
            done(account, resource.jid, able)
            return
        if any((i.account, i.jid, i.caps) == (account, resource.jid, resource.caps) for i in self._under_way.values()):
            return
        id_ = f"disco-{secrets.token_hex(8)}"
        loop = asyncio.get_running_loop()
        timeout = loop.call_later(INQUIRY_TIMEOUT_S, self._timed_out, id_, done)
        self._under_way[id_] = _Inquiry(account, resource.jid, resource.caps, timeout)
        self.write(iq_get(asker, resource.jid, id_, f"<query xmlns='{NS_INFO}'/>"))

    def answered(self, iq: ET.Element, done: Callable[[str, str, bool], None]) -> None:
        """An iq of type result or error came in."""
        inquiry = self._under_way.get(iq.get("id", ""))
        if inquiry is None or not _same(inquiry.jid, iq.get("from", "")):
            return
        del self._under_way[iq.get("id", "")]
        inquiry.timeout.cancel()
        able = iq.get("type") == "result" and announces_esession(iq)
        if iq.get("type") == "result":
            self.known.learn(inquiry.account, inquiry.caps, able, interests_of(iq))
        done(inquiry.account, inquiry.jid, able)

    def forget(self) -> None:
        """The stream was lost: no answers will come."""
        for inquiry in self._under_way.values():
            inquiry.timeout.cancel()
        self._under_way.clear()

    def _timed_out(self, id_: str, done: Callable[[str, str, bool], None]) -> None:
        inquiry = self._under_way.pop(id_, None)
        if inquiry is not None:
            done(inquiry.account, inquiry.jid, False)


def _same(asked: str, answering: str) -> bool:
    return bare(asked) == bare(answering) and asked.partition("/")[2] == answering.partition("/")[2]
