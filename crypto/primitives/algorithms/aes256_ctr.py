"""AES with 256-bit keys in counter mode (FIPS 197, NIST SP 800-38A)."""

from crypto.primitives.kinds import CipherAlgorithm

ALGORITHM = CipherAlgorithm("aes256-ctr", key_octets=32)
