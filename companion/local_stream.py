"""The server's side of the client's stream, without I/O: octets in, events and octets out.

    open -> (STARTTLS) -> secured -> SASL -> authenticated -> bind or resume -> bound

Until the client is authenticated, nothing but what leads there is looked at, and little is kept.
"""

import secrets
import xml.etree.ElementTree as ET
from enum import Enum, auto
from xml.sax.saxutils import escape, quoteattr

from adapters.xmpp.outside_stream import StreamBroken
from companion.leg import NS_SM
from companion.local_events import (
    Acknowledged,
    AckWanted,
    Arrived,
    Authenticated,
    BindWanted,
    Closed,
    EnableWanted,
    Event,
    Hint,
    OfferWanted,
    Refused,
    ResumeWanted,
    StartTls,
)
from companion.local_sasl import NS_SASL, Accounts, Login, Malformed, offer
from companion.scram import NotAuthenticated
from companion.stream import (
    MAX_BEFORE_LOGIN,
    MAX_FROM_CLIENT,
    NS_CLIENT,
    NS_STREAM,
    Element,
    End,
    Header,
    StreamReader,
    TooLarge,
    count,
)

NS_TLS = "urn:ietf:params:xml:ns:xmpp-tls"
NS_BIND = "urn:ietf:params:xml:ns:xmpp-bind"
NS_SESSION = "urn:ietf:params:xml:ns:xmpp-session"
NS_CSI = "urn:xmpp:csi:0"
_NS_STREAM_ERRORS = "urn:ietf:params:xml:ns:xmpp-streams"
_MAX_ATTEMPTS = 3


class _Phase(Enum):
    OPEN = auto()
    TLS = auto()
    SECURED = auto()
    OFFERING = auto()
    AUTHENTICATED = auto()
    BINDING = auto()
    BOUND = auto()
    CLOSED = auto()


