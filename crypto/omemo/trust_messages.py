"""Trust messages (XEP-0434) of automatic trust management (XEP-0450): which keys an account's devices trust.

A key stands in them as Base64 of 32 octets. XEP-0384 has two forms of an identity key: the point of Ed25519, which
bundles carry, and the point of Curve25519, which people compare. XEP-0434 does not say which; both are read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from crypto.esession.offline_refusals import OfflineRefusal
from crypto.esession.offline_time import read_time
from crypto.omemo.curve import KEY, agreement_key
from crypto.omemo.faults import Malformed
from crypto.omemo.names import Namespace
from crypto.omemo.reading import unb64
from crypto.xml import Element

NS_TRUST = "urn:xmpp:tm:1"
USAGE = "urn:xmpp:atm:1"
MAX_STATEMENTS: Final = 64
"""Keys of one account of which a message may tell: nobody has so many devices."""
_WITHOUT_ZONE = len("2020-01-01T12:00:00")


@dataclass(frozen=True, slots=True)
class Statement:
    """That a key is trusted, or that it is not. `key`: as it was written, in either form (`forms`)."""

    key: bytes
    trusted: bool


@dataclass(frozen=True, slots=True)
class TrustMessage:
    """What a device says of its owner's keys, and when it says that it said so (milliseconds since 1970)."""

    statements: tuple[Statement, ...] = field(repr=False)
    stamp_ms: int


def is_trust_message(content: Sequence[Element]) -> bool:
    """Whether the content of an envelope holds a trust message, of whatever use and form."""
    return any(_is_one(child) for child in content)


def read_trust_message(content: Sequence[Element], stamp: str | None, owner: str) -> TrustMessage:
    """What the content of an envelope with that `<time/>` says of the keys of `owner`, a bare JID in its normal form.

    What it says of others' keys, or for another protocol, is left out. Raises Malformed when it is not of the form of
    XEP-0434 (sections 4 and 5.2): then nothing of it holds.
    """
    found = [child for child in content if _is_one(child)]
    if len(found) != 1 or stamp is None:
        raise Malformed
    usage, encryption = found[0].attribute("usage"), found[0].attribute("encryption")
    owners = [child for child in found[0].elements if (child.namespace, child.name) == (NS_TRUST, "key-owner")]
    if usage is None or encryption is None or not owners or any(each.attribute("jid") is None for each in owners):
        raise Malformed
    at_ms = _stamped(stamp)
    if usage != USAGE or encryption != Namespace.OMEMO_2:
        return TrustMessage((), at_ms)
    named = [child for each in owners if each.attribute("jid") == owner for child in each.elements]
    statements = [_statement(child) for child in named if child.namespace == NS_TRUST and child.name in _DEEDS]
    if len(statements) > MAX_STATEMENTS:
        raise Malformed
    return TrustMessage(tuple(dict.fromkeys(statements)), at_ms)


@lru_cache(maxsize=512)
def forms(key: bytes) -> frozenset[bytes]:
    """The identity keys (Curve25519) that a statement may mean. Nobody can have a private key for the wrong one."""
    point = agreement_key(key)
    return frozenset({key} if point is None else {key, point})


_DEEDS: Final = {"trust": True, "distrust": False}


def _is_one(element: Element) -> bool:
    return (element.namespace, element.name) == (NS_TRUST, "trust-message")


def _statement(element: Element) -> Statement:
    key = unb64(element.text)
    if len(key) != KEY or element.elements:
        raise Malformed
    return Statement(key, _DEEDS[element.name])


def _stamped(stamp: str) -> int:
    """The examples of XEP-0434 have no zone, which XEP-0082 demands: such a time is in UTC."""
    at_ms: int | None = None
    try:
        at_ms = read_time(f"{stamp}Z" if len(stamp) == _WITHOUT_ZONE else stamp)
    except OfflineRefusal:
        at_ms = None
    if at_ms is None:
        raise Malformed
    return at_ms
