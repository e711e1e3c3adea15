"""All hops, in the order in which a message meets them. Hops behind a broken one are named as not tried."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from bridge.config.load import Loaded
from bridge.config.models import Config
from bridge.probe.adapters import probe_adapters
from bridge.probe.archive import people, probe_archives
from bridge.probe.component import PORT, SECRET, probe_component
from bridge.probe.homeserver import SERVER, probe_login, probe_server, users
from bridge.probe.hop import Hop, State, failed, ok, skipped, warning
from bridge.probe.host import probe_folder, probe_ledger, probe_lockdown
from bridge.probe.http import Homeserver
from bridge.probe.identity import identities
from bridge.probe.omemo import probe_omemo
from bridge.probe.omemo import users as users_of_omemo
from bridge.probe.uploads import probe_uploads

RUNNING = "running gateway"
_UP = frozenset({"up"})
_COMING = frozenset({"connecting"})


async def probe_all(loaded: Loaded, status: dict[str, Any] | None) -> AsyncIterator[Hop]:
    """Try everything. `status` is the reply of a gateway that runs with this configuration already: its component
    connection is then asked about, not made a second time, for the server would drop one of the two."""
    config = loaded.config
    yield _policy(config)
    yield probe_folder(config)
    yield probe_ledger(config)
    yield await probe_lockdown(config)
    for hop in await probe_adapters(config):
        yield hop
    if status is None:
        async for hop in _xmpp(loaded):
            yield hop
    else:
        yield ok(RUNNING, "it answers; its own connections are not tried a second time")
        for hop in _as_reported(status, "xmpp"):
            yield hop
        for hop in identities(status):
            yield hop
    async for hop in _matrix(loaded):
        yield hop


async def _xmpp(loaded: Loaded) -> AsyncIterator[Hop]:
    """The component's connection, and what the users' servers let it do."""
    config, component, secret = loaded.config, loaded.config.xmpp.component, loaded.secrets.component
    found = await probe_component(component, secret)
    for hop in found:
        yield hop
    if not all(hop.state is State.OK for hop in found):
        return
    domains = sorted({account.xmpp.rpartition("@")[2] for account in config.accounts.values()})
    for hop in await probe_uploads(component, secret, domains[:3]):
        yield hop
    omemo = users_of_omemo(config)
    for hop in await probe_omemo(component, secret, omemo) if omemo else ():
        yield hop
    for hop in await probe_archives(component, secret, people(config, omemo)) if omemo else ():
        yield hop


def _policy(config: Config) -> Hop:
    contacts = [
        (f"{name}/{contact}", entry.require)
        for name, account in config.accounts.items()
        for contact, entry in account.contacts.items()
    ]
    weak = [name for name, require in contacts if require != "end-to-end"]
    found = f"{_counted(len(contacts), 'contact')} of {_counted(len(config.accounts), 'account')}"
    if weak:
        found = f"{found}; less than end-to-end is allowed for {_listed(weak)}"
        return warning("policy", found, "Check that it is meant so.")
    trusting = [
        f"{name}/{contact}"
        for name, account in config.accounts.items()
        for contact, entry in account.contacts.items()
        if entry.trust == "any-device"
    ]
    if trusting:
        found = f"{found}; any device the homeserver lists is trusted for {_listed(trusting)}"
        return warning("policy", found, "Leave trust out where the contact's client can cross-sign.")
    if not contacts:
        return warning("policy", f"{found}: nobody can write to anybody", "Add contacts to the accounts.")
    return ok("policy", f"{found}, all end-to-end")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def _as_reported(status: dict[str, Any], network: str) -> list[Hop]:
    health = status.get("health")
    entries = [e for e in health if isinstance(e, dict)] if isinstance(health, list) else []
    hops = []
    for entry in entries:
        if entry.get("network") == network:
            state, detail = str(entry.get("state")), str(entry.get("detail") or "")
            name = "component" if entry.get("account") in (None, "") else f"component {entry['account']}"
            text = f"the gateway says: {state}{f', {detail}' if detail else ''}"
            hops.append(_hop_of(name, state, text))
    return hops or [skipped(PORT, "the gateway says nothing about it"), skipped(SECRET, "as above")]


def _hop_of(name: str, state: str, text: str) -> Hop:
    if state in _UP:
        return ok(name, text)
    if state in _COMING:
        return warning(name, text, "Check again in a moment.")
    return failed(name, text, "Look at the gateway's log.")


async def _matrix(loaded: Loaded) -> AsyncIterator[Hop]:
    config = loaded.config
    if config.matrix is None:
        return
    async with Homeserver(config.matrix.homeserver) as server:
        found = await probe_server(server)
        for hop in found:
            yield hop
        limits_shown = False
        for name, login in users(config):
            if found[0].name == SERVER and found[0].state == "failed":
                yield skipped(f"login {name}", "the homeserver could not be reached")
                continue
            await asyncio.sleep(0)
            for hop in await probe_login(server, name, login, loaded.secrets.accounts[name]["matrix"]):
                if hop.name.startswith("login") or not limits_shown:
                    yield hop
                limits_shown = limits_shown or not hop.name.startswith("login")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
