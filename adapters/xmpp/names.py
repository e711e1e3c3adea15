"""What the two halves of the XMPP adapter call things: arrivals, requests, codes, addresses, namespaces."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from bridge.wire.files import FILE_QUIET, FILE_REQUESTS
from bridge.wire.values import Address, Code, Number, Opaque, Public, RequestShape, Sealed

NETWORK = "xmpp"

RESOURCE = "lockgate"
"""Resource of every contact JID. Contacts need one and keep it: docs/decisions/0033-contact-resources.md."""

# ---------------------------------------------------------------- namespaces
NS_ESESSION = "http://www.xmpp.org/extensions/xep-0116.html#ns"
NS_ESESSION_INIT = "http://www.xmpp.org/extensions/xep-0116.html#ns-init"
NS_STANZA_ENCRYPTION = "http://www.xmpp.org/extensions/xep-0200.html#ns"
NS_FEATURE_NEG = "http://jabber.org/protocol/feature-neg"
NS_DATA_FORM = "jabber:x:data"
NS_SSN = "urn:xmpp:ssn"
NS_CHAT_STATES = "http://jabber.org/protocol/chatstates"
NS_RECEIPTS = "urn:xmpp:receipts"
NS_STANZA_ID = "urn:xmpp:sid:0"
NS_HINTS = "urn:xmpp:hints"
NS_CARBONS = "urn:xmpp:carbons:2"
NS_EME = "urn:xmpp:eme:0"
NS_STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
NS_COMPONENT = "jabber:component:accept"

CONTENT_FEATURES = (
    "urn:xmpp:chat-markers:0",
    "urn:xmpp:fallback:0",
    "urn:xmpp:markup:0",
    "urn:xmpp:message-correct:0",
    "jabber:x:oob",
    "urn:xmpp:sfs:0",
    "urn:xmpp:esfs:0",
    "urn:xmpp:message-retract:1",
    "urn:xmpp:reactions:0",
    "urn:xmpp:reply:0",
    "urn:xmpp:styling:0",
)
"""What contacts announce of what messages may hold: all of it is read and written, inside the encryption."""

# ---------------------------------------------------------------- arrivals
STANZA = "stanza"
"""A `<message/>` of the account's user to a contact JID; body: its octets as the server wrote them.

So are `<presence/>` and `<iq/>` that hold encrypted content (XEP-0200): one counter runs through all three kinds.
"""

PRESENCE = "presence"
"""The resources of the account's user; body: a `Resources` snapshot."""

# ---------------------------------------------------------------- requests
NEGOTIATE = "negotiate"
"""A negotiation or termination form in the clear: no type, no body (XEP-0155).

With the kind `error` it is an error stanza, whose `<error/>` the form field holds as well.
"""

ENCRYPTED = "encrypted"
"""A stanza with encrypted content (XEP-0200)."""

STATE = "state"
"""The same, for what is true for a moment only: never stored, and nothing for clients that cannot read it."""

ENCRYPTED_PRESENCE = "encrypted-presence"
"""A presence with encrypted content, to one resource."""

IQ = "iq"
"""An iq with encrypted content, or an error without any; `kind` is `get`, `set`, `result` or `error`."""

ERROR = "error"
"""An error stanza; the sentence for people is rendered outside, from the code."""

NOTICE = "notice"
"""A sentence to the user, from the code. Never content."""

PLAIN = "plain"
"""An unencrypted message, to a contact whose policy says `none` (docs/decisions/0035-plain-contacts.md)."""

RECEIPT = "receipt"
"""An unencrypted receipt for an unencrypted message (XEP-0184)."""

SUBSCRIBE = "subscribe"
"""Ask for the user's presence on behalf of a contact."""

OMEMO = "omemo"
"""A message in `<encrypted/>` (XEP-0384), to the user's bare JID; `form` is `axolotl`, `omemo-2` or `both`.

`again`: `yes`, where clients may have it already. Some show the text for clients without OMEMO when they drop a double.
The others stand in clear beside the older form where the operator says so: the ids of messages that this one replaces,
takes back or answers, by whom the last is and how many characters quote it, and that a marker is asked for.
"""

OMEMO_ASIDE = "omemo-aside"
"""The same, for what nothing waits for. Without `form` there is nothing in it to read: receipts, empty messages."""

_ENDS = {"from": Address, "to": Address}
_BESIDE: Mapping[str, type[Opaque] | type[Address] | type[Number] | type[Code]] = MappingProxyType(
    {"replaces": Opaque, "retracts": Opaque, "answers": Opaque, "author": Address, "quoted": Number, "markable": Code}
)

