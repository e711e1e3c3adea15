"""Derives the vectors in `algorithms/`: one file for every algorithm that can be negotiated.

It shares no code with `crypto/` and does not use the library that `crypto/` uses. Known answers of NIST and of the
RFCs where they exist (they are checked here as well); the rest by pycryptodome or by the arithmetic in this directory.
`python -m tests.vectors.derive_algorithms` writes the files again; a test compares.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from Crypto.Cipher import AES
from Crypto.Hash import HMAC, SHA3_256, SHA3_384, SHA3_512, SHA256, SHA384, SHA512

from tests.vectors import derive_ml_kem, derive_modp, derive_x25519

DIRECTORY = Path(__file__).parent / "algorithms"
Vector = dict[str, Any]

# NIST SP 800-38A, F.5: the counter blocks begin with f0f1..ff.
_PLAIN = (
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)
_CTR = {
    "aes128-ctr": (
        "2b7e151628aed2a6abf7158809cf4f3c",
        "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff"
        "5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee",
    ),
    "aes192-ctr": (
        "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
        "1abc932417521ca24f2b0459fe7e6e0b090339ec0aa6faefd5ccc2c6f4ce8e94"
        "1e36b26bd1ebc670d1bd1d665620abf74f78a7f6d29809585a97daec58c6b050",
    ),
    "aes256-ctr": (
        "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
        "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
        "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6",
    ),
}
# FIPS 180-4 and FIPS 202, examples: the digests of "abc".
_ABC = {
    "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    "sha384": "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
    "sha512": "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
    "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
    "sha3-256": "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
    "sha3-384": "ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c2596da7cf0e49be4b298d88cea927ac7f539f1edf228376d25",
    "sha3-512": "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e"
    "10e116e9192af3c91a7ec57647e3934057340b4cf408d5a56592f8274eec53f0",
}
_MODULES: dict[str, Any] = {
    "sha256": SHA256,
    "sha384": SHA384,
    "sha512": SHA512,
    "sha3-256": SHA3_256,
    "sha3-384": SHA3_384,
    "sha3-512": SHA3_512,
}
# RFC 4231, test case 2, and a key longer than any block.
_MACS = ((b"Jefe", b"what do ya want for nothing?"), (b"\xaa" * 147, b"Larger than block-size key: hash it first"))
_RFC4231 = {
    "sha256": "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    "sha384": "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
    "sha512": "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
    "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
}


def ciphers() -> Iterator[Vector]:
    """NIST's answers, and one stream over the wrap of the counter."""
    for name, (key, ciphertext) in _CTR.items():
        octets = bytes.fromhex(key)
        first = int("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", 16)
        assert _ctr(octets, first, bytes.fromhex(_PLAIN)).hex() == ciphertext
        wrap = _ctr(octets, (1 << 128) - 2, bytes(64)).hex()
        cases = [
            {"block": f"{first:032x}", "plain": _PLAIN, "cipher": ciphertext, "source": "NIST SP 800-38A, F.5"},
            {"block": f"{(1 << 128) - 2:032x}", "plain": bytes(64).hex(), "cipher": wrap, "source": "pycryptodome"},
        ]
        yield {"kind": "cipher", "name": name, "key": key, "cases": cases}


def _ctr(key: bytes, block: int, data: bytes) -> bytes:
    ecb = AES.new(key, AES.MODE_ECB)
    count = (len(data) + 15) // 16
    stream = b"".join(ecb.encrypt(((block + i) % (1 << 128)).to_bytes(16, "big")) for i in range(count))
    return bytes(a ^ b for a, b in zip(data, stream, strict=False))


def hashes() -> Iterator[Vector]:
    """Digests of "abc", of nothing, and of a long text; HMACs."""
    for name, module in _MODULES.items():
        digests = [
            {"data": data.hex(), "digest": module.new(data).hexdigest()} for data in (b"abc", b"", b"lockgate" * 40)
        ]
        macs = [
            {"key": key.hex(), "data": data.hex(), "mac": HMAC.new(key, data, digestmod=module).hexdigest()}
            for key, data in _MACS
        ]
        assert digests[0]["digest"] == _ABC[name]
        assert macs[0]["mac"] == _RFC4231.get(name, macs[0]["mac"])
        yield {"kind": "hash", "name": name, "octets": len(_ABC[name]) // 2, "digests": digests, "macs": macs}


def draw(label: str, octets: int) -> bytes:
    """Octets that look random and are always the same."""
    return hashlib.shake_256(label.encode()).digest(octets)


def groups() -> Iterator[Vector]:
    """Both ends of one exchange in each group."""
    for number in derive_modp.GROUPS:
        draws = draw(f"initiator {number}", 32), draw(f"responder {number}", 32)
        yield {"kind": "group", "name": str(number), "cases": [derive_modp.case(number, *draws)]}
    draws = draw("initiator x25519", 32), draw("responder x25519", 32)
    yield {"kind": "group", "name": "x25519", "cases": [derive_x25519.case(*draws)]}


def kems() -> Iterator[Vector]:
    """A key pair from its seed, an encapsulation with known randomness, and one that was damaged."""
    seed, message = draw("ml-kem-768 seed", 64), draw("ml-kem-768 message", 32)
    yield {"kind": "kem", "name": "ml-kem-768", "cases": [derive_ml_kem.case(seed, message)]}


KINDS: tuple[Callable[[], Iterator[Vector]], ...] = (ciphers, hashes, groups, kems)


def files() -> dict[str, str]:
    """Name and content of every file."""
    found = [vector for kind in KINDS for vector in kind()]
    return {f"{v['name']}.json": json.dumps(v, indent=1) + "\n" for v in found}


if __name__ == "__main__":
    DIRECTORY.mkdir(exist_ok=True)
    for file, content in files().items():
        (DIRECTORY / file).write_text(content)
