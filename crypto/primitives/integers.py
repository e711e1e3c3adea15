"""Multiple-precision integers as octets (XEP-0116, "Multiple-Precision Integers")."""


def mpi(number: int) -> bytes:
    """Big endian, no leading zero octets; zero itself is one zero octet."""
    return number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big")


def from_octets(octets: bytes) -> int:
    """The integer of big-endian octets, leading zeros allowed."""
    return int.from_bytes(octets, "big")
