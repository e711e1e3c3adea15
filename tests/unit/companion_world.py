"""A local stream without sockets, brought as far as a test needs it."""

import base64

from companion.local_events import Event
from companion.local_sasl import Accounts, accounts
from companion.local_stream import LocalStream

JID = "alice@example.org"
PASSWORD = "local-secret"
KEPT: Accounts = accounts(JID, PASSWORD)
PASSWORD_MARK = base64.b64encode(f"\0alice\0{PASSWORD}".encode())
"""What only a true login contains."""
HEADER = (
    b"<?xml version='1.0'?><stream:stream to='example.org' xmlns='jabber:client' "
    b"xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
)
STARTTLS = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
BIND = b"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>r</resource></bind></iq>"


def plain(user: str = "alice", password: str = PASSWORD) -> bytes:
    """A whole login."""
    message = base64.b64encode(f"\0{user}\0{password}".encode())
    return b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + message + b"</auth>"


def opened() -> LocalStream:
    """Before anything."""
    return LocalStream("example.org", KEPT, secured=False)


def secured(bindings: dict[str, bytes] | None = None) -> LocalStream:
    """Inside TLS, the stream begun."""
    stream = opened()
    stream.secured(bindings or {})
    stream.feed(HEADER)
    stream.to_send()
    return stream


def authenticated() -> LocalStream:
    """Logged in, the features offered."""
    stream = secured()
    stream.feed(plain())
    stream.feed(HEADER)
    stream.offer("")
    stream.to_send()
    return stream


def bound() -> LocalStream:
    """With a resource."""
    stream = authenticated()
    stream.feed(BIND)
    stream.bound(f"{JID}/r")
    stream.to_send()
    return stream


def kinds(events: list[Event]) -> list[str]:
    """The events' names."""
    return [type(event).__name__ for event in events]
