"""Sealing of state records: what the ledger, the disk and every backup of them get to see.

Keys, all from the operator's sealing key (32 octets) by HKDF-SHA256, separate for every account:

- record key: AES-256-GCM, separate for every run of the process by a random salt of 16 octets that is part of
  the sealed record; so the random 96-bit nonces of one key never come near their limit.
- name key: keyed BLAKE2b of 16 octets turns record names into opaque ones.
- set key: keyed BLAKE2b of 32 octets over (opaque name, version, nonce and tag) of a record. The sum of
  these values over all records of an account, modulo 2^256, is kept in the root record: a record that was changed,
  removed, added or put back in an older version changes the sum.

A sealed record is `salt (16) || nonce (12) || ciphertext and tag`. Account, opaque name and version are
authenticated with it; the plain name is sealed inside it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SALT = 16
NONCE = 12
TAG = 16


class Unsealable(Exception):
    """The record is not one that was sealed for this account, name and version under this sealing key."""

    def __init__(self) -> None:
        super().__init__("a sealed record does not open")


def _derived(key: bytes, salt: bytes, purpose: str, account: str) -> bytes:
    info = f"lockgate state {purpose}".encode() + b"\0" + account.encode()
    return HKDF(SHA256(), 32, salt, info).derive(key)


@dataclass(slots=True)
class Sealer:
    """Seals and opens the records of one account. `draw(name, size)` supplies salts and nonces."""

    account: str
    sealing_key: bytes = field(repr=False)
    draw: Callable[[str, int], bytes] = field(repr=False)
    _name_key: bytes = field(init=False, repr=False)
    _set_key: bytes = field(init=False, repr=False)
    _salt: bytes = field(init=False, repr=False)
    _ciphers: dict[bytes, AESGCM] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._name_key = _derived(self.sealing_key, b"", "names", self.account)
        self._set_key = _derived(self.sealing_key, b"", "set", self.account)
        self._salt = self.draw("seal-salt", SALT)

    def pickle_key(self) -> bytes:
        """Key of 32 octets for libraries that export their objects only encrypted."""
        return _derived(self.sealing_key, b"", "pickles", self.account)

    def opaque(self, name: str) -> str:
        """The name under which the ledger knows a record: 32 hexadecimal digits."""
        return blake2b(name.encode(), digest_size=16, key=self._name_key).hexdigest()

    def _cipher(self, salt: bytes) -> AESGCM:
        cipher = self._ciphers.get(salt)
        if cipher is None:
            cipher = self._ciphers[salt] = AESGCM(_derived(self.sealing_key, salt, "records", self.account))
        return cipher

    def _bound_to(self, opaque: str, version: int) -> bytes:
        return b"\0".join((self.account.encode(), opaque.encode(), version.to_bytes(8, "big")))

    def seal(self, name: str, opaque: str, version: int, content: bytes) -> bytes:
        """The sealed record."""
        nonce = self.draw("seal-nonce", NONCE)
        plain_name = name.encode()
        plaintext = len(plain_name).to_bytes(2, "big") + plain_name + content
        return self._salt + nonce + self._cipher(self._salt).encrypt(nonce, plaintext, self._bound_to(opaque, version))

    def open(self, opaque: str, version: int, sealed: bytes) -> tuple[str, bytes]:
        """Plain name and content. Raises Unsealable."""
        if len(sealed) < SALT + NONCE + TAG:
            raise Unsealable
        plaintext: bytes | None = None
        try:
            plaintext = self._cipher(sealed[:SALT]).decrypt(
                sealed[SALT : SALT + NONCE], sealed[SALT + NONCE :], self._bound_to(opaque, version)
            )
        except InvalidTag:
            self._ciphers.pop(sealed[:SALT], None)
        if plaintext is None:
            raise Unsealable
        end = 2 + int.from_bytes(plaintext[:2], "big")
        return plaintext[2:end].decode(), plaintext[end:]

    def member(self, opaque: str, version: int, sealed: bytes) -> int:
        """The record's share of the account's set value, below 2^256."""
        told = self._bound_to(opaque, version) + sealed[SALT : SALT + NONCE] + sealed[-TAG:]
        return int.from_bytes(blake2b(told, digest_size=32, key=self._set_key).digest(), "big")
