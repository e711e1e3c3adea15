"""AES with 192-bit keys in counter mode (FIPS 197, NIST SP 800-38A)."""

from crypto.primitives.kinds import CipherAlgorithm

ALGORITHM = CipherAlgorithm("aes192-ctr", key_octets=24)
