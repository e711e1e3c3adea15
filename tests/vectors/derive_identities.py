"""Derives `identities.json`: keys, their `<KeyValue/>`, fingerprints, signatures over a MAC, and what is presented.

It shares no code with `crypto/` and does not use the library that `crypto/` uses: pycryptodome signs. Keys are the
PKCS #8 octets in `identities-keys.json`, made once by OpenSSL; the Ed25519 key is that of RFC 8032, 7.1, test 3.
`python -m tests.vectors.derive_identities` writes the file again; a test compares.
"""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from Crypto.Hash import SHA256
from Crypto.PublicKey import DSA, ECC, RSA
from Crypto.Signature import DSS, eddsa, pkcs1_15

FILE = Path(__file__).with_name("identities.json")
KEYS = json.loads(Path(__file__).with_name("identities-keys.json").read_text())
MAC = hashlib.sha256(b"mac_A").digest()
_XMLDSIG = "http://www.w3.org/2000/09/xmldsig#"
_RFC8032 = (
    "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
    "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
    "af82",
    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc"
    "027beceea1ec40a",
)


def b64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def number(n: int) -> str:
    """ds:CryptoBinary."""
    h = f"{n:x}"
    return b64(bytes.fromhex(h.zfill(len(h) + len(h) % 2)))


def rsa(pkcs8: bytes) -> tuple[str, str, bytes]:
    """Algorithm, `<KeyValue/>`, signature."""
    key = RSA.import_key(pkcs8)
    inner = f"<Modulus>{number(key.n)}</Modulus><Exponent>{number(key.e)}</Exponent>"
    signature = pkcs1_15.new(key).sign(SHA256.new(MAC))
    return _XMLDSIG + "rsa-sha256", f"<KeyValue><RSAKeyValue>{inner}</RSAKeyValue></KeyValue>", signature


def dsa(pkcs8: bytes) -> tuple[str, str, bytes]:
    key = DSA.import_key(pkcs8)
    parts = zip("PQGY", (key.p, key.q, key.g, key.y), strict=True)
    inner = "".join(f"<{name}>{number(int(value))}</{name}>" for name, value in parts)
    signature = DSS.new(key, "deterministic-rfc6979").sign(SHA256.new(MAC))
    return _XMLDSIG + "dsa-sha256", f"<KeyValue><DSAKeyValue>{inner}</DSAKeyValue></KeyValue>", signature


def ed25519(pkcs8: bytes) -> tuple[str, str, bytes]:
    seed, public, message, signature = map(bytes.fromhex, _RFC8032)
    key = ECC.construct(curve="Ed25519", seed=seed)
    assert key.public_key().export_key(format="raw") == public
    assert eddsa.new(key, "rfc8032").sign(message) == signature
    assert pkcs8.endswith(seed)
    value = f"<KeyValue><Ed25519KeyValue><PublicKey>{b64(public)}</PublicKey></Ed25519KeyValue></KeyValue>"
    return "http://www.w3.org/2021/04/xmldsig-more#eddsa-ed25519", value, eddsa.new(key, "rfc8032").sign(MAC)


def derive() -> list[dict[str, Any]]:
    """One entry for every key."""
    found = []
    for name, pkcs8 in KEYS.items():
        make = rsa if name.startswith("rsa") else dsa if name.startswith("dsa") else ed25519
        algorithm, value, signature = make(bytes.fromhex(pkcs8))
        hashes = {h: hashlib.new(h.replace("sha3-", "sha3_"), value.encode()).hexdigest() for h in _HASHES}
        signed = f"<SignatureValue>{b64(signature)}</SignatureValue>"
        found.append(
            {
                "name": name,
                "algorithm": algorithm,
                "pkcs8": pkcs8,
                "key_value": value,
                "fingerprints": hashes,
                "mac": MAC.hex(),
                "signature": signature.hex(),
                "presented_key": value + signed,
                "presented_hash": f"<fingerprint>{b64(bytes.fromhex(hashes['sha256']))}</fingerprint>" + signed,
            }
        )
    return found


_HASHES = ("sha256", "sha384", "sha512", "sha3-256", "sha3-384", "sha3-512")


def text() -> str:
    """The content of the file."""
    return json.dumps(derive(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