class LocalStream:
    """One connection's stream. `to_send` is what has to be written; `feed` gives the events."""

    def __init__(self, domain: str, kept: Accounts, *, secured: bool) -> None:
        self._domain = domain
        self._kept = kept
        self._phase = _Phase.SECURED if secured else _Phase.OPEN
        self._bindings: dict[str, bytes] = {}
        self._reader = StreamReader(MAX_BEFORE_LOGIN)
        self._out = bytearray()
        self._events: list[Event] = []
        self._login: Login | None = None
        self._attempts = 0
        self._bind_id = ""
        self._header_sent = False
        self._language = "en"
        self._managed = False

    @property
    def closed(self) -> bool:
        """Whether the stream is over."""
        return self._phase is _Phase.CLOSED

    @property
    def authenticated(self) -> bool:
        """Whether the client has logged in."""
        return self._phase in (_Phase.OFFERING, _Phase.AUTHENTICATED, _Phase.BINDING, _Phase.BOUND)

    def secured(self, bindings: dict[str, bytes]) -> None:
        """TLS stands, with these channel bindings; the stream begins anew inside it."""
        self._bindings = bindings
        self._phase = _Phase.SECURED
        self._restart(MAX_BEFORE_LOGIN)

    def to_send(self) -> bytes:
        """What has to be written now."""
        out, self._out = bytes(self._out), bytearray()
        return out

    def feed(self, octets: bytes) -> list[Event]:
        """Take what came."""
        if self._phase in (_Phase.CLOSED, _Phase.TLS):
            return []
        reader = self._reader
        condition = ""
        try:
            for found in reader.read(octets):
                self._take(found)
                if self._phase in (_Phase.CLOSED, _Phase.TLS) or self._reader is not reader:
                    break
        except TooLarge:
            condition = "policy-violation"
        except StreamBroken:
            condition = "not-well-formed"
        if condition:
            self.fail(condition)
        events, self._events = self._events, []
        return events

    # ------------------------------------------------------------ what the session answers
    def offer(self, features: str) -> None:
        """The features inside the login: binding, stream management, and these of the real server's."""
        if self._phase is not _Phase.OFFERING:
            return
        self._phase = _Phase.AUTHENTICATED
        own = (
            f"<bind xmlns='{NS_BIND}'><required/></bind><session xmlns='{NS_SESSION}'><optional/></session>"
            f"<sm xmlns='{NS_SM}'/>"
        )
        self._put(f"<stream:features>{own}{features}</stream:features>")

    def bound(self, jid: str) -> None:
        """The real server gave this full JID."""
        if self._phase is not _Phase.BINDING:
            return
        self._phase = _Phase.BOUND
        self._put(
            f"<iq type='result' id={quoteattr(self._bind_id)}>"
            f"<bind xmlns='{NS_BIND}'><jid>{escape(jid)}</jid></bind></iq>"
        )

    def enabled(self, token: str | None, longest_s: int) -> None:
        """Stream management is on; `token` when the session can be resumed."""
        resume = f" id={quoteattr(token)} resume='true' max='{longest_s}'" if token else ""
        self._managed = True
        self._put(f"<enabled xmlns='{NS_SM}'{resume}/>")

    def resumed(self, previous: str, handled: int) -> None:
        """The earlier session goes on."""
        self._phase = _Phase.BOUND
        self._managed = True
        self._put(f"<resumed xmlns='{NS_SM}' previd={quoteattr(previous)} h='{handled}'/>")

    def not_resumed(self) -> None:
        """There is no such session; the client may bind."""
        self._phase = _Phase.AUTHENTICATED
        self._sm_failed("item-not-found")

    def fail(self, condition: str, text: str = "") -> None:
        """End the stream with an error (RFC 6120, 4.9.3)."""
        if self._phase is _Phase.CLOSED:
            return
        self._open()
        said = f"<text xmlns='{_NS_STREAM_ERRORS}' xml:lang='en'>{escape(text)}</text>" if text else ""
        self._put(f"<stream:error><{condition} xmlns='{_NS_STREAM_ERRORS}'/>{said}</stream:error></stream:stream>")
        self._close(orderly=False)

    def end(self) -> None:
        """End the stream in an orderly way."""
        if self._phase is not _Phase.CLOSED:
            self._put("</stream:stream>")
            self._close(orderly=True)

    # ------------------------------------------------------------ what the client says
    def _take(self, found: Header | Element | End) -> None:
        if isinstance(found, Header):
            self._begun(found)
        elif isinstance(found, End):
            self._open()
            self._put("</stream:stream>")
            self._close(orderly=True)
        elif self._phase is _Phase.OPEN:
            self._take_open(found)
        elif self._phase is _Phase.SECURED:
            self._take_login(found)
        elif self._phase is _Phase.AUTHENTICATED:
            self._take_unbound(found)
        elif self._phase is _Phase.BOUND:
            self._take_bound(found)
        else:
            self.fail("policy-violation")

    def _begun(self, header: Header) -> None:
        self._open()
        self._language = header.attributes.get("xml:lang", "en")[:35]
        if header.attributes.get("to", self._domain).lower().rstrip(".") != self._domain.lower():
            self.fail("host-unknown", "This companion serves one account; log in with that account's address.")
        elif not header.attributes.get("version", "").startswith("1."):
            self.fail("unsupported-version")
        elif self._phase is _Phase.OPEN:
            self._put(f"<stream:features><starttls xmlns='{NS_TLS}'><required/></starttls></stream:features>")
        elif self._phase is _Phase.SECURED:
            self._put(f"<stream:features>{offer(self._bindings)}</stream:features>")
        else:
            self._events.append(OfferWanted())

    def _take_open(self, element: Element) -> None:
        if element.name != f"{{{NS_TLS}}}starttls":
            self.fail("policy-violation", "TLS comes first.")
            return
        self._put(f"<proceed xmlns='{NS_TLS}'/>")
        self._phase = _Phase.TLS
        self._events.append(StartTls())

    def _take_login(self, element: Element) -> None:
        if element.name == f"{{{NS_SASL}}}abort":
            self._login = None
            self._refuse("aborted")
        elif element.name not in (f"{{{NS_SASL}}}auth", f"{{{NS_SASL}}}response"):
            self.fail("not-authorized")
        else:
            self._step(element.xml)

    def _step(self, xml: ET.Element) -> None:
        refused = ""
        try:
            if xml.tag == f"{{{NS_SASL}}}auth":
                self._login = Login(self._kept, self._bindings, xml.get("mechanism", ""))
            if self._login is None:
                refused = "malformed-request"
            else:
                self._put(self._login.answer((xml.text or "").strip()))
        except NotAuthenticated:
            refused = "not-authorized"
        except Malformed:
            refused = "malformed-request"
        if refused:
            self._login = None
            self._refuse(refused)
        elif self._login is not None and self._login.finished:
            self._login = None
            self._phase = _Phase.OFFERING
            self._events.append(Authenticated(self._language))
            self._restart(MAX_FROM_CLIENT)

    def _refuse(self, condition: str) -> None:
        self._attempts += 1
        self._events.append(Refused())
        self._put(f"<failure xmlns='{NS_SASL}'><{condition}/></failure>")
        if self._attempts >= _MAX_ATTEMPTS:
            self.fail("policy-violation", "Too many attempts.")

    def _take_unbound(self, element: Element) -> None:
        xml = element.xml
        wanted = xml.find(f"{{{NS_BIND}}}bind") if element.name == f"{{{NS_CLIENT}}}iq" else None
        if wanted is not None and xml.get("type") == "set":
            self._phase = _Phase.BINDING
            self._bind_id = xml.get("id", "")
            resource = (wanted.findtext(f"{{{NS_BIND}}}resource") or "").strip()
            self._events.append(BindWanted(resource[:1023] or None))
        elif element.name == f"{{{NS_SM}}}resume" and (handled := count(xml)) is not None:
            self._phase = _Phase.BINDING
            self._events.append(ResumeWanted(xml.get("previd", ""), handled))
        elif element.name.startswith(f"{{{NS_SM}}}"):
            self._sm_failed("unexpected-request")
        else:
            self.fail("not-authorized")

    def _take_bound(self, element: Element) -> None:
        xml = element.xml
        if element.is_stanza:
            if not self._managed and _is_session_request(xml):
                self._put(f"<iq type='result' id={quoteattr(xml.get('id', ''))}/>")
            else:
                self._events.append(Arrived(element.octets, element.mark))
        elif element.name == f"{{{NS_SM}}}r":
            self._events.append(AckWanted())
        elif element.name == f"{{{NS_SM}}}a" and (handled := count(xml)) is not None:
            self._events.append(Acknowledged(handled))
        elif element.name == f"{{{NS_SM}}}enable" and not self._managed:
            self._events.append(EnableWanted(xml.get("resume", "") in ("true", "1")))
        elif element.name.startswith(f"{{{NS_CSI}}}"):
            self._events.append(Hint(element.octets))
        elif element.name.startswith(f"{{{NS_SM}}}"):
            self._sm_failed("unexpected-request")
        else:
            self.fail("unsupported-stanza-type")

    # ------------------------------------------------------------ small parts
    def _sm_failed(self, condition: str) -> None:
        error = "urn:ietf:params:xml:ns:xmpp-stanzas"
        self._put(f"<failed xmlns='{NS_SM}'><{condition} xmlns='{error}'/></failed>")

    def _open(self) -> None:
        if not self._header_sent:
            self._header_sent = True
            self._put(
                f"<?xml version='1.0'?><stream:stream xmlns='{NS_CLIENT}' xmlns:stream='{NS_STREAM}' "
                f"id='{secrets.token_hex(8)}' from={quoteattr(self._domain)} version='1.0' xml:lang='en'>"
            )

    def _restart(self, limit: int) -> None:
        self._reader = StreamReader(limit)
        self._header_sent = False

    def _close(self, *, orderly: bool) -> None:
        self._phase = _Phase.CLOSED
        self._events.append(Closed(orderly))

    def _put(self, xml: str) -> None:
        self._out += xml.encode()


def _is_session_request(xml: ET.Element) -> bool:
    """RFC 3921, 3: gone since RFC 6121, still sent by some; answered here since binding was the real thing."""
    return (
        xml.tag == f"{{{NS_CLIENT}}}iq"
        and xml.get("type") == "set"
        and xml.find(f"{{{NS_SESSION}}}session") is not None
    )
