"""Cross-signing: a user's own identity, and the identities of others (spec: Cross-signing).

A user has three Ed25519 keys. The master key vouches for the other two: the self-signing key, which vouches for the
user's devices, and the user-signing key, which vouches for the master keys of others.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crypto.errors import Misuse
from crypto.olm.canonical import canonical, signature_of, signed_part
from crypto.olm.errors import Malformed, WrongParty
from crypto.olm.keys import b64, ed25519, require_signature

SEED = 32
"""Octets of a private key's seed."""
MASTER, SELF_SIGNING, USER_SIGNING = "master", "self_signing", "user_signing"
USAGES = (MASTER, SELF_SIGNING, USER_SIGNING)


# ---------------------------------------------------------------- our own
@dataclass(frozen=True, slots=True)
class OwnIdentity:
    """The private halves of a user's cross-signing keys, as seeds of 32 octets. Only this side may know them."""

    user_id: str
    master: bytes = field(repr=False)
    self_signing: bytes = field(repr=False)
    user_signing: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Raises Misuse for seeds of another size."""
        if {len(self.seed(usage)) for usage in USAGES} != {SEED}:
            raise Misuse("a cross-signing key needs a seed of 32 octets")

    def seed(self, usage: str) -> bytes:
        """The seed of the key for `master`, `self_signing` or `user_signing`."""
        return {MASTER: self.master, SELF_SIGNING: self.self_signing, USER_SIGNING: self.user_signing}[usage]

    def public(self, usage: str) -> str:
        """The public key for a usage, unpadded base64."""
        return public_of(self.seed(usage))


def public_of(seed: bytes) -> str:
    """The public key of a seed, unpadded base64."""
    return b64(Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw())


def signing_keys(own: OwnIdentity) -> dict[str, object]:
    """The body of `/keys/device_signing/upload`, without `auth`: the three keys, the latter two signed by the first."""
    objects = {f"{usage}_key": _key_object(own, usage) for usage in USAGES}
    for usage in (SELF_SIGNING, USER_SIGNING):
        objects[f"{usage}_key"] = _signed(own, MASTER, objects[f"{usage}_key"])
    return dict(objects)


def vouched_device(own: OwnIdentity, device_keys: Mapping[str, object]) -> dict[str, object]:
    """A device of our own as `/keys/signatures/upload` wants it: signed by the self-signing key, and by no other.

    Raises WrongParty for a device of somebody else.
    """
    if device_keys.get("user_id") != own.user_id:
        raise WrongParty
    bare = {name: value for name, value in device_keys.items() if name not in ("signatures", "unsigned")}
    return _signed(own, SELF_SIGNING, bare)


def with_signatures(device_keys: Mapping[str, object], signed: Mapping[str, object]) -> dict[str, object]:
    """The device's keys with the signatures of both objects. Raises Malformed."""
    merged: dict[str, object] = {}
    for value in (device_keys, signed):
        for user_id, by_key in _mapping(value.get("signatures")).items():
            merged[user_id] = {**_mapping(merged.get(user_id, {})), **_mapping(by_key)}
    return {**device_keys, "signatures": merged}


def vouched_master(own: OwnIdentity, peer: "Identity") -> dict[str, object]:
    """The master key of somebody else, signed by the user-signing key: the user verified that person."""
    bare = _plain_key(peer.user_id, MASTER, peer.master)
    return _signed(own, USER_SIGNING, bare)


def signed_by_master(own: OwnIdentity, value: Mapping[str, object]) -> dict[str, object]:
    """Something that belongs to the whole identity (a backup), signed by the master key."""
    return _signed(own, MASTER, value)


def _key_object(own: OwnIdentity, usage: str) -> dict[str, object]:
    return _plain_key(own.user_id, usage, own.public(usage))


def _plain_key(user_id: str, usage: str, public: str) -> dict[str, object]:
    return {"user_id": user_id, "usage": [usage], "keys": {f"ed25519:{public}": public}}


def _signed(own: OwnIdentity, usage: str, value: Mapping[str, object]) -> dict[str, object]:
    key = Ed25519PrivateKey.from_private_bytes(own.seed(usage))
    signature = b64(key.sign(signed_part(value)))
    return {**value, "signatures": {own.user_id: {f"ed25519:{own.public(usage)}": signature}}}


# ---------------------------------------------------------------- others, and what the server says of us
@dataclass(frozen=True, slots=True)
class Identity:
    """A user's public cross-signing keys, unpadded base64. `user_signing` is told of our own user only."""

    user_id: str
    master: str
    self_signing: str
    user_signing: str | None = None


def verified_identity(user_id: str, master: object, self_signing: object, user_signing: object = None) -> Identity:
    """The identity in these three objects of `/keys/query`.

    Proved on return: who holds the master key vouches for the other keys. Not proved: that it is the user's.
    Raises Malformed, WrongParty, BadSignature.
    """
    top = _public_key(user_id, MASTER, master)
    keys = [_public_key(user_id, SELF_SIGNING, self_signing)]
    _require_vouched(user_id, top, self_signing)
    if user_signing is not None:
        keys.append(_public_key(user_id, USER_SIGNING, user_signing))
        _require_vouched(user_id, top, user_signing)
    return Identity(user_id, top, *keys)


def require_vouched_device(identity: Identity, device_keys: Mapping[str, object]) -> None:
    """Return when the user's self-signing key vouches for the device. Raises Malformed, WrongParty, BadSignature.

    That the device signed its keys itself is `crypto.olm.device.verified_device`'s to check.
    """
    if device_keys.get("user_id") != identity.user_id:
        raise WrongParty
    signature = signature_of(device_keys, identity.user_id, f"ed25519:{identity.self_signing}")
    require_signature(identity.self_signing, signed_part(device_keys), signature)


def require_vouched_master(own: OwnIdentity, peer: Identity, master: Mapping[str, object]) -> None:
    """Return when our user-signing key vouches for the peer's master key. Raises as `verified_identity`."""
    if _public_key(peer.user_id, MASTER, master) != peer.master:
        raise WrongParty
    public = own.public(USER_SIGNING)
    require_signature(public, signed_part(master), signature_of(master, own.user_id, f"ed25519:{public}"))


def _public_key(user_id: str, usage: str, claimed: object) -> str:
    """The one key of a cross-signing key object, whose id must be the key itself."""
    value = _mapping(claimed)
    usages, keys = value.get("usage"), _mapping(value.get("keys"))
    if value.get("user_id") != user_id:
        raise WrongParty
    if not isinstance(usages, list) or usage not in usages or len(keys) != 1:
        raise Malformed
    ((key_id, public),) = keys.items()
    if not isinstance(public, str):
        raise Malformed
    text = ed25519(public).to_base64()
    if key_id != f"ed25519:{text}":
        raise Malformed
    return text


def _require_vouched(user_id: str, master: str, claimed: object) -> None:
    value = _mapping(claimed)
    require_signature(master, signed_part(value), signature_of(value, user_id, f"ed25519:{master}"))


def _mapping(value: object) -> dict[str, object]:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise Malformed
    return cast(dict[str, object], value)


def published(value: Mapping[str, object]) -> bytes:
    """An object as it is sent."""
    return canonical(dict(value))
