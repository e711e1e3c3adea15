"""Names of what crosses the companion's enclave link, and the shapes of its requests. Neutral: both sides import it."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from stringprep import in_table_b1
from types import MappingProxyType
from typing import Final
from unicodedata import normalize

from bridge.wire.values import Address, Public, RequestShape, Sealed, ValueKind

NETWORK: Final = "companion"
LOCAL: Final = "lockgate.local"
"""The local contact: session states are shown as messages from it, commands are written to it."""

# ---------------------------------------------------------------- arrivals
FROM_CLIENT: Final = "from-client"
"""One stanza of the user's own client, as it wrote it."""
FROM_SERVER: Final = "from-server"
"""One stanza of the server's, as it wrote it. Hostile."""
ABLE: Final = "able"
"""What is known of a peer's address: an `Able`. Hostile."""
ONLINE: Final = "online"
"""The server bound us: the body is our full JID."""
OFFLINE: Final = "offline"
"""The stream to the server is gone for good. No body."""

# ---------------------------------------------------------------- requests
TO_CLIENT: Final = "to-client"
"""A stanza in the clear for the user's own client, over the loopback. No other request holds an opened plaintext."""
SEALED: Final = "sealed"
"""A stanza for the server whose content is encrypted; beside it are addresses, ids and hints."""
HANDSHAKE: Final = "handshake"
"""A stanza for the server that belongs to a negotiation, ends a session, or is an error."""
PLAIN: Final = "plain"
"""A stanza of the client's for the server, untouched: its peer has no ESessions, or the user said `plain`."""
INQUIRE: Final = "inquire"
"""Ask an address what it is able to (XEP-0030); answered by an arrival `able`."""

_STANZA: Mapping[str, ValueKind] = {TO_CLIENT: Public, SEALED: Sealed, HANDSHAKE: Public, PLAIN: Public}
REQUESTS: Final[Mapping[str, RequestShape]] = MappingProxyType(
    {
        **{name: RequestShape(MappingProxyType({"stanza": kind})) for name, kind in _STANZA.items()},
        INQUIRE: RequestShape(MappingProxyType({"to": Address})),
    }
)

# ---------------------------------------------------------------- namespaces
NS_ESESSION: Final = "http://www.xmpp.org/extensions/xep-0116.html#ns"
NS_ESESSION_INIT: Final = "http://www.xmpp.org/extensions/xep-0116.html#ns-init"
NS_STANZA_ENCRYPTION: Final = "http://www.xmpp.org/extensions/xep-0200.html#ns"
NS_SSN: Final = "urn:xmpp:ssn"
NS_RECEIPTS: Final = "urn:xmpp:receipts"
NS_STANZA_ID: Final = "urn:xmpp:sid:0"
NS_STANZAS: Final = "urn:ietf:params:xml:ns:xmpp-stanzas"
NS_HINTS: Final = "urn:xmpp:hints"
NS_CARBONS: Final = "urn:xmpp:carbons:2"
NS_FORWARD: Final = "urn:xmpp:forward:0"
NS_EME: Final = "urn:xmpp:eme:0"

FEATURES: Final = (NS_ESESSION, NS_ESESSION_INIT, NS_STANZA_ENCRYPTION, NS_SSN, NS_RECEIPTS, NS_STANZA_ID)
"""What the companion adds to the features that the client announces."""

MAX_JID: Final = 3071
MAX_BARE: Final = 1023
_UNFIT = re.compile("[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
"""What cannot be in XML, or not in an attribute as it is."""


class Ability(StrEnum):
    """What is known of an address."""

    ASKING = "asking"
    YES = "yes"
    NO = "no"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Able:
    """One address of a peer's, with or without resource, and what it is able to."""

    jid: str
    ability: Ability

    def encode(self) -> bytes:
        """As the body of an arrival."""
        return json.dumps({"jid": self.jid, "ability": self.ability.value}).encode()

    @classmethod
    def decode(cls, body: bytes) -> "Able":
        """From the body of an arrival. Raises ValueError."""
        found: object = None
        with suppress(RecursionError):
            found = json.loads(body)
        if not isinstance(found, dict) or found.keys() != {"jid", "ability"} or not is_sane(found["jid"]):
            raise ValueError("not an ability")
        return cls(found["jid"], Ability(found["ability"]))


def bare(jid: str) -> str:
    """The address without its resource, in lower case."""
    return jid.partition("/")[0].lower()


def is_sane(jid: object) -> bool:
    """Whether this can be an address at all, and is written as servers write it: no client may read it as another.

    Servers prepare addresses (RFC 6120, 7622); what is not prepared is somebody's attempt to pass for somebody else.
    """
    if not isinstance(jid, str) or not 0 < len(jid) <= MAX_JID or _UNFIT.search(jid):
        return False
    name = jid.partition("/")[0]
    if not 0 < len(name) <= MAX_BARE or name.endswith(".") or " " in name or not name.isprintable():
        return False
    return name.isascii() or _is_prepared(name)


def _is_prepared(name: str) -> bool:
    """Whether nothing in it is left out, composed, or taken for another character (compare RFC 3454)."""
    low = name.lower()
    if normalize("NFKC", name) != name or normalize("NFKC", low) != low:
        return False
    return name.casefold() in (name, low) and "\u3002" not in name and not any(in_table_b1(c) for c in name)
