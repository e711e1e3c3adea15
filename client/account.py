"""An XMPP account, logged in: TLS that is checked, what ends a login for good, a trace."""

import ipaddress
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO
from xml.etree import ElementTree as ET

from slixmpp import ClientXMPP
from slixmpp.stanza import StreamFeatures
from slixmpp.xmlstream.stanzabase import StanzaBase
from slixmpp.xmlstream.tostring import tostring

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


class Account(ClientXMPP):  # type: ignore[misc, unused-ignore]
    """One login. `login_failed` is told, in a sentence, when trying again would not help."""

    login_failed: Callable[[str], None]

    def __init__(self, login: Login, trace: Trace | None = None) -> None:
        jid = login.jid if "/" in login.jid else f"{login.jid}/{RESOURCE}"
        super().__init__(jid, login.password)
        self.login_failed = lambda _: None
        self._login, self._trace = login, trace
        self._leaving = False
        self.ssl_context = tls_context(login)
        self.enable_direct_tls = login.host is None
        self.auto_authorize, self.auto_subscribe = None, False
        self.whitespace_keepalive_interval = 60
        self.add_filter("in", self._require_tls)
        self.register_plugin("xep_0030")
        self.register_plugin("xep_0115")
        self.register_plugin("xep_0199")
        self.add_event_handler("failed_all_auth", self._refused)
        self.add_event_handler("ssl_invalid_chain", self._untrusted)

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

    def _refused(self, _: object) -> None:
        self._stop("the server refused the password, or the account does not exist")

    def _untrusted(self, error: object) -> None:
        self._stop(f"the server's certificate is not trusted: {error}")

    def _stop(self, sentence: str) -> None:
        self._leaving = True
        self.login_failed(sentence)
        self.abort()
