"""MODP groups from the digits of pi (RFC 3526), and one exchange in each, by Python's own `pow`."""

from typing import Any

from tests.vectors.derive_esession_letter import ADDENDS, arctan_inverse, mpi, prime

GROUPS = (5, *sorted(ADDENDS))


def case(number: int, initiator_draw: bytes, responder_draw: bytes) -> dict[str, Any]:
    """Draws of 32 octets, exponents 2^256 + 1 + draw, public values and the shared one, as hexadecimal octets."""
    p = _prime_5() if number == 5 else prime(number)
    x, y = ((1 << 256) + 1 + int.from_bytes(draw, "big") for draw in (initiator_draw, responder_draw))
    assert min(x, y) > (1 << 256)
    assert max(x, y) < 1 << 258
    shared = pow(pow(2, x, p), y, p)
    assert shared == pow(pow(2, y, p), x, p)
    return {
        "draws": [initiator_draw.hex(), responder_draw.hex()],
        "secrets": [mpi(x).hex(), mpi(y).hex()],
        "publics": [mpi(pow(2, x, p)).hex(), mpi(pow(2, y, p)).hex()],
        "shared": mpi(shared).hex(),
        "refused": [mpi(v).hex() for v in (0, 1, p - 1, p, p + 1)],
    }


def _prime_5() -> int:
    """2^1536 - 2^1472 - 1 + 2^64 * (floor(2^1406 * pi) + 741804): RFC 3526, section 2."""
    unity = 1 << 1600
    pi = 4 * (4 * arctan_inverse(5, unity) - arctan_inverse(239, unity))
    return (1 << 1536) - (1 << 1472) - 1 + (1 << 64) * ((pi >> (1600 - 1406)) + 741804)
