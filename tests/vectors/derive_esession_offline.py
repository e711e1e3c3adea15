"""Derives the vectors in `esession-offline/` from the text of XEP-0187 and 0116.

It shares no code with `crypto/`: forms, plain arithmetic, X25519 and ML-KEM are those of the other scripts here, and
pycryptodome signs. `python -m tests.vectors.derive_esession_offline` writes the files again; a test compares.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.vectors.derive_esession_extended import (
    ED25519,
    EXTENSION,
    RSA_KEYS,
    RSA_SHA256,
    Case,
    Signer,
    diffie_hellman,
    direction,
    one,
    some,
)
from tests.vectors.derive_esession_letter import Field, b64, ctr, draw, mpi, normalised, on_the_wire
from tests.vectors.derive_ml_kem import encapsulate, keygen

FOLDER = Path(__file__).with_name("esession-offline")
PUBLISHER = "alice@example.org"
NOW = "2027-01-15T08:00:00Z"
NOW_MS = 1_800_000_000_000
EXPIRES = "2027-01-17T08:00:00Z"
CONTENT = "<body>Hello, Alice! ¡שלום!</body>"
CREATED = f'<headers xmlns="http://jabber.org/protocol/shim"><header name="Created">{NOW}</header></headers>'
FURTHER = ["<body>the second</body>", "<body>the third, of another length</body>"]


@dataclass(frozen=True)
class Offline:
    """One set of options and one session. `style`: as this project writes, or as the XEP's examples are printed."""

    name: str
    style: str = "own"
    group: str = "14"
    cipher: str = "aes128-ctr"
    hash: str = "sha256"
    hybrid: bool = False
    algorithm: str = RSA_SHA256
    resource: str | None = None
    once: bool = True

    @property
    def case(self) -> Case:
        return Case(self.name, group=self.group, cipher=self.cipher, hash=self.hash)

    def signer(self, who: str) -> Signer:
        secret = RSA_KEYS[who] if self.algorithm == RSA_SHA256 else draw(f"{who}/ed25519", 32).hex()
        return Signer(self.algorithm, secret)


# ---------------------------------------------------------------------------------------------------- forms
def options(of: Offline, nonce: bytes, e: bytes, kem_key: bytes) -> list[Field]:
    modp, own = of.group.isdigit(), of.style == "own"
    fields = [one("FORM_TYPE", "urn:xmpp:ssn")]
    if own:
        fields.append(some("logging", "may", "mustnot"))
    fields += [some("disclosure", "never"), some("security", "e2e")]
    fields += [some("modp", of.group)] if modp else []
    fields += [some("crypt_algs", of.cipher), some("hash_algs", of.hash)]
    fields += [some("sign_algs", RSA_SHA256, ED25519), some("compress", "none")]
    fields += [some("stanzas", "message", kind="list-multi"), some("ver", "1.0")]
    fields.append(one("rekey_freq", "4294967295" if own else "1", "text-single"))
    if not modp:
        fields += [some(EXTENSION + "group", of.group), one(EXTENSION + "dhkeys", b64(e))]
    if of.hybrid:
        fields += [some(EXTENSION + "kem", "ml-kem-768"), one(EXTENSION + "kemkeys", b64(kem_key))]
    fields += [one("expires", EXPIRES), one("my_nonce", b64(nonce))]
    fields += [one("dhkeys", b64(e))] if modp else []
    fields += [one("match_resource", of.resource, "text-single")] if of.resource else []
    fields += [one(EXTENSION + "jid", PUBLISHER)] if own else []
    if not own:
        fields = [
            (var, kind if kind != "hidden" or var == "FORM_TYPE" else None, v, o, r) for var, kind, v, o, r in fields
        ]
    return fields


def answer_form(of: Offline, values: dict[str, bytes], ciphertext: bytes, digest: bytes) -> list[Field]:
    own = of.style == "own"
    group = "modp" if of.group.isdigit() else EXTENSION + "group"
    chosen = [("FORM_TYPE", "urn:xmpp:ssn")] + ([("logging", "may")] if own else [])
    chosen += [("disclosure", "never"), ("security", "e2e"), ("crypt_algs", of.cipher), ("hash_algs", of.hash)]
    chosen += [("sign_algs", of.algorithm), ("compress", "none"), ("stanzas", "message"), ("ver", "1.0")]
    chosen += [("rekey_freq", "4294967295" if own else "50"), (group, of.group), ("my_nonce", b64(values["n_b"]))]
    chosen += [("dhkeys", b64(values["d"]))]
    if of.hybrid:
        chosen += [(EXTENSION + "kem", "ml-kem-768"), (EXTENSION + "kemkeys", b64(ciphertext))]
    chosen += [("nonce", b64(values["n_a"])), ("counter", b64(mpi(int.from_bytes(values["counter"], "big"))))]
    chosen += [(EXTENSION + "options", b64(digest))] if own else []
    chosen += [("terminate", "1")] if of.once else []
    return [(var, "text-single" if own else None, [value], [], False) for var, value in chosen]


