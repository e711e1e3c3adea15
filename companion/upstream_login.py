"""The companion's login at the real server: slixmpp's connection (DNS, TLS), SCRAM of our own, nothing else of slixmpp.

slixmpp's own SASL knows no channel binding under TLS 1.3 and draws its nonces from a predictable source; its stanza
handlers would answer in the client's place. So it keeps the connection, and the rest passes by it.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import logging
import secrets
import ssl
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from xml.sax.saxutils import escape, quoteattr

from cryptography import x509
from slixmpp import ClientXMPP

from adapters.xmpp.outside_stream import StreamBroken
from companion.local_sasl import NS_BINDINGS, NS_SASL
from companion.scram import ClientSide, NotAuthenticated
from companion.settings import Settings
from companion.stream import MAX_FROM_SERVER, NS_CLIENT, NS_STREAM, Element, End, Header, StreamReader, TooLarge

# Its messages repeat stanzas.
logging.getLogger("slixmpp").setLevel(logging.CRITICAL + 1)

_MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1")
_NS_TLS = "urn:ietf:params:xml:ns:xmpp-tls"


class LoginFailed(Exception):
    """The server cannot be reached, or does not let us in. `fatal`: trying again will not help."""

    def __init__(self, reason: str, *, fatal: bool) -> None:
        super().__init__(reason)
        self.fatal = fatal


class _Parser:
    """A `StreamReader` in the shape slixmpp expects: it sees the stream itself and STARTTLS, the rest goes past it."""

    def __init__(self, take: Callable[[Element], bool], on_broken: Callable[[], None]) -> None:
        self._reader = StreamReader(MAX_FROM_SERVER, lenient=True)
        self._take = take
        self._on_broken = on_broken
        self._fed: list[bytes] = []

    def feed(self, octets: bytes) -> None:
        self._fed.append(octets)

    def read_events(self) -> Iterator[tuple[str, ET.Element]]:
        octets, self._fed = b"".join(self._fed), []
        try:
            for found in self._reader.read(octets):
                yield from self._events(found)
        except (StreamBroken, TooLarge):
            self._on_broken()

    def _events(self, found: Header | Element | End) -> Iterator[tuple[str, ET.Element]]:
        if isinstance(found, Header):
            yield "start", ET.Element(f"{{{NS_STREAM}}}stream", found.attributes)
        elif isinstance(found, End):
            yield "end", ET.Element("stream")
        elif not self._take(found):
            yield "start", found.xml
            yield "end", found.xml


class Connection(ClientXMPP):
    """One connection: slixmpp until TLS stands, `on_login` once the server has let us in, `on_element` from then on."""

    def __init__(
        self,
        settings: Settings,
        language: str,
        *,
        on_login: Callable[[Element], None],
        on_element: Callable[[Element], None],
        on_failed: Callable[[LoginFailed], None],
    ) -> None:
        super().__init__(settings.jid, "", lang=language, ssl_context=_context(settings))
        self.enable_direct_tls = settings.direct_tls if settings.host else True
        self.enable_starttls = not (settings.direct_tls and settings.host)
        self.stream_header = (
            f"<stream:stream to={quoteattr(settings.domain)} xmlns:stream='{NS_STREAM}' xmlns='{NS_CLIENT}' "
            f"xml:lang={quoteattr(language)} version='1.0'>"
        )
        self._settings = settings
        self._on_login, self._on_element, self._on_failed = on_login, on_element, on_failed
        self._scram: ClientSide | None = None
        self._proved = False
        self._inside = False

    def init_parser(self) -> None:
        """A parser for a new stream."""
        self.xml_depth = 0
        self.xml_root = None
        self.parser = _Parser(self._take, self._broken)  # type: ignore[assignment]

    def connection_made(self, transport: asyncio.BaseTransport, send_event: bool = True) -> None:
        """The pinned certificate is looked at before anything is said inside TLS."""
        ssl_object = transport.get_extra_info("ssl_object")
        if ssl_object is not None and not _is_pinned(self._settings, ssl_object):
            transport.close()
            self._fail("the server's certificate is not the pinned one", fatal=True)
            return
        super().connection_made(transport, send_event)

    def exception(self, exception: Exception) -> None:
        """A handler raised: slixmpp would log it with what it was about."""
        self.abort()

    def take_over(self) -> None:
        """Stop slixmpp's tasks for good."""
        self.cancel_connection_attempt()
        self.abort()
        if self._run_out_filters is not None:
            self._run_out_filters.cancel()

    # ------------------------------------------------------------ the login
    def _take(self, element: Element) -> bool:
        """Whether slixmpp does not get it."""
        if self._inside:
            self._on_element(element)
        elif element.name == f"{{{NS_STREAM}}}features" and self._tls() is not None:
            self._features(element)
        elif element.name.startswith(f"{{{NS_SASL}}}"):
            self._sasl(element.xml)
        elif element.name == f"{{{NS_STREAM}}}error":
            self._fail("the server ended the stream", fatal=False)
        else:
            wanted = element.name.startswith(f"{{{_NS_TLS}}}") or element.xml.find(f"{{{_NS_TLS}}}starttls") is not None
            if not wanted:
                self._fail("the server offers no TLS", fatal=True)
            return not wanted
        return True

    def _tls(self) -> ssl.SSLObject | None:
        return self.transport.get_extra_info("ssl_object") if self.transport is not None else None

    def _features(self, element: Element) -> None:
        if self._proved:
            self._inside = True
            self._on_login(element)
            return
        offered = {m.text or "" for m in element.xml.iterfind(f"{{{NS_SASL}}}mechanisms/{{{NS_SASL}}}mechanism")}
        types = [
            c.get("type", "") for c in element.xml.iterfind(f"{{{NS_BINDINGS}}}sasl-channel-binding/{{{NS_BINDINGS}}}*")
        ]
        binding = self._binding(types)
        for name in _MECHANISMS:
            if binding is not None and f"{name}-PLUS" in offered:
                self._begin(f"{name}-PLUS", ClientSide(name, self._user(), _nonce(), binding, flag="p"))
                return
        # `n`: a server that offers only bindings we have not got is no reason for alarm (RFC 5802, 6).
        flag = "n" if any(name.endswith("-PLUS") for name in offered) else "y"
        for name in _MECHANISMS:
            if name in offered:
                self._begin(name, ClientSide(name, self._user(), _nonce(), None, flag=flag))
                return
        if "PLAIN" in offered and self._settings.allow_plain:
            self._proved = True
            self._auth("PLAIN", f"\0{self._user()}\0{self._settings.password}")
        else:
            self._fail("the server offers no login that does not show it the password", fatal=True)

    def _user(self) -> str:
        return self._settings.user

    def _begin(self, mechanism: str, scram: ClientSide) -> None:
        self._scram = scram
        self._auth(mechanism, scram.first())

    def _auth(self, mechanism: str, message: str) -> None:
        self.send_raw(f"<auth xmlns='{NS_SASL}' mechanism='{escape(mechanism)}'>{_encoded(message)}</auth>")

    def _sasl(self, xml: ET.Element) -> None:
        failed = ""
        try:
            self._sasl_step(xml)
        except NotAuthenticated as refused:
            failed = str(refused)
        except (ValueError, binascii.Error):
            failed = "the server's part of the login is malformed"
        if failed:
            self._fail(failed, fatal=True)

    def _sasl_step(self, xml: ET.Element) -> None:
        name = xml.tag.rpartition("}")[2]
        if name == "challenge" and self._scram is not None:
            answer = self._scram.final(_decoded(xml.text), self._settings.password)
            self.send_raw(f"<response xmlns='{NS_SASL}'>{_encoded(answer)}</response>")
        elif name == "success":
            if self._scram is not None:
                self._scram.check(_decoded(xml.text))
                self._proved = True
            if not self._proved:
                raise NotAuthenticated("the server let us in without being asked")
            self.init_parser()
            self.send_raw(self.stream_header)
        else:
            temporary = xml.find(f"{{{NS_SASL}}}temporary-auth-failure") is not None
            self._fail("the server refuses the login", fatal=not temporary)

    def _binding(self, announced: list[str]) -> tuple[str, bytes] | None:
        """The channel binding both sides have: `tls-server-end-point` when announced, `tls-unique` before TLS 1.3."""
        tls = self._tls()
        assert tls is not None
        if "tls-server-end-point" in announced and (der := tls.getpeercert(True)):
            return "tls-server-end-point", end_point(der)
        if tls.version() == "TLSv1.2" and (not announced or "tls-unique" in announced):
            unique = tls.get_channel_binding("tls-unique")
            return ("tls-unique", unique) if unique else None
        return None

    def _broken(self) -> None:
        self._fail("the server's stream is not XMPP", fatal=False)

    def _fail(self, reason: str, *, fatal: bool) -> None:
        self._on_failed(LoginFailed(reason, fatal=fatal))
        self.cancel_connection_attempt()
        self.abort()


def end_point(der: bytes) -> bytes:
    """The channel binding `tls-server-end-point` of a certificate (RFC 5929, 4.1)."""
    algorithm = x509.load_der_x509_certificate(der).signature_hash_algorithm
    name = "sha256" if algorithm is None or algorithm.name in ("md5", "sha1") else algorithm.name
    return hashlib.new(name, der).digest()


def _context(settings: Settings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.fingerprint is not None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _is_pinned(settings: Settings, tls: ssl.SSLObject) -> bool:
    if settings.fingerprint is None:
        return True
    der = tls.getpeercert(True) or b""
    wanted = settings.fingerprint.replace(":", "").lower()
    return hmac.compare_digest(hashlib.sha256(der).hexdigest(), wanted)


def _nonce() -> str:
    return secrets.token_urlsafe(24)


def _encoded(message: str) -> str:
    return base64.b64encode(message.encode()).decode() or "="


def _decoded(text: str | None) -> str:
    return base64.b64decode((text or "").encode(), validate=True).decode()
