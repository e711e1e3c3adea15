"""Derives the vectors in `esession-rekey/` from the text of XEP-0200 ("Re-Key Exchange", "Decrypting a Stanza").

It shares no code with `crypto/`: the standard library, single AES blocks of `cryptography`, the primes and the counter
mode of `derive_esession_letter`, which has them from pi. Run it to write the files again:
`python -m tests.vectors.derive_esession_rekey`; a test runs it and compares.
"""

import hmac
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.vectors.derive_esession_letter import b64, ctr, draw, mpi, prime

KEY_OCTETS = {"aes128-ctr": 16, "aes192-ctr": 24, "aes256-ctr": 32}
HASHES = {"sha256": "sha256", "sha512": "sha512", "sha3-256": "sha3_256"}


# ---------------------------------------------------------------------------------------------------- numbers
def x25519(scalar: bytes, u_octets: bytes) -> bytes:
    """RFC 7748, section 5: the ladder as it is written there."""
    p, a24 = 2**255 - 19, 121665
    k = int.from_bytes(bytes([scalar[0] & 248]) + scalar[1:31] + bytes([scalar[31] & 127 | 64]), "little")
    x1 = int.from_bytes(u_octets, "little") % 2**255
    x2, z2, x3, z3, swap = 1, 0, x1, 1, 0
    for t in range(254, -1, -1):
        bit = k >> t & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        da, cb, aa, bb = d * a, c * b, a * a, b * b
        x3, z3 = (da + cb) ** 2 % p, x1 * (da - cb) ** 2 % p
        x2, z2 = aa * bb % p, (aa - bb) * (aa + a24 * (aa - bb)) % p
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, p - 2, p) % p).to_bytes(32, "little")


@dataclass
class Suite:
    """The algorithms of a session."""

    cipher: str
    hash: str
    group: str

    def secret(self, drawn: bytes) -> bytes:
        """x: above 2^256 in the MODP groups."""
        return drawn if self.group == "x25519" else mpi(2**256 + 1 + int.from_bytes(drawn, "big"))

    def power(self, base: bytes | None, secret: bytes) -> bytes:
        """base^x, or g^x."""
        if self.group == "x25519":
            return x25519(secret, base or (9).to_bytes(32, "little"))
        number = 2 if base is None else int.from_bytes(base, "big")
        return mpi(pow(number, int.from_bytes(secret, "big"), prime(int(self.group))))

    def mac(self, key: bytes, data: bytes) -> bytes:
        """HMAC(HASH, key, data)."""
        return hmac.new(key, data, HASHES[self.hash]).digest()

    def rekeyed(self, k: bytes, mixed: bytes | None, role: str) -> tuple[bytes, bytes]:
        """KC and KM of the initiator or the acceptor of a re-keying; in a hybrid session of HMAC(mixed, K)."""
        if mixed is not None:
            k = self.mac(mixed, k)
        crypt, integrity = (self.mac(k, f"Rekey {role} {what}".encode()) for what in ("Crypt", "MAC"))
        return crypt[-KEY_OCTETS[self.cipher] :], integrity


