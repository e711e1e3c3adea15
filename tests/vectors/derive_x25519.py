"""X25519 by the ladder of RFC 7748, section 5, in Python's integers; its answers of sections 5.2 and 6.1."""

from typing import Any

P = (1 << 255) - 19
BASE = (9).to_bytes(32, "little")
_SMALL = (
    0,
    1,
    P - 1,
    P,
    P + 1,
    int.from_bytes(bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"), "little"),
    int.from_bytes(bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"), "little"),
)
"""u of points of small order: any scalar takes them to zero."""


def x25519(scalar: bytes, u: bytes) -> bytes:
    """The u coordinate of scalar times the point."""
    k = int.from_bytes(scalar, "little")
    k = (k & ~7 & ((1 << 254) - 1)) | (1 << 254)
    x1 = int.from_bytes(u, "little") & ((1 << 255) - 1)
    x2, z2, x3, z3, swap = 1, 0, x1, 1, 0
    for t in reversed(range(255)):
        bit = (k >> t) & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        da, cb, aa, bb = d * a % P, c * b % P, a * a % P, b * b % P
        e = aa - bb
        x3, z3 = pow(da + cb, 2, P), x1 * pow(da - cb, 2, P) % P
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")


def case(initiator_draw: bytes, responder_draw: bytes) -> dict[str, Any]:
    """One exchange, and values that must be refused."""
    _require_known_answers()
    refused = [u.to_bytes(32, "little") for u in _SMALL]
    assert not any(any(x25519(initiator_draw, u)) for u in refused)
    publics = [x25519(draw, BASE) for draw in (initiator_draw, responder_draw)]
    shared = x25519(initiator_draw, publics[1])
    assert shared == x25519(responder_draw, publics[0])
    draws = [initiator_draw.hex(), responder_draw.hex()]
    return {
        "draws": draws,
        "secrets": draws,
        "publics": [public.hex() for public in publics],
        "shared": shared.hex(),
        "refused": [u.hex() for u in refused] + [bytes(31).hex(), bytes(33).hex(), ""],
    }


def _require_known_answers() -> None:
    """RFC 7748, section 5.2: one product, then a thousand."""
    scalar = bytes.fromhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")
    u = bytes.fromhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
    assert x25519(scalar, u).hex() == "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"
    k = last = BASE
    for _ in range(1000):
        k, last = x25519(k, last), k
    assert k.hex() == "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"
