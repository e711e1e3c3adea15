"""tests/vectors/README.md: who follows it arrives at the values. Nothing of `crypto/` is used here but to parse XML."""

import base64
import hashlib
import hmac
import json
import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from crypto.xml import Element, parse
from tests.vectors.esession import FOLDER

PAGE = (FOLDER / "README.md").read_text("utf-8")
TABLE = [line.split("|") for line in PAGE.splitlines() if line.startswith("| `")]
FILES = sorted(str(p.relative_to(FOLDER)) for p in FOLDER.rglob("*.json"))
NEGOTIATIONS = [name for name in FILES if name.startswith(("esession-letter/", "esession-extended/"))]


def loaded(name: str) -> Any:
    return json.loads((FOLDER / name).read_text("utf-8"))


def members(name: str) -> set[str]:
    data = loaded(name)
    return set(data) if isinstance(data, dict) else {key for entry in data for key in entry}


def documented(name: str) -> list[set[str]]:
    """What the table says of a file; several rows may share a pattern."""
    return [
        set(re.findall(r"`([\w-]+)`", row[2])) for row in TABLE if Path(name).match(re.findall(r"`([^`]+)`", row[1])[0])
    ]


@pytest.mark.parametrize("name", FILES)
def test_every_vector_is_listed_and_has_the_members_that_the_page_says(name: str) -> None:
    assert members(name) in documented(name)


# ---------------------------------------------------------------------------------------------------- a stranger
class Stranger:
    """Step 3 of the page, with nothing but the standard library and AES."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data, self.values = data, data["values"]
        suite = data.get("suite") or {"hash": "sha256", "cipher": "aes128-ctr"}
        self.hash, self.key_octets = suite["hash"].replace("-", "_"), int(suite["cipher"][3:6]) // 8
        self.short = data.get("profile") == "simplified"

    def digest(self, *parts: bytes) -> bytes:
        return hashlib.new(self.hash.replace("sha3_", "sha3-"), b"".join(parts)).digest()

    def hmac(self, key: bytes, *parts: bytes) -> bytes:
        return hmac.digest(key, b"".join(parts), self.hash.replace("sha3_", "sha3-"))

    def keys(self, k: bytes, role: bytes) -> tuple[bytes, bytes, bytes]:
        cipher, mac, sigma = (self.hmac(k, role + label) for label in (b" Cipher Key", b" MAC Key", b" SIGMA Key"))
        most = -16 if self.short else 0
        return cipher[-self.key_octets :], mac[most:], sigma[most:]

    def octets(self, name: str) -> bytes:
        text = self.values[name]
        return bytes.fromhex("0" * (len(text) % 2) + text)

    def draw(self, name: str) -> bytes:
        return bytes.fromhex(self.data["draws"][name])


def applied(key: bytes, block: int, octets: bytes) -> bytes:
    return Cipher(AES(key), CTR((block % (1 << 128)).to_bytes(16, "big"))).encryptor().update(octets)


def number(octets: bytes) -> bytes:
    return octets.lstrip(b"\0") or b"\0"


def normal(x: Element, without: tuple[str, ...] = ()) -> bytes:
    """The normal form of the children of `<x/>`."""

    def written(element: Element) -> str:
        attributes = "".join(f' {name}="{value}"' for name, value in sorted(element.attributes))
        inner = "".join(c if isinstance(c, str) else written(c) for c in element.children)
        inner = element.text if not element.elements else "".join(map(written, element.elements))
        return f"<{element.name}{attributes}>{inner}</{element.name}>"

    return "".join(written(e) for e in x.elements if e.attribute("var") not in without).encode()


@pytest.mark.parametrize("name", NEGOTIATIONS)
def test_a_stranger_who_follows_the_page_arrives_at_the_values(name: str) -> None:
    of = Stranger(loaded(name))
    forms = {which: parse(text.encode()) for which, text in of.data["forms"].items()}
    three = of.data.get("messages") == 3
    if of.data.get("style", "own") == "own":
        assert normal(forms["request"]).decode() == of.values["form_a"]
    form_a = of.values["form_a"].encode()
    if "z" in of.values and not of.values["kem_secret"]:
        assert of.digest(of.octets("z")) == of.octets("k_dh")
    kc, km, ks = of.keys(of.octets("k_dh"), b"Initiator")
    counter = int.from_bytes(of.draw("counter"), "big")
    n_a, n_b = of.draw("n_a"), of.draw("n_b")
    public = (of.data.get("key_values") or {}).get("alice", "") if of.data.get("init_pubkey", "none") != "none" else ""
    if of.data.get("style", "own") == "own" and not three:
        form_a2 = normal(forms["completion"], ("identity", "mac"))
        mac_a = of.hmac(ks, n_b, n_a, number(of.octets("e")), public.encode(), form_a, form_a2)
        assert mac_a == of.octets("mac_a")
    shown = applied(kc, counter, of.octets("id_a"))
    assert of.octets("mac_a") == shown if not public else b"<SignatureValue>" in shown
    assert of.hmac(km, number(of.draw("counter")), of.octets("id_a")) == of.octets("m_a")
    if of.data["retained"] is None and not of.data.get("password"):
        assert of.octets("k") == (of.octets("k_dh") if three else of.digest(of.octets("k_dh")))
    assert of.keys(of.octets("k"), b"Initiator")[:2] == (of.octets("kc_a"), of.octets("km_a"))
    assert of.keys(of.octets("k"), b"Responder")[:2] == (of.octets("kc_b"), of.octets("km_b"))
    if not three:
        assert of.hmac(of.octets("k"), b"New Retained Secret") == of.octets("new_retained_secret")
    for stanza in of.data["stanzas"]:
        _read(of, stanza)


def _read(of: Stranger, stanza: dict[str, Any]) -> None:
    """Step 5."""
    c = parse(stanza["c"].encode())
    way = stanza["from"][0]
    before = bytes.fromhex(stanza["before"].rjust(32, "0"))
    texts = {e.name: e.text for e in c.elements}
    covered = "".join(f"<{e.name}>{e.text}</{e.name}>" for e in c.elements if e.name != "mac").encode()
    assert of.hmac(of.octets(f"km_{way}"), covered, number(before)) == base64.b64decode(texts["mac"])
    plain = applied(of.octets(f"kc_{way}"), int.from_bytes(before, "big"), base64.b64decode(texts["data"]))
    assert plain.decode().rstrip(" ") == stanza["content"].rstrip(" ")
