"""The outside half of the XMPP adapter: a component of the user's server, ciphertext only."""

import asyncio
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence

from adapters.outside_api import AccountRoutes, Edge, Outcome, Repeated
from adapters.xmpp.names import (
    NETWORK,
    NS_STANZA_ENCRYPTION,
    PRESENCE,
    QUIET,
    RESOURCE,
    STANZA,
    bare,
    jid_of,
)
from adapters.xmpp.outside_arrivals import Arrivals
from adapters.xmpp.outside_component import Link
from adapters.xmpp.outside_disco import CONTACT, GATEWAY, caps_of, following
from adapters.xmpp.outside_fetch import Fetches, event_of, offline_stanza
from adapters.xmpp.outside_files import XmppFiles
from adapters.xmpp.outside_iq import Inquiries, answer
from adapters.xmpp.outside_pep import Pep
from adapters.xmpp.outside_profile import TOLD, Card, Notifier, card_of, update
from adapters.xmpp.outside_roster import Roster
from adapters.xmpp.outside_stanzas import error_reply, presence, rendered
from adapters.xmpp.outside_stream import Cut
from adapters.xmpp.pep.names import FETCH, OFFLINE, PEP_EVENT, PEP_QUIET, PUBLISH, RETRACT, node_of
from bridge.wire.link import Carry
from bridge.wire.values import MAX_BODY, Address, Code

SETTLE_S = 5.0
"""Seconds after a connect in which the answers to presence probes are expected."""
GATHER_S = 0.05
"""Seconds in which changes of presence are gathered into one arrival."""


