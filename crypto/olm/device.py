"""Devices: their signed identity keys and one-time keys (spec: Device keys; One-time and fallback keys)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, cast

from vodozemac import Account, Curve25519PublicKey

from crypto.olm.canonical import canonical, signature_of, signed_part
from crypto.olm.errors import BadSignature, Malformed, WrongParty
from crypto.olm.keys import curve25519, ed25519, require_signature

OLM = "m.olm.v1.curve25519-aes-sha2"
MEGOLM = "m.megolm.v1.aes-sha2"
ONE_TIME = "signed_curve25519"
LONGEST_ID = 255


@dataclass(frozen=True, slots=True)
class Device:
    """A device whose keys are signed by itself. The keys are public, unpadded base64 of 32 octets."""

    user_id: str
    device_id: str
    ed25519: str
    curve25519: str


@dataclass(frozen=True, slots=True)
class OwnDevice(Device):
    """The device that this machine is; `device_keys` is its signed JSON, as published."""

    device_keys: bytes


class _WithFallback(Protocol):
    """The part of an account that the library's type stubs leave out."""

    @property
    def fallback_key(self) -> dict[str, Curve25519PublicKey]: ...

    def generate_fallback_key(self) -> object: ...


def own_device(account: Account, user_id: str, device_id: str) -> OwnDevice:
    """The device of this account, with its keys signed."""
    signing, identity = account.ed25519_key.to_base64(), account.curve25519_key.to_base64()
    keys: dict[str, object] = {
        "user_id": user_id,
        "device_id": device_id,
        "algorithms": [OLM, MEGOLM],
        "keys": {f"curve25519:{device_id}": identity, f"ed25519:{device_id}": signing},
    }
    return OwnDevice(user_id, device_id, signing, identity, canonical(_signed(account, user_id, device_id, keys)))


def verified_device(user_id: str, device_id: str, claimed: object) -> Device:
    """The device, from a `DeviceKeys` object that claims to be of this user and id.

    Proved on return: whoever made the object holds the Ed25519 key in it. Not proved: that the key is the user's.
    Raises Malformed, WrongParty (it names another user or device), BadSignature.
    """
    keys = _mapping(claimed)
    if (keys.get("user_id"), keys.get("device_id")) != (user_id, device_id):
        raise WrongParty
    algorithms = keys.get("algorithms")
    if not isinstance(algorithms, list) or OLM not in algorithms or not 1 <= len(device_id) <= LONGEST_ID:
        raise Malformed
    named = _mapping(keys.get("keys"))
    signing, identity = named.get(f"ed25519:{device_id}"), named.get(f"curve25519:{device_id}")
    if not isinstance(signing, str) or not isinstance(identity, str):
        raise Malformed
    require_signature(signing, signed_part(keys), signature_of(keys, user_id, f"ed25519:{device_id}"))
    return Device(user_id, device_id, ed25519(signing).to_base64(), curve25519(identity).to_base64())


def verified_one_time_key(device: Device, claimed: object) -> Curve25519PublicKey:
    """The one-time or fallback key of a device, from the answer of `/keys/claim` for that device.

    Proved on return: the device signed this key. Raises Malformed, BadSignature.
    """
    for key_id, value in _mapping(claimed).items():
        if key_id.startswith(f"{ONE_TIME}:"):
            signed = _mapping(value)
            public = signed.get("key")
            if not isinstance(public, str):
                raise Malformed
            signature = signature_of(signed, device.user_id, f"ed25519:{device.device_id}")
            require_signature(device.ed25519, signed_part(signed), signature)
            return curve25519(public)
    raise BadSignature


def new_one_time_keys(account: Account, own: Device, count: int) -> dict[str, object]:
    """Make that many one-time keys; returns them signed, for `/keys/upload`. The account has changed."""
    account.generate_one_time_keys(count)
    return {
        f"{ONE_TIME}:{key_id}": _signed(account, own.user_id, own.device_id, {"key": key.to_base64()})
        for key_id, key in account.one_time_keys.items()
    }


def new_fallback_key(account: Account, own: Device) -> dict[str, object]:
    """Make a fallback key; returns it signed. The account keeps the one before it as well, none older."""
    source = cast(_WithFallback, account)
    source.generate_fallback_key()
    return {
        f"{ONE_TIME}:{key_id}": _signed(account, own.user_id, own.device_id, {"fallback": True, "key": key.to_base64()})
        for key_id, key in source.fallback_key.items()
    }


def _signed(account: Account, user_id: str, device_id: str, value: Mapping[str, object]) -> dict[str, object]:
    signature = account.sign(canonical(dict(value))).to_base64()
    return {**value, "signatures": {user_id: {f"ed25519:{device_id}": signature}}}


def _mapping(value: object) -> dict[str, object]:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise Malformed
    return cast(dict[str, object], value)
