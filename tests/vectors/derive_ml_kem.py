"""ML-KEM-768 as FIPS 203 writes it, algorithm by algorithm, in Python's integers: slow, and not constant in time."""

import hashlib
from typing import Any

Q, N, K, ETA, DU, DV = 3329, 256, 3, 2, 10, 4
Poly = list[int]


def _reversed_bits(i: int) -> int:
    return int(f"{i:07b}"[::-1], 2)


ZETAS = [pow(17, _reversed_bits(i), Q) for i in range(128)]
GAMMAS = [pow(17, 2 * _reversed_bits(i) + 1, Q) for i in range(128)]


def _bits(octets: bytes) -> list[int]:
    return [(octet >> i) & 1 for octet in octets for i in range(8)]


def encode(f: Poly, d: int) -> bytes:
    """ByteEncode_d (algorithm 5)."""
    bits = [(a >> i) & 1 for a in f for i in range(d)]
    return bytes(sum(bits[i + j] << j for j in range(8)) for i in range(0, len(bits), 8))


def decode(octets: bytes, d: int) -> Poly:
    """ByteDecode_d (algorithm 6)."""
    bits = _bits(octets)
    found = [sum(bits[i * d + j] << j for j in range(d)) for i in range(N)]
    return [a % Q for a in found] if d == 12 else found


