"""Files encrypted and decrypted in one pass, in pieces of any size.

Running contexts cannot be written down (the libraries do not let their inner state out), and a key stream must not be
used twice: a `Sealer` goes forward only, is thrown away when a step fails, and is never made again for the same key.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, CTR, GCM

from crypto.errors import Malformed, Unauthentic
from crypto.files.digests import Digest, Digesting

TAG = 16
BLOCK = 16


class Method(StrEnum):
    """How a file is encrypted."""

    CTR = "ctr"
    """AES-256 in counter mode; authentic by a hash of the ciphertext (Matrix attachments, v2)."""
    GCM = "gcm"
    """AES with 128 or 256 bits in Galois/Counter Mode, the tag at the end of the file (XEP-0454, XEP-0448)."""
    CBC = "cbc"
    """AES-256 with PKCS #7 padding; authentic by a stated hash only (XEP-0448). Never made, only read."""


_KEYS = {Method.CTR: (32,), Method.GCM: (16, 32), Method.CBC: (32,)}
_IVS = {Method.CTR: (16,), Method.GCM: (12, 16), Method.CBC: (16,)}


class UnusableKey(Malformed):
    """A key or an IV is not as long as its cipher needs, or nothing is stated that would prove the file."""

    def __init__(self) -> None:
        super().__init__("the key of a file cannot be used")


class DamagedFile(Unauthentic):
    """A file is not what was encrypted: changed, cut short, or of another key."""

    def __init__(self) -> None:
        super().__init__("the file is not authentic")


@dataclass(frozen=True, slots=True)
class Lock:
    """What opens a file and proves it. `key`, `iv`: octets, secret. `plain`, `sealed`: stated hashes of either form.

    `size`: octets of the plaintext as the message states it; 0: not stated. Only a Lock of GCM needs no hash; with
    hash and size it may also be of a file without a tag (XEP-0448, section 3).
    """

    method: Method
    key: bytes = field(repr=False)
    iv: bytes = field(repr=False)
    size: int = 0
    plain: tuple[Digest, ...] = ()
    sealed: tuple[Digest, ...] = ()

    def require_usable(self) -> None:
        """Raises UnusableKey."""
        proved = any(digest.counts for digest in (*self.plain, *self.sealed))
        fits = len(self.key) in _KEYS[self.method] and len(self.iv) in _IVS[self.method]
        if not fits or not (proved or self.method is Method.GCM):
            raise UnusableKey


class Opener(Protocol):
    """Decrypts a file from its beginning to its end."""

    def opened(self, ciphertext: bytes) -> bytes:
        """The next octets of plaintext, which prove nothing yet."""

    def finished(self) -> bytes:
        """The last octets. When this returns, all of them are authentic. Raises DamagedFile, WrongDigest."""


class _Update(Protocol):
    def update(self, data: bytes, /) -> bytes: ...


class _CtrOpener:
    def __init__(self, lock: Lock) -> None:
        self._stream: _Update = Cipher(AES(lock.key), CTR(lock.iv)).decryptor()
        self._plain, self._sealed = Digesting(lock.plain), Digesting(lock.sealed)

    def opened(self, ciphertext: bytes) -> bytes:
        self._sealed.update(ciphertext)
        plaintext = self._stream.update(ciphertext)
        self._plain.update(plaintext)
        return plaintext

    def finished(self) -> bytes:
        if not self._sealed.require() + self._plain.require():
            raise DamagedFile
        return b""


class _GcmOpener:
    """Keeps the last sixteen octets back: they may be the tag."""

    def __init__(self, lock: Lock) -> None:
        self._stream = Cipher(AES(lock.key), GCM(lock.iv)).decryptor()
        self._lock, self._held, self._total = lock, b"", 0
        self._plain, self._sealed = Digesting(lock.plain), Digesting(lock.sealed)

    def opened(self, ciphertext: bytes) -> bytes:
        self._sealed.update(ciphertext)
        self._total += len(ciphertext)
        known = self._held + ciphertext
        self._held = known[-TAG:]
        return self._take(known[:-TAG])

    def finished(self) -> bytes:
        rest = b""
        if self._total == self._lock.size and any(d.counts for d in (*self._lock.plain, *self._lock.sealed)):
            rest = self._take(self._held)
        else:
            self._require_tag()
        self._plain.require()
        self._sealed.require()
        return rest

    def _take(self, ciphertext: bytes) -> bytes:
        plaintext = self._stream.update(ciphertext)
        self._plain.update(plaintext)
        return plaintext

    def _require_tag(self) -> None:
        good = False
        if len(self._held) == TAG:
            try:
                self._stream.finalize_with_tag(self._held)
                good = True
            except InvalidTag:
                pass
        if not good:
            raise DamagedFile


