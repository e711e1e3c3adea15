"""The code that one end of a verification shows and the other scans (spec: QR code format). Octets, no pictures."""

import hmac

from crypto.olm.errors import BadSignature, Malformed
from crypto.olm.keys import unb64
from crypto.olm.sas import Ends

SECRET = 16
"""Octets of the secret in a code of ours (the specification suggests about 8)."""
LONGEST_SECRET = 64
"""Octets of the secret that a peer may tell."""
_MAGIC, _VERSION, _ANOTHER_USER = b"MATRIX", 2, 0
_KEY = 32


def code_of(ends: Ends, secret: bytes) -> bytes:
    """What our end shows: mode 0, for the other end's user, who has both master keys. Raises Malformed without them."""
    keys = [unb64(party.master) for party in (ends.us, ends.them)]
    name = ends.transaction_id.encode(errors="replace")
    if any(len(key) != _KEY for key in keys) or len(name) >= 1 << 16:
        raise Malformed
    head = _MAGIC + bytes((_VERSION, _ANOTHER_USER))
    return head + len(name).to_bytes(2, "big") + name + b"".join(keys) + secret


def require_scanned(shown: bytes, told: bytes) -> None:
    """Return when the secret that was told is the one in the code: somebody saw it. Raises BadSignature."""
    if not shown or not hmac.compare_digest(shown, told):
        raise BadSignature


def told_secret(text: str) -> bytes:
    """The secret of a start message, unpadded base64. Raises Malformed."""
    secret = unb64(text)
    if not 0 < len(secret) <= LONGEST_SECRET:
        raise Malformed
    return secret
