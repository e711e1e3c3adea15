"""Encrypted files: Matrix attachments v2, `aesgcm:` addresses (XEP-0454), XEP-0448, written a second time.

AES comes from pycryptodome, one block at a time; counter mode, GHASH (NIST SP 800-38D, in Python's integers) and CBC
are made here. Nothing of `crypto/` is used.
"""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from Crypto.Cipher import AES

FILE = Path(__file__).parent / "files.json"
_R = 0xE1 << 120


def draw(label: str, octets: int) -> bytes:
    """Octets that look random and are always the same."""
    return hashlib.shake_256(label.encode()).digest(octets)


def _stream(key: bytes, block: int, data: bytes) -> bytes:
    ecb = AES.new(key, AES.MODE_ECB)
    count = (len(data) + 15) // 16
    stream = b"".join(ecb.encrypt(((block + i) % (1 << 128)).to_bytes(16, "big")) for i in range(count))
    return bytes(a ^ b for a, b in zip(data, stream, strict=False))


def _times(x: int, y: int) -> int:
    """Product in GF(2^128), bits from the left (SP 800-38D, 6.3)."""
    z = 0
    for bit in range(127, -1, -1):
        z ^= y if x >> bit & 1 else 0
        y = (y >> 1) ^ (_R if y & 1 else 0)
    return z


def _ghash(h: int, data: bytes) -> int:
    y = 0
    for at in range(0, len(data), 16):
        y = _times(y ^ int.from_bytes(data[at : at + 16].ljust(16, b"\0"), "big"), h)
    return y


def _first_block(h: int, iv: bytes) -> int:
    if len(iv) == 12:
        return int.from_bytes(iv + b"\0\0\0\1", "big")
    padded = iv + bytes(-len(iv) % 16)
    return _ghash(h, padded + bytes(8) + (8 * len(iv)).to_bytes(8, "big"))


def gcm(key: bytes, iv: bytes, plain: bytes) -> bytes:
    """Ciphertext and tag. The counter is of 32 bits; no vector here comes near its wrap."""
    h = int.from_bytes(AES.new(key, AES.MODE_ECB).encrypt(bytes(16)), "big")
    first = _first_block(h, iv)
    sealed = _stream(key, first + 1, plain)
    lengths = bytes(8) + (8 * len(sealed)).to_bytes(8, "big")
    mac = _ghash(h, sealed + bytes(-len(sealed) % 16) + lengths)
    return sealed + bytes(a ^ b for a, b in zip(mac.to_bytes(16, "big"), _stream(key, first, bytes(16)), strict=True))


def cbc(key: bytes, iv: bytes, plain: bytes) -> bytes:
    """With PKCS #7 padding."""
    ecb, padding = AES.new(key, AES.MODE_ECB), 16 - len(plain) % 16
    last, found, padded = iv, b"", plain + bytes([padding]) * padding
    for at in range(0, len(padded), 16):
        last = ecb.encrypt(bytes(a ^ b for a, b in zip(padded[at : at + 16], last, strict=True)))
        found += last
    return found


def _case(name: str, method: str, key: bytes, iv: bytes, *, plain: bytes, sealed: bytes) -> dict[str, Any]:
    return {
        "name": name,
        "method": method,
        "key": key.hex(),
        "iv": iv.hex(),
        "plain": plain.hex(),
        "sealed": sealed.hex(),
        "sha256": hashlib.sha256(plain).hexdigest(),
        "sealed_sha256": hashlib.sha256(sealed).hexdigest(),
        "described": _described(key, iv, sealed) if method == "ctr" else None,
        "address": f"aesgcm://files.example.org/a/b.jpg#{iv.hex()}{key.hex()}"
        if method == "gcm" and len(key) == 32
        else None,
    }


def _described(key: bytes, iv: bytes, sealed: bytes) -> dict[str, Any]:
    """An `EncryptedFile`, the members that the specification asks for."""

    def bare(octets: bytes, url: bool = False) -> str:
        made = base64.urlsafe_b64encode(octets) if url else base64.b64encode(octets)
        return made.decode().rstrip("=")

    return {
        "v": "v2",
        "url": "mxc://example.org/FHyPlCeYUSFFxlgbQYZmoEoe",
        "key": {"kty": "oct", "key_ops": ["encrypt", "decrypt"], "alg": "A256CTR", "k": bare(key, True), "ext": True},
        "iv": bare(iv),
        "hashes": {"sha256": bare(hashlib.sha256(sealed).digest())},
    }


def cases() -> list[dict[str, Any]]:
    """Files of several lengths, in every cipher."""
    # McGrew and Viega's test case 16 without its additional data would be another tag: test case 13 and 14 have none.
    assert gcm(bytes(32), bytes(12), b"").hex() == "530f8afbc74536b9a963b4f1c4cb738b"
    assert gcm(bytes(32), bytes(12), bytes(16)).hex() == (
        "cea7403d4d606b6e074ec5d3baf39d18" + "d0d1c8a799996bf0265b98b5d48ab919"
    )
    found = []
    for size in (0, 1, 15, 16, 17, 1000):
        plain, key = draw(f"plain {size}", size), draw(f"key {size}", 32)
        counter = draw(f"iv {size}", 8) + bytes(8)
        found.append(
            _case(
                f"ctr-{size}",
                "ctr",
                key,
                counter,
                plain=plain,
                sealed=_stream(key, int.from_bytes(counter, "big"), plain),
            )
        )
        for octets in (12, 16):
            iv = draw(f"gcm iv {size}", octets)
            found.append(_case(f"gcm-{size}-iv{octets}", "gcm", key, iv, plain=plain, sealed=gcm(key, iv, plain)))
        short, block = key[:16], draw(f"cbc iv {size}", 16)
        found.append(
            _case(f"gcm128-{size}", "gcm", short, block[:12], plain=plain, sealed=gcm(short, block[:12], plain))
        )
        found.append(_case(f"cbc-{size}", "cbc", key, block, plain=plain, sealed=cbc(key, block, plain)))
    return found


def content() -> str:
    """The file."""
    return json.dumps(cases(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(content())
