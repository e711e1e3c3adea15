"""Known answers of Matrix' key backup (m.megolm_backup.v1.curve25519-aes-sha2), derived without any code of `crypto/`.

X25519 by the ladder in `derive_x25519.py`, HKDF by hand, the Megolm ratchet and its export by hand; of a library only
AES-CBC.

Run as `python -m tests.vectors.derive_backup`; writes `backup.json`.
"""

import base64
import hashlib
import hmac
import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC

from tests.vectors.derive_x25519 import BASE, x25519

TARGET = Path(__file__).with_name("backup.json")


def _b64(octets: bytes) -> str:
    return base64.b64encode(octets).decode().rstrip("=")


def _hkdf(secret: bytes, size: int) -> bytes:
    """RFC 5869 with SHA-256, a salt of 32 octets of 0 and empty info."""
    key = hmac.new(bytes(32), secret, hashlib.sha256).digest()
    block, out, count = b"", b"", 1
    while len(out) < size:
        block = hmac.new(key, block + bytes([count]), hashlib.sha256).digest()
        out, count = out + block, count + 1
    return out[:size]


def _sealed(public: bytes, ephemeral: bytes, text: bytes) -> dict[str, str]:
    derived = _hkdf(x25519(ephemeral, public), 80)
    cipher, mac, iv = derived[:32], derived[32:64], derived[64:]
    padding = 16 - len(text) % 16
    ciphertext = Cipher(AES256(cipher), CBC(iv)).encryptor().update(text + bytes([padding]) * padding)
    return {
        "ciphertext": _b64(ciphertext),
        "ephemeral": _b64(x25519(ephemeral, BASE)),
        "mac": _b64(hmac.new(mac, b"", hashlib.sha256).digest()[:8]),
    }


def _ratchet(index: int) -> bytes:
    """Any 128 octets are a ratchet; a later place of one is made with `_advanced`."""
    return b"".join(hashlib.sha256(f"ratchet {index} {part}".encode()).digest() for part in range(4))


def _advanced(ratchet: bytes) -> bytes:
    """One step within a multiple of 2^8: the last part is hashed with its own label."""
    parts = [ratchet[at : at + 32] for at in range(0, 128, 32)]
    parts[3] = hmac.new(parts[3], b"\x03", hashlib.sha256).digest()
    return b"".join(parts)


def _export(index: int, ratchet: bytes, public: bytes) -> str:
    return _b64(b"\x01" + index.to_bytes(4, "big") + ratchet + public)


def _case(number: int) -> dict[str, object]:
    secret, ephemeral, seed, ed, curve = (
        hashlib.sha256(f"backup {number} {name}".encode()).digest()
        for name in ("private", "ephemeral", "session", "ed25519", "curve25519")
    )
    signing = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    device = Ed25519PrivateKey.from_private_bytes(ed).public_key().public_bytes_raw()
    ratchet, index = _ratchet(number), number * 3
    plain = {
        "algorithm": "m.megolm.v1.aes-sha2",
        "forwarding_curve25519_key_chain": [],
        "sender_claimed_keys": {"ed25519": _b64(device)},
        "sender_key": _b64(x25519(curve, BASE)),
        "session_key": _export(index, ratchet, signing),
    }
    text = json.dumps(plain, separators=(",", ":"), sort_keys=True).encode()
    return {
        "private": secret.hex(),
        "public": _b64(x25519(secret, BASE)),
        "ephemeral": ephemeral.hex(),
        "session_id": _b64(signing),
        "first_message_index": index,
        "next": _export(index + 1, _advanced(ratchet), signing),
        "plain": text.decode(),
        "session_data": _sealed(x25519(secret, BASE), ephemeral, text),
    }


def derived() -> dict[str, object]:
    """The content of the file."""
    return {"cases": [_case(number) for number in range(4)]}


if __name__ == "__main__":
    TARGET.write_text(json.dumps(derived(), indent=1) + "\n", "utf-8")