REQUESTS: Mapping[str, RequestShape] = MappingProxyType(
    {
        NEGOTIATE: RequestShape({**_ENDS, "id": Opaque, "thread": Opaque, "form": Public}, {"kind": Code}),
        ENCRYPTED: RequestShape({**_ENDS, "id": Opaque, "thread": Opaque, "content": Sealed}),
        STATE: RequestShape({**_ENDS, "id": Opaque, "thread": Opaque, "content": Sealed}),
        ENCRYPTED_PRESENCE: RequestShape({**_ENDS, "content": Sealed}),
        IQ: RequestShape({**_ENDS, "id": Opaque, "kind": Code}, {"content": Sealed, "code": Code}),
        ERROR: RequestShape({**_ENDS, "code": Code}, {"id": Opaque, "thread": Opaque, "content": Sealed}),
        NOTICE: RequestShape({**_ENDS, "id": Opaque, "code": Code}),
        PLAIN: RequestShape({**_ENDS, "id": Opaque, "body": Public}, {"thread": Opaque}),
        RECEIPT: RequestShape({**_ENDS, "id": Opaque, "received": Opaque}, {"thread": Opaque}),
        SUBSCRIBE: RequestShape(_ENDS),
        OMEMO: RequestShape({**_ENDS, "id": Opaque, "form": Code, "content": Sealed}, {"again": Code, **_BESIDE}),
        OMEMO_ASIDE: RequestShape({**_ENDS, "id": Opaque, "content": Sealed}, {"form": Code, "again": Code}),
        # files: `url` is an http(s) URL; an upload is answered with `{"url"}`
        **FILE_REQUESTS,
    }
)

QUIET = FILE_QUIET | {NEGOTIATE, ENCRYPTED, STATE, ENCRYPTED_PRESENCE, IQ, ERROR, NOTICE, RECEIPT, SUBSCRIBE}
QUIET |= {OMEMO_ASIDE}
"""That the server took one of these says nothing about the user's client, which answers for itself."""

# ---------------------------------------------------------------- addresses
MAX_JID = 1023
_UNFIT = re.compile(r"[%\x00-\x20\x7f]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED = re.compile(r"%([0-9a-f]{2})")


@lru_cache(4096)
def address_of(jid: str) -> Address:
    """A JID as an address of the wall, which allows no spaces: a resource may hold some."""
    return Address(v=_UNFIT.sub(lambda found: f"%{ord(found[0]):02x}", jid))


def jid_of(address: Address) -> str:
    """The JID that `address_of` was given."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), address.v)


def is_sane(jid: str) -> bool:
    """Whether a JID can cross the wall: not too long, in characters that exist."""
    return 0 < len(jid) <= MAX_JID and not _SURROGATE.search(jid) and len(_UNFIT.sub("%00", jid)) <= MAX_JID


def bare(jid: str) -> str:
    """The bare JID, in lower case: local part and domain are compared without regard to case."""
    return jid.partition("/")[0].lower()


# ---------------------------------------------------------------- the presence snapshot
MAX_RESOURCES = 64


@dataclass(frozen=True, slots=True)
class Resources:
    """The user's available resources, the most available first.

    `complete`: a resource that is missing is gone; else (just after a reconnect) it may not have been heard of yet.
    """

    available: tuple[tuple[str, bool], ...]
    """Full JIDs, each with whether it announces ESessions (XEP-0116)."""
    complete: bool

    def encode(self) -> bytes:
        """The body of a `presence` arrival."""
        return json.dumps({"available": self.available, "complete": self.complete}).encode()

    @classmethod
    def decode(cls, body: bytes) -> "Resources":
        """Read a body; ValueError (a constant sentence) for anything `encode` does not write."""
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict) or found.keys() != {"available", "complete"}:
            raise ValueError("not a snapshot of resources")
        available, complete = found["available"], found["complete"]
        if not isinstance(available, list) or len(available) > MAX_RESOURCES or not isinstance(complete, bool):
            raise ValueError("not a snapshot of resources")
        return cls(tuple(_resource(entry) for entry in available), complete)


def _resource(entry: object) -> tuple[str, bool]:
    match entry:
        case [str(jid), bool(able)] if is_sane(jid) and "/" in jid:
            return jid, able
    raise ValueError("not a resource in a snapshot")
