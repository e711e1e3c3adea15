"""Secret storage: secrets in the account data of a server that must not read them (spec: Storage).

One key, written down by its owner as a recovery key, opens all of them.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256, SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from crypto.errors import Misuse
from crypto.olm.errors import BadSignature, Malformed
from crypto.olm.keys import b64, unb64

ALGORITHM = "m.secret_storage.v1.aes-hmac-sha2"
PASSPHRASE = "m.pbkdf2"  # noqa: S105 - the name of an algorithm
DEFAULT_KEY = "m.secret_storage.default_key"
KEY_PREFIX = "m.secret_storage.key."
KEY = 32
"""Octets of a storage key."""
IV = 16
MOST_ITERATIONS = 2_000_000
MAX_SECRET = 4096
"""Characters of the longest secret that is read."""
_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_RECOVERY = bytes((0x8B, 0x01))
_GROUP = 4


class WrongKey(BadSignature):
    """The key is not the one that the secret, or the description of the key, was made with."""

    code = "wrong-key"
    sentence = "The key does not open this."


@dataclass(frozen=True, slots=True)
class StorageKey:
    """A key of secret storage: 32 octets, known to the user (as a recovery key) and to nobody else."""

    octets: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Raises Misuse for another size."""
        if len(self.octets) != KEY:
            raise Misuse("a storage key has 32 octets")


# ---------------------------------------------------------------- the recovery key, for people
def recovery_key(key: StorageKey) -> str:
    """The key as it is written down: base58 with a prefix and a parity octet, in groups of four."""
    octets = _RECOVERY + key.octets
    text = _base58(octets + bytes([_parity(octets)]))
    return " ".join(text[i : i + _GROUP] for i in range(0, len(text), _GROUP))


def read_recovery_key(text: str) -> StorageKey:
    """The key from what a person typed; white space does not matter. Raises Malformed for a slip of the pen."""
    octets = _from_base58("".join(text.split()))
    if len(octets) != len(_RECOVERY) + KEY + 1 or octets[: len(_RECOVERY)] != _RECOVERY or _parity(octets):
        raise Malformed
    return StorageKey(octets[len(_RECOVERY) : -1])


def key_from_passphrase(passphrase: str, description: Mapping[str, object]) -> StorageKey:
    """The key that a passphrase stands for, by the key's description. Raises Malformed when it has no passphrase."""
    told = _mapping(description.get("passphrase"))
    salt, iterations, bits = told.get("salt"), told.get("iterations"), told.get("bits", 256)
    if told.get("algorithm") != PASSPHRASE or not isinstance(salt, str) or bits != 256:
        raise Malformed
    if not isinstance(iterations, int) or not 1 <= iterations <= MOST_ITERATIONS:
        raise Malformed
    derived = PBKDF2HMAC(SHA512(), KEY, salt.encode(), iterations).derive(passphrase.encode())
    return StorageKey(derived)


# ---------------------------------------------------------------- descriptions of keys
def description_of(key: StorageKey, iv: bytes) -> dict[str, object]:
    """The account data that lets others check the key. Draw: `iv`, 16 octets."""
    nonce = _nonce(iv)
    cipher, mac = _keys(key, "")
    return {
        "algorithm": ALGORITHM,
        "iv": b64(nonce),
        "mac": b64(hmac.digest(mac, _stream(cipher, nonce, bytes(KEY)), "sha256")),
    }


def require_described(key: StorageKey, description: Mapping[str, object]) -> None:
    """Return when the key is the described one. One without a check value is believed. Raises Malformed, WrongKey."""
    if description.get("algorithm") != ALGORITHM:
        raise Malformed
    iv, mac = description.get("iv"), description.get("mac")
    if iv is None and mac is None:
        return
    nonce, expected = _octets(iv, IV), _octets(mac, 32)
    cipher, mac_key = _keys(key, "")
    if not hmac.compare_digest(hmac.digest(mac_key, _stream(cipher, nonce, bytes(KEY)), "sha256"), expected):
        raise WrongKey


# ---------------------------------------------------------------- secrets
def stored(key: StorageKey, key_id: str, name: str, secret: str, iv: bytes) -> dict[str, object]:
    """The account data `name` with the secret in it. Draw: `iv`, 16 octets, never used with the same key and name."""
    nonce = _nonce(iv)
    cipher, mac = _keys(key, name)
    ciphertext = _stream(cipher, nonce, secret.encode())
    sealed = {"iv": b64(nonce), "ciphertext": b64(ciphertext), "mac": b64(hmac.digest(mac, ciphertext, "sha256"))}
    return {"encrypted": {key_id: sealed}}


def secret_in(key: StorageKey, key_id: str, name: str, content: Mapping[str, object]) -> str:
    """The secret in the account data `name`. Raises Malformed, WrongKey."""
    sealed = _mapping(_mapping(content.get("encrypted")).get(key_id))
    nonce, expected = _octets(sealed.get("iv"), IV), _octets(sealed.get("mac"), 32)
    text = sealed.get("ciphertext")
    if not isinstance(text, str) or len(text) > 2 * MAX_SECRET:
        raise Malformed
    ciphertext = unb64(text)
    cipher, mac = _keys(key, name)
    if not hmac.compare_digest(hmac.digest(mac, ciphertext, "sha256"), expected):
        raise WrongKey
    plain: str | None = None
    try:
        plain = _stream(cipher, nonce, ciphertext).decode()
    except UnicodeDecodeError:
        plain = None
    if plain is None:
        raise Malformed
    return plain


# ---------------------------------------------------------------- parts
def _keys(key: StorageKey, name: str) -> tuple[bytes, bytes]:
    derived = HKDF(SHA256(), 64, bytes(32), name.encode()).derive(key.octets)
    return derived[:32], derived[32:]


def _stream(key: bytes, nonce: bytes, data: bytes) -> bytes:
    return Cipher(AES256(key), CTR(nonce)).encryptor().update(data)


def _nonce(draw: bytes) -> bytes:
    """With bit 63 cleared, which some implementations need."""
    if len(draw) != IV:
        raise Misuse("an initialisation vector has 16 octets")
    return draw[:8] + bytes([draw[8] & 0x7F]) + draw[9:]


def _octets(text: object, size: int) -> bytes:
    if not isinstance(text, str) or len(text) > 2 * size:
        raise Malformed
    octets = unb64(text)
    if len(octets) != size:
        raise Malformed
    return octets


def _mapping(value: object) -> dict[str, object]:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise Malformed
    return cast(dict[str, object], value)


def _parity(octets: bytes) -> int:
    parity = 0
    for octet in octets:
        parity ^= octet
    return parity


def _base58(octets: bytes) -> str:
    number, text = int.from_bytes(octets, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = _ALPHABET[digit] + text
    zeros = len(octets) - len(octets.lstrip(b"\0"))
    return "1" * zeros + text


def _from_base58(text: str) -> bytes:
    if not 0 < len(text) <= 64 or any(char not in _ALPHABET for char in text):
        raise Malformed
    number = 0
    for char in text:
        number = number * 58 + _ALPHABET.index(char)
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
