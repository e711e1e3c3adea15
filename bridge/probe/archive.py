"""Whether the user's server keeps messages for clients that are away: an archive (XEP-0313), or offline (XEP-0160).

What a component is told differs (measured): Prosody says of an account whether it has an archive, and only to those
whom the user lets see its presence; ejabberd says it of the server, to everybody. What was not said is not guessed.
"""

import asyncio
import contextlib
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from adapters.xmpp.outside_asks import Asks
from adapters.xmpp.outside_disco import NS_INFO
from adapters.xmpp.outside_stream import StreamBroken
from bridge.config.handover import alias
from bridge.config.models import Component, Config
from bridge.probe.hop import Hop, State, ok, skipped, warning
from bridge.probe.omemo import MAX_ASKED
from bridge.probe.uploads import PATIENCE_S, connected

ARCHIVE = "archive"
MAX_VANTAGES = 4
"""Contacts in whose name an account is asked about."""
NS_MAM, OFFLINE = "urn:xmpp:mam:", "msgoffline"
TELLS_EVERYBODY = frozenset({"ejabberd"})
"""Servers, by the names they give themselves, that say of themselves whether accounts have an archive."""
_MEND = (
    'Prosody: "mam" in modules_enabled, default_archive_policy = true. ejabberd: mod_mam with default: always. '
    "See docs/clients.md."
)
_SHOW = "Have the user add a contact of the gateway's and let it see the presence; then check again."


@dataclass(frozen=True, slots=True)
class Person:
    """An account, and the addresses of its contacts."""

    jid: str
    contacts: Sequence[str]


@dataclass(frozen=True, slots=True)
class Told:
    """What the server says of itself, and of the account to a contact. None: no answer, or a refusal."""

    server: ET.Element | None
    account: ET.Element | None


def people(config: Config, names: Iterable[str]) -> dict[str, Person]:
    """These accounts."""
    chosen = {name: config.accounts[name] for name in names}
    return {n: Person(a.xmpp, [alias(config, contact) for contact in a.contacts]) for n, a in chosen.items()}


async def probe_archives(component: Component, secret: str, accounts: Mapping[str, Person]) -> list[Hop]:
    """Ask each user's server as the contacts do. The component's own connection is known to work."""
    asked = dict(list(accounts.items())[:MAX_ASKED])
    with contextlib.suppress(OSError, TimeoutError, StreamBroken):
        async with asyncio.timeout(4 * PATIENCE_S), connected(component, secret) as asks:
            return [await _account(asks, component.jid, name, person) for name, person in asked.items()]
    return [skipped(ARCHIVE, "the connection of the component did not last")]


async def _account(asks: Asks, component: str, name: str, person: Person) -> Hop:
    server = await _info(asks, f"check@{component}", person.jid.rpartition("@")[2])
    account = None
    for contact in person.contacts[:MAX_VANTAGES]:
        account = account if account is not None else await _info(asks, contact, person.jid)
    return judged(f"{ARCHIVE} {name}", person.jid, Told(server, account))


async def _info(asks: Asks, sender: str, to: str) -> ET.Element | None:
    answer = await asks.ask(sender, to, f"<query xmlns='{NS_INFO}'/>", within_s=PATIENCE_S)
    return answer if answer is not None and answer.get("type") == "result" else None


def judged(hop: str, jid: str, told: Told) -> Hop:
    """What the answers come to."""
    if told.server is None and told.account is None:
        return skipped(hop, f"the server of {jid} does not say what it keeps")
    archive, offline = _archive(told), any(OFFLINE in _features(each) for each in (told.server, told.account))
    if archive:
        found = f"the server of {jid} has an archive (MAM); whether messages go there unasked is not seen from here"
        return ok(hop, found)
    if archive is None:
        unseen = f"whether the server of {jid} has an archive (MAM) could not be seen from here"
        why = "it answers only contacts that the user lets see the presence"
        if offline or told.server is None:
            return Hop(hop, State.SKIPPED, f"{unseen}, because {why}", _SHOW)
        return warning(
            hop, f"{unseen}, because {why}; without one it keeps nothing for who is away", f"{_SHOW} {_MEND}"
        )
    if offline:
        found = (
            f"the server of {jid} has no archive (MAM): what comes while all clients are away reaches only one of them"
        )
        return warning(hop, found, _MEND)
    found = (
        f"the server of {jid} keeps nothing for who is away (no archive, no offline storage): it has to be sent again"
    )
    return warning(hop, found, _MEND)


def _archive(told: Told) -> bool | None:
    """Whether there is an archive; None: that was not said."""
    if any(feature.startswith(NS_MAM) for each in (told.server, told.account) for feature in _features(each)):
        return True
    names = () if told.server is None else told.server.iter(f"{{{NS_INFO}}}identity")
    open_about_it = TELLS_EVERYBODY & {identity.get("name", "").lower() for identity in names}
    return False if told.account is not None or open_about_it else None


def _features(info: ET.Element | None) -> set[str]:
    return set() if info is None else {f.get("var", "") for f in info.iter(f"{{{NS_INFO}}}feature")}