def compress(f: Poly, d: int) -> Poly:
    return [(((a << d) + Q // 2) // Q) % (1 << d) for a in f]


def decompress(f: Poly, d: int) -> Poly:
    return [(a * Q + (1 << (d - 1))) >> d for a in f]


def sample_ntt(seed: bytes) -> Poly:
    """SampleNTT (algorithm 7)."""
    stream = hashlib.shake_128(seed).digest(3 * 1024)
    found: Poly = []
    for i in range(0, len(stream), 3):
        a, b, c = stream[i : i + 3]
        found += [d for d in (a + 256 * (b % 16), b // 16 + 16 * c) if d < Q]
    return found[:N]


def sample_cbd(octets: bytes) -> Poly:
    """SamplePolyCBD_2 (algorithm 8)."""
    b = _bits(octets)
    return [(b[4 * i] + b[4 * i + 1] - b[4 * i + 2] - b[4 * i + 3]) % Q for i in range(N)]


def prf(seed: bytes, number: int) -> bytes:
    return hashlib.shake_256(seed + bytes([number])).digest(64 * ETA)


def ntt(f: Poly) -> Poly:
    """NTT (algorithm 9)."""
    f, i = list(f), 1
    for length in (128, 64, 32, 16, 8, 4, 2):
        for start in range(0, N, 2 * length):
            zeta, i = ZETAS[i], i + 1
            for j in range(start, start + length):
                t = zeta * f[j + length] % Q
                f[j + length], f[j] = (f[j] - t) % Q, (f[j] + t) % Q
    return f


def inverse_ntt(f: Poly) -> Poly:
    """NTT^-1 (algorithm 10)."""
    f, i = list(f), 127
    for length in (2, 4, 8, 16, 32, 64, 128):
        for start in range(0, N, 2 * length):
            zeta, i = ZETAS[i], i - 1
            for j in range(start, start + length):
                t = f[j]
                f[j], f[j + length] = (t + f[j + length]) % Q, zeta * (f[j + length] - t) % Q
    return [a * 3303 % Q for a in f]


def product(f: Poly, g: Poly) -> Poly:
    """MultiplyNTTs (algorithms 11 and 12)."""
    found: Poly = []
    for i in range(128):
        a0, a1, b0, b1 = f[2 * i], f[2 * i + 1], g[2 * i], g[2 * i + 1]
        found += [(a0 * b0 + a1 * b1 * GAMMAS[i]) % Q, (a0 * b1 + a1 * b0) % Q]
    return found


def total(*polys: Poly) -> Poly:
    return [sum(column) % Q for column in zip(*polys, strict=True)]


def _g(data: bytes) -> tuple[bytes, bytes]:
    found = hashlib.sha3_512(data).digest()
    return found[:32], found[32:]


def _matrix(rho: bytes) -> list[list[Poly]]:
    return [[sample_ntt(rho + bytes([j, i])) for j in range(K)] for i in range(K)]


def keygen(seed: bytes) -> tuple[bytes, bytes]:
    """ML-KEM.KeyGen_internal (algorithms 13 and 16): encapsulation key, decapsulation key."""
    d, z = seed[:32], seed[32:]
    rho, sigma = _g(d + bytes([K]))
    a = _matrix(rho)
    s = [ntt(sample_cbd(prf(sigma, n))) for n in range(K)]
    e = [ntt(sample_cbd(prf(sigma, K + n))) for n in range(K)]
    t = [total(e[i], *(product(a[i][j], s[j]) for j in range(K))) for i in range(K)]
    ek = b"".join(encode(f, 12) for f in t) + rho
    return ek, b"".join(encode(f, 12) for f in s) + ek + hashlib.sha3_256(ek).digest() + z


def _encrypt(ek: bytes, message: bytes, r: bytes) -> bytes:
    """K-PKE.Encrypt (algorithm 14)."""
    t = [decode(ek[384 * i : 384 * (i + 1)], 12) for i in range(K)]
    a = _matrix(ek[384 * K :])
    y = [ntt(sample_cbd(prf(r, n))) for n in range(K)]
    e1 = [sample_cbd(prf(r, K + n)) for n in range(K)]
    e2 = sample_cbd(prf(r, 2 * K))
    u = [total(inverse_ntt(total(*(product(a[j][i], y[j]) for j in range(K)))), e1[i]) for i in range(K)]
    mu = decompress(decode(message, 1), 1)
    v = total(inverse_ntt(total(*(product(t[j], y[j]) for j in range(K)))), e2, mu)
    return b"".join(encode(compress(f, DU), DU) for f in u) + encode(compress(v, DV), DV)


def _decrypt(dk: bytes, ciphertext: bytes) -> bytes:
    """K-PKE.Decrypt (algorithm 15)."""
    size = 32 * DU
    u = [decompress(decode(ciphertext[size * i : size * (i + 1)], DU), DU) for i in range(K)]
    v = decompress(decode(ciphertext[size * K :], DV), DV)
    s = [decode(dk[384 * i : 384 * (i + 1)], 12) for i in range(K)]
    inner = inverse_ntt(total(*(product(s[i], ntt(u[i])) for i in range(K))))
    return encode(compress([(a - b) % Q for a, b in zip(v, inner, strict=True)], 1), 1)


def encapsulate(ek: bytes, message: bytes) -> tuple[bytes, bytes]:
    """ML-KEM.Encaps_internal (algorithm 17): ciphertext, shared secret."""
    shared, r = _g(message + hashlib.sha3_256(ek).digest())
    return _encrypt(ek, message, r), shared


def decapsulate(dk: bytes, ciphertext: bytes) -> bytes:
    """ML-KEM.Decaps_internal (algorithm 18)."""
    ek, h, z = dk[384 * K : 768 * K + 32], dk[768 * K + 32 : 768 * K + 64], dk[768 * K + 64 :]
    message = _decrypt(dk[: 384 * K], ciphertext)
    shared, r = _g(message + h)
    rejected = hashlib.shake_256(z + ciphertext).digest(32)
    return shared if _encrypt(ek, message, r) == ciphertext else rejected


def case(seed: bytes, message: bytes) -> dict[str, Any]:
    """Everything of one encapsulation, with what a damaged ciphertext gives, and keys that are none."""
    ek, dk = keygen(seed)
    ciphertext, shared = encapsulate(ek, message)
    assert decapsulate(dk, ciphertext) == shared
    damaged = bytes([ciphertext[0] ^ 1]) + ciphertext[1:]
    assert decapsulate(dk, damaged) != shared
    unreduced = b"\xff\x0f" + ek[2:]
    return {
        "seed": seed.hex(),
        "public": ek.hex(),
        "message": message.hex(),
        "ciphertext": ciphertext.hex(),
        "shared": shared.hex(),
        "damaged": {"ciphertext": damaged.hex(), "shared": decapsulate(dk, damaged).hex()},
        "refused": [unreduced.hex(), ek[:-1].hex(), (ek + b"\0").hex(), ""],
    }
