"""A conversation of OMEMO in both forms, written a second time: X3DH, the Double Ratchet, XEdDSA, payloads.

Curve25519 and Ed25519 are made here of Python's integers (RFC 7748, RFC 8032), HKDF of the standard library's HMAC, AES
comes from pycryptodome. Nothing of `crypto/` is used, nor any of the libraries it uses.
"""

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from Crypto.Cipher import AES

FILE = Path(__file__).parent / "omemo.json"
P = 2**255 - 19
Q = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
OMEMO_2, AXOLOTL = "urn:xmpp:omemo:2", "eu.siacs.conversations.axolotl"


def draw(label: str, octets: int = 32) -> bytes:
    """Octets that look random and are always the same."""
    return hashlib.shake_256(label.encode()).digest(octets)


# ---------------------------------------------------------------- curves
def clamped(octets: bytes) -> int:
    number = int.from_bytes(octets, "little")
    return number & ~7 & ~(1 << 255) | 1 << 254


def x25519(private: bytes, public: bytes) -> bytes:
    """RFC 7748, section 5."""
    k, u = clamped(private), int.from_bytes(public, "little") & ((1 << 255) - 1)
    x1, x2, z2, x3, z3, swap = u, 1, 0, u, 1, 0
    for t in range(254, -1, -1):
        bit = k >> t & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a % P, b * b % P, d * a % P, c * b % P
        e = aa - bb
        x3, z3 = pow(da + cb, 2, P), x1 * pow(da - cb, 2, P) % P
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")


def public(private: bytes) -> bytes:
    return x25519(private, (9).to_bytes(32, "little"))


Point = tuple[int, int]
BASE: Point = (
    15112221349535400772501151409588531511454012693041857206046113283949847762202,
    46316835694926478169428394003475163141307993866256225615783033603165251855960,
)


def add(one: Point, other: Point) -> Point:
    (x1, y1), (x2, y2) = one, other
    k = D * x1 * x2 * y1 * y2 % P
    return (
        (x1 * y2 + x2 * y1) * pow(1 + k, P - 2, P) % P,
        (y1 * y2 + x1 * x2) * pow(1 - k, P - 2, P) % P,
    )


def times(scalar: int, point: Point) -> Point:
    found: Point = (0, 1)
    while scalar:
        if scalar & 1:
            found = add(found, point)
        point = add(point, point)
        scalar >>= 1
    return found


