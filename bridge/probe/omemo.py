"""Whether the user's server lets OMEMO work: carbons, and device lists and keys that contacts may read (XEP-0384)."""

import asyncio
import contextlib
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass

from adapters.xmpp.names import NS_CARBONS, NS_STANZAS
from adapters.xmpp.outside_asks import Asks
from adapters.xmpp.outside_disco import NS_INFO
from adapters.xmpp.outside_stream import StreamBroken
from adapters.xmpp.pep.names import NODES, NS_PUBSUB
from bridge.config.models import Component, Config
from bridge.probe.hop import Hop, ok, skipped, warning
from bridge.probe.uploads import PATIENCE_S, connected

OMEMO = "OMEMO"
MAX_ASKED = 8
"""Accounts that are looked at: more take too long."""
CLOSED = frozenset(f"{{{NS_STANZAS}}}{name}" for name in ("forbidden", "not-authorized", "not-allowed"))
NEWER, OLDER, BUNDLES = NODES["omemo-devices"], NODES["axolotl-devices"], NODES["omemo-bundles"]


@dataclass(frozen=True, slots=True)
class Answers:
    """What a server says: its features, the two lists, the keys of the newer form. None: it did not answer."""

    info: ET.Element | None
    newer: ET.Element | None
    older: ET.Element | None
    keys: ET.Element | None = None


def users(config: Config) -> dict[str, str]:
    """The accounts with OMEMO for anybody, and their JIDs."""
    found = {}
    for name, account in config.accounts.items():
        settings = (account.omemo, *(contact.omemo for contact in account.contacts.values()))
        if any(each is not None and each.use == "on" for each in settings):
            found[name] = account.xmpp
    return found


async def probe_omemo(component: Component, secret: str, accounts: Mapping[str, str]) -> list[Hop]:
    """Ask each user's server as a contact does. The component's own connection is known to work."""
    asked = dict(list(accounts.items())[:MAX_ASKED])
    with contextlib.suppress(OSError, TimeoutError, StreamBroken):
        async with asyncio.timeout(4 * PATIENCE_S), connected(component, secret) as asks:
            return [await _account(asks, f"check@{component.jid}", name, jid) for name, jid in asked.items()]
    return [skipped(OMEMO, "the connection of the component did not last")]


async def _account(asks: Asks, sender: str, name: str, jid: str) -> Hop:
    hop, domain = f"{OMEMO} {name}", jid.rpartition("@")[2]
    info = await asks.ask(sender, domain, f"<query xmlns='{NS_INFO}'/>", within_s=PATIENCE_S)
    newer, older = [await _items(asks, sender, jid, node) for node in (NEWER, OLDER)]
    keys = await _items(asks, sender, jid, BUNDLES) if ids_of(newer) else None
    return judged(hop, jid, Answers(info, newer, older, keys))


async def _items(asks: Asks, sender: str, jid: str, node: str) -> ET.Element | None:
    asked = f"<pubsub xmlns='{NS_PUBSUB}'><items node='{node}'/></pubsub>"
    return await asks.ask(sender, jid, asked, within_s=PATIENCE_S)


def judged(hop: str, jid: str, told: Answers) -> Hop:
    """What the answers come to."""
    newer, older, keys = told.newer, told.older, told.keys
    features = {f.get("var") for f in told.info.iter(f"{{{NS_INFO}}}feature")} if told.info is not None else set()
    ids = {*ids_of(newer), *ids_of(older)}
    if not ids and CLOSED & {c.tag for iq in (newer, older) if iq is not None for c in iq.iter()}:
        found = f"the OMEMO devices of {jid} are not to be read by everybody (or there are none)"
        return warning(hop, found, _OPEN)
    if not ids:
        return warning(hop, f"{jid} announces no OMEMO device", "Open a client that speaks OMEMO, and turn it on.")
    kept = 0 if keys is None else sum(1 for _ in keys.iter(f"{{{NS_PUBSUB}}}item"))
    if kept < len(ids_of(newer)):
        found = f"the server of {jid} keeps the keys of {kept} of {len(ids_of(newer))} devices"
        return warning(hop, found, _LIMITS)
    if NS_CARBONS not in features:
        found = f"the server of {jid} does not copy messages to all devices (carbons)"
        return warning(hop, found, 'Prosody: "carbons" in modules_enabled. ejabberd: mod_carboncopy.')
    return ok(hop, f"{jid} announces {len(ids)} devices, which contacts may read")


_OPEN = (
    "Have the user add the contacts to their contact list, or let the client publish with the access model “open”. "
    "ejabberd: force_node_config of mod_pubsub, access_model: open for the nodes of eu.siacs.conversations.axolotl and "
    "urn:xmpp:omemo:2."
)
_LIMITS = (
    "Raise the limit of items in a node. Prosody: pep_max_items. ejabberd: max_items_node of mod_pubsub. Then open the "
    "clients, so that they publish their keys again."
)


def ids_of(answer: ET.Element | None) -> list[str]:
    """The ids of the devices in an answer; none when it is no list."""
    if answer is None or answer.get("type") != "result":
        return []
    return [child.get("id", "") for child in answer.iter() if child.tag.rpartition("}")[2] == "device"]