# ---------------------------------------------------------------------------------------------------- one session
def derive(of: Offline) -> dict[str, Any]:
    """The options, the stanza that begins a session, further ones."""
    case, own = of.case, of.style == "own"
    draws = {name: draw(f"{of.name}/{name}", 8) for name in ("n_a", "n_b")}
    draws |= {name: draw(f"{of.name}/{name}", 32) for name in ("x", "y")}
    draws |= {"counter": draw(f"{of.name}/counter", 16), "kem": draw(f"{of.name}/kem", 64)}
    e, d, z = diffie_hellman(case, draws["x"], draws["y"])
    kem_key = keygen(draws["kem"])[0] if of.hybrid else b""
    ciphertext, secret = encapsulate(kem_key, draw(f"{of.name}/kem-message", 32)) if of.hybrid else (b"", b"")

    published = options(of, draws["n_a"], e, kem_key)
    alice, bob = of.signer("alice"), of.signer("bob")
    signature = alice.sign(normalised(published))
    signs: Field = ("signs", "hidden" if own else None, [b64(signature)], [], False)
    form_a = [*published, signs]
    digest = case.digest(normalised(form_a))

    label = b"urn:lockgate:esession:0 ml-kem-768"
    k = case.digest(z + secret + kem_key + ciphertext + label) if of.hybrid else case.digest(z)
    kc, km, ks = direction(case, k, "Responder")
    form_b = answer_form(of, {**draws, "d": d}, ciphertext, digest)
    mac_b = case.mac(ks, draws["n_a"] + draws["n_b"] + d + bob.key_value + normalised(form_b))
    shown = bob.key_value + b"<SignatureValue>" + b64(bob.sign(mac_b)).encode() + b"</SignatureValue>"
    counter = int.from_bytes(draws["counter"], "big") ^ 2**127
    id_b = ctr(kc, counter, shown)
    m_b = case.mac(km, mpi(counter) + id_b)
    kind = "text-single" if own else None
    proof: list[Field] = [("identity", kind, [b64(id_b)], [], False), ("mac", kind, [b64(m_b)], [], False)]

    stanzas = []
    counter = (counter + -(-len(shown) // 16)) % 2**128
    for content in [CONTENT + CREATED] + ([] if of.once else FURTHER):
        plain = content.encode()
        plain += b" " * (-len(plain) % 16) if own else b""
        data = f"<data>{b64(ctr(kc, counter, plain))}</data>"
        mac = b64(case.mac(km, data.encode() + mpi(counter)))
        c = f"<c xmlns='http://www.xmpp.org/extensions/xep-0200.html#ns'>{data}<mac>{mac}</mac></c>"
        stanzas.append({"content": content, "c": c, "before": counter.to_bytes(16, "big").hex()})
        counter = (counter + -(-len(plain) // 16)) % 2**128
    octets = {"e": e, "d": d, "z": z, "k": k, "kc_b": kc, "km_b": km, "ks_b": ks, "mac_b": mac_b, "id_b": id_b,
              "m_b": m_b, "signature": signature, "digest": digest, "kem_key": kem_key, "kem_secret": secret,
              "kem_ciphertext": ciphertext}  # fmt: skip
    return {
        "name": of.name, "style": of.style, "group": of.group, "cipher": of.cipher, "hash": of.hash,
        "kem": "ml-kem-768" if of.hybrid else None, "resource": of.resource, "once": of.once,
        "publisher": PUBLISHER, "now_ms": NOW_MS, "expires": EXPIRES,
        "keys": {who: {"algorithm": s.algorithm, "secret": s.secret, "key_value": s.key_value.decode()}
                 for who, s in (("publisher", alice), ("sender", bob))},
        "draws": {name: octets.hex() for name, octets in draws.items()},
        "forms": {"options": on_the_wire("form", form_a, wide=not own),
                  "answer": on_the_wire("submit", form_b + proof, wide=not own)},
        "values": {"form_a": normalised(published).decode(), "form_b": normalised(form_b).decode(),
                   **{name: value.hex() for name, value in octets.items()}},
        "stanzas": stanzas,
    }  # fmt: skip


ALL = (
    Offline("as-the-xep", style="xep"),
    Offline("as-the-xep-resource", style="xep", resource="pda", once=False),
    Offline("own-style"),
    Offline("own-style-session", resource="pda", once=False, hash="sha384", cipher="aes192-ctr"),
    Offline("ed25519", group="x25519", algorithm=ED25519, cipher="aes256-ctr", hash="sha512"),
    Offline("hybrid", group="x25519", algorithm=ED25519, cipher="aes256-ctr", hash="sha512", hybrid=True, once=False),
)


def text(of: Offline) -> str:
    """The file of one vector."""
    return json.dumps(derive(of), indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write all files."""
    FOLDER.mkdir(exist_ok=True)
    for of in ALL:
        (FOLDER / f"{of.name}.json").write_text(text(of), encoding="utf-8")


if __name__ == "__main__":
    main()
