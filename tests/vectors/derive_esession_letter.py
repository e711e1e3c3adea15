"""Derives the vectors in `esession-letter/` from the text of XEP-0116, 0217, 0200 and 0155.

It shares no code with `crypto/`: only the standard library, and single AES blocks of `cryptography`. Primes are
computed from the digits of pi, as RFC 3526 defines them. Run it to write the files again:
`python tests/vectors/derive_esession_letter.py`; a test runs it and compares.
"""

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

Field = tuple[str, str | None, list[str], list[str], bool]
"""var, type, values, options, required."""

ADDENDS = {14: (2048, 124476), 15: (3072, 1690314), 16: (4096, 240904), 17: (6144, 929484), 18: (8192, 4743158)}
SAS_DIGITS = "acdefghikmopqruvwxy123456789"


# ---------------------------------------------------------------------------------------------------- numbers
def arctan_inverse(x: int, unity: int) -> int:
    total = term = unity // x
    n, sign = 3, -1
    while term:
        term //= x * x
        total += sign * (term // n)
        n, sign = n + 2, -sign
    return total


def prime(group: int) -> int:
    """2^n - 2^(n-64) - 1 + 2^64 * (floor(2^(n-130) * pi) + addend): RFC 3526."""
    bits, addend = ADDENDS[group]
    unity = 1 << (bits + 64)
    pi = 4 * (4 * arctan_inverse(5, unity) - arctan_inverse(239, unity))
    floor = pi >> (bits + 64 - (bits - 130))
    found: int = 2**bits - 2 ** (bits - 64) - 1 + 2**64 * (floor + addend)
    return found


def mpi(n: int) -> bytes:
    h = f"{n:x}"
    return bytes.fromhex(h if len(h) % 2 == 0 else "0" + h)


def b64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def mac(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()


def ctr(key: bytes, counter: int, data: bytes) -> bytes:
    """The letter: the first block of key stream is AES(C), the next AES(C + 1)."""
    out = b""
    for i in range(0, len(data), 16):
        block = ((counter + i // 16) % 2**128).to_bytes(16, "big")
        one = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
        stream = one.update(block)
        out += bytes(a ^ b for a, b in zip(data[i : i + 16], stream, strict=False))
    return out


def draw(seed: str, size: int) -> bytes:
    return hashlib.shake_256(seed.encode()).digest(size)


# ---------------------------------------------------------------------------------------------------- forms
def normalised(fields: list[Field]) -> bytes:
    """Canonical XML: double quotes, sorted attributes, pairs of tags, nothing between elements."""
    out = ""
    for var, kind, values, options, required in fields:
        out += f'<field type="{kind}" var="{var}">' if kind else f'<field var="{var}">'
        out += "".join(f"<value>{v}</value>" for v in values)
        out += "".join(f"<option><value>{o}</value></option>" for o in options)
        out += "<required></required>" if required else ""
        out += "</field>"
    return out.encode()


def on_the_wire(form_type: str, fields: list[Field], *, wide: bool) -> str:
    """As the examples of the XEPs print it (`wide`), or on one line."""
    nl = "\n  " if wide else ""
    out = f"<x type='{form_type}' xmlns='jabber:x:data'>{nl}"
    for var, kind, values, options, required in fields:
        out += f"<field{f' type={chr(39)}{kind}{chr(39)}' if kind else ''} var='{var}'>{nl}"
        out += nl.join(f"<value>{v}</value>" for v in values)
        out += nl.join(f"<option><value>{o}</value></option>" for o in options)
        out += nl + "<required/>" if required else ""
        out += nl + "</field>" + nl
    return out + "</x>"


def request_fields(style: str, groups: list[int], nonce: bytes, hashes: list[bytes]) -> list[Field]:
    plain = style == "own"
    fields: list[Field] = [
        ("FORM_TYPE", "hidden", ["urn:xmpp:ssn"], [], False),
        ("accept", "boolean", ["1"], [], not plain),
        ("logging", "list-single", [], ["may", "mustnot"], False)
        if plain
        else ("otr", "list-single", [], ["false", "true"], True),
        ("disclosure", "list-single", [], ["never"], not plain),
        ("security", "list-single", [], ["e2e"] if plain else ["e2e", "c2s"], not plain),
        ("modp", "list-single", [], [str(g) for g in groups], False),
        ("crypt_algs", "hidden", ["aes128-ctr"], [], False),
        ("hash_algs", "hidden", ["sha256"], [], False),
        ("compress", "hidden", ["none"], [], False),
        ("stanzas", "list-multi", [], ["message"] if plain else ["message", "iq", "presence"], False),
        ("init_pubkey", "hidden", ["none"], [], False),
        ("resp_pubkey", "hidden", ["none"], [], False),
        ("ver", "list-single", [], ["1.0"], False),
        ("rekey_freq", "hidden", ["4294967295"], [], False),
        ("my_nonce", "hidden", [b64(nonce)], [], False),
        ("sas_algs", "hidden", ["sas28x5"], [], False),
        ("dhhashes", "hidden", [b64(h) for h in hashes], [], False),
    ]
    return fields


def response_fields(style: str, request: list[Field], group: int, own: dict[str, str]) -> list[Field]:
    """In the own style as this project answers: a type on every field, the order of the request, then the values."""
    chosen = {"accept": "true" if style == "own" else "1", "logging": "may", "otr": "true", "security": "e2e"}
    kind = "text-single" if style == "own" else None
    fields: list[Field] = [("FORM_TYPE", kind, ["urn:xmpp:ssn"], [], False)]
    for var, _, values, options, _ in request:
        if var not in ("FORM_TYPE", "modp", "my_nonce", "dhhashes"):
            fields.append((var, kind, [chosen.get(var, (values + options)[0])], [], False))
    fields.append(("modp", kind, [str(group)], [], False))
    return fields + [(var, kind, [value], [], False) for var, value in own.items()]


# ---------------------------------------------------------------------------------------------------- one session
def derive(
    name: str,
    *,
    groups: list[int],
    style: str = "xep",
    key_octets: int = 32,
    first_octet: int | None = None,
    shared: bool = False,
    salt: int = 0,
) -> dict[str, Any]:
    """One negotiation with three stanzas each way and a termination. `key_octets`: of MAC and SIGMA keys."""
    seed = f"{name}/{salt}/"
    group = groups[0]
    p = prime(group)
    n_a, n_b = draw(seed + "na", 8), draw(seed + "nb", 8)
    x_draw, y_draw = draw(seed + "x", 32), draw(seed + "y", 32)
    x, y = (2**256 + 1 + int.from_bytes(v, "big") for v in (x_draw, y_draw))
    e, d = pow(2, x, p), pow(2, y, p)
    c_octets = draw(seed + "c", 16)
    c_octets = bytes([0x41 if first_octet is None else first_octet]) + c_octets[1:]
    c_a = int.from_bytes(c_octets, "big")
    c_b = c_a ^ 2**127

    others = [sha(mpi(pow(2, int.from_bytes(draw(f"{seed}x{g}", 32), "big"), prime(g)))) for g in groups[1:]]
    form_a_fields = request_fields(style, groups, n_a, [sha(mpi(e)), *others])
    values = {"my_nonce": b64(n_b), "dhkeys": b64(mpi(d)), "counter": b64(mpi(c_a)), "nonce": b64(n_a)}
    form_b_fields = response_fields(style, form_a_fields, group, values)
    form_a, form_b = normalised(form_a_fields), normalised(form_b_fields)

    k_dh = sha(mpi(pow(d, x, p)))
    assert k_dh == sha(mpi(pow(e, y, p)))
    keep = key_octets

    def keys(k: bytes, who: str) -> tuple[bytes, bytes, bytes]:
        kc, km, ks = (mac(k, f"{who} {what} Key".encode()) for what in ("Cipher", "MAC", "SIGMA"))
        return kc[-16:], km[-keep:], ks[-keep:]

    secret = draw(seed + "srs", 32)
    fill = draw(seed + "fill", 64)
    hashes = ([mac(n_a, secret)] if shared else []) + [fill[:32], fill[32:]]
    kind = "text-single" if style == "own" else None
    form_a2: list[Field] = [
        ("FORM_TYPE", kind, ["urn:xmpp:ssn"], [], False),
        ("accept", kind, ["1"], [], False),
        ("nonce", kind, [b64(n_b)], [], False),
        ("rshashes", kind or "hidden", [b64(h) for h in hashes], [], False),
        ("dhkeys", kind or "hidden", [b64(mpi(e))], [], False),
    ]
    kc_a0, km_a0, ks_a0 = keys(k_dh, "Initiator")
    mac_a = mac(ks_a0, n_b + n_a + mpi(e) + form_a + normalised(form_a2))
    id_a = ctr(kc_a0, c_a, mac_a)
    m_a = mac(km_a0, mpi(c_a) + id_a)

    k = sha(k_dh + (secret if shared else b""))
    kc_a, km_a, _ks_a = keys(k, "Initiator")
    kc_b, km_b, ks_b = keys(k, "Responder")
    confirmation = draw(seed + "srshash", 32)
    srshash = mac(secret, b"Shared Retained Secret") if shared else confirmation
    form_b2: list[Field] = [
        ("FORM_TYPE", kind, ["urn:xmpp:ssn"], [], False),
        ("nonce", kind, [b64(n_a)], [], False),
        ("srshash", kind, [b64(srshash)], [], False),
    ]
    mac_b = mac(ks_b, n_a + n_b + mpi(d) + form_b + normalised(form_b2))
    id_b = ctr(kc_b, c_b, mac_b)
    m_b = mac(km_b, mpi(c_b) + id_b)

    number = int.from_bytes(sha(m_a + form_b + b"Short Authentication String"), "big") & 0xFFFFFF
    sas = ""
    for _ in range(5):
        number, digit = number // 28, number % 28
        sas = SAS_DIGITS[digit] + sas

    def proof(identity: bytes, m: bytes) -> list[Field]:
        return [("identity", kind, [b64(identity)], [], False), ("mac", kind, [b64(m)], [], False)]

    wide = style == "xep"
    return {
        "name": name,
        "profile": "letter" if key_octets == 32 else "simplified",
        "style": style,
        "group": group,
        "groups": groups,
        "draws": {"n_a": n_a.hex(), "n_b": n_b.hex(), "x": x_draw.hex(), "y": y_draw.hex(), "counter": c_octets.hex(),
                  "hashes": fill.hex(), "confirmation": confirmation.hex()},
        "retained": secret.hex() if shared else None,
        "forms": {
            "request": on_the_wire("form", form_a_fields, wide=wide),
            "response": on_the_wire("submit", form_b_fields, wide=wide),
            "completion": on_the_wire("result", form_a2 + proof(id_a, m_a), wide=wide),
            "init": on_the_wire("result", form_b2 + proof(id_b, m_b), wide=wide),
        },
        "values": {
            "x": mpi(x).hex(), "y": mpi(y).hex(), "e": mpi(e).hex(), "d": mpi(d).hex(), "k_dh": k_dh.hex(),
            "k": k.hex(),
            "form_a": form_a.decode(), "form_b": form_b.decode(),
            "form_a2": normalised(form_a2).decode(), "form_b2": normalised(form_b2).decode(),
            "mac_a": mac_a.hex(), "id_a": id_a.hex(), "m_a": m_a.hex(),
            "mac_b": mac_b.hex(), "id_b": id_b.hex(), "m_b": m_b.hex(),
            "kc_a": kc_a.hex(), "km_a": km_a.hex(), "kc_b": kc_b.hex(), "km_b": km_b.hex(),
            "srshash": srshash.hex(), "sas": sas, "new_retained_secret": mac(k, b"New Retained Secret").hex(),
        },
        "stanzas": stanzas((kc_a, km_a, c_a + 2), (kc_b, km_b, c_b + 2)),
    }  # fmt: skip


def stanzas(alice: tuple[bytes, bytes, int], bob: tuple[bytes, bytes, int]) -> list[dict[str, str]]:
    """Contents of several lengths, the first padded to whole blocks, the others not; then a termination."""
    contents = [
        "<body>hello</body>".ljust(32),
        "<body>ein Käse, ein שלום, ein 😀</body><active xmlns='http://jabber.org/protocol/chatstates'/>",
        "<body>0123456789abcdef &lt;&amp;&gt;</body>",
    ]
    form = "<feature xmlns='http://jabber.org/protocol/feature-neg'><x type='{}' xmlns='jabber:x:data'>"
    form += "<field var='FORM_TYPE'><value>urn:xmpp:ssn</value></field>"
    form += "<field var='terminate'><value>1</value></field></x></feature>"
    sent = [("alice", c) for c in contents] + [("bob", c) for c in contents]
    sent += [("alice", form.format("submit")), ("bob", form.format("result"))]
    state = {"alice": alice, "bob": bob}
    out = []
    for who, content in sent:
        kc, km, counter = state[who]
        plain = content.encode()
        data = f"<data>{b64(ctr(kc, counter, plain))}</data>"
        a_mac = mac(km, data.encode() + mpi(counter))
        after = (counter + -(-len(plain) // 16)) % 2**128
        state[who] = (kc, km, after)
        c = f"<c xmlns='http://www.xmpp.org/extensions/xep-0200.html#ns'>{data}<mac>{b64(a_mac)}</mac></c>"
        before = counter.to_bytes(16, "big").hex()
        out.append(
            {"from": who, "content": content, "c": c, "before": before, "after": after.to_bytes(16, "big").hex()}
        )
    return out


def all_vectors() -> list[dict[str, Any]]:
    """Every vector; the salt of `zero-sas` was found by trying."""
    return [
        derive("group-14", groups=[14]),
        derive("group-15", groups=[15, 14]),
        derive("group-16", groups=[16]),
        derive("group-17", groups=[17]),
        derive("group-18", groups=[18]),
        derive("own-style", groups=[14], style="own"),
        derive("own-style-retained", groups=[14], style="own", shared=True),
        derive("retained", groups=[14], shared=True),
        derive("short-counter", groups=[14], first_octet=0x00),
        derive("short-responder-counter", groups=[14], first_octet=0x80),
        derive("zero-sas", groups=[14], salt=ZERO_SAS),
        derive("simplified", groups=[14], key_octets=16),
    ]


ZERO_SAS = 4


def main() -> None:
    """Write all files."""
    folder = Path(__file__).with_name("esession-letter")
    folder.mkdir(exist_ok=True)
    for vector in all_vectors():
        text = json.dumps(vector, indent=1, ensure_ascii=False)
        (folder / f"{vector['name']}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
