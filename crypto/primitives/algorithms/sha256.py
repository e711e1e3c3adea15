"""SHA-256 (FIPS 180-4)."""

from crypto.primitives.kinds import HashAlgorithm

ALGORITHM = HashAlgorithm("sha256", octets=32, hashlib_name="sha256")
