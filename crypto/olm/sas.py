"""Short authentication strings: what two devices compute from a key agreement (spec: SAS verification).

`curve25519-hkdf-sha256` and `hkdf-hmac-sha256.v2`, no others. The secrets are octets that the caller drew, so that a
conversation can be replayed and be kept over a restart.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from crypto.olm.canonical import canonical
from crypto.olm.contained import contained
from crypto.olm.errors import BadSignature, Malformed
from crypto.olm.keys import b64, curve25519

SECRET = 32
"""Octets of an ephemeral private key."""
KEY_IDS = "KEY_IDS"
MOST_KEYS = 16
"""Keys that one side may present."""
_SAS = "MATRIX_KEY_VERIFICATION_SAS"
_MAC = "MATRIX_KEY_VERIFICATION_MAC"


@dataclass(frozen=True, slots=True)
class Party:
    """A device, and the keys that its user wants verified. `master` is empty where there is no such key."""

    user_id: str
    device_id: str
    ed25519: str
    master: str

    def keys(self) -> dict[str, str]:
        """The keys by their ids."""
        named = {f"ed25519:{self.device_id}": self.ed25519}
        return {**named, f"ed25519:{self.master}": self.master} if self.master else named


@dataclass(frozen=True, slots=True)
class Ends:
    """Both ends of a conversation and its id: what every derived value is bound to."""

    transaction_id: str
    us: Party
    them: Party


@dataclass(frozen=True, slots=True)
class Sas:
    """What both people compare: seven numbers below 64, or three from 1000 to 9191; of the same 42 bits."""

    emoji: tuple[int, ...] = field(repr=False)
    decimal: tuple[int, ...] = field(repr=False)


def public_of(secret: bytes) -> str:
    """The public key of an ephemeral secret (32 octets), unpadded base64."""
    return b64(X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw())


def shared_secret(secret: bytes, theirs: str) -> bytes:
    """32 octets that only the two ends know. Raises Malformed for a key that contributes nothing, or is none."""
    key = curve25519(theirs)
    if key.to_base64() != theirs:
        raise Malformed  # the text itself goes into what both derive
    with contained():
        return X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(key.to_bytes()))
    raise Malformed


def commitment(public: str, start: Mapping[str, object]) -> str:
    """What the accepting end promises: the hash of its public key and of the start message's content."""
    return b64(hashlib.sha256(public.encode() + canonical(dict(start))).digest())


def require_commitment(promised: str, public: str, start: Mapping[str, object]) -> None:
    """Return when the key is the one that was promised. Raises BadSignature."""
    if not hmac.compare_digest(promised.encode(), commitment(public, start).encode()):
        raise BadSignature


def string_of(shared: bytes, ends: Ends, ours: str, theirs: str, *, we_started: bool) -> Sas:
    """The string for both people (spec: SAS HKDF calculation). `ours`, `theirs`: the ephemeral public keys."""
    sides = [(ends.us, ours), (ends.them, theirs)]
    parts = [_SAS]
    for party, public in sides if we_started else reversed(sides):
        parts += [party.user_id, party.device_id, public]
    bits = _derived(shared, "|".join([*parts, ends.transaction_id]), 6)
    number = int.from_bytes(bits, "big")
    emoji = tuple(number >> (42 - 6 * place) & 63 for place in range(7))
    first = number >> 8  # the decimal method reads the first five octets of the same
    return Sas(emoji, tuple((first >> shift & 8191) + 1000 for shift in (27, 14, 1)))


# ---------------------------------------------------------------- MACs
def presented(shared: bytes, ends: Ends) -> dict[str, object]:
    """Our keys with their MACs: `mac` and `keys` of the mac message."""
    keys = ends.us.keys()
    macs = {key_id: _mac(shared, ends, key_id, key, ours=True) for key_id, key in keys.items()}
    return {"mac": macs, "keys": _mac(shared, ends, KEY_IDS, ",".join(sorted(keys)), ours=True)}


def require_presented(shared: bytes, ends: Ends, macs: Mapping[str, str], key_ids: str) -> None:
    """Return when the other end's MACs are over the keys that we know as theirs, the master key among them.

    Proved on return: who compared the strings holds the view that these keys are theirs. Other keys may be named as
    well, they count for nothing. Raises BadSignature.
    """
    if not 0 < len(macs) <= MOST_KEYS:
        raise BadSignature
    known = ends.them.keys()
    _require_equal(key_ids, _mac(shared, ends, KEY_IDS, ",".join(sorted(macs)), ours=False))
    for key_id in known.keys() & macs.keys():
        _require_equal(macs[key_id], _mac(shared, ends, key_id, known[key_id], ours=False))
    if not ends.them.master or f"ed25519:{ends.them.master}" not in macs:
        raise BadSignature


def _mac(shared: bytes, ends: Ends, key_id: str, text: str, *, ours: bool) -> str:
    sender, receiver = (ends.us, ends.them) if ours else (ends.them, ends.us)
    names = (sender.user_id, sender.device_id, receiver.user_id, receiver.device_id)
    key = _derived(shared, "".join((_MAC, *names, ends.transaction_id, key_id)), 32)
    return b64(hmac.digest(key, text.encode(), "sha256"))


def _require_equal(claimed: str, computed: str) -> None:
    if not hmac.compare_digest(claimed.encode(errors="replace"), computed.encode()):
        raise BadSignature


def _derived(shared: bytes, info: str, size: int) -> bytes:
    return HKDF(SHA256(), size, None, info.encode()).derive(shared)
