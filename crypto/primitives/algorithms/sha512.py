"""SHA-512 (FIPS 180-4)."""

from crypto.primitives.kinds import HashAlgorithm

ALGORITHM = HashAlgorithm("sha512", octets=64, hashlib_name="sha512")
