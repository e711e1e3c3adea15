"""Which algorithms there are, by kind, the preferred ones first.

To add one: a file in `algorithms/`, its line here, a vector in `tests/vectors/algorithms/`. A test refuses a file that
is not named here and an algorithm that has no vector.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Protocol, TypeVar

import cryptography.hazmat.backends.openssl.backend  # noqa: F401 - it would be imported at first use: not in a locked enclave

from crypto.primitives.algorithms import (
    aes128_ctr,
    aes192_ctr,
    aes256_ctr,
    ml_kem_768,
    modp5,
    modp14,
    modp15,
    modp16,
    modp17,
    modp18,
    sha3_256,
    sha3_384,
    sha3_512,
    sha256,
    sha384,
    sha512,
    x25519,
)
from crypto.primitives.kinds import CipherAlgorithm, HashAlgorithm, Kem, KeyAgreement


class _Named(Protocol):
    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=_Named)


def _by_name(algorithms: Iterable[T]) -> Mapping[str, T]:
    return MappingProxyType({a.name: a for a in algorithms})


CIPHERS: Mapping[str, CipherAlgorithm] = _by_name(m.ALGORITHM for m in (aes256_ctr, aes192_ctr, aes128_ctr))
HASHES: Mapping[str, HashAlgorithm] = _by_name(
    m.ALGORITHM for m in (sha512, sha3_512, sha384, sha3_384, sha256, sha3_256)
)
GROUPS: Mapping[str, KeyAgreement] = _by_name(
    (
        x25519.ALGORITHM,
        modp16.ALGORITHM,
        modp15.ALGORITHM,
        modp17.ALGORITHM,
        modp18.ALGORITHM,
        modp14.ALGORITHM,
        modp5.ALGORITHM,
    )
)
KEMS: Mapping[str, Kem] = _by_name((ml_kem_768.ALGORITHM,))
