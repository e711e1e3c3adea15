"""Room keys kept with a server that must not read them (spec: Server-side key backups).

The algorithm proves nothing of who wrote an entry: it is encrypted to a public key that the server knows, and its MAC
covers the empty string (libolm's mistake, which all implementations share). What is read from a backup has the worth
of what the server says; only that nobody else could read it is sure.
"""

import hmac
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.padding import PKCS7
from vodozemac import Account, InboundGroupSession

from crypto.errors import Misuse
from crypto.olm.canonical import decoded, signed_part
from crypto.olm.device import MEGOLM
from crypto.olm.errors import BadSignature, Malformed, TooLarge, UnknownAlgorithm, WrongParty
from crypto.olm.forwarded import exported, imported
from crypto.olm.identity import OwnIdentity, signed_by_master
from crypto.olm.keys import b64, curve25519, ed25519, unb64

ALGORITHM = "m.megolm_backup.v1.curve25519-aes-sha2"
SECRET = "m.megolm_backup.v1"  # noqa: S105 - the name of a secret in secret storage
KEY = 32
EPHEMERAL = 32
"""Octets of the draw that one entry needs."""
MOST_OCTETS = 16 << 10
"""Of the ciphertext of an entry that is read: an honest one has 600."""
_BLOCK = 16
_MAC = 8


@dataclass(frozen=True, slots=True)
class BackupKey:
    """The private key of a backup, 32 octets: known to the user's own clients and to nobody else."""

    octets: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Raises Misuse for another size."""
        if len(self.octets) != KEY:
            raise Misuse("a backup key has 32 octets")

    def public(self) -> str:
        """The public key, unpadded base64."""
        return b64(_private(self.octets).public_key().public_bytes_raw())


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose session it is, as far as it is claimed: the sending device's keys, unpadded base64."""

    curve25519: str
    ed25519: str


@dataclass(frozen=True, slots=True)
class Restored:
    """A session from a backup or from another device. Nothing is proved of it but that its keys have the right form."""

    session: InboundGroupSession = field(repr=False)
    origin: Origin


class _AuthData(msgspec.Struct):
    public_key: str


class _Version(msgspec.Struct):
    algorithm: str
    auth_data: msgspec.Raw
    version: str


class _Sealed(msgspec.Struct):
    ephemeral: str
    ciphertext: str
    mac: str


class _Entry(msgspec.Struct):
    session_data: _Sealed


class _Plain(msgspec.Struct):
    algorithm: str
    session_key: str
    sender_key: str
    sender_claimed_keys: dict[str, str]


def read_key(secret: str) -> BackupKey:
    """The key as it stands in secret storage. Raises Malformed."""
    octets = unb64(secret)
    if len(octets) != KEY:
        raise Malformed
    return BackupKey(octets)


# ---------------------------------------------------------------- versions
def new_version(key: BackupKey, identity: OwnIdentity, account: Account, device_id: str) -> dict[str, object]:
    """The body that makes a backup, its `auth_data` signed by the master key and by our device."""
    auth_data: dict[str, object] = {"public_key": key.public()}
    signed = signed_by_master(identity, auth_data)
    by_device = {f"ed25519:{device_id}": account.sign(signed_part(auth_data)).to_base64()}
    by_master = cast(dict[str, dict[str, str]], signed["signatures"])[identity.user_id]
    signatures = {identity.user_id: {**by_master, **by_device}}
    return {"algorithm": ALGORITHM, "auth_data": {**auth_data, "signatures": signatures}}


def own_version(key: BackupKey, body: bytes) -> str | None:
    """The id of the server's present backup when it is encrypted to this key; None when it is another's.

    Raises Malformed. That it is our public key is all that counts: what we write then, only holders of the private
    key can read, and signatures of `auth_data` would add nothing to it.
    """
    told = decoded(body, _Version)
    if told.algorithm != ALGORITHM:
        return None
    public = curve25519(decoded(told.auth_data, _AuthData).public_key).to_base64()
    return told.version if hmac.compare_digest(public, key.public()) else None


