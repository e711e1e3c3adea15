"""Hashes of files as messages state them (XEP-0300, Matrix)."""

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Protocol

from crypto.errors import Unauthentic

SHA256 = "sha-256"


class _Running(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


_ALGORITHMS: Mapping[str, Callable[[], _Running]] = MappingProxyType(
    {
        SHA256: hashlib.sha256,
        "sha-512": hashlib.sha512,
        "sha3-256": hashlib.sha3_256,
        "sha3-512": hashlib.sha3_512,
        "blake2b-256": partial(hashlib.blake2b, digest_size=32),
        "blake2b-512": partial(hashlib.blake2b, digest_size=64),
    }
)
"""Names of XEP-0300 that count. MD5, SHA-1 and what is unknown prove nothing here."""


class WrongDigest(Unauthentic):
    """A file is not the one whose hash was stated."""

    def __init__(self) -> None:
        super().__init__("the file is not what the message says it is")


@dataclass(frozen=True, slots=True)
class Digest:
    """A stated hash: the name of XEP-0300 and its octets."""

    algorithm: str
    value: bytes

    @property
    def counts(self) -> bool:
        """Whether it is of an algorithm that proves something."""
        return self.algorithm in _ALGORITHMS


class Digesting:
    """Hashes that run along with a file, one for each stated one that counts."""

    def __init__(self, stated: Sequence[Digest]) -> None:
        self._stated = [(digest.value, _ALGORITHMS[digest.algorithm]()) for digest in stated if digest.counts]

    def update(self, octets: bytes) -> None:
        """The file goes on."""
        for _, running in self._stated:
            running.update(octets)

    def require(self) -> int:
        """At its end: every hash is as stated. Returns how many there were. Raises WrongDigest."""
        for value, running in self._stated:
            if not hmac.compare_digest(value, running.digest()):
                raise WrongDigest
        return len(self._stated)
