"""Known answers of Matrix' SAS verification, derived without any code of `crypto/`.

X25519 by the ladder in `derive_x25519.py`, HKDF by hand, the strings put together as the specification lists them.

Run as `python -m tests.vectors.derive_verification`; writes `verification.json`.
"""

import base64
import hashlib
import hmac
import json
from pathlib import Path

from tests.vectors.derive_x25519 import BASE, x25519

TARGET = Path(__file__).with_name("verification.json")
ALICE = {"user_id": "@alice:one.example", "device_id": "ALICEDEV", "ed25519": "A" * 43, "master": "B" * 42 + "E"}
BOB = {
    "user_id": "@bob:two.example",
    "device_id": "BOB/DEV",
    "ed25519": "C" * 42 + "I",
    "master": "D+/" + "D" * 39 + "Q",
}
IN_ROOM, TO_DEVICE = "$request:one.example", "S0meUniqueAndOpaqueString"


def _b64(octets: bytes) -> str:
    return base64.b64encode(octets).decode().rstrip("=")


def _hkdf(secret: bytes, info: bytes, size: int) -> bytes:
    """RFC 5869 with SHA-256 and no salt."""
    key = hmac.new(bytes(32), secret, hashlib.sha256).digest()
    block, out, count = b"", b"", 1
    while len(out) < size:
        block = hmac.new(key, block + info + bytes([count]), hashlib.sha256).digest()
        out, count = out + block, count + 1
    return out[:size]


def _bits(octets: bytes) -> str:
    return "".join(f"{octet:08b}" for octet in octets)


def _mac(secret: bytes, sides: tuple[dict[str, str], dict[str, str]], transaction: str, key_id: str, text: str) -> str:
    sender, receiver = sides
    info = "MATRIX_KEY_VERIFICATION_MAC" + sender["user_id"] + sender["device_id"]
    info += receiver["user_id"] + receiver["device_id"] + transaction + key_id
    return _b64(hmac.new(_hkdf(secret, info.encode(), 32), text.encode(), hashlib.sha256).digest())


def _presented(secret: bytes, sides: tuple[dict[str, str], dict[str, str]], transaction: str) -> dict[str, object]:
    sender = sides[0]
    keys = {f"ed25519:{sender['device_id']}": sender["ed25519"], f"ed25519:{sender['master']}": sender["master"]}
    listed = ",".join(sorted(keys))
    return {
        "mac": {key_id: _mac(secret, sides, transaction, key_id, keys[key_id]) for key_id in keys},
        "keys": _mac(secret, sides, transaction, "KEY_IDS", listed),
    }


def _case(number: int, transaction: str) -> dict[str, object]:
    """Alice starts, Bob accepts."""
    secrets = [hashlib.sha256(f"verification {number} {who}".encode()).digest() for who in ("alice", "bob")]
    publics = [x25519(secret, BASE) for secret in secrets]
    shared = x25519(secrets[0], publics[1])
    start: dict[str, object] = {
        "from_device": ALICE["device_id"],
        "method": "m.sas.v1",
        "key_agreement_protocols": ["curve25519-hkdf-sha256"],
        "hashes": ["sha256"],
        "message_authentication_codes": ["hkdf-hmac-sha256.v2"],
        "short_authentication_string": ["emoji", "decimal"],
    }
    if transaction.startswith("$"):
        start["m.relates_to"] = {"rel_type": "m.reference", "event_id": transaction}
    else:
        start["transaction_id"] = transaction
    text = json.dumps(start, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    told = [_b64(public) for public in publics]
    info = f"MATRIX_KEY_VERIFICATION_SAS|{ALICE['user_id']}|{ALICE['device_id']}|{told[0]}"
    info += f"|{BOB['user_id']}|{BOB['device_id']}|{told[1]}|{transaction}"
    emoji, decimal = _bits(_hkdf(shared, info.encode(), 6)), _bits(_hkdf(shared, info.encode(), 5))
    return {
        "transaction_id": transaction,
        "secrets": [secret.hex() for secret in secrets],
        "publics": told,
        "shared": shared.hex(),
        "start": start,
        "commitment": _b64(hashlib.sha256((told[1] + text).encode()).digest()),
        "emoji": [int(emoji[at : at + 6], 2) for at in range(0, 42, 6)],
        "decimal": [int(decimal[at : at + 13], 2) + 1000 for at in range(0, 39, 13)],
        "alice": _presented(shared, (ALICE, BOB), transaction),
        "bob": _presented(shared, (BOB, ALICE), transaction),
    }


def _code(transaction: str, secret: bytes) -> dict[str, str]:
    """What Alice shows Bob to scan, laid out octet by octet as the specification's table has it."""
    name = [ord(char) for char in transaction]
    code = [0x4D, 0x41, 0x54, 0x52, 0x49, 0x58, 0x02, 0x00, len(name) // 256, len(name) % 256, *name]
    for party in (ALICE, BOB):
        code += list(base64.b64decode(party["master"] + "="))
    return {"transaction_id": transaction, "secret": secret.hex(), "code": bytes(code + list(secret)).hex()}


def main() -> None:
    """Write the file."""
    cases = [_case(number, transaction) for number, transaction in enumerate((IN_ROOM, TO_DEVICE))]
    codes = [_code(IN_ROOM, bytes(range(0x20, 0x28))), _code(TO_DEVICE, bytes(range(16))), _code("$" + "A" * 299, b"s")]
    TARGET.write_text(json.dumps({"alice": ALICE, "bob": BOB, "cases": cases, "codes": codes}, indent=1) + "\n")


if __name__ == "__main__":
    main()