class XmppOutside:
    """OutsideHalf for XMPP. One component connection serves all accounts and all contact JIDs."""

    network = NETWORK
    pipelined = True
    quiet = QUIET | PEP_QUIET

    def __init__(
        self,
        *,
        jid: str,
        host: str,
        port: int,
        secret: str,
        settle_s: float = SETTLE_S,
        spool: str | None = None,
        file_hosts: Sequence[str] = (),
    ) -> None:
        """`jid` is the component's domain, `secret` the shared secret of XEP-0114.

        `spool`: the folder for files on their way; `file_hosts`: not public ones that files may be fetched from.
        """
        self._jid = jid
        self._settle_s = settle_s
        self._roster = Roster(())
        self._arrivals = Arrivals(self._pause)
        self._complete = False
        self._changed: set[str] = set()
        self._timers: list[asyncio.TimerHandle] = []
        self._edge: Edge | None = None
        self._options = {"jid": jid, "host": host, "secret": secret}
        self._port = port
        self._link: Link | None = None
        self._unconfirmed: set[tuple[str, str]] = set()
        """Requests (account, key) that were written, and of which it is not known whether the server has them."""
        self._inquiries = Inquiries(self._write)
        self._pep = Pep(self._write)
        self._notifier = Notifier(self._write, self._pep)
        self._publishing = asyncio.Lock()
        self._fetches = Fetches(self._arrivals.put)
        self._files = XmppFiles(self._write, spool, file_hosts)

    @classmethod
    def from_settings(cls, settings: Mapping[str, str]) -> "XmppOutside":
        """Made from the settings of a `GatewayServe`: `jid`, `host`, `port`, `secret`; `spool`, `file_hosts`."""
        jid, host, secret = (settings[name] for name in ("jid", "host", "secret"))
        hosts = settings.get("file_hosts", "").split()
        port, spool = int(settings["port"]), settings.get("spool")
        return cls(jid=jid, host=host, port=port, secret=secret, spool=spool, file_hosts=hosts)

    # ---------------------------------------------------------------- what the edge calls
    async def connect(self, edge: Edge, routes: Sequence[AccountRoutes]) -> None:
        """Begin to connect; returns at once, how it stands goes to `edge.health`."""
        self._edge = edge
        self._roster.remap(routes)
        await self._pep.load(edge, routes)
        self._arrivals.start(edge)
        self._link = Link(
            **self._options,
            port=self._port,
            on_stanza=self._stanza,
            on_up=self._up,
            on_down=self._down,
            on_health=lambda state, detail: edge.health(None, state, detail),
        )
        self._link.start()

    async def remap(self, routes: Sequence[AccountRoutes]) -> None:
        """Contacts that are new show themselves, those that are no longer mapped go."""
        before = self._pairs()
        self._roster.remap(routes)
        if self._edge is not None:
            await self._pep.load(self._edge, routes)
        after = self._pairs()
        for alias, user in sorted(before - after):
            self._write(presence(f"{alias}/{RESOURCE}", user, "unavailable"))
        for alias, user in sorted(after - before):
            self._greet(alias, user)

    async def carry(self, account: str, request: Carry) -> Outcome:
        """Write the stanza and wait for the server to have handled it; what a contact publishes is kept here."""
        if XmppFiles.handles(request):
            routes = next((known for known in self._roster.accounts if known.account == account), None)
            return await self._files.carry(self._jid, routes, request, up=self._link is not None and self._link.up)
        sender = request.values.get("from")
        if not isinstance(sender, Address) or bare(jid_of(sender)).rpartition("@")[2] != self._jid.lower():
            return Outcome("bad-request")
        if request.request in (PUBLISH, RETRACT):
            return await self._publish(account, request)
        octets = self._octets(account, request)
        if octets is None:
            return Outcome("bad-request")
        return await self._written(octets, (account, request.key))

    async def _written(self, octets: bytes, which: tuple[str, str]) -> Outcome:
        if self._link is not None and self._link.up:
            self._unconfirmed.add(which)
            if await self._link.write_confirmed(octets):
                self._unconfirmed.discard(which)
                return Outcome()
        return Outcome("not-connected", retry=True)

    async def _publish(self, account: str, request: Carry) -> Outcome:
        if self._edge is None:
            return Outcome("not-connected", retry=True)
        async with self._publishing:  # a contact's nodes are kept together, and requests come several at a time
            outcome = await self._pep.carry(self._edge, account, request.request, request.values)
        if outcome.code == "ok":
            self._profile_changed(account, request)
        return outcome

    def _profile_changed(self, account: str, request: Carry) -> None:
        """If it was a contact's name or picture: those who see the contact are told."""
        sender, code = request.values["from"], request.values["node"]
        contact = self._roster.contact(account, jid_of(sender)) if isinstance(sender, Address) else None
        node = node_of(code.v) if isinstance(code, Code) else None
        if contact is None or node not in TOLD:
            return
        self._notifier.changed(account, contact.alias, node, self._roster.resources(account))
        users = [a.near_address for a in self._roster.accounts if a.account == account]
        for user in users:
            at = f"{contact.alias}/{RESOURCE}"
            self._write(presence(at, user, None, self._shown(user, contact.alias)))

    def _octets(self, account: str, request: Carry) -> bytes | None:
        """The stanza of a request; None for one that is not of its shape."""
        if request.request == FETCH:
            return self._fetches.begin(account, request.values)
        try:
            if request.request == OFFLINE:
                return offline_stanza(request.values)
            again = isinstance(request, Repeated) or (account, request.key) in self._unconfirmed
            return rendered(request.request, request.values, again=again)
        except ValueError:
            return None

    async def close(self) -> None:
        """Disconnect. Contacts are not shown as gone: a client would end its sessions at every restart."""
        for timer in self._timers:
            timer.cancel()
        if self._link is not None:
            await self._link.close()
        self._inquiries.forget()
        await self._files.close()
        self._fetches.close()
        await self._arrivals.close()

    # ---------------------------------------------------------------- the connection
    def _write(self, octets: bytes) -> None:
        if self._link is not None:
            self._link.write(octets)

    def _pause(self, paused: bool) -> None:
        if self._link is not None:
            self._link.pause_reading(paused)

    def _pairs(self) -> set[tuple[str, str]]:
        return {(c.alias, a.near_address) for a in self._roster.accounts for c in a.contacts}

    def _up(self) -> None:
        self._complete = False
        for alias, user in sorted(self._pairs()):
            self._greet(alias, user)
        self._later(self._settle_s, self._settled)

    def _greet(self, alias: str, user: str) -> None:
        self._write(presence(f"{alias}/{RESOURCE}", user, None, self._shown(user, alias)))
        self._write(presence(alias, user, "probe"))

    def _shown(self, user: str, alias: str) -> str:
        """What a contact's presence holds."""
        account = self._roster.account_of(user)
        card = Card() if account is None else card_of(self._pep, account.account, alias)
        follows = account is not None and self._pep.is_device(account.account, alias)
        entity = GATEWAY if bare(alias) == bare(self._jid) else CONTACT
        return (following(entity) if follows else entity).caps + (update(card) if card != Card() else "")

    def _settled(self) -> None:
        self._complete = True
        for account in self._roster.accounts:
            self._announce(account.account)

    def _down(self) -> None:
        self._inquiries.forget()
        self._files.asks.forget()
        self._fetches.forget()
        self._roster.forget_presence()
        self._notifier.forget()
        self._complete = False
        self._changed.clear()
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _later(self, delay_s: float, then: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self._timers = [t for t in self._timers if not t.cancelled() and t.when() > loop.time()]
        self._timers.append(loop.call_later(delay_s, then))

    # ---------------------------------------------------------------- stanzas
    def _stanza(self, cut: Cut) -> None:
        if cut.name == "message":
            self._message(cut)
            return
        found = cut.element()
        if found is None:
            return
        if (account := self._sealed_for(cut, found)) is not None:
            assert cut.octets is not None
            self._arrivals.put(account, STANZA, cut.octets)
        elif cut.name == "presence":
            self._presence(found)
        else:
            self._iq(found)

    def _message(self, cut: Cut) -> None:
        sender, to = cut.attributes.get("from", ""), cut.attributes.get("to", "")
        kind = cut.attributes.get("type", "normal")
        account = self._roster.account_of(sender)
        if kind in ("groupchat", "headline"):
            self._event(account, cut)
            return
        if account is not None and cut.octets is not None and len(cut.octets) <= MAX_BODY:
            self._arrivals.put(account.account, STANZA, cut.octets)
        elif kind != "error" and sender and bare(sender) != bare(self._jid):
            code = "forbidden" if account is None else "too-large"
            id_ = cut.attributes.get("id", "")
            self._write(error_reply("message", sender=to or self._jid, to=sender, id_=id_, code=code))

    def _event(self, account: AccountRoutes | None, cut: Cut) -> None:
        """The user's server tells a contact of a change that it wants to know of."""
        found = cut.element() if account is not None else None
        if found is None or account is None or self._roster.contact(account.account, found.get("to", "")) is None:
            return
        body = event_of(found)
        if body is not None and len(body) <= MAX_BODY:
            self._arrivals.put(account.account, PEP_EVENT, body)

    def _sealed_for(self, cut: Cut, found: ET.Element) -> str | None:
        """The account whose session with a contact this presence or iq belongs to (XEP-0200); None: it is in plain."""
        if cut.octets is None or len(cut.octets) > MAX_BODY or found.find(f"{{{NS_STANZA_ENCRYPTION}}}c") is None:
            return None
        account = self._roster.account_of(found.get("from", ""))
        if account is None or self._roster.contact(account.account, found.get("to", "")) is None:
            return None
        return account.account

    def _iq(self, iq: ET.Element) -> None:
        if self._link is not None and iq.get("from") == self._jid and self._link.came_back(iq.get("id", "")):
            return
        if iq.get("type") in ("result", "error"):
            if not self._files.asks.answered(iq) and not self._fetches.answered(iq):
                self._inquiries.answered(iq, self._able)
        elif (reply := answer(iq, self._jid, self._roster, self._pep)) is not None:
            self._write(reply)

    def _presence(self, found: ET.Element) -> None:
        sender, to, kind = found.get("from", ""), found.get("to", ""), found.get("type")
        account = self._roster.account_of(sender)
        known = account is not None and (self._roster.contact(account.account, to) is not None or to == self._jid)
        if account is None or not known:
            if kind in ("subscribe", "probe"):
                self._write(presence(bare(to), bare(sender), "unsubscribed"))
            return
        caps = self._shown(sender, bare(to))
        at = f"{bare(to)}/{RESOURCE}"
        if kind == "subscribe":
            self._write(presence(bare(to), bare(sender), "subscribed"))
            self._write(presence(bare(to), bare(sender), "subscribe"))
            self._write(presence(at, bare(sender), None, caps))
        elif kind == "unsubscribe":
            self._write(presence(bare(to), bare(sender), "unsubscribed"))
            self._write(presence(at, bare(sender), "unavailable"))
        elif kind == "probe":
            self._write(presence(at, sender, None, caps))
        elif kind == "subscribed":  # servers tell of changed nodes whom they heard of since then (ejabberd)
            self._write(presence(at, bare(sender), None, caps))
        elif kind in (None, "unavailable") and "/" in sender:
            self._moved(account.account, found, sender, to)

    def _moved(self, account: str, found: ET.Element, sender: str, to: str) -> None:
        """A resource of the account's user came, changed or went."""
        if found.get("type") == "unavailable":
            if self._roster.unavailable(account, sender, to):
                self._notifier.gone(account, sender)
                self._announce(account)
            return
        resource = self._roster.available(account, sender, to, _priority(found), caps_of(found))
        if resource is None:
            return
        if resource.able is None:
            self._inquiries.settle(account, resource, f"{bare(to)}/{RESOURCE}", self._able)
        else:
            self._notifier.came(account, resource, (to,))
            self._announce(account)

    def _able(self, account: str, jid: str, able: bool) -> None:
        resource = self._roster.resource(account, jid)
        if resource is not None:
            resource.able = able
            resource.interests = self._inquiries.known.interests(account, resource.caps)
            self._notifier.came(account, resource, resource.seen_by)
            self._announce(account)

    # ---------------------------------------------------------------- arrivals
    def _announce(self, account: str) -> None:
        """Hand the enclave a snapshot soon; several changes make one."""
        if account not in self._changed:
            self._changed.add(account)
            self._later(GATHER_S, lambda: self._snapshot(account))

    def _snapshot(self, account: str) -> None:
        self._changed.discard(account)
        self._arrivals.put(account, PRESENCE, self._roster.snapshot(account, complete=self._complete).encode())


def _priority(found: ET.Element) -> int:
    for child in found:
        if child.tag.endswith("}priority"):
            try:
                return max(-128, min(127, int(child.text or "0")))
            except ValueError:
                return 0
    return 0
