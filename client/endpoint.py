"""An XMPP account logged in for one conversation: TLS that is checked, the plugin, reconnection, a trace."""

import asyncio
import ipaddress
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO
from xml.etree import ElementTree as ET

from slixmpp import ClientXMPP
from slixmpp.exceptions import XMPPError
from slixmpp.stanza import Presence, StreamFeatures
from slixmpp.xmlstream.stanzabase import StanzaBase
from slixmpp.xmlstream.tostring import tostring

from client.pace import Backoff
from client.plugin import XEP_0116
from client.store import Store
from client.surroundings import ContactSettings

RESOURCE = "lockgate"


@dataclass(frozen=True, slots=True)
class Login:
    """How to log in. `host` and `port` None: as DNS says. `authority`: a PEM file of further trusted issuers.

    `insecure_loopback`: accept any certificate; only for a `host` that is a loopback address.
    """

    jid: str
    password: str = field(repr=False)
    host: str | None = None
    port: int | None = None
    authority: Path | None = None
    insecure_loopback: bool = False

    def __post_init__(self) -> None:
        """Refuse unchecked certificates from anywhere but this machine. Raises ValueError."""
        if self.insecure_loopback and not is_loopback(self.host):
            raise ValueError("certificates may go unchecked only with a loopback host, such as 127.0.0.1")


def is_loopback(host: str | None) -> bool:
    """Whether this names the machine itself."""
    if host == "localhost":
        return True
    try:
        return host is not None and ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def tls_context(login: Login) -> ssl.SSLContext:
    """Certificates are checked against the account's domain; see `Login`."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if login.insecure_loopback:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif login.authority is not None:
        context.load_verify_locations(cafile=str(login.authority))
    return context


class Trace:
    """Writes stanzas as they are on the wire, one JSON object a line. The login is left out: it holds credentials."""

    def __init__(self, path: Path) -> None:
        self._file: TextIO = path.open("a", encoding="utf-8")
        path.chmod(0o600)

    def note(self, direction: str, xml: str) -> None:
        """`direction` is `out` or `in`."""
        if xml.startswith(("<message", "<presence", "<iq")):
            self._file.write(json.dumps({"t": round(time.time(), 3), "dir": direction, "xml": xml}) + "\n")
            self._file.flush()


class Endpoint(ClientXMPP):  # type: ignore[misc, unused-ignore]
    """A logged-in account with the ESession plugin, for a conversation with one contact.

    Callbacks: `went_online(full JID)`, `went_offline(reason)`, `login_failed(sentence)`.
    """

    went_online: Callable[[str], None]
    went_offline: Callable[[str], None]
    login_failed: Callable[[str], None]

    def __init__(
        self, login: Login, contact: str, store: Store, settings: ContactSettings, trace: Trace | None = None
    ) -> None:
        jid = login.jid if "/" in login.jid else f"{login.jid}/{RESOURCE}"
        super().__init__(jid, login.password)
        self.went_online = self.went_offline = self.login_failed = lambda _: None
        self._login, self._contact, self._trace = login, contact, trace
        self._leaving = False
        self._retry = Backoff(0.5, 10.0)
        self._retrying: asyncio.TimerHandle | None = None
        self.ssl_context = tls_context(login)
        self.enable_direct_tls = login.host is None
        self.auto_authorize, self.auto_subscribe = None, False
        self.whitespace_keepalive_interval = 60
        self.add_filter("in", self._require_tls)
        self.register_plugin("xep_0030")
        self.register_plugin("xep_0115")
        self.register_plugin("xep_0199")
        self.register_plugin("xep_0116", {"store": store, "settings": settings})
        for event, handler in (
            ("session_start", self._started),
            ("disconnected", self._lost),
            ("connection_failed", self._unreachable),
            ("failed_all_auth", self._refused),
            ("ssl_invalid_chain", self._untrusted),
            ("presence_subscribe", self._asked),
        ):
            self.add_event_handler(event, handler)

    @property
    def sessions(self) -> XEP_0116:
        """The plugin."""
        plugin = self.plugin.get("xep_0116", None)
        assert isinstance(plugin, XEP_0116)
        return plugin

    def begin(self) -> None:
        """Connect, and stay connected until `leave`."""
        self._retrying = None
        self.connect(self._login.host, self._login.port)

    async def leave(self) -> None:
        """End the session, log out."""
        self._leaving = True
        if self._retrying is not None:
            self._retrying.cancel()
        self.cancel_connection_attempt()
        if self.is_connected():
            await self.sessions.end(self._contact)
            await self.disconnect(wait=2.0)
        self.sessions.plugin_end()

    # ------------------------------------------------------------ the stream
    def send_raw(self, data: str | bytes) -> None:
        """Send, and trace what is sent."""
        super().send_raw(data)
        if self._trace is not None:
            self._trace.note("out", data if isinstance(data, str) else data.decode())

    def incoming_filter(self, xml: ET.Element) -> ET.Element:
        """Trace what is received."""
        if self._trace is not None:
            self._trace.note("in", tostring(xml, xmlns="jabber:client", stream=self, top_level=True))
        return xml

    def _require_tls(self, stanza: StanzaBase) -> StanzaBase | None:
        """Never log in without TLS, whatever the server, or somebody on the way to it, offers."""
        if not isinstance(stanza, StreamFeatures) or "starttls" in stanza["features"]:
            return stanza
        if self.transport is not None and self.transport.get_extra_info("ssl_object") is not None:
            return stanza
        self._stop("the server offers no TLS; not logging in")
        return None

    def _started(self, _: object) -> None:
        self._retry = self._retry.reset()
        self._open = asyncio.ensure_future(self._join())

    async def _join(self) -> None:
        try:
            await self.get_roster()
            await self.plugin["xep_0115"].update_caps(broadcast=False)
        except XMPPError as error:
            self.reconnect(reason=f"the server did not answer: {error.condition}")
            return
        self.send_presence()
        known = self.client_roster[self._contact]
        if known["subscription"] not in ("to", "both"):
            self.send_presence_subscription(pto=self._contact)
        self.went_online(self.boundjid.full)

    def _asked(self, presence: Presence) -> None:
        """The contact wants to see our presence; nobody else is answered."""
        if presence["from"].bare == self._contact:
            self.send_presence_subscription(pto=self._contact, ptype="subscribed")

    # ------------------------------------------------------------ losses
    def _lost(self, reason: Any) -> None:
        if not self._leaving:
            self.went_offline(str(reason or "the connection was closed"))
            self._later()

    def _unreachable(self, reason: Any) -> None:
        if not self._leaving:
            self.went_offline(str(reason or "no connection"))
            self._later()

    def _later(self) -> None:
        if self._retrying is None:
            self._retrying = self.loop.call_later(self._retry.pause_s, self.begin)
            self._retry = self._retry.failed()

    def _refused(self, _: object) -> None:
        self._stop("the server refused the password, or the account does not exist")

    def _untrusted(self, error: object) -> None:
        self._stop(f"the server's certificate is not trusted: {error}")

    def _stop(self, sentence: str) -> None:
        self._leaving = True
        self.login_failed(sentence)
        self.abort()