def compressed(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def signing(private: bytes) -> tuple[int, bytes]:
    """The scalar whose point has the sign bit 0, and that point (XEdDSA, section 2.3)."""
    scalar = clamped(private) % Q
    point = times(scalar, BASE)
    return (Q - scalar if point[0] & 1 else scalar), (point[1]).to_bytes(32, "little")


def signature(private: bytes, text: bytes, nonce: bytes) -> bytes:
    """XEdDSA, section 3."""
    a, key = signing(private)
    first = (2**256 - 2).to_bytes(32, "little")
    r = int.from_bytes(hashlib.sha512(first + a.to_bytes(32, "little") + text + nonce).digest(), "little") % Q
    commitment = compressed(times(r, BASE))
    h = int.from_bytes(hashlib.sha512(commitment + key + text).digest(), "little") % Q
    return commitment + ((r + h * a) % Q).to_bytes(32, "little")


def verified(key: bytes, text: bytes, octets: bytes) -> bool:
    """RFC 8032, section 5.1.7, for keys whose sign bit is 0 and a commitment that is a point."""
    y = int.from_bytes(key, "little")
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    x = x if x * x % P == x2 else x * pow(2, (P - 1) // 4, P) % P
    point = (P - x if x & 1 else x, y)
    h = int.from_bytes(hashlib.sha512(octets[:32] + key + text).digest(), "little") % Q
    r = add(times(int.from_bytes(octets[32:], "little"), BASE), times(Q - h, point))
    return compressed(r) == octets[:32]


# ---------------------------------------------------------------- derivations, ciphers, fields
def mac(key: bytes, *parts: bytes) -> bytes:
    return hmac.digest(key, b"".join(parts), "sha256")


def hkdf(salt: bytes, material: bytes, info: bytes, size: int) -> bytes:
    key, block, out = mac(salt, material), b"", b""
    for number in range(1, size // 32 + 2):
        block = mac(key, block, info, bytes([number]))
        out += block
    return out[:size]


def cbc(key: bytes, iv: bytes, plain: bytes) -> bytes:
    pad = 16 - len(plain) % 16
    return AES.new(key, AES.MODE_CBC, iv).encrypt(plain + bytes([pad]) * pad)


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def fields(*pairs: tuple[int, int | bytes]) -> bytes:
    out = b""
    for number, value in sorted(pairs):
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            out += varint(number << 3 | 2) + varint(len(value)) + value
    return out


# ---------------------------------------------------------------- a form
@dataclass
class Form:
    namespace: str

    @property
    def older(self) -> bool:
        return self.namespace == AXOLOTL

    def info(self, newer: str, older: str) -> bytes:
        return (older if self.older else newer).encode()

    def key(self, octets: bytes) -> bytes:
        return b"\5" + octets if self.older else octets

    def identity(self, private: bytes) -> bytes:
        """As it stands in bundles, key exchanges and associated data."""
        return self.key(public(private) if self.older else signing(private)[1])


@dataclass
class State:
    """One end's ratchet."""

    end: str
    form: Form
    root: bytes
    own: bytes
    theirs: bytes
    sending: bytes = b""
    receiving: bytes = b""
    sent: int = 0
    before: int = 0

    def step(self, receiving: bool) -> None:
        info = self.form.info("OMEMO Root Chain", "WhisperRatchet")
        out = hkdf(self.root, x25519(self.own, self.theirs), info, 64)
        self.root = out[:32]
        if receiving:
            self.receiving = out[32:]
        else:
            self.before, self.sent, self.sending = self.sent, 0, out[32:]

    def hear(self, ratchet_key: bytes, new_own: bytes) -> None:
        """The other end has a new ratchet key: both chains begin anew."""
        self.theirs = ratchet_key
        self.step(receiving=True)
        self.own = new_own
        self.step(receiving=False)

    def say(self, identities: bytes, plain: bytes) -> bytes:
        form, message_key = self.form, mac(self.sending, b"\1")
        self.sending = mac(self.sending, b"\2")
        out = hkdf(bytes(32), message_key, form.info("OMEMO Message Key Material", "WhisperMessageKeys"), 80)
        ciphertext = cbc(out[:32], out[64:], plain)
        key = form.key(public(self.own))
        if form.older:
            body = b"\x33" + fields((2, self.sent), (3, self.before), (1, key), (4, ciphertext))
            octets = body + mac(out[32:64], identities, body)[:8]
        else:
            body = fields((1, self.sent), (2, self.before), (3, key), (4, ciphertext))
            octets = fields((1, mac(out[32:64], identities, body)[:16]), (2, body))
        self.sent += 1
        return octets


def payload(form: Form, key: bytes, iv: bytes, text: bytes) -> tuple[bytes, bytes]:
    """The ciphertext, and what goes to each device."""
    if form.older:
        sealed, tag = AES.new(key, AES.MODE_GCM, nonce=iv).encrypt_and_digest(text)
        return sealed, key + tag
    out = hkdf(bytes(32), key, b"OMEMO Payload", 80)
    sealed = cbc(out[:32], out[64:], text)
    return sealed, key + mac(out[32:64], sealed)[:16]


# ---------------------------------------------------------------- the conversation
@dataclass
class Talk:
    form: Form
    name: str
    messages: list[dict[str, Any]] = field(default_factory=list)

    def secret(self, label: str, size: int = 32) -> bytes:
        return draw(f"{self.name} {label}", size)

    def add(
        self, state: State, text: str, identities: bytes, *, exchange: Any = None, draws: dict[str, bytes] | None = None
    ) -> None:
        number = len(self.messages)
        key, iv = self.secret(f"key {number}", 16 if self.form.older else 32), self.secret(f"iv {number}", 12)
        sealed, part = payload(self.form, key, iv, text.encode())
        octets = state.say(identities, part)
        octets = octets if exchange is None else exchange(octets)
        kept = {"omemo-key": key, **({"omemo-iv": iv} if self.form.older else {}), **(draws or {})}
        self.messages.append(
            {
                "from": state.end,
                "draws": {name: value.hex() for name, value in kept.items()},
                "heard_draws": {"omemo-ratchet": self.secret(f"ratchet {number + 1}").hex()},
                "prekey": exchange is not None,
                "key": octets.hex(),
                "iv": iv.hex() if self.form.older else None,
                "payload": sealed.hex(),
                "text": text,
            }
        )


def private(seed: bytes) -> bytes:
    return clamped(hashlib.sha512(seed).digest()[:32]).to_bytes(32, "little")


def case(namespace: str) -> dict[str, Any]:
    """Alice begins with two messages, Bob answers twice, Alice goes on, Bob too."""
    form = Form(namespace)
    talk = Talk(form, namespace)
    seeds = {end: talk.secret(f"{end} seed") for end in ("alice", "bob")}
    alice, bob = (private(seeds[end]) for end in ("alice", "bob"))
    signed, prekey, ephemeral = talk.secret("signed"), talk.secret("prekey"), talk.secret("ephemeral")
    nonce = talk.secret("nonce", 64)
    dh = x25519(alice, public(signed)) + x25519(ephemeral, public(bob))
    dh += x25519(ephemeral, public(signed)) + x25519(ephemeral, public(prekey))
    secret = hkdf(bytes(32), b"\xff" * 32 + dh, form.info("OMEMO X3DH", "WhisperText"), 32)
    first = talk.secret("ratchet 0")
    at_alice = State("alice", form, secret, first, public(signed))
    at_alice.step(receiving=False)
    at_bob = State("bob", form, secret, signed, b"")
    to_bob = form.identity(alice) + form.identity(bob)
    to_alice = form.identity(bob) + form.identity(alice) if form.older else to_bob

    def exchange(octets: bytes) -> bytes:
        numbers = (1, 6, 3, 2, 4) if form.older else (1, 2, 3, 4, 5)
        values: list[int | bytes]
        values = [31, 7, form.identity(alice), form.key(public(ephemeral)), octets]
        out = fields(*zip(numbers, values, strict=True))
        return b"\x33" + out if form.older else out

    begun = {"omemo-ephemeral": ephemeral, "omemo-choice": bytes(8), "omemo-ratchet": first}
    talk.add(at_alice, "Wherefore art thou?", to_bob, exchange=exchange, draws=begun)
    at_bob.hear(public(at_alice.own), talk.secret("ratchet 1"))
    talk.add(at_alice, "Two of a chain, ünïcödé", to_bob, exchange=exchange)
    talk.add(at_bob, "Neither, if either thee dislike.", to_alice)
    at_alice.hear(public(at_bob.own), talk.secret("ratchet 3"))
    talk.add(at_bob, "", to_alice)
    talk.add(at_alice, "How camest thou hither?", to_bob)
    at_bob.hear(public(at_alice.own), talk.secret("ratchet 5"))
    talk.add(at_bob, "With love's light wings " * 20, to_alice)
    bundle = {
        "signed_id": 7,
        "signed": signed.hex(),
        "nonce": nonce.hex(),
        "signature": signature(bob, form.key(public(signed)), nonce).hex(),
        "prekey_id": 31,
        "prekey": prekey.hex(),
    }
    return {
        "namespace": namespace,
        "seeds": {end: seed.hex() for end, seed in seeds.items()},
        "identities": {end: public(key).hex() for end, key in (("alice", alice), ("bob", bob))},
        "signing": {end: signing(key)[1].hex() for end, key in (("alice", alice), ("bob", bob))},
        "bundle": bundle,
        "messages": talk.messages,
    }


def content() -> str:
    """The file."""
    # RFC 7748, section 6.1; RFC 8032, section 7.1 (test 1)
    assert public(bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")).hex() == (
        "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    )
    scalar = clamped(
        hashlib.sha512(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")).digest()[:32]
    )
    assert compressed(times(scalar, BASE)).hex() == ("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    return json.dumps([case(OMEMO_2), case(AXOLOTL)], indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(content())