# ---------------------------------------------------------------------------------------------------- one end
@dataclass
class Party:
    """An end, in the words of the XEP. `sets`: {x, KC of the other, KM of the other}, oldest first."""

    suite: Suite
    mixed: bytes | None
    kc: bytes
    km: bytes
    counter: int
    peer_counter: int
    peer_public: bytes
    sets: list[tuple[bytes, bytes, bytes]]
    received_since_sent: int = 0
    keys_sent: int = 0
    keys_known_received: int = 0
    retired: list[tuple[bytes, int]] = field(default_factory=list)
    """Own MAC keys, each with the number of the own key whose receipt proves that all under it were verified."""
    to_publish: list[bytes] = field(default_factory=list)

    def seal(self, content: str | None, drawn: bytes | None) -> str:
        """One stanza; with a new key when there is randomness for it."""
        kc, km, before = self.kc, self.km, self.counter
        parts = ""
        if content is not None:
            padded = content.encode() + b" " * (-len(content.encode()) % 16)
            parts += f"<data>{b64(ctr(kc, before, padded))}</data>"
            self.counter = (before + len(padded) // 16) % 2**128
        else:
            self.counter = (before + 1) % 2**128
        if drawn is not None:
            x = self.suite.secret(drawn)
            parts += f"<key>{b64(self.suite.power(None, x))}</key>"
            k = self.suite.power(self.peer_public, x)
            self.kc, self.km = self.suite.rekeyed(k, self.mixed, "Initiator")
            self.sets.append((x, *self.suite.rekeyed(k, self.mixed, "Acceptor")))
            self.keys_sent += 1
            self.retired.append((km, self.keys_sent))
        if self.received_since_sent:
            parts += f"<new>{self.received_since_sent}</new>"
        parts += "".join(f"<old>{b64(key)}</old>" for key in self.to_publish)
        self.received_since_sent, self.to_publish = 0, []
        a_mac = self.suite.mac(km, parts.encode() + mpi(before))
        return f'<c xmlns="http://www.xmpp.org/extensions/xep-0200.html#ns">{parts}<mac>{b64(a_mac)}</mac></c>'

    def take(self, key: bytes | None, new: int, blocks: int) -> None:
        """What a received stanza changes: first the choice of the set by `<new/>`, then the acceptance of `<key/>`."""
        self.peer_counter = (self.peer_counter + blocks) % 2**128
        if new:
            self.keys_known_received += new
            in_use, self.sets = self.sets[0][2], self.sets[new:]
            self.to_publish += self.proved(self.keys_known_received)
            self.to_publish += [in_use] if in_use != self.sets[0][2] else []
        if key is not None:
            y, _, old = self.sets[0]
            k = self.suite.power(key, y)
            theirs = self.suite.rekeyed(k, self.mixed, "Initiator")
            self.to_publish.append(old)
            self.sets = [(secret, *theirs) for secret, _, _ in self.sets]
            self.peer_public = key
            self.received_since_sent += 1
            if len(self.sets) == 1:
                self.retired.append((self.km, self.keys_sent + 1))
                self.kc, self.km = self.suite.rekeyed(k, self.mixed, "Acceptor")

    def proved(self, number: int) -> list[bytes]:
        """The own MAC keys that may be published once the other has our key of that number."""
        found = [key for key, at in self.retired if at <= number]
        self.retired = [(key, at) for key, at in self.retired if at > number]
        return found


# ---------------------------------------------------------------------------------------------------- schedules
SCHEDULES = {
    "one-end": "a aK b. b. b a. a aK b. b. a b. b a. a b.",
    "both-ends": "aK b. bK a. a b. aK b. b a. bK a. a b. b a.",
    "crossing": "aK bK a b a. a. b. b. a b. b a. aK b. bK a. a b. b a.",
    "several-outstanding": "aK aK aK b. b. b a. b. aK b. bK a. bK a a. b. b a. a b.",
    "crossing-again": "aK aK bK b. bK a. a. a b. b. bK b. a. aK b. a. b a. a b. a. b. b a. a b.",
    "without-content": "aE b. b a. bE a. a b. ae b. be a.",
}
"""Words: who (a, b) sends content, `K` with a new key, `e` nothing, `E` a key alone; `b.`: b takes the next, if any."""


def derive(name: str, suite: Suite, schedule: str, *, hybrid: bool = False) -> dict[str, Any]:
    """One schedule from given first keys."""
    seed = f"rekey/{name}/"
    mixed = draw(seed + "mixed", 32) if hybrid else None
    size, mac_size = KEY_OCTETS[suite.cipher], len(suite.mac(b"", b""))
    start: dict[str, dict[str, str]] = {}
    secrets = {who: suite.secret(draw(seed + who, 32)) for who in "ab"}
    publics = {who: suite.power(None, secrets[who]) for who in "ab"}
    first = {
        who: (draw(seed + "kc" + who, size), draw(seed + "km" + who, mac_size), draw(seed + "c" + who, 16))
        for who in "ab"
    }
    ends: dict[str, Party] = {}
    for who, other in ("ab", "ba"):
        kc, km, counter = first[who]
        other_kc, other_km, other_counter = first[other]
        ends[who] = Party(
            suite, mixed, kc, km, int.from_bytes(counter, "big"), int.from_bytes(other_counter, "big"), publics[other],
            [(secrets[who], other_kc, other_km)],
        )  # fmt: skip
        start[who] = {"secret": secrets[who].hex(), "public": publics[who].hex(), "kc": kc.hex(), "km": km.hex(),
                      "counter": counter.hex()}  # fmt: skip
    return {
        "name": name, "cipher": suite.cipher, "hash": suite.hash, "group": suite.group,
        "mixed": mixed.hex() if mixed else None, "start": start,
        "steps": list(steps(seed, ends, schedule)),
    }  # fmt: skip


def steps(seed: str, ends: dict[str, Party], schedule: str) -> list[dict[str, Any]]:
    """What each word of a schedule does."""
    waiting: dict[str, list[tuple[bytes | None, int, int, str | None]]] = {"a": [], "b": []}
    out: list[dict[str, Any]] = []
    for number, word in enumerate(schedule.split()):
        who, how = word[0], word[1:]
        end = ends[who]
        if how == ".":
            sent = waiting["b" if who == "a" else "a"]
            if not sent:
                continue
            key, new, blocks, content = sent.pop(0)
            end.take(key, new, blocks)
            out.append({"do": "take", "who": who, "content": content, "sets": len(end.sets)})
            continue
        content = None if how in ("e", "E") else f"<body>{number} from {who}</body>".ljust(16 * (1 + number % 3))
        drawn = draw(f"{seed}draw/{number}", 32) if how in ("K", "E") else None
        new, before, kc, km = end.received_since_sent, end.counter, end.kc, end.km
        c = end.seal(content, drawn)
        key = end.suite.power(None, end.sets[-1][0]) if drawn else None
        waiting[who].append((key, new, (end.counter - before) % 2**128, content))
        out.append(
            {"do": "send", "who": who, "content": content, "draw": drawn.hex() if drawn else None, "kc": kc.hex(),
             "km": km.hex(), "counter": before.to_bytes(16, "big").hex(), "sets": len(end.sets), "c": c}
        )  # fmt: skip
    return out


def all_vectors() -> list[dict[str, Any]]:
    """Every schedule with the algorithms that every peer has, and some with others."""
    plain = Suite("aes128-ctr", "sha256", "14")
    found = [derive(name, plain, schedule) for name, schedule in SCHEDULES.items()]
    crossing = SCHEDULES["crossing-again"]
    found.append(derive("group-16", Suite("aes128-ctr", "sha256", "16"), SCHEDULES["both-ends"]))
    found.append(derive("x25519", Suite("aes128-ctr", "sha256", "x25519"), crossing))
    found.append(derive("aes256-sha512", Suite("aes256-ctr", "sha512", "x25519"), crossing))
    found.append(derive("aes192-sha3-256", Suite("aes192-ctr", "sha3-256", "x25519"), crossing))
    found.append(derive("hybrid", Suite("aes128-ctr", "sha256", "14"), crossing, hybrid=True))
    return found


def main() -> None:
    """Write all files."""
    folder = Path(__file__).with_name("esession-rekey")
    folder.mkdir(exist_ok=True)
    for vector in all_vectors():
        text = json.dumps(vector, indent=1, ensure_ascii=False)
        (folder / f"{vector['name']}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
