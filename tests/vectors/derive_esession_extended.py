"""Derives the vectors in `esession-extended/`: 3 messages, public keys, passwords, other suites, hybrid sessions.

It follows the text of XEP-0116 and, for extensions, docs/decisions/0085 to 0089, and shares no code with `crypto/`:
beside the standard library it uses single AES blocks, pycryptodome for signatures, and the ML-KEM and X25519 that the
neighbouring scripts write out. `python -m tests.vectors.derive_esession_extended` writes the files; a test compares.
"""

import hashlib
import hmac
import json
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from Crypto.Hash import SHA256
from Crypto.PublicKey import ECC, RSA
from Crypto.Signature import eddsa, pkcs1_15

from tests.vectors.derive_esession_letter import SAS_DIGITS, Field, b64, ctr, draw, mpi, normalised, on_the_wire, prime
from tests.vectors.derive_ml_kem import encapsulate, keygen
from tests.vectors.derive_x25519 import BASE, x25519

FOLDER = Path(__file__).with_name("esession-extended")
EXTENSION = "{urn:lockgate:esession:0}"
RSA_SHA256 = "http://www.w3.org/2000/09/xmldsig#rsa-sha256"
ED25519 = "http://www.w3.org/2021/04/xmldsig-more#eddsa-ed25519"
KEY_OCTETS = {"aes128-ctr": 16, "aes192-ctr": 24, "aes256-ctr": 32}
HASHLIB = {"sha256": "sha256", "sha384": "sha384", "sha512": "sha512", "sha3-384": "sha3_384", "sha3-512": "sha3_512"}
RSA_KEYS: dict[str, str] = json.loads(Path(__file__).with_name("esession-extended-keys.json").read_text("utf-8"))
CONTENTS = ["<body>hello</body>".ljust(32), "<body>ein Käse, ein שלום</body>".ljust(40)]


@dataclass(frozen=True)
class Case:
    """One negotiation; what is not named is what every peer has."""

    name: str
    messages: int = 4
    group: str = "14"
    cipher: str = "aes128-ctr"
    hash: str = "sha256"
    hybrid: bool = False
    initiator_key: str = "none"
    responder_key: str = "none"
    algorithm: str | None = None
    password: str | None = None
    shared: bool = False
    bound: bool = False
    once: bool = False

    def digest(self, data: bytes) -> bytes:
        return hashlib.new(HASHLIB[self.hash], data).digest()

    def mac(self, key: bytes, data: bytes) -> bytes:
        return hmac.new(key, data, HASHLIB[self.hash]).digest()


@dataclass(frozen=True)
class Signer:
    """A signing key: PKCS #8 in hexadecimal, or the seed of an Ed25519 key."""

    algorithm: str
    secret: str

    @property
    def key_value(self) -> bytes:
        if self.algorithm == RSA_SHA256:
            key = RSA.import_key(bytes.fromhex(self.secret))
            inner = f"<Modulus>{b64(mpi(key.n))}</Modulus><Exponent>{b64(mpi(key.e))}</Exponent>"
            return f"<KeyValue><RSAKeyValue>{inner}</RSAKeyValue></KeyValue>".encode()
        public = self._ed25519().public_key().export_key(format="raw")
        inner = f"<PublicKey>{b64(public)}</PublicKey>"
        return f"<KeyValue><Ed25519KeyValue>{inner}</Ed25519KeyValue></KeyValue>".encode()

    def _ed25519(self) -> ECC.EccKey:
        return ECC.construct(curve="Ed25519", seed=bytes.fromhex(self.secret))

    def sign(self, data: bytes) -> bytes:
        if self.algorithm == RSA_SHA256:
            return pkcs1_15.new(RSA.import_key(bytes.fromhex(self.secret))).sign(SHA256.new(data))
        return eddsa.new(self._ed25519(), "rfc8032").sign(data)


def signer(case: Case, who: str) -> Signer:
    if case.algorithm == RSA_SHA256:
        return Signer(RSA_SHA256, RSA_KEYS[who])
    return Signer(ED25519, draw(f"{who}/ed25519", 32).hex())


# ---------------------------------------------------------------------------------------------------- forms
def one(var: str, value: str, kind: str = "hidden") -> Field:
    return (var, kind, [value], [], False)


def answer(var: str, *values: str) -> Field:
    return (var, "text-single", list(values), [], False)