# ---------------------------------------------------------------- entries
def entry(key: BackupKey, session: InboundGroupSession, origin: Origin, draw: bytes, *, believed: bool) -> object:
    """The `KeyBackupData` of a session, from the first index we know. Draw: 32 octets, used once.

    `believed`: the device it came from is one that we believe (`is_verified`).
    """
    plain = {
        "algorithm": MEGOLM,
        "forwarding_curve25519_key_chain": [],
        "sender_claimed_keys": {"ed25519": origin.ed25519},
        "sender_key": origin.curve25519,
        "session_key": exported(session),
    }
    return {
        "first_message_index": session.first_known_index,
        "forwarded_count": 0,
        "is_verified": believed,
        "session_data": sealed(key.public(), msgspec.json.encode(plain), draw),
    }


def read_entry(key: BackupKey, body: bytes, session_id: str) -> Restored:
    """The session in a `KeyBackupData`. Raises Malformed, UnknownAlgorithm, WrongParty, BadSignature, TooLarge."""
    plain = decoded(opened(key, decoded(body, _Entry).session_data), _Plain)
    if plain.algorithm != MEGOLM:
        raise UnknownAlgorithm
    session = imported(plain.session_key)
    if session.session_id != session_id:
        raise WrongParty
    signing = plain.sender_claimed_keys.get("ed25519", "")
    origin = Origin(curve25519(plain.sender_key).to_base64(), ed25519(signing).to_base64())
    return Restored(session, origin)


def sealed(public: str, plain: bytes, draw: bytes) -> dict[str, str]:
    """`session_data` for the holder of the private key. `public`: ours, unpadded base64. Draw: 32 octets, used once."""
    if len(draw) != EPHEMERAL:
        raise Misuse("an ephemeral key has 32 octets")
    ephemeral = _private(draw)
    cipher, mac, iv = _keys(ephemeral.exchange(X25519PublicKey.from_public_bytes(unb64(public))))
    padder = PKCS7(8 * _BLOCK).padder()
    padded = padder.update(plain) + padder.finalize()
    ciphertext = Cipher(AES256(cipher), CBC(iv)).encryptor().update(padded)
    return {
        "ciphertext": b64(ciphertext),
        "ephemeral": b64(ephemeral.public_key().public_bytes_raw()),
        "mac": b64(_mac_of(mac)),
    }


def opened(key: BackupKey, data: "_Sealed | Mapping[str, str]") -> bytes:
    """What `session_data` holds. Raises Malformed, TooLarge, BadSignature."""
    told = data if isinstance(data, _Sealed) else _Sealed(**cast(dict[str, str], dict(data)))
    if len(told.ciphertext) > MOST_OCTETS * 4 // 3:
        raise TooLarge
    theirs, ciphertext = curve25519(told.ephemeral).to_bytes(), unb64(told.ciphertext)
    if not ciphertext or len(ciphertext) % _BLOCK:
        raise Malformed
    shared: bytes | None = None
    with suppress(ValueError):  # a point that contributes nothing
        shared = _private(key.octets).exchange(X25519PublicKey.from_public_bytes(theirs))
    if shared is None:
        raise Malformed
    cipher, mac, iv = _keys(shared)
    if not hmac.compare_digest(_mac_of(mac), unb64(told.mac)):
        raise BadSignature
    padded = Cipher(AES256(cipher), CBC(iv)).decryptor().update(ciphertext)
    unpadder = PKCS7(8 * _BLOCK).unpadder()
    with suppress(ValueError):
        return unpadder.update(padded) + unpadder.finalize()
    raise Malformed


# ---------------------------------------------------------------- parts
def _private(octets: bytes) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(octets)


def _keys(shared: bytes) -> tuple[bytes, bytes, bytes]:
    """AES key, MAC key and initialisation vector (step 3 of the specification)."""
    derived = HKDF(SHA256(), 80, bytes(32), b"").derive(shared)
    return derived[:32], derived[32:64], derived[64:]


def _mac_of(key: bytes) -> bytes:
    """Of nothing: it shows that the writer knew the public key, and does not cover the ciphertext (step 5)."""
    return hmac.digest(key, b"", "sha256")[:_MAC]