class _CbcOpener:
    """Keeps the last block back: it holds the padding."""

    def __init__(self, lock: Lock) -> None:
        self._stream: _Update = Cipher(AES(lock.key), CBC(lock.iv)).decryptor()
        self._held, self._total = b"", 0
        self._plain, self._sealed = Digesting(lock.plain), Digesting(lock.sealed)

    def opened(self, ciphertext: bytes) -> bytes:
        self._sealed.update(ciphertext)
        self._total += len(ciphertext)
        known = self._held + self._stream.update(ciphertext)
        plaintext, self._held = known[:-BLOCK], known[-BLOCK:]
        self._plain.update(plaintext)
        return plaintext

    def finished(self) -> bytes:
        if self._sealed.require():  # before a look at the padding, where that is possible
            return self._rest()
        rest = self._rest()
        if not self._plain.require():
            raise DamagedFile
        return rest

    def _rest(self) -> bytes:
        padding = self._held[-1] if self._held else 0
        if self._total % BLOCK or not 0 < padding <= BLOCK or self._held[-padding:] != bytes([padding]) * padding:
            raise DamagedFile
        rest = self._held[:-padding]
        self._plain.update(rest)
        return rest


_OPENERS: dict[Method, Callable[[Lock], Opener]] = {
    Method.CTR: _CtrOpener,
    Method.GCM: _GcmOpener,
    Method.CBC: _CbcOpener,
}


def opener(lock: Lock) -> Opener:
    """What decrypts the file of a lock. Raises UnusableKey."""
    lock.require_usable()
    return _OPENERS[lock.method](lock)


# ---------------------------------------------------------------- our own
@dataclass(frozen=True, slots=True)
class Made:
    """A file that was encrypted to its end: its key (secret), and what a message states of it."""

    method: Method
    key: bytes = field(repr=False)
    iv: bytes = field(repr=False)
    size: int
    sealed_size: int
    sha256: bytes
    """Of the plaintext."""
    sealed_sha256: bytes


class Sealer:
    """Encrypts one file under a key of its own. `key`: 32 octets never used before; `iv`: 8 (CTR), 12 (GCM) octets.

    Counter mode begins with the IV and eight zero octets (Matrix, "Sending encrypted attachments").
    """

    def __init__(self, method: Method, key: bytes, iv: bytes) -> None:
        if len(key) != 32 or len(iv) != NONCE[method]:
            raise UnusableKey
        self._key, self._method = key, method
        self._iv = iv + bytes(8) if method is Method.CTR else iv
        self._counter = Cipher(AES(key), CTR(self._iv)).encryptor() if method is Method.CTR else None
        self._galois = Cipher(AES(key), GCM(self._iv)).encryptor() if method is Method.GCM else None
        self._plain, self._sealed = hashlib.sha256(), hashlib.sha256()
        self.size = self.sealed_size = 0

    def sealed(self, plaintext: bytes) -> bytes:
        """The next octets of ciphertext, as many as of plaintext."""
        stream = self._counter or self._galois
        assert stream is not None
        self._plain.update(plaintext)
        self.size += len(plaintext)
        return self._noted(stream.update(plaintext))

    def finished(self) -> tuple[bytes, Made]:
        """What is to stand at the end of the file (the tag, or nothing), and what the message says of the whole."""
        tail = b""
        if self._galois is not None:
            self._galois.finalize()
            tail = self._noted(self._galois.tag)
        digests = self._plain.digest(), self._sealed.digest()
        return tail, Made(self._method, self._key, self._iv, self.size, self.sealed_size, *digests)

    def _noted(self, ciphertext: bytes) -> bytes:
        self._sealed.update(ciphertext)
        self.sealed_size += len(ciphertext)
        return ciphertext


NONCE = {Method.CTR: 8, Method.GCM: 12}
"""Octets of randomness for the IV of a file that is encrypted."""
