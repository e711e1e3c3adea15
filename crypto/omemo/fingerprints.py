"""Identity keys as people compare them (XEP-0384, section 8): as text, and as an address that clients scan."""

import re
from collections.abc import Mapping

from crypto.omemo.curve import signing_key
from crypto.omemo.names import Namespace

_HEX = re.compile(r"[0-9a-f]{64}\Z")
_ENTRY = re.compile(r"omemo-sid-([0-9]{1,10})=([0-9a-fA-F]{64})\Z")
_MOST_ENTRIES = 64
_SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~@!$'()*+,:")


def fingerprint(identity_key: bytes) -> str:
    """Eight groups of eight digits of the key as a point of Curve25519."""
    text = identity_key.hex()
    return " ".join(text[at : at + 8] for at in range(0, len(text), 8))


def read_fingerprint(text: str) -> bytes | None:
    """The key that somebody typed or copied: spaces and colons do not matter, nor does libsignal's first octet."""
    digits = re.sub(r"[\s:-]", "", text).lower()
    if len(digits) == 66 and digits.startswith("05"):
        digits = digits[2:]
    return bytes.fromhex(digits) if _HEX.match(digits) else None


def uri(jid: str, devices: Mapping[int, bytes]) -> str:
    """The address that Conversations, Dino and others show as a code and scan: bare JID, device ids, their keys."""
    entries = ";".join(f"omemo-sid-{id_}={key.hex()}" for id_, key in sorted(devices.items()))
    return f"xmpp:{_escaped(jid)}?{entries}"


def trust_uri(jid: str, identity_key: bytes) -> str:
    """The address that clients of omemo:2 scan (a Trust Message URI, XEP-0434), about a key whose sign bit is 0.

    They know keys by the form in which `urn:xmpp:omemo:2` publishes them: that of Ed25519.
    """
    key = signing_key(identity_key).hex()
    return f"xmpp:{_escaped(jid)}?trust-message;encryption={Namespace.OMEMO_2};trust={key}"


def _escaped(text: str) -> str:
    return "".join(c if c in _SAFE else "".join(f"%{octet:02X}" for octet in c.encode()) for c in text)


def read_uri(text: str) -> Mapping[int, bytes]:
    """The devices that such an address names, with their keys; whose they are is not asked. Empty when it is none."""
    if not text.startswith("xmpp:"):
        return {}
    found = [_ENTRY.match(part) for part in text.partition("?")[2].split(";")[:_MOST_ENTRIES]]
    return {int(entry[1]): bytes.fromhex(entry[2]) for entry in found if entry is not None}