def some(var: str, *options: str, kind: str = "list-single") -> Field:
    return (var, kind, [], list(options), False)


def request(case: Case, nonce: bytes, public: bytes, kem_key: bytes) -> list[Field]:
    three = case.messages == 3
    value = b64(public) if three else b64(hashlib.sha256(public).digest())
    prefix = "" if case.group.isdigit() else EXTENSION
    fields = [
        one("FORM_TYPE", "urn:xmpp:ssn"),
        one("accept", "1", "boolean"),
        some("logging", "may", "mustnot"),
        some("otr", "false", "true"),
        some("disclosure", "never"),
        some("security", "e2e"),
        one("crypt_algs", case.cipher),
        one("hash_algs", case.hash),
        one("compress", "none"),
        some("stanzas", "message", "presence", "iq", kind="list-multi"),
        one("init_pubkey", case.initiator_key),
        one("resp_pubkey", case.responder_key),
        one("ver", "1.0"),
        *([] if three else [one("sas_algs", EXTENSION + "sas28x5-bound" if case.bound else "sas28x5")]),
        one("rekey_freq", "100"),
        *([one("sign_algs", case.algorithm)] if case.algorithm else []),
        one("my_nonce", b64(nonce)),
        some(prefix + "group" if prefix else "modp", case.group),
        one(prefix + ("dhkeys" if three else "dhhashes"), value),
    ]
    if case.hybrid:
        fields += [some(EXTENSION + "kem", "ml-kem-768"), one(EXTENSION + "kemkeys", b64(kem_key))]
    return fields


def response(case: Case, asked: list[Field], values: dict[str, bytes], ciphertext: bytes) -> list[Field]:
    chosen: dict[str, tuple[str, ...]] = {"accept": ("true",), "rekey_freq": ("250",)}
    chosen |= {"logging": ("may",), "otr": ("false",), "stanzas": ("message", "presence", "iq")}
    left = ("modp", "my_nonce", "dhhashes", "dhkeys")
    fields = [
        answer(var, *chosen.get(var, tuple(given or options[:1])))
        for var, _, given, options, _ in asked
        if var not in left and not var.startswith(EXTENSION)
    ]
    fields.append(answer("modp" if case.group.isdigit() else EXTENSION + "group", case.group))
    if case.hybrid:
        fields += [answer(EXTENSION + "kem", "ml-kem-768"), answer(EXTENSION + "kemkeys", b64(ciphertext))]
    if case.messages == 3:
        fields.append(answer(EXTENSION + "request", b64(case.digest(normalised(asked)))))
    return fields + [answer(var, b64(value)) for var, value in values.items()]


# ---------------------------------------------------------------------------------------------------- the exchange
def diffie_hellman(case: Case, x_draw: bytes, y_draw: bytes) -> tuple[bytes, bytes, bytes]:
    """e, d, and Z."""
    if case.group == "x25519":
        e, d = x25519(x_draw, BASE), x25519(y_draw, BASE)
        return e, d, x25519(x_draw, d)
    p = prime(int(case.group))
    x, y = (2**256 + 1 + int.from_bytes(v, "big") for v in (x_draw, y_draw))
    return mpi(pow(2, x, p)), mpi(pow(2, y, p)), mpi(pow(2, x * y, p))


def identity(case: Case, who: str, how: str, proof: bytes) -> bytes:
    if how == "none":
        return proof
    key = signer(case, who)
    shown = key.key_value
    if how == "hash":
        shown = b"<fingerprint>" + b64(case.digest(key.key_value)).encode() + b"</fingerprint>"
    return shown + b"<SignatureValue>" + b64(key.sign(proof)).encode() + b"</SignatureValue>"


def direction(case: Case, k: bytes, who: str) -> tuple[bytes, bytes, bytes]:
    kc, km, ks = (case.mac(k, f"{who} {what} Key".encode()) for what in ("Cipher", "MAC", "SIGMA"))
    return kc[-KEY_OCTETS[case.cipher] :], km, ks


def proved(
    case: Case, who: str, key: bytes, counter: int, covered: tuple[bytes, bytes]
) -> tuple[dict[str, bytes], list[Field], int]:
    """mac, ID and M of a side, from K; `covered`: nonces and public value, and the forms that come after pubKey."""
    role, how = {"alice": ("Initiator", case.initiator_key), "bob": ("Responder", case.responder_key)}[who]
    kc, km, ks = direction(case, key, role)
    public = b"" if how == "none" else signer(case, who).key_value
    mac = case.mac(ks, covered[0] + public + covered[1])
    shown = ctr(kc, counter, identity(case, who, how, mac))
    m = case.mac(km, mpi(counter) + shown)
    fields = [answer("identity", b64(shown)), answer("mac", b64(m))]
    side = who[0]
    return {f"mac_{side}": mac, f"id_{side}": shown, f"m_{side}": m}, fields, -(-len(shown) // 16)


def password_octets(text: str) -> bytes:
    return unicodedata.normalize("NFC", text).encode()


def string(digest: bytes) -> str:
    number = int.from_bytes(digest, "big") & 0xFFFFFF
    sas = ""
    for _ in range(5):
        number, digit = number // 28, number % 28
        sas = SAS_DIGITS[digit] + sas
    return sas


def derive(case: Case) -> dict[str, Any]:
    """One negotiation with two stanzas each way; with `once` one stanza in the last message."""
    seed = f"extended/{case.name}/"
    n_a, n_b = draw(seed + "na", 8), draw(seed + "nb", 8)
    x_draw, y_draw = draw(seed + "x", 32), draw(seed + "y", 32)
    c_octets = b"\x41" + draw(seed + "c", 15)
    c_a = int.from_bytes(c_octets, "big")
    c_b = c_a ^ 2**127
    kem_seed, kem_message = draw(seed + "kem", 64), draw(seed + "message", 32)
    kem_key = keygen(kem_seed)[0] if case.hybrid else b""
    ciphertext, secret = encapsulate(kem_key, kem_message) if case.hybrid else (b"", b"")
    e, d, z = diffie_hellman(case, x_draw, y_draw)
    mixed = secret + kem_key + ciphertext + b"urn:lockgate:esession:0 ml-kem-768" if case.hybrid else b""
    k_dh = case.digest(z + mixed)

    form_a_fields = request(case, n_a, e, kem_key)
    form_a = normalised(form_a_fields)
    form_b_fields = response(
        case, form_a_fields, {"my_nonce": n_b, "dhkeys": d, "counter": mpi(c_a), "nonce": n_a}, ciphertext
    )
    form_b = normalised(form_b_fields)
    values: dict[str, bytes] = {"e": e, "d": d, "z": z, "k_dh": k_dh, "kem_secret": secret}
    result: dict[str, Any] = {"forms": {"request": on_the_wire("form", form_a_fields, wide=False)}}

    proof_b: list[Field] = []
    blocks_b = 0
    if case.messages == 3:
        found, proof_b, blocks_b = proved(case, "bob", k_dh, c_b, (n_a + n_b + d, form_b))
        values |= found
    result["forms"]["response"] = on_the_wire("submit", form_b_fields + proof_b, wide=False)

    retained = draw(seed + "srs", 32)
    size = len(case.digest(b""))
    fill = draw(seed + "fill", 2 * size)
    last: list[Field] = [
        one("FORM_TYPE", "urn:xmpp:ssn", "text-single"),
        answer("accept", "1"),
        answer("nonce", b64(n_b)),
    ]
    if case.messages == 4:
        hashes = ([case.mac(n_a, retained)] if case.shared else []) + [fill[:size], fill[size:]]
        last += [answer("rshashes", *map(b64, hashes)), answer("dhkeys", b64(e))]
    elif case.once:
        last.append(answer("terminate", "1"))
    found, proof_a, blocks_a = proved(case, "alice", k_dh, c_a, (n_b + n_a + e, form_a + normalised(last)))
    values |= found
    result["forms"]["completion"] = on_the_wire("result", last + proof_a, wide=False)

    k, sas = k_dh, ""
    confirmation = draw(seed + "srshash", size)
    if case.messages == 4:
        k = case.digest(k_dh + (retained if case.shared else b"") + password_octets(case.password or ""))
        srshash = case.mac(retained, b"Shared Retained Secret") if case.shared else confirmation
        init: list[Field] = [one("FORM_TYPE", "urn:xmpp:ssn", "text-single"), answer("nonce", b64(n_a))]
        init.append(answer("srshash", b64(srshash)))
        found, proof_b, blocks_b = proved(case, "bob", k, c_b, (n_a + n_b + d, form_b + normalised(init)))
        values |= found
        result["forms"]["init"] = on_the_wire("result", init + proof_b, wide=False)
        values["new_retained_secret"] = case.mac(k, b"New Retained Secret")
        label = b"Short Authentication String"
        whole = case.digest(form_a) + case.digest(form_b) + e if case.bound else values["m_a"] + form_b
        sas = string(case.digest(whole + label))
    (kc_a, km_a, _), (kc_b, km_b, _) = direction(case, k, "Initiator"), direction(case, k, "Responder")
    values |= {"k": k, "kc_a": kc_a, "km_a": km_a, "kc_b": kc_b, "km_b": km_b}
    sent = [("alice", c) for c in CONTENTS] + [("bob", c) for c in CONTENTS]
    if case.once:
        sent = sent[:1]
    keyed = case.algorithm is not None
    return {
        "name": case.name,
        "messages": case.messages,
        "suite": {"cipher": case.cipher, "hash": case.hash, "group": case.group,
                  "kem": "ml-kem-768" if case.hybrid else None},
        "init_pubkey": case.initiator_key,
        "resp_pubkey": case.responder_key,
        "sign_alg": case.algorithm,
        "signing_keys": {who: signer(case, who).secret for who in ("alice", "bob")} if keyed else None,
        "key_values": {who: signer(case, who).key_value.decode() for who in ("alice", "bob")} if keyed else None,
        "password": case.password,
        "retained": retained.hex() if case.shared else None,
        "draws": {"n_a": n_a.hex(), "n_b": n_b.hex(), "x": x_draw.hex(), "y": y_draw.hex(),
                  "counter": c_octets.hex(), "kem_seed": kem_seed.hex(), "kem_message": kem_message.hex(),
                  "hashes": fill.hex(), "confirmation": confirmation.hex()},
        **result,
        "values": {"form_a": form_a.decode(), "form_b": form_b.decode(), "sas": sas}
        | {name: value.hex() for name, value in sorted(values.items())},
        "stanzas": stanzas(case, sent, {"alice": (kc_a, km_a, c_a + blocks_a), "bob": (kc_b, km_b, c_b + blocks_b)}),
    }  # fmt: skip


def stanzas(
    case: Case, sent: list[tuple[str, str]], state: dict[str, tuple[bytes, bytes, int]]
) -> list[dict[str, str]]:
    out = []
    for who, content in sent:
        kc, km, counter = state[who]
        plain = content.encode()
        plain += b" " * (-len(plain) % 16)
        data = f"<data>{b64(ctr(kc, counter, plain))}</data>"
        a_mac = case.mac(km, data.encode() + mpi(counter))
        state[who] = (kc, km, counter + len(plain) // 16)
        c = f"<c xmlns='http://www.xmpp.org/extensions/xep-0200.html#ns'>{data}<mac>{b64(a_mac)}</mac></c>"
        out.append({"from": who, "content": content, "c": c, "before": counter.to_bytes(16, "big").hex()})
    return out


CASES = (
    Case("password", password="cafe\u0301 au lait", shared=True),
    Case("sha512-aes256", hash="sha512", cipher="aes256-ctr", shared=True),
    Case("sha3-384-aes192", hash="sha3-384", cipher="aes192-ctr"),
    Case("hybrid", hybrid=True, bound=True),
    Case("x25519", group="x25519", bound=True),
    Case("keys-rsa", initiator_key="key", responder_key="hash", algorithm=RSA_SHA256),
    Case("keys-ed25519-hybrid", initiator_key="hash", responder_key="key", algorithm=ED25519, group="x25519",
         hash="sha512", cipher="aes256-ctr", hybrid=True, bound=True, shared=True, password="correct horse"),
    Case("three-rsa", messages=3, initiator_key="key", responder_key="key", algorithm=RSA_SHA256),
    Case("three-ed25519", messages=3, initiator_key="hash", responder_key="hash", algorithm=ED25519, group="x25519",
         hash="sha512", cipher="aes256-ctr", hybrid=True),
    Case("three-once", messages=3, initiator_key="key", responder_key="hash", algorithm=ED25519, hybrid=True,
         once=True),
)  # fmt: skip


def main() -> None:
    """Write all files."""
    FOLDER.mkdir(exist_ok=True)
    for case in CASES:
        text = json.dumps(derive(case), indent=1, ensure_ascii=False)
        (FOLDER / f"{case.name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
